"""The guard of partial rows: valid for every mask, bounded, and the same from its bytes."""

import numpy as np
import pytest

from partial_support import GROUPS, SCHEMA, SETTINGS, fitted
from sporeprint.safety import partial_guard
from sporeprint.safety.cells import Cells
from sporeprint.safety.partial_guard import PARTIAL_GUARD_FILE, PartialGuard, column_power, margin_curve, random_masks, read_partial_guard

GUARD = fitted().guard


@pytest.mark.parametrize("columns", [("n0", "n1", "height"), ("n2", "n3", "n4", "n5", "n6", "n7"), ("width",), tuple(SCHEMA.columns)])
def test_p_values_are_valid_for_the_mask(columns: tuple[str, ...]) -> None:
    """Of familiar rows with these columns at most a share of a has a p-value of at most a."""
    mask = np.array([name in columns for name in GUARD.layout.columns])
    p = GUARD.judge(fitted().cells.hidden(mask, GUARD.layout)).p
    for level in (0.01, 0.05, 0.2):
        assert (p <= level).mean() <= level + 3.5 * np.sqrt(level * (1 - level) / len(p))


def test_rows_of_no_group_are_novel() -> None:
    random = np.random.default_rng(2)
    rows: list[dict[str, str | float | None]] = [
        {name: str(random.choice(list("abcde"))) for name in SCHEMA.nominal} | {"height": 50.0, "width": 50.0} for _ in range(300)
    ]
    p = GUARD.judge(Cells.of_rows(rows, GUARD.layout)).p
    assert (p <= 0.01).mean() > 0.9


def test_few_strangers_have_the_margin_that_is_needed() -> None:
    """Held-out groups, one at a time, with columns hidden at random."""
    rows, cells = fitted().rows, fitted().cells
    assert rows.group is not None
    strangers, own = cells.take(rows.y == 1), rows.group[rows.y == 1].astype(np.intp)
    hidden = strangers.hidden(random_masks(len(strangers), len(GUARD.layout.columns), np.random.default_rng(7)), GUARD.layout)
    judged = GUARD.judge_evidence(hidden, GUARD.likelihood.evidence(hidden, left_out=own))
    negative = GUARD.likelihood.positive[judged.evidence.group] < 0.5
    passing = (judged.evidence.margin > judged.least_margin) & negative & (judged.evidence.positive <= 0.02)
    assert passing.mean() <= 2 * SETTINGS.unseen_risk


def test_more_power_withheld_needs_no_smaller_margin_than_none() -> None:
    assert GUARD.curve.margin[0] <= GUARD.curve.margin.max()
    assert (np.diff(GUARD.curve.power) >= 0).all()
    assert GUARD.curve.groups == GROUPS // 2


def test_power_is_of_columns_that_a_group_has() -> None:
    power = column_power(GUARD.likelihood)
    assert (power[GUARD.likelihood.silent] == 0).all()
    assert (power >= 0).all()
    assert power.max() > 1


def test_the_masks_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partial_guard, "MOST_MASKS", 50)
    guard = PartialGuard.from_bytes(GUARD.to_bytes())
    random = np.random.default_rng(3)
    masks = random.random((400, len(guard.layout.columns))) < 0.5
    cells = fitted().cells.take(slice(0, 400)).hidden(masks, guard.layout)
    guard.judge(cells)
    assert len(guard.profiles) == 50


def test_a_mask_seen_before_is_not_computed_again() -> None:
    guard = PartialGuard.from_bytes(GUARD.to_bytes())
    cells = fitted().cells.take(slice(0, 1))
    guard.judge(cells)
    (first,) = guard.profiles.values()
    guard.judge(cells)
    (second,) = guard.profiles.values()
    assert first is second


def test_many_masks_are_judged_as_each_by_its_profile() -> None:
    guard = PartialGuard.from_bytes(GUARD.to_bytes())
    random = np.random.default_rng(8)
    masks = random_masks(1500, len(guard.layout.columns), random)
    masks[:300] = masks[0]
    cells = fitted().cells.take(slice(0, 1500)).hidden(masks, guard.layout)
    judged = guard.judge(cells)
    kept, masks_seen = len(guard.profiles), len(set(cells.keys))
    assert 1 <= kept < masks_seen / 10
    evidence, profiles = judged.evidence, [guard.profile(key) for key in cells.keys]
    assert judged.p.tolist() == [float(each.row_p(value)) for each, value in zip(profiles, evidence.typicality, strict=True)]
    groups = evidence.group.tolist()
    assert judged.withheld.tolist() == [float(each.withheld[group]) for each, group in zip(profiles, groups, strict=True)]
    assert judged.least_margin.tolist() == [float(each.least_margin[group]) for each, group in zip(profiles, groups, strict=True)]
    assert len(guard.profiles) > kept


@pytest.mark.parametrize("least", [1, 3, 10])
def test_random_masks_are_of_the_smallest_numbers_that_are_drawn(least: int) -> None:
    masks, random = random_masks(500, 10, np.random.default_rng(1), least=least), np.random.default_rng(1)
    count = random.integers(least, 11, 500)
    rank = random.random((500, 10)).argsort(axis=1).argsort(axis=1)
    assert (masks == (rank < count[:, np.newaxis])).all()
    assert set(masks.sum(axis=1).tolist()) == set(range(least, 11))


def test_the_curve_is_that_of_one_hiding_after_the_other() -> None:
    """Every margin of every stranger, though most are of rows that no negative group is near to."""
    rows, likelihood, power = fitted().rows, GUARD.likelihood, GUARD.power
    assert rows.group is not None
    strangers, own = fitted().cells.take(rows.y == 1), rows.group[rows.y == 1].astype(np.intp)
    found = margin_curve(likelihood, power, strangers, own, unseen_risk=0.01, random=np.random.default_rng(5))
    random, columns, withheld, margins = np.random.default_rng(5), len(GUARD.layout.columns), [], []
    for hiding in range(partial_guard.HIDINGS):
        mask = random_masks(len(strangers), columns, random, least=3 if hiding else columns)
        hidden = strangers.hidden(mask, GUARD.layout)
        evidence = likelihood.evidence(hidden, left_out=own)
        dangerous = (evidence.positive <= 0.5) & (likelihood.positive[evidence.group] < 0.5)
        margins.append(np.where(dangerous, evidence.margin, -np.inf))
        withheld.append(np.where(hidden.observed, 0.0, power.T[evidence.group]).sum(axis=1))
    expected = partial_guard._curve(np.concatenate(withheld), np.concatenate(margins), 0.01, found.strangers, found.groups)
    assert found.power.tolist() == expected.power.tolist()
    assert found.margin.tolist() == pytest.approx(expected.margin.tolist(), rel=1e-6)


def test_bytes_and_back() -> None:
    data = GUARD.to_bytes()
    again = PartialGuard.from_bytes(data)
    assert again.to_bytes() == data
    assert (again.unseen_risk, again.enough, again.threshold, again.trained) == (
        GUARD.unseen_risk,
        GUARD.enough,
        GUARD.threshold,
        GUARD.trained,
    )
    assert again.judge(fitted().cells).p.tolist() == GUARD.judge(fitted().cells).p.tolist()


def test_versions_of_before_have_none_and_damaged_ones_are_refused() -> None:
    assert read_partial_guard({}) is None
    with pytest.raises(ValueError, match="no archive of arrays"):
        read_partial_guard({PARTIAL_GUARD_FILE: GUARD.to_bytes()[:500]})


def test_it_answers_every_row_where_empty_cells_are_no_observation() -> None:
    assert GUARD.is_always_asked
    assert GUARD.answers(dict.fromkeys(GUARD.layout.columns))

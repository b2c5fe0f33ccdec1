"""How safe the answers are: counts by hand, groups left out by brute force, and a broken promise that is seen."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from safety_support import SCHEMA, real, species
from sporeprint.data.dataset import Observations
from sporeprint.evaluation import safety_scorecard
from sporeprint.evaluation.safety_scorecard import (
    COVERAGES,
    CURVE,
    PAIRS,
    ConfusedGroups,
    GroupCounts,
    LeftOutNovelty,
    PredictionCounts,
    PromiseCheck,
    count_by_group,
    count_predictions,
    guard_evaluation,
    leave_one_group_out,
    simulate_promise,
    total,
)
from sporeprint.safety.novelty_guard import Guard, calibrate_guard, fit_components
from sporeprint.safety.risk_control import RiskLevels, Threshold, choose_threshold
from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN
from sporeprint.settings import GuardSettings
from support import labels

Float64 = npt.NDArray[np.float64]

# --- counting --------------------------------------------------------------------------------------------------------

Y = labels(0, 0, 0, 1, 1, 1, 1)
VERDICT = labels(NEGATIVE, POSITIVE, UNKNOWN, NEGATIVE, POSITIVE, POSITIVE, UNKNOWN)


def test_answers_are_counted() -> None:
    assert count_predictions(Y, VERDICT) == PredictionCounts(rows=7, answered=5, correct=3, false_negative=1, negative=2, positives=4)
    assert count_predictions(labels(), labels()) == total(()) == PredictionCounts(0, 0, 0, 0, 0, 0)
    assert all(type(number) is int for number in asdict(count_predictions(Y, VERDICT)).values())


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(-5, 5)), max_size=60))
def test_groups_are_counted_apart_in_order_and_add_up(rows: list[tuple[int, int, int]]) -> None:
    y, verdict = labels(*(row[0] for row in rows)), labels(*(row[1] for row in rows))
    group = np.array([row[2] for row in rows], dtype=np.int64)
    found = count_by_group(y, verdict, group)
    assert [item.group for item in found] == sorted(set(group.tolist()))
    for item in found:
        assert item == GroupCounts(item.group, count_predictions(y[group == item.group], verdict[group == item.group]))
    whole = asdict(count_predictions(y, verdict))
    assert {name: sum(asdict(item.counts)[name] for item in found) for name in whole} == whole


# --- one group left out ----------------------------------------------------------------------------------------------

ROWS, CALIBRATION, ALL = species(700, seed=1), species(400, seed=2), species(500, seed=3)


def guard_of(rows: Observations, calibration: Observations) -> Guard:
    assert rows.group is not None
    names, component = np.unique(rows.group, return_inverse=True)
    return calibrate_guard(fit_components(rows.codes, rows.y, component.astype(np.intp), names, SCHEMA), calibration.codes)


GUARD = guard_of(ROWS, CALIBRATION)


def by_brute_force(guard: Guard, rows: Observations, calibration: Observations) -> list[tuple[float, float, bool, int]]:
    """One group after the other, with a guard that never had its component, and calibration rows without its rows."""
    assert rows.group is not None
    assert calibration.group is not None
    found: list[Any] = [None] * rows.codes.rows
    for group in sorted(set(rows.group.tolist())):
        kept = guard.names != group
        masked = replace(
            guard, weights=np.ascontiguousarray(guard.weights[:, kept]), names=guard.names[kept], positive=guard.positive[kept]
        )
        others = calibrate_guard(masked, calibration.take(calibration.group != group).codes)
        mine = np.flatnonzero(rows.group == group)
        novelty = others.novelty(rows.codes.take(mine))
        for row, p, typicality, component in zip(
            *(array.tolist() for array in (mine, novelty.p, novelty.typicality, novelty.component)), strict=True
        ):
            found[row] = (p, typicality, bool(others.positive[component] > 0.5), int(others.names[component]))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_leaving_a_group_out_is_what_brute_force_makes_of_it(seed: int) -> None:
    known, calibration, rows = (species(size, groups=5, seed=10 * seed + number, like=seed) for number, size in enumerate((300, 150, 200)))
    guard = guard_of(known, calibration)
    found = leave_one_group_out(guard, rows, calibration)
    columns = (found.p, found.typicality, found.positive, found.taken_for)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == by_brute_force(guard, rows, calibration)


def test_numbers_of_groups_need_not_be_in_a_row() -> None:
    renamed = [replace(rows, group=np.array([7, 3, 100, 40, 41, 999])[rows.group]) for rows in (ROWS, CALIBRATION, ALL)]
    known, calibration, rows = renamed
    guard = guard_of(known, calibration)
    found = leave_one_group_out(guard, rows, calibration)
    assert rows.group is not None
    assert not (found.taken_for == rows.group).any()
    columns = (found.p, found.typicality, found.positive, found.taken_for)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == by_brute_force(guard, rows, calibration)


@pytest.mark.parametrize("absent", [0, 3, 5])
def test_a_group_that_the_guard_never_had_is_compared_with_all_the_others(absent: int) -> None:
    # A group of few rows may have none in training: there is nothing to leave out but its calibration rows.
    assert ROWS.group is not None
    guard = guard_of(ROWS.take(ROWS.group != absent), CALIBRATION)
    found = leave_one_group_out(guard, ALL, CALIBRATION)
    columns = (found.p, found.typicality, found.positive, found.taken_for)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == by_brute_force(guard, ALL, CALIBRATION)


def test_a_row_is_never_taken_for_its_own_group_and_has_the_class_of_the_other() -> None:
    found = leave_one_group_out(GUARD, ALL, CALIBRATION)
    assert not (found.taken_for == ALL.group).any()
    assert found.positive.tolist() == (found.taken_for % 2 == 1).tolist()
    assert (found.typicality <= GUARD.novelty(ALL.codes).typicality).all()


def test_the_order_of_the_rows_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(500)
    found, turned = leave_one_group_out(GUARD, ALL, CALIBRATION), leave_one_group_out(GUARD, ALL.take(order), CALIBRATION)
    assert turned.p.tolist() == found.p[order].tolist()
    assert turned.taken_for.tolist() == found.taken_for[order].tolist()


def test_groups_are_needed_to_leave_one_out() -> None:
    for rows, calibration in ((replace(ALL, group=None), CALIBRATION), (ALL, replace(CALIBRATION, group=None))):
        with pytest.raises(ValueError, match="groups are needed"):
            leave_one_group_out(GUARD, rows, calibration)


# --- the guard, evaluated --------------------------------------------------------------------------------------------


def test_the_evaluation_of_a_guard_by_hand() -> None:
    left_out = LeftOutNovelty(
        p=np.array([0.5, 0.2, 0.06, 0.04, 0.011, 0.002, 0.0004, 0.9]),
        typicality=np.array([0.0, -1.0, -2.0, -3.0, -4.0, -5.0, -6.0, 1.0]),
        positive=np.array([False, False, True, False, False, True, False, True]),
        taken_for=np.array([3, 3, 4, 3, -1, 4, 5, 4]),
    )
    y, group = labels(1, 0, 1, 1, 1, 1, 1, 0), np.array([1, 0, 1, 1, 2, 2, 2, 0])
    known = np.array([0.5, -0.5, -2.0, 2.0])
    found = guard_evaluation("one at a time", left_out, y, group, known, 0.95)
    assert found.how == "one at a time"
    scores = -np.r_[left_out.typicality, known]
    assert found.novelty_auc == pytest.approx(roc_auc_score(np.r_[np.ones(8), np.zeros(4)], scores), abs=1e-12)
    assert found.at_coverage == {
        0.9: PredictionCounts(rows=8, answered=3, correct=1, false_negative=1, negative=2, positives=6),
        0.95: PredictionCounts(rows=8, answered=4, correct=2, false_negative=1, negative=2, positives=6),
        0.99: PredictionCounts(rows=8, answered=6, correct=2, false_negative=3, negative=4, positives=6),
        0.995: PredictionCounts(rows=8, answered=6, correct=2, false_negative=3, negative=4, positives=6),
        0.999: PredictionCounts(rows=8, answered=7, correct=3, false_negative=3, negative=4, positives=6),
    }
    assert found.by_group == (
        GroupCounts(0, PredictionCounts(rows=2, answered=2, correct=1, false_negative=0, negative=1, positives=0)),
        GroupCounts(1, PredictionCounts(rows=3, answered=2, correct=1, false_negative=1, negative=1, positives=3)),
        GroupCounts(2, PredictionCounts(rows=3, answered=0, correct=0, false_negative=0, negative=0, positives=3)),
    )
    # Most wrong ones first, then most answered rows, then the most typical; what was taken for a cluster is no pair.
    assert {(pair.group, pair.taken_for): (pair.answered, pair.false_negative) for pair in found.pairs if pair.answered} == {
        (1, 3): (1, 1),
        (0, 3): (1, 0),
        (0, 4): (1, 0),
        (1, 4): (1, 0),
    }
    assert (found.pairs[0].group, found.pairs[0].taken_for) == (1, 3)
    bold = guard_evaluation("", left_out, y, group, known, 0.999)
    assert bold.pairs[0] == ConfusedGroups(1, 3, 2, 2, 2)
    assert all(pair.taken_for >= 0 for pair in bold.pairs)


def test_a_coverage_of_ones_own_is_reported_beside_the_others() -> None:
    left_out = leave_one_group_out(GUARD, ALL, CALIBRATION)
    assert ALL.group is not None
    found = guard_evaluation("", left_out, ALL.y, ALL.group, GUARD.calibration, 0.97)
    assert list(found.at_coverage) == sorted([*COVERAGES, 0.97])
    assert sum(item.counts.answered for item in found.by_group) == found.at_coverage[0.97].answered
    assert list(guard_evaluation("", left_out, ALL.y, ALL.group, GUARD.calibration, 0.99).at_coverage) == list(COVERAGES)


def test_the_curve_rises_with_the_coverage() -> None:
    left_out = leave_one_group_out(GUARD, ALL, CALIBRATION)
    assert ALL.group is not None
    curve = guard_evaluation("", left_out, ALL.y, ALL.group, GUARD.calibration, 0.99).curve
    assert tuple(point[0] for point in curve) == CURVE
    assert list(CURVE) == sorted(CURVE)
    for number in (1, 2):
        counts = [point[number] for point in curve]
        assert counts == sorted(counts)
    assert curve[-1][1] > curve[0][1]
    for coverage, answered, false_negative in curve:
        wanted = left_out.p > 1 - coverage
        assert answered == int(wanted.sum())
        assert false_negative == int((wanted & ~left_out.positive & (ALL.y == 1)).sum())


def pair_of(found: tuple[ConfusedGroups, ...], group: int, taken_for: int) -> ConfusedGroups:
    return next(pair for pair in found if (pair.group, pair.taken_for) == (group, taken_for))


def test_no_more_pairs_than_are_read() -> None:
    rows = species(3000, groups=15, seed=5)
    calibration = species(500, groups=15, seed=6)
    guard = guard_of(rows, calibration)
    left_out = leave_one_group_out(guard, rows, calibration)
    assert rows.group is not None
    found = guard_evaluation("", replace(left_out, p=np.ones(3000)), rows.y, rows.group, guard.calibration, 0.9).pairs
    assert len(found) == PAIRS
    counted = {(pair.group, pair.taken_for): (pair.rows, pair.false_negative) for pair in found}
    for (group, taken_for), (number, wrong) in counted.items():
        mine = (rows.group == group) & (left_out.taken_for == taken_for)
        assert (number, wrong) == (int(mine.sum()), int((mine & ~left_out.positive & (rows.y == 1)).sum()))
        assert pair_of(found, group, taken_for).answered == number
    order = [(-pair.false_negative, -pair.answered) for pair in found]
    assert order == sorted(order)


def test_where_nothing_is_answered_the_nearest_groups_are_the_pairs() -> None:
    left_out = replace(leave_one_group_out(GUARD, ALL, CALIBRATION), p=np.zeros(500))
    assert ALL.group is not None
    found = guard_evaluation("", left_out, ALL.y, ALL.group, GUARD.calibration, 0.99)
    assert len(found.pairs) == PAIRS
    assert all((pair.answered, pair.false_negative) == (0, 0) for pair in found.pairs)
    means = [left_out.typicality[(ALL.group == pair.group) & (left_out.taken_for == pair.taken_for)].mean() for pair in found.pairs]
    assert means == sorted(means, reverse=True)
    assert all(counts.answered == 0 for counts in found.at_coverage.values())


# --- the promise -----------------------------------------------------------------------------------------------------

ALPHAS = (0.05, 0.2)


def promised(raw: Float64, y: Any, familiar: Any = None, *, splits: int = 40, **settings: Any) -> dict[float, PromiseCheck]:
    known = np.ones(len(y), dtype=np.bool_) if familiar is None else familiar
    wanted = GuardSettings(**{"delta": 0.1, **settings})
    found = simulate_promise(raw, y, known, (len(y) // 4, len(y) // 3), wanted, alphas=ALPHAS, splits=splits, seed=1)
    assert [promise.alpha for promise in found] == list(ALPHAS)
    assert all((promise.splits, promise.delta) == (splits, 0.1) for promise in found)
    return {promise.alpha: promise for promise in found}


def noisy(rows: int, seed: int) -> tuple[Float64, npt.NDArray[np.int8]]:
    """Scores of a model with errors."""
    draw = np.random.default_rng(seed)
    z = draw.normal(0, 3, rows)
    return 1 / (1 + np.exp(-0.6 * z)), (draw.random(rows) * (1 + np.exp(-z)) < 1).astype(np.int8)


def test_a_perfect_score_keeps_every_promise() -> None:
    y = (np.arange(600) % 2).astype(np.int8)
    for promise in promised(np.where(y == 1, 0.9, 0.1), y).values():
        assert (promise.with_threshold, promise.held, promise.worst) == (40, 40, 0.0)


def test_where_no_threshold_is_found_the_promise_holds_and_is_counted_apart() -> None:
    y = (np.arange(600) % 2).astype(np.int8)
    for raw, familiar in ((np.full(600, 0.5), None), (np.where(y == 1, 0.9, 0.1), np.zeros(600, dtype=np.bool_))):
        for promise in promised(raw, y, familiar).values():
            assert (promise.with_threshold, promise.held, promise.worst) == (0, 40, 0.0)


def test_a_promise_broken_on_purpose_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    # Everything is answered negative, whatever the test says: about 30 % of it is wrong.
    y = (np.random.default_rng(0).random(600) < 0.3).astype(np.int8)
    monkeypatch.setattr(
        safety_scorecard,
        "choose_threshold",
        lambda p, y, tested, levels, *, positives: Threshold(1.0, levels.alpha, levels.delta, len(p), 0, "broken"),
    )
    for promise in promised(np.random.default_rng(1).random(600), y).values():
        assert (promise.with_threshold, promise.held) == (40, 0)
        assert 0.25 < promise.worst < 0.4


def test_the_promise_is_held_to_all_rows_outside_the_calibration_part_and_to_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(2)
    raw, y = draw.random(600), (draw.random(600) < 0.2).astype(np.int8)
    known = draw.random(600) < 0.9
    monkeypatch.setattr(
        safety_scorecard,
        "choose_threshold",
        lambda p, y, tested, levels, *, positives: Threshold(0.5, levels.alpha, levels.delta, len(p), 0, "broken"),
    )
    found = promised(raw, y, known, calibration="none")
    permutations, shares = np.random.default_rng(1), []
    for _ in range(40):
        rest = permutations.permutation(600)[150:]
        shares.append(float(y[rest][known[rest] & (raw[rest] <= 0.5)].mean()))
    assert found[0.2].worst == max(shares)
    assert found[0.2].held == sum(share <= 0.2 for share in shares)
    assert 0 < found[0.2].held < 40


def test_a_threshold_that_is_too_bold_breaks_the_stricter_promise_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of what is answered negative a tenth is wrong: too many for 5 %, few enough for 20 %.
    draw = np.random.default_rng(0)
    y = (draw.random(6000) < 0.1).astype(np.int8)
    monkeypatch.setattr(
        safety_scorecard,
        "choose_threshold",
        lambda p, y, tested, levels, *, positives: Threshold(1.0, levels.alpha, levels.delta, len(p), 0, "broken"),
    )
    found = promised(draw.random(6000), y)
    assert (found[0.05].held, found[0.2].held) == (0, 40)


def test_the_promise_is_held_to_rows_that_the_guard_knows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    # All positive rows are unknown to the guard: nothing that is answered is wrong.
    y = (np.random.default_rng(0).random(600) < 0.3).astype(np.int8)
    monkeypatch.setattr(
        safety_scorecard,
        "choose_threshold",
        lambda p, y, tested, levels, *, positives: Threshold(1.0, levels.alpha, levels.delta, len(p), 0, "broken"),
    )
    for promise in promised(np.random.default_rng(1).random(600), y, y == 0).values():
        assert (promise.with_threshold, promise.held, promise.worst) == (40, 40, 0.0)


def test_the_promise_is_kept_by_a_model_with_errors() -> None:
    raw, y = noisy(6000, 3)
    for promise in promised(raw, y, splits=60).values():
        assert promise.with_threshold > 10, "a test of nothing"
        # Splits of one table are not independent of each other: 1 - delta of 60, and a little less.
        assert promise.held >= 60 * 0.9 - 6
        assert 0 < promise.worst < 2 * promise.alpha


def test_calibration_threshold_and_held_out_rows_are_disjoint(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    choose = choose_threshold

    def remember(p: Float64, y: Any, tested: Float64, levels: RiskLevels, *, positives: int) -> Threshold:
        seen.append(len(p))
        return choose(p, y, tested, levels, positives=positives)

    monkeypatch.setattr(safety_scorecard, "choose_threshold", remember)
    raw, y = noisy(1200, 4)
    promised(raw, y, calibration="none", splits=20)
    assert set(seen) == {400}
    familiar = np.arange(1200) < 600
    seen.clear()
    promised(raw, y, familiar, calibration="none", splits=20)
    assert all(150 < number < 250 for number in seen)


def test_a_seed_gives_the_same_splits_again() -> None:
    raw, y = noisy(2000, 5)
    assert promised(raw, y) == promised(raw, y)


# --- the real table --------------------------------------------------------------------------------------------------


def test_species_left_out_of_the_real_table_are_not_called_edible(real_data: Path, config_file: Path) -> None:
    table = real(real_data, config_file)
    rows, calibration = table.rows, table.part("calibration")
    left_out = leave_one_group_out(table.guard, rows, calibration)
    # Known rows that nothing was fitted on: those of the other parts.
    known = table.guard.novelty(table.part("threshold", "test").codes).typicality
    assert rows.group is not None
    found = guard_evaluation("one species at a time", left_out, rows.y, rows.group, known, table.settings.guard.coverage)
    assert len(found.by_group) == 173
    assert found.novelty_auc >= 0.998
    assert {counts.rows for counts in found.at_coverage.values()} == {61_069}
    assert {counts.positives for counts in found.at_coverage.values()} == {33_888}
    assert found.at_coverage[0.995].false_negative == 0
    assert found.at_coverage[0.999].false_negative <= 5

"""What to look at next: mutual information by the book, per cost; and which groups still fit."""

import numpy as np
import pytest

from partial_support import SCHEMA, fitted
from sporeprint.safety.cells import Cells
from sporeprint.safety.next_question import Questions

GUARD = fitted().guard
QUESTIONS = Questions(GUARD, dict.fromkeys(SCHEMA.columns, 1.0))


def cells_of(row: dict[str, str | float | None]) -> Cells:
    return Cells.of_rows([row], GUARD.layout)


def entropy(p: float) -> float:
    return 0.0 if p in (0.0, 1.0) else float(-p * np.log2(p) - (1 - p) * np.log2(1 - p))


def test_information_is_the_expected_fall_of_the_entropy() -> None:
    cells = cells_of({"n0": "a", "height": 52.0})
    weights = QUESTIONS.weights(cells)
    bits = QUESTIONS.bits(weights)
    at = GUARD.layout.columns.index("n4")
    shares, positive = GUARD.likelihood.shares()[at], GUARD.likelihood.positive
    expected = entropy(float(weights[0] @ positive))
    for value in shares:
        likely = float(value @ weights[0])
        expected -= likely * entropy(float(value @ (weights[0] * positive)) / likely)
    assert bits[0, at] == pytest.approx(expected, abs=1e-9)


def test_a_dear_column_is_asked_later() -> None:
    cells = cells_of({})
    first = QUESTIONS.columns(cells, most=1)[0][0]
    dear = Questions(GUARD, {**dict.fromkeys(SCHEMA.columns, 1.0), first: 50.0})
    assert dear.columns(cells, most=1)[0][0] != first


def test_what_was_observed_or_cannot_be_told_is_not_asked() -> None:
    cells = cells_of({"n0": "a", "n1": "b"})
    assert not {"n0", "n1"} & set(QUESTIONS.columns(cells, most=20)[0])
    without = frozenset(SCHEMA.columns) - {"n5"}
    assert [question.column for question in QUESTIONS.best(cells, most=5, without=without)] in ([], ["n5"])


def test_each_answer_says_how_likely_it_is_and_what_follows() -> None:
    cells = cells_of({"n0": "a"})
    (question,) = QUESTIONS.best(cells, most=1)
    assert sum(value.likelihood for value in question.values) == pytest.approx(1, abs=0.02)
    before = float(QUESTIONS.weights(cells)[0] @ GUARD.likelihood.positive)
    assert sum(value.likelihood * value.positive for value in question.values) == pytest.approx(before, abs=0.02)


def test_the_own_group_nearly_always_fits() -> None:
    rows, cells = fitted().rows, fitted().cells
    assert rows.group is not None
    random = np.random.default_rng(4)
    kept = 0
    for at in range(120):
        mask = random.random((1, len(SCHEMA.columns))) < 0.6
        key = QUESTIONS.key(cells.take(slice(at, at + 1)).hidden(mask, GUARD.layout), coverage=0.99)
        kept += any(fit.group == rows.group[at] for fit in key.fits)
    assert kept >= 115


def test_nothing_observed_excludes_nothing() -> None:
    key = QUESTIONS.key(cells_of({}), coverage=0.99)
    assert len(key.fits) == len(GUARD.likelihood.names)
    assert key.near_misses == ()


def test_a_slip_is_a_near_miss() -> None:
    """One value changed to one that the group never has: the group no longer fits, but for that column."""
    rows, likelihood = fitted().rows, GUARD.likelihood
    assert rows.group is not None
    at = next(at for at in range(len(rows.y)) if rows.codes.nominal["n0"][at] > 0)
    group = int(rows.group[at])
    from sporeprint.data.dataset import to_rows

    row = to_rows(rows.codes)[at]
    column = GUARD.layout.columns.index("n0")
    shares = likelihood.shares()[column][:, group]
    row["n0"] = GUARD.layout.categories["n0"][int(shares.argmin())]
    key = QUESTIONS.key(cells_of(row), coverage=0.99)
    assert (group, "n0") in [(miss.group, miss.column) for miss in key.near_misses]
    assert "n0" in QUESTIONS.unusual(cells_of(row), np.array([group]))[0]

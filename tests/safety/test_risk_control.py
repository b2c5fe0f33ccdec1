"""Where the negative answer begins: the test is exact, stops in time, and keeps its promise on rows it has not seen."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from sporeprint.safety.risk_control import RiskLevels, Threshold, candidate_thresholds, choose_threshold, rows_needed
from support import labels

Float64 = npt.NDArray[np.float64]


def choose(p: Float64, y: npt.NDArray[np.int8], tested: Float64, *, alpha: float, delta: float, missed: float = 1.0) -> Threshold:
    """Every row counts once."""
    return choose_threshold(p, y, tested, RiskLevels(alpha, missed, delta), positives=int(y.sum()), rows=len(y), units=len(y))


SHARES = st.sampled_from([0.001, 0.005, 0.01, 0.05, 0.1, 0.3])


@pytest.mark.parametrize(
    ("alpha", "delta", "rows"),
    [(0.001, 0.05, 2995), (0.01, 0.05, 299), (0.05, 0.05, 59), (0.005, 0.1, 460), (0.1, 0.05, 29), (0.5, 0.25, 2)],
)
def test_rows_needed(alpha: float, delta: float, rows: int) -> None:
    assert rows_needed(alpha, delta) == rows


@given(st.floats(1e-6, 0.5), st.floats(1e-6, 0.5))
def test_so_many_rows_without_an_error_are_enough_and_one_less_is_not(alpha: float, delta: float) -> None:
    n = rows_needed(alpha, delta)
    assert (1 - alpha) ** n <= delta * (1 + 1e-9)
    assert (1 - alpha) ** (n - 1) >= delta * (1 - 1e-9)


@given(SHARES, st.sampled_from([0.01, 0.05, 0.1]))
def test_that_is_what_the_choice_goes_by(alpha: float, delta: float) -> None:
    n = rows_needed(alpha, delta)
    for rows, expected in ((n, 0.5), (n - 1, None)):
        found = choose(np.zeros(rows), np.zeros(rows, dtype=np.int8), np.array([0.5]), alpha=alpha, delta=delta)
        assert (found.value, found.answered, found.wrong) == (expected, rows, 0)


# --- the choice ------------------------------------------------------------------------------------------------------


def by_the_book(p: list[float], y: list[int], tested: list[float], alpha: float, delta: float) -> tuple[float | None, int, int]:
    """One candidate after the other, each with the exact test, until one cannot be rejected."""
    best, counts = None, None
    for candidate in tested:
        answered = [label for probability, label in zip(p, y, strict=True) if probability <= candidate]
        k, n = sum(answered), len(answered)
        counts = (n, k) if counts is None else counts
        if not n or stats.binomtest(k, n, alpha, alternative="less").pvalue > delta:
            break
        best, counts = candidate, (n, k)
    assert counts is not None
    return best, *counts


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=150),
    st.sets(st.integers(0, 20), min_size=1, max_size=6),
    st.sampled_from([0.05, 0.1, 0.3]),
    st.sampled_from([0.05, 0.2]),
)
def test_the_choice_is_that_of_the_book(rows: list[tuple[int, int]], tested: set[int], alpha: float, delta: float) -> None:
    # A tenth of the rows is positive, more often where the score is high.
    p = [score / 20 for score, _ in rows]
    y = [int(chance + score / 5 > 9) for score, chance in rows]
    thresholds = [score / 20 for score in sorted(tested)]
    found = choose(np.array(p), np.array(y, dtype=np.int8), np.array(thresholds), alpha=alpha, delta=delta)
    assert (found.value, found.answered, found.wrong) == by_the_book(p, y, thresholds, alpha, delta)
    assert (found.alpha, found.delta) == (alpha, delta)


def test_the_sequence_stops_at_the_first_that_fails() -> None:
    # 100 rows without an error, then 10 positive ones, then thousands without: of all of them few are wrong again.
    p = np.r_[np.full(100, 0.1), np.full(10, 0.2), np.full(5000, 0.3)]
    y = np.r_[np.zeros(100), np.ones(10), np.zeros(5000)].astype(np.int8)
    tested = np.array([0.1, 0.2, 0.3])
    assert choose(p, y, tested[2:], alpha=0.05, delta=0.05).value == 0.3
    found = choose(p, y, tested, alpha=0.05, delta=0.05)
    assert (found.value, found.answered, found.wrong) == (0.1, 100, 0)
    assert choose(p, y, tested[1:], alpha=0.05, delta=0.05).value is None


def test_rows_at_the_threshold_are_answered() -> None:
    p, y = np.r_[np.full(58, 0.1), 0.5], np.zeros(59, dtype=np.int8)
    assert choose(p, y, np.array([0.5]), alpha=0.05, delta=0.05).answered == 59
    assert choose(p, y, np.array([0.5]), alpha=0.05, delta=0.05).value == 0.5
    assert choose(p, y, np.array([np.nextafter(0.5, 0)]), alpha=0.05, delta=0.05).value is None


@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=1, max_size=80), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, bool]], random: Any) -> None:
    order = np.array(random.sample(range(len(rows)), len(rows)))
    p, y = np.array([score / 10 for score, _ in rows]), np.array([positive for _, positive in rows], dtype=np.int8)
    tested = np.linspace(0, 0.5, 4)
    assert choose(p, y, tested, alpha=0.2, delta=0.2) == choose(p[order], y[order], tested, alpha=0.2, delta=0.2)


def test_no_rows_promise_nothing() -> None:
    found = choose(np.empty(0), labels(), np.array([0.5]), alpha=0.001, delta=0.05)
    assert (found.value, found.answered, found.wrong) == (None, 0, 0)
    assert found.reason == (
        "no threshold controls the risk: even at 0.5, 0 of 0 negative answers were wrong; "
        "0.10% at 95% confidence needs at least 2,995 without an error"
    )


def test_too_few_rows_say_how_many_are_needed() -> None:
    found = choose(np.zeros(1000), np.zeros(1000, dtype=np.int8), np.array([0.25, 0.5]), alpha=0.001, delta=0.05)
    assert found.value is None
    assert found.reason == (
        "no threshold controls the risk: even at 0.25, 0 of 1,000 negative answers were wrong; "
        "0.10% at 95% confidence needs at least 2,995 without an error"
    )


def test_all_positive_rows_promise_nothing() -> None:
    found = choose(np.full(5000, 0.1), np.ones(5000, dtype=np.int8), np.array([0.1, 0.5]), alpha=0.01, delta=0.05)
    assert (found.value, found.answered, found.wrong) == (None, 5000, 5000)
    assert found.reason == (
        "no threshold controls the risk: even at 0.1, 5,000 of 5,000 negative answers were wrong; 1.00% at 95% confidence allows fewer"
    )


def test_all_negative_rows_promise_all() -> None:
    found = choose(np.full(5000, 0.1), np.zeros(5000, dtype=np.int8), np.array([0.1, 0.5]), alpha=0.001, delta=0.05)
    assert (found.value, found.answered, found.wrong) == (0.5, 5000, 0)
    assert found.reason == "0 of 5,000 negative answers were wrong at 0.5, few enough for 0.10%, with confidence 95%"


# --- candidates ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0, 1), max_size=400),
    st.integers(0, 2000),
    SHARES,
    st.sampled_from([0.05, 0.2]),
    st.sampled_from([0.2, 0.5]),
    st.integers(1, 40),
)
def test_candidates_increase_end_at_the_most_and_are_not_too_many(
    p: list[float], rows: int, alpha: float, delta: float, most: float, count: int
) -> None:
    found = candidate_thresholds(np.array(p), rows=rows, alpha=alpha, delta=delta, most=most, count=count)
    assert (np.diff(found) > 0).all()
    assert found[-1] == most
    assert 1 <= len(found) <= count + 1
    assert set(found.tolist()) <= {most, *p}


@given(st.integers(50, 3000), st.integers(50, 5000), st.sampled_from([0.01, 0.05]))
def test_the_first_candidate_is_expected_to_answer_enough_rows(size: int, rows: int, alpha: float) -> None:
    p = np.linspace(0, 0.4, size)
    found = candidate_thresholds(p, rows=rows, alpha=alpha, delta=0.05)
    needed = rows_needed(alpha, 0.05)
    wanted = (needed + 3 * math.sqrt(needed * (1 + rows / size))) / rows
    assume(wanted < 1)  # else no candidate can be, and the largest one is tried
    share = float((p <= found[0]).mean())
    assert share >= wanted
    assert share <= wanted + 2 / size or found[0] == 0.5


@pytest.mark.parametrize("p", [np.empty(0), np.full(100, 0.9), np.zeros(3)])
def test_where_nothing_can_be_chosen_the_largest_is_tried(p: Float64) -> None:
    assert candidate_thresholds(p, rows=1000, alpha=0.001, delta=0.05).tolist() == [0.5]
    assert candidate_thresholds(p, rows=0, alpha=0.001, delta=0.05).tolist() == [0.5]


# --- the promise -----------------------------------------------------------------------------------------------------


RUNS, DELTA = 1000, 0.1
MOST_BROKEN = float(stats.binom.ppf(0.999, RUNS, DELTA))


@pytest.mark.parametrize(("alpha", "rows"), [(0.05, 500), (0.1, 200), (0.1, 600)])
def test_the_promise_is_kept_by_a_model_with_errors(alpha: float, rows: int) -> None:
    # The score rises with P(positive), but not as fast. How much is truly wrong below each threshold is known from many rows.
    draw = np.random.default_rng(20201107)

    def some(count: int) -> tuple[Float64, npt.NDArray[np.int8]]:
        z = draw.normal(0, 3, count)
        return np.round(1 / (1 + np.exp(-0.6 * z)), 3), (draw.random(count) * (1 + np.exp(-z)) < 1).astype(np.int8)

    p, y = some(400_000)
    order = np.argsort(p, kind="stable")
    ordered, risk = p[order], np.cumsum(y[order]) / np.arange(1, len(y) + 1)
    broken = chosen = 0
    for _ in range(RUNS):
        others, _ = some(rows // 2)
        seen, found_y = some(rows)
        found = choose(seen, found_y, candidate_thresholds(others, rows=rows, alpha=alpha, delta=DELTA), alpha=alpha, delta=DELTA)
        if found.value is not None:
            chosen += 1
            broken += bool(risk[np.searchsorted(ordered, found.value, side="right") - 1] > alpha)
    assert chosen > RUNS / 10, "a test of nothing"
    assert broken <= MOST_BROKEN


@pytest.mark.parametrize(("alpha", "rows"), [(0.05, 400), (0.1, 300)])
def test_the_promise_is_kept_by_a_score_that_says_nothing(alpha: float, rows: int) -> None:
    # At every threshold a little more than alpha is wrong, so that every threshold is a broken promise: the hardest there is.
    draw = np.random.default_rng(20201107)
    broken = 0
    for _ in range(RUNS):
        others, seen = draw.random(rows), draw.random(rows)
        y = (draw.random(rows) < alpha * 1.001).astype(np.int8)
        tested = candidate_thresholds(others, rows=rows, alpha=alpha, delta=DELTA)
        broken += choose(seen, y, tested, alpha=alpha, delta=DELTA).value is not None
    assert RUNS * DELTA / 5 < broken <= MOST_BROKEN


# --- the second promise ------------------------------------------------------------------------------------------------


def test_always_negative_does_not_keep_the_promise_on_missed_positives() -> None:
    # 4 % are positive and the score says nothing: "always negative" is wrong in fewer than 10 %, and misses all.
    y = np.zeros(2000, dtype=np.int8)
    y[::25] = 1
    p, tested = np.full(2000, 0.04), np.array([0.5])
    assert choose(p, y, tested, alpha=0.1, delta=0.05).value == 0.5
    found = choose(p, y, tested, alpha=0.1, delta=0.05, missed=0.2)
    assert found.value is None
    assert found.is_empty
    assert "80 of 80 positive rows were answered negative; 20% at 95% confidence allows fewer" in found.reason
    few = choose(p[:100], y[:100], tested, alpha=0.1, delta=0.05, missed=0.2)
    assert "20% at 95% confidence needs at least 14 positive rows" in few.reason


@pytest.mark.parametrize(("positives", "value"), [(13, None), (14, 0.5)])
def test_none_missed_says_enough_of_fourteen_positives_only(positives: int, value: float | None) -> None:
    # 0.8 ** 13 is 0.055, 0.8 ** 14 is 0.044.
    y = np.r_[np.zeros(500, dtype=np.int8), np.ones(positives, dtype=np.int8)]
    p = np.where(y == 1, 0.9, 0.01)
    assert choose(p, y, np.array([0.5]), alpha=0.1, delta=0.05, missed=0.2).value == value


@pytest.mark.parametrize(("alpha", "missed"), [(0.1, 0.1), (0.15, 0.05)])
def test_neither_promise_is_broken_more_often_than_stated(alpha: float, missed: float) -> None:
    # The score is honest: P(positive) is the score itself. One promise or the other is the one that binds.
    draw = np.random.default_rng(20201107)
    grid = np.linspace(0, 1, 100_001) ** 2
    wrong_share, missed_share = np.cumsum(grid) / np.arange(1, len(grid) + 1), np.cumsum(grid) / grid.sum()
    broken = chosen = 0
    for _ in range(RUNS):
        others, p = draw.random(300) ** 2, draw.random(600) ** 2
        y = (draw.random(600) < p).astype(np.int8)
        tested = candidate_thresholds(others, rows=600, alpha=alpha, delta=DELTA)
        found = choose(p, y, tested, alpha=alpha, delta=DELTA, missed=missed).value
        if found is not None:
            at = int(np.searchsorted(grid, found, side="right")) - 1
            chosen += 1
            broken += bool(wrong_share[at] > alpha or missed_share[at] > missed)
    assert chosen > RUNS / 10, "a test of nothing"
    assert broken <= MOST_BROKEN

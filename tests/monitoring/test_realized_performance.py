"""Realised performance: scikit-learn's numbers, honest intervals, and a bound that holds whenever one looks."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, roc_auc_score

from sporeprint.monitoring.realized_performance import (
    OutcomeWindow,
    Performance,
    PromiseStatus,
    Tally,
    log_e_above,
    one_of_each,
    realised,
    realized_performance,
)
from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN

ROWS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 2), st.integers(-1, 1)), max_size=30)


def tally(rows: list[tuple[float, int, int]]) -> Tally:
    p, v, y = zip(*rows, strict=True) if rows else ((), (), ())
    return Tally.of(np.array(p, dtype=float), np.array(v, dtype=np.int8), np.array(y, dtype=np.int8))


def measured(found: Tally, **given: object) -> Performance:
    return realized_performance(found, **({"alpha": 0.01, "delta": 0.05} | given))  # type: ignore[arg-type]


def drawn(rows: int, seed: int, wrong: float = 0.0) -> Tally:
    draw = np.random.default_rng(seed)
    p = draw.beta(0.4, 0.4, rows)
    y = (draw.random(rows) < p).astype(np.int8)
    verdict = np.where(p <= 0.01 + wrong, NEGATIVE, np.where(p > 0.5, POSITIVE, UNKNOWN)).astype(np.int8)
    return Tally.of(p, verdict, y)


def test_the_numbers_are_scikit_learns() -> None:
    draw = np.random.default_rng(3)
    p = draw.random(800).round(2)
    y = (draw.random(800) < p).astype(np.int8)
    verdict = np.where(p > 0.7, POSITIVE, np.where(p < 0.2, NEGATIVE, UNKNOWN)).astype(np.int8)
    found = measured(Tally.of(p, verdict, y))
    assert found.roc_auc.value == pytest.approx(roc_auc_score(y, p), abs=1e-12)
    assert found.brier == pytest.approx(brier_score_loss(y, p), abs=1e-12)
    answered = verdict != UNKNOWN
    assert found.accuracy.value == pytest.approx(np.mean((verdict == y)[answered]))
    assert found.likelier.value == pytest.approx(np.mean((p > 0.5) == y))
    assert found.unknown.value == pytest.approx(np.mean(~answered))
    assert found.gap.value == pytest.approx(np.mean(y - p))
    assert found.gap.low < 0 < found.gap.high
    assert sum(rows for rows, _, _ in found.reliability) == 800
    assert not found.not_computed


@given(ROWS, ROWS)
def test_parts_add_up(a: list[tuple[float, int, int]], b: list[tuple[float, int, int]]) -> None:
    added, whole = tally(a) + tally(b), tally([*a, *b])
    assert np.array_equal(added.counts, whole.counts)
    assert np.array_equal(added.answered, whole.answered)
    assert np.allclose(added.bins, whole.bins)
    assert added.squared == pytest.approx(whole.squared)


def test_without_outcomes_nothing_is_said() -> None:
    found = measured(tally([(0.2, NEGATIVE, -1)] * 50))
    assert found.promise is PromiseStatus.NOTHING
    assert found.not_computed == {"performance": "no row with an outcome; at least 30 are needed"}
    assert np.isnan(found.accuracy.value)
    assert np.isnan(found.brier)


def test_outcomes_of_one_class_and_scores_that_are_no_numbers_are_said() -> None:
    found = measured(tally([(0.2, NEGATIVE, 0)] * 50 + [(float("nan"), UNKNOWN, 0)]))
    assert "all outcomes are of one class" in found.not_computed["roc_auc"]
    assert np.isnan(found.roc_auc.value)
    assert found.accuracy.value == 1
    assert "1 row has an outcome, but no probability" in found.notes[0]
    assert "accuracy" in measured(tally([(0.2, UNKNOWN, 0)] * 50)).not_computed


def test_the_promise() -> None:
    good, bad, little = [(0.0, NEGATIVE, 0)] * 3000, [(0.0, NEGATIVE, 1)] * 20, [(0.0, NEGATIVE, 0)] * 50
    assert measured(tally(good)).promise is PromiseStatus.KEPT
    assert measured(tally([*little, *bad])).promise is PromiseStatus.BROKEN
    assert measured(tally(little)).promise is PromiseStatus.OPEN
    assert measured(tally(little), earlier=(3000, 0)).promise is PromiseStatus.KEPT
    assert measured(tally(little), earlier=(3000, 200)).promise is PromiseStatus.BROKEN


def test_a_promise_that_is_kept_is_hardly_ever_said_to_be_broken() -> None:
    """Looked at after every 100 answers, with a share of errors exactly as large as promised."""
    draw = np.random.default_rng(8)
    broken = 0
    for _ in range(80):
        wrong = np.cumsum(draw.binomial(100, 0.05, size=30))
        broken += any(
            realized_performance(Tally(), alpha=0.05, delta=0.05, earlier=(100 * look, int(count))).promise is PromiseStatus.BROKEN
            for look, count in enumerate(wrong.tolist(), start=1)
        )
    assert broken <= 10  # 5 % of 80, and three standard deviations


def test_outcomes_that_come_for_one_answer_only_are_said() -> None:
    rows = [(0.9, POSITIVE, -1)] * 100 + [(0.1, NEGATIVE, 0)] * 100
    assert "more than twice as often for one answer" in measured(tally(rows)).notes[-1]


def test_windows_ripen() -> None:
    full, half = drawn(200, 1), tally([(0.1, NEGATIVE, 0)] * 50 + [(0.1, NEGATIVE, -1)] * 50)
    windows = (OutcomeWindow(200, 300, half), OutcomeWindow(0, 100, full), OutcomeWindow(100, 200, half), OutcomeWindow(300, 9000, full))
    found = realised(windows, now_s=1000, wait_s=850, arrived=0.9, alpha=0.01, delta=0.05)
    assert [item.window.begin_s for item in found] == [0, 100, 200, 300]
    assert [item.mature for item in found] == [True, False, False, False]
    assert [item.arrived for item in found] == [1, 0.5, 0.5, 1]
    assert "in the future" in found[3].why
    late = realised(windows[:1], now_s=2000, wait_s=850, arrived=0.9, alpha=0.01, delta=0.05)
    assert late[0].mature
    assert late[0].why == "outcomes have had the time they take"
    with pytest.raises(ValueError, match="windows overlap"):
        realised((OutcomeWindow(0, 100, full), OutcomeWindow(50, 150, full)), now_s=1, wait_s=1, arrived=1, alpha=0.01, delta=0.05)


def test_later_windows_know_of_the_earlier_ones() -> None:
    good = tally([(0.0, NEGATIVE, 0)] * 300)
    windows = tuple(OutcomeWindow(day, day + 1, good) for day in range(12))
    found = realised(windows, now_s=20, wait_s=1, arrived=0.9, alpha=0.01, delta=0.05)
    assert found[0].performance.promise is PromiseStatus.OPEN
    assert found[-1].performance.promise is PromiseStatus.KEPT
    assert found[-1].performance.false_negatives.high < found[0].performance.false_negatives.high


def found_after(share: float, alpha: float, paths: int, wrong: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Answers until the promise is called broken, for each path; infinite where it is not within so many wrong answers."""
    gaps = np.random.default_rng(seed).geometric(share, size=(paths, wrong))
    when = np.full(paths, np.inf)
    for path, answers in enumerate(np.cumsum(gaps, axis=1).tolist()):
        for number, count in enumerate(answers, 1):
            if log_e_above(number, count, alpha) >= -math.log(0.05):
                when[path] = count
                break
    return when


def test_a_broken_promise_is_found_in_half_the_answers_that_a_general_mixture_takes() -> None:
    """Jeffreys' mixture takes 18,180 answers in the median at twice the promised share, and 1,343 at five times."""
    assert np.median(found_after(0.002, 0.001, 60, 80, seed=1)) < 11_500
    assert np.median(found_after(0.005, 0.001, 60, 40, seed=2)) < 1_000


def test_a_kept_promise_is_rarely_called_broken() -> None:
    assert np.isfinite(found_after(0.001, 0.001, 100, 40, seed=3)).sum() <= 9  # of 100 at 5 %: 9 or more have a probability of 6 %


# --- rows that are asked again -------------------------------------------------------------------------------------------


def repeated(seed: int, wrong: float, answers: int = 400) -> tuple[Any, Any, Any, Any]:
    """Answers to mushrooms of which few are asked for often (Zipf): probability, verdict, outcome and row of each."""
    draw = np.random.default_rng(seed)
    row = np.minimum(draw.zipf(1.6, answers), 10**6)
    is_wrong = np.random.default_rng([seed, 1]).random(int(row.max()) + 1) < wrong
    verdict = np.full(answers, NEGATIVE, dtype=np.int8)
    return np.full(answers, 0.01), verdict, is_wrong[row].astype(np.int8), row


def test_intervals_hold_where_rows_are_asked_again() -> None:
    """A mushroom that is asked for 20 times, with 20 outcomes, is one mushroom."""
    counted: list[bool] = []
    every: list[bool] = []
    for seed in range(400):
        p, verdict, y, row = repeated(seed, wrong=0.1)
        for tally, intervals in ((Tally.of(p, verdict, y, one_of_each(row, y >= 0)), counted), (Tally.of(p, verdict, y), every)):
            found = measured(tally).accuracy
            intervals.append(found.low <= 0.9 <= found.high)
    assert np.mean(counted) >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / 400)
    assert np.mean(every) < 0.5  # what it was while each answer counted


def test_the_broken_promise_is_no_alarm_where_one_unlucky_row_is_asked_again() -> None:
    alarms: dict[bool, int] = {True: 0, False: 0}
    for seed in range(400):
        p, verdict, y, row = repeated(seed, wrong=0.02)
        for once in alarms:
            tally = Tally.of(p, verdict, y, one_of_each(row, y >= 0) if once else None)
            alarms[once] += measured(tally, alpha=0.02).promise is PromiseStatus.BROKEN
    assert alarms[True] / 400 <= 0.05
    assert alarms[False] / 400 > 0.05


def test_different_rows_and_their_answers_are_both_counted() -> None:
    row, y = np.array([5, 5, 7, 7, 9]), np.array([-1, 1, 0, 0, -1], dtype=np.int8)
    assert one_of_each(row, y >= 0).tolist() == [False, True, True, False, False]
    p, verdict = np.full(5, 0.2), np.zeros(5, dtype=np.int8)
    found = Tally.of(p, verdict, y, one_of_each(row, y >= 0))
    assert (found.answered.tolist(), found.outcomes.tolist(), found.labelled, found.rows) == ([5, 0, 0], [3, 0, 0], 3, 2)
    assert "the 3 outcomes are of 2 different rows: each row counts once" in measured(found).notes
    assert (found + found).rows == 4


def test_the_share_of_unknown_is_less_sure_where_rows_repeat() -> None:
    tally = Tally(answered=np.array([50, 0, 50]))
    plain, repeats = measured(tally).unknown, measured(tally, independent=0.1).unknown
    assert plain.value == repeats.value == 0.5
    assert repeats.high - repeats.low > 2.5 * (plain.high - plain.low)

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from sporeprint.stats import metrics

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 40).map(lambda score: score / 40)), min_size=1, max_size=60)


def split(rows: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([y for y, _ in rows], dtype=np.int8), np.array([p for _, p in rows])


@given(ROWS, st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_counts_are_those_of_scikit_learn(rows: list[tuple[int, float]], threshold: float) -> None:
    y, p = split(rows)
    counts = metrics.confusion(y, p, threshold)
    assert counts.tolist() == reference.confusion_matrix(y, p > threshold, labels=[0, 1]).ravel().tolist()


@given(ROWS)
def test_ratios_are_those_of_scikit_learn(rows: list[tuple[int, float]]) -> None:
    y, p = split(rows)
    counts, answers = metrics.confusion(y, p, 0.5), (p > 0.5).astype(np.int8)
    expected = [
        reference.accuracy_score(y, answers),
        reference.precision_score(y, answers, zero_division=np.nan),
        reference.recall_score(y, answers, zero_division=np.nan),
        reference.f1_score(y, answers, zero_division=np.nan),
        reference.matthews_corrcoef(y, answers) if 0 < y.sum() < len(y) else math.nan,
    ]
    found = [metric(counts) for metric in (metrics.accuracy, metrics.precision, metrics.recall, metrics.f1, metrics.mcc)]
    assert [float(value) for value in found] == pytest.approx(expected, abs=1e-12, nan_ok=True)


@given(ROWS)
def test_losses_are_those_of_scikit_learn(rows: list[tuple[int, float]]) -> None:
    y, p = split(rows)
    assert metrics.squared_errors(y, p).mean() == pytest.approx(reference.brier_score_loss(y, p, labels=[0, 1]), abs=1e-12)
    assert metrics.log_losses(y, p).mean() == pytest.approx(reference.log_loss(y, p, labels=[0, 1]), rel=1e-12, abs=1e-12)
    assert metrics.log_losses(y, p).max() <= metrics.largest_log_loss(p)


def test_many_samples_at_once_give_what_each_gives() -> None:
    counts = np.random.default_rng(1).integers(0, 4, (200, 4)).astype(float)
    for metric in (metrics.accuracy, metrics.precision, metrics.recall, metrics.f1, metrics.mcc):
        assert np.array_equal(metric(counts), [metric(row) for row in counts], equal_nan=True)


def test_undefined_ratios_are_nan_and_silent() -> None:
    only_negatives_said = np.array([5.0, 0, 3, 0])
    assert math.isnan(metrics.precision(only_negatives_said))
    assert metrics.recall(only_negatives_said) == metrics.f1(only_negatives_said) == metrics.mcc(only_negatives_said) == 0
    only_negatives_there = np.array([5.0, 0, 0, 0])
    assert all(math.isnan(metric(only_negatives_there)) for metric in (metrics.precision, metrics.recall, metrics.f1, metrics.mcc))


def test_bins_are_closed_below_and_the_last_one_above() -> None:
    assert metrics.bins(np.array([0.0, 1 / 15, 1 / 15 - 1e-9, 0.5, 14 / 15, 1.0])).tolist() == [0, 1, 0, 7, 14, 14]


def test_calibration_gaps_by_hand() -> None:
    y, p = np.array([0, 1, 1, 0], dtype=np.int8), np.array([0.01, 0.03, 0.99, 0.95])
    gaps = metrics.calibration_gaps(y, p)
    # Two rows each in the first and the last bin: shares of positives 1/2, mean scores 0.02 and 0.97.
    assert np.flatnonzero(gaps).tolist() == [0, 14]
    assert np.abs(gaps).sum() == pytest.approx(0.5 * abs(0.5 - 0.02) + 0.5 * abs(0.5 - 0.97))

"""Expected performance: right where the probabilities are calibrated, whatever rows come."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sporeprint.monitoring.performance_estimation import ScoreHistograms, estimate_performance
from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN


def answered(p: np.ndarray) -> np.ndarray:
    return np.where(p <= 0.1, NEGATIVE, np.where(p > 0.5, POSITIVE, UNKNOWN)).astype(np.int8)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.3), (0.5, 2.0), (4.0, 1.0)])
def test_it_is_what_will_be_realised(a: float, b: float) -> None:
    """Rows of other kinds come, with calibrated probabilities: the truth is in the interval as often as it says."""
    draw = np.random.default_rng(int(10 * a))
    inside = {"accuracy": 0, "likelier": 0, "false_negatives": 0}
    trials, gaps = 200, []
    for _ in range(trials):
        p = draw.beta(a, b, 500)
        y = draw.random(500) < p
        verdict = answered(p)
        found = estimate_performance(ScoreHistograms.of(p, verdict))
        said, negative = verdict != UNKNOWN, verdict == NEGATIVE
        real = {"accuracy": (verdict == y)[said].mean(), "likelier": ((p > 0.5) == y).mean()}
        real["false_negatives"] = y[negative].mean() if negative.any() else np.nan
        for name, value in real.items():
            estimate = getattr(found, name)
            inside[name] += bool(np.isnan(value) or estimate.low - 1e-12 <= value <= estimate.high + 1e-12)
        if y.any() and not y.all():
            gaps.append(found.roc_auc.value - roc_auc_score(y, p))
    assert inside["accuracy"] >= 0.9 * trials
    assert inside["likelier"] >= 0.9 * trials
    assert abs(np.mean(gaps)) < 0.005


def test_it_is_blind_to_a_change_of_what_values_mean() -> None:
    p = np.random.default_rng(1).beta(0.3, 0.3, 5000)
    flipped = np.random.default_rng(2).random(5000) >= p
    assert abs(estimate_performance(ScoreHistograms.of(p, answered(p))).likelier.value - ((p > 0.5) == flipped).mean()) > 0.3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 40))
def test_parts_add_up(values: list[float], at: int) -> None:
    p = np.array(values)
    parts = [ScoreHistograms.of(part, answered(part)) for part in (p[:at], p[at:])]
    added, whole = estimate_performance(parts[0] + parts[1], least=1), estimate_performance(ScoreHistograms.of(p, answered(p)), least=1)
    assert str(added) == str(whole)


def test_too_few_rows_and_no_numbers_are_said() -> None:
    none = ScoreHistograms.of(np.array([np.nan] * 50), np.full(50, UNKNOWN, dtype=np.int8))
    assert none.invalid == 50
    assert estimate_performance(none).not_computed == "no row has a probability; at least 30 are needed"
    assert "1 row has" in str(estimate_performance(ScoreHistograms.of(np.array([0.5]), np.array([1], dtype=np.int8))).not_computed)
    sure = estimate_performance(ScoreHistograms.of(np.zeros(100), np.zeros(100, dtype=np.int8)))
    assert np.isnan(sure.roc_auc.value)
    assert sure.accuracy.value == 1

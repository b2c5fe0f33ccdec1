import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sporeprint.stats import intervals, metrics
from sporeprint.stats.intervals import UNDEFINED, Estimate

GOLDEN = Path(__file__).parents[1] / "golden"
R: dict[str, Any] = json.loads((GOLDEN / "intervals_r.json").read_text(encoding="utf-8"))
STATSMODELS: dict[str, Any] = json.loads((GOLDEN / "intervals_statsmodels.json").read_text(encoding="utf-8"))


def least_hits(samples: int, confidence: float = 0.95) -> int:
    """An interval of this confidence holds the truth less often than so in one of 10,000 simulations."""
    return int(binom.ppf(1e-4, samples, confidence))


@pytest.mark.parametrize(
    ("successes", "trials", "confidence", "low", "high"), R["clopper_pearson"] + STATSMODELS["clopper_pearson"], ids=str
)
def test_clopper_pearson_is_that_of_r_and_statsmodels(successes: float, trials: float, confidence: float, low: float, high: float) -> None:
    assert intervals.clopper_pearson(successes, trials, confidence) == pytest.approx((low, high), abs=1e-10)


@pytest.mark.parametrize(("value", "positives", "negatives", "confidence", "low", "high"), R["newcombe"], ids=str)
def test_newcombe_is_that_of_auroc(value: float, positives: float, negatives: float, confidence: float, low: float, high: float) -> None:
    assert intervals.newcombe(value, int(positives), int(negatives), confidence) == pytest.approx((low, high), abs=1e-9)


def test_newcombe_at_the_worst_mirrors_the_best() -> None:
    low, high = intervals.newcombe(1.0, 30, 20, 0.95)
    assert intervals.newcombe(0.0, 30, 20, 0.95) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(
    "estimate",
    [
        intervals.proportion(500, 500, 0.95),
        intervals.f1(300, 0, 0.95),
        intervals.mcc(np.array([200.0, 0, 0, 300]), 0.95, seed=1),
        intervals.roc_auc(1.0, 300, 200, 0.95),
        intervals.average_precision(1.0, 300, 0.0, 0.95),
    ],
    ids=["proportion", "f1", "mcc", "roc_auc", "average_precision"],
)
def test_no_error_does_not_promise_none(estimate: Estimate) -> None:
    assert estimate.value == estimate.high == 1
    # An error rate of 1 in 100 would have shown among 500 rows, one of 1 in 1000 need not have.
    assert 0.97 < estimate.low < 0.995


@pytest.mark.parametrize(
    "estimate",
    [
        intervals.proportion(0, 0, 0.95),
        intervals.f1(0, 0, 0.95),
        intervals.mcc(np.array([0.0, 0, 2, 3]), 0.95, seed=1),
        intervals.roc_auc(math.nan, 3, 0, 0.95),
        intervals.average_precision(math.nan, 0, math.nan, 0.95),
    ],
    ids=["proportion", "f1", "mcc", "roc_auc", "average_precision"],
)
def test_what_is_undefined_has_no_interval(estimate: Estimate) -> None:
    assert repr(estimate) == repr(UNDEFINED)


def test_around_holds_its_value() -> None:
    assert intervals.around(0.5, 0.6, 0.7) == Estimate(0.5, 0.5, 0.7)
    assert intervals.around(0.5, 0.3, 0.4) == Estimate(0.5, 0.3, 0.5)


def test_bisect_finds_a_root_from_either_side() -> None:
    assert intervals.bisect(lambda x: 2 - x * x, 0.0, 2.0) == pytest.approx(math.sqrt(2), abs=1e-15)
    assert intervals.bisect(lambda x: x * x - 2, 2.0, 0.0) == pytest.approx(math.sqrt(2), abs=1e-15)


@given(st.integers(1, 500), st.integers(0, 500), st.floats(0.5, 0.999))
def test_f1_is_the_mapped_interval_of_the_jaccard_index(right: int, errors: int, confidence: float) -> None:
    found = intervals.f1(right, errors, confidence)
    assert found.value == pytest.approx(2 * right / (2 * right + errors), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 30), st.integers(1, 30), st.floats(0.5, 0.99))
def test_roc_auc_holds_both_of_its_intervals(doubled: int, spread: int, positives: int, negatives: int, confidence: float) -> None:
    value = min(1.0, (doubled + spread) / 100)
    found = intervals.roc_auc(value, positives, negatives, confidence)
    low, high = intervals.newcombe(value, positives, negatives, confidence)
    assert 0 <= found.low <= low <= value <= high <= found.high <= 1


def test_average_precision_is_wider_where_it_varies_more() -> None:
    binomial = intervals.average_precision(0.9, 1000, 0.001, 0.95)
    assert binomial == intervals.average_precision(0.9, 1000, 0.0, 0.95)
    assert (binomial.low, binomial.high) == intervals.clopper_pearson(900, 1000, 0.95)
    wider = intervals.average_precision(0.9, 1000, 0.03, 0.95)
    assert (wider.low, wider.high) == pytest.approx(intervals.clopper_pearson(90, 100, 0.95))


@pytest.mark.parametrize("right", [50, 1000])
def test_mcc_of_balanced_classes_is_as_sure_as_accuracy(right: int) -> None:
    """With balanced classes and few errors MCC is 2 accuracy - 1."""
    for errors in (0, 2):
        counts = np.array([right, errors, errors, right], dtype=float)
        found, (low, high) = intervals.mcc(counts, 0.95, seed=2), intervals.clopper_pearson(2 * right, 2 * (right + errors), 0.95)
        assert 1 - found.low == pytest.approx(2 * (1 - low), rel=0.1)
        assert 1 - found.high == pytest.approx(2 * (1 - high), rel=0.3)


@pytest.mark.parametrize("errors", [0.3, 1.0, 3.0, 60.0])
@pytest.mark.parametrize("share", [0.55, 0.9])
def test_intervals_from_counts_cover(errors: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where about one error is expected, and Wilson's, Jeffreys' and bootstrap intervals fail."""
    monkeypatch.setattr(intervals, "DRAWS", 1000)
    rows, samples = 400, 500
    rate = errors / rows
    shares = np.array([(1 - share) * (1 - rate), (1 - share) * rate, share * rate, share * (1 - rate)])
    draws = np.random.default_rng(5).multinomial(rows, shares, size=samples).astype(float)
    hits = np.zeros(4)
    truth = [float(metric(shares)) for metric in (metrics.accuracy, metrics.f1, metrics.mcc)] + [1 - rate]
    for counts in draws:
        tn, fp, fn, tp = map(int, counts)
        found = [
            intervals.proportion(tn + tp, rows, 0.95),
            intervals.f1(tp, fp + fn, 0.95),
            intervals.mcc(counts, 0.95, seed=3),
            # Answers as scores: the area is the mean of both classes' shares of right answers.
            intervals.roc_auc((tn / (tn + fp) + tp / (tp + fn)) / 2, tp + fn, tn + fp, 0.95),
        ]
        hits += [estimate.low <= true <= estimate.high for estimate, true in zip(found, truth, strict=True)]
    assert min(hits) >= least_hits(samples), hits / samples

"""Metrics of a binary classifier as plain functions of counts or rows, for one sample or many at once.

Where a metric is a ratio 0/0 it is NaN, with one exception (`mcc`). The values are those of scikit-learn, which however returns
0 with a warning for such a ratio.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
#: float64 [..., 4]: true negatives, false positives, false negatives, true positives; whole numbers, weights or shares.
Counts = npt.NDArray[np.float64]

#: Bins of the expected calibration error.
BINS = 15
#: scikit-learn's log loss keeps scores this far from 0 and 1.
CLIP = float(np.finfo(np.float64).eps)


def ratio(numerator: Any, denominator: Any) -> Float64:
    """Element-wise quotient; 0/0 is NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.true_divide(numerator, denominator), dtype=np.float64)


def answers(y: npt.NDArray[np.int8], p: Float64, threshold: float) -> npt.NDArray[np.intp]:
    """Each row's cell of the confusion matrix: 0 tn, 1 fp, 2 fn, 3 tp.

    Args:
        y: 0 or 1 [n].
        p: P(positive) [n].
        threshold: a score above it is a positive answer, as scikit-learn's classifiers have it for 0.5.
    """
    return np.asarray(2 * y.astype(np.intp) + (p > threshold))


def confusion(y: npt.NDArray[np.int8], p: Float64, threshold: float) -> Counts:
    """Counts of `answers`: float64 [4]: tn, fp, fn, tp."""
    return np.bincount(answers(y, p, threshold), minlength=4).astype(np.float64)


def accuracy(counts: Counts) -> Float64:
    """Share of right answers."""
    return ratio(counts[..., 0] + counts[..., 3], counts.sum(axis=-1))


def precision(counts: Counts) -> Float64:
    """Share of positives among the positive answers; NaN without positive answers."""
    return ratio(counts[..., 3], counts[..., 1] + counts[..., 3])


def recall(counts: Counts) -> Float64:
    """Share of the positives that are answered positive; NaN without positives."""
    return ratio(counts[..., 3], counts[..., 2] + counts[..., 3])


def f1(counts: Counts) -> Float64:
    """Harmonic mean of precision and recall, 2tp / (2tp + fp + fn); NaN without positives and positive answers."""
    return ratio(2 * counts[..., 3], 2 * counts[..., 3] + counts[..., 1] + counts[..., 2])


def mcc(counts: Counts) -> Float64:
    """Matthews correlation; NaN for rows of one class; 0 where all answers are the same, its limit (Chicco & Jurman 2020)."""
    tn, fp, fn, tp = (counts[..., cell] for cell in range(4))
    predicted_product, there = (tp + fp) * (tn + fn), (tp + fn) * (tn + fp)
    # In this form exactly 1 without errors.
    value = np.clip(ratio(tp * tn - fp * fn, np.sqrt(predicted_product * there)), -1, 1)
    return np.asarray(np.where((predicted_product == 0) & (there > 0), 0.0, value))


def squared_errors(y: npt.NDArray[np.int8], p: Float64) -> Float64:
    """(p - y)^2 of each row; their mean is the Brier score (Brier 1950)."""
    return np.square(p - y)


def log_losses(y: npt.NDArray[np.int8], p: Float64) -> Float64:
    """-log of the probability given to the true class, of each row; scores are kept `CLIP` away from 0 and 1."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return -np.log(np.where(y == 1, clipped, 1 - clipped))


def largest_log_loss(p: Float64) -> float:
    """The log loss of the most confident score, were it wrong."""
    clipped = np.clip(p, CLIP, 1 - CLIP)
    return float(-np.log(np.minimum(clipped, 1 - clipped).min()))


def bins(p: Float64) -> npt.NDArray[np.intp]:
    """The calibration bin of each row: [k/15, (k+1)/15), the last one closed."""
    return np.minimum((p * BINS).astype(np.intp), BINS - 1)


def calibration_gaps(y: npt.NDArray[np.int8], p: Float64) -> Float64:
    """By bin: (observed positives - sum of the scores) / rows, float64 [15].

    The expected calibration error is the sum of their absolute values: the rows' share of each bin times the distance between
    its mean score and its share of positives (Naeini, Cooper & Hauskrecht 2015; bins of equal width).
    """
    return np.bincount(bins(p), weights=y - p, minlength=BINS) / len(p)

"""Two classifiers on the same rows: who is right where the other is wrong."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sporeprint.stats.intervals import Estimate, around, bisect, clopper_pearson
from sporeprint.stats.special import bdtr, ndtri


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided exact p-value of "both are right equally often" (McNemar 1947, with the binomial distribution).

    Args:
        only_a: rows on which only a is right.
        only_b: rows on which only b is right.
    """
    return float(min(1.0, 2 * bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def difference(only_a: float, only_b: float, rows: float, confidence: float, p_value: float) -> Estimate:
    """Accuracy of a minus accuracy of b.

    The asymptotic score interval (Tango 1998; recommended by Fagerland, Lydersen & Laake 2014). Where the test does not reject,
    it is widened to the exact interval given the number of rows on which they differ, so that it never excludes 0 when the test
    does not.

    Args:
        only_a: rows on which only a is right; need not be whole.
        only_b: rows on which only b is right; need not be whole.
        rows: all rows, at least 1; need not be whole.
        confidence: level, between 0 and 1.
        p_value: of `mcnemar`.
    """
    low, high = tango(only_a, only_b, rows, confidence)
    differing = only_a + only_b
    if differing and p_value > 1 - confidence:
        exact = (differing / rows * (2 * end - 1) for end in clopper_pearson(only_a, differing, confidence))
        low, high = min(low, next(exact), 0.0), max(high, next(exact), 0.0)
    return around((only_a - only_b) / rows, low, high)


def tango(only_a: float, only_b: float, rows: float, confidence: float) -> tuple[float, float]:
    """The score interval of a difference of paired shares (Tango 1998)."""
    z = float(ndtri((1 + confidence) / 2))

    def score(delta: float) -> float:
        linear = (2 * rows - only_a + only_b) * delta - only_a - only_b
        root = math.sqrt(linear**2 + 8 * rows * only_b * delta * (1 - delta))
        variance = rows * (2 * (root - linear) / (4 * rows) + delta * (1 - delta))
        return (only_a - only_b - rows * delta) / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, -delta)

    value = (only_a - only_b) / rows
    low = -1.0 if value <= -1 else bisect(lambda delta: score(delta) - z, -1.0, value)
    high = 1.0 if value >= 1 else bisect(lambda delta: -score(delta) - z, 1.0, value)
    return low, high


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values adjusted for their number, in the order given: the step-down procedure of Holm (1979)."""
    p = np.asarray(p_values, dtype=np.float64)
    order: npt.NDArray[np.intp] = np.argsort(p, kind="stable")
    stepped = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    adjusted = np.empty(len(p))
    adjusted[order] = stepped
    return tuple(adjusted.tolist())

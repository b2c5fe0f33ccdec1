"""How far apart two samples are, from counts on common bins: effect sizes, which do not grow with the number of rows."""

import math

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def shares(counts: Counts) -> Float64:
    """Counts as shares of their sum."""
    return np.asarray(counts / counts.sum())


def wasserstein(values: Float64, a: Counts, b: Counts) -> float:
    """The Wasserstein distance of order 1 (earth mover's): how far, on average, a row of one has to move to make the other.

    Args:
        values: float64 [k], ascending.
        a: how often each value occurs in one sample, [k], at least once in all.
        b: in the other.
    """
    gaps = np.abs(np.cumsum(shares(a)) - np.cumsum(shares(b)))[:-1]
    return float(gaps @ np.diff(values))


def wasserstein_error(widths: Float64, a: Counts, b: Counts) -> float:
    """How far at most `wasserstein` of binned numbers is from that of the numbers: no number is farther from its bin's middle."""
    return float((shares(a) + shares(b)) @ widths / 2)


def jensen_shannon(a: Counts, b: Counts) -> float:
    """The Jensen-Shannon distance (Endres & Schindelin 2003), with natural logarithms: 0 to sqrt(ln 2) = 0.833."""
    p, q = shares(a), shares(b)
    middle = (p + q) / 2
    return math.sqrt(max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2))


def _divergence(p: Float64, q: Float64) -> float:
    here = p > 0
    return float(p[here] @ np.log(p[here] / q[here]))


def population_stability(a: Counts, b: Counts) -> float:
    """The population stability index (Siddiqi 2006), where an empty bin counts as half a row.

    With a floor next to zero, one row in a bin that was empty makes an index of any size: what is measured then is the floor.
    """
    p, q = (np.maximum(counts, 0.5) / np.maximum(counts, 0.5).sum() for counts in (a, b))
    return float((q - p) @ np.log(q / p))


def total_variation(a: Counts, b: Counts) -> float:
    """Total variation distance: half the sum of the absolute differences, 0 to 1."""
    return float(np.abs(shares(a) - shares(b)).sum() / 2)

"""Where the negative answer may begin, so that it is wrong at most so often, with the confidence asked for.

Learn then Test (Angelopoulos, Bates, Candès, Jordan, Lei 2021): for each candidate threshold the hypothesis "of the rows
answered negative, more than a share alpha is positive" is tested on rows that nothing was fitted on, from the most careful
candidate on, each at level delta, until one cannot be rejected (fixed-sequence testing). Given how many rows are answered,
the number of wrong ones is binomial, so the test is exact. The promise holds for rows exchangeable with those.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """The largest P(positive) that is answered negative.

    Attributes:
        value: None where no candidate kept the promise: the model never answers negative.
        alpha: promised: at most this share of the negative answers is wrong.
        delta: ... but for this probability.
        answered: rows answered negative at the threshold (at the first candidate, where there is none).
        wrong: positive ones among them.
        reason: one sentence for people.
    """

    value: float | None
    alpha: float
    delta: float
    answered: int
    wrong: int
    reason: str


def rows_needed(alpha: float, delta: float) -> int:
    """Negative answers without a single error that are needed at the least: (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def candidate_thresholds(p: Float64, *, rows: int, alpha: float, delta: float, most: float = 0.5, count: int = 40) -> Float64:
    """Thresholds to be tested, from the most careful one on.

    Args:
        p: float64 [n], P(positive) of rows other than those the test is made on, that the guard knows.
        rows: how many rows the test will be made on.
        alpha: see `Threshold`.
        delta: see `Threshold`.
        most: largest threshold.
        count: how many candidates at most.

    Returns:
        Increasing. The first is expected to answer so many of the test's rows that the promise can be shown at all, and
        three standard deviations of that number (of both drawings) more; a more careful one could not be.
    """
    if not rows or not len(p):
        return np.array([most])
    ordered = np.sort(p)
    needed = rows_needed(alpha, delta)
    first = math.ceil((needed + 3 * math.sqrt(needed * (1 + rows / len(ordered)))) / rows * len(ordered))
    if first >= len(ordered) or ordered[first] >= most:
        return np.array([most])
    last = int(np.searchsorted(ordered, most))
    chosen = ordered[np.unique(np.linspace(first, last - 1, count).astype(int))]
    return np.unique(np.r_[chosen, most])


def choose_threshold(p: Float64, y: npt.NDArray[np.int8], tested: Float64, *, alpha: float, delta: float) -> Threshold:
    """The largest threshold that keeps the promise.

    Args:
        p: float64 [n], P(positive) of rows that nothing was fitted on and that the guard knows.
        y: int8 [n], 1 for positive.
        tested: candidates, increasing, chosen without these rows.
        alpha: see `Threshold`.
        delta: see `Threshold`.
    """
    order = np.argsort(p, kind="stable")
    ordered, wrong_up_to = p[order], np.r_[0, np.cumsum(y[order])]
    answered = np.searchsorted(ordered, tested, side="right")
    wrong = wrong_up_to[answered]
    from scipy import stats

    rejected = stats.binom.cdf(wrong, answered, alpha) <= delta
    passed = int(np.argmin(rejected)) if not rejected.all() else len(rejected)
    at = max(passed - 1, 0)
    n, k = int(answered[at]), int(wrong[at])
    if passed:
        reason = f"{k} of {n:,} negative answers were wrong at {tested[at]:.4g}, few enough for {alpha:.2%} with confidence {1 - delta:.0%}"
        return Threshold(float(tested[at]), alpha, delta, n, k, reason)
    need = rows_needed(alpha, delta)
    reason = (
        f"{k} of {n:,} negative answers were wrong even at {tested[at]:.4g}; to promise {alpha:.2%} with confidence {1 - delta:.0%} "
        + (f"at least {need:,} answers without an error are needed" if n < need else "fewer may be")
    )
    return Threshold(None, alpha, delta, n, k, reason)

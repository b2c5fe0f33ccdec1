"""Where the negative verdict may begin, so that two risks are controlled, with the confidence asked for.

Learn then Test (Angelopoulos, Bates, Candès, Jordan, Lei 2021): for each candidate threshold two hypotheses are tested on rows
that nothing was fitted on: "of the rows answered negative, more than a share alpha is positive", and "of the positive rows, more
than a share `missed` is answered negative". A candidate passes where both are rejected at level delta (an intersection-union test
needs no correction). Candidates are tested from the most careful one on until one does not pass (fixed-sequence testing). Given how
many rows count, the number of wrong ones is binomial, so both tests are exact. They hold for rows exchangeable with those tested.

The first promise alone can be empty: where fewer than a share alpha of all rows is positive, "always negative" keeps it. The second
one cannot: "always negative" misses every positive row.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RiskLevels:
    """What is promised.

    Attributes:
        alpha: at most this share of the negative answers is wrong.
        missed: at most this share of the positive rows gets the negative answer.
        delta: but for this probability.
    """

    alpha: float
    missed: float
    delta: float


@dataclass(frozen=True)
class Threshold:
    """The largest P(positive) that is answered negative.

    Attributes:
        value: None where no candidate controls the risks: the model never answers negative.
        alpha: promised: at most this share of the negative answers is wrong.
        delta: ... but for this probability.
        answered: rows answered negative at the threshold (at the first candidate, where there is none).
        wrong: positive ones among them.
        reason: one sentence for people.
        missed: promised: at most this share of the positive rows is answered negative.
        positives: positive rows that were tested, answered or not.
        rows: rows of the part that the test was made on, copies among them.
        units: different rows, or clusters, among them: what was counted.
        called_positive: those of them that get the positive answer.
    """

    value: float | None
    alpha: float
    delta: float
    answered: int
    wrong: int
    reason: str
    missed: float = 1.0
    positives: int = 0
    rows: int = 0
    units: int = 0
    called_positive: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether the rule "always negative" would control the risk of wrong negative answers: then the promise says nothing."""
        return self.units > 0 and self.positives / self.units <= self.alpha


def rows_needed(alpha: float, delta: float) -> int:
    """Negative answers without a single error that are needed at the least: (1 - alpha)^n <= delta."""
    return math.ceil(math.log(delta) / math.log1p(-alpha))


def candidate_thresholds(p: Float64, *, rows: int, alpha: float, delta: float, most: float = 0.5, count: int = 40) -> Float64:
    """Thresholds to be tested, from the most careful one on.

    Args:
        p: float64 [n], P(positive) of rows other than those the test is made on, that may be answered negative.
        rows: how many rows the test will be made on.
        alpha: see `Threshold`.
        delta: see `Threshold`.
        most: the largest threshold: no single row is answered negative above it.
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


def choose_threshold(
    p: Float64, y: npt.NDArray[np.int8], tested: Float64, levels: RiskLevels, *, positives: int, rows: int = 0, units: int = 0
) -> Threshold:
    """The largest threshold that controls both risks.

    Args:
        p: float64 [n], P(positive) of rows that nothing was fitted on and that may be answered negative; copies left out.
        y: int8 [n], 1 for positive.
        tested: candidates, increasing, chosen without these rows.
        levels: what is promised.
        positives: all positive rows of the test, with those that can never be answered negative.
        rows: see `Threshold`.
        units: see `Threshold`.
    """
    from scipy import stats

    order = np.argsort(p, kind="stable")
    ordered, wrong_up_to = p[order], np.r_[0, np.cumsum(y[order])]
    answered = np.searchsorted(ordered, tested, side="right")
    wrong = wrong_up_to[answered]
    few_wrong = stats.binom.cdf(wrong, answered, levels.alpha) <= levels.delta
    few_missed = stats.binom.cdf(wrong, positives, levels.missed) <= levels.delta if levels.missed < 1 else np.ones_like(few_wrong)
    controlled = few_wrong & few_missed
    passed = len(controlled) if controlled.all() else int(np.argmin(controlled))
    at = max(passed - 1, 0)
    n, k = int(answered[at]), int(wrong[at])
    value: float | None = float(tested[at]) if passed else None
    explain = _controlled if passed else _not_controlled
    reason = explain(float(tested[at]), n, k, positives, "different " if units < rows else "", levels)
    return Threshold(value, levels.alpha, levels.delta, n, k, reason, levels.missed, positives, rows, units)


def _controlled(at: float, n: int, k: int, positives: int, counted: str, levels: RiskLevels) -> str:
    missed = f"; {k:,} of {positives:,} positive rows were missed, few enough for {levels.missed:.0%}" if levels.missed < 1 else ""
    wrong = f"{k:,} of {n:,} {counted}negative answers were wrong at {at:.4g}, few enough for {levels.alpha:.2%}"
    return f"{wrong}{missed}, with confidence {1 - levels.delta:.0%}"


def _not_controlled(at: float, n: int, k: int, positives: int, counted: str, levels: RiskLevels) -> str:
    """Which of the two risks the most careful candidate does not control, and what would be needed."""
    from scipy import stats

    if stats.binom.cdf(k, n, levels.alpha) > levels.delta:
        what, limit = f"{k:,} of {n:,} {counted}negative answers were wrong", f"{levels.alpha:.2%}"
        need, unit, have = rows_needed(levels.alpha, levels.delta), "without an error", n
    else:
        what, limit = f"{k:,} of {positives:,} {counted}positive rows were answered negative", f"{levels.missed:.0%}"
        need, unit, have = rows_needed(levels.missed, levels.delta), "positive rows", positives
    need_text = f"needs at least {need:,} {unit}" if have < need else "allows fewer"
    return f"no threshold controls the risk: even at {at:.4g}, {what}; {limit} at {1 - levels.delta:.0%} confidence {need_text}"

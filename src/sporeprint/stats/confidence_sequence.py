"""Intervals that may be looked at after every observation: each holds the truth at all times at once, with the stated confidence.

An interval is what its e-process has not rejected (see `eprocess`), so the two never contradict each other. All are exact, for any number
of trials, but `mean_difference`, which is so in the limit of many.
"""

import math
from dataclasses import dataclass
from typing import Self

from sporeprint.stats import eprocess
from sporeprint.stats.eprocess import Mixture
from sporeprint.stats.intervals import UNDEFINED, Estimate, around, bisect

#: Of the allowed error, what goes to the interval of how many trials count at all. The rest decides the sign of the difference.
COMMON = 0.05
#: Number of observations at which the interval of a mean is narrowest, by default. GrowthBook's choice too.
TUNED_FOR = 5000


def share(successes: int, trials: int, confidence: float, mixture: Mixture | None = None) -> Estimate:
    """A success probability, from independent trials (Robbins 1970; Howard et al. 2021).

    Args:
        successes: 0 to `trials`.
        trials: 0 or more; the interval is 0 to 1 without any.
        confidence: level, between 0 and 1.
        mixture: where the truth is expected; Jeffreys' prior if None.
    """
    expected = eprocess.beta(0.5, 0.5) if mixture is None else mixture
    least = float(expected.log_likelihood(successes, trials)) + math.log(1 - confidence)

    def excess(probability: float) -> float:
        return _log_likelihood(probability, successes, trials) - least

    value = successes / trials if trials else 0.5
    if excess(value) <= 0:  # the mixture fits better than any probability at all: it cannot with a confidence above 1/2
        return around(value, value, value)
    low = 0.0 if excess(0.0) > 0 else bisect(excess, value, 0.0)
    high = 1.0 if excess(1.0) > 0 else bisect(excess, value, 1.0)
    return around(value, low, high)


def _log_likelihood(probability: float, successes: int, trials: int) -> float:
    """`eprocess.log_likelihood` of single numbers, some thirty times as fast: an interval asks for it 160 times."""
    if probability <= 0 or probability >= 1:
        return 0.0 if successes == (trials if probability >= 1 else 0) else -math.inf
    return successes * math.log(probability) + (trials - successes) * math.log1p(-probability)


def product(one: Estimate, other: Estimate) -> Estimate:
    """The product of two numbers that are not negative: it is inside wherever both are."""
    return Estimate(one.value * other.value, one.low * other.low, one.high * other.high)


def difference(events: Estimate, side: Estimate, null: float, scale: float) -> Estimate:
    """A difference of two rates, from how often one of two things happens, and which: scale * events * (side - null).

    Let a unit go to B with probability s. Errors happen at a rate of r = s b + (1 - s) a, and fall in B with probability
    q = s b / r; so b - a = r (q - s) / (s (1 - s)). Of pairs, let one err alone at a rate of r, B with probability q: b - a = r (2 q - 1).
    The sign is that of q - null alone. Both intervals have to hold at once: their errors add up.

    Args:
        events: rate of the trials that count: of errors, or of pairs in which one of two errs.
        side: among them, the share that fall on B.
        null: that share if there is no difference.
        scale: 1 / (s (1 - s)); 2 for pairs.
    """
    ends = [scale * rate * (falls - null) for rate in (events.low, events.high) for falls in (side.low, side.high)]
    value = scale * events.value * (side.value - null)
    return around(_within_one(value), _within_one(min(ends)), _within_one(max(ends)))


def _within_one(number: float) -> float:
    return max(-1.0, min(1.0, number))


@dataclass(frozen=True, slots=True)
class Moments:
    """What the mean of a number needs. Adding two is taking their observations together.

    Attributes:
        count: observations.
        total: their sum.
        squares: the sum of their squares.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Self) -> Self:
        return type(self)(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Mean; NaN without observations."""
        return self.total / self.count if self.count else math.nan

    @property
    def variance(self) -> float:
        """Unbiased variance; NaN with fewer than two observations."""
        if self.count < 2:  # a variance needs two
            return math.nan
        return max(0.0, (self.squares - self.total * self.mean) / (self.count - 1))


def mean_difference(a: Moments, b: Moments, confidence: float, tuned_for: int = TUNED_FOR) -> Estimate:
    """Mean of b minus mean of a: an asymptotic confidence sequence (Waudby-Smith et al. 2024).

    Right in the limit of many observations only, and not to be used for counts of rare events: its errors there are up to twice what
    is stated. Undefined with fewer than two observations in an arm.

    Args:
        a: of arm A.
        b: of arm B.
        confidence: level, between 0 and 1.
        tuned_for: number of observations of both arms at which it is narrowest.
    """
    if min(a.count, b.count) < 2:  # a variance needs two
        return UNDEFINED
    value, count, tuning = b.mean - a.mean, a.count + b.count, _tuning(confidence, tuned_for)
    grown = count * tuning + 1
    factor = 2 * grown / (count * tuning) * math.log(math.sqrt(grown) / (1 - confidence))
    half = math.sqrt(_variance(a, b) * factor)
    return Estimate(value, value - half, value + half)


def mean_log_e(a: Moments, b: Moments, confidence: float, tuned_for: int = TUNED_FOR) -> float:
    """Logarithm of the e-value against "the means are the same" that belongs to `mean_difference`; 0 where that is undefined."""
    if min(a.count, b.count) < 2:  # a variance needs two
        return 0.0
    variance, grown = _variance(a, b), (a.count + b.count) * _tuning(confidence, tuned_for) + 1
    if variance <= 0:
        return 0.0 if a.mean == b.mean else math.inf
    return (grown - 1) * (b.mean - a.mean) ** 2 / variance / (2 * grown) - math.log(grown) / 2


def _variance(a: Moments, b: Moments) -> float:
    return a.variance / a.count + b.variance / b.count


def _tuning(confidence: float, tuned_for: int) -> float:
    """rho^2 of the paper, its closed approximation."""
    twice = -2 * math.log(1 - confidence)
    return (twice + math.log(twice + 1)) / tuned_for

"""e-process and confidence sequence for a difference of mean losses, by betting on bounded payoffs (Waudby-Smith & Ramdas 2024).

Every unit has a payoff z whose mean is the difference of the arms' mean losses. A gambler who stakes the share `bet` of the wealth on
"the mean is larger than `difference`" has the wealth of Π (1 + bet (z - difference)). While the mean is no larger, nobody can expect to
gain: the wealth is an e-process, and ever reaches 1/alpha with a probability of at most alpha (Ville 1939). The bets are a mixture that
is fixed beforehand, so that only counts by payoff are needed, and their order does not matter.

- *Split.* A unit goes to B with probability s, whatever it is. z = loss / s in B, and -loss / (1 - s) in A. With losses of one size and
  a difference of 0 this is the "which arm did the error fall in" test of Lindon & Malek (2022).
- *Pairs.* Both versions see the unit: z = loss of B - loss of A. With one size this is the sequential form of McNemar (1947).

The e-value and the interval are one thing: a difference is outside the interval exactly if its wealth has reached the threshold.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sporeprint.stats.intervals import Estimate
from sporeprint.stats.special import logsumexp

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: Share of the prior on the named direction, where one is named. The other direction is found too, only later.
NAMED = 0.75
#: Spread of the bets around the ratio of interest, as a share of the logarithm of the ratio.
SPREAD = 0.15
#: Share of the prior on bets of all sizes: for other ratios, and for differences other than 0.
BROAD = 0.02
BROAD_WITH_MARGIN = 0.5
_NODES = 9
_BROAD_NODES = 28
#: Halvings that find an end of an interval, to 1e-12 of the largest loss.
_BISECTIONS = 40
#: Errors whose course is followed exactly when a threshold is calibrated. What may come later is bounded by Ville's inequality.
FOLLOWED = 800
#: Payoffs from one exact place of a boundary to the next.
_STRIDE = 64


@dataclass(frozen=True, slots=True)
class Payoffs:
    """Units by payoff.

    Attributes:
        values: float64 [k], the payoffs.
        counts: float64 [k], units of each.
    """

    values: Float64
    counts: Float64

    @property
    def units(self) -> float:
        """All units."""
        return float(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean payoff; NaN without units."""
        return float(self.values @ self.counts / self.units) if self.units else math.nan


@dataclass(frozen=True, slots=True)
class Bets:
    """A mixture of bets, half of them (or another share) on "larger", the rest on "smaller".

    Attributes:
        low: smallest possible payoff, below 0.
        high: largest possible payoff, above 0.
        null: probability that a payoff that is not 0 is positive if the mean is 0 and all losses have one size.
        up: float64 [m], bets on "larger", above 0.
        down: float64 [m], bets on "smaller", below 0.
        log_up: float64 [m], logarithms of their prior weights; with `log_down` they add up to 1.
        log_down: float64 [m].
    """

    low: float
    high: float
    null: float
    up: Float64
    down: Float64
    log_up: Float64
    log_down: Float64

    def positive_share(self, bet: Float64) -> Float64:
        """Share of positive payoffs at which a bet is the best one, for losses of one size."""
        return np.asarray(self.null + bet * self.high * self.null)


@functools.lru_cache(maxsize=256)
def bets(low: float, high: float, ratio: float, larger: float = 0.5, broad: float = BROAD) -> Bets:
    """A mixture of bets.

    Args:
        low: smallest possible payoff, below 0.
        high: largest possible payoff, above 0.
        ratio: how many times as often one arm errs as the other where the test should be fastest; above 1.
        larger: prior share of the bets on "larger".
        broad: prior share of bets of all sizes.
    """
    null = -low / (high - low)
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    matched = math.log(ratio) * (1 + SPREAD * nodes)
    wide = np.geomspace(0.002, 5.0, _BROAD_NODES)
    shift = np.concatenate([matched, wide])
    weight = np.concatenate([(1 - broad) * weights / weights.sum(), np.full(_BROAD_NODES, broad / _BROAD_NODES)])
    shift, weight = shift[weight > 0], weight[weight > 0]
    centre = math.log(null / (1 - null))

    def stakes(sign: int) -> Float64:
        tilted = 1 / (1 + np.exp(-(centre + sign * shift)))
        return np.asarray((tilted - null) / (high * null))

    log_weight = np.log(weight)
    return Bets(low, high, null, stakes(1), stakes(-1), log_weight + math.log(larger), log_weight + math.log1p(-larger))


def log_wealth(bet: Float64, log_weight: Float64, payoffs: Payoffs, difference: float, low: float, high: float) -> float:
    """Logarithm of the wealth of some bets against "the mean is `difference`". A bet that could lose more than all is not made."""
    allowed = 1 + np.where(bet > 0, bet * (low - difference), bet * (high - difference)) >= 0
    there = payoffs.counts > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = np.log1p(bet[:, np.newaxis] * (payoffs.values[there] - difference)) @ payoffs.counts[there]
    return float(logsumexp(log_weight + np.where(allowed, gains, -math.inf), axis=-1))


def log_e(mixture: Bets, payoffs: Payoffs, difference: float = 0.0) -> tuple[float, float]:
    """Logarithms of the e-values of "the mean is no larger than `difference`", and of "... no smaller", with their prior weights.

    The larger of the two is the logarithm of an e-value of "the mean is `difference`".
    """
    return (
        log_wealth(mixture.up, mixture.log_up, payoffs, difference, mixture.low, mixture.high),
        log_wealth(mixture.down, mixture.log_down, payoffs, difference, mixture.low, mixture.high),
    )


def interval(mixture: Bets, payoffs: Payoffs, log_threshold: float, most: float) -> Estimate:
    """All differences whose e-value is below the threshold: the mean lies inside at all times at once.

    Args:
        mixture: the bets.
        payoffs: units so far.
        log_threshold: log(1/alpha).
        most: the mean lies between minus this and this: the largest loss.
    """
    if not payoffs.units:
        return Estimate(math.nan, -most, most)
    middle = min(max(payoffs.mean, -most), most)

    def larger(difference: float) -> float:
        return log_threshold - log_wealth(mixture.up, mixture.log_up, payoffs, difference, mixture.low, mixture.high)

    def smaller(difference: float) -> float:
        return log_threshold - log_wealth(mixture.down, mixture.log_down, payoffs, difference, mixture.low, mixture.high)

    return Estimate(middle, _end(larger, middle, -most), _end(smaller, middle, most))


def _end(inside: Callable[[float], float], middle: float, most: float) -> float:
    # At the mean itself no bet has won. The wealth falls (or rises) with the difference, so that one end is found by bisection.
    if inside(most) > 0:
        return most
    inner, outer = middle, most
    for _ in range(_BISECTIONS):
        between = (inner + outer) / 2
        inner, outer = (between, outer) if inside(between) > 0 else (inner, between)
    return outer


# --- losses of one size: exact laws ----------------------------------------------------------------------------------------


def log_e_of_counts(mixture: Bets, positive: Int64 | int, events: Int64 | int) -> tuple[Float64, Float64]:
    """`log_e` with a difference of 0, for arrays of counts of positive payoffs among all that are not 0, of one size."""
    return _log_up_of_counts(mixture, positive, events), _log_down_of_counts(mixture, positive, events)


def _log_up_of_counts(mixture: Bets, positive: Int64 | int, events: Int64 | int) -> Float64:
    return _log_wealth_of_counts(mixture, mixture.up, mixture.log_up, positive, events)


def _log_down_of_counts(mixture: Bets, positive: Int64 | int, events: Int64 | int) -> Float64:
    return _log_wealth_of_counts(mixture, mixture.down, mixture.log_down, positive, events)


def _log_wealth_of_counts(mixture: Bets, bet: Float64, weight: Float64, positive: Int64 | int, events: Int64 | int) -> Float64:
    x, n = np.asarray(positive)[..., np.newaxis], np.asarray(events)[..., np.newaxis]
    share = mixture.positive_share(bet)
    per_positive, per_negative = np.log(share / mixture.null), np.log((1 - share) / (1 - mixture.null))
    return np.asarray(logsumexp(weight + x * per_positive + (n - x) * per_negative, axis=-1))


def boundary(mixture: Bets, events: int, log_threshold: float) -> tuple[Int64, Int64]:
    """Where the e-value reaches the threshold, for 0, 1, ... `events` payoffs that are not 0.

    Returns:
        low: int64 [events + 1]: reached at so many positive ones or fewer; -1 where no number is few enough.
        high: int64 [events + 1]: reached at so many or more; n + 1 where no number is enough.
    """
    # The wealth of bets on "larger" grows with the number of positive payoffs, that of the others with the number of negative ones.
    high = _first_reached(lambda x, n: _log_up_of_counts(mixture, x, n) >= log_threshold, events)
    low = np.arange(events + 1) - _first_reached(lambda x, n: _log_down_of_counts(mixture, n - x, n) >= log_threshold, events)
    return low, high


def _first_reached(reached: Callable[[Int64, Int64], npt.NDArray[np.bool_]], events: int) -> Int64:
    """The smallest count x of n payoffs, for n = 0, 1, ... `events`, that reaches a threshold; n + 1 where none does.

    One more payoff moves it by 0 or 1: counted, it raises the wealth, and not counted, it lowers it. So a search goes to every
    `_STRIDE`-th n, and in between only to where it can be.
    """
    knots = np.unique(np.append(np.arange(0, events, _STRIDE), events))
    exact = _bisected(reached, knots, np.full_like(knots, -1), knots + 1)
    n = np.arange(events + 1)
    after = np.searchsorted(knots, n)
    before = np.maximum(after - 1, 0)
    least = np.maximum(exact[before], exact[after] - (knots[after] - n))
    most = np.minimum(exact[before] + (n - knots[before]), exact[after])
    return _bisected(reached, n, least - 1, most)


def _bisected(reached: Callable[[Int64, Int64], npt.NDArray[np.bool_]], n: Int64, below: Int64, above: Int64) -> Int64:
    """The smallest count that reaches the threshold, where `below` does not, and `above` does or is n + 1."""
    while len(open_ := np.flatnonzero(above - below > 1)):
        middle = (below[open_] + above[open_]) // 2
        out = reached(middle, n[open_])
        above[open_], below[open_] = np.where(out, middle, above[open_]), np.where(out, below[open_], middle)
    return above


def crossing(low: Int64, high: Int64, truth: float) -> tuple[Float64, Float64]:
    """When a boundary is first reached: exact, by following all numbers of positive payoffs.

    Args:
        low: int64 [events + 1], see `boundary`.
        high: int64 [events + 1].
        truth: probability that a payoff that is not 0 is positive.

    Returns:
        crossed: float64 [2, events + 1]: P(low is reached first at event n), P(high ...).
        left: float64 [events + 1]: P(so many positive ones at the end, and never reached).
    """
    events = len(low) - 1
    at, crossed = np.zeros(events + 2), np.zeros((2, events + 1))
    at[0] = 1.0
    # Only numbers between the boundaries are possible: a narrow window, which `first` and `last` follow.
    first = last = 0
    for n, (few, many) in enumerate(zip(low[1:].tolist(), high[1:].tolist(), strict=True), 1):
        if first > last:
            break
        window = at[first : last + 2]
        stays = window * (1 - truth)
        stays[1:] += window[:-1] * truth
        window[:] = stays
        last += 1
        if few >= first:
            crossed[0, n] = at[first : few + 1].sum()
            at[first : few + 1] = 0.0
            first = few + 1
        if many <= last:
            crossed[1, n] = at[max(many, first) : last + 1].sum()
            at[max(many, first) : last + 1] = 0.0
            last = many - 1
    return crossed, at[: events + 1]


@functools.lru_cache(maxsize=256)
def calibrated(low: float, high: float, ratio: float, larger: float, broad: float, alpha: float, horizon: int | None) -> float:
    """Logarithm of the smallest threshold that is ever reached with a probability of at most alpha while the mean is 0.

    Ville's bound, log(1/alpha), is not sharp: the wealth jumps beyond the threshold, and the horizon is finite. For losses of one size
    the law of the payoffs that are not 0 is known exactly, whatever their rate. So the probability is followed for up to `FOLLOWED`
    of them; what may come later is bounded by Ville's inequality from there on.

    Args:
        low: see `bets`, as the next four.
        high: largest possible payoff.
        ratio: where the test should be fastest.
        larger: prior share of "larger".
        broad: prior share of bets of all sizes.
        alpha: level.
        horizon: largest number of payoffs that are not 0; None: any number.
    """
    mixture = bets(low, high, ratio, larger, broad)
    follow = FOLLOWED if horizon is None else min(horizon, FOLLOWED)

    def too_often(log_threshold: float) -> float:
        crossed, left = crossing(*boundary(mixture, follow, log_threshold), mixture.null)
        reached = float(crossed.sum())
        if horizon is None or horizon > follow:
            up, down = log_e_of_counts(mixture, np.arange(follow + 1), follow)
            reached += float((left * np.exp(np.minimum(np.logaddexp(up, down) - log_threshold, 0.0))).sum())
        return reached

    below, above = max(0.0, -math.log(alpha) - 0.5), -math.log(alpha)
    for _ in range(9):
        middle = (below + above) / 2
        below, above = (middle, above) if too_often(middle) > alpha else (below, middle)
    return above

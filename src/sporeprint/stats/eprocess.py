"""e-processes for counts: evidence that may be looked at after every observation, and acted on at any moment.

An e-process starts at 1 and, while the hypothesis is true, has an expected value of at most 1 whenever one stops. So it ever reaches
1/alpha with a probability of at most alpha (Ville 1939). All of them here are for n independent trials, of which x succeeded, against
"the success probability is `null`", and are ratios of likelihoods: of a mixture of probabilities to the one of the hypothesis. The
same ratio serves two questions of A/B tests:

- *Which arm did the error fall in?* (Lindon & Malek 2022.) Units go to B with probability `share`, whatever they are. If both arms
  err at the same rate, an error falls in B with probability `share`, for any rate and number of units: trials are errors, `null` = share.
- *Who is wrong where they differ?* (The sequential form of McNemar 1947.) Trials are the pairs in which one of two is wrong, `null` = 1/2.

All in logarithms, so that nothing overflows. Arrays broadcast.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sporeprint.stats.special import betaln, logsumexp, xlog1py, xlogy

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Count = int | Int64

#: Ratio of the two rates at which the mixture of `matched` expects the truth, by default.
RATIO = 2.0
#: Its spread, as a share of the logarithm of the ratio. Less is a little faster at the ratio itself, more at ratios nearer to 1.
SPREAD = 0.4


@dataclass(frozen=True, slots=True)
class Mixture:
    """What is expected of a success probability: a mixture of beta distributions. It decides how fast a test is, never whether it is valid.

    Attributes:
        parts: (a, b, weight) of each beta distribution; the weights add up to 1.
    """

    parts: tuple[tuple[float, float, float], ...]

    def log_likelihood(self, successes: Count, trials: Count) -> Float64:
        """Logarithm of the probability of one sequence with so many successes."""
        x, n = np.asarray(successes)[..., np.newaxis], np.asarray(trials)[..., np.newaxis]
        a, b, weight = np.array(self.parts, dtype=np.float64).T
        return np.asarray(logsumexp(np.log(weight) + betaln(a + x, b + (n - x)) - betaln(a, b), axis=-1))


def beta(a: float, b: float) -> Mixture:
    """One beta distribution: Beta(1/2, 1/2) where nothing is known (Jeffreys; Krichevsky & Trofimov 1981)."""
    return Mixture(((a, b, 1.0),))


def matched(null: float, ratio: float = RATIO, spread: float = SPREAD) -> Mixture:
    """Two beta distributions, one on either side of the hypothesis, where the odds are `ratio` times larger or smaller.

    Half of the weight is on each side. Each has a standard deviation of about `spread` * log(ratio) in the logarithm of the odds, so
    that other ratios, larger or smaller, are found too, only somewhat later.

    Args:
        null: the probability under the hypothesis, between 0 and 1.
        ratio: above 1.
        spread: above 0.
    """
    deviation, parts = spread * math.log(ratio), []
    for times in (ratio, 1 / ratio):
        centre = null * times / (null * times + 1 - null)
        size = 1 / (deviation**2 * centre * (1 - centre))
        parts.append((centre * size, (1 - centre) * size, 0.5))
    return Mixture(tuple(parts))


def log_likelihood(probability: float, successes: Count, trials: Count) -> Float64:
    """Logarithm of the probability of one sequence with so many successes, each with this probability."""
    x, n = np.asarray(successes), np.asarray(trials)
    return np.asarray(xlogy(x, probability) + xlog1py(n - x, -probability))


def log_e(mixture: Mixture, successes: Count, trials: Count, null: float) -> Float64:
    """Logarithm of the e-value against "the success probability is `null`". 0 without trials."""
    return mixture.log_likelihood(successes, trials) - log_likelihood(null, successes, trials)


def log_e_simple(alternative: float, successes: Count, trials: Count, null: float) -> Float64:
    """The same with one probability as the alternative: Wald's (1945) likelihood ratio. The fastest there is if it is the true one."""
    return log_likelihood(alternative, successes, trials) - log_likelihood(null, successes, trials)


def p_value(log_e_value: float) -> float:
    """min(1, 1/e). With the largest e-value so far it is valid at any time: it ever gets to alpha with a probability of at most alpha."""
    return math.exp(-max(0.0, log_e_value))


def boundary(mixture: Mixture, null: float, trials: int, alpha: float) -> tuple[Int64, Int64]:
    """Where the e-value reaches 1/alpha, for 0, 1, ... `trials` trials.

    Returns:
        low: int64 [trials + 1]: rejected at so many successes or fewer; -1 where no number is few enough.
        high: int64 [trials + 1]: rejected at so many or more; n + 1 where no number is enough.
    """
    n = np.arange(trials + 1)
    middle = np.clip(np.rint(n * null).astype(np.int64), 0, n)

    def rejected(successes: Int64) -> npt.NDArray[np.bool_]:
        return np.asarray(log_e(mixture, np.clip(successes, 0, n), n, null) >= -math.log(alpha))

    # The logarithm of the e-value is convex in x, and in the middle, where the hypothesis fits best, it is not above 0: two tails.
    return _furthest(rejected, middle, np.full_like(n, -1)), _furthest(rejected, middle, n + 1)


def _furthest(rejected: Callable[[Int64], npt.NDArray[np.bool_]], inside: Int64, outside: Int64) -> Int64:
    """Bisection of all n at once: the rejected number nearest to `inside`; `outside` counts as rejected without being asked."""
    while np.any(np.abs(outside - inside) > 1):
        between = (inside + outside) // 2
        out = rejected(between) & (between != inside)
        inside, outside = np.where(out, inside, between), np.where(out, between, outside)
    return outside


def crossing(mixture: Mixture, null: float, truth: float, trials: int, alpha: float) -> Float64:
    """When the e-value first reaches 1/alpha: probabilities, exact, by following all numbers of successes.

    Args:
        mixture: the alternative.
        null: the probability under the hypothesis.
        truth: the true success probability.
        trials: how far to follow.
        alpha: level.

    Returns:
        float64 [2, trials + 1]: P(it is at trial n, with few successes), P(... with many). What is missing from 1 has not happened.
    """
    low, high = boundary(mixture, null, trials, alpha)
    at, crossed = np.zeros(trials + 2), np.zeros((2, trials + 1))
    at[0] = 1.0
    for n in range(1, trials + 1):
        at[1 : n + 1] = at[1 : n + 1] * (1 - truth) + at[:n] * truth
        at[0] *= 1 - truth
        crossed[0, n], crossed[1, n] = at[: low[n] + 1].sum(), at[high[n] : n + 1].sum()
        at[: low[n] + 1] = at[high[n] : n + 1] = 0.0
    return crossed

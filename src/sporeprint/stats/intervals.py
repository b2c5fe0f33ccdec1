"""Interval estimates from counts, for rows that are independent of each other.

All of them stay honest when a model makes no error at all: a bootstrap would then say that it never will.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sporeprint.stats import metrics
from sporeprint.stats.special import betaincinv, ndtri


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; all NaN where it is undefined.

    Attributes:
        value: the point estimate.
        low: lower end of the interval, at most `value`.
        high: upper end of the interval, at least `value`.
    """

    value: float
    low: float
    high: float


#: What cannot be computed: precision without a positive answer, ROC AUC of rows of one class.
UNDEFINED = Estimate(math.nan, math.nan, math.nan)

#: Draws behind the interval of MCC. They cost a few milliseconds; the ends are then good to a few percent of the width.
DRAWS = 10_000


def around(value: float, low: float, high: float) -> Estimate:
    """An estimate whose interval holds its value, which bootstrap percentiles alone do not promise."""
    return Estimate(value, min(low, value), max(high, value))


def clopper_pearson(successes: float, trials: float, confidence: float) -> tuple[float, float]:
    """The exact interval of a binomial share: it holds the true share at least as often as `confidence` says.

    Preferred to Wilson's, whose 95 % are 84 % just beside 0 and 1, where good models are: with 0.18 errors expected. Sources:
    Clopper & Pearson (1934); Brown, Cai & DasGupta (2001) on the others.

    Args:
        successes: from 0 to `trials`; need not be whole.
        trials: above 0; need not be whole.
        confidence: level, between 0 and 1.
    """
    tail, failures = (1 - confidence) / 2, max(trials - successes, 0.0)
    low = 0.0 if successes <= 0 else float(betaincinv(successes, failures + 1, tail))
    high = 1.0 if failures <= 0 else float(betaincinv(successes + 1, failures, 1 - tail))
    return low, high


def proportion(successes: float, trials: float, confidence: float) -> Estimate:
    """A share with its Clopper-Pearson interval; undefined without trials."""
    if trials <= 0:
        return UNDEFINED
    return around(successes / trials, *clopper_pearson(successes, trials, confidence))


def f1(true_positives: float, errors: float, confidence: float) -> Estimate:
    """F1 with an exact interval.

    F1 = 2J / (1 + J) rises with J = tp / (tp + fp + fn), and given its denominator tp is binomial: the Clopper-Pearson interval
    of J, mapped, is one of F1.

    Args:
        true_positives: tp.
        errors: fp + fn.
        confidence: level, between 0 and 1.
    """
    jaccard = proportion(true_positives, true_positives + errors, confidence)
    return Estimate(*(2 * share / (1 + share) for share in (jaccard.value, jaccard.low, jaccard.high)))


def mcc(counts: metrics.Counts, confidence: float, seed: int) -> Estimate:
    """Matthews correlation with an interval from the Dirichlet posterior of the four shares of the confusion matrix.

    As in Goutte & Gaussier (2005), but with a prior for each end, as a Clopper-Pearson interval has: the lower end sees one
    error more than there was (half a false positive, half a false negative), the upper end one right answer more. Under
    Jeffreys' prior for both, a 95 % interval was found to hold the truth in as little as 89 % of samples with about one error.

    Args:
        counts: float [4]: tn, fp, fn, tp.
        confidence: level, between 0 and 1.
        seed: of the draws.
    """
    value = float(metrics.mcc(counts))
    if math.isnan(value):
        return UNDEFINED
    draw, tail = np.random.default_rng(seed), (1 - confidence) / 2
    error, right = np.array([0, 0.5, 0.5, 0]), np.array([0.5, 0, 0, 0.5])
    low = np.nanquantile(metrics.mcc(draw.standard_gamma(counts + error, (DRAWS, 4))), tail)
    high = np.nanquantile(metrics.mcc(draw.standard_gamma(counts + right, (DRAWS, 4))), 1 - tail)
    return around(value, float(low), float(high))


def roc_auc(value: float, positives: float, negatives: float, confidence: float) -> Estimate:
    """ROC AUC with an interval from the class sizes alone: Newcombe's, widened to a Clopper-Pearson interval of the same variance.

    Score intervals such as Newcombe's end too low just below 1: with less than one row out of order expected, a 95 % interval was
    found to hold the truth in 91 % of samples. The Clopper-Pearson interval makes up for that; in it, the area is a share of as many
    trials as would give it the variance that Newcombe assumes.

    Args:
        value: area under the curve.
        positives: rows of the positive class; need not be whole.
        negatives: rows of the negative class; need not be whole.
        confidence: level, between 0 and 1.
    """
    if math.isnan(value):
        return UNDEFINED
    low, high = newcombe(value, positives, negatives, confidence)
    trials = positives * negatives / _inflation(value, positives, negatives)
    exact_low, exact_high = clopper_pearson(value * trials, trials, confidence)
    return around(value, min(low, exact_low), max(high, exact_high))


def newcombe(value: float, positives: float, negatives: float, confidence: float) -> tuple[float, float]:
    """The score-type interval of a ROC AUC (Newcombe 2006, part 2, method 5).

    The ends solve (value - a)^2 = z^2 V(a), where V is Hanley & McNeil's (1982) variance for exponential scores with both class
    sizes replaced by their mean: V(a) = a(1 - a) [1 + s(1 - a)/(2 - a) + s a/(1 + a)] / (positives negatives), s = mean - 1.
    """
    z, pairs = float(ndtri((1 + confidence) / 2)), positives * negatives

    def excess(area: float) -> float:
        variance = area * (1 - area) * _inflation(area, positives, negatives) / pairs
        return (value - area) ** 2 - z * z * variance

    # At 0 and 1 the variance is 0, so the excess is positive there, and negative at the value.
    low = 0.0 if value <= 0 else bisect(excess, 0.0, min(value, 1 - 1e-15))
    high = 1.0 if value >= 1 else bisect(excess, 1.0, max(value, 1e-15))
    return low, high


def _inflation(area: float, positives: float, negatives: float) -> float:
    """How much more an area varies than the share of as many independent pairs."""
    size = (positives + negatives) / 2 - 1
    return 1 + size * (1 - area) / (2 - area) + size * area / (1 + area)


def average_precision(value: float, positives: float, standard_error: float, confidence: float) -> Estimate:
    """PR AUC with the binomial interval of Boyd, Eng & Page (2013), in its exact form.

    They treat the area as a share of the positives. Where few negatives decide, the area varies more than such a share does; the
    number of trials is then lowered to the one at which it would vary as much as the linearised estimate.

    Args:
        value: average precision.
        positives: rows of the positive class.
        standard_error: of the average precision, linearised (`ranking.average_precision_error`).
        confidence: level, between 0 and 1.
    """
    if math.isnan(value):
        return UNDEFINED
    trials = positives
    if standard_error > 0:
        trials = min(trials, value * (1 - value) / standard_error**2)
    # A share near 0 or 1 that still varies would leave no trial at all.
    trials = max(trials, 1.0)
    return around(value, *clopper_pearson(value * trials, trials, confidence))


def bisect(function: Callable[[float], float], positive: float, negative: float) -> float:
    """A root of `function` between a point where it is positive and one where it is not, to double precision."""
    for _ in range(80):
        middle = (positive + negative) / 2
        if function(middle) > 0:
            positive = middle
        else:
            negative = middle
    return (positive + negative) / 2

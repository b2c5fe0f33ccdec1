"""The rule `errors_by_arm`: how a metric was compared in tests made before there was the rule `betting`. Their rule stays theirs.

Every kind of error has a test of its own, and its part of alpha; latency is compared by its mean.
"""

import math
from dataclasses import dataclass

import numpy as np

from sporeprint.ab_testing.comparison import UNKNOWN, Comparison, event, events_by_weight, negative, times
from sporeprint.ab_testing.design import Design, Metric
from sporeprint.ab_testing.totals import ANSWERS, ArmTotals, ShadowTotals, SplitTotals, Totals
from sporeprint.stats import confidence_sequence, eprocess
from sporeprint.stats.confidence_sequence import COMMON, Moments
from sporeprint.stats.intervals import UNDEFINED, Estimate

ERRORS_BY_ARM = "which arm the error fell in, exact"
DISCORDANT = "who errs where they differ, exact"
SEVERAL = "one for each kind of error, exact"
ASYMPTOTIC = "difference of means, for many units"
#: Half of the difference of a pair's rates is one of its two things.
_PAIR_SCALE = 2.0


@dataclass(frozen=True, slots=True)
class _Counted:
    """One kind of event in both arms, or in pairs.

    Attributes:
        a: events in A; in pairs, those in A alone.
        b: events in B.
        rate: of such events: what `confidence_sequence.difference` needs.
    """

    a: int
    b: int
    rate: Estimate


def compare(design: Design, totals: Totals, metric: Metric, alpha: float) -> Comparison:
    """Compare the arms in one metric.

    Args:
        design: the test.
        totals: what came of it.
        metric: which.
        alpha: the gain is inside its interval at all times at once with a probability of at least 1 - alpha.
    """
    if metric is Metric.LATENCY:
        return _means(metric, *_latency(totals), alpha)
    kinds = events_by_weight(metric, design.costs)
    if isinstance(totals, SplitTotals):
        null, scale = design.traffic_split, 1 / (design.traffic_split * (1 - design.traffic_split))
    else:
        null, scale = 0.5, _PAIR_SCALE
    counted = [_count(totals, metric, kind, alpha * COMMON / len(kinds)) for kind in kinds.values()]
    mixture = eprocess.matched(null, design.likely_ratio)
    confidence, gains, e = 1 - alpha * (1 - COMMON) / len(kinds), [], []
    for weight, one in zip(kinds, counted, strict=True):
        side = confidence_sequence.share(one.b, one.a + one.b, confidence, mixture)
        gains.append(times(negative(confidence_sequence.difference(one.rate, side, null, scale)), weight))
        e.append(float(eprocess.log_e(mixture, one.b, one.a + one.b, null)))
    observations = _observations(totals, metric)
    a, b = _values(totals, metric, kinds, alpha)
    return Comparison(
        metric,
        _method(totals, len(kinds)),
        observations,
        sum(one.a + one.b for one in counted),
        a,
        b,
        _sum(gains) if observations else UNDEFINED,
        # The mean of e-values is one. Of several kinds, it is evidence against "none of them differs".
        float(np.logaddexp.reduce(e) - math.log(len(e))),
    )


def _count(totals: Totals, metric: Metric, kind: frozenset[str], alpha: float) -> _Counted:
    if isinstance(totals, SplitTotals):
        a, b = (_events(arm, metric, kind) for arm in (totals.a, totals.b))
        return _Counted(a, b, confidence_sequence.share(a + b, _observations(totals, metric), 1 - alpha))
    a, b, labels = _discordant(totals, metric, kind)
    if not metric.needs_labels:
        return _Counted(a, b, confidence_sequence.share(a + b, totals.units, 1 - alpha))
    # How often they differ is known of all requests; how often one of them is then wrong, of the labelled ones.
    differing = confidence_sequence.share(totals.disagreements, totals.units, 1 - alpha / 2)
    return _Counted(a, b, confidence_sequence.product(differing, confidence_sequence.share(a + b, labels, 1 - alpha / 2)))


def _events(arm: ArmTotals, metric: Metric, kind: frozenset[str]) -> int:
    if metric is Metric.FAILURES:
        return arm.failed
    if metric is Metric.UNKNOWN_SHARE:
        return arm.answers[UNKNOWN]
    return sum(units for answer, truths in enumerate(arm.labelled) for truth, units in enumerate(truths) if event(answer, truth) in kind)


def _discordant(totals: ShadowTotals, metric: Metric, kind: frozenset[str]) -> tuple[int, int, int]:
    """Requests with such an event in A alone and in B alone; labelled disagreements."""
    if metric is Metric.FAILURES:
        return totals.failed_a, totals.failed_b, 0
    a = b = 0
    for pair in range(ANSWERS**2):
        answers = divmod(pair, ANSWERS)
        if metric is Metric.UNKNOWN_SHARE:
            in_a, in_b = (answer == UNKNOWN for answer in answers)
            a, b = a + totals.answers[pair] * (in_a and not in_b), b + totals.answers[pair] * (in_b and not in_a)
            continue
        for truth, units in enumerate(totals.labelled[pair]):
            in_a, in_b = (event(answer, truth) in kind for answer in answers)
            a, b = a + units * (in_a and not in_b), b + units * (in_b and not in_a)
    return a, b, totals.labels


def _observations(totals: Totals, metric: Metric) -> int:
    # In shadow mode an agreement says that there is no difference there, without a label.
    return totals.labels if metric.needs_labels and isinstance(totals, SplitTotals) else totals.units


def _values(totals: Totals, metric: Metric, kinds: dict[float, frozenset[str]], alpha: float) -> tuple[Estimate, Estimate]:
    """Each arm's own value, in the metric's unit. A shadow test labels disagreements alone: it knows no error rate, only differences."""
    if isinstance(totals, ShadowTotals):
        return UNDEFINED, UNDEFINED
    arms = []
    for arm in (totals.a, totals.b):
        units = arm.labels if metric.needs_labels else arm.units
        shares = [
            times(confidence_sequence.share(_events(arm, metric, kind), units, 1 - alpha / len(kinds)), weight)
            for weight, kind in kinds.items()
        ]
        loss = _sum(shares)
        value = Estimate(1 - loss.value, 1 - loss.high, 1 - loss.low) if metric is Metric.ACCURACY else loss
        arms.append(value if units else UNDEFINED)
    return arms[0], arms[1]


def _latency(totals: Totals) -> tuple[Moments, Moments]:
    if isinstance(totals, SplitTotals):
        return totals.a.latency, totals.b.latency
    return totals.latency_a, totals.latency_b


def _means(metric: Metric, a: Moments, b: Moments, alpha: float) -> Comparison:
    gain = negative(confidence_sequence.mean_difference(a, b, 1 - alpha))
    log_e = confidence_sequence.mean_log_e(a, b, 1 - alpha)
    value_a, value_b = (Estimate(arm.mean, math.nan, math.nan) for arm in (a, b))
    return Comparison(metric, ASYMPTOTIC, a.count + b.count, a.count + b.count, value_a, value_b, gain, log_e)


def _method(totals: Totals, kinds: int) -> str:
    if kinds > 1:
        return SEVERAL
    return ERRORS_BY_ARM if isinstance(totals, SplitTotals) else DISCORDANT


def _sum(estimates: list[Estimate]) -> Estimate:
    return Estimate(sum(one.value for one in estimates), sum(one.low for one in estimates), sum(one.high for one in estimates))

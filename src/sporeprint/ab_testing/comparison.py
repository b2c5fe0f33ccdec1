"""The comparison of two arms in one metric, and what is common to the ways to compute it."""

from dataclasses import dataclass

from sporeprint.ab_testing.design import Costs, Metric
from sporeprint.ab_testing.totals import ANSWERS
from sporeprint.stats import eprocess
from sporeprint.stats.intervals import Estimate

NEGATIVE, POSITIVE, UNKNOWN = range(ANSWERS)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The arms in one metric, from the totals so far.

    Attributes:
        metric: which.
        method: how it is compared.
        observations: units, or requests, that it was computed from.
        decisive: observations that carry the evidence: errors, or pairs in which one of two errs; all of them for means.
        a: arm A's value, with an interval of its own; undefined where it is not known, as an error rate in shadow mode.
        b: arm B's value.
        gain: by how much B is better, in the metric's unit; below 0, A is.
        log_e: logarithm of the e-value against "the arms do the same".
        log_threshold: where that is reached, the arms differ; the interval then lies on one side of 0. None: of a test made before.
        what: what is compared, in words.
    """

    metric: Metric
    method: str
    observations: int
    decisive: int
    a: Estimate
    b: Estimate
    gain: Estimate
    log_e: float
    log_threshold: float | None = None
    what: str = ""

    @property
    def p_value(self) -> float:
        """Valid at one time; the smallest so far is valid at all times."""
        return eprocess.p_value(self.log_e)

    @property
    def difference(self) -> Estimate:
        """The metric in B minus the metric in A."""
        return self.gain if self.metric.direction == "higher" else negative(self.gain)


def events_by_weight(metric: Metric, costs: Costs) -> dict[float, frozenset[str]]:
    """The events that a metric counts, by what each costs. Events of one cost are one kind: the fewer kinds, the sharper the test."""
    if metric is Metric.UNKNOWN_SHARE:
        return {1.0: frozenset({"unknown"})}
    if metric is Metric.FAILURES:
        return {1.0: frozenset({"failed"})}
    if metric is Metric.LATENCY:
        return {1.0: frozenset({"slow"})}
    cost = {
        Metric.ACCURACY: {"false_negative": 1.0, "false_positive": 1.0, "unknown": costs.unknown_as_error},
        Metric.FALSE_NEGATIVE: {"false_negative": 1.0, "false_positive": 0.0, "unknown": costs.unknown_as_false_negative},
        Metric.EXPECTED_COST: {"false_negative": costs.false_negative, "false_positive": costs.false_positive, "unknown": costs.unknown},
    }[metric]
    weights = sorted({weight for weight in cost.values() if weight > 0}, reverse=True)
    return {weight: frozenset(event for event, each in cost.items() if each == weight) for weight in weights}


def event(answer: int, truth: int) -> str:
    """What an answer turned out to be: right, false_negative, false_positive or unknown."""
    if answer == UNKNOWN:
        return "unknown"
    if answer == truth:
        return "right"
    return "false_negative" if answer == NEGATIVE else "false_positive"


def negative(estimate: Estimate) -> Estimate:
    """The interval of minus a number."""
    return Estimate(0.0 - estimate.value, 0.0 - estimate.high, 0.0 - estimate.low)


def times(estimate: Estimate, weight: float) -> Estimate:
    """The interval of a number times a weight that is not negative."""
    return Estimate(estimate.value * weight, estimate.low * weight, estimate.high * weight)

"""Compares the arms in a metric: by one betting e-process on the weighted loss, from the totals alone.

e-value and interval are dual: a difference of 0 is outside the interval exactly if the e-value has reached its threshold.
"""

import bisect
import math
from dataclasses import dataclass

import numpy as np

from sporeprint.ab_testing import errors_by_arm
from sporeprint.ab_testing.comparison import UNKNOWN, Comparison, event, events_by_weight, negative
from sporeprint.ab_testing.design import Design, Labels, Metric, Mode, Rule
from sporeprint.ab_testing.totals import ANSWERS, ArmTotals, ShadowTotals, SplitTotals, Totals, differ
from sporeprint.errors import UsageError
from sporeprint.stats import betting, confidence_sequence
from sporeprint.stats.betting import Bets, Payoffs
from sporeprint.stats.intervals import UNDEFINED, Estimate

SPLIT = "betting on the weighted loss, exact"
SHADOW = "betting on the difference of losses where the versions disagree, exact"
#: Of alpha, in shadow mode, what goes to the interval of how often the versions disagree. The rest decides who is better.
DISAGREEMENT_SHARE = 0.02
#: What is compared where errors are those that were reported.
REPORTED = {
    Metric.ACCURACY: "reported errors a unit",
    Metric.FALSE_NEGATIVE: "reported false negatives a unit",
    Metric.EXPECTED_COST: "cost of reported errors a unit",
}
#: The difference of an arm that is better for certain, however little: the interval is open at 0.
_OPEN = math.nextafter(0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Losses:
    """The losses of one arm.

    Attributes:
        counts: loss -> units, those without a loss among them.
    """

    counts: dict[float, int]

    @property
    def units(self) -> int:
        """All units."""
        return sum(self.counts.values())

    @property
    def mean(self) -> float:
        """Mean loss; NaN without units."""
        return sum(loss * units for loss, units in self.counts.items()) / self.units if self.units else math.nan


def compare(design: Design, totals: Totals, metric: Metric, alpha: float, *, decides: bool = False) -> Comparison:
    """Compare the arms in one metric.

    Args:
        design: the test.
        totals: its totals so far.
        metric: which.
        alpha: the gain is inside its interval at all times at once with a probability of at least 1 - alpha.
        decides: whether its sign may name a winner: its threshold is then calibrated, where losses have one size and the margin is 0.
    """
    if design.rule is Rule.ERRORS_BY_ARM:
        return errors_by_arm.compare(design, totals, metric, alpha)
    if isinstance(totals, SplitTotals):
        return _split(design, totals, metric, alpha, decides)
    return _shadow(design, totals, metric, alpha, decides)


def bets_of(design: Design, metric: Metric) -> Bets:
    """The bets of a metric, fixed with the design."""
    return betting.bets(*_bets_arguments(design, metric))


def log_threshold(design: Design, metric: Metric, alpha: float, *, decides: bool) -> float:
    """Logarithm of the e-value from which the arms differ."""
    alpha = _sign_alpha(design, metric, alpha)
    if not decides or design.margin or len(events_by_weight(metric, design.costs)) > 1:
        return -math.log(alpha)
    return betting.calibrated(*_bets_arguments(design, metric), alpha, design.max_units)


def _sign_alpha(design: Design, metric: Metric, alpha: float) -> float:
    """What is left of alpha for who is better: all of it, where no rate of disagreements is needed."""
    return alpha * (1 - DISAGREEMENT_SHARE) if metric.needs_labels and design.mode is Mode.SHADOW else alpha


def _bets_arguments(design: Design, metric: Metric) -> tuple[float, float, float, float, float]:
    most = max(events_by_weight(metric, design.costs))
    split = design.traffic_split
    low, high = (-most / (1 - split), most / split) if design.mode is Mode.SPLIT else (-most, most)
    # A larger loss of B speaks for A.
    larger = {None: 0.5, "a": betting.NAMED, "b": 1 - betting.NAMED}[design.expect]
    broad = betting.BROAD_WITH_MARGIN if design.margin or design.equivalence else betting.BROAD
    return low, high, design.ratio_of(metric), larger, broad


def split_losses(design: Design, totals: SplitTotals, metric: Metric) -> tuple[Losses, Losses]:
    """The losses of both arms."""
    return _losses(design, totals.a, metric), _losses(design, totals.b, metric)


def _losses(design: Design, arm: ArmTotals, metric: Metric) -> Losses:
    if not metric.needs_labels:
        # An answer that failed is no fast one.
        bad = {Metric.UNKNOWN_SHARE: arm.answers[UNKNOWN], Metric.FAILURES: arm.failed, Metric.LATENCY: arm.slow + arm.failed}[metric]
        return Losses({0.0: arm.units - bad, 1.0: bad})
    weights = _weights(design, metric)
    counts = dict.fromkeys((0.0, *weights.values()), 0)
    for answer, truths in enumerate(arm.labelled):
        for truth, units in enumerate(truths):
            counts[weights.get(event(answer, truth), 0.0)] += units
    if design.labels is Labels.REPORTS:
        counts[0.0] += arm.units - arm.labels
    return Losses(counts)


def _weights(design: Design, metric: Metric) -> dict[str, float]:
    return {event: weight for weight, events in events_by_weight(metric, design.costs).items() for event in events}


def _split(design: Design, totals: SplitTotals, metric: Metric, alpha: float, decides: bool) -> Comparison:
    arms, split = split_losses(design, totals, metric), design.traffic_split
    scales = (-1 / (1 - split), 1 / split)
    values = [loss * scale for arm, scale in zip(arms, scales, strict=True) for loss in arm.counts]
    counts = [units for arm in arms for units in arm.counts.values()]
    payoffs = Payoffs(np.array(values), np.array(counts, dtype=np.float64))
    difference, log_e, threshold = _difference(design, metric, payoffs, alpha, decides)
    observations = sum(counts)
    decisive = observations - sum(arm.counts[0.0] for arm in arms)
    a, b = (_own(metric, design, arm, alpha) for arm in arms)
    gain = negative(difference) if observations else UNDEFINED
    return Comparison(metric, SPLIT, observations, decisive, a, b, gain, log_e, threshold, _what(design, metric))


def _shadow(design: Design, totals: ShadowTotals, metric: Metric, alpha: float, decides: bool) -> Comparison:
    if metric.needs_labels:
        counts = _differences(design, totals, metric)
    else:
        a, b = _alone(totals, metric)
        counts = {-1.0: a, 1.0: b, 0.0: totals.units - a - b}
    payoffs = Payoffs(np.array(list(counts)), np.array(list(counts.values()), dtype=np.float64))
    difference, log_e, threshold = _difference(design, metric, payoffs, alpha, decides)
    if metric.needs_labels:
        # Losses can only differ where the answers do. How often they do is known of all requests, labelled or not.
        rate = confidence_sequence.share(totals.disagreements, totals.units, 1 - alpha * DISAGREEMENT_SHARE)
        ends = [rate_end * end for rate_end in (rate.low, rate.high) for end in (difference.low, difference.high)]
        value = 0.0 if math.isnan(difference.value) else rate.value * difference.value
        low = _OPEN if difference.low == _OPEN else min(ends)
        high = -_OPEN if difference.high == -_OPEN else max(ends)
        difference = Estimate(value, low, high)
    decisive = sum(units for loss, units in counts.items() if loss)
    gain = negative(difference) if totals.units else UNDEFINED
    return Comparison(metric, SHADOW, totals.units, decisive, UNDEFINED, UNDEFINED, gain, log_e, threshold, _what(design, metric))


def _differences(design: Design, totals: ShadowTotals, metric: Metric) -> dict[float, int]:
    """Labelled disagreements by loss of B minus loss of A."""
    weights = _weights(design, metric)
    counts = {0.0: 0}
    for pair in range(ANSWERS**2):
        if differ(pair):
            a, b = divmod(pair, ANSWERS)
            for truth, units in enumerate(totals.labelled[pair]):
                difference = weights.get(event(b, truth), 0.0) - weights.get(event(a, truth), 0.0)
                counts[difference] = counts.get(difference, 0) + units
    return counts


def _alone(totals: ShadowTotals, metric: Metric) -> tuple[int, int]:
    """Requests on which A alone was unknown, failed or slow, and B alone."""
    if metric is Metric.FAILURES:
        return totals.failed_a, totals.failed_b
    if metric is Metric.LATENCY:
        return totals.slow_a + totals.failed_a, totals.slow_b + totals.failed_b
    unknown = [[pair for pair in range(ANSWERS**2) if differ(pair) and divmod(pair, ANSWERS)[arm] == UNKNOWN] for arm in (0, 1)]
    a, b = (sum(totals.answers[pair] for pair in pairs) for pairs in unknown)
    return a, b


def _difference(design: Design, metric: Metric, payoffs: Payoffs, alpha: float, decides: bool) -> tuple[Estimate, float, float]:
    """Loss of B minus loss of A, the logarithm of its e-value, and the threshold of that."""
    mixture = bets_of(design, metric)
    larger, smaller = betting.log_e(mixture, payoffs)
    events = payoffs.counts[payoffs.values != 0].sum()
    within = design.max_units is None or events <= design.max_units  # beyond its horizon a threshold is not calibrated
    threshold = log_threshold(design, metric, alpha, decides=decides and within)
    inside = betting.interval(mixture, payoffs, -math.log(_sign_alpha(design, metric, alpha)), max(events_by_weight(metric, design.costs)))
    # A calibrated threshold decides the sign alone; how large the difference is, Ville's bound says.
    low = max(inside.low, _OPEN) if larger >= threshold else inside.low
    high = min(inside.high, -_OPEN) if smaller >= threshold else inside.high
    return Estimate(inside.value, low, high), max(larger, smaller), threshold


def _own(metric: Metric, design: Design, arm: Losses, alpha: float) -> Estimate:
    """An arm's own value: with its interval, where losses have one size."""
    if not arm.units:
        return UNDEFINED
    losses = [loss for loss in arm.counts if loss]
    value = Estimate(arm.mean, math.nan, math.nan)
    if len(losses) == 1:
        share = confidence_sequence.share(arm.counts[losses[0]], arm.units, 1 - alpha)
        value = Estimate(*(each * losses[0] for each in (share.value, share.low, share.high)))
    if metric is Metric.ACCURACY and design.labels is not Labels.REPORTS:
        return Estimate(1 - value.value, 1 - value.high, 1 - value.low)
    return value


def _what(design: Design, metric: Metric) -> str:
    if metric is Metric.LATENCY:
        limit = "the limit" if design.latency_limit_ms is None else f"{design.latency_limit_ms:g} ms"
        return f"answers slower than {limit}"
    return REPORTED.get(metric, "") if design.labels is Labels.REPORTS else ""


def least_units(design: Design) -> int | None:
    """The fewest units after which a winner can be named, whatever happens; None where there is no such number up to a billion."""

    def decided(units: int) -> bool:
        return any(_certain(design, units, arm) for arm in ("a", "b"))

    most = 1
    while not decided(most):
        most *= 2
        if most > 1 << 30:
            return None
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (least, middle) if decided(middle) else (middle, most)
    return most


def _certain(design: Design, units: int, better: str) -> bool:
    """Whether an arm wins that never errs, where all units are errors of the other one."""
    most, metric = max(events_by_weight(design.metric, design.costs)), design.metric
    low, high, *_ = _bets_arguments(design, metric)
    payoffs = Payoffs(np.array([high if better == "a" else low]), np.array([float(units)]))
    difference, _, _ = _difference(design, metric, payoffs, design.winner_alpha, decides=True)
    margin = design.margin if metric is not Metric.EXPECTED_COST else min(design.margin, most)
    return difference.low > margin if better == "a" else difference.high < -margin


def fewest_labels(design: Design, totals: ShadowTotals) -> int | None:
    """The fewest further labels of disagreements that can name a winner: all of them in favour of one version; None: not a million can.

    A lower bound: labels that favour the other version make it more. Guardrails, and the least units or duration, are not looked at.
    """
    rate, most = totals.disagreements / totals.units if totals.units else 0.0, max(events_by_weight(design.metric, design.costs))
    counts = _differences(design, totals, design.metric)

    def decided(labels: int) -> bool:
        for loss in (-most, most):
            more = {**counts, loss: counts.get(loss, 0) + labels}
            payoffs = Payoffs(np.array(list(more)), np.array(list(more.values()), dtype=np.float64))
            difference, _, _ = _difference(design, design.metric, payoffs, design.winner_alpha, decides=True)
            if difference.low * rate > design.margin or difference.high * rate < -design.margin:
                return True
        return False

    if decided(0):
        return 0
    most_labels = 1
    while not decided(most_labels):
        most_labels *= 2
        if most_labels > 1 << 20:
            return None
    return bisect.bisect_left(range(most_labels), True, lo=most_labels // 2, key=decided)


def check_horizon(design: Design) -> None:
    """Refuse a test that cannot name a winner within its units.

    Raises:
        UsageError: with the least number of units that can.
    """
    least = least_units(design)
    if design.max_units is not None and (least is None or design.max_units < least):
        needed = "no number of units" if least is None else f"at least {least:,} units"
        raise UsageError(
            f"max_units is {design.max_units}: this test cannot name a winner by then, whatever happens; {needed} can decide it"
        )

"""How long a test will take: until the sequential rule decides, and what a test with one single analysis at the end would need."""

import math
from dataclasses import dataclass

import numpy as np

from sporeprint.ab_testing.comparisons import bets_of, log_threshold
from sporeprint.ab_testing.design import Design, Metric, Mode
from sporeprint.errors import UsageError
from sporeprint.stats import betting, fixed_horizon
from sporeprint.stats.eprocess import Float64
from sporeprint.stats.intervals import bisect
from sporeprint.stats.special import bdtrc

#: Errors, or pairs in which one of two errs, that a plan follows: less than a second.
MOST = 20_000
#: Smallest probability that a plan is worked out for.
SMALLEST = 1e-9


@dataclass(frozen=True, slots=True)
class AssumedRates:
    """The error rates that a plan or a simulation assumes.

    Attributes:
        rate_a: probability that A errs.
        rate_b: probability that B errs.
        shared: that both err on the same request; without meaning in a split.

    >>> from sporeprint import AssumedRates
    >>> AssumedRates(rate_a=0.02, rate_b=0.01).rate_b
    0.01
    """

    rate_a: float
    rate_b: float
    shared: float = 0.0

    def __post_init__(self) -> None:
        for name in ("rate_a", "rate_b"):
            rate = getattr(self, name)
            if not 0 < rate < 1:
                raise UsageError(f"{name} is {rate!r}: an error rate above 0 and below 1 is needed")


@dataclass(frozen=True, slots=True)
class DecisiveTrials:
    """The events that carry the evidence: errors, or pairs in which one version errs.

    Attributes:
        null: probability that one falls on B if both err alike.
        side: the true one.
        events: how many there are for each unit, or request.
        scale: rate of B minus rate of A, for each `events * (side - null)`.
    """

    null: float
    side: float
    events: float
    scale: float


def decisive_trials(design: Design, truth: AssumedRates) -> DecisiveTrials:
    """Which trials decide, under this truth."""
    if design.mode is Mode.SHADOW:
        least, most = max(0.0, truth.rate_a + truth.rate_b - 1), min(truth.rate_a, truth.rate_b)
        if not least <= truth.shared <= most:
            raise UsageError(
                f"shared is {truth.shared!r}: the share of requests on which both err lies between {least:g} and the smaller error rate, "
                f"{most:g}"
            )
        only_a, only_b = truth.rate_a - truth.shared, truth.rate_b - truth.shared
        if only_a + only_b <= 0:
            raise UsageError(
                f"shared is {truth.shared!r}, as are both error rates: the versions never differ, and there is nothing to test"
            )
        return DecisiveTrials(0.5, only_b / (only_a + only_b), only_a + only_b, 2.0)
    split = design.traffic_split
    rate = split * truth.rate_b + (1 - split) * truth.rate_a
    return DecisiveTrials(split, split * truth.rate_b / rate, rate, 1 / (split * (1 - split)))


@dataclass(frozen=True, slots=True)
class SampleSizePlan:
    """What a test will need. Units are requests in shadow mode.

    Attributes:
        median_units: in half of the tests the rule has decided by then; None where it takes more than a plan follows.
        units: the same for the stated power.
        median_labels: labels by then; in shadow mode, of disagreements alone.
        labels: the same for the stated power.
        fixed_units: units of a test that is analysed once, for the same power. Not safe to peek at.
        fixed_labels: labels of that test.
        wrong: probability that the rule names the worse arm by then.
        power: the stated power.
        days: duration for `units`; None without units a day.
    """

    median_units: int | None
    units: int | None
    median_labels: int | None
    labels: int | None
    fixed_units: int
    fixed_labels: int
    wrong: float
    power: float
    days: float | None

    @property
    def price(self) -> float | None:
        """Units as a multiple of the fixed test's: the cost of sequential testing, at this power."""
        return None if self.units is None else self.units / self.fixed_units


def plan_ab_test(
    design: Design, truth: AssumedRates, *, power: float = 0.8, units_a_day: float | None = None, most: int = MOST
) -> SampleSizePlan:
    """Plan a test that counts one kind of error, or slow answers, with a margin of 0, analysed after every unit.

    Exact, by following all numbers of errors of either arm.

    Args:
        design: the test.
        truth: what is taken to be true; the rates must differ.
        power: share of the tests that are to be decided.
        units_a_day: for the duration.
        most: errors (pairs) to follow.

    >>> from sporeprint import AssumedRates, Design, plan_ab_test
    >>> design = Design(name="errors", model_a="xgboost/v1", model_b="xgboost/v2")
    >>> plan = plan_ab_test(design, AssumedRates(rate_a=0.04, rate_b=0.02), power=0.8)
    >>> plan.fixed_units < plan.units
    True
    """
    if truth.rate_a == truth.rate_b:
        raise UsageError(f"rate_a and rate_b are both {truth.rate_a!r}: a plan needs the difference that is to be found")
    if design.margin:
        raise UsageError(f"margin is {design.margin}: a plan is for a test with a margin of 0; with a margin it takes longer")
    if not design.alpha < power < 1:
        raise UsageError(f"power is {power!r}: it has to be above alpha, {design.alpha}, and below 1")
    trials = decisive_trials(design, truth)
    _check_size(design, truth, trials)
    fixed_units, fixed_labels = _fixed(design, truth, trials, power)
    follow = min(most, 200 + 12 * math.ceil(fixed_units * trials.events))
    metric = Metric.LATENCY if design.metric is Metric.LATENCY else Metric.ACCURACY
    threshold = log_threshold(design, metric, design.winner_alpha, decides=True)
    crossed, _ = betting.crossing(*betting.boundary(bets_of(design, metric), follow, threshold), trials.side)
    decided = crossed.sum(axis=0)
    median_units, units = (_units(decided, trials.events, share) for share in (0.5, power))
    # With two classes exactly one of two versions that differ is right: each disagreement is one that counts.
    shadow = design.mode is Mode.SHADOW
    median_labels, labels = (_quantile(decided, share) for share in (0.5, power)) if shadow else (median_units, units)
    return SampleSizePlan(
        median_units=median_units,
        units=units,
        median_labels=median_labels,
        labels=labels,
        fixed_units=fixed_units,
        fixed_labels=fixed_labels,
        wrong=float(crossed[int(trials.side < trials.null)].sum()),
        power=power,
        days=units / units_a_day if units is not None and units_a_day else None,
    )


def _check_size(design: Design, truth: AssumedRates, trials: DecisiveTrials) -> None:
    """Refuse what is too small to be worked out in floating-point numbers."""
    split = design.traffic_split
    sizes = {"alpha": design.alpha, "traffic_split": split, "1 - traffic_split": 1 - split, "rate_a": truth.rate_a, "rate_b": truth.rate_b}
    for name, size in {**sizes, "the share of units that carry evidence": trials.events}.items():
        if size < SMALLEST:
            raise UsageError(f"{name} is {size!r}: a plan needs at least {SMALLEST:g}")


def _quantile(decided: Float64, share: float) -> int | None:
    """Errors by which the rule has decided this share of the tests."""
    events = int(np.searchsorted(decided.cumsum(), share))
    return events if events < len(decided) else None


def _units(decided: Float64, rate: float, share: float) -> int | None:
    """Units by which it has: the k-th error comes at unit u or before with a negative binomial probability."""
    if _quantile(decided, share) is None:
        return None
    events = np.flatnonzero(decided)

    def short(units: float) -> float:
        by_then = bdtrc(events - 1, np.full(len(events), math.floor(units)), rate)
        return share - float((decided[events] * np.where(events <= units, by_then, 0.0)).sum())

    most = 2.0 * len(decided) / rate
    return math.ceil(bisect(short, 0.0, most))


def _fixed(design: Design, truth: AssumedRates, trials: DecisiveTrials, power: float) -> tuple[int, int]:
    if design.mode is Mode.SHADOW:
        pairs = fixed_horizon.pairs_for_mcnemar(trials.side, design.alpha, power)
        return math.ceil(pairs / trials.events), pairs
    units = fixed_horizon.units_for_two_proportions(truth.rate_a, truth.rate_b, design.traffic_split, design.alpha, power)
    return units, units

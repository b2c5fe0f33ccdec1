"""Simulated traffic of an A/B test, as it is in practice: repeated rows, late and selective labels, skewed latencies."""

import functools
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sporeprint.ab_testing.comparison import events_by_weight
from sporeprint.ab_testing.design import Design, Labels, Metric, Mode
from sporeprint.ab_testing.power import AssumedRates
from sporeprint.errors import UsageError

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

RIGHT, FALSE_NEGATIVE, FALSE_POSITIVE = range(3)
#: Draws from which the limit of a slow answer is taken: the 90th percentile of A.
_LIMIT_DRAWS = 200_000
_DISTRIBUTIONS = "lognormal:<sigma>, pareto:<shape> or bimodal"


@dataclass(frozen=True, slots=True)
class Latencies:
    """A distribution of latencies.

    Attributes:
        name: `lognormal:<sigma>`, `pareto:<shape>` or `bimodal` (99 % 5 ms, 1 % 500 ms).
        factor: latency of B as a multiple of A's.
    """

    name: str = "lognormal:1"
    factor: float = 1.0

    def __post_init__(self) -> None:
        self.draw(1, np.random.default_rng(0))
        if not 0 < self.factor < math.inf:
            raise UsageError(f"the factor of the latencies is {self.factor!r}: a number above 0 is needed")

    def draw(self, size: int, random: np.random.Generator) -> Float64:
        """Latencies of A, milliseconds, float64 [size]."""
        kind, _, text = self.name.partition(":")
        try:
            shape = float(text or 1)
        except ValueError:
            shape = math.nan
        if kind == "bimodal" and not text:
            return np.where(random.random(size) < 0.01, 500.0, 5.0)
        if kind == "lognormal" and 0 < shape < math.inf:
            return random.lognormal(1.6, shape, size)
        if kind == "pareto" and 0 < shape < math.inf:
            return 5.0 * (1 + random.pareto(shape, size))
        raise UsageError(f"latency is {self.name!r}; allowed: {_DISTRIBUTIONS}")

    @property
    def limit_ms(self) -> float:
        """The limit that is fixed beforehand: A's 90th percentile."""
        return _limit_ms(self)


@functools.lru_cache(maxsize=64)
def _limit_ms(latencies: Latencies) -> float:
    return float(np.quantile(latencies.draw(_LIMIT_DRAWS, np.random.default_rng(20240229)), 0.9))


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a simulation assumes.

    Attributes:
        rates: error rates of both versions.
        missed_a: share of A's errors that are false negatives.
        missed_b: share of B's errors.
        requests: mean number of requests for the same row, at least 1 (geometric).
        zipf: exponent of the rows' popularity, above 1; None: see `requests`.
        unit: what is counted: `row`, as the service does, or `request`, to see what that would do.
        reported: probability that an error gets a label.
        confirmed: probability that a right answer gets one.
        delay: mean delay of a label, in units (exponential).
        latencies: of the answers.
    """

    rates: AssumedRates
    missed_a: float = 0.5
    missed_b: float = 0.5
    requests: float = 1.0
    zipf: float | None = None
    unit: str = "row"
    reported: float = 1.0
    confirmed: float = 1.0
    delay: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)

    def __post_init__(self) -> None:
        for name in ("missed_a", "missed_b", "reported", "confirmed"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} is {getattr(self, name)!r}: a share from 0 to 1 is needed")
        if not 1 <= self.requests < math.inf:
            raise UsageError(f"requests is {self.requests!r}: requests for the same row, at least 1 in the mean")
        if self.zipf is not None and not 1 < self.zipf < math.inf:
            raise UsageError(f"zipf is {self.zipf!r}: an exponent above 1 is needed")
        if self.unit not in ("row", "request"):
            raise UsageError(f"unit is {self.unit!r}; allowed: row, request")
        if not 0 <= self.delay < math.inf:
            raise UsageError(f"delay is {self.delay!r}: a number of units, 0 or more")


@dataclass(frozen=True, slots=True)
class DrawnUnits:
    """The units of one simulated test, in the order in which they are counted.

    Attributes:
        losses: float64 [n], loss of each unit in its arm; in shadow mode, loss of B minus loss of A.
        in_b: bool [n], whether the unit is B's; all False in shadow mode.
        at: int64 [n], requests until then.
    """

    losses: Float64
    in_b: Bool
    at: Int64


def draw(design: Design, traffic: Traffic, metric: Metric, requests: int, random: np.random.Generator) -> DrawnUnits:
    """Draw the requests of a test, and count its units for a metric."""
    rows = _rows(traffic, requests, random)
    count = int(rows.max()) + 1
    first = np.zeros(requests, dtype=bool)
    first[np.unique(rows, return_index=True)[1]] = True
    counted = first if traffic.unit == "row" else np.ones(requests, dtype=bool)
    losses, in_b, labelled = _losses(design, traffic, metric, count, random)
    of_row = rows[counted]
    losses, in_b, labelled = losses[of_row], in_b[of_row], labelled[of_row]
    at = np.flatnonzero(counted) + 1
    if not metric.needs_labels:
        return DrawnUnits(losses, in_b, at)
    if design.labels is Labels.REPORTS:
        losses = np.where(labelled, losses, 0.0)
    elif not labelled.all():
        losses, in_b, at = losses[labelled], in_b[labelled], at[labelled]
    if traffic.delay:
        at = at + random.exponential(traffic.delay, len(at)).astype(np.int64)
        order = np.argsort(at, kind="stable")
        losses, in_b, at = losses[order], in_b[order], at[order]
    return DrawnUnits(losses, in_b, at)


def true_difference(design: Design, traffic: Traffic, metric: Metric) -> float:
    """Expected loss of B minus expected loss of A, of what the test counts."""
    if metric is Metric.LATENCY:
        limit = traffic.latencies.limit_ms
        latencies = traffic.latencies.draw(_LIMIT_DRAWS, np.random.default_rng(1))
        return float((latencies * traffic.latencies.factor > limit).mean() - (latencies > limit).mean())
    weights = _weights(design, metric)
    rates = traffic.rates
    losses = [
        rate * (missed * weights[FALSE_NEGATIVE] + (1 - missed) * weights[FALSE_POSITIVE])
        for rate, missed in ((rates.rate_a, traffic.missed_a), (rates.rate_b, traffic.missed_b))
    ]
    reported = traffic.reported if design.labels is Labels.REPORTS else 1.0
    return float(reported * (losses[1] - losses[0]))


def _rows(traffic: Traffic, requests: int, random: np.random.Generator) -> Int64:
    """The row of each request, int64 [requests], numbered by first request."""
    if traffic.zipf is not None:
        rows = random.zipf(traffic.zipf, requests)
    elif traffic.requests > 1:
        repeats = random.geometric(1 / traffic.requests, requests)
        rows = np.repeat(np.arange(requests), repeats)[:requests]
        rows = rows[random.permutation(requests)]
    else:
        return np.arange(requests)
    _, first, inverse = np.unique(rows, return_index=True, return_inverse=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    return np.asarray(number[inverse])


def _weights(design: Design, metric: Metric) -> Float64:
    """Losses by kind of error, float64 [3]."""
    by_event = {event: weight for weight, events in events_by_weight(metric, design.costs).items() for event in events}
    return np.array([0.0, by_event.get("false_negative", 0.0), by_event.get("false_positive", 0.0)])


def _losses(design: Design, traffic: Traffic, metric: Metric, rows: int, random: np.random.Generator) -> tuple[Float64, Bool, Bool]:
    """Loss, arm and whether it gets a label, of each row."""
    shadow, rates = design.mode is Mode.SHADOW, traffic.rates
    in_b = np.zeros(rows, dtype=bool) if shadow else random.random(rows) < design.traffic_split
    if metric is Metric.LATENCY:
        limit, factor = traffic.latencies.limit_ms, traffic.latencies.factor
        a = traffic.latencies.draw(rows, random)
        if not shadow:
            return (np.where(in_b, factor * a, a) > limit).astype(np.float64), in_b, np.ones(rows, dtype=bool)
        b = factor * traffic.latencies.draw(rows, random)
        return (b > limit).astype(np.float64) - (a > limit), in_b, np.ones(rows, dtype=bool)
    weights, chance, kind = _weights(design, metric), random.random(rows), random.random(rows)
    if shadow:
        only_a, only_b = rates.rate_a - rates.shared, rates.rate_b - rates.shared
        wrong_b, wrong_a = chance < only_b, (chance >= only_b) & (chance < only_a + only_b)
        missed = np.where(wrong_b, kind < traffic.missed_b, kind < traffic.missed_a)
        loss = np.where(missed, weights[FALSE_NEGATIVE], weights[FALSE_POSITIVE]) * (wrong_b.astype(np.float64) - wrong_a)
        return loss, in_b, random.random(rows) < traffic.reported
    wrong = chance < np.where(in_b, rates.rate_b, rates.rate_a)
    missed = kind < np.where(in_b, traffic.missed_b, traffic.missed_a)
    loss = np.where(wrong, np.where(missed, weights[FALSE_NEGATIVE], weights[FALSE_POSITIVE]), 0.0)
    return loss, in_b, random.random(rows) < np.where(wrong, traffic.reported, traffic.confirmed)

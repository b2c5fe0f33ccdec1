"""Thousands of simulated tests with known error rates: how often the rule is wrong, and how long it takes.

With equal versions (A/A) every winner is a false one, so that this proves the promise on one's own numbers. The rule is applied after
every unit. That it is the rule of `analysis` and `decision`, unit for unit, is tested.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sporeprint.ab_testing.comparisons import bets_of, log_threshold
from sporeprint.ab_testing.design import Design, Metric, Mode
from sporeprint.ab_testing.power import AssumedRates
from sporeprint.ab_testing.traffic import DrawnUnits, Traffic, draw, true_difference
from sporeprint.errors import UsageError
from sporeprint.stats import betting, eprocess, intervals, sample_ratio_mismatch
from sporeprint.stats.betting import Bets
from sporeprint.stats.intervals import Estimate
from sporeprint.stats.special import logsumexp

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SimulatedTest:
    """What the rule concluded in one test.

    Attributes:
        winner: -1: A, 1: B, 0: none.
        requests: until the winner was clear, or all of them.
        labels: units that count until then.
        missed: whether the interval of the difference was ever without the true one.
        srm_alarm: whether there was an alarm about the sample ratio.
        breached: whether a guardrail ended the test.
    """

    winner: int
    requests: int
    labels: int
    missed: bool
    srm_alarm: bool
    breached: bool


@dataclass(frozen=True, slots=True)
class SimulatedErrorRates:
    """The results of all tests.

    Attributes:
        tests: how many.
        units: requests of each, at most.
        won_a: share in which A won, with a 99 % interval.
        won_b: the same of B.
        wrong: share in which the worse arm won; of equal arms, in which any did.
        false_ends: share in which the worse arm won or a guardrail was breached that holds.
        missed: share in which the interval was ever without the true difference.
        alarmed: share with an alarm about the sample ratio.
        median_units: requests until the winner was clear; None where that was not so in half of the tests.
        median_labels: the same for labels.
        true_difference: loss of B minus loss of A.
        decided_by: requests by which 10, 20, ... 100 % of the tests had a winner, as far as they had.
    """

    tests: int
    units: int
    won_a: Estimate
    won_b: Estimate
    wrong: Estimate
    false_ends: Estimate
    missed: Estimate
    alarmed: Estimate
    median_units: float | None
    median_labels: float | None
    true_difference: float
    decided_by: tuple[int, ...]

    def keeps(self, alpha: float, srm_alpha: float) -> bool:
        """Whether false ends, missed differences and false alarms are no more than promised, but for the chance of a simulation."""
        return self.false_ends.low <= alpha and self.missed.low <= alpha and self.alarmed.low <= srm_alpha


def simulate_ab_test(
    design: Design, traffic: Traffic | AssumedRates, *, units: int, tests: int, seed: int, progress: Callable[[int], object] | None = None
) -> SimulatedErrorRates:
    """Run the same test many times.

    Args:
        design: the test; its margin, least units and duration have to be 0 (larger ones only make false winners rarer).
        traffic: what is true; error rates alone: each request is for another row, and every label comes at once.
        units: requests of each test.
        tests: how many, at least 1.
        seed: of the random numbers.
        progress: called with the number of tests that are done; None: nobody is told.

    >>> from sporeprint import AssumedRates, Design, simulate_ab_test
    >>> design = Design(name="errors", model_a="xgboost/v1", model_b="xgboost/v2")
    >>> result = simulate_ab_test(design, AssumedRates(rate_a=0.04, rate_b=0.04), units=1000, tests=50, seed=1)
    >>> result.keeps(design.alpha, design.srm_alpha)
    True
    """
    if design.margin or design.min_units:
        raise UsageError(f"margin is {design.margin} and min_units {design.min_units}: a simulation needs a test with 0 of both")
    if tests < 1 or units < 1:
        raise UsageError(f"tests is {tests} and units {units}: at least 1 of each is needed")
    traffic = Traffic(traffic) if isinstance(traffic, AssumedRates) else traffic
    design = replace(design, max_units=units if design.max_units is None else design.max_units)
    truth = true_difference(design, traffic, design.metric)
    rule = _Rule(design, truth, traffic.rates.rate_a + traffic.rates.rate_b - 2 * traffic.rates.shared)
    results = []
    for number in range(tests):
        results.append(rule.follow(draw_test(design, traffic, units, seed, number), units))
        if progress is not None:
            progress(number + 1)
    winner = np.array([each.winner for each in results])
    used = np.array([each.requests for each in results])
    labels = np.array([each.labels for each in results])
    breached = np.array([each.breached for each in results])
    better = -np.sign(truth)
    wrong = (winner != 0) & (winner != better)
    harmless = breached & np.array(_guardrails_hold(design, traffic))
    half = np.count_nonzero(winner) * 2 > tests
    decided = np.sort(used[winner != 0])
    steps = [math.ceil(tests * tenth / 10) for tenth in range(1, 11)]
    return SimulatedErrorRates(
        tests=tests,
        units=units,
        won_a=_share(winner < 0),
        won_b=_share(winner > 0),
        wrong=_share(wrong),
        false_ends=_share(wrong | harmless),
        missed=_share(np.array([each.missed for each in results])),
        alarmed=_share(np.array([each.srm_alarm for each in results])),
        median_units=float(np.median(np.where(winner != 0, used, units))) if half else None,
        median_labels=float(np.median(np.where(winner != 0, labels, labels.max()))) if half else None,
        true_difference=truth,
        decided_by=tuple(int(decided[step - 1]) for step in steps if step <= len(decided)),
    )


def draw_test(design: Design, traffic: Traffic, units: int, seed: int, number: int) -> dict[Metric, DrawnUnits]:
    """The units of one test, for its metric and its guardrails' metrics: of the same requests."""
    metrics = (design.metric, *(guardrail.metric for guardrail in design.guardrails))
    return {metric: draw(design, traffic, metric, units, np.random.default_rng((seed, number))) for metric in dict.fromkeys(metrics)}


class _SequentialTest:
    """A pair of e-processes with a threshold."""

    def __init__(self, bets: Bets, threshold: float) -> None:
        self.bets, self.threshold = bets, threshold
        self._boundaries: dict[int, tuple[Int64, Int64]] = {}

    def crossings(self, payoffs: Float64, difference: float = 0.0) -> tuple[int, int]:
        """The units after which the e-values of a difference first reach the threshold; the number of units where they do not.

        Returns:
            up: of "the mean is no larger".
            down: of "the mean is no smaller".
        """
        events, bets = np.flatnonzero(payoffs), self.bets
        values = payoffs[events]
        if not difference and bool((np.isclose(values, bets.low) | np.isclose(values, bets.high)).all()):
            # Losses of one size: counts alone decide.
            low, high = self._boundary(len(events))
            n, x = np.arange(1, len(events) + 1), np.cumsum(values > 0)
            reached = (x >= high[n], x <= low[n])
        else:
            if difference:  # between events the e-values move as well: furthest just before an event, and at the end
                events = np.unique(np.concatenate([events, events[events > 0] - 1, np.arange(len(payoffs))[-1:]]))
            up, down = self._paths(payoffs, events, difference)
            reached = (up >= self.threshold, down >= self.threshold)
        first = [int(events[flags.argmax()]) if flags.any() else len(payoffs) for flags in reached]
        return first[0], first[1]

    def _boundary(self, events: int) -> tuple[Int64, Int64]:
        most = 1 << max(8, events.bit_length())
        if most not in self._boundaries:
            self._boundaries[most] = betting.boundary(self.bets, most, self.threshold)
        return self._boundaries[most]

    def _paths(self, payoffs: Float64, events: Int64, difference: float) -> tuple[Float64, Float64]:
        """Logarithms of both e-values after each of the given units, float64 [k]; all units with a payoff are among them."""
        bets, values = self.bets, payoffs[events][:, np.newaxis]
        without = (np.diff(np.concatenate([[-1], events])) - 1)[:, np.newaxis]
        sides = []
        for bet, weight in ((bets.up, bets.log_up), (bets.down, bets.log_down)):
            allowed = 1 + np.where(bet > 0, bet * (bets.low - difference), bet * (bets.high - difference)) > 0
            stakes = bet[allowed]
            gains = np.log1p(stakes * (values - difference)) + without * np.log1p(-stakes * difference)
            sides.append(np.asarray(logsumexp(weight[allowed] + np.cumsum(gains, axis=0), axis=1)))
        return sides[0], sides[1]


class _Rule:
    """The rule of a design, applied after every unit.

    Args:
        design: the test.
        truth: loss of B minus loss of A.
        disagreements: share of the requests of a shadow test on which the versions differ.
    """

    def __init__(self, design: Design, truth: float, disagreements: float) -> None:
        self.design, self.truth, self.disagreements = design, truth, disagreements
        metric, alpha = design.metric, design.winner_alpha
        bets = bets_of(design, metric)
        self.decides = _SequentialTest(bets, log_threshold(design, metric, alpha, decides=True))
        self.holds_truth = _SequentialTest(bets, log_threshold(design, metric, alpha, decides=False))
        self.guardrails = [
            (one, _SequentialTest(bets_of(design, one.metric), log_threshold(design, one.metric, design.guardrail_alpha, decides=False)))
            for one in design.guardrails
        ]

    def follow(self, drawn: dict[Metric, DrawnUnits], requests: int) -> SimulatedTest:
        """Apply the rule to one test."""
        units = drawn[self.design.metric]
        payoffs = self._payoffs(units)
        a, b = self.decides.crossings(payoffs)
        first, winner, used = min(a, b), 0, requests
        if first < len(payoffs):
            winner, used = (-1 if a <= b else 1), int(units.at[first])
        breached = False
        for guardrail, test in self.guardrails:
            other = drawn[guardrail.metric]
            worse, _ = test.crossings(self._payoffs(other), guardrail.margin)
            if worse < len(other.at) and int(other.at[worse]) <= used:
                breached, winner, used = True, 0, int(other.at[worse])
        return SimulatedTest(
            winner=winner,
            requests=used,
            labels=self._labels(units, used),
            missed=self._missed(units, payoffs) if self.truth else first < len(payoffs),
            srm_alarm=_srm_alarm(self.design, units.in_b),
            breached=breached,
        )

    def _payoffs(self, units: DrawnUnits) -> Float64:
        if self.design.mode is Mode.SHADOW:
            return units.losses
        split = self.design.traffic_split
        return np.where(units.in_b, units.losses / split, -units.losses / (1 - split))

    def _labels(self, units: DrawnUnits, used: int) -> int:
        counted = units.at <= used
        if self.design.mode is Mode.SHADOW and self.design.metric.needs_labels:
            counted &= units.losses != 0
        return int(np.count_nonzero(counted))

    def _missed(self, units: DrawnUnits, payoffs: Float64) -> bool:
        """Whether the interval was ever without the true difference, which is not 0."""
        mean = self.truth
        if self.design.mode is Mode.SHADOW and self.design.metric.needs_labels:
            # Given that the versions differ: how often they do has an interval of its own, at a fiftieth of alpha.
            payoffs, mean = payoffs[units.losses != 0], mean / self.disagreements
        return min(self.holds_truth.crossings(payoffs, mean)) < len(payoffs)


def _guardrails_hold(design: Design, traffic: Traffic) -> bool:
    """Whether B is truly no worse than the guardrails allow."""
    return all(true_difference(design, traffic, one.metric) <= one.margin for one in design.guardrails)


def _srm_alarm(design: Design, in_b: Bool) -> bool:
    if design.mode is Mode.SHADOW:
        return False
    concentration, split = sample_ratio_mismatch.CONCENTRATION, design.traffic_split
    mixture = eprocess.beta(concentration * split, concentration * (1 - split))
    # Every 50 units: an e-process may be read at any time.
    units = np.arange(50, len(in_b) + 1, 50)
    if not len(units):
        return False
    count = np.cumsum(in_b, dtype=np.int64)[units - 1]
    return bool((eprocess.log_e(mixture, count, units, split) >= -math.log(design.srm_alpha)).any())


def _share(flags: Bool) -> Estimate:
    return intervals.proportion(int(np.count_nonzero(flags)), len(flags), 0.99)

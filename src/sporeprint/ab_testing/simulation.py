"""Thousands of tests of two versions whose error rates are known: how often the rule is wrong, and how long it takes.

With equal rates (A/A) every winner is a false one, so this proves the promise on one's own numbers. Units are drawn one by one, and the
rule looks after each of them. That it is the rule of `analysis` and `decision`, unit for unit, is tested.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sporeprint.ab_testing.design import Design, Mode
from sporeprint.ab_testing.power import AssumedRates, decisive_trials
from sporeprint.errors import UsageError
from sporeprint.stats import eprocess, intervals, sample_ratio_mismatch
from sporeprint.stats.confidence_sequence import COMMON
from sporeprint.stats.intervals import Estimate

Bool = npt.NDArray[np.bool_]
Int64 = eprocess.Int64
#: Units drawn at a time, all tests together: some ten bytes each.
AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Drawn:
    """Units of several tests.

    Attributes:
        decisive: bool [tests, units], whether a unit erred; in shadow mode: whether one of the versions alone did.
        in_b: bool [tests, units], whether the unit is B's; in shadow mode: whether it was B that erred.
    """

    decisive: Bool
    in_b: Bool


@dataclass(frozen=True, slots=True)
class Followed:
    """What the rule said of each test.

    Attributes:
        winner: int8 [tests], -1: A, 1: B, 0: none.
        units: int64 [tests], units until the winner was clear, or all of them.
        labels: int64 [tests], labels until then: of all units; in shadow mode of disagreements.
        missed: bool [tests], an upper bound on whether the interval of the difference was ever without the true one.
        alarmed: bool [tests], whether the arms' shares raised an alarm.
    """

    winner: npt.NDArray[np.int8]
    units: Int64
    labels: Int64
    missed: Bool
    alarmed: Bool


@dataclass(frozen=True, slots=True)
class Simulation:
    """What came of all tests.

    Attributes:
        tests: how many.
        units: of each, at most.
        won_a: share in which A won, with a 99 % interval.
        won_b: the same of B.
        wrong: share in which the worse arm won; of equal arms, in which any did.
        missed: upper bound on the share in which the interval was ever without the true difference.
        alarmed: share with an alarm about the arms' shares.
        median_units: until the winner was clear; None where that was not so in half of the tests.
        median_labels: the same for labels.
    """

    tests: int
    units: int
    won_a: Estimate
    won_b: Estimate
    wrong: Estimate
    missed: Estimate
    alarmed: Estimate
    median_units: float | None
    median_labels: float | None

    def keeps(self, alpha: float, srm_alpha: float) -> bool:
        """Whether false winners, missed differences and false alarms are no more than was promised, but for the chance of a simulation."""
        return self.wrong.low <= alpha and self.missed.low <= alpha and self.alarmed.low <= srm_alpha


def simulate(design: Design, truth: AssumedRates, *, units: int, tests: int, seed: int) -> Simulation:
    """Run the same test many times.

    Args:
        design: the test; its margin, least units and duration have to be 0 (larger ones only make false winners rarer).
        truth: the true error rates.
        units: of each test.
        tests: how many, at least 1.
        seed: of the draws.

    >>> from sporeprint import AssumedRates, Design, simulate_ab_test
    >>> design = Design(name="errors", model_a="xgboost/v1", model_b="xgboost/v2")
    >>> result = simulate_ab_test(design, AssumedRates(rate_a=0.04, rate_b=0.04), units=2000, tests=200, seed=1)
    >>> result.keeps(design.alpha, design.srm_alpha)
    True
    """
    if design.margin or design.min_units:
        raise UsageError(f"margin is {design.margin} and min_units {design.min_units}: a simulation needs a test with 0 of both")
    if tests < 1 or units < 1:
        raise UsageError(f"tests is {tests} and units {units}: at least 1 of each is needed")
    random, step = np.random.default_rng(seed), max(1, AT_ONCE // units)
    sizes = [min(step, tests - start) for start in range(0, tests, step)]
    parts = [follow(design, truth, draw(design, truth, (size, units), random)) for size in sizes]
    winner, used, labels, missed, alarmed = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("winner", "units", "labels", "missed", "alarmed")
    )
    better = np.sign(truth.rate_a - truth.rate_b)
    half = np.count_nonzero(winner) * 2 > tests
    return Simulation(
        tests=tests,
        units=units,
        won_a=_share(winner < 0),
        won_b=_share(winner > 0),
        wrong=_share((winner != 0) & (winner != better)),
        missed=_share(missed),
        alarmed=_share(alarmed),
        median_units=float(np.median(np.where(winner != 0, used, units))) if half else None,
        median_labels=float(np.median(np.where(winner != 0, labels, labels.max()))) if half else None,
    )


def draw(design: Design, truth: AssumedRates, shape: tuple[int, int], random: np.random.Generator) -> Drawn:
    """Units of several tests: [tests, units]."""
    chance = random.random(shape, dtype=np.float32)
    if design.mode is Mode.SHADOW:
        only_a, only_b = truth.rate_a - truth.shared, truth.rate_b - truth.shared
        return Drawn(decisive=chance < only_a + only_b, in_b=chance < only_b)
    in_b = random.random(shape, dtype=np.float32) < design.traffic_split
    return Drawn(decisive=chance < np.where(in_b, np.float32(truth.rate_b), np.float32(truth.rate_a)), in_b=in_b)


def follow(design: Design, truth: AssumedRates, drawn: Drawn) -> Followed:
    """Apply the rule after every unit.

    It can only change its mind when an error happens, so the errors alone are followed; how sure it is of their rate is highest or lowest
    at an error or just before one.
    """
    tests, units = drawn.decisive.shape
    test, unit = np.nonzero(drawn.decisive)
    first = np.searchsorted(test, np.arange(tests))
    n = np.arange(1, len(test) + 1) - first[test]
    before = np.concatenate(([0], np.cumsum(drawn.in_b[test, unit])))
    x = before[1:] - before[first[test]]
    trials, most = decisive_trials(design, truth), int(n.max(initial=0))
    mixture, alpha = eprocess.matched(trials.null, design.likely_ratio), design.alpha * (1 - COMMON)
    low, high = eprocess.boundary(mixture, trials.null, most, alpha)
    worse_a, worse_b = x <= low[n], x >= high[n]
    row, at = _first(worse_a | worse_b, test)
    winner, used = np.zeros(tests, dtype=np.int8), np.full(tests, units)
    winner[row], used[row] = np.where(worse_b[at], -1, 1), unit[at] + 1
    counted = np.bincount(test, minlength=tests)
    counted[row] = n[at]
    return Followed(
        winner=winner,
        units=used,
        labels=counted if design.mode is Mode.SHADOW else used,
        missed=_missed_side(design, trials.side, mixture, test, x, n, tests)
        | _missed_rate(design, trials.events, test, unit, n, (tests, units)),
        alarmed=_alarmed(design, drawn.in_b),
    )


def _first(flag: Bool, test: Int64) -> tuple[Int64, Int64]:
    """Tests in which the flag is ever set, and where first."""
    where = np.flatnonzero(flag)
    row, first = np.unique(test[where], return_index=True)
    return row, where[first]


def _missed_side(design: Design, side: float, mixture: eprocess.Mixture, test: Int64, x: Int64, n: Int64, tests: int) -> Bool:
    low, high = eprocess.boundary(mixture, side, int(n.max(initial=0)), design.alpha * (1 - COMMON))
    missed = np.zeros(tests, dtype=bool)
    missed[test[(x <= low[n]) | (x >= high[n])]] = True
    return missed


def _missed_rate(design: Design, rate: float, test: Int64, unit: Int64, n: Int64, shape: tuple[int, int]) -> Bool:
    tests, units = shape
    last = np.bincount(test, minlength=tests)
    row = np.concatenate((test, test, np.arange(tests)))
    # At each error, just before it, and at the end.
    events = np.concatenate((n, n - 1, last))
    after = np.concatenate((unit + 1, unit, np.full(tests, units)))
    alpha = design.alpha * COMMON / (2 if design.mode is Mode.SHADOW else 1)
    out = eprocess.log_e(eprocess.beta(0.5, 0.5), events, after, rate) >= -np.log(alpha)
    missed = np.zeros(tests, dtype=bool)
    missed[row[out]] = True
    return missed


def _alarmed(design: Design, in_b: Bool) -> Bool:
    if design.mode is Mode.SHADOW:
        return np.zeros(len(in_b), dtype=bool)
    concentration, split = sample_ratio_mismatch.CONCENTRATION, design.traffic_split
    mixture = eprocess.beta(concentration * split, concentration * (1 - split))
    low, high = eprocess.boundary(mixture, split, in_b.shape[1], design.srm_alpha)
    count = np.cumsum(in_b, axis=1, dtype=np.int32)
    return np.asarray(((count <= low[1:]) | (count >= high[1:])).any(axis=1))


def _share(flags: Bool) -> Estimate:
    return intervals.proportion(int(np.count_nonzero(flags)), len(flags), 0.99)

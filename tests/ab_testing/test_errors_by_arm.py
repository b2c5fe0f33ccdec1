import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.ab_testing import comparison, comparisons, errors_by_arm
from sporeprint.ab_testing.comparison import Comparison
from sporeprint.ab_testing.design import Costs, Design, Metric, Mode, Rule
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals, Totals
from sporeprint.stats.confidence_sequence import Moments
from sporeprint.stats.intervals import Estimate

SPLIT = Design("test", "a/v1", "b/v1", rule=Rule.ERRORS_BY_ARM)
SHADOW = replace(SPLIT, mode=Mode.SHADOW)
COUNT = st.integers(0, 60) | st.integers(0, 10**9)
ARM = st.builds(
    lambda cells, failed, latency: ArmTotals.of(
        [
            (answer, truth, units)
            for (answer, truth), units in zip([(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (0, None)], cells, strict=True)
        ],
        failed,
        Moments(sum(cells), latency * sum(cells), 2 * latency**2 * sum(cells)),
    ),
    st.lists(COUNT, min_size=7, max_size=7),
    COUNT,
    st.floats(0.1, 100),
)
PAIRS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.none() | st.integers(0, 1), COUNT), max_size=12)


def compare(totals: Totals, metric: Metric, design: Design | None = None, alpha: float = 0.05) -> Comparison:
    chosen = design or (SPLIT if isinstance(totals, SplitTotals) else SHADOW)
    return comparisons.compare(chosen, totals, metric, alpha)


def numbers(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def arm(units: int, false_negatives: int = 0, false_positives: int = 0, unknown: int = 0) -> ArmTotals:
    right = units - false_negatives - false_positives - unknown
    return ArmTotals.of([(1, 1, right), (0, 1, false_negatives), (1, 0, false_positives), (2, 0, unknown)])


@pytest.mark.parametrize(
    ("answer", "truth", "event"),
    [(0, 0, "right"), (1, 1, "right"), (0, 1, "false_negative"), (1, 0, "false_positive"), (2, 0, "unknown"), (2, 1, "unknown")],
)
def test_events(answer: int, truth: int, event: str) -> None:
    assert comparison.event(answer, truth) == event


def test_events_of_one_cost_are_one_kind() -> None:
    assert comparison.events_by_weight(Metric.ACCURACY, Costs()) == {1.0: {"false_negative", "false_positive", "unknown"}}
    assert comparison.events_by_weight(Metric.ACCURACY, Costs(unknown_as_error=0)) == {1.0: {"false_negative", "false_positive"}}
    assert comparison.events_by_weight(Metric.EXPECTED_COST, Costs()) == {1000.0: {"false_negative"}, 1.0: {"false_positive", "unknown"}}
    assert comparison.events_by_weight(Metric.FALSE_NEGATIVE, Costs()) == {1.0: {"false_negative"}, 0.001: {"unknown"}}


def test_values_and_differences_of_a_split() -> None:
    totals = SplitTotals(arm(1000, 5, 15, 30), arm(1000, 1, 9, 10))
    expected = {
        Metric.ACCURACY: (0.95, 0.98, 0.03),
        Metric.FALSE_NEGATIVE: (0.00503, 0.00101, 0.00402),
        Metric.EXPECTED_COST: (5.045, 1.019, 4.026),
        Metric.UNKNOWN_SHARE: (0.03, 0.01, 0.02),
    }
    for metric, (a, b, gain) in expected.items():
        found = compare(totals, metric)
        assert (found.a.value, found.b.value, found.gain.value) == pytest.approx((a, b, gain))
        assert found.difference.value == pytest.approx(b - a)
        assert found.observations == 2000
        assert found.gain.low < gain < found.gain.high


def test_an_arm_that_never_answers_does_not_win() -> None:
    """Neither where an unknown costs as much as an error, nor in false negatives, where it costs little but is all there is."""
    silent, talking = arm(20_000, unknown=20_000), arm(20_000, false_negatives=2, false_positives=100)
    for metric in (Metric.ACCURACY, Metric.FALSE_NEGATIVE, Metric.EXPECTED_COST):
        costs = Costs(unknown_as_false_negative=0.01)
        assert compare(SplitTotals(talking, silent), metric, replace(SPLIT, costs=costs)).gain.high < 0


def test_shadow_mode_counts_who_errs_alone() -> None:
    # Both answered, both labels: B wrong 12 times, A 2 times, among 14 labelled of 20 disagreements and 10,000 requests.
    cells = [(1, 1, None, 9_980), (0, 1, 1, 1), (1, 0, 0, 1), (1, 0, 1, 8), (0, 1, 0, 4), (0, 1, None, 6)]
    found = compare(ShadowTotals.of(cells), Metric.ACCURACY)
    assert (found.decisive, found.observations) == (14, 10_000)
    assert found.gain.value == pytest.approx(-0.002 * (12 - 2) / 14)
    assert found.method == errors_by_arm.DISCORDANT
    assert math.isnan(found.a.value)


def test_an_unknown_against_an_error_is_no_disagreement_that_counts() -> None:
    cells = [(2, 0, 1, 50), (2, 0, 0, 7), (0, 2, 0, 5)]
    assert compare(ShadowTotals.of(cells), Metric.ACCURACY).decisive == 12


def test_two_versions_that_never_differ_need_no_label_to_be_shown_alike() -> None:
    found = compare(ShadowTotals.of([(1, 1, None, 100_000), (0, 0, None, 100_000)]), Metric.ACCURACY)
    assert found.gain.value == 0
    assert -0.0002 < found.gain.low < 0 < found.gain.high < 0.0002


def test_failures_and_unknowns_need_no_label() -> None:
    totals = ShadowTotals.of([(0, 2, None, 100), (2, 2, None, 50), (2, 1, None, 3), (1, 1, None, 10_000)], failed=(1, 60))
    assert compare(totals, Metric.UNKNOWN_SHARE).gain.high < 0
    assert compare(totals, Metric.FAILURES).gain.high < 0
    assert compare(totals, Metric.UNKNOWN_SHARE).decisive == 103


def test_latency_is_a_difference_of_means() -> None:
    draw = np.random.default_rng(1).exponential(1, (2, 5000)) * [[3.0], [2.0]]
    slow, fast = (ArmTotals(latency=Moments(5000, float(each.sum()), float(np.square(each).sum()))) for each in draw)
    found = compare(SplitTotals(slow, fast), Metric.LATENCY)
    assert (found.method, found.decisive) == (errors_by_arm.ASYMPTOTIC, 10_000)
    assert 0.8 < found.gain.low < found.gain.value < found.gain.high < 1.2
    assert found.p_value < 1e-6


@pytest.mark.parametrize("metric", list(Metric))
def test_nothing_seen_says_nothing(metric: Metric) -> None:
    for totals in (SplitTotals(), ShadowTotals()):
        found = compare(totals, metric)
        assert math.isnan(found.gain.low)
        assert found.p_value == 1


@given(ARM, ARM, st.sampled_from(list(Metric)))
def test_no_counts_give_nan_and_swapping_the_arms_flips_the_sign(one: ArmTotals, other: ArmTotals, metric: Metric) -> None:
    design = replace(SPLIT, traffic_split=0.1)
    swapped = replace(SPLIT, traffic_split=0.9)
    found, turned = compare(SplitTotals(one, other), metric, design), compare(SplitTotals(other, one), metric, swapped)
    assert not math.isnan(found.log_e)
    if found.decisive:
        assert not any(map(math.isnan, numbers(found.gain)))
        slack = 1e-7 * max(1.0, *map(abs, numbers(found.gain)))
        assert numbers(found.gain) == pytest.approx((-turned.gain.value, -turned.gain.high, -turned.gain.low), abs=slack)
        assert found.log_e == pytest.approx(turned.log_e, rel=1e-6, abs=1e-6)


@given(PAIRS, st.sampled_from(list(Metric)))
def test_pairs_give_no_nan_and_flip_too(cells: list[tuple[int, int, int | None, int]], metric: Metric) -> None:
    found = compare(ShadowTotals.of(cells), metric)
    turned = compare(ShadowTotals.of([(b, a, truth, units) for a, b, truth, units in cells]), metric)
    assert found.gain.value == pytest.approx(-turned.gain.value, abs=1e-6, nan_ok=True)
    assert found.gain.low == pytest.approx(-turned.gain.high, abs=1e-6, nan_ok=True)
    assert found.gain.low <= found.gain.value <= found.gain.high or math.isnan(found.gain.value)


@given(st.integers(0, 200), st.integers(0, 200), st.sampled_from([0.5, 0.1, 0.01]))
def test_an_interval_without_zero_means_that_the_e_value_says_so(a: int, b: int, split: float) -> None:
    totals = SplitTotals(arm(a + 10_000, false_positives=a), arm(b + 10_000, false_positives=b))
    found = compare(totals, Metric.ACCURACY, replace(SPLIT, traffic_split=split))
    beyond = found.gain.low > 0 or found.gain.high < 0
    assert not beyond or found.p_value <= 0.05
    assert beyond or found.p_value > 0.05 * 0.95 or abs(found.p_value / 0.0475 - 1) < 1e-6


@pytest.mark.parametrize("design", [replace(SPLIT, traffic_split=0.3), SHADOW], ids=["split", "shadow"])
def test_costs_of_several_kinds_are_covered(design: Design) -> None:
    """The true difference is in the interval at all of eight looks."""
    draw, missed, costs = np.random.default_rng(13), 0, Costs(false_negative=20, false_positive=1, unknown=3)
    design, chances = replace(design, costs=costs), np.array([[0.9, 0.02, 0.03, 0.05], [0.87, 0.01, 0.05, 0.07]])
    truth = float((chances[0] - chances[1]) @ [0, costs.false_negative, costs.false_positive, costs.unknown])
    cell = [(1, 1), (0, 1), (1, 0), (2, 1)]
    for _ in range(80):
        total: SplitTotals | ShadowTotals = SplitTotals() if design.mode is Mode.SPLIT else ShadowTotals()
        for _ in range(8):
            if isinstance(total, SplitTotals):
                in_b = int(draw.binomial(400, 0.3))
                counts = [draw.multinomial(units, chance).tolist() for units, chance in zip((400 - in_b, in_b), chances, strict=True)]
                total += SplitTotals(*(ArmTotals.of([(*one, n) for one, n in zip(cell, each, strict=True)]) for each in counts))
            else:
                # Of rows of both truths, each version errs by itself; the errors of one kind are as frequent as in the split.
                total += ShadowTotals.of(_pairs(draw, chances))
        missed += (
            not compare(total, Metric.EXPECTED_COST, design).gain.low <= truth <= compare(total, Metric.EXPECTED_COST, design).gain.high
        )
    assert missed <= 10


def _pairs(draw: np.random.Generator, chances: np.ndarray) -> list[tuple[int, int, int, int]]:
    """400 requests, half of them positive, on which two versions err independently, each kind with its share of all requests."""
    found = []
    for truth in (0, 1):
        _, missed, false, unknown = 2 * chances.T
        wrong = missed if truth else false
        shares = np.array([1 - wrong - unknown / 2, wrong, unknown / 2])
        answers = (truth, 1 - truth, 2)
        counts = draw.multinomial(200, np.outer(shares[:, 0], shares[:, 1]).ravel()).tolist()
        found += [(answers[pair // 3], answers[pair % 3], truth, units) for pair, units in enumerate(counts)]
    return found

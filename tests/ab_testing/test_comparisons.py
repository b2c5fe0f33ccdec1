"""Comparisons by betting: what is counted, and that e-value and interval are one thing."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.ab_testing.comparisons import check_horizon, compare, fewest_labels, least_units, log_threshold
from sporeprint.ab_testing.design import Costs, Design, Labels, Metric, Mode
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals
from sporeprint.errors import UsageError

SPLIT = Design("test", "a/v1", "b/v1", latency_limit_ms=5)
SHADOW = replace(SPLIT, mode=Mode.SHADOW)
COUNT = st.integers(0, 2_000)


def arm(units: int, false_negatives: int = 0, false_positives: int = 0, unknown: int = 0, slow: int = 0) -> ArmTotals:
    right = units - false_negatives - false_positives - unknown
    return ArmTotals.of([(1, 1, right), (0, 1, false_negatives), (1, 0, false_positives), (2, 0, unknown)], slow=slow)


def test_values_and_differences_of_a_split() -> None:
    totals = SplitTotals(arm(1000, 5, 15, 30, slow=100), arm(1000, 1, 9, 10, slow=20))
    expected = {
        Metric.ACCURACY: (0.95, 0.98, 0.03),
        Metric.FALSE_NEGATIVE: (0.00503, 0.00101, 0.00402),
        Metric.EXPECTED_COST: (5.045, 1.019, 4.026),
        Metric.UNKNOWN_SHARE: (0.03, 0.01, 0.02),
        Metric.LATENCY: (0.1, 0.02, 0.08),
    }
    for metric, (a, b, gain) in expected.items():
        found = compare(SPLIT, totals, metric, 0.05)
        assert (found.a.value, found.b.value, found.gain.value) == pytest.approx((a, b, gain))
        assert found.gain.low < gain < found.gain.high
    assert compare(SPLIT, totals, Metric.LATENCY, 0.05).what == "answers slower than 5 ms"


def test_a_canary_is_weighted_by_its_share() -> None:
    found = compare(replace(SPLIT, traffic_split=0.1), SplitTotals(arm(9_000, 0, 90), arm(1_000, 0, 30)), Metric.ACCURACY, 0.05)
    assert found.gain.value == pytest.approx(0.01 - 0.03)
    assert found.gain.high < 0
    even = compare(replace(SPLIT, traffic_split=0.1), SplitTotals(arm(9_000, 0, 90), arm(1_000, 0, 10)), Metric.ACCURACY, 0.05)
    assert even.gain.value == pytest.approx(0)


def test_equal_costs_by_other_errors_are_no_difference() -> None:
    design = replace(SPLIT, costs=Costs(5, 1, 1))
    totals = SplitTotals(arm(100_000, false_negatives=1_000), arm(100_000, false_positives=5_000))
    found = compare(design, totals, Metric.EXPECTED_COST, 0.05)
    assert found.log_e < 0
    assert found.gain.low < 0 < found.gain.high


def test_a_failed_answer_is_no_fast_one() -> None:
    a, b = ArmTotals.of([(0, None, 1_000)], slow=100), ArmTotals.of([(0, None, 600)], failed=400)
    assert compare(SPLIT, SplitTotals(a, b), Metric.LATENCY, 0.05).gain.high < 0


def test_reports_are_counted_of_all_units() -> None:
    design = replace(SPLIT, labels=Labels.REPORTS)
    a, b = (ArmTotals.of([(0, 1, errors), (1, None, 10_000 - errors)]) for errors in (40, 20))
    found = compare(design, SplitTotals(a, b), Metric.ACCURACY, 0.05)
    assert (found.observations, found.decisive) == (20_000, 60)
    assert (found.a.value, found.b.value) == pytest.approx((0.004, 0.002))
    assert found.what == "reported errors a unit"


def test_shadow_mode_counts_who_errs_alone() -> None:
    cells = [(1, 1, None, 9_980), (0, 1, 1, 1), (1, 0, 0, 1), (1, 0, 1, 8), (0, 1, 0, 4), (0, 1, None, 6)]
    found = compare(SHADOW, ShadowTotals.of(cells), Metric.ACCURACY, 0.05, decides=True)
    assert (found.decisive, found.observations) == (14, 10_000)
    assert found.gain.value == pytest.approx(-0.002 * (12 - 2) / 14)
    assert found.gain.high < 0


def test_versions_that_never_differ_need_no_label_to_be_shown_alike() -> None:
    found = compare(SHADOW, ShadowTotals.of([(1, 1, None, 100_000), (0, 0, None, 100_000)]), Metric.ACCURACY, 0.05)
    assert found.gain.value == 0
    assert -0.0002 < found.gain.low < 0 < found.gain.high < 0.0002


def test_slow_answers_of_a_shadow_test_are_pairs() -> None:
    totals = ShadowTotals.of([(1, 1, None, 1_000)], slow=(4, 60))
    assert compare(SHADOW, totals, Metric.LATENCY, 0.05).gain.high < 0
    assert compare(SHADOW, totals, Metric.LATENCY, 0.05).decisive == 64


@pytest.mark.parametrize("metric", list(Metric))
def test_nothing_is_known_without_units(metric: Metric) -> None:
    for design, totals in ((SPLIT, SplitTotals()), (SHADOW, ShadowTotals())):
        found = compare(design, totals, metric, 0.05)
        assert math.isnan(found.gain.low)
        assert found.p_value == 1


@given(*[COUNT] * 6, st.sampled_from([Metric.ACCURACY, Metric.EXPECTED_COST, Metric.LATENCY]), st.sampled_from([0.5, 0.05]))
def test_the_sign_is_certain_exactly_if_the_e_value_has_reached_its_threshold(
    fn_a: int, fp_a: int, slow_a: int, fn_b: int, fp_b: int, slow_b: int, metric: Metric, split: float
) -> None:
    design = replace(SPLIT, traffic_split=split, costs=Costs(7, 2, 1))
    totals = SplitTotals(arm(5_000, fn_a, fp_a, slow=slow_a), arm(5_000, fn_b, fp_b, slow=slow_b))
    found = compare(design, totals, metric, 0.05, decides=True)
    assert found.log_threshold is not None
    if not math.isclose(found.log_e, found.log_threshold, abs_tol=1e-6):
        assert (found.log_e >= found.log_threshold) == (found.gain.low > 0 or found.gain.high < 0)


def test_a_named_direction_is_decided_sooner_and_the_other_one_later() -> None:
    better, worse = SplitTotals(arm(1_000, 40), arm(1_000, 18)), SplitTotals(arm(1_000, 18), arm(1_000, 40))
    named = replace(SPLIT, expect="b")
    for totals, sign in ((better, 1), (worse, -1)):
        gained = compare(named, totals, Metric.ACCURACY, 0.05).log_e - compare(SPLIT, totals, Metric.ACCURACY, 0.05).log_e
        assert gained * sign > 0.3


def test_beyond_its_horizon_a_threshold_is_that_of_any_horizon() -> None:
    design = replace(SPLIT, max_units=60)
    short = log_threshold(design, Metric.ACCURACY, 0.05, decides=True)
    assert short < -math.log(0.05)
    within, beyond = (compare(design, SplitTotals(arm(50, errors), arm(50, 5)), Metric.ACCURACY, 0.05, decides=True) for errors in (9, 50))
    assert within.log_threshold == pytest.approx(short)
    assert beyond.log_threshold == pytest.approx(-math.log(0.05)) or beyond.decisive <= 60


@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_the_fewest_labels_that_can_decide(margin: float) -> None:
    """So many in favour of the version that is ahead decide, and one fewer does not."""
    design = Design(name="t", model_a="a", model_b="b", mode=Mode.SHADOW, margin=margin)

    def totals(labels: int) -> ShadowTotals:  # B is right each time but once
        return ShadowTotals.of([(0, 1, 1, 3 + labels), (0, 1, 0, 1), (0, 1, None, 200 - labels), (1, 1, None, 300)])

    fewest = fewest_labels(design, totals(0))
    assert fewest is not None
    assert fewest_labels(design, totals(fewest)) == 0
    assert fewest_labels(design, totals(fewest - 1)) == 1
    gains = [compare(design, totals(each), Metric.ACCURACY, design.winner_alpha, decides=True).gain for each in (fewest - 1, fewest)]
    if not margin:
        assert gains[0].low <= 0 < gains[1].low


def test_the_fewest_units_that_can_decide() -> None:
    found = {
        name: least_units(design)
        for name, design in {"split": SPLIT, "shadow": SHADOW, "canary": replace(SPLIT, traffic_split=0.01)}.items()
    }
    assert found == {"split": 12, "shadow": 8, "canary": found["canary"]}
    assert (found["canary"] or 0) <= 12
    assert (least_units(replace(SPLIT, alpha=1e-6)) or 0) > 30


def test_a_horizon_that_no_winner_fits_in_is_refused() -> None:
    check_horizon(replace(SPLIT, max_units=1_000))
    with pytest.raises(UsageError, match=r"max_units is 3: this test cannot name a winner by then, .* at least \d+ units can decide it"):
        check_horizon(replace(SPLIT, max_units=3))

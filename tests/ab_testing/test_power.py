from dataclasses import replace
from typing import Any

import pytest

from sporeprint.ab_testing.design import Design, Metric, Mode
from sporeprint.ab_testing.power import AssumedRates, decisive_trials, plan_ab_test
from sporeprint.ab_testing.simulation import simulate_ab_test
from sporeprint.ab_testing.traffic import Traffic
from sporeprint.errors import UsageError

SPLIT = Design("plan", "a/v1", "b/v1")
SHADOW = replace(SPLIT, mode=Mode.SHADOW)
UNEQUAL = AssumedRates(0.005, 0.01, 0.004)


def test_twice_the_errors_in_a_split() -> None:
    """At most 1.25 times what the fastest possible test takes: 5,654 units in the median; 1.12 times where the direction is named."""
    found = plan_ab_test(SPLIT, UNEQUAL, units_a_day=1000)
    assert found.median_units is not None
    assert found.median_units <= 1.25 * 5_654
    named = plan_ab_test(replace(SPLIT, expect="a", max_units=20_000), UNEQUAL).median_units
    assert named is not None
    assert named <= 1.12 * 5_654
    assert found.fixed_units == 9346
    assert found.price == pytest.approx(1.34, abs=0.02)
    assert found.days == pytest.approx(12.54, abs=0.1)
    assert found.wrong < 1e-3
    assert found.median_labels == found.median_units


def test_shadow_mode_needs_a_dozen_labels() -> None:
    found = plan_ab_test(SHADOW, UNEQUAL)
    assert found.median_labels is not None
    assert found.median_labels <= 15
    assert found.median_units is not None
    assert found.median_units < 2500


@pytest.mark.parametrize(
    ("design", "truth"),
    [(SPLIT, AssumedRates(0.02, 0.05)), (replace(SPLIT, traffic_split=0.1), AssumedRates(0.08, 0.02)), (SHADOW, UNEQUAL)],
)
def test_a_plan_is_what_a_simulation_finds(design: Design, truth: AssumedRates) -> None:
    planned, found = plan_ab_test(design, truth), simulate_ab_test(design, Traffic(truth), units=8000, tests=400, seed=3)
    assert planned.median_units == pytest.approx(found.median_units, rel=0.12)
    assert planned.median_labels == pytest.approx(found.median_labels, rel=0.15, abs=1)


def test_what_takes_too_long_is_none() -> None:
    found = plan_ab_test(SPLIT, AssumedRates(0.01, 0.0101), most=500)
    assert (found.median_units, found.units, found.price, found.days) == (None, None, None, None)
    assert found.fixed_units > 10**7


def test_the_trials_that_decide() -> None:
    found = decisive_trials(replace(SPLIT, traffic_split=0.1), AssumedRates(0.01, 0.02))
    assert (found.null, found.events, found.side) == pytest.approx((0.1, 0.011, 0.002 / 0.011))
    assert found.scale * found.events * (found.side - found.null) == pytest.approx(0.01)
    pairs = decisive_trials(SHADOW, UNEQUAL)
    assert (pairs.null, pairs.events, pairs.side) == pytest.approx((0.5, 0.007, 6 / 7))
    assert pairs.scale * pairs.events * (pairs.side - pairs.null) == pytest.approx(0.005)


@pytest.mark.parametrize(
    ("rate_a", "rate_b", "message"), [(0.0, 0.1, "rate_a is 0.0: "), (0.1, 1.0, "rate_b is 1.0: "), (-1, 0.1, "rate_a is -1: ")]
)
def test_rates_that_are_none(rate_a: float, rate_b: float, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        AssumedRates(rate_a, rate_b)
    assert str(caught.value) == f"{message}an error rate above 0 and below 1 is needed"


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (
            AssumedRates(0.1, 0.2, 0.11),
            "shared is 0.11: the share of requests on which both err lies between 0 and the smaller error rate, 0.1",
        ),
        (
            AssumedRates(0.8, 0.7, 0.1),
            "shared is 0.1: the share of requests on which both err lies between 0.5 and the smaller error rate, 0.7",
        ),
    ],
    ids=["many", "few"],
)
def test_what_two_versions_cannot_share(truth: AssumedRates, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        decisive_trials(SHADOW, truth)
    assert str(caught.value) == message
    assert decisive_trials(SPLIT, truth).null == 0.5


def test_where_many_err_a_split_takes_longer() -> None:
    """What is right says nothing here: about 1 / (1 - rate) times the units."""
    rare, common = (plan_ab_test(SPLIT, AssumedRates(rate, rate * 1.5)) for rate in (0.01, 0.4))
    assert rare.price is not None
    assert common.price is not None
    assert common.price / rare.price == pytest.approx(1 / (1 - 0.5), rel=0.15)


def test_a_plan_needs_a_difference_and_a_power() -> None:
    with pytest.raises(UsageError, match=r"rate_a and rate_b are both 0\.1: a plan needs the difference that is to be found"):
        plan_ab_test(SPLIT, AssumedRates(0.1, 0.1))
    with pytest.raises(UsageError, match=r"margin is 0\.1: a plan is for a test with a margin of 0"):
        plan_ab_test(replace(SPLIT, margin=0.1), UNEQUAL)
    with pytest.raises(UsageError, match=r"power is 1: it has to be above alpha, 0\.05, and below 1"):
        plan_ab_test(SPLIT, UNEQUAL, power=1)
    with pytest.raises(UsageError, match=r"shared is 0\.1, as are both error rates: the versions never differ"):
        decisive_trials(SHADOW, AssumedRates(0.1, 0.1, 0.1))


def test_latency_is_planned_with_its_own_bets() -> None:
    """B a fifth slower, lognormal with a sigma of 1: the limit that a tenth of A's answers exceeds is exceeded by 13.58 % of B's."""
    latency = Design("latency", "a/v1", "b/v1", metric=Metric.LATENCY, latency_limit_ms=5.0, max_units=20_000)
    slower, errors = (plan_ab_test(each, AssumedRates(0.1, 0.1358)) for each in (latency, replace(latency, metric=Metric.ACCURACY)))
    assert slower.median_units is not None
    assert errors.median_units is not None
    assert slower.median_units < 2_500 < errors.median_units


@pytest.mark.parametrize(
    ("fields", "rates", "says"),
    [
        ({"alpha": 5e-324}, (0.02, 0.01, 0.0), "alpha is 5e-324: a plan needs at least 1e-09"),
        ({"traffic_split": 1e-300}, (0.02, 0.01, 0.0), "traffic_split is 1e-300"),
        ({}, (5e-324, 1e-300, 0.0), "rate_a is 5e-324"),
        ({"mode": "shadow"}, (0.02, 0.02 + 1e-15, 0.02), "the share of units that carry evidence is"),
    ],
)
def test_what_is_too_small_for_a_plan_is_refused(fields: dict[str, Any], rates: tuple[float, float, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        plan_ab_test(Design(name="plan", model_a="a", model_b="b", **fields), AssumedRates(*rates))

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from sporeprint.ab_testing import simulation
from sporeprint.ab_testing.analysis import NO_EXTREMES, analyse
from sporeprint.ab_testing.decision import Verdict, decide
from sporeprint.ab_testing.design import Costs, Design, Guardrail, Labels, Metric, Mode
from sporeprint.ab_testing.power import AssumedRates
from sporeprint.ab_testing.simulation import simulate_ab_test
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals, Totals
from sporeprint.ab_testing.traffic import DrawnUnits, Latencies, Traffic, true_difference
from sporeprint.errors import UsageError
from sporeprint.stats import betting

SPLIT = Design("simulation", "a/v1", "b/v1", srm_alpha=0.05)
SHADOW = replace(SPLIT, mode=Mode.SHADOW)


def totals(design: Design, drawn: DrawnUnits, now: int) -> Totals:
    """What the service would read after so many units of a simulated test; an error is a false positive."""
    losses, in_b = drawn.losses[:now], drawn.in_b[:now]
    if design.mode is Mode.SHADOW:
        only_b, only_a = int((losses > 0).sum()), int((losses < 0).sum())
        return ShadowTotals.of([(1, 1, None, now - only_a - only_b), (0, 1, 1, only_a), (1, 0, 1, only_b)])
    erred = losses > 0
    arms = [ArmTotals.of([(1, 1, int((~erred & of).sum())), (1, 0, int((erred & of).sum()))]) for of in (~in_b, in_b)]
    return SplitTotals(*arms)


@pytest.mark.parametrize(
    ("design", "rates"),
    [
        (SPLIT, AssumedRates(0.05, 0.3)),
        (replace(SPLIT, traffic_split=0.1, expect="b"), AssumedRates(0.5, 0.1)),
        (SHADOW, AssumedRates(0.02, 0.1)),
    ],
    ids=["split", "canary", "shadow"],
)
def test_it_is_the_rule_of_the_service_unit_for_unit(design: Design, rates: AssumedRates) -> None:
    design = replace(design, max_units=250)
    traffic = Traffic(rates, missed_a=0, missed_b=0)
    truth = true_difference(design, traffic, Metric.ACCURACY)
    rule, decided = simulation._Rule(design, truth, rates.rate_a + rates.rate_b), 0
    for number in range(2):
        drawn = simulation.draw_test(design, traffic, 250, 1, number)
        followed = rule.follow(drawn, 250)
        extremes, interim = NO_EXTREMES, None
        # Only an error can change the verdict.
        for now in (*(np.flatnonzero(drawn[Metric.ACCURACY].losses) + 1).tolist(), 250):
            interim = analyse(design, totals(design, drawn[Metric.ACCURACY], now), 0.0, extremes)
            extremes = interim.extremes
            if decide(interim).verdict in {Verdict.A, Verdict.B}:
                break
        assert interim is not None
        verdict = decide(interim).verdict
        assert {-1: Verdict.A, 1: Verdict.B, 0: Verdict.INCONCLUSIVE}[followed.winner] is verdict
        if followed.winner:
            decided += 1
            assert followed.requests == now
            assert isinstance(interim.totals, SplitTotals) or followed.labels == interim.totals.labels
    assert decided >= 1


def most(tests: int, alpha: float = 0.05) -> float:
    """So large a share of tests may be wrong, but for one chance in 10,000."""
    return float(binom.ppf(1 - 1e-4, tests, alpha) / tests)


@pytest.mark.parametrize("split", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("rate", [0.005, 0.05, 0.5])
def test_equal_arms_analysed_after_every_unit(split: float, rate: float) -> None:
    found = simulate_ab_test(replace(SPLIT, traffic_split=split), Traffic(AssumedRates(rate, rate)), units=4000, tests=250, seed=4)
    allowed = binom.ppf(1 - 1e-4, 250, 0.05) / 250
    assert max(found.wrong.value, found.missed.value, found.alarmed.value) <= allowed
    assert found.keeps(0.05, 0.05)
    assert found.median_units is None


@pytest.mark.parametrize("rate", [0.01, 0.2])
def test_equal_versions_in_shadow_mode(rate: float) -> None:
    found = simulate_ab_test(SHADOW, Traffic(AssumedRates(rate, rate, rate / 2)), units=5000, tests=300, seed=5)
    assert max(found.wrong.value, found.missed.value) <= most(300)
    assert found.alarmed.value == 0


def test_the_better_one_wins() -> None:
    for truth, winner in [(AssumedRates(0.02, 0.1, 0.01), "a"), (AssumedRates(0.1, 0.02, 0.01), "b")]:
        for design in (SPLIT, SHADOW):
            found = simulate_ab_test(design, Traffic(truth), units=3000, tests=60, seed=6)
            share = found.won_a if winner == "a" else found.won_b
            assert share.value > 0.95
            assert found.wrong.value <= 0.02
            assert found.median_units is not None
            assert found.median_labels is not None
            assert found.median_labels <= found.median_units


def test_a_broken_rule_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a boundary of 2 standard deviations at every unit, false winners are many."""

    def peeking(bets: betting.Bets, events: int, _threshold: float) -> tuple[np.ndarray, np.ndarray]:
        n = np.arange(events + 1)
        half = 1.96 * np.sqrt(n * bets.null * (1 - bets.null))
        return np.floor(n * bets.null - half).astype(np.int64), np.ceil(n * bets.null + half).astype(np.int64) + (n == 0)

    monkeypatch.setattr(betting, "boundary", peeking)
    found = simulate_ab_test(replace(SPLIT, metric=Metric.FALSE_NEGATIVE), Traffic(AssumedRates(0.1, 0.1)), units=3000, tests=10, seed=7)
    assert found.tests == 10
    found = simulate_ab_test(SPLIT, Traffic(AssumedRates(0.1, 0.1)), units=3000, tests=200, seed=7)
    assert found.wrong.value > 0.2
    assert not found.keeps(0.05, 0.05)


def test_the_same_seed_is_the_same_simulation() -> None:
    one = simulate_ab_test(SPLIT, Traffic(AssumedRates(0.1, 0.2)), units=500, tests=30, seed=8)
    assert one == simulate_ab_test(SPLIT, Traffic(AssumedRates(0.1, 0.2)), units=500, tests=30, seed=8)
    told: list[int] = []
    simulate_ab_test(SPLIT, Traffic(AssumedRates(0.1, 0.2)), units=50, tests=3, seed=8, progress=told.append)
    assert told == [1, 2, 3]


# --- real traffic ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("latencies", ["lognormal:1", "lognormal:2", "pareto:2.5", "bimodal"])
@pytest.mark.parametrize("split", [0.5, 0.01])
def test_equal_latencies_name_no_winner(latencies: str, split: float) -> None:
    design = replace(SPLIT, metric=Metric.LATENCY, traffic_split=split)
    found = simulate_ab_test(design, Traffic(AssumedRates(0.01, 0.01), latencies=Latencies(latencies)), units=6000, tests=250, seed=1)
    assert found.wrong.value <= most(250)


def test_a_faster_version_is_found() -> None:
    design = replace(SPLIT, metric=Metric.LATENCY)
    found = simulate_ab_test(
        design, Traffic(AssumedRates(0.01, 0.01), latencies=Latencies("lognormal:1", 0.8)), units=8000, tests=60, seed=2
    )
    assert found.won_b.value > 0.9
    assert (found.median_units or 8000) <= 2500


@pytest.mark.parametrize("traffic", [{"requests": 5.0}, {"requests": 10.0}, {"zipf": 2.2}])
def test_repeated_rows_count_once_in_shadow_mode(traffic: dict[str, Any]) -> None:
    rates = AssumedRates(0.04, 0.04, 0.02)
    found = simulate_ab_test(SHADOW, Traffic(rates, **traffic), units=10_000, tests=200, seed=3)
    assert found.wrong.value <= most(200)


def test_counting_every_request_would_be_found() -> None:
    found = simulate_ab_test(SHADOW, Traffic(AssumedRates(0.04, 0.04, 0.02), requests=5, unit="request"), units=10_000, tests=200, seed=3)
    assert found.wrong.value > 0.15
    assert not found.keeps(0.05, 0.05)


COSTS = replace(SPLIT, metric=Metric.EXPECTED_COST, costs=Costs(5, 1, 1))


def test_equal_cost_by_other_errors_is_equal() -> None:
    found = simulate_ab_test(COSTS, Traffic(AssumedRates(0.01, 0.05), missed_a=1, missed_b=0), units=6000, tests=150, seed=4)
    assert found.true_difference == pytest.approx(0)
    assert max(found.won_a.value, found.won_b.value, found.won_a.value + found.won_b.value) <= most(150)


def test_a_dearer_version_is_found_by_its_cost() -> None:
    found = simulate_ab_test(COSTS, Traffic(AssumedRates(0.025, 0.03), missed_a=0.2, missed_b=1 / 3), units=20_000, tests=40, seed=5)
    assert (found.median_units or 20_000) <= 14_500
    assert found.missed.value <= most(40)


def test_winner_and_guardrail_keep_one_alpha_together() -> None:
    design = replace(SPLIT, guardrails=(Guardrail(Metric.FALSE_NEGATIVE, 0.0, prove=False),))
    found = simulate_ab_test(design, Traffic(AssumedRates(0.2, 0.2)), units=3000, tests=400, seed=6)
    assert found.wrong.value <= found.false_ends.value <= most(400)


def test_reported_errors_say_who_is_better_and_their_interval_holds() -> None:
    design = replace(SPLIT, labels=Labels.REPORTS)
    traffic = Traffic(AssumedRates(0.02, 0.04), reported=0.5, confirmed=0.02)
    found = simulate_ab_test(design, traffic, units=10_000, tests=150, seed=7)
    assert found.true_difference == pytest.approx(0.01)
    assert found.wrong.value == 0
    assert found.won_a.value > 0.5
    assert found.missed.value <= most(150)


def test_taking_reports_for_all_labels_would_be_found() -> None:
    traffic = Traffic(AssumedRates(0.02, 0.04), reported=1.0, confirmed=0.02)
    assert simulate_ab_test(SPLIT, traffic, units=10_000, tests=50, seed=7).missed.value > 0.5


def test_late_labels_do_no_harm() -> None:
    found = simulate_ab_test(SPLIT, Traffic(AssumedRates(0.1, 0.1), delay=500), units=3000, tests=200, seed=8)
    assert found.wrong.value <= most(200)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"requests": 0.5}, "requests is 0.5: "),
        ({"zipf": 1.0}, "zipf is 1.0: an exponent above 1 is needed"),
        ({"unit": "walker"}, "unit is 'walker'; allowed: row, request"),
        ({"reported": 2.0}, "reported is 2.0: a share from 0 to 1 is needed"),
        ({"delay": -1.0}, "delay is -1.0: "),
    ],
)
def test_traffic_that_is_none(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Traffic(AssumedRates(0.1, 0.1), **fields)


@pytest.mark.parametrize("name", ["normal", "lognormal:x", "lognormal:-1", "bimodal:3", "pareto:0"])
def test_latencies_that_are_none(name: str) -> None:
    with pytest.raises(UsageError, match="allowed: lognormal:<sigma>, pareto:<shape> or bimodal"):
        Latencies(name)


def test_tests_without_any_error_have_no_winner() -> None:
    found = simulate_ab_test(SPLIT, Traffic(AssumedRates(1e-9, 1e-9)), units=100, tests=5, seed=9)
    assert (found.wrong.value, found.missed.value) == (0, 0)


def test_what_cannot_be_simulated_says_so() -> None:
    with pytest.raises(UsageError, match=r"margin is 0\.1 and min_units 0: a simulation needs a test with 0 of both"):
        simulate_ab_test(replace(SPLIT, margin=0.1), Traffic(AssumedRates(0.1, 0.1)), units=10, tests=10, seed=1)
    with pytest.raises(UsageError, match="tests is 0 and units 10: at least 1 of each is needed"):
        simulate_ab_test(SPLIT, Traffic(AssumedRates(0.1, 0.1)), units=10, tests=0, seed=1)

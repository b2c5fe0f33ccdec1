from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from sporeprint.ab_testing import simulation
from sporeprint.ab_testing.analysis import NO_EXTREMES, Analysis, analyse
from sporeprint.ab_testing.decision import Verdict, decide
from sporeprint.ab_testing.design import Design, Mode
from sporeprint.ab_testing.power import AssumedRates
from sporeprint.ab_testing.simulation import Drawn, simulate
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals, Totals
from sporeprint.errors import UsageError
from sporeprint.stats import eprocess

SPLIT = Design("simulation", "a/v1", "b/v1", srm_alpha=0.05)
SHADOW = replace(SPLIT, mode=Mode.SHADOW)


def totals(design: Design, drawn: Drawn, test: int, now: int) -> Totals:
    """What the engine would read after so many units of one of the drawn tests."""
    erred, in_b = drawn.decisive[test, :now], drawn.in_b[test, :now]
    if design.mode is Mode.SHADOW:
        only_b, only_a = int((erred & in_b).sum()), int((erred & ~in_b).sum())
        return ShadowTotals.of([(1, 1, None, now - only_a - only_b), (0, 1, 1, only_a), (1, 0, 1, only_b)])
    arms = [ArmTotals.of([(1, 1, int((~erred & of).sum())), (1, 0, int((erred & of).sum()))]) for of in (~in_b, in_b)]
    return SplitTotals(*arms)


@pytest.mark.parametrize(
    ("design", "truth"),
    [(SPLIT, AssumedRates(0.05, 0.3)), (replace(SPLIT, traffic_split=0.1), AssumedRates(0.5, 0.1)), (SHADOW, AssumedRates(0.02, 0.1))],
    ids=["split", "canary", "shadow"],
)
def test_it_is_the_rule_of_the_engine_unit_for_unit(design: Design, truth: AssumedRates) -> None:
    drawn = simulation.draw(design, truth, (4, 250), np.random.default_rng(1))
    followed, decided = simulation.follow(design, truth, drawn), 0
    for test in range(4):
        extremes, look = NO_EXTREMES, None
        for now in range(1, 251):
            look = analyse(design, totals(design, drawn, test, now), 0.0, extremes)
            extremes = look.extremes
            if decide(look).verdict in {Verdict.A, Verdict.B}:
                break
        assert isinstance(look, Analysis)
        verdict, winner = decide(look).verdict, followed.winner[test]
        assert {-1: Verdict.A, 1: Verdict.B, 0: Verdict.CONTINUE}[int(winner)] is verdict
        if winner:
            decided += 1
            assert followed.units[test] == now
            assert isinstance(look.totals, SplitTotals) or followed.labels[test] == look.totals.labels
    assert decided >= 2


@pytest.mark.parametrize("split", [0.5, 0.1, 0.01])
@pytest.mark.parametrize("rate", [0.005, 0.05, 0.5])
def test_equal_arms_under_a_look_after_every_unit(split: float, rate: float) -> None:
    found = simulate(replace(SPLIT, traffic_split=split), AssumedRates(rate, rate), units=4000, tests=400, seed=4)
    most = binom.ppf(1 - 1e-4, 400, 0.05) / 400
    assert max(found.wrong.value, found.missed.value, found.alarmed.value) <= most
    assert found.keeps(0.05, 0.05)
    assert found.median_units is None


@pytest.mark.parametrize("rate", [0.01, 0.2])
def test_equal_versions_in_shadow_mode(rate: float) -> None:
    found = simulate(SHADOW, AssumedRates(rate, rate, rate / 2), units=5000, tests=600, seed=5)
    assert max(found.wrong.value, found.missed.value) <= binom.ppf(1 - 1e-4, 600, 0.05) / 600
    assert found.alarmed.value == 0


def test_the_better_one_wins() -> None:
    for truth, winner in [(AssumedRates(0.02, 0.1, 0.01), "a"), (AssumedRates(0.1, 0.02, 0.01), "b")]:
        for design in (SPLIT, SHADOW):
            found = simulate(design, truth, units=3000, tests=200, seed=6)
            share = found.won_a if winner == "a" else found.won_b
            assert share.value > 0.95
            assert found.wrong.value <= 0.02
            assert found.median_units is not None
            assert found.median_labels is not None
            assert found.median_labels <= found.median_units


def test_a_broken_engine_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a boundary of 2 standard deviations at every look, false winners are many."""

    def peeking(_mixture: object, null: float, trials: int, _alpha: float) -> tuple[np.ndarray, np.ndarray]:
        n = np.arange(trials + 1)
        half = 1.96 * np.sqrt(n * null * (1 - null))
        return np.floor(n * null - half).astype(np.int64), np.ceil(n * null + half).astype(np.int64) + (n == 0)

    monkeypatch.setattr(eprocess, "boundary", peeking)
    found = simulate(SPLIT, AssumedRates(0.1, 0.1), units=4000, tests=300, seed=7)
    assert found.wrong.value > 0.2
    assert not found.keeps(0.05, 0.05)


def test_the_same_seed_is_the_same_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    one = simulate(SPLIT, AssumedRates(0.1, 0.2), units=500, tests=50, seed=8)
    assert one == simulate(SPLIT, AssumedRates(0.1, 0.2), units=500, tests=50, seed=8)
    monkeypatch.setattr(simulation, "AT_ONCE", 5000)
    in_parts = simulate(SPLIT, AssumedRates(0.1, 0.2), units=500, tests=50, seed=8)
    assert in_parts.tests == 50


def test_tests_without_any_error_have_no_winner() -> None:
    found = simulate(SPLIT, AssumedRates(1e-9, 1e-9), units=100, tests=5, seed=9)
    assert (found.wrong.value, found.missed.value) == (0, 0)


def test_what_cannot_be_simulated_says_so() -> None:
    with pytest.raises(UsageError, match=r"margin is 0\.1 and min_units 0: a simulation needs a test with 0 of both"):
        simulate(replace(SPLIT, margin=0.1), AssumedRates(0.1, 0.1), units=10, tests=10, seed=1)
    with pytest.raises(UsageError, match="tests is 0 and units 10: at least 1 of each is needed"):
        simulate(SPLIT, AssumedRates(0.1, 0.1), units=10, tests=0, seed=1)

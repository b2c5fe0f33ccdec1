import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sporeprint.stats import eprocess
from sporeprint.stats.eprocess import Mixture

GOLDEN = Path(__file__).parents[1] / "golden" / "ab"
CONFSEQ: dict[str, Any] = json.loads((GOLDEN / "confseq_numbers.json").read_text(encoding="utf-8"))
NULL = st.sampled_from([0.5, 0.1, 0.05, 0.01])
MIXTURES = [eprocess.matched(0.5), eprocess.matched(0.1, 3.0), eprocess.beta(0.5, 0.5), Mixture(((1, 1, 0.2), (3, 9, 0.8)))]


def confseq_mixture(null: float, t_opt: float, alpha: float = 0.05) -> Mixture:
    """The mixture that confseq makes of its arguments (Howard et al. 2021, their eq. 22 and the normal mixture's best rho)."""
    variance, twice = null * (1 - null), 2 * math.log(1 / alpha)
    r = max(t_opt * variance / (twice + math.log1p(twice)) - variance, 1e-3 * variance)
    return eprocess.beta(r / (1 - null), r / null)


@pytest.mark.parametrize("case", CONFSEQ["log_mixture"], ids=str)
def test_the_mixture_is_that_of_confseq(case: list[float]) -> None:
    successes, trials, null, t_opt, expected = case
    found = eprocess.log_e(confseq_mixture(null, t_opt), int(successes), int(trials), null)
    assert float(found) == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("mixture", MIXTURES, ids=["matched", "canary", "jeffreys", "two"])
@pytest.mark.parametrize("null", [0.5, 0.1, 0.01])
def test_one_more_trial_is_fair(mixture: Mixture, null: float) -> None:
    """The conditional expectation of the next e-value is this one, by enumeration."""
    n = np.repeat(np.arange(60), np.arange(1, 61))
    x = np.concatenate([np.arange(trials + 1) for trials in range(60)])
    now, hit, miss = (np.exp(eprocess.log_e(mixture, *counts, null)) for counts in ((x, n), (x + 1, n + 1), (x, n + 1)))
    np.testing.assert_allclose(null * hit + (1 - null) * miss, now, rtol=1e-9)


def test_the_expectation_of_any_number_of_trials_is_one() -> None:
    for mixture in MIXTURES:
        x = np.arange(81)
        assert float((binom.pmf(x, 80, 0.1) * np.exp(eprocess.log_e(mixture, x, 80, 0.1))).sum()) == pytest.approx(1, abs=1e-9)


@given(st.integers(0, 10**9), st.integers(0, 10**9), NULL)
def test_no_count_gives_nan(successes: int, failures: int, null: float) -> None:
    assert math.isfinite(float(eprocess.log_e(eprocess.matched(null), successes, successes + failures, null)))


@given(st.integers(0, 300), st.integers(0, 300), NULL)
def test_swapping_the_arms_changes_nothing(b: int, a: int, split: float) -> None:
    one = eprocess.log_e(eprocess.matched(split), b, a + b, split)
    other = eprocess.log_e(eprocess.matched(1 - split), a, a + b, 1 - split)
    assert float(one) == pytest.approx(float(other), rel=1e-9, abs=1e-9)


def test_nothing_seen_says_nothing() -> None:
    assert float(eprocess.log_e(eprocess.matched(0.3), 0, 0, 0.3)) == pytest.approx(0, abs=1e-12)
    assert eprocess.p_value(0.0) == 1


def test_matched_expects_the_ratio_on_either_side() -> None:
    (a, b, weight), (c, d, other) = eprocess.matched(0.1, 3.0).parts
    assert weight == other == 0.5
    assert (a / b, c / d) == pytest.approx((1 / 9 * 3, 1 / 9 / 3))
    # The standard deviation of the logarithm of the odds, nearly.
    assert math.sqrt(1 / a + 1 / b) == pytest.approx(0.4 * math.log(3), rel=1e-9)


def test_of_one_alternative_it_is_the_likelihood_ratio() -> None:
    assert float(eprocess.log_e_simple(2 / 3, 3, 4, 0.5)) == pytest.approx(3 * math.log(4 / 3) + math.log(2 / 3))


def test_p_is_the_reciprocal_and_at_most_one() -> None:
    assert eprocess.p_value(math.log(20)) == pytest.approx(0.05)
    assert eprocess.p_value(-3.0) == 1
    assert eprocess.p_value(1e9) == 0


@pytest.mark.parametrize("null", [0.5, 0.1, 0.01])
def test_the_boundary_is_where_the_e_value_says(null: float) -> None:
    mixture = eprocess.matched(null)
    low, high = eprocess.boundary(mixture, null, 400, 0.05)
    for n in range(401):
        x = np.arange(n + 1)
        rejected = eprocess.log_e(mixture, x, n, null) >= math.log(20)
        np.testing.assert_array_equal(rejected, (x <= low[n]) | (x >= high[n]))


@pytest.mark.parametrize("null", [0.5, 0.1, 0.01])
def test_what_is_true_is_rejected_at_most_so_often(null: float) -> None:
    """Under a look after every trial, exactly."""
    found = eprocess.crossing(eprocess.matched(null), null, null, 2000, 0.05)
    assert 0.01 < found.sum() <= 0.05


def test_crossing_is_what_a_simulation_finds() -> None:
    mixture, trials = eprocess.matched(0.5), 200
    low, high = eprocess.boundary(mixture, 0.5, trials, 0.05)
    x = (np.random.default_rng(8).random((4000, trials)) < 0.7).cumsum(axis=1)
    few, many = x <= low[1:], x >= high[1:]
    out = few | many
    first = np.where(out.any(axis=1), out.argmax(axis=1), trials)
    exact = eprocess.crossing(mixture, 0.5, 0.7, trials, 0.05)
    for n in (20, 40, 80):
        assert np.mean(first < n) == pytest.approx(exact[:, : n + 1].sum(), abs=0.03)
    assert exact[1].sum() > 0.99


def test_two_against_one_is_decided_by_at_most_63_errors() -> None:
    """The oracle, Wald's test of the true ratio, needs 42."""

    def median(mixture: Mixture) -> int:
        return int(np.searchsorted(eprocess.crossing(mixture, 0.5, 2 / 3, 600, 0.05).sum(axis=0).cumsum(), 0.5))

    assert median(eprocess.matched(0.5)) <= 63
    # A sharp beta distribution at the truth is the oracle.
    assert median(eprocess.beta(2e7 / 3, 1e7 / 3)) == 42


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_the_trials_does_not_matter_nor_how_they_came(seed: int) -> None:
    outcome = np.random.default_rng(seed).random(300) < 0.4
    n = np.arange(1, 301)
    stream = eprocess.log_e(eprocess.matched(0.3), outcome.cumsum(), n, 0.3)
    assert float(eprocess.log_e(eprocess.matched(0.3), int(outcome.sum()), 300, 0.3)) == stream[-1]
    assert float(eprocess.log_e(eprocess.matched(0.3), int(outcome[::-1].sum()), 300, 0.3)) == stream[-1]

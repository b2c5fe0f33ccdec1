import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sporeprint.stats import fixed_horizon
from sporeprint.stats.confidence_sequence import Moments
from sporeprint.stats.intervals import UNDEFINED

GOLDEN = Path(__file__).parents[1] / "golden" / "ab"
STATSMODELS: dict[str, Any] = json.loads((GOLDEN / "statsmodels_numbers.json").read_text(encoding="utf-8"))
GBSTATS: dict[str, Any] = json.loads((GOLDEN / "gbstats_numbers.json").read_text(encoding="utf-8"))
TEA_TASTING: dict[str, Any] = json.loads((GOLDEN / "tea_tasting_numbers.json").read_text(encoding="utf-8"))


def moments(count: float, mean: float, variance: float) -> Moments:
    return Moments(int(count), count * mean, variance * (count - 1) + count * mean**2)


def counts(case: list[float]) -> tuple[int, int, int, int]:
    return int(case[0]), int(case[1]), int(case[2]), int(case[3])


def of(values: list[float]) -> Moments:
    return Moments(len(values), sum(values), sum(value * value for value in values))


@pytest.mark.parametrize("case", STATSMODELS["two_proportions"] + TEA_TASTING["two_proportions"], ids=str)
def test_two_proportions_is_that_of_statsmodels_and_tea_tasting(case: list[float]) -> None:
    assert fixed_horizon.two_proportions(*counts(case)) == pytest.approx(case[4], rel=1e-8)


@pytest.mark.parametrize("case", STATSMODELS["fisher"], ids=str)
def test_fisher_is_that_of_scipy(case: list[float]) -> None:
    assert fixed_horizon.fisher(*counts(case)) == pytest.approx(case[4], rel=1e-8)


@pytest.mark.parametrize("case", STATSMODELS["newcombe"], ids=str)
def test_newcombe_is_that_of_statsmodels(case: list[float]) -> None:
    found = fixed_horizon.newcombe(*counts(case), 0.95)
    assert (found.low, found.high) == pytest.approx(case[5:], abs=1e-8)


@pytest.mark.parametrize("case", STATSMODELS["miettinen_nurminen"], ids=str)
def test_miettinen_nurminen_maximises_the_restricted_likelihood(case: list[float]) -> None:
    found = fixed_horizon.miettinen_nurminen(*counts(case), 0.95)
    assert (found.low, found.high) == pytest.approx(case[5:], abs=1e-8)


def test_welch_is_that_of_statsmodels() -> None:
    golden = STATSMODELS["welch"]
    found, p = fixed_horizon.welch(of(golden["a"]), of(golden["b"]), 0.95)
    assert (found.low, found.high, p) == pytest.approx(golden["found"], abs=1e-8)


@pytest.mark.parametrize("case", GBSTATS["welch"], ids=str)
def test_welch_is_that_of_gbstats(case: list[float]) -> None:
    a, b = Moments(int(case[0]), *case[1:3]), Moments(int(case[3]), *case[4:6])
    found, p = fixed_horizon.welch(a, b, 1 - case[6])
    assert (found.low, found.high, p) == pytest.approx(case[8:], abs=1e-8)


@pytest.mark.parametrize("case", TEA_TASTING["welch"], ids=str)
def test_welch_is_that_of_tea_tasting(case: list[float]) -> None:
    found, p = fixed_horizon.welch(moments(*case[:3]), moments(*case[3:6]), 0.95)
    assert (found.low, found.high, p) == pytest.approx(case[6:], abs=1e-8)


def test_what_has_no_variance_has_no_answer() -> None:
    for a, b in [(of([1.0]), of([1.0, 2.0])), (of([1.0, 1.0]), of([2.0, 2.0]))]:
        found, p = fixed_horizon.welch(a, b, 0.95)
        assert repr(found) == repr(UNDEFINED)
        assert math.isnan(p)
    assert math.isnan(fixed_horizon.two_proportions(0, 10, 0, 10))
    assert math.isnan(fixed_horizon.two_proportions(10, 10, 5, 5))


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_swapping_the_arms_flips_the_sign(a: int, more_a: int, b: int, more_b: int) -> None:
    m, n = a + more_a, b + more_b
    for interval in (fixed_horizon.newcombe, fixed_horizon.miettinen_nurminen):
        one, other = interval(a, m, b, n, 0.95), interval(b, n, a, m, 0.95)
        assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low), abs=1e-9)
        assert -1 <= one.low <= one.value <= one.high <= 1
    assert fixed_horizon.fisher(a, m, b, n) == pytest.approx(fixed_horizon.fisher(b, n, a, m))


@pytest.mark.parametrize("split", [0.5, 0.1])
def test_the_planned_units_have_the_planned_power(split: float) -> None:
    units, draw = fixed_horizon.units_for_two_proportions(0.05, 0.1, split, 0.05, 0.8), np.random.default_rng(3)
    in_b = draw.binomial(units, split, 2000)
    errors_a, errors_b = draw.binomial(units - in_b, 0.05), draw.binomial(in_b, 0.1)
    p = [fixed_horizon.two_proportions(*case) for case in zip(errors_a, units - in_b, errors_b, in_b, strict=True)]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.8, abs=0.04)


def test_the_planned_pairs_have_the_planned_power() -> None:
    pairs = fixed_horizon.pairs_for_mcnemar(0.55, 0.05, 0.8)
    few = int(binom.ppf(0.025, pairs, 0.5)) - 1
    assert binom.sf(pairs - few - 1, pairs, 0.55) == pytest.approx(0.8, abs=0.03)


def test_looking_again_and_again_is_not_safe() -> None:
    """The table of Armitage, McPherson & Rowe (1969): why these tests are labelled as they are."""
    steps = np.random.default_rng(5).standard_normal((20_000, 50))
    z = np.abs(steps.cumsum(axis=1) / np.sqrt(np.arange(1, 51)))
    for looks, false in [(1, 0.05), (2, 0.0831), (5, 0.1417), (10, 0.1934), (50, 0.3205)]:
        assert np.mean(z[:, :looks].max(axis=1) > 1.96) == pytest.approx(false, abs=0.015)

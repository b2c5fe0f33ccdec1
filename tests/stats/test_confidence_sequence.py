import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sporeprint.stats import confidence_sequence as cs
from sporeprint.stats import eprocess
from sporeprint.stats.confidence_sequence import Moments
from sporeprint.stats.eprocess import Mixture
from sporeprint.stats.intervals import UNDEFINED, Estimate, bisect

GOLDEN = Path(__file__).parents[1] / "golden" / "ab"
CONFSEQ: dict[str, Any] = json.loads((GOLDEN / "confseq_numbers.json").read_text(encoding="utf-8"))
GBSTATS: dict[str, Any] = json.loads((GOLDEN / "gbstats_numbers.json").read_text(encoding="utf-8"))
COUNT = st.integers(0, 500)


def ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


@pytest.mark.parametrize("case", CONFSEQ["interval"], ids=str)
def test_inverting_the_e_process_gives_the_interval_of_confseq(case: list[float]) -> None:
    """confseq takes another mixture for each probability it asks; the inversion is the same."""
    x, n, alpha, t_opt, low, high = int(case[0]), int(case[1]), *case[2:]
    twice = 2 * math.log(1 / 0.05)

    def kept(p: float) -> float:
        r = max(t_opt * p * (1 - p) / (twice + math.log1p(twice)) - p * (1 - p), 1e-3 * p * (1 - p))
        return -math.log(alpha) - float(eprocess.log_e(eprocess.beta(r / (1 - p), r / p), x, n, p))

    assert low == pytest.approx(bisect(kept, x / n, 1e-300) if x else 0.0, abs=1e-8)
    assert high == pytest.approx(bisect(kept, x / n, 1 - 1e-16) if x < n else 1.0, abs=1e-8)


@pytest.mark.parametrize("case", GBSTATS["sequential"], ids=str)
def test_the_interval_of_a_mean_is_that_of_gbstats(case: list[float]) -> None:
    a, b = Moments(int(case[0]), *case[1:3]), Moments(int(case[3]), *case[4:6])
    found = cs.mean_difference(a, b, 1 - case[6], int(case[7]))
    assert ends(found) == pytest.approx(tuple(case[8:10]), abs=1e-8)
    assert eprocess.p_value(cs.mean_log_e(a, b, 1 - case[6], int(case[7]))) == pytest.approx(case[10], abs=1e-8)


@given(COUNT, COUNT, st.sampled_from([0.5, 0.1, 0.01]))
def test_an_interval_is_what_the_e_process_has_not_rejected(x: int, failures: int, null: float) -> None:
    mixture, n = eprocess.matched(null), x + failures
    low, high = ends(cs.share(x, n, 0.95, mixture))
    for p in (0.0, 0.01, 0.1, 0.5, 0.9, 1.0, low - 1e-7, low + 1e-7, high - 1e-7, high + 1e-7):
        if 0 <= p <= 1 and min(abs(p - low), abs(p - high)) > 1e-8:
            rejected = float(eprocess.log_e(mixture, x, n, p)) >= math.log(20)
            assert rejected == (not low <= p <= high)


@given(COUNT, COUNT)
def test_a_share_mirrors(x: int, failures: int) -> None:
    one, other = cs.share(x, x + failures, 0.95), cs.share(failures, x + failures, 0.95)
    assert ends(one) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)
    assert 0 <= one.low <= one.value <= one.high <= 1


def test_nothing_seen_excludes_nothing() -> None:
    assert ends(cs.share(0, 0, 0.95)) == (0, 1)


@pytest.mark.parametrize("count", [10, 10**7])
def test_no_error_does_not_promise_none(count: int) -> None:
    low, high = ends(cs.share(0, count, 0.95))
    assert low == 0
    assert 3 / count < high < 20 / count


def test_the_difference_has_the_sign_of_the_side() -> None:
    events, scale = cs.share(90, 10_000, 0.999), 1 / 0.25
    assert cs.difference(events, Estimate(0.6, 0.51, 0.7), 0.5, scale).low > 0
    assert cs.difference(events, Estimate(0.4, 0.3, 0.49), 0.5, scale).high < 0
    both = cs.difference(events, Estimate(0.5, 0.4, 0.6), 0.5, scale)
    assert both.low < both.value == 0 < both.high
    # 90 errors in 10,000 units: 2/3 of them in the half that B gets are 1.2 % against 0.6 %.
    assert cs.difference(events, Estimate(2 / 3, 0.6, 0.7), 0.5, scale).value == pytest.approx(0.006)


def test_a_difference_is_never_beyond_one() -> None:
    assert ends(cs.difference(Estimate(1, 1, 1), Estimate(1, 0, 1), 0.01, 1 / 0.0099)) == (-1, 1)


def test_a_product_multiplies_the_ends() -> None:
    assert cs.product(Estimate(0.2, 0.1, 0.3), Estimate(0.5, 0.4, 0.6)) == Estimate(0.2 * 0.5, 0.1 * 0.4, 0.3 * 0.6)


@given(st.lists(st.floats(-100, 100), max_size=20), st.lists(st.floats(-100, 100), max_size=20))
def test_moments_of_parts_are_those_of_the_whole(one: list[float], other: list[float]) -> None:
    def of(values: list[float]) -> Moments:
        return Moments(len(values), sum(values), sum(value * value for value in values))

    together = of(one) + of(other)
    assert together.count == len(one + other)
    if len(one + other) > 1:
        assert together.variance == pytest.approx(np.var(one + other, ddof=1), abs=1e-6)
        assert together.mean == pytest.approx(np.mean(one + other), abs=1e-9)


def test_too_few_have_no_mean_difference() -> None:
    one, many = Moments(1, 3.0, 9.0), Moments(5, 10.0, 30.0)
    assert repr(cs.mean_difference(one, many, 0.95)) == repr(UNDEFINED)
    assert cs.mean_log_e(one, many, 0.95) == 0
    assert math.isnan(Moments().mean)


def test_means_that_never_vary() -> None:
    two, three = Moments(10, 20.0, 40.0), Moments(10, 30.0, 90.0)
    assert cs.mean_log_e(two, two, 0.95) == 0
    assert cs.mean_log_e(two, three, 0.95) == math.inf
    assert cs.mean_difference(two, three, 0.95) == Estimate(1, 1, 1)


@given(st.floats(0.5, 3), st.floats(0.1, 2), st.integers(10, 10**6), st.integers(10, 10**6))
def test_a_mean_is_rejected_when_its_interval_says_so(mean: float, variance: float, m: int, n: int) -> None:
    a, b = Moments(m, 0.0, variance * m), Moments(n, mean * n, (variance + mean**2) * n)
    found, e = cs.mean_difference(a, b, 0.95), cs.mean_log_e(a, b, 0.95)
    assert (found.low > 0) == (e >= math.log(20)) or abs(found.low) < 1e-9
    swapped = cs.mean_difference(b, a, 0.95)
    assert ends(found) == pytest.approx((-swapped.high, -swapped.low))


@pytest.mark.parametrize(("rate", "mixture"), [(0.5, None), (0.02, None), (0.1, eprocess.matched(0.1))])
def test_a_share_is_covered_at_all_times_at_once(rate: float, mixture: Mixture | None) -> None:
    tests, trials = 1000, 2000
    expected = mixture or eprocess.beta(0.5, 0.5)
    x = (np.random.default_rng(11).random((tests, trials)) < rate).cumsum(axis=1)
    worst = eprocess.log_e(expected, x, np.arange(1, trials + 1), rate).max(axis=1)
    missed = int((worst >= math.log(20)).sum())
    assert 0 < missed <= binom.ppf(1 - 1e-4, tests, 0.05)


def test_means_are_covered_at_all_times_once_there_are_many() -> None:
    tests, steps, each = 500, 200, 100
    draw = np.random.default_rng(12)
    sums = draw.exponential(1.0, (2, tests, steps, each))
    totals, squares = sums.sum(axis=3).cumsum(axis=2), np.square(sums).sum(axis=3).cumsum(axis=2)
    missed = 0
    for test in range(tests):
        for step in range(1, steps, 3):
            count = (step + 1) * each
            a, b = (Moments(count, totals[arm, test, step], squares[arm, test, step]) for arm in (0, 1))
            found = cs.mean_difference(a, b, 0.95)
            if not found.low <= 0 <= found.high:
                missed += 1
                break
    assert missed <= binom.ppf(1 - 1e-4, tests, 0.05)

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln
from scipy.stats import binom

from sporeprint.stats import eprocess
from sporeprint.stats import sample_ratio_mismatch as sample_ratio

COUNT = st.integers(0, 100_000)


def test_no_units_say_nothing() -> None:
    assert sample_ratio.log_e([0, 0], [0.9, 0.1]) == 0


@given(COUNT, COUNT, st.floats(0.01, 0.99))
def test_two_arms_are_a_beta_binomial_mixture(a: int, b: int, split: float) -> None:
    mixture = eprocess.beta(100 * split, 100 * (1 - split))
    expected = float(eprocess.log_e(mixture, b, a + b, split))
    assert sample_ratio.log_e([a, b], [1 - split, split], 100) == pytest.approx(expected, rel=1e-8, abs=1e-6)
    assert sample_ratio.log_e([b, a], [split, 1 - split], 100) == pytest.approx(expected, rel=1e-8, abs=1e-6)


def test_one_more_unit_is_fair() -> None:
    share, counts = [0.6, 0.3, 0.1], [5, 1, 0]
    more = [[count + (arm == other) for other, count in enumerate(counts)] for arm in range(3)]
    expected = sum(p * math.exp(sample_ratio.log_e(one, share, 50)) for p, one in zip(share, more, strict=True))
    assert expected == pytest.approx(math.exp(sample_ratio.log_e(counts, share, 50)), rel=1e-12)


def test_by_hand() -> None:
    assert sample_ratio.log_e([1, 2], [0.5, 0.5], 2) == pytest.approx(betaln(2, 3) - betaln(1, 1) - 3 * math.log(0.5))


def test_a_lost_percent_is_found() -> None:
    assert sample_ratio.log_e([500_000, 495_000], [0.5, 0.5]) > math.log(1000)
    assert sample_ratio.log_e([500_300, 499_700], [0.5, 0.5]) < 0


@pytest.mark.parametrize("split", [0.5, 0.1, 0.01])
def test_alarms_under_a_look_after_every_unit(split: float) -> None:
    alpha, tests, units = 0.05, 600, 4000
    concentration = 200.0
    low, high = eprocess.boundary(eprocess.beta(concentration * split, concentration * (1 - split)), split, units, alpha)
    b = (np.random.default_rng(6).random((tests, units)) < split).cumsum(axis=1)
    alarms = int(((b <= low[1:]) | (b >= high[1:])).any(axis=1).sum())
    assert 0 < alarms <= binom.ppf(1 - 1e-4, tests, alpha)

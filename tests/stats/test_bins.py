"""Tests of sporeprint.stats.bins: fixed bins that any two counts share."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats.bins import PER_OCTAVE, log_linear, quantile, unit

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300).filter(lambda x: x == 0 or abs(x) > 1e-300)


@given(NUMBERS)
def test_a_value_is_in_its_bin_and_the_bin_is_narrow(value: float) -> None:
    (low,), (high,) = log_linear(np.array([value]))
    assert low <= value <= high
    assert high - low <= abs(value) / PER_OCTAVE
    assert (low == high) == (value == 0)


@given(NUMBERS)
def test_the_lower_end_of_a_bin_has_the_same_bin(value: float) -> None:
    low, high = log_linear(np.array([abs(value)]))
    again = log_linear(low)
    assert (again[0].tolist(), again[1].tolist()) == (low.tolist(), high.tolist())


@pytest.mark.parametrize(
    ("value", "low", "high"), [(1.0, 1.0, 1.0625), (2.0, 2.0, 2.125), (0.75, 0.75, 0.78125), (-1.0, -1.0625, -1.0), (0.0, 0.0, 0.0)]
)
def test_ends_by_hand(value: float, low: float, high: float) -> None:
    assert [end.tolist() for end in log_linear(np.array([value]))] == [[low], [high]]


@given(st.floats(0, 1))
def test_shares_are_in_one_of_64_bins(share: float) -> None:
    (low,), (high,) = unit(np.array([share]))
    assert low <= share <= high
    assert (high - low) * 64 == 1


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_a_quantile_is_within_a_bin_of_the_exact_one(values: list[float], share: float) -> None:
    low, high = log_linear(np.array(sorted(values)))
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    found = quantile(low.tolist(), high.tolist(), [1] * len(values), share)
    assert abs(found - exact) <= exact / PER_OCTAVE

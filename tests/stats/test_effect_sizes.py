"""Distances are scipy's; on itself each is 0; an empty bin does not blow one up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from sporeprint.stats import effect_sizes as distances
from sporeprint.stats.histogram import Histogram, common, middles, widths

COUNTS = st.lists(st.integers(0, 50), min_size=6, max_size=6).filter(any).map(lambda counts: np.array(counts, dtype=np.int64))


@given(COUNTS, COUNTS)
def test_they_are_scipys(a: np.ndarray, b: np.ndarray) -> None:
    values = np.array([-3.0, 0.0, 0.5, 2.0, 7.0, 7.5])
    assert distances.wasserstein(values, a, b) == pytest.approx(wasserstein_distance(values, values, a, b), abs=1e-9)
    # scipy's root of a rounding error below zero is NaN.
    assert distances.jensen_shannon(a, b) == pytest.approx(np.nan_to_num(jensenshannon(a, b)), abs=1e-7)
    assert distances.total_variation(a, b) == pytest.approx(np.abs(a / a.sum() - b / b.sum()).sum() / 2)


@pytest.mark.parametrize(("rows", "shift"), [(200, 0.0), (1000, 0.3), (5000, 1.0)])
def test_on_samples_they_are_scipys_to_nine_digits(rows: int, shift: float) -> None:
    draw = np.random.default_rng(rows)
    x, y = draw.normal(size=rows), draw.normal(shift, 1.2, size=rows // 2)
    keys, a, b = common(Histogram.of(x), Histogram.of(y))
    assert distances.wasserstein(middles(keys, 0), a, b) == pytest.approx(wasserstein_distance(x, y), abs=1e-9)
    p, q = np.histogram(x, 20, (-5, 5))[0], np.histogram(y, 20, (-5, 5))[0]
    assert distances.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q), abs=1e-9)


def test_the_error_of_binned_numbers_is_as_stated() -> None:
    draw = np.random.default_rng(1)
    x, y = draw.lognormal(0, 2, 4000), draw.lognormal(0.1, 2, 3000)
    a, b = Histogram.of(x, 64), Histogram.of(y, 64)
    keys, p, q = common(a, b)
    shift = max(a.shift, b.shift)
    error = distances.wasserstein_error(widths(keys, shift), p, q)
    assert 0 < abs(distances.wasserstein(middles(keys, shift), p, q) - wasserstein_distance(x, y)) <= error


@given(COUNTS)
def test_nothing_is_far_from_itself(a: np.ndarray) -> None:
    for distance in (distances.jensen_shannon, distances.population_stability, distances.total_variation):
        assert distance(a, a) == pytest.approx(0, abs=1e-7)


def test_an_empty_bin_is_half_a_row() -> None:
    a, b = np.array([1000, 0]), np.array([999, 1])
    assert distances.population_stability(a, b) == pytest.approx(distances.population_stability(b, a), rel=0.5)
    assert distances.population_stability(a, b) < 0.01
    assert distances.jensen_shannon(np.array([5, 0]), np.array([0, 9])) == pytest.approx(np.sqrt(np.log(2)))

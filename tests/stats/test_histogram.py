"""Histograms of numbers: exact while they are few, added in any order, never finer than they have to be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats.bins import log_linear
from sporeprint.stats.histogram import Histogram, common, middles, widths

# Numbers below 2e-308 have no bin of their own in the warehouse.
NUMBERS = st.lists(st.floats(-1e12, 1e12, allow_nan=False, allow_infinity=False, allow_subnormal=False, width=64), max_size=40)


def same(a: Histogram, b: Histogram) -> bool:
    return a.shift == b.shift and np.array_equal(a.keys, b.keys) and np.array_equal(a.counts, b.counts)


def of(*values: float, most: int = 1000) -> Histogram:
    return Histogram.of(np.array(values, dtype=np.float64), most)


def test_few_values_are_kept_as_they_are() -> None:
    found = of(2.5, -1.0, 2.5, 0.0, -0.0, 1e300)
    assert found.exact
    assert found.values.tolist() == [-1.0, 0.0, 2.5, 1e300]
    assert found.counts.tolist() == [1, 2, 2, 1]
    assert found.total == 6


@given(NUMBERS, NUMBERS, NUMBERS, st.integers(2, 12))
def test_parts_add_up_to_the_whole_in_any_order(a: list[float], b: list[float], c: list[float], most: int) -> None:
    parts = [of(*values, most=most) for values in (a, b, c)]
    whole = of(*a, *b, *c, most=most)
    assert same(parts[0].add(parts[1], most).add(parts[2], most), whole)
    assert same(parts[2].add(parts[0].add(parts[1], most), most), whole)


@given(NUMBERS.filter(len), st.integers(2, 8))
def test_a_number_is_within_its_bin(values: list[float], most: int) -> None:
    found = of(*values, most=most)
    assert len(found.keys) <= most
    assert found.total == len(values)
    reach = widths(found.keys, found.shift)
    for value in values:
        assert np.any(np.abs(found.values - value) <= reach)


def test_a_histogram_of_nothing() -> None:
    nothing = Histogram.empty()
    assert nothing.total == 0
    assert np.isnan(nothing.mean)
    assert np.isnan(nothing.deviation)
    assert same(nothing.add(of(1.0)), of(1.0))
    assert same(of(1.0).add(nothing), of(1.0))
    coarse = Histogram.of_bins(np.empty(0), np.empty(0), np.empty(0, dtype=np.int64), 48)
    assert same(coarse.add(of(1.0)), of(1.0).coarser(48))


def test_moments_and_quantiles_are_numpys() -> None:
    values = np.random.default_rng(3).normal(size=1001).round(2)
    found = Histogram.of(values)
    assert found.mean == pytest.approx(values.mean(), abs=1e-12)
    assert found.deviation == pytest.approx(values.std(), abs=1e-12)
    shares = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    assert found.quantiles(shares).tolist() == np.quantile(values, shares, method="inverted_cdf").tolist()
    assert found.binned(np.array([0.0, 1.0])).tolist() == [
        int((values <= 0).sum()),
        int(((values > 0) & (values <= 1)).sum()),
        int((values > 1).sum()),
    ]


@given(NUMBERS)
def test_the_bins_of_a_warehouse_are_of_the_same_scale(values: list[float]) -> None:
    numbers = np.array(values, dtype=np.float64)
    low, high = log_linear(numbers)
    found = Histogram.of_bins(low, high, np.ones(len(numbers), dtype=np.int64), 48)
    assert same(found, Histogram.of(numbers).coarser(48)) or not values


def test_two_histograms_have_the_coarser_scale_in_common() -> None:
    fine, coarse = of(1.0, 1.1, 4.0), of(*np.linspace(1, 2, 50), most=4)
    keys, a, b = common(fine, coarse)
    assert coarse.shift > 0
    assert (a.sum(), b.sum()) == (3, 50)
    assert np.all(np.diff(middles(keys, coarse.shift)) > 0)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats.effective_size import effective_size, share_of_size


@given(st.integers(1, 50), st.integers(1, 20))
def test_copies_of_every_row_change_nothing(units: int, copies: int) -> None:
    assert effective_size(np.repeat(np.arange(units), copies)) == pytest.approx(units)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40))
def test_it_is_no_more_than_the_units_and_at_least_one(sizes: list[int]) -> None:
    unit = np.repeat(np.arange(len(sizes)), sizes)
    assert 1 - 1e-9 <= effective_size(unit) <= len(sizes) + 1e-9
    assert share_of_size(unit) == pytest.approx(effective_size(unit) / len(unit))


def test_it_is_the_variance_of_a_mean_of_rows_that_are_alike_within_units() -> None:
    sizes = np.array([1, 1, 2, 5, 20])
    values = np.random.default_rng(1).normal(size=(200_000, 5))
    variance = float((values @ sizes / sizes.sum()).var())
    assert 1 / variance == pytest.approx(effective_size(np.repeat(np.arange(5), sizes)), rel=0.02)


def test_of_nothing_and_of_rows_by_themselves() -> None:
    assert effective_size(np.zeros(0, dtype=np.intp)) == 0.0
    assert share_of_size(None) == share_of_size(np.arange(3)) == 1.0
    assert share_of_size(np.arange(3), np.zeros(3, dtype=np.bool_)) == 1.0

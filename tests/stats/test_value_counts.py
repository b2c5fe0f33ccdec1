"""Quantiles from counts are NumPy's, whatever the parts and however many values are counted together at first."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats.value_counts import ValueCounts, quantiles

Float64 = npt.NDArray[np.float64]
SHARES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def counted(parts: list[Float64], most: int, bins: ValueCounts | None = None) -> ValueCounts:
    tallies = [ValueCounts.of(part, bins=bins, most=most) for part in parts]
    whole = tallies[0]
    for tally in tallies[1:]:
        whole = whole.merge(tally)
    return whole


def found(parts: list[Float64], most: int = 256) -> tuple[Float64, int]:
    """The quantiles, and how often the numbers were read again."""
    again: list[None] = []

    def read(bins: Mapping[str, ValueCounts]) -> dict[str, ValueCounts]:
        again.append(None)
        return {name: counted(parts, most, wanted) for name, wanted in bins.items()}

    return quantiles({"x": counted(parts, most)}, SHARES, read)["x"], len(again)


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=20), min_size=1, max_size=4))
def test_few_values_are_counted_once(parts: list[list[float]]) -> None:
    values, again = found([np.array(part) for part in parts])
    np.testing.assert_array_equal(values, np.quantile(np.concatenate(parts), SHARES))
    assert again == 0


@pytest.mark.parametrize("shape", ["normal", "exponential", "few", "wide"])
@pytest.mark.parametrize("count", [1, 7])
def test_more_values_than_are_counted_give_the_same_quantiles(shape: str, count: int) -> None:
    draw = np.random.default_rng(3)
    numbers = {
        "normal": draw.normal(size=20_001),
        "exponential": draw.exponential(1e-9, 5_000),
        "few": np.append(draw.normal(size=3_000), np.zeros(30_000)),
        "wide": draw.normal(size=4_000) * 10.0 ** draw.integers(-300, 300, 4_000),
    }[shape]
    values, again = found(np.array_split(numbers, count))
    np.testing.assert_array_equal(values, np.quantile(numbers, SHARES))
    assert again >= 1
    assert counted([numbers], 256).shift > 0

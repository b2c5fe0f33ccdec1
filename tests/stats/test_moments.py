"""RunningMoments of parts, merged, are those of the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats.moments import RunningMoments

NUMBERS = st.lists(st.floats(-1e6, 1e6), max_size=30)


@given(NUMBERS)
def test_they_are_numpys(numbers: list[float]) -> None:
    values = np.array(numbers)
    found = RunningMoments.of(values)
    if not numbers:
        assert found == RunningMoments()
        assert (found.sd, found.largest) == (0.0, 0.0)
        return
    assert (found.n, found.mean, found.sd, found.low, found.high) == (len(values), values.mean(), values.std(), values.min(), values.max())
    assert found.largest == np.abs(values).max()


@given(NUMBERS, NUMBERS, NUMBERS)
def test_parts_merge_to_the_whole(a: list[float], b: list[float], c: list[float]) -> None:
    first, second, third = (RunningMoments.of(np.array(part)) for part in (a, b, c))
    whole = RunningMoments.of(np.array([*a, *b, *c]))
    for found in (first.merge(second).merge(third), first.merge(second.merge(third)), third.merge(first).merge(second)):
        assert (found.n, found.low, found.high) == (whole.n, whole.low, whole.high)
        assert found.mean == pytest.approx(whole.mean, rel=1e-9, abs=1e-6)
        assert found.squares == pytest.approx(whole.squares, rel=1e-9, abs=1e-3)

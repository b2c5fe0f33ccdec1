"""Arrays as bytes and back."""

import io

import numpy as np
import pytest

from sporeprint.common.npz import from_npz, to_npz

ARRAYS = {"a": np.arange(1000), "b": np.array(["größe", ""]), "c": np.full((3, 2), np.nan)}


@pytest.mark.parametrize("compressed", [True, False])
def test_arrays_come_back_and_give_the_same_bytes(compressed: bool) -> None:
    data = to_npz(ARRAYS, compressed=compressed)
    found = from_npz(data)
    assert list(found) == list(ARRAYS)
    for name, values in ARRAYS.items():
        np.testing.assert_array_equal(found[name], values, strict=True)
    assert to_npz(found, compressed=compressed) == data


@pytest.mark.parametrize("compressed", [True, False])
def test_what_is_cut_off_or_altered_is_refused_or_reads_as_arrays(compressed: bool) -> None:
    data = to_npz(ARRAYS, compressed=compressed)
    for place in range(0, len(data), 7):
        with pytest.raises(ValueError, match="no archive of arrays"):
            from_npz(data[:place])
        altered = bytearray(data)
        altered[place] ^= 0x5A
        try:
            from_npz(bytes(altered))
        except ValueError as error:
            assert str(error).startswith("no archive of arrays: ")  # noqa: PT017  # not every byte is needed


def test_a_single_array_and_a_pickle_are_refused() -> None:
    one, pickled = io.BytesIO(), io.BytesIO()
    np.save(one, np.arange(3))
    np.savez(pickled, a=np.array([object()]), allow_pickle=True)
    for data in (one.getvalue(), pickled.getvalue(), b"", b"text"):
        with pytest.raises(ValueError, match="no archive of arrays"):
            from_npz(data)

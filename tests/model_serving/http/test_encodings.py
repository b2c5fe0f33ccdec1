"""Compressed bodies are read as what they are, never beyond the limit; what is damaged is said to be."""

import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.model_serving.http.encodings import FREE_BYTES, MOST_RATIO, BoundedUnpacker, unpack
from sporeprint.model_serving.http.problems import HttpProblemError

LIMIT = 1 << 20


def _raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@given(data=st.binary(max_size=3000), times=st.integers(1, 40), encoding=st.sampled_from(sorted(PACKERS)), piece=st.integers(1, 500))
def test_what_was_packed_is_unpacked_in_pieces_of_any_size(data: bytes, times: int, encoding: str, piece: int) -> None:
    whole = data * times
    packed = PACKERS[encoding](whole)
    assert unpack(encoding, packed, LIMIT) == whole
    unpacker = BoundedUnpacker(encoding, LIMIT)
    parts = [part for begin in range(0, len(packed), piece) for part in unpacker.feed(packed[begin : begin + piece])]
    unpacker.finish()
    assert b"".join(parts) == whole


def test_several_members_and_deflate_without_a_header() -> None:
    assert unpack("gzip", gzip.compress(b"one ") + gzip.compress(b"two"), LIMIT) == b"one two"
    assert unpack("deflate", _raw_deflate(b"text"), LIMIT) == b"text"
    assert unpack(None, b"as it is", LIMIT) == b"as it is"


def test_a_body_that_grows_too_much_is_refused_below_the_limit_too() -> None:
    data = bytes(40 << 20)
    for encoding, packer in PACKERS.items():
        packed = packer(data)
        assert len(packed) * MOST_RATIO < len(data) - FREE_BYTES
        with pytest.raises(HttpProblemError, match="more than 200 times its size"):
            unpack(encoding, packed, 1 << 30)
        assert len(unpack(encoding, packer(data[:FREE_BYTES]), 1 << 30)) == FREE_BYTES


@pytest.mark.parametrize("encoding", sorted(PACKERS))
def test_a_bomb_is_refused(encoding: str) -> None:
    bomb = PACKERS[encoding](bytes(50 * LIMIT))
    assert len(bomb) < LIMIT
    with pytest.raises(HttpProblemError) as error:
        unpack(encoding, bomb, LIMIT)
    assert error.value.problem.status == 413


@given(data=st.binary(max_size=200), encoding=st.sampled_from(sorted(PACKERS)), cut=st.integers(0, 30))
def test_what_is_damaged_is_said_to_be(data: bytes, encoding: str, cut: int) -> None:
    packed = PACKERS[encoding](b"some text" + data)
    for broken in (packed[: min(cut, len(packed) - 1)], b"{" + packed):
        with pytest.raises(HttpProblemError) as error:
            unpack(encoding, broken, LIMIT)
        assert error.value.problem.status == 400

"""Tests of sporeprint.ingestion.parquet_footer: what reads uploads where pyarrow is not installed."""

from io import BytesIO
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.ingestion import parquet_reader
from sporeprint.ingestion.parquet_footer import LARGEST, DamagedFileError, footer_of, to_bytes


def test_it_is_written_as_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"a": [1, 2], "é": ["x", None]}).write_parquet(path, row_group_size=1, metadata={"k": "v"})
    with path.open("rb") as file:
        footer, begin = footer_of(file)
    data = path.read_bytes()
    assert to_bytes(footer) == data[begin:-8]


def test_the_same_is_seen_as_by_arrow(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    frame = pl.DataFrame({"a": [1, 2, 3], "l": [[[1]], [[2]], []], "s": [{"x": [1], "y": 2}] * 3, "é": ["x", None, "z"]})
    frame.write_parquet(path, row_group_size=2, metadata={"sporeprint.simulated": "true"})
    ours, theirs = parquet_reader._by_footer(path), parquet_reader._by_arrow(path)
    assert (ours.names, ours.rows, list(ours.groups), ours.simulated) == (theirs.names, theirs.rows, list(theirs.groups), True)
    assert set(ours.nested) == set(theirs.nested) == {"l", "s"}


@given(st.binary(max_size=200))
def test_bytes_that_are_no_footer(body: bytes) -> None:
    data = b"PAR1" + body + len(body).to_bytes(4, "little") + b"PAR1"
    try:
        footer_of(BytesIO(data))
    except DamagedFileError:
        return


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"\x1c" * 1000, "too deep"),
        (b"\x19\xf1" + b"\xff" * 9 + b"\x01", "too large|too soon"),  # a list of 2^63 booleans
        (b"\x16" + b"\xff" * 50, "too large"),
        (b"\x1b\x00", "type 11"),
    ],
)
def test_what_would_take_memory_or_time_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(DamagedFileError, match=says):
        footer_of(BytesIO(b"PAR1" + body + len(body).to_bytes(4, "little") + b"PAR1"))


def test_a_footer_that_is_too_large() -> None:
    with pytest.raises(DamagedFileError, match="at most"):
        footer_of(BytesIO(bytes(LARGEST + 20) + (LARGEST + 1).to_bytes(4, "little") + b"PAR1"))

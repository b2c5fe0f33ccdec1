"""Tests of sporeprint.storage.oltp.parquet_writer and the footer it writes: one file that every reader reads, whatever its parts were."""

from pathlib import Path

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sporeprint.ingestion.parquet_footer import DamagedFileError
from sporeprint.storage.oltp import parquet_writer
from sporeprint.storage.oltp.parquet_writer import ParquetWriter

SCHEMA = {"id": pl.String, "number": pl.Float64, "whole": pl.Int64, "flag": pl.Boolean}
VALUES = st.tuples(
    st.none() | st.text(max_size=5), st.none() | st.floats(allow_nan=False), st.none() | st.integers(-5, 5), st.none() | st.booleans()
)


def write(path: Path, frames: list[pl.DataFrame], notes: dict[str, str]) -> None:
    writer = ParquetWriter(path)
    for frame in frames:
        writer.write(frame)
    writer.close(notes)


@given(
    st.lists(st.lists(VALUES, max_size=20), min_size=1, max_size=20),
    st.text('aé"\\\n '),
)
@settings(max_examples=40, deadline=None)
def test_every_reader_reads_it(tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[object, ...]]], note: str) -> None:
    path = tmp_path_factory.mktemp("parts") / "a.parquet"
    frames = [pl.DataFrame(rows, schema=SCHEMA, orient="row") for rows in parts]
    write(path, frames, {"note": note})
    whole = pl.concat(frames)
    assert pl.concat(parquet_writer.frames(path)).equals(whole)
    assert pl.read_parquet(path).equals(whole)
    assert pl.DataFrame(pq.read_table(path)).equals(whole)
    assert duckdb.connect().execute(f"SELECT count(*) FROM '{path}'").fetchall() == [(whole.height,)]
    assert parquet_writer.notes(path)["note"] == note
    rows = [parquet_writer.row(path, number) for number in range(whole.height + 1)]
    assert rows == [*whole.iter_rows(named=True), None]


def test_columns_and_types_are_those_of_the_first_part(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, [pl.DataFrame({"a": [1.5], "b": ["x"]}), pl.DataFrame({"b": ["y"], "a": [2]})], {})
    assert pl.read_parquet(path).to_dict(as_series=False) == {"a": [1.5, 2.0], "b": ["x", "y"]}
    assert pl.concat(parquet_writer.frames(path, ["b"])).columns == ["b"]


def test_a_byte_that_changed_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write(path, [pl.DataFrame({"a": range(100)}), pl.DataFrame({"a": range(100)})], {})
    data = bytearray(path.read_bytes())
    first, second = parquet_writer.parts(path)
    data[second.begin + second.size // 2] ^= 1
    path.write_bytes(data)
    assert parquet_writer.row(path, 99) == {"a": 99}
    with pytest.raises(DamagedFileError, match="not those that were written"):
        parquet_writer.row(path, 100)
    path.write_bytes(data[: first.size])
    with pytest.raises(DamagedFileError):
        parquet_writer.parts(path)


def test_a_file_without_sums_is_read_by_its_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pl.DataFrame({"a": range(10)}).to_arrow(), path, row_group_size=4)
    assert [frame["a"].to_list() for frame in parquet_writer.frames(path)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert parquet_writer.row(path, 9) == {"a": 9}

"""Compressed files, JSON lines and folders become one plain file."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from sporeprint.errors import DataError
from sporeprint.ingestion.conversion import convert, files_of, is_convertible, join

TEXT = b"a;b\n1;x\n2;y\n"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(("ending", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zst", zstd)])
def test_compressed_files_are_unpacked(ending: str, compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / f"t.csv.{ending}"
    path.write_bytes(compress(TEXT))
    assert is_convertible(path)
    (place := tmp_path / "out").mkdir()
    plain = convert(path, place, max_mb=1)
    assert (plain.name, plain.read_bytes()) == ("t.csv", TEXT)
    with pytest.raises(DataError, match="holds more than 1e-06 MB"):
        convert(path, place, max_mb=1e-6)


def test_a_cut_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(TEXT * 100)[:-12])
    with pytest.raises(DataError, match=r"t\.csv\.gz is damaged or cut"):
        convert(path, tmp_path, max_mb=1)


@pytest.mark.parametrize("lines", [True, False])
def test_json_becomes_parquet(lines: bool, tmp_path: Path) -> None:
    rows = [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows), encoding="utf-8")
    assert pl.read_parquet(convert(path, tmp_path, max_mb=1)).to_dicts() == rows


@pytest.mark.parametrize(
    ("text", "is_aligned"),
    [
        ("  1.50   30  A1   1\n 20.00    4  A2   2\n", True),
        ("name   size\nfirst    1\n", True),
        ("one line of   prose\nand another one, with a comma\n", False),
        ("one line of   prose\nand another\n", False),
        ("1 2 3\n4 5 6\n", False),  # one blank between them: a separator
    ],
)
def test_aligned_columns_are_told_from_other_text(text: str, is_aligned: bool, tmp_path: Path) -> None:
    (path := tmp_path / "t.data").write_text(text, encoding="utf-8")
    assert is_convertible(path) is is_aligned
    if is_aligned:
        fields = [line.split("\t") for line in convert(path, tmp_path, max_mb=1).read_text().splitlines()]
        assert fields == [line.split() for line in text.splitlines()]


def test_json_that_is_no_table(tmp_path: Path) -> None:
    (path := tmp_path / "t.json").write_text("{no json", encoding="utf-8")
    with pytest.raises(DataError, match="is JSON, and neither one object a line nor a list"):
        convert(path, tmp_path, max_mb=1)


def test_lists_and_records_are_kept_for_those_who_do_not_need_them(tmp_path: Path) -> None:
    (path := tmp_path / "t.json").write_text('{"a": {"b": 1}, "c": 2}', encoding="utf-8")
    assert pl.read_parquet(convert(path, tmp_path, max_mb=1)).to_dicts() == [{"a": {"b": 1}, "c": 2}]


def test_files_of_a_folder_are_joined_in_the_order_of_their_names(tmp_path: Path) -> None:
    (folder := tmp_path / "parts").mkdir()
    (folder / "b.csv").write_bytes(TEXT)
    (folder / "a.csv.gz").write_bytes(gzip.compress(b"a;b\n0;w"))
    (folder / ".hidden").write_bytes(b"no")
    assert files_of(str(folder)) == (folder / "a.csv.gz", folder / "b.csv") == files_of(str(folder / "*"))
    assert join(files_of(str(folder)) or (), tmp_path, max_mb=1).read_bytes() == b"a;b\n0;w\n1;x\n2;y\n"
    assert files_of(str(folder / "b.csv")) is None


def test_files_that_are_not_of_one_table(tmp_path: Path) -> None:
    first, other, parquet = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.parquet"
    first.write_bytes(TEXT)
    other.write_bytes(b"a;c\n1;2\n")
    pl.DataFrame({"a": [1]}).write_parquet(parquet)
    with pytest.raises(DataError, match=r"the first line of .*b\.csv is not that of .*a\.csv"):
        join([first, other], tmp_path, max_mb=1)
    with pytest.raises(DataError, match=r"a\.csv is csv, .*c\.parquet is parquet"):
        join([first, parquet], tmp_path, max_mb=1)
    with pytest.raises(DataError, match="no file is called"):
        files_of(str(tmp_path / "*.txt"))
    assert files_of(str(tmp_path / "[red]nowhere.csv")) is None  # the name of one file that is not there
    assert files_of(str(tmp_path / "[ab].csv")) == (first, other)
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="is a folder without files"):
        files_of(str(empty))


def test_parquet_files_are_joined(tmp_path: Path) -> None:
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    pl.DataFrame({"a": [1], "b": ["x"]}).write_parquet(files[0])
    pl.DataFrame({"b": ["y"], "a": [2]}).write_parquet(files[1])
    assert pl.read_parquet(join(files, tmp_path, max_mb=1)).to_dicts() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    pl.DataFrame({"a": [1]}).write_parquet(files[1])
    with pytest.raises(DataError, match=r"has other columns than .*: 'b' is in one of them only"):
        join(files, tmp_path, max_mb=1)

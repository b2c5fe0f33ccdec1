"""The rows of a Parquet file: types, order, row numbers, and what is refused."""

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sporeprint.errors import DataError
from sporeprint.ingestion import parquet_reader
from sporeprint.ingestion.parquet_reader import count_rows, is_simulated, read_parquet
from sporeprint.schema import DatasetSchema


@pytest.fixture
def schema() -> DatasetSchema:
    return DatasetSchema.model_validate(
        {
            "name": "tiny",
            "target": {"column": "class", "positive": "p", "values": {"e": "edible", "p": "poisonous"}},
            "columns": {"width": {"kind": "numeric"}, "note": {"kind": "nominal"}},
        }
    )


def written(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    pq.write_table(pa.table(columns), path, **options)
    return path


def test_types_are_native_and_texts_are_texts(tmp_path: Path, schema: DatasetSchema) -> None:
    columns = {
        "note": pa.array(["n", None, ""]).dictionary_encode(),
        "width": pa.array([1.5, None, 2.0]),
        "class": pa.array([b"e", b"p", b""]),
    }
    (batch,) = read_parquet(written(tmp_path / "t.parquet", columns), schema)
    assert batch.frame.schema == {"_row": pl.Int64, "class": pl.String, "width": pl.Float64, "note": pl.String}
    assert batch.frame.rows() == [(0, "e", 1.5, "n"), (1, "p", None, None), (2, None, 2.0, None)]
    assert batch.malformed.rows() == []


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (pa.array([1, 2], pa.int32()), pl.Int32),
        (pa.array([True, None]), pl.Boolean),
        (pa.nulls(2), pl.String),
        (pa.array(["a", "b"], pa.large_string()), pl.String),
        (pa.array([7, 8]).dictionary_encode(), pl.Int64),
        (pa.array([dt.date(2026, 1, 1), None]), pl.Date),
    ],
)
def test_further_types(array: pa.Array, kind: type[pl.DataType], tmp_path: Path, schema: DatasetSchema) -> None:
    columns = {"class": ["e", "p"], "width": [1, 2], "note": array}
    (batch,) = read_parquet(written(tmp_path / "t.parquet", columns), schema)
    assert batch.frame.schema["note"] == kind


def test_a_number_that_is_none_is_missing_as_in_a_csv_file(tmp_path: Path, schema: DatasetSchema) -> None:
    columns = {"class": ["e", "p"], "width": pa.array([1.5, float("nan")]), "note": ["a", "b"], "own": pa.array([float("nan"), 2.0])}
    (batch,) = read_parquet(written(tmp_path / "t.parquet", columns), schema, labelled=False)
    assert batch.frame["width"].to_list() == [1.5, None]
    assert str(batch.frame["own"][0]) == "nan"  # a column that is carried along stays as it is


@pytest.mark.parametrize(
    ("array", "shown"),
    [
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([b"a", b"\xc3\xa4"]), ["a", "ä"]),
    ],
)
def test_what_is_carried_along_is_text_where_it_is_a_dictionary_or_bytes(
    array: pa.Array, shown: list[str], tmp_path: Path, schema: DatasetSchema
) -> None:
    columns = {"class": ["e", "p"], "width": [1.0, 2.0], "note": ["a", "b"], "own": array}
    (batch,) = read_parquet(written(tmp_path / "t.parquet", columns), schema, labelled=False)
    assert batch.frame["own"].to_list() == shown


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (pa.array([-(9 * 10**18), 0], pa.timestamp("us", "UTC")), "'own' has a time outside the years 1 to 9999"),
        (pa.array([2**62, 0], pa.timestamp("ms")), "'own' has a time outside the years 1 to 9999"),
        (pa.array([2**31 - 1, None], pa.int32()).view(pa.date32()), "'own' has a time outside the years 1 to 9999"),
        (pa.array([b"\xff", b""]), "'own' are no text in UTF-8"),
    ],
)
def test_values_that_nothing_else_can_hold_are_refused(array: pa.Array, message: str, tmp_path: Path, schema: DatasetSchema) -> None:
    columns = {"class": ["e", "p"], "width": [1.0, 2.0], "note": ["a", "b"], "own": array}
    with pytest.raises(DataError, match=message):
        list(read_parquet(written(tmp_path / "t.parquet", columns), schema, labelled=False))


def test_the_last_day_of_the_calendar_is_read(tmp_path: Path, schema: DatasetSchema) -> None:
    own = pa.array([dt.datetime(9999, 12, 31, 23, 59, 59, 999_999, dt.UTC), dt.datetime(1, 1, 1, tzinfo=dt.UTC)])
    columns = {"class": ["e", "p"], "width": [1.0, 2.0], "note": ["a", "b"], "own": own}
    (batch,) = read_parquet(written(tmp_path / "t.parquet", columns), schema, labelled=False)
    assert batch.frame["own"].to_list() == own.to_pylist()


@pytest.mark.parametrize("group_rows", [100_000, 250_000, 600_000])
@pytest.mark.parametrize("largest", [300_000, 10**9])
def test_rows_are_numbered_over_batches_and_bytes_add_up(
    group_rows: int, largest: int, tmp_path: Path, schema: DatasetSchema, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_reader, "LARGEST", largest)
    rows = 600_000
    columns = {"class": pa.array(["e"] * rows), "width": pa.array(range(rows)), "note": pa.array(["n"] * rows).dictionary_encode()}
    path = written(tmp_path / "[t]*.parquet", columns, row_group_size=group_rows)
    batches = list(read_parquet(path, schema))
    assert len(batches) > 2
    assert all(batch.frame.height <= parquet_reader.ROWS and batch.frame.schema["note"] == pl.String for batch in batches)
    assert pl.concat([batch.frame for batch in batches]).filter(pl.col("_row") != pl.col("width")).height == 0
    assert sum(batch.frame.height for batch in batches) == rows
    assert sum(batch.bytes_read for batch in batches) == path.stat().st_size
    assert count_rows(path, schema, where="t") == rows


def test_a_table_to_score_keeps_every_column_in_its_order(tmp_path: Path, schema: DatasetSchema) -> None:
    path = written(tmp_path / "t.parquet", {"note": ["n"], "tags": [["a", "b"]], "id": [7], "width": [1.0]})
    assert count_rows(path, schema, where="t", labelled=False) == 1
    (batch,) = read_parquet(path, schema, labelled=False)
    assert batch.frame.rows() == [(0, "n", 7, 1.0)]
    assert batch.frame.columns == ["_row", "note", "id", "width"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"class": ["e"], "width": [1.0]}, r"the table: the columns are not those of the dataset 'tiny'\n  missing: 'note'"),
        ({"class": ["e"], "width": [1.0], "notes": ["n"]}, r"not in the dataset: 'notes' \(did you mean 'note'\?\)"),
        ({"class": ["e"], "width": [[1.0]], "note": ["n"]}, "the column 'width' holds list<.*; expected one plain value a row"),
        ({"class": pa.array([], pa.string()), "width": pa.array([], pa.int8()), "note": pa.nulls(0)}, "the table holds no rows"),
    ],
)
def test_what_is_wrong_is_said(columns: dict[str, Any], message: str, tmp_path: Path, schema: DatasetSchema) -> None:
    with pytest.raises(DataError, match=message):
        count_rows(written(tmp_path / "t.parquet", columns), schema, where="the table")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path, schema: DatasetSchema) -> None:
    table = pa.Table.from_arrays([pa.array(["e"])] * 4, names=["class", "width", "note", "note"])
    pq.write_table(table, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="the column 'note' is there 2 times; keep one"):
        count_rows(tmp_path / "t.parquet", schema, where="t")


def test_a_cut_file_is_refused(tmp_path: Path, schema: DatasetSchema) -> None:
    path = written(tmp_path / "t.parquet", {"class": ["e"], "width": [1.0], "note": ["n"]})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="the table is damaged or no Parquet file: "):
        count_rows(path, schema, where="the table")


@pytest.mark.parametrize("largest", [10**9, 1])
def test_a_damaged_page_is_an_error(largest: int, tmp_path: Path, schema: DatasetSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_reader, "LARGEST", largest)
    columns = {"class": ["e", "p"] * 5000, "width": list(range(10_000)), "note": [str(number) for number in range(10_000)]}
    path = written(tmp_path / "t.parquet", columns, compression="snappy", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    path.write_bytes(content)
    assert count_rows(path, schema, where="t") == 10_000
    with pytest.raises(DataError, match=r"t\.parquet is damaged or no Parquet file: "):
        list(read_parquet(path, schema))


def test_a_simulated_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    assert not is_simulated(path)
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"sporeprint.simulated": "true"}), path)
    assert is_simulated(path)


@pytest.mark.parametrize(
    ("counts", "pieces"),
    [
        ([], []),
        ([5], [(range(1), 0, 5)]),
        ([100_000] * 4, [(range(3), 0, 300_000), (range(3, 4), 300_000, 100_000)]),
        ([10, 2_000_000, 10], [(range(1), 0, 10), (range(1, 2), 10, 2_000_000), (range(2, 3), 2_000_010, 10)]),
        ([1_048_576, 0, 1], [(range(1), 0, 1_048_576), (range(1, 3), 1_048_576, 1)]),
    ],
)
def test_small_row_groups_are_read_together(counts: list[int], pieces: list[tuple[range, int, int]]) -> None:
    assert list(parquet_reader._pieces(counts)) == pieces

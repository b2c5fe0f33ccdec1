"""The rows of a Parquet file: types, order, row numbers, and what is refused."""

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sporeprint.errors import DataError
from sporeprint.parquet_reader import count_rows, is_simulated, read_parquet
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
    assert batch.frame.schema == {"row": pl.Int64, "class": pl.String, "width": pl.Float64, "note": pl.String}
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


def test_rows_are_numbered_over_batches_and_bytes_add_up(tmp_path: Path, schema: DatasetSchema) -> None:
    rows = 600_000
    columns = {"class": pa.array(["e"] * rows), "width": pa.array(range(rows)), "note": pa.array(["n"] * rows)}
    path = written(tmp_path / "t.parquet", columns, row_group_size=250_000)
    batches = list(read_parquet(path, schema))
    assert len(batches) > 2
    assert pl.concat([batch.frame for batch in batches]).filter(pl.col("row") != pl.col("width")).height == 0
    assert sum(batch.frame.height for batch in batches) == rows
    assert sum(batch.bytes_read for batch in batches) == path.stat().st_size
    assert count_rows(path, schema, where="t") == rows


def test_a_table_to_score_needs_no_target(tmp_path: Path, schema: DatasetSchema) -> None:
    path = written(tmp_path / "t.parquet", {"width": [1.0], "note": ["n"]})
    assert count_rows(path, schema, where="t", labelled=False) == 1
    (batch,) = read_parquet(path, schema, labelled=False)
    assert batch.frame.columns == ["row", "width", "note"]


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


@pytest.mark.parametrize("options", [{"compression": "snappy"}, {"compression": "zstd", "write_page_checksum": True}])
def test_a_damaged_page_is_an_error(options: dict[str, Any], tmp_path: Path, schema: DatasetSchema) -> None:
    columns = {"class": ["e", "p"] * 5000, "width": list(range(10_000)), "note": [str(number) for number in range(10_000)]}
    path = written(tmp_path / "t.parquet", columns, use_dictionary=False, **options)
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

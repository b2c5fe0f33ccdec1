"""Checked tables as files: what is written comes back, and what was not written so is refused with a reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sporeprint.data.coded_table import MOST_VALUES
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.parquet_store import Writer, read_table, read_tables, rejected_columns, run_id_of, to_arrow
from sporeprint.errors import DataError
from sporeprint.schema import DatasetSchema
from support import NUMERIC, OPEN, Labelled, codes, dataset, labels, nominal, observations, same, tables, texts

PARTS = ("train", "early_stop", "test")
SCHEMA = dataset({"shape": nominal("x", "b"), "place": OPEN, "size": NUMERIC})
COLUMNS: dict[str, list[Any]] = {
    "shape": ["x", None, "b", "x", "b"],
    "place": ["wood", "field", None, "wood", "field"],
    "size": [1.5, None, -0.0, 1e300, 0.1],
}


def some(*, group: bool = True, parts: int | None = None) -> Observations:
    return observations(Labelled(SCHEMA, codes(COLUMNS, SCHEMA), labels(0, 1, 1, 0, 1)), group=group, parts=parts)


def write(path: Path, *found: Observations, schema: DatasetSchema = SCHEMA, run_id: str = "run-1") -> Path:
    with Writer(path, {"sporeprint.run_id": run_id}) as writer:
        for table in found:
            writer.write(to_arrow(table, schema, PARTS))
    return path


# --- there and back --------------------------------------------------------------------------------------------------


@hypothesis_settings(max_examples=60)
@given(tables(unknown=False), st.booleans(), st.sampled_from([None, 3]), st.integers(1, 25))
def test_a_table_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, table: Labelled, group: bool, parts: int | None, rows: int
) -> None:
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    written = observations(table, group=group, parts=parts)
    write(path, written, schema=table.schema)
    names = PARTS if parts else ()
    assert same(read_table(path, table.schema, names), written)
    batches = list(read_tables(path, table.schema, names, rows=rows))
    assert [batch.codes.rows for batch in batches[:-1]] == [rows] * (len(batches) - 1)
    assert same(concat(batches), written)


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("parts", [None, 3])
def test_tables_of_different_vocabularies_come_back_as_one(tmp_path: Path, group: bool, parts: int | None) -> None:
    first = some(group=group, parts=parts)
    second = observations(
        Labelled(SCHEMA, codes({"shape": [None, "b"], "place": ["marsh", "wood"], "size": [None, 2.0]}, SCHEMA), labels(1, 1)),
        group=group,
        parts=parts,
        first_row=5,
    )
    found = read_table(write(tmp_path / "t.parquet", first, second), SCHEMA, PARTS if parts else ())
    assert same(found, concat([first, second]))
    assert texts(found.codes)["place"] == ["wood", "field", None, "wood", "field", "marsh", "wood"]


def test_negative_zero_keeps_its_sign(tmp_path: Path) -> None:
    assert np.signbit(read_table(write(tmp_path / "t.parquet", some()), SCHEMA).codes.numeric["size"][2])


def test_another_program_reads_words_and_nulls(tmp_path: Path) -> None:
    found = pl.read_parquet(write(tmp_path / "t.parquet", some(parts=3)))
    assert found.columns == ["_row", "_group", "_row_hash", "_part", "class", "shape", "place", "size"]
    assert found.select("_row", "_group").dtypes == [pl.Int64, pl.Int64]
    assert found["_row_hash"].dtype == pl.UInt64
    assert found["class"].to_list() == ["e", "p", "p", "e", "p"]
    assert found["_part"].to_list() == ["train", "early_stop", "test", "train", "early_stop"]
    assert found["shape"].to_list() == COLUMNS["shape"]
    assert found["place"].to_list() == COLUMNS["place"]
    assert found["size"].to_list() == COLUMNS["size"]


def test_groups_that_do_not_hold_are_null(tmp_path: Path) -> None:
    found = pl.read_parquet(write(tmp_path / "t.parquet", some(group=False)))
    assert found["_group"].null_count() == 5


def test_equal_tables_give_equal_files(tmp_path: Path) -> None:
    assert write(tmp_path / "a.parquet", some()).read_bytes() == write(tmp_path / "b.parquet", some()).read_bytes()


def test_a_writer_that_was_given_nothing_writes_nothing(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_no_rows_is_said_to_hold_none(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", some().take(np.array([], dtype=np.intp)))
    with pytest.raises(DataError, match=r"t\.parquet holds no rows$"):
        read_table(path, SCHEMA)


@pytest.mark.parametrize("together", [True, False])
def test_more_values_than_there_are_codes_are_refused(tmp_path: Path, together: bool) -> None:
    schema = dataset({"place": OPEN})
    rows = MOST_VALUES // 2 + 1
    halves = [codes({"place": [f"{half}{number}" for number in range(rows)]}, schema) for half in "ab"]
    path = write(tmp_path / "t.parquet", *(observations(Labelled(schema, half, np.ones(rows, np.int8))) for half in halves), schema=schema)
    if together:  # one group of rows instead of two
        pl.read_parquet(path).write_parquet(path, row_group_size=2 * rows)
    with pytest.raises(DataError, match=r"^place: 32,768 different values or more"):
        read_table(path, schema)


def test_parts_are_numbered_in_the_order_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", some(parts=3))
    found = read_table(path, SCHEMA, ("test", "train", "other", "early_stop")).part
    assert found is not None
    assert found.tolist() == [1, 3, 0, 1, 3]


# --- the run that wrote it -------------------------------------------------------------------------------------------


def test_a_file_names_its_run(tmp_path: Path) -> None:
    assert run_id_of(write(tmp_path / "t.parquet", some(), run_id="2026-ä")) == "2026-ä"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not a table", None])
def test_a_foreign_file_names_no_run(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "t.parquet"
    if content is None:
        pq.write_table(pa.table({"a": [1]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"t\.parquet was not written by sporeprint; write it anew with sporeprint transform and"):
        run_id_of(path)


def test_a_folder_names_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was not written by sporeprint"):
        run_id_of(tmp_path)


@pytest.mark.parametrize("read", [run_id_of, lambda path: read_table(path, SCHEMA)])
def test_a_missing_file_is_said_to_be_missing(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    with pytest.raises(DataError, match=r"none\.parquet is missing; .*sporeprint transform, then sporeprint load"):
        read(tmp_path / "none.parquet")


# --- what cannot be read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"PAR1", b"row,class\n1,e\n"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"^cannot read .*t\.parquet: Parquet .*; write it anew with sporeprint transform and"):
        read_table(tmp_path / "t.parquet", SCHEMA)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"was not written by sporeprint, or not to its end: it has no manifest"):
        read_table(tmp_path, SCHEMA)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", some())
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"^cannot read .*t\.parquet: "):
        read_table(path, SCHEMA)


def test_one_altered_byte_among_the_values_is_noticed(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", some(), some())
    content = path.read_bytes()
    with pq.ParquetFile(path) as file:
        row_groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        columns = [group.column(number) for group in row_groups for number in range(group.num_columns)]
    assert len(columns) == 14
    for column in columns:
        at = (column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 2  # in the page's data
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        with pytest.raises(DataError, match=r"^cannot read .*t\.parquet: .*; write it anew"):
            read_table(path, SCHEMA)


def changed(**columns: Any) -> pa.Table:
    table = to_arrow(some(parts=3), SCHEMA, PARTS)
    for name, values in columns.items():
        at = table.column_names.index(name)
        table = table.remove_column(at) if values is None else table.set_column(at, name, values)
    return table


@pytest.mark.parametrize("name", ["_row", "_group", "_row_hash", "_part", "class", "shape", "size"])
def test_a_table_that_lacks_a_column_is_refused_naming_it(tmp_path: Path, name: str) -> None:
    pq.write_table(changed(**{name: None}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=rf"t\.parquet lacks the column '{name}'; write it anew with sporeprint transform and"):
        read_table(tmp_path / "t.parquet", SCHEMA, PARTS)


@pytest.mark.parametrize(
    ("name", "values", "holds"),
    [
        ("class", pa.array([0, 1, 1, 0, 1]), "int64"),
        ("shape", pa.array([True] * 5), "bool"),
        ("place", pa.array([b"a"] * 5), "binary"),
        ("size", pa.array(["1", "2", None, "x", "5"]), "string"),
        ("_row", pa.array([0.5] * 5), "double"),
    ],
)
def test_a_table_with_columns_of_another_type_is_refused(tmp_path: Path, name: str, values: Any, holds: str) -> None:
    pq.write_table(changed(**{name: values}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=rf"t\.parquet: the column '{name}' holds .*{holds}.*; write it anew"):
        read_table(tmp_path / "t.parquet", SCHEMA, PARTS)


def test_values_as_plain_text_are_read_all_the_same(tmp_path: Path) -> None:
    pq.write_table(changed(shape=pa.array(COLUMNS["shape"])), tmp_path / "t.parquet")
    assert same(read_table(tmp_path / "t.parquet", SCHEMA, PARTS), some(parts=3))


# --- rejected rows ---------------------------------------------------------------------------------------------------


def test_readers_see_texts_where_asked(tmp_path: Path) -> None:
    """The dictionaries stay out of the types, and whatever only the note of the types can tell stays in it."""
    values, path = pa.array(["b", "b", None]), tmp_path / "table.parquet"
    table = pa.table({"shape": values.dictionary_encode(), "spent": pa.array([1, 2, 3], pa.duration("us"))})
    with Writer(path, {"about": "a table"}, plain=True) as writer:
        writer.write(table)
        writer.write(table.set_column(0, "shape", pa.array(["x", None, "b"])))
    found = pq.read_table(path)
    assert found.schema.types == [pa.string(), pa.duration("us")]
    assert found["shape"].to_pylist() == ["b", "b", None, "x", None, "b"]
    assert pq.read_metadata(path).metadata[b"about"] == b"a table"


def test_rejected_rows_keep_every_column_as_text() -> None:
    schema = dataset({"shape": OPEN, "size": NUMERIC}, groups={"column": "site"})
    assert rejected_columns(schema) == {
        "_row": pl.Int64,
        "rules": pl.List(pl.String),
        "reason": pl.String,
        "text": pl.String,
        **dict.fromkeys(("class", "site", "shape", "size"), pl.String),
    }

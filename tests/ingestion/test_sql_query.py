"""Tables out of databases: real SQLite files, and what a wrong address or query is answered with."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sporeprint.common.progress import SilentProgress
from sporeprint.errors import DataError, SourceUnavailableError
from sporeprint.ingestion.sql_query import ROWS, database, read_query, shown_address
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


@pytest.fixture
def address(tmp_path: Path) -> str:
    path = tmp_path / "t.db"
    rows = [("n", 1.5, "e"), (None, None, "p"), ("", 3, "e"), (b"\xc3\xa9", "17.wrz", "p"), ("100% :x", 1e-05, "e")]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("create table observations (note, width, class)")
        connection.executemany("insert into observations values (?, ?, ?)", rows)
    return f"sqlite:///{path}"


def read(address: str, query: str, schema: DatasetSchema, path: Path, *, labelled: bool = True) -> list[tuple[object, ...]]:
    read_query(database(address), query, path, schema, SilentProgress(), labelled=labelled)
    table = pq.read_table(path)
    return list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))


def test_rows_come_as_text_in_the_schemas_order(address: str, tmp_path: Path, schema: DatasetSchema) -> None:
    assert read(address, "select * from observations", schema, tmp_path / "t.parquet") == [
        ("e", "1.5", "n"),
        ("p", None, None),
        ("e", "3", None),
        ("p", "17.wrz", "é"),
        ("e", "1e-05", "100% :x"),
    ]


def test_the_query_is_the_databases_own(address: str, tmp_path: Path, schema: DatasetSchema) -> None:
    query = "select class, width, note from observations where note like '1%' and note like '% :x'"
    assert read(address, query, schema, tmp_path / "t.parquet") == [("e", "1e-05", "100% :x")]


def test_more_rows_than_are_held_at_a_time(address: str, tmp_path: Path, schema: DatasetSchema) -> None:
    query = f"with recursive n(i) as (select 0 union all select i + 1 from n where i < {2 * ROWS}) select i note, i width, 'e' class from n"
    rows = read(address, query, schema, tmp_path / "t.parquet")
    assert rows == [("e", str(number), str(number)) for number in range(2 * ROWS + 1)]
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.num_row_groups == 3


def test_a_table_to_score_needs_no_target(address: str, tmp_path: Path, schema: DatasetSchema) -> None:
    assert read(address, "select width, note from observations limit 1", schema, tmp_path / "t.parquet", labelled=False) == [("1.5", "n")]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("select note, class from observations", "the columns are not those of the dataset 'tiny'\n  missing: 'width'"),
        ("select *, 1 as more from observations", "not in the dataset: 'more'"),
        ("select * from nowhere", r"sqlite:///.*t\.db cannot answer source\.query: no such table: nowhere"),
        ("selekt", r"cannot answer source\.query: near \"selekt\": syntax error"),
        ("delete from observations", r"source\.query brings no rows from sqlite:///.*; expected a SELECT"),
    ],
)
def test_a_wrong_query_is_refused(query: str, message: str, address: str, tmp_path: Path, schema: DatasetSchema) -> None:
    with pytest.raises(DataError, match=message):
        read(address, query, schema, tmp_path / "t.parquet")


def test_a_file_that_is_no_database(tmp_path: Path, schema: DatasetSchema) -> None:
    (tmp_path / "t.db").write_text("not a database at all, whatever its name may say" * 100)
    with pytest.raises(DataError, match="file is not a database"):
        read(f"sqlite:///{tmp_path / 't.db'}", "select * from t", schema, tmp_path / "t.parquet")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://bucket/t.csv", r"'s3://bucket/t\.csv' is neither a file nor an address that can be read; expected a path, http\(s\)://"),
        ("oracle+cx_oracle://me:secret@h/db", r"'oracle\+cx_oracle://me:\*\*\*@h/db' needs the Python package 'cx_Oracle'"),
        ("mysql+pymysql://me:secret@h:port/db", r"'mysql\+pymysql://me:\*\*\*@h:port/db' is neither"),
        ("sqlite:////nowhere/t.db", "no such SQLite file: /nowhere/t.db"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        database(url)


def test_a_database_that_does_not_answer_may_do_so_later(tmp_path: Path, schema: DatasetSchema) -> None:
    address = database("mysql+pymysql://me:secret@127.0.0.1:1/db")
    with pytest.raises(
        SourceUnavailableError, match=r"cannot connect to mysql\+pymysql://me:\*\*\*@127\.0\.0\.1:1/db: .*127\.0\.0\.1"
    ) as caught:
        read_query(address, "select 1", tmp_path / "t.parquet", schema, SilentProgress())
    assert "secret" not in str(caught.value)


def test_addresses_are_shown_without_secrets() -> None:
    assert shown_address(database("mysql+pymysql://me:p@ss%2Fword@h/db?ssl_key=k")) == "mysql+pymysql://me:***@h/db?ssl_key=***"

"""Tests of sporeprint.storage.bulk_insert: what is written as text is what is read back."""

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mariadb_server import MariaDB
from sporeprint.storage import bulk_insert
from sporeprint.storage.engine import connect

TEXTS = st.lists(
    st.text(alphabet=st.one_of(st.sampled_from("'\"\\\0\n\r\x1a%_`;-ä\U0001f344 "), st.characters(exclude_categories=["Cs"])), max_size=9),
    min_size=1,
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(TEXTS)
def test_texts_come_back_as_they_were(mariadb: MariaDB, texts: list[str]) -> None:
    engine = connect(mariadb.url(database="mysql"))
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "CREATE OR REPLACE TEMPORARY TABLE bulk (n BIGINT, t LONGTEXT) CHARSET utf8mb4 COLLATE utf8mb4_nopad_bin"
        )
        for statement in bulk_insert.inserts("bulk", pl.DataFrame({"n": range(len(texts)), "t": texts})):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        assert connection.exec_driver_sql("SELECT t FROM bulk ORDER BY n").scalars().all() == texts
    engine.dispose()


def test_literals_by_hand() -> None:
    rows = pl.DataFrame({"a": [1, None], "b": [0.1, -1e300], "c": ["it's", None]})
    assert bulk_insert.literals(rows).to_list() == ["(1,0.1,'it\\'s')", "(NULL,-1e+300,NULL)"]


def test_numbers_keep_every_digit() -> None:
    numbers = [0.1 + 0.2, 1e-300, 123456789.123456789, 5e-324, 2.0**53 + 1]
    assert [float(text[1:-1]) for text in bulk_insert.literals(pl.DataFrame({"a": numbers}))] == numbers


def test_a_statement_ends_where_it_grows_too_long() -> None:
    assert [piece.count(",") + 1 for piece in bulk_insert.joined(pl.Series(["x" * 10] * 7), size=30)] == [2, 3, 2]
    assert list(bulk_insert.inserts("t", pl.DataFrame({"a": []}, schema={"a": pl.Int64}))) == []


@pytest.mark.parametrize("name", ["a`b", "order"])
def test_names_are_quoted(name: str) -> None:
    assert bulk_insert.names([name]) == {"a`b": "`a``b`", "order": "`order`"}[name]

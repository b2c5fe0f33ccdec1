"""Tests of sporeprint.storage.warehouse.star_schema: one description, the same tables in both engines."""

import duckdb
import pytest

from mariadb_server import MariaDB
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.star_schema import StarTable, TableKind


@pytest.mark.parametrize("table", star_schema.TABLES.values(), ids=lambda table: table.name)
def test_a_table_is_whole(table: StarTable) -> None:
    assert set(table.key) <= set(table.names)
    assert len(table.names) == len(set(table.names))
    assert not [column.name for column in table.columns if column.null and column.name in table.key]
    assert (table.kind is TableKind.COUNT) == bool(table.counts)
    assert (table.by is None) == (table.kind is TableKind.DIMENSION)
    assert set(table.key) | set(table.counts) == set(table.names) or table.kind is not TableKind.COUNT


def test_both_engines_have_the_same_columns(mariadb: MariaDB) -> None:
    database = mariadb.create_database()
    for table in star_schema.TABLES.values():
        mariadb.execute(star_schema.mariadb_ddl(table), database=database)
        there = mariadb.execute(
            f"SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = '{database}' "
            f"AND table_name = '{table.name}' ORDER BY ordinal_position"
        )
        assert [row[0] for row in there] == list(table.names)
        assert [row[2] == "YES" for row in there] == [column.null for column in table.columns]
        described = duckdb.sql(star_schema.duckdb_empty(table))
        assert described is not None
        assert described.columns == list(table.names)


def test_a_column_says_what_it_holds() -> None:
    ddl = star_schema.mariadb_ddl(star_schema.FACT_PREDICTION)
    assert "`shadow` LONGTEXT COMMENT 'JSON: the other arm''s answer'" in ddl
    assert "PRIMARY KEY (`created_us`, `prediction_id`)" in ddl

"""The contract of sporeprint.storage.warehouse, over both implementations."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Engine

from sporeprint.common.timestamps import DAY_US, HOUR_US
from sporeprint.errors import StorageError, UsageError
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse.mariadb_warehouse import MariaDBWarehouse
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import BEGIN_US, SCHEMA, counted_again, everything, outcome, predictions, write

CELL: dict[str, Any] = {
    "hour_us": BEGIN_US // HOUR_US * HOUR_US,
    "model": "tree",
    "version": 1,
    "test_id": "",
    "arm": "",
}
MODEL = {"model": "tree", "version": 1, "ref": "tree/v1"}


def rows(warehouse: Warehouse, sql: str) -> list[tuple[Any, ...]]:
    with warehouse.reading() as reader:
        return list(reader.query(sql).rows)


def counts(answers: int, **more: Any) -> pl.DataFrame:
    return aggregation.frame(star_schema.HOUR_LATENCY, [{**CELL, "low_us": 10, "high_us": 11, "answers": answers, **more}])


def test_before_the_first_load_there_are_no_notes(warehouse: Warehouse) -> None:
    assert warehouse.get_note("prediction") is None


def test_counts_are_added_up(warehouse: Warehouse) -> None:
    with warehouse.loading() as load:
        load.add(star_schema.HOUR_LATENCY, counts(3))
        load.add(star_schema.HOUR_LATENCY, pl.concat([counts(4), counts(1, hour_us=CELL["hour_us"] + DAY_US)]))
    with warehouse.loading() as load:
        load.add(star_schema.HOUR_LATENCY, counts(5))
    assert rows(warehouse, "SELECT hour_us, answers FROM hour_latency ORDER BY hour_us") == [
        (CELL["hour_us"], 12),
        (CELL["hour_us"] + DAY_US, 1),
    ]


def test_what_is_taken_away_again_leaves_no_row(warehouse: Warehouse) -> None:
    for number in (2, -2):
        with warehouse.loading() as load:
            load.add(star_schema.HOUR_LATENCY, counts(number))
    assert rows(warehouse, "SELECT * FROM hour_latency") == []


def test_rows_are_written_over_or_kept(warehouse: Warehouse) -> None:
    with warehouse.loading() as load:
        load.put(star_schema.DIM_MODEL, aggregation.frame(star_schema.DIM_MODEL, [MODEL]))
        load.put(star_schema.DIM_MODEL, aggregation.frame(star_schema.DIM_MODEL, [{**MODEL, "simulated": 1}, {**MODEL, "version": 2}]))
    with warehouse.loading() as load:
        load.put(star_schema.DIM_MODEL, aggregation.frame(star_schema.DIM_MODEL, [{**MODEL, "simulated": 0}]), keep=True)
    assert rows(warehouse, "SELECT version, simulated FROM dim_model ORDER BY version") == [(1, 1), (2, None)]


def test_names_are_compared_byte_by_byte(warehouse: Warehouse) -> None:
    names = ["Tree", "tree", "tree ", "tr\u00e9e"]
    with warehouse.loading() as load:
        load.put(star_schema.DIM_MODEL, aggregation.frame(star_schema.DIM_MODEL, [{**MODEL, "model": name} for name in names]))
    assert rows(warehouse, "SELECT model FROM dim_model WHERE model = 'tree'") == [("tree",)]
    assert len(rows(warehouse, "SELECT model FROM dim_model")) == 4


def test_a_load_that_fails_leaves_nothing(warehouse: Warehouse) -> None:
    with warehouse.loading() as load:
        load.note("a", {"b": [1, "ä"]})
    with contextlib.suppress(KeyboardInterrupt), warehouse.loading() as load:
        load.add(star_schema.HOUR_LATENCY, counts(3))
        load.put(star_schema.DIM_MODEL, aggregation.frame(star_schema.DIM_MODEL, [MODEL]))
        load.note("a", 2)
        raise KeyboardInterrupt
    assert warehouse.get_note("a") == {"b": [1, "ä"]}
    assert rows(warehouse, "SELECT * FROM hour_latency") + rows(warehouse, "SELECT * FROM dim_model") == []


def test_a_reader_sees_one_state_whatever_is_loaded(warehouse: Warehouse) -> None:
    with warehouse.loading() as load:
        load.add(star_schema.HOUR_LATENCY, counts(3))
    with warehouse.reading() as reader:
        assert reader.query("SELECT answers FROM hour_latency").rows == ((3,),)
        with warehouse.loading() as load:
            load.add(star_schema.HOUR_LATENCY, counts(3))
            load.put(star_schema.DIM_MODEL, aggregation.frame(star_schema.DIM_MODEL, [MODEL]))
        assert reader.query("SELECT answers FROM hour_latency").rows == ((3,),)
        assert reader.query("SELECT * FROM dim_model").rows == ()
    assert rows(warehouse, "SELECT answers FROM hour_latency") == [(6,)]


def test_a_warehouse_of_another_version_is_refused(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    with warehouse.loading() as load:
        load.note("a", 1)
    monkeypatch.setattr(star_schema, "STAR", 99)
    monkeypatch.setattr("sporeprint.storage.warehouse.manifest.STAR", 99)
    monkeypatch.setattr(star_schema, "EXTENDABLE", frozenset())
    monkeypatch.setattr("sporeprint.storage.warehouse.manifest.EXTENDABLE", frozenset())
    with pytest.raises(StorageError, match=r"of another version \(.*this one works with .*run: sporeprint warehouse sync"):
        warehouse.get_note("a")


def test_a_warehouse_of_an_earlier_release_is_extended_by_the_next_sync(
    oltp: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first release of the star did not tell rows apart: its facts stay, without a hash."""
    write(oltp, predictions(30))
    facts = {name: star_schema.TABLES[name] for name in ("fact_prediction", "fact_outcome")}
    with monkeypatch.context() as earlier:
        for name, table in facts.items():
            before = replace(table, columns=tuple(column for column in table.columns if column.name != "row_hash"))
            earlier.setitem(star_schema.TABLES, name, before)
            earlier.setattr(star_schema, name.upper(), before)
        earlier.setattr(star_schema, "OF_PREDICTION", tuple(name for name in star_schema.OF_PREDICTION if name != "row_hash"))
        earlier.setattr(star_schema, "STAR", 1)
        earlier.setattr("sporeprint.storage.warehouse.manifest.STAR", 1)
        sync_warehouse(oltp, warehouse, SCHEMA)
    ids = [row["prediction_id"] for row in predictions(30)]
    write(oltp, predictions(40, first=30))
    write(oltp, [outcome(ids[0], "e")], tables.outcome)
    if isinstance(warehouse, MariaDBWarehouse):
        with pytest.raises(StorageError, match="of an earlier version; run: sporeprint warehouse sync"), warehouse.reading():
            pass
    assert sync_warehouse(oltp, warehouse, SCHEMA).predictions == 40
    assert rows(warehouse, "SELECT COUNT(*), COUNT(row_hash) FROM fact_prediction") == [(70, 40)]
    assert rows(warehouse, "SELECT latest, row_hash FROM fact_outcome") == [(1, None)]
    found = everything(warehouse)
    assert {name: found[name] for name in ("hour_outcomes", "hour_latency")} == {
        name: counted_again(found)[name] for name in ("hour_outcomes", "hour_latency")
    }


# --- a user's statement --------------------------------------------------------------------------------------------------


def test_a_statement_that_reads(oltp: Engine, warehouse: Warehouse) -> None:
    write(oltp, predictions(30))
    sync_warehouse(oltp, warehouse, SCHEMA)
    with warehouse.reading() as reader:
        found = reader.user_query('SELECT COUNT(*) AS "how many", AVG(latency_us) > 0 FROM fact_prediction;', rows=10)
        assert (found.columns[0], found.rows, found.more) == ("how many", ((30, 1),), False)
        some = reader.user_query("SELECT prediction_id FROM fact_prediction", rows=7)
        assert (len(some.rows), some.more) == (7, True)
    with warehouse.reading() as reader:
        assert len(reader.user_query("SELECT prediction_id FROM fact_prediction", rows=30).rows) == 30
        assert json.loads(reader.user_query("SELECT features FROM fact_prediction", rows=1).rows[0][0]).keys() == {
            "cap-shape",
            "size",
            "smell",
        }


REFUSED = (
    "SELECT nothing FROM dim_model",
    "SELECT * FROM nowhere",
    "SELEC 1",
    "SELECT 1; SELECT 2",
    "INSERT INTO dim_class VALUES ('a', 'b', 1)",
    "DELETE FROM dim_class",
    "DROP TABLE dim_class",
    "CREATE TABLE x AS SELECT 1",
    "SET @@max_statement_time = 0",
    "COPY (SELECT 1) TO 'target'",
    "SELECT 1 INTO OUTFILE 'target'",
    "SELECT LOAD_FILE('/etc/passwd')",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE dim_class",
    "ATTACH 'target'",
    "INSTALL httpfs",
    "LOAD json",
    "SET enable_external_access = true",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO 'target'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('https://example.org/a.parquet')",
    "WITH a AS (SELECT 1) DELETE FROM dim_class",
    "CALL dbms()",
    "PRAGMA database_list",
)


def test_a_statement_that_does_more_is_refused(warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warehouse.loading() as load:
        load.put(star_schema.DIM_CLASS, aggregation.classes(SCHEMA))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for sql in REFUSED:
        with warehouse.reading() as reader, pytest.raises(UsageError) as error:
            reader.user_query(sql.replace("target", str(here / "target")), rows=10)
        assert "\n" not in str(error.value)
    assert list(here.iterdir()) == []
    assert len(rows(warehouse, "SELECT * FROM dim_class")) == 2

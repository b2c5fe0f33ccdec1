"""Tests of sporeprint.storage.warehouse.sync: everything arrives, once, whatever happens on the way."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Engine, delete, insert

from mariadb_server import MariaDB
from sporeprint.errors import BusyError
from sporeprint.storage.oltp import tables
from sporeprint.storage.oltp.read_progress import SAFE_LAG_US
from sporeprint.storage.warehouse import parquet_warehouse, star_schema
from sporeprint.storage.warehouse.parquet_warehouse import ParquetWarehouse
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import (
    BEGIN_US,
    SCHEMA,
    counted_again,
    database,
    dicts,
    everything,
    outcome,
    predictions,
    warehouse_at,
    write,
)
from warm_start import Warm

#: What a row says of where it came from, not of what happened.
SEQUENCES = {"fact_prediction": 1, "fact_outcome": 2}


def without_sequences(found: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        name: sorted((row[: SEQUENCES[name]] + row[SEQUENCES[name] + 1 :] for row in rows), key=repr) if name in SEQUENCES else rows
        for name, rows in found.items()
    }


def check(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Every prediction is there once, and the counts are those of the facts."""
    found = everything(warehouse)
    ids = [row["prediction_id"] for row in dicts(found, star_schema.FACT_PREDICTION)]
    assert len(ids) == len(set(ids))
    for name, rows in counted_again(found).items():
        assert found[name] == rows, name
    return found


# --- what arrives --------------------------------------------------------------------------------------------------------


def test_facts_arrive_and_are_counted(oltp: Engine, warehouse: Warehouse) -> None:
    rows = predictions(400)
    write(oltp, rows)
    done = sync_warehouse(oltp, warehouse, SCHEMA, page_rows=150)
    assert (done.predictions, done.outcomes, done.waiting) == (400, 0, False)
    found = check(warehouse)
    assert {row["prediction_id"]: row["latency_us"] for row in dicts(found, star_schema.FACT_PREDICTION)} == {
        row["prediction_id"]: row["latency_us"] for row in rows
    }
    assert {(row["day"], row["hour"]) for row in dicts(found, star_schema.DIM_TIME)} >= {("2026-01-30", 22), ("2026-01-31", 0)}
    assert {row["ref"] for row in dicts(found, star_schema.DIM_MODEL)} == {
        f"{model}/v{number}" for model in ("xgboost", "tree") for number in (1, 2)
    }
    assert {(row["code"], row["word"], row["positive"]) for row in dicts(found, star_schema.DIM_CLASS)} == {
        ("e", "edible", 0),
        ("p", "poisonous", 1),
    }


def test_an_empty_database_makes_an_empty_warehouse(oltp: Engine, warehouse: Warehouse) -> None:
    assert sync_warehouse(oltp, warehouse, SCHEMA).read == 0
    assert everything(warehouse)["fact_prediction"] == []


def test_nothing_new_changes_nothing(oltp: Engine, warehouse: Warehouse) -> None:
    rows = predictions(50)
    write(oltp, rows)
    write(oltp, [outcome(row["prediction_id"], "p") for row in rows[:9]], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    before, notes = everything(warehouse), warehouse.get_note("prediction")
    done = sync_warehouse(oltp, warehouse, SCHEMA)
    assert (done.predictions, done.outcomes, done.read) == (0, 0, 0)
    assert (everything(warehouse), warehouse.get_note("prediction")) == (before, notes)


def test_bit_by_bit_is_the_same_as_at_once(oltp: Engine, tmp_path: Path) -> None:
    rows = predictions(300)
    results = [outcome(row["prediction_id"], "ep"[number % 2]) for number, row in enumerate(rows) if number % 3 == 0]
    results += [outcome(row["prediction_id"], "p", 2) for row in rows[:100:6]]
    bits, whole = ParquetWarehouse(tmp_path / "bits"), ParquetWarehouse(tmp_path / "whole")
    for begin in range(0, 300, 25):
        write(oltp, rows[begin : begin + 25])
        write(oltp, results[begin // 25 :: 12], tables.outcome)
        sync_warehouse(oltp, bits, SCHEMA, page_rows=20)
    sync_warehouse(oltp, whole, SCHEMA)
    assert check(bits) == check(whole)


# --- outcomes ------------------------------------------------------------------------------------------------------------


def test_outcomes_late_early_twice_unknown_and_changed(oltp: Engine, warehouse: Warehouse) -> None:
    rows = predictions(60)
    early, late = rows[:30], rows[30:]
    write(oltp, [outcome(row["prediction_id"], "p") for row in late[:10]] + [outcome("nobody", "p")], tables.outcome)
    write(oltp, early)
    first = sync_warehouse(oltp, warehouse, SCHEMA)
    assert (first.predictions, first.outcomes, first.waiting) == (30, 11, True)
    assert {row["hour_us"] for row in dicts(check(warehouse), star_schema.FACT_OUTCOME)} == {star_schema.WAITING_US}

    write(oltp, late)
    write(oltp, [outcome(row["prediction_id"], "e") for row in early[:5]], tables.outcome)
    assert sync_warehouse(oltp, warehouse, SCHEMA).waiting is True
    found = check(warehouse)
    assert [row["prediction_id"] for row in dicts(found, star_schema.FACT_OUTCOME) if row["hour_us"] == star_schema.WAITING_US] == [
        "nobody"
    ]
    assert sum(row["answers"] for row in dicts(found, star_schema.HOUR_OUTCOMES)) == 15

    changed = [outcome(row["prediction_id"], "p", 3) for row in early[:5]] + [outcome(row["prediction_id"], "e", 2) for row in early[:5]]
    write(oltp, changed, tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    found = check(warehouse)
    latest = [
        row
        for row in dicts(found, star_schema.FACT_OUTCOME)
        if row["latest"] and row["prediction_id"] in {row["prediction_id"] for row in early}
    ]
    assert [(row["revision"], row["outcome"]) for row in latest] == [(3, "p")] * 5
    assert sum(row["answers"] for row in dicts(found, star_schema.HOUR_OUTCOMES)) == 15


def test_tests_are_brought_as_they_stand(oltp: Engine, warehouse: Warehouse) -> None:
    row = {
        "test_id": "t1",
        "name": "first",
        "created_us": BEGIN_US,
        "mode": "split",
        "status": "running",
        "model_a": "tree",
        "version_a": 1,
        "sha256_a": "0",
        "model_b": "tree",
        "version_b": 2,
        "sha256_b": "1",
        "traffic_split": 0.5,
        "salt": "s",
        "rule": "{}",
    }
    write(oltp, [row], tables.ab_test)
    sync_warehouse(oltp, warehouse, SCHEMA)
    with oltp.begin() as connection:
        connection.execute(tables.ab_test.update().values(status="concluded", verdict="b", concluded_us=BEGIN_US + 1))
    sync_warehouse(oltp, warehouse, SCHEMA)
    found = dicts(everything(warehouse), star_schema.DIM_TEST)
    assert [(row["name"], row["status"], row["verdict"]) for row in found] == [("first", "concluded", "b")]


# --- order, and what is read again ---------------------------------------------------------------------------------------


def test_a_transaction_that_commits_late_is_picked_up(mariadb: MariaDB, warehouse: Warehouse) -> None:
    engine = database(mariadb.url(database=mariadb.create_database()))
    rows, clock = predictions(4), [BEGIN_US]
    with engine.connect() as slow, engine.connect() as fast:
        slow.execute(insert(tables.prediction), [rows[0]])  # takes number 1, and keeps it
        fast.execute(insert(tables.prediction), [rows[1]])
        fast.commit()
        assert sync_warehouse(engine, warehouse, SCHEMA, clock=lambda: clock[0]).predictions == 1
        slow.execute(insert(tables.prediction), [rows[2]])  # number 3
        fast.execute(insert(tables.prediction), [rows[3]])
        fast.commit()
        assert sync_warehouse(engine, warehouse, SCHEMA, clock=lambda: clock[0]).predictions == 1
        assert [gap[:2] for gap in warehouse.get_note("prediction")["gaps"]] == [[1, 1], [3, 3]]
        clock[0] += SAFE_LAG_US - 1
        slow.commit()
    assert sync_warehouse(engine, warehouse, SCHEMA, clock=lambda: clock[0]).predictions == 2
    assert len(check(warehouse)["fact_prediction"]) == 4
    assert warehouse.get_note("prediction") == {"high": 4, "gaps": []}
    engine.dispose()


def test_a_number_that_never_comes_is_given_up(oltp: Engine, warehouse: Warehouse) -> None:
    clock = [BEGIN_US]
    write(oltp, predictions(5))
    with oltp.begin() as connection:
        connection.execute(delete(tables.prediction).where(tables.prediction.c.seq == 3))
    sync_warehouse(oltp, warehouse, SCHEMA, clock=lambda: clock[0])
    assert warehouse.get_note("prediction") == {"high": 5, "gaps": [[3, 3, BEGIN_US]]}
    clock[0] += SAFE_LAG_US
    sync_warehouse(oltp, warehouse, SCHEMA, clock=lambda: clock[0])
    assert warehouse.get_note("prediction") == {"high": 5, "gaps": []}


def test_a_database_that_was_restored_is_read_again_and_adds_nothing_twice(oltp: Engine, warehouse: Warehouse, tmp_path: Path) -> None:
    rows = predictions(40)
    write(oltp, rows)
    write(oltp, [outcome(row["prediction_id"], "p") for row in rows[:20]], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    before = without_sequences(everything(warehouse))
    other = database(URL.create("sqlite", database=str(tmp_path / "restored.db")))
    write(other, list(reversed(rows[:30])))
    write(other, [outcome(row["prediction_id"], "p") for row in rows[:10]], tables.outcome)
    done = sync_warehouse(other, warehouse, SCHEMA, page_rows=7)
    assert (done.predictions, done.outcomes, done.read) == (0, 0, 40)
    assert without_sequences(check(warehouse)) == before
    other.dispose()


def test_text_of_every_kind_and_size(oltp: Engine, warehouse: Warehouse) -> None:
    texts = ["quote ' and \" and \\", "\U0001f344 ümläut", "nul \0 end", "line\r\nend\x1a", "%s %(x)s {}", "x" * 1_000_000, "NULL", "b "]
    rows = predictions(len(texts))
    for row, text in zip(rows, texts, strict=True):
        row |= {"unit_id": text[:255], "features": '{"smell": "%s"}' % ("y" * len(text)) if len(text) > 999 else row["features"]}
        row["shadow"] = text
    write(oltp, rows)
    sync_warehouse(oltp, warehouse, SCHEMA, page_rows=3)
    found = {row["prediction_id"]: (row["unit_id"], row["shadow"]) for row in dicts(everything(warehouse), star_schema.FACT_PREDICTION)}
    assert found == {row["prediction_id"]: (row["unit_id"], row["shadow"]) for row in rows}


def test_only_one_loads_at_a_time(oltp: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_warehouse, "LOCK_WAIT_S", 0.05)
    warehouse = ParquetWarehouse(tmp_path / "warehouse")
    write(oltp, predictions(3))
    with (
        warehouse.loading(),
        pytest.raises(BusyError, match=r"another process has been loading into .*warehouse for 0\.05 s; try again later"),
    ):
        sync_warehouse(oltp, warehouse, SCHEMA)


# --- kill -9 -------------------------------------------------------------------------------------------------------------


#: Loads the libraries once, then forks for each line: prints the process id, and how it ended.
NURSERY = """
import os, sys
sys.path.append(sys.argv[3])
import sporeprint.storage.warehouse.feature_counts, sporeprint.storage.warehouse.mariadb_loader
import sporeprint.storage.warehouse.parquet_loader
from warehouse_support import sync_at
while sys.stdin.readline():
    if not (child := os.fork()):
        try:
            sync_at(sys.argv[1], sys.argv[2], 20, 2)
            os._exit(0)
        finally:
            os._exit(1)
    print(child, flush=True)
    sys.stdin.readline()  # until then the number is nobody else's
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_at_twenty_random_points_it_brings_the_same(oltp: Engine, warehouse_address: str, tmp_path: Path, root: Path) -> None:
    chance, kills, met, written, ends = random.Random(7), 0, 0, 0, set()
    command = [sys.executable, "-c", NURSERY, oltp.url.render_as_string(), warehouse_address, str(root / "tests" / "helpers")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with warehouse_at(warehouse_address) as warehouse, Warm(command, **pipes) as nursery:
        assert nursery.stdin is not None
        assert nursery.stdout is not None
        while kills < 20:
            seen = warehouse.get_note("prediction") or {"high": 0}
            if seen["high"] > written - 400:  # nearly done: more is to come
                rows = predictions(600, first=written, minutes=0.2)
                write(oltp, rows)
                write(oltp, [outcome(row["prediction_id"], "ep"[number % 2]) for number, row in enumerate(rows[::10])], tables.outcome)
                written += len(rows)
            nursery.stdin.write("\n")
            child = int(nursery.stdout.readline())
            until = time.monotonic() + 20
            while kills % 2 and warehouse.get_note("prediction") in (None, seen) and time.monotonic() < until:
                time.sleep(0.01)  # every other one is killed after it has come some way
            time.sleep(chance.uniform(0.0, 0.3))
            os.kill(child, signal.SIGKILL)
            nursery.stdin.write("\n")
            ended = int(nursery.stdout.readline())
            ends.add(ended)
            kills += ended == -signal.SIGKILL
            met += ended == -signal.SIGKILL and warehouse.get_note("prediction") not in (None, seen)
        nursery.stdin.close()
        assert met > 2, "hardly a kill met a sync on its way"
        assert ends <= {0, -signal.SIGKILL}
        sync_warehouse(oltp, warehouse, SCHEMA)
        found = check(warehouse)
        with warehouse_at(str(tmp_path / "undisturbed")) as undisturbed:
            sync_warehouse(oltp, undisturbed, SCHEMA)
            assert found == everything(undisturbed)
    assert len(found["fact_prediction"]) == written


def test_a_failure_on_the_way_shows_nothing_of_the_page(oltp: Engine, warehouse: Warehouse) -> None:
    write(oltp, predictions(20))
    sync_warehouse(oltp, warehouse, SCHEMA)
    before = everything(warehouse)
    write(oltp, predictions(20, first=20))

    class StopError(Exception):
        pass

    class Ends:
        def total(self, amount: int | None) -> None: ...

        def text(self, text: str) -> None: ...

        def advance(self, amount: int) -> None:
            raise StopError

    with pytest.raises(StopError):
        sync_warehouse(oltp, warehouse, SCHEMA, progress=Ends())
    assert everything(warehouse) == before
    assert sync_warehouse(oltp, warehouse, SCHEMA).predictions == 20
    check(warehouse)

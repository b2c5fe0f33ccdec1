"""Tests of sporeprint.storage.warehouse.parquet_warehouse: files that come, stay and go."""

import time
from pathlib import Path

import pytest
from sqlalchemy import Engine

from sporeprint.errors import StorageError, StorageUnavailableError
from sporeprint.storage.warehouse import aggregation, manifest, star_schema
from sporeprint.storage.warehouse import parquet_loader as parquet_load
from sporeprint.storage.warehouse import parquet_warehouse as warehouse_parquet
from sporeprint.storage.warehouse.parquet_warehouse import ParquetWarehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import SCHEMA, counted_again, everything, predictions, write


@pytest.fixture
def warehouse(tmp_path: Path) -> ParquetWarehouse:
    return ParquetWarehouse(tmp_path / "ware 'house'")


def files(warehouse: ParquetWarehouse) -> set[str]:
    return {path.relative_to(warehouse.folder).as_posix() for path in warehouse.folder.rglob("*.parquet")}


def test_many_small_files_of_a_day_become_one(oltp: Engine, warehouse: ParquetWarehouse) -> None:
    for begin in range(0, 40, 2):
        write(oltp, predictions(2, first=begin, minutes=0.1))
        sync_warehouse(oltp, warehouse, SCHEMA)
    parts = manifest.read(warehouse.folder).parts("fact_prediction")
    assert len(parts) < parquet_load.MOST_SMALL
    assert sum(part.rows for part in parts) == 40
    found = everything(warehouse)
    assert {name: found[name] for name in counted_again(found)} == counted_again(found)


def test_what_is_replaced_stays_for_readers_and_then_goes(warehouse: ParquetWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    model = {"model": "tree", "version": 1, "ref": "tree/v1"}
    for run in "abc":
        with warehouse.loading() as load:
            load.put(star_schema.DIM_MODEL, aggregation.frame(star_schema.DIM_MODEL, [{**model, "run_id": run}]))
    assert len(files(warehouse)) == 3
    assert len(manifest.read(warehouse.folder).retired) == 2
    monkeypatch.setattr(warehouse_parquet, "GRACE_S", -1.0)
    with warehouse.loading() as load:
        load.note("a", 1)
    assert files(warehouse) == manifest.read(warehouse.folder).every()
    assert manifest.read(warehouse.folder).retired == {}


def test_what_a_killed_load_left_is_removed_by_the_next(warehouse: ParquetWarehouse) -> None:
    stray = warehouse.folder / "hour_latency/2026-01-30/00000001-dead.parquet"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"half a file")
    with warehouse.reading() as reader:
        assert reader.query("SELECT * FROM hour_latency").rows == ()
    with warehouse.loading() as load:
        load.note("a", 1)
    assert not stray.exists()


def test_a_load_without_anything_new_publishes_nothing(warehouse: ParquetWarehouse) -> None:
    for _ in range(2):
        with warehouse.loading() as load:
            load.put(star_schema.DIM_CLASS, aggregation.classes(SCHEMA))
            load.note("a", 1)
    assert manifest.read(warehouse.folder).generation == 1


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write to .*file"), ParquetWarehouse(tmp_path / "file").loading():
        pass


def test_a_missing_file_is_said(oltp: Engine, warehouse: ParquetWarehouse) -> None:
    write(oltp, predictions(3))
    sync_warehouse(oltp, warehouse, SCHEMA)
    for name in manifest.read(warehouse.folder).files["hour_answers"].values():
        (warehouse.folder / name[0].file).unlink()
    with pytest.raises(StorageError, match="hour_answers"), warehouse.reading() as reader:
        reader.query("SELECT * FROM hour_answers")


def test_a_question_that_takes_too_long_is_ended(warehouse: ParquetWarehouse) -> None:
    began = time.monotonic()
    with (
        warehouse.reading(seconds=0.2) as reader,
        pytest.raises(StorageUnavailableError, match=r"no answer within 0\.2 s; ask for less"),
    ):
        reader.user_query("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range % 7 = b.range % 5", rows=1)
    assert time.monotonic() - began < 10


def test_variables_of_the_program_are_no_tables(warehouse: ParquetWarehouse) -> None:
    secrets = aggregation.classes(SCHEMA)
    assert secrets.height == 2
    with warehouse.reading() as reader, pytest.raises(Exception, match="secrets does not exist"):
        reader.user_query("SELECT * FROM secrets", rows=1)

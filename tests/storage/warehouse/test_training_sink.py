"""Tests of sporeprint.storage.warehouse.training_sink: what a run of the pipeline leaves in the warehouse."""

import json
from pathlib import Path

import pytest

from sporeprint.settings import StorageSettings
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.protocol import TRAINING, Warehouse
from sporeprint.storage.warehouse.training_sink import SPLIT, WarehouseSink, keep_metrics, opened
from warehouse_support import dicts, everything


def publish(warehouse: Warehouse, run: Path, **changes: str) -> None:
    record = {**json.loads((run / "data/validation/summary.json").read_text()), **changes}
    WarehouseSink(warehouse).publish({name: run / f"data/model_input/{name}.parquet" for name in SPLIT}, json.dumps(record))


@pytest.mark.slow
def test_the_rows_of_a_run_can_be_asked(warehouse: Warehouse, small_run: Path) -> None:
    publish(warehouse, small_run)
    with warehouse.reading() as reader:
        parts = dict(reader.user_query("SELECT _part, COUNT(*) FROM training GROUP BY _part", rows=9).rows)
        classes = reader.user_query(
            'SELECT class, COUNT(*), MIN("cap-diameter") >= 0 FROM training GROUP BY class ORDER BY class', rows=9
        ).rows
    assert sum(parts.values()) == sum(row[1] for row in classes) == 1800
    assert set(parts) == {"train", "early_stop", "calibration", "threshold", "test"}
    assert [row[0] for row in classes] == ["e", "p"]


@pytest.mark.slow
def test_the_same_rows_again_change_nothing_and_others_replace_them(warehouse: Warehouse, small_run: Path) -> None:
    publish(warehouse, small_run)
    publish(warehouse, small_run, run_id="again")
    assert warehouse.get_note(TRAINING)["run_id"] != "again"
    publish(warehouse, small_run, run_id="other", fingerprint="other")
    assert warehouse.get_note(TRAINING)["run_id"] == "other"
    with warehouse.reading() as reader:
        assert reader.query("SELECT COUNT(*) FROM training").rows == ((1800,),)


@pytest.mark.slow
def test_metrics_and_versions_of_a_run(warehouse: Warehouse, small_run: Path) -> None:
    run = json.loads((small_run / "models/metrics/metrics.json").read_text())
    for _ in range(2):
        keep_metrics(warehouse, run)
    found = everything(warehouse)
    metrics = {(row["model"], row["part"], row["metric"]): row for row in dicts(found, star_schema.FACT_METRIC)}
    accuracy = run["models"]["xgboost"]["seen"]["accuracy"]
    assert [metrics["xgboost", "seen", "accuracy"][name] for name in ("value", "low", "high")] == [
        accuracy[name] for name in ("value", "low", "high")
    ]
    assert metrics["xgboost", "seen", "accuracy"]["rows_measured"] == run["models"]["xgboost"]["seen"]["rows"]
    assert {row["run_id"] for row in metrics.values()} == {run["run_id"]}
    assert {(row["ref"], row["run_id"]) for row in dicts(found, star_schema.DIM_MODEL)} >= {("xgboost/v1", run["run_id"])}


@pytest.mark.slow
def test_etl_loads_both_into_the_embedded_warehouse(small_run: Path) -> None:
    with opened(StorageSettings(), small_run) as warehouse, warehouse.reading() as reader:
        assert reader.query("SELECT COUNT(*) FROM training").rows == ((1800,),)
        assert reader.query("SELECT COUNT(DISTINCT model) FROM fact_metric").rows == ((3,),)

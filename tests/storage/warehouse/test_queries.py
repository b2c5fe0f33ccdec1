"""Tests of sporeprint.storage.warehouse.queries: the same text, the same numbers, on both warehouses."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from sporeprint.common.timestamps import HOUR_US
from sporeprint.stats.bins import log_linear, quantile
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse import queries
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import SCHEMA, Rows, outcome, predictions, write

#: 23:30 of the first day is in hour 23.
LATER_US = 1_769_814_000_000_000


@pytest.fixture
def traffic(oltp: Engine, warehouse: Warehouse) -> Rows:
    rows = predictions(300)
    write(oltp, rows)
    write(oltp, [outcome(row["prediction_id"], "ep"[number % 3 == 0]) for number, row in enumerate(rows) if number % 2], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    return rows


def ask(warehouse: Warehouse, name: str, since_us: int = 0) -> list[dict[str, Any]]:
    with warehouse.reading() as reader:
        return queries.run(reader, name, since_us).dicts()


def cell(row: dict[str, Any]) -> tuple[object, ...]:
    return row["model"], row["version"], row["test_id"] or "", row["arm"] or ""


def test_volume_and_verdicts(traffic: Rows, warehouse: Warehouse) -> None:
    volume, verdicts, total = (ask(warehouse, name) for name in ("volume", "verdicts", "verdicts_total"))
    assert sum(row["answers"] for row in volume) == sum(row["answers"] for row in verdicts) == sum(row["answers"] for row in total) == 300
    assert {row["day"] for row in volume} == {"2026-01-30", "2026-01-31"}
    for row in total:
        mine = [found for found in traffic if cell(found) == cell(row)]
        assert [row[kind] for kind in ("answers", "negative", "positive", "unknown_answers")] == [
            len(mine),
            *(sum(found["verdict"] == verdict for found in mine) for verdict in ("edible", "poisonous", "unknown")),
        ]
    for row in volume:
        assert math.isclose(sum(found["share"] for found in verdicts if (found["day"], cell(found)) == (row["day"], cell(row))), 1)


def test_false_negatives_have_their_denominators(traffic: Rows, warehouse: Warehouse) -> None:
    codes = {row["prediction_id"]: "ep"[number % 3 == 0] for number, row in enumerate(traffic) if number % 2}
    for row in ask(warehouse, "false_negative_total"):
        said = [found for found in traffic if cell(found) == cell(row) and found["verdict"] == "edible"]
        known = [codes[found["prediction_id"]] for found in said if found["prediction_id"] in codes]
        assert (row["said_negative"], row["outcome_known"], row["were_positive"]) == (len(said), len(known), known.count("p"))
        assert row["share"] == (known.count("p") / len(known) if known else None)
    daily = ask(warehouse, "false_negative")
    assert sum(row["outcome_known"] for row in daily) == sum(row["outcome_known"] for row in ask(warehouse, "false_negative_total")) > 0


def test_latency_is_that_of_the_histogram(traffic: Rows, warehouse: Warehouse) -> None:
    for row in ask(warehouse, "latency_total"):
        values = np.array(sorted(found["latency_us"] for found in traffic if cell(found) == cell(row)), dtype=float)
        low, high = log_linear(values)
        assert math.isclose(row["mean_ms"], values.mean() / 1000)
        assert math.isclose(row["sd_ms"], values.std(ddof=1) / 1000)
        for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
            ends, counts = np.unique(np.stack([np.floor(low), np.ceil(high)]), axis=1, return_counts=True)
            assert math.isclose(row[name], quantile(ends[0].tolist(), ends[1].tolist(), counts.tolist(), share) / 1000)
    assert len(ask(warehouse, "latency")) == len(ask(warehouse, "volume"))


@pytest.mark.parametrize("name", [*queries.DAILY, *queries.TOTAL])
def test_only_from_a_time_on(traffic: Rows, warehouse: Warehouse, name: str) -> None:
    counted = next(column for column in ("answers", "said_negative") if column in ask(warehouse, name)[0])
    later = [row for row in traffic if row["created_us"] >= LATER_US // HOUR_US * HOUR_US]
    wanted = sum(row["verdict"] == "edible" for row in later) if counted == "said_negative" else len(later)
    rows = ask(warehouse, name, LATER_US // HOUR_US * HOUR_US)
    # Every answer is counted once, or once for each column.
    times = len({row["feature"] for row in rows}) if name == "cells_total" else 1
    assert sum(row[counted] for row in rows) == wanted * times


def test_every_file_is_a_question(root: Path) -> None:
    files = {path.stem for path in (root / "src/sporeprint/storage/warehouse/sql").glob("*.sql")}
    assert files == {*queries.DAILY, *queries.TOTAL} - set(queries.WITHOUT_DAY)


def test_a_time_is_a_number() -> None:
    assert "hour_us >= 5\n" in queries.text("volume", 5)
    with pytest.raises(ValueError, match="invalid literal"):
        queries.text("volume", "0 OR 1=1")  # type: ignore[arg-type]

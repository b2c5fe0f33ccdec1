"""What the monitor asks about different rows: a row that is asked again counts once, the same on both engines."""

import json
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine

from sporeprint.monitoring.windows import HOUR_US
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse import monitoring_queries, queries, row_queries
from sporeprint.storage.warehouse.monitoring_queries import PredictionScope
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.row_queries import RowOutcomes
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import BEGIN_US, MINUTE_US, SCHEMA, Rows, outcome, predictions, write

FIRST_US = BEGIN_US - BEGIN_US % HOUR_US
LAST_US = FIRST_US + 24 * HOUR_US
CELL = PredictionScope("xgboost", 1)


def asked(number: int, size: float, **given: Any) -> dict[str, Any]:
    """An answer "edible" to a row of this size, so many minutes after the begin."""
    row = predictions(1)[0]
    at = BEGIN_US + number * MINUTE_US
    said = {"verdict": "edible", "prediction": "e", "probability": size / 1000}
    same = {"model": "xgboost", "version": 1, "test_id": None, "arm": None, **said}
    features = json.dumps({"cap-shape": "x", "size": size})
    return {**row, **same, "prediction_id": f"{at:016x}-{number}", "created_us": at, "features": features, **given}


def hours(rows: Rows) -> list[int]:
    return sorted({row["created_us"] - row["created_us"] % HOUR_US for row in rows})


def test_a_row_that_is_asked_again_counts_once(oltp: Engine, warehouse: Warehouse) -> None:
    rows = [asked(number, 1.0) for number in range(20)] + [asked(20 + number, 2.0 + number) for number in range(10)]
    # The same mushroom under another version is another trial, and so is one of another window.
    rows += [asked(30, 1.0, version=2), asked(31, 2.0, version=2), asked(300, 1.0)]
    write(oltp, rows)
    write(oltp, [outcome(row["prediction_id"], "p" if number < 19 else "e") for number, row in enumerate(rows)], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    with warehouse.reading() as reader:
        every = row_queries.row_outcomes(reader, CELL, FIRST_US, LAST_US)
        windows = row_queries.row_outcomes(reader, CELL, FIRST_US, LAST_US, length_us=4 * HOUR_US)
        first = row_queries.negative_outcomes(reader, CELL, "edible", "p", LAST_US)
        labelled = row_queries.labelled(reader, CELL, hours(rows), SCHEMA)
        sampled = row_queries.sampled(reader, CELL, hours(rows[:30]), SCHEMA)
        scores = row_queries.scores(reader, CELL, hours(rows[:30]), SCHEMA)
        worth = row_queries.independent_share(reader, CELL, hours(rows[:30]))
        report = queries.run(reader, "false_negative_total", 0).dicts()
    assert [(row["version"], row["outcome_known"], row["different_rows"], row["different_positive"]) for row in report] == [
        (1, 31, 11, 0),
        (2, 2, 2, 0),
    ]
    # The newest outcome of the row says that it was edible; the first, which the promise counts, that it was not.
    assert every == [RowOutcomes(0, "edible", "e", "e", 11, 0)]
    assert sorted(windows) == [RowOutcomes(0, "edible", "e", "e", 11, 0), RowOutcomes(1, "edible", "e", "e", 1, 0)]
    assert first == (11, 1)
    assert (labelled.height, sampled.height, scores.by_verdict[0].total) == (11, 11, 11)
    assert labelled["class"].to_list() == ["e"] * 11
    assert scores.by_verdict[0].mean == pytest.approx(np.mean([1, *range(2, 12)]) / 1000)
    assert worth == pytest.approx(30 / (20 * 20 + 10))


def test_a_correction_of_an_outcome_counts(oltp: Engine, warehouse: Warehouse) -> None:
    rows = [asked(0, 1.0), asked(1, 1.0), asked(2, 2.0)]
    write(oltp, rows)
    ids = [row["prediction_id"] for row in rows]
    write(oltp, [outcome(ids[0], "e"), outcome(ids[1], "e"), outcome(ids[2], "e"), outcome(ids[0], "p", 2)], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    with warehouse.reading() as reader:
        assert row_queries.negative_outcomes(reader, CELL, "edible", "p", LAST_US) == (2, 1)


def test_where_no_row_repeats_all_answers_count(oltp: Engine, warehouse: Warehouse) -> None:
    rows = [asked(number, number + 1.0) for number in range(200)]
    write(oltp, rows)
    write(oltp, [outcome(row["prediction_id"], "ep"[number % 4 == 0]) for number, row in enumerate(rows)], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    with warehouse.reading() as reader:
        assert row_queries.negative_outcomes(reader, CELL, "edible", "p", LAST_US) == (200, 50)
        assert row_queries.independent_share(reader, CELL, hours(rows)) == 1
        some = row_queries.row_outcomes(reader, CELL, FIRST_US, LAST_US, most=50)
        again = row_queries.row_outcomes(reader, CELL, FIRST_US, LAST_US, most=50)
        none = row_queries.row_outcomes(reader, PredictionScope("nobody", 1), FIRST_US, LAST_US)
        assert row_queries.independent_share(reader, CELL, []) == 1
    # A share of the rows, always the same ones.
    assert 25 <= sum(row.rows for row in some) <= 75
    assert (sorted(again), none) == (sorted(some), [])


def test_answers_of_an_earlier_release_count_for_themselves(oltp: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = [asked(number, 1.0) for number in range(5)], [asked(10 + number, 1.0) for number in range(5)]
    write(oltp, old)
    with monkeypatch.context() as earlier:
        import polars as pl

        earlier.setattr(
            "sporeprint.storage.warehouse.counted_page.row_hashes",
            lambda texts, schema: pl.Series("row_hash", [None] * len(texts), dtype=pl.Int64),
        )
        sync_warehouse(oltp, warehouse, SCHEMA)
    write(oltp, new)
    write(oltp, [outcome(row["prediction_id"], "e") for row in (*old, *new)], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    with warehouse.reading() as reader:
        assert row_queries.row_outcomes(reader, CELL, FIRST_US, LAST_US) == [RowOutcomes(0, "edible", "e", "e", 6, 5)]
        assert row_queries.labelled(reader, CELL, hours(new), SCHEMA).height == 6
        assert row_queries.independent_share(reader, CELL, hours(new)) == pytest.approx(10 / (5 + 25))
        by_hour = {hour: count for hour, _, count in monitoring_queries.outcomes_by_hour(reader, CELL, FIRST_US, LAST_US)}
    assert sum(by_hour.values()) == 10

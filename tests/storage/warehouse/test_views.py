"""The views for other tools: the same in both engines, equal to what the tables say, made again where they differ, and documented."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from mariadb_server import MariaDB
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse.mariadb_warehouse import MariaDBWarehouse
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from sporeprint.storage.warehouse.views import VIEWS, View
from warehouse_support import SCHEMA, outcome, predictions, write


def rows(warehouse: Warehouse, sql: str) -> list[dict[str, Any]]:
    with warehouse.reading() as reader:
        return reader.query(sql).dicts()


def test_the_views_say_what_the_predictions_were(warehouse: Warehouse, oltp: Engine) -> None:
    made = predictions(200)
    write(oltp, made)
    known = [outcome(row["prediction_id"], row["prediction"]) for row in made[:50]]
    known += [outcome(row["prediction_id"], "p" if row["prediction"] == "e" else "e") for row in made[50:60]]
    corrected = outcome(made[0]["prediction_id"], "p" if made[0]["prediction"] == "e" else "e", revision=2)
    write(oltp, [*known, corrected], tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    shown = {row["prediction_id"]: row for row in rows(warehouse, "SELECT * FROM v_predictions")}
    assert set(shown) == {row["prediction_id"] for row in made}
    for row in made:
        found = shown[row["prediction_id"]]
        assert {name: found[name] for name in ("model", "version", "verdict", "probability", "test_id", "arm")} == {
            name: row[name] for name in ("model", "version", "verdict", "probability", "test_id", "arm")
        }
        assert found["created_at"].isoformat(timespec="microseconds") == _utc(row["created_us"])
        assert found["latency_ms"] == pytest.approx(row["latency_us"] / 1000, abs=1e-4)
    assert sum(row["is_correct"] or 0 for row in shown.values()) == 49
    assert sum(row["is_correct"] is None for row in shown.values()) == 140
    by_day = rows(
        warehouse, "SELECT CAST(day AS CHAR(10)) AS day, SUM(predictions) AS n FROM v_daily_predictions GROUP BY day ORDER BY day"
    )
    expected: dict[str, int] = {}
    for row in made:
        day = _utc(row["created_us"])[:10]
        expected[day] = expected.get(day, 0) + 1
    assert {row["day"]: row["n"] for row in by_day} == expected
    matrix = rows(warehouse, "SELECT SUM(predictions) AS n FROM v_daily_outcomes WHERE prediction = outcome")
    assert matrix[0]["n"] == 49
    shapes = rows(warehouse, "SELECT SUM(predictions) AS n FROM v_daily_features WHERE feature = 'cap-shape'")
    assert shapes[0]["n"] == 200


def _utc(microseconds: int) -> str:
    from datetime import UTC, datetime, timedelta

    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)).replace(tzinfo=None).isoformat(timespec="microseconds")


@pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)
def test_a_view_has_its_columns(warehouse: Warehouse, oltp: Engine, view: View) -> None:
    write(oltp, predictions(2))
    sync_warehouse(oltp, warehouse, SCHEMA)
    with warehouse.reading() as reader:
        assert reader.query(f"SELECT * FROM {view.name}").columns == tuple(column.name for column in view.columns)


def test_names_and_columns_stay() -> None:
    """What other people's queries are written against: only ever added to."""
    assert {name: [column.name for column in view.columns][:6] for name, view in VIEWS.items()} == {
        "v_predictions": ["prediction_id", "batch_id", "created_at", "model", "version", "test_id"],
        "v_daily_predictions": ["day", "model", "version", "test_id", "arm", "verdict"],
        "v_daily_outcomes": ["day", "model", "version", "test_id", "arm", "verdict"],
        "v_daily_features": ["day", "model", "version", "test_id", "arm", "feature"],
        "v_models": ["model", "version", "ref", "registered_at", "is_simulated", "run_id"],
        "v_metrics": ["run_id", "evaluated_at", "model", "part", "metric", "value"],
        "v_ab_tests": ["test_id", "name", "created_at", "mode", "status", "model_a"],
    }


def test_an_account_that_may_not_make_views_loads_all_the_same(mariadb: MariaDB, oltp: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A warehouse whose accounts were made by an earlier release; with the right given, the next load makes them."""
    database = mariadb.create_database()
    rights = "SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX, CREATE TEMPORARY TABLES"
    mariadb.execute("CREATE OR REPLACE USER viewless@'%' IDENTIFIED BY 'secret'")
    mariadb.execute(f"GRANT {rights} ON `{database}`.* TO viewless@'%'")
    url = mariadb.url(database=database).set(username="viewless", password="secret")
    write(oltp, predictions(3))
    warehouse = MariaDBWarehouse(url)
    try:
        sync_warehouse(oltp, warehouse, SCHEMA)
        assert "may not make views" in caplog.text
        assert rows(warehouse, "SELECT COUNT(*) AS n FROM fact_prediction") == [{"n": 3}]
        mariadb.execute(f"GRANT CREATE VIEW ON `{database}`.* TO viewless@'%'")
        write(oltp, predictions(1, first=3))
        sync_warehouse(oltp, warehouse, SCHEMA)
        assert rows(warehouse, "SELECT COUNT(*) AS n FROM v_predictions") == [{"n": 4}]
    finally:
        warehouse.close()


def test_the_page_and_the_picture_are_as_the_tables(root: Path) -> None:
    done = subprocess.run([sys.executable, root / "scripts/docs/warehouse.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

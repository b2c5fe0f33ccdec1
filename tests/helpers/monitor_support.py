"""A service's answers without a service: rows that a registered version scored, in the database, with their outcomes, and synced."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Engine

from sporeprint import settings
from sporeprint.inference.model_bundle import Bundle
from sporeprint.pipelines.batch_prediction import score_frame
from sporeprint.registry.registry import Registry
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import tables
from sporeprint.storage.oltp.migrate import upgrade
from sporeprint.storage.warehouse.factory import open_warehouse
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import write

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
#: 2026-03-01 00:00 UTC.
BEGIN_US = 1_772_323_200_000_000


def version(root: Path) -> tuple[Bundle, str, int]:
    """What is in production: the version, its name, its number."""
    registry = Registry(root / "models/registry")
    found = registry.resolve("production")
    return registry.load(found.ref), found.name, found.version


def answered(root: Path, frame: pl.DataFrame, *, first_us: int, step_us: int, name: str = "", **given: Any) -> list[dict[str, Any]]:
    """Rows of the database: a question after the other, answered by what is in production."""
    bundle, model, number = version(root)
    said = score_frame(frame, bundle)
    features = frame.select(bundle.schema.columns.keys()).to_dicts()
    rows = []
    for place, (asked, answer) in enumerate(zip(features, said.to_dicts(), strict=True)):
        at = first_us + place * step_us
        rows.append(
            {
                "prediction_id": f"{name}{at:016x}-{place}",
                "created_us": at,
                "model": model,
                "version": number,
                "prediction": answer["prediction"],
                "probability": answer["probability"],
                "threshold": 0.1,
                "novelty_p": answer["novelty_p"],
                "verdict": answer["verdict"],
                "unseen": json.dumps([column for column in (answer["unseen"] or "").split(",") if column]),
                "features": json.dumps(asked),
                "test_id": None,
                "arm": None,
                "latency_us": 1000,
                "worker": "w",
                "recorded_us": at,
                **given,
            }
        )
    return rows


def outcomes(rows: list[dict[str, Any]], codes: pl.Series, *, delay_us: int = HOUR_US) -> list[dict[str, Any]]:
    """What came true of answers, so much later."""
    return [
        {
            "prediction_id": row["prediction_id"],
            "revision": 1,
            "outcome": code,
            "source": "lab",
            "observed_us": row["created_us"],
            "recorded_us": row["created_us"] + delay_us,
        }
        for row, code in zip(rows, codes.to_list(), strict=False)
        if code is not None
    ]


@contextmanager
def service(root: Path, config: Mapping[str, Any]) -> Iterator["Service"]:
    """The databases of a work directory."""
    chosen = settings.parse(config)
    engine = connect(urls.oltp(chosen.storage, root, {}))
    upgrade(engine)
    warehouse = open_warehouse(urls.olap(chosen.storage, root, {}))
    yield Service(root, chosen, engine, warehouse)
    warehouse.close()
    engine.dispose()


class Service:
    """The databases of a work directory, open."""

    def __init__(self, root: Path, chosen: settings.Settings, engine: Engine, warehouse: Warehouse) -> None:
        self.root, self.settings, self.engine, self.warehouse = root, chosen, engine, warehouse

    def say(self, rows: list[dict[str, Any]], true: list[dict[str, Any]] | None = None) -> None:
        """Answers and outcomes, into the database and the warehouse."""
        if rows:
            write(self.engine, rows)
        if true:
            write(self.engine, true, tables.outcome)
        sync_warehouse(self.engine, self.warehouse, self.settings.dataset, root=self.root)

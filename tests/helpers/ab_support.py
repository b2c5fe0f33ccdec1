"""A/B tests, over HTTP and in a database: what the tests of them share."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Engine, insert

from sporeprint.storage.engine import writing
from sporeprint.storage.oltp.ab_tests import AbTest
from sporeprint.storage.oltp.ab_unit_counts import VerdictCodes
from sporeprint.storage.oltp.tables import prediction

TWO = {"model_a": "models/xgboost.joblib", "model_b": "models/registry/logistic_regression/v1/logistic_regression.joblib"}


VERDICT_CODES = VerdictCodes({"edible": 0, "poisonous": 1, "unknown": 2}, "p")


def made(client: Any, name: str = "first", **given: Any) -> dict[str, Any]:
    found = client.post("/ab-tests", json={"name": name, **TWO, "independent": True, **given})
    assert found.status_code == 201, found.text
    return dict(found.json())


def until(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def row(number: int, test: AbTest | None, unit: str, verdict: str, *, arm: str = "a", shadow: Any = None) -> dict[str, Any]:
    return {
        "prediction_id": f"p{number}",
        "created_us": number,
        "model": "m",
        "version": 1,
        "prediction": "e",
        "verdict": verdict,
        "unseen": "[]",
        "features": json.dumps({"x": number}),
        "test_id": test and test.test_id,
        "arm": arm if test else None,
        "unit_id": unit if test else None,
        "shadow": None if shadow is None else json.dumps(shadow),
        "latency_us": 1_000 + number,
        "worker": "w",
        "recorded_us": number,
    }


def other(verdict: str) -> dict[str, Any]:
    return {"mode": "shadow", "verdict": verdict, "latency_us": 500, "latency_a_us": 400}


def ship(engine: Engine, rows: Sequence[dict[str, Any]]) -> None:
    with writing(engine) as connection:
        connection.execute(insert(prediction), list(rows))

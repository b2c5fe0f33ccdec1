"""A/B tests over HTTP: what the tests of it share."""

import time
from collections.abc import Callable
from typing import Any

TWO = {"model_a": "models/xgboost.joblib", "model_b": "models/registry/logistic_regression/v1/logistic_regression.joblib"}


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

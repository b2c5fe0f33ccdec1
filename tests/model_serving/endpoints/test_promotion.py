"""Back over HTTP to what served before. Promotions themselves are in test_access.py, because of who may do them."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ab_support import until
from serving_support import Client, start_server, write_config
from sporeprint.registry.registry import Registry
from sporeprint.storage.oltp.audit_log import changes


@pytest.fixture
def registry(small_copy: Path) -> Registry:
    """What serves moved twice, of which the second move is to be taken back."""
    registry = Registry(small_copy / "models/registry")
    for ref in ("xgboost", "decision_tree"):
        registry.set_production(ref, reason="before", now=datetime.now(UTC), by="test")
    return registry


def served(client: Client) -> str:
    return str(client.post("/predict", json={}).json()["model"])


def test_what_serves_goes_back_and_said_again_it_does_not_go_further(started: Callable[..., Client], registry: Registry) -> None:
    client = started()
    assert served(client) == "decision_tree"
    moves = len(registry.aliases().history)
    for _ in range(3):
        found = client.post("/models/decision_tree/rollback", json={"version": 1, "alias": "production", "reason": "complaints"})
        assert found.status_code == 200, found.text
        assert found.json() == {
            "ref": "xgboost/v1",
            "before": "decision_tree/v1",
            "alias": "production",
            "production": "xgboost/v1",
            "reason": "complaints",
        }
    last = registry.aliases().history[moves:]
    assert [(move.alias, move.origin, move.to, move.by, move.undo) for move in last] == [
        ("production", "decision_tree/v1", "xgboost/v1", "key:local", True)
    ]
    until(lambda: served(client) == "xgboost", 10)
    engine = client.app.state.service.database.engine
    trace = changes(engine, "decision_tree/v1")
    assert [change.action for change in trace] == ["model.rolling_back", "model.rolled_back"] * 3
    assert trace[1].details == {"alias": "production", "reason": "complaints", "to": "xgboost/v1"}
    assert {change.actor for change in trace} == {"key:local"}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("xgboost", {"version": 1, "alias": "production"}, 409, "production stands for decision_tree/v1, not for xgboost/v1"),
        ("xgboost", {"version": 1}, 409, "'xgboost' has no earlier version to go back to"),
        ("xgboost", {"version": 9}, 404, "has no version 'v9'; it has: v1"),
        ("xgbost", {"version": 1}, 404, "did you mean 'xgboost'?"),
        ("xgboost", {}, 400, "field 'version' is missing: expected a number, as in 2 or v2"),
        ("xgboost", {"version": 1, "alias": "boss"}, 422, "field 'alias': expected one of champion, production; got 'boss'"),
        ("xgboost", {"version": 1, "reason": ""}, 422, "field 'reason'"),
        ("production", {"version": 1}, 400, "is no name of a model"),
    ],
)
def test_what_cannot_be_taken_back(
    started: Callable[..., Client], registry: Registry, path: str, body: dict[str, Any], status: int, says: str
) -> None:
    before = registry.aliases()
    found = started().post(f"/models/{path}/rollback", json=body)
    assert (found.status_code, found.headers["content-type"]) == (status, "application/problem+json")
    assert says in found.json()["detail"]
    assert registry.aliases() == before


def test_a_version_that_moved_meanwhile_is_left_alone(started: Callable[..., Client], registry: Registry) -> None:
    client = started()
    assert client.post("/models/decision_tree/rollback?version=v1&alias=production").status_code == 200
    registry.set_production("logistic_regression", reason="somebody else", now=datetime.now(UTC))
    found = client.post("/models/decision_tree/rollback?version=v1&alias=production")
    assert (found.status_code, found.json()["type"]) == (409, "urn:sporeprint:problem:conflict")
    assert registry.resolve("production").ref == "logistic_regression/v1"


def test_an_answer_says_what_has_become_of_a_promotion(started: Callable[..., Client], registry: Registry) -> None:
    client = started(serving={"batch_deadline_s": 0.05})
    found = client.post("/models/xgboost/promote?version=1&alias=production")
    assert (found.status_code, found.headers["retry-after"]) == (503, "1")
    detail = found.json()["detail"]
    assert "the promotion of xgboost/v1 was stopped: the gate took longer than 0.05 s" in detail
    assert "in production is decision_tree/v1" in detail
    assert registry.resolve("production").ref == "decision_tree/v1"
    engine = client.app.state.service.database.engine
    assert [change.action for change in changes(engine, "xgboost/v1")] == ["model.promoting", "model.stopped"]


def test_without_data_to_hold_two_models_against_nothing_is_promoted(started: Callable[..., Client], small_copy: Path) -> None:
    shutil.rmtree(small_copy / "data", ignore_errors=True)
    found = started().post("/models/xgboost/promote?version=1&alias=production")
    assert found.status_code == 409
    assert "no data has been loaded in .; run sporeprint load first" in found.json()["detail"]


# --- a winner ------------------------------------------------------------------------------------------------------------


def test_the_winner_of_a_test_serves_and_goes_back_over_http(small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    registry = Registry(small_copy / "models/registry")
    registry.set_production("xgboost", reason="test", now=datetime.now(UTC))
    config = write_config({**small_config, "ab_testing": {"evaluate_every_s": 0.3}, "gate": {"margin": 0.99}}, tmp_path / "config.yaml")
    server = start_server(small_copy, config)
    client = server.client
    try:
        given = {"name": "first", "model_a": "xgboost", "model_b": "logistic_regression", "auto_conclude": True, "guardrails": []}
        assert client.post("/ab-tests", json=given).status_code == 201
        said = []
        models = ("xgboost", "logistic_regression")
        # What both know: an answer of unknown counts as an error of either.
        rows = [
            row
            for row in registry.load("production").golden.rows
            if all(client.post(f"/predict?model={model}", json=row).json()["verdict"] != "unknown" for model in models)
        ]
        for number in range(240):
            found = client.post("/predict?ab_test=first", json=rows[number % len(rows)], headers={"X-Unit-Id": f"u{number}"}).json()
            right, wrong = ("e", "p") if found["verdict"] == "edible" else ("p", "e")
            # A is wrong in half of all.
            parse_bool = wrong if found["ab_test"]["arm"] == "a" and number % 4 < 2 else right
            said.append({"prediction_id": found["prediction_id"], "outcome": parse_bool})
        until(lambda: client.get("/health").json()["journal"]["depth"] == 0)
        done = client.post("/predictions/outcomes", json=said).json()
        assert (done["created"], done["problems"]) == (240, 0)
        ended = until(lambda: (test := client.get("/ab-tests/first").json())["status"] == "concluded" and test, 60)
        assert ended["verdict"] == "b", ended["interim_analysis"]
        until(lambda: [event["event"] for event in client.get("/ab-tests/first").json()["events"]][-1] == "promoted", 60)
        until(lambda: client.post("/predict", json={}).json()["model"] == "logistic_regression", 10)
        assert client.get("/models").json()["production"] == "logistic_regression/v1"
        assert client.post("/predict?ab_test=first", json={}).json()["ab_test"] is None
        assert registry.history("production")[-1].by == "ab-test:first"
        back = client.post("/models/logistic_regression/rollback?version=1&alias=production")
        assert (back.status_code, back.json()["production"]) == (200, "xgboost/v1")
        until(lambda: client.post("/predict", json={}).json()["model"] == "xgboost", 10)
    finally:
        server.end()

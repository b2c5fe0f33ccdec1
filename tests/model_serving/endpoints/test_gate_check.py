"""What the gate would say, without anything moving."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from registry_support import further_version
from serving_support import Client
from sporeprint.model_serving.endpoints import gate_check
from sporeprint.registry.registry import Registry


@pytest.fixture
def registry(small_copy: Path) -> Registry:
    registry = Registry(small_copy / "models/registry")
    registry.set_production("decision_tree", reason="before", now=datetime.now(UTC))
    return registry


def test_it_says_what_passes_with_numbers_and_moves_nothing(started: Callable[..., Client], registry: Registry) -> None:
    further_version(registry, "xgboost/v1", simulated=True)
    before = registry.aliases()
    answer = started(gate={"margin": 0.99}).post("/models/xgboost/check", json={"version": 2, "alias": "production"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["ref"], body["replaces"]) == ("xgboost/v2", ["xgboost/v1", "decision_tree/v1"])
    same = [each for each in body["checks"] if each["against"] == "xgboost/v1"]
    assert [(each["name"], each["passes"]) for each in same] == [("parity", True), ("contract", True), ("accuracy", True)]
    assert same[0]["value"] <= same[0]["limit"]
    last = body["checks"][-1]
    assert (last["name"], last["passes"]) == ("simulated", False)
    assert "--allow-simulated" in last["says"]
    assert registry.aliases() == before


def test_invented_rows_are_promoted_only_with_an_explicit_yes(started: Callable[..., Client], registry: Registry) -> None:
    further_version(registry, "xgboost/v1", simulated=True)
    client = started(gate={"margin": 0.99})
    move = {"version": 2, "alias": "production", "reason": "a try"}
    refused = client.post("/models/xgboost/promote", json=move)
    assert (refused.status_code, "SIMULATED" in refused.json()["detail"]) == (409, True)
    assert client.post("/models/xgboost/promote", json={**move, "allow_simulated": True}).json()["production"] == "xgboost/v2"


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("xgboost", {"version": 9}, 404, "has no version 'v9'"),
        ("xgboost", {}, 400, "field 'version' is missing"),
        ("xgboost", {"version": 1, "alias": "boss"}, 422, "field 'alias'"),
        ("production", {"version": 1}, 400, "is no name of a model"),
    ],
)
def test_what_cannot_be_checked(client: Client, path: str, body: dict[str, object], status: int, says: str) -> None:
    answer = client.post(f"/models/{path}/check", json=body)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True)


@pytest.fixture
def taken() -> Iterator[threading.Lock]:
    gate_check._TURN.acquire()
    yield gate_check._TURN
    gate_check._TURN.release()


def test_one_at_a_time(client: Client, taken: threading.Lock) -> None:
    answer = client.post("/models/xgboost/check", json={"version": 1})
    assert (answer.status_code, "another check is under way" in answer.json()["detail"]) == (503, True)


def test_without_test_rows_it_says_so_and_the_next_one_may_begin(client: Client) -> None:
    for _ in range(2):
        answer = client.post("/models/xgboost/check", json={"version": 1})
        assert answer.status_code == 409

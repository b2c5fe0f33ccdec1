"""A/B tests over HTTP where something is in the way: too many of them, others' labels, a promotion that cannot be just now."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from ab_support import TWO, made, until
from serving_support import Client
from sporeprint.ab_testing.design import Design
from sporeprint.common.locks import run_lock
from sporeprint.registry.registry import Registry
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import ab_tests, audit_log
from sporeprint.storage.oltp.tables import ab_test


@pytest.fixture
def client(started: Callable[..., Client]) -> Client:
    return started(ab_testing={"evaluate_every_s": 0.2}, gate={"margin": 0.99})


def engine_of(client: Client) -> Any:
    return client.app.state.service.database.engine


def copies(client: Client, name: str, count: int, **changes: Any) -> None:
    """Further tests like one that was made, written to the database directly."""
    engine = engine_of(client)
    with writing(engine) as connection:
        row = connection.execute(select(ab_test).where(ab_test.c.name == name)).mappings().one()
        rows = [{**row, "test_id": f"t{number:026x}", "name": f"{name}-{number}", **changes} for number in range(count)]
        connection.execute(insert(ab_test), rows)


def test_ten_thousand_tests_are_no_burden(client: Client) -> None:
    made(client)
    assert client.post("/ab-tests/first/conclude?winner=A&reason=tried").status_code == 200
    copies(client, "first", 10_000)
    made(client, "another")
    began = time.process_time()
    page = client.get("/ab-tests?limit=1000").json()
    assert time.process_time() - began < 5
    assert (len(page["tests"]), page["tests"][0]["name"]) == (1000, "another")
    following = client.get(f"/ab-tests?limit=1000&before={page['next']}").json()
    assert not {test["test_id"] for test in page["tests"]} & {test["test_id"] for test in following["tests"]}
    assert client.get("/ab-tests?limit=1001").status_code == 400
    said = client.post("/predict?ab_test=another", json={}).json()
    assert said["ab_test"]["name"] == "another"
    # One that has ended is answered by what serves.
    assert client.post("/predict?ab_test=first-9999", json={}).json()["ab_test"] is None


def test_not_too_many_run_at_a_time(client: Client) -> None:
    made(client)
    copies(client, "first", ab_tests.MOST_RUNNING - 1)
    refused = client.post("/ab-tests", json={"name": "one-more", **TWO, "independent": True})
    assert refused.status_code == 409
    assert refused.json()["detail"] == "100 A/B tests run, which is as many as may; conclude one first"
    engine = engine_of(client)
    with reading(engine) as connection:
        assert connection.execute(select(func.count()).where(ab_test.c.name == "one-more")).scalar() == 0
    assert client.post("/ab-tests/first/conclude?winner=A&reason=tried").status_code == 200
    assert [change.action for change in audit_log.changes(engine, made(client, "one-more")["test_id"])] == ["ab_test.created"]


def test_a_label_counts_in_the_test_of_its_prediction_only(client: Client) -> None:
    for name in ("first", "second"):
        made(client, name, min_units=1)
    ids = {
        name: client.post(f"/predict?ab_test={name}", json={}, headers={"X-Unit-Id": "u"}).json()["prediction_id"]
        for name in ("first", "second")
    }
    without = client.post("/predict", json={}).json()["prediction_id"]

    def labels(name: str) -> Any:
        return (client.get(f"/ab-tests/{name}").json()["interim_analysis"] or {}).get("labels")

    for prediction_id in (ids["first"], without):
        assert client.post(f"/predictions/{prediction_id}/outcome", json={"outcome": "p"}).status_code == 201
    until(lambda: labels("first") == 1)
    assert labels("second") == 0
    # Nobody's prediction is no test's.
    assert client.post("/predictions/nobodys/outcome", json={"outcome": "p"}).status_code == 404


def test_concluded_while_a_promotion_runs_the_winner_serves_when_it_is_done(client: Client, small_copy: Path) -> None:
    registry = Registry(small_copy / "models/registry")
    registry.set_production("xgboost", reason="test", now=datetime.now(UTC))
    made(client)
    with run_lock(small_copy):
        ended = client.post("/ab-tests/first/conclude?winner=B&reason=tried")
        assert (ended.status_code, ended.json()["verdict"]) == (200, "b")
        assert [event["event"] for event in ended.json()["events"]] == ["created", "concluded"]
        until(lambda: client.post("/predict", json={}).json()["model"] == "xgboost")  # from the server's next look at the registry on
        assert client.post("/ab-tests/first/conclude?winner=A&reason=tried").status_code == 409
        # No test runs any more: longer than a worker would go on looking for its own sake.
        time.sleep(1)
    until(lambda: client.post("/predict", json={}).json()["model"] == "logistic_regression", 60)
    until(lambda: [event["event"] for event in client.get("/ab-tests/first").json()["events"]] == ["created", "concluded", "promoted"])
    assert registry.production() == registry.resolve("logistic_regression/v1")


def test_a_design_is_kept_as_it_was_made(client: Client) -> None:
    test = made(client)
    found = ab_tests.get(engine_of(client), test["test_id"])
    assert isinstance(found.design, Design)
    assert replace(found.design, name="first") == found.design
    assert client.post("/ab-tests?name=first&traffic_split=0.1", json=TWO).status_code == 409
    assert client.get("/ab-tests/first").json()["traffic_split"] == 0.5


def test_a_model_for_another_table(started: Callable[..., Client], small_config: dict[str, Any]) -> None:
    columns = dict(list(small_config["dataset"]["columns"].items())[1:])
    client = started(dataset={"columns": columns})
    refused = client.post("/ab-tests", json={"name": "first", **TWO})
    assert (refused.status_code, refused.headers["content-type"]) == (422, "application/problem+json")
    assert refused.json()["detail"].startswith("xgboost/v1 has another schema, so that it cannot take part: ")
    assert client.get("/ab-tests").json()["tests"] == []


def test_a_winner_that_was_deleted_is_not_promoted_and_nothing_else_is(client: Client, small_copy: Path) -> None:
    registry = Registry(small_copy / "models/registry")
    registry.set_production("xgboost", reason="test", now=datetime.now(UTC))
    made(client)
    shutil.rmtree(registry.root / "logistic_regression/v1")
    ended = client.post("/ab-tests/first/conclude?winner=B&reason=tried")
    assert (ended.status_code, ended.json()["verdict"]) == (200, "b")
    assert [event["event"] for event in ended.json()["events"]] == ["created", "concluded", "promotion_refused"]
    assert "it cannot be promoted" in ended.json()["events"][-1]["details"]["reason"]
    assert registry.resolve("production").ref == "xgboost/v1"
    until(lambda: client.post("/predict", json={}).json()["model"] == "xgboost")  # a worker looks once a second


@pytest.mark.parametrize("name", ["a%2Fb", "%F0%9F%8D%84", "x" * 300, "%00", "%2e%2e", "a%20b", "'", "%"])
def test_names_that_no_test_has(client: Client, name: str) -> None:
    for path in (f"/ab-tests/{name}", f"/ab-tests/{name}/report", f"/ab-tests/{name}/disagreements"):
        assert client.get(path).status_code == 404, path
    concluded = client.post(f"/ab-tests/{name}/conclude?winner=A&reason=tried")
    assert (concluded.status_code, concluded.headers["content-type"]) == (404, "application/problem+json")
    assert client.post(f"/predict?ab_test={name}", json={}).status_code in (400, 404)

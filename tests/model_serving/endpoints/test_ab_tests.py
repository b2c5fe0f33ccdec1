"""`/ab-tests` and the routing of `/predict`, over real models, a real journal and a real database."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import make_url

from ab_support import TWO, made, until
from mariadb_server import MariaDB
from serving_support import NO_TLS, Client, Server, start_server, write_config
from sporeprint.ab_testing.assignment import Assignment
from sporeprint.model_serving.runtime.ab_routing import row_unit
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import api_keys, migrate
from sporeprint.storage.oltp.api_keys import Role


def query(**given: Any) -> str:
    return str(httpx.QueryParams({**TWO, **given}))


@pytest.fixture
def client(started: Callable[..., Client]) -> Client:
    return started(ab_testing={"evaluate_every_s": 0.2})


# --- making --------------------------------------------------------------------------------------------------------------


def test_the_call_of_the_documentation(client: Client) -> None:
    found = client.post(f"/ab-tests?{query(name='xgboost_comparison', traffic_split=0.5)}")
    assert found.status_code == 201, found.text
    said = found.json()
    assert (said["model_a"], said["model_b"], said["traffic_split"]) == ("xgboost/v1", "logistic_regression/v1", 0.5)
    assert found.headers["location"] == f"/ab-tests/{said['test_id']}"
    assert client.get(found.headers["location"]).json()["name"] == "xgboost_comparison"
    assert client.get("/ab-tests/xgboost_comparison").json()["events"][0]["actor"] == "key:local"
    assert [test["name"] for test in client.get("/ab-tests").json()["tests"]] == ["xgboost_comparison"]


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"traffic_split": "0"}, 400, "expected above 0"),
        ({"traffic_split": "1"}, 400, "expected below 1"),
        ({"traffic_split": "1.5"}, 400, "expected below 1"),
        ({"traffic_split": "nan"}, 400, "expected a finite number"),
        (
            {"traffic_split": "half"},
            400,
            "expected a number; got 'half'",
        ),
        ({"auto_conclude": "perhaps"}, 400, "expected true or false"),
        ({"model_b": "models/xgboost.joblib"}, 400, "two different versions"),
        ({"model_b": "nope"}, 404, "no model 'nope'"),
        ({"model_b": "/etc/passwd"}, 404, "passwd"),
        ({"name": "a/b"}, 400, "A-Za-z0-9"),
        ({"name": "\N{MUSHROOM}"}, 400, "A-Za-z0-9"),
        ({"name": "x" * 300}, 400, "at most 128 characters"),
        ({"nmae": "x"}, 400, "did you mean 'name'"),
    ],
)
def test_what_cannot_be_made(client: Client, given: dict[str, str], status: int, says: str) -> None:
    found = client.post(f"/ab-tests?{query(**{'name': 'first', **given})}")
    assert (found.status_code, found.headers["content-type"]) == (status, "application/problem+json")
    assert says in found.json()["detail"]
    assert client.get("/ab-tests").json() == {"tests": [], "next": None}


def test_what_stands_against_it(client: Client) -> None:
    made(client, independent=False)
    again = client.post("/ab-tests", json={"name": "first", **TWO, "independent": True})
    assert (again.status_code, again.json()["type"]) == (409, "urn:sporeprint:problem:conflict")
    shared = client.post("/ab-tests", json={"name": "second", **TWO})
    assert shared.status_code == 409
    assert "independent=true" in shared.json()["detail"]
    assert client.post("/ab-tests", json=["first"]).status_code == 400
    assert client.post("/ab-tests", json={"name": "third"}).json()["detail"].startswith("an A/B test needs model_a, model_b")


def test_what_is_not_there(client: Client) -> None:
    for path in ("/ab-tests/nope", "/ab-tests/nope/report", "/ab-tests/nope/disagreements"):
        assert client.get(path).status_code == 404
    assert client.post("/ab-tests/nope/conclude").status_code == 404
    assert client.get("/ab-tests?limit=0").status_code == 400
    assert client.get("/ab-tests?status=going").status_code == 400
    row = dict[str, Any]()
    assert client.post("/predict?ab_test=nope", json=row).status_code == 404
    assert client.post("/predict?ab_test=nope&model=xgboost", json=row).status_code == 400


# --- routing -------------------------------------------------------------------------------------------------------------


def test_a_unit_keeps_its_arm_and_the_answer_says_it(client: Client) -> None:
    test = made(client)
    arms = Assignment(test["salt"], 0.5)
    models = {"a": "xgboost", "b": "logistic_regression"}
    for unit in [*(f"u{number}" for number in range(12)), "Zürich", "u1"]:
        found = client.post("/predict?ab_test=first", json={}, headers={"X-Unit-Id": unit.encode()})
        answer = found.json()
        assert answer["ab_test"] == {"test_id": test["test_id"], "name": "first", "arm": arms.arm(unit), "degraded": False}
        assert answer["model"] == models[arms.arm(unit)]
        kept = client.get(f"/predictions/{answer['prediction_id']}").json()
        assert (kept["test_id"], kept["arm"], kept["unit_id"]) == (test["test_id"], arms.arm(unit), unit)
    again = [client.post("/predict?ab_test=first", json={}).json() for _ in range(2)]  # without a name, its row is the unit
    assert again[0]["prediction_id"] != again[1]["prediction_id"]
    for alone in again:
        assert alone["ab_test"]["arm"] == arms.arm(row_unit({}))
        assert client.get(f"/predictions/{alone['prediction_id']}").json()["unit_id"] == row_unit({})
    assert client.post("/predict", json={}).json()["ab_test"] is None


@pytest.mark.parametrize("unit", [b"", b"x" * 256, b"\xff", b"a\tb"])
def test_what_is_no_unit(client: Client, unit: bytes) -> None:
    made(client)
    found = client.post("/predict?ab_test=first", json={}, headers={"X-Unit-Id": unit})
    assert found.status_code == 400
    assert "X-Unit-Id" in found.json()["detail"]


def test_a_column_can_be_the_unit(client: Client, small_config: dict[str, Any]) -> None:
    columns = small_config["dataset"]["columns"]
    name, column = next((name, each) for name, each in columns.items() if each.get("values"))
    test = made(client, unit=f"field:{name}")
    arms = Assignment(test["salt"], 0.5)
    for code in list(column["values"])[:4]:
        assert client.post("/predict?ab_test=first", json={name: code}).json()["ab_test"]["arm"] == arms.arm(code)


def test_an_idempotent_request_keeps_its_part(client: Client) -> None:
    made(client)
    headers = {"Idempotency-Key": "k", "X-Unit-Id": "u"}
    first, again = (client.post("/predict?ab_test=first", json={}, headers=headers).json() for _ in range(2))
    assert first == again
    assert first["ab_test"]["arm"] in "ab"


def test_the_default_route_has_the_gate_of_a_promotion(started: Callable[..., Client]) -> None:
    client = started(gate={"margin": 0}, serving={"deadline_s": 300})
    found = client.post(f"/ab-tests?{query(name='first', default_route='true')}")
    assert found.status_code == 409, found.text
    assert "logistic_regression/v1 does not pass the gate: accuracy" in found.json()["detail"]
    assert client.get("/ab-tests").json()["tests"] == []


def test_the_default_route(started: Callable[..., Client]) -> None:
    client = started(gate={"margin": 0.99})
    test = made(client, default_route=True)
    assert client.post("/predict", json={}).json()["ab_test"]["test_id"] == test["test_id"]
    assert client.post("/predict?model=production", json={}).json()["ab_test"] is None
    client.post("/ab-tests/first/conclude?winner=A&reason=tried")
    assert client.post("/predict", json={}).json()["ab_test"] is None
    assert client.post("/predict?ab_test=first", json={}).status_code == 200


def test_in_shadow_mode_a_answers_and_both_are_kept(client: Client) -> None:
    test = made(client, mode="shadow")
    answer = client.post("/predict?ab_test=first", json={}).json()
    assert (answer["model"], answer["ab_test"]["arm"]) == ("xgboost", "a")
    shadow = client.get(f"/predictions/{answer['prediction_id']}").json()["shadow"]
    assert (shadow["model"], shadow["version"], shadow["arm"]) == ("logistic_regression", 1, "b")
    alone = client.post("/predict?model=logistic_regression", json={}).json()
    assert {name: shadow[name] for name in ("verdict", "prediction", "probability")} == {
        name: alone[name] for name in ("verdict", "prediction", "probability")
    }
    seen = until(
        lambda: (found := client.get("/ab-tests/first").json())["interim_analysis"] and found["interim_analysis"]["units"] and found
    )
    assert seen["interim_analysis"]["units"] == 1
    assert seen["test_id"] == test["test_id"]


@pytest.mark.parametrize("mode", ["split", "shadow"])
def test_a_version_that_is_deleted_during_its_test(started: Callable[..., Client], small_copy: Path, mode: str) -> None:
    first = started(worker="w1")
    test = made(first, mode=mode)
    shutil.rmtree(small_copy / "models/registry/logistic_regression/v1")
    assert first.post("/predict?ab_test=first", json={}).status_code == 200  # it is in memory
    second = started(worker="w2")
    units = [{"X-Unit-Id": f"u{number}"} for number in range(16)]
    answers = [second.post("/predict?ab_test=first", json={}, headers=unit).json() for unit in units]
    assert {answer["model"] for answer in answers} == {"xgboost"}
    degraded = [answer["ab_test"].get("degraded", False) for answer in answers]
    assert degraded == [mode == "split" and answer["ab_test"]["arm"] == "b" for answer in answers]
    view = second.get("/ab-tests/first").json()
    assert [event["event"] for event in view["events"]] == ["created", "degraded"]
    assert view["events"][1]["details"]["ref"] == "logistic_regression/v1"
    assert test["test_id"] == view["test_id"]


# --- from the first request to the last -----------------------------------------------------------------------------------


def test_labels_change_what_is_seen_and_the_page_shows_it(client: Client) -> None:
    made(client, min_units=1)
    ids = [
        client.post("/predict?ab_test=first", json={}, headers={"X-Unit-Id": f"u{number}"}).json()["prediction_id"] for number in range(20)
    ]
    until(lambda: (client.get("/ab-tests/first").json()["interim_analysis"] or {}).get("units") == 20)
    for prediction_id in ids[:5]:
        assert client.post(f"/predictions/{prediction_id}/outcome", json={"outcome": "p"}).status_code == 201
    until(lambda: client.get("/ab-tests/first").json()["interim_analysis"]["labels"] == 5)
    page = client.get("/ab-tests/first/report")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "Units by arm" in page.text
    assert "http" not in page.text.replace("http-equiv", "")
    ended = client.post("/ab-tests/first/conclude").json()
    assert (ended["status"], ended["verdict"]) == ("concluded", "inconclusive")
    assert client.post("/ab-tests/first/conclude").status_code == 409
    assert client.post("/ab-tests/first/conclude?winner=C").status_code == 400
    assert client.post("/ab-tests/first/conclude", json={"winer": "A"}).status_code == 422


def test_a_worker_ends_a_test_by_its_rule(client: Client) -> None:
    made(client, auto_conclude=True, min_units=1, max_units=13)
    for number in range(14):
        client.post("/predict?ab_test=first", json={}, headers={"X-Unit-Id": f"u{number}"})
    ended = until(lambda: (found := client.get("/ab-tests/first").json())["status"] == "concluded" and found)
    assert (ended["verdict"], ended["events"][-1]["actor"]) == ("inconclusive", "worker:w")
    assert "ends without a winner" in ended["events"][-1]["details"]["sentence"]
    # Its name goes on being answered, by what serves.
    until(lambda: client.post("/predict?ab_test=first", json={}).json()["ab_test"] is None)
    assert client.get("/ab-tests?status=running").json()["tests"] == []


def test_many_tests_are_listed_page_by_page(client: Client) -> None:
    names = [f"n{number}" for number in range(5)]
    for name in names:
        made(client, name)
    found, following = [], ""
    for _ in range(3):
        page = client.get(f"/ab-tests?limit=2{following}").json()
        found += [test["name"] for test in page["tests"]]
        following = f"&before={page['next']}"
    assert page["next"] is None
    assert found == names[::-1]


def test_disagreements_are_listed_page_by_page(client: Client) -> None:
    made(client, mode="shadow", model_b="decision_tree")
    assert client.get("/ab-tests/first/disagreements").json() == {"awaiting_label": 0, "disagreements": [], "next": None}
    assert client.get("/ab-tests/first/disagreements?before=x").status_code == 400


def test_roles(client: Client, started: Callable[..., Client]) -> None:
    engine = client.app.state.service.database.engine
    secrets = {
        role: api_keys.create(engine, role.value, frozenset({role}), now_us=1, actor="t")[1]
        for role in (Role.READ, Role.OPERATE, Role.PREDICT)
    }
    until(lambda: client.get("/ab-tests").status_code == 401)
    asked = {role: {"Authorization": f"Bearer {secret}"} for role, secret in secrets.items()}
    assert client.post(f"/ab-tests?{query(name='first')}", headers=asked[Role.READ]).status_code == 403
    assert client.post(f"/ab-tests?{query(name='first')}", headers=asked[Role.OPERATE]).status_code == 201
    assert client.get("/ab-tests/first", headers=asked[Role.PREDICT]).status_code == 403
    assert client.get("/ab-tests/first", headers=asked[Role.READ]).status_code == 200
    assert client.post("/ab-tests/first/conclude", headers=asked[Role.READ]).status_code == 403


# --- several workers -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "mariadb"])
def workers(request: pytest.FixtureRequest, small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> Iterator[Server]:
    """A server of four workers."""
    config = {**small_config, "ab_testing": {"evaluate_every_s": 0.3}}
    env = {}
    if request.param == "mariadb":
        database: MariaDB = request.getfixturevalue("mariadb")
        env["SPOREPRINT_OLTP_URL"] = database.url(database=database.create_database()).render_as_string(hide_password=False)
        engine = connect(make_url(env["SPOREPRINT_OLTP_URL"]))
        migrate.upgrade(engine)
        engine.dispose()
    path = write_config(config, tmp_path / "config.yaml")
    server = start_server(small_copy, path, "--workers", "4", env=env)
    yield server
    server.end()


def workers_of(server: Server) -> list[int]:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_every_unit_has_one_arm_and_counts_are_those_answered_when_workers_are_killed(workers: Server) -> None:
    server = workers
    test = made(server.client)
    arms, answered = Assignment(test["salt"], 0.5), dict[str, str]()
    with httpx.Client(base_url=server.client.base_url, timeout=20, verify=NO_TLS) as client:
        for number in range(600):
            if number in (200, 400):
                os.kill(workers_of(server)[0], signal.SIGKILL)
            unit = f"u{number % 300}"
            for _ in range(50):
                try:
                    found = client.post("/predict?ab_test=first", json={}, headers={"X-Unit-Id": unit, "Idempotency-Key": f"k{number}"})
                except httpx.TransportError:
                    time.sleep(0.1)
                    continue
                if found.status_code == 200:
                    break
                time.sleep(0.1)
            assert found.status_code == 200, found.text
            arm = found.json()["ab_test"]["arm"]
            assert answered.setdefault(unit, arm) == arm == arms.arm(unit)
        seen = until(
            lambda: (
                (found := client.get("/ab-tests/first").json())["interim_analysis"] and found["interim_analysis"]["units"] == 300 and found
            ),
            60,
        )
    totals = seen["interim_analysis"]["totals"]
    for arm in "ab":
        assert sum(totals[arm]["answers"]) == sum(each == arm for each in answered.values())

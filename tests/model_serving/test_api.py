"""Every endpoint through ASGI, with a real registry, a real journal and a real database."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from journal_support import until
from serving_support import Client
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.predictor import explain_row, parse_row, predict_row
from sporeprint.registry.registry import Registry
from sporeprint.storage.journal.file import find
from sporeprint.storage.prediction_record import PredictionRecord

Start = Callable[..., Client]
FIELDS = {
    *("prediction_id", "prediction", "probability", "verdict", "novelty_p", "threshold", "model", "version", "unseen"),
    *("outside", "reason", "unknown", "look_at", "simulated", "ab_test", "explanation", "probability_of"),
}


@pytest.fixture(scope="module")
def bundle(shared_root: Path) -> Bundle:
    return Registry(shared_root / "models/registry").load("production")


@pytest.fixture(scope="module")
def row(bundle: Bundle) -> dict[str, Any]:
    return dict(bundle.golden.rows[0])


# --- one row -------------------------------------------------------------------------------------------------------------


def test_answers_are_those_of_the_library(client: Client, bundle: Bundle) -> None:
    for given in bundle.golden.rows:
        found = client.post("/predict", json=dict(given)).json()
        expected = predict_row(bundle, given)
        assert found["probability"] == pytest.approx(expected.probability, abs=1e-6)
        for name in ("prediction", "verdict", "novelty_p", "threshold", "reason", "unknown"):
            assert found[name] == getattr(expected, name)
        assert (found["unseen"], found["outside"]) == (list(expected.unseen), list(expected.outside))


def test_an_answer_has_its_fields_and_its_times(client: Client, row: dict[str, Any]) -> None:
    found = client.post("/predict", json=row)
    assert found.status_code == 200
    assert set(found.json()) == FIELDS
    assert list(found.json())[:5] == ["prediction_id", "verdict", "reason", "unknown", "look_at"]
    assert found.json()["probability_of"] == "poisonous"
    stages = [part.split(";dur=") for part in found.headers["server-timing"].split(", ")]
    assert [name for name, _ in stages] == ["parse", "encode", "score", "guard", "log"]
    assert all(float(duration) >= 0 for _, duration in stages)
    assert found.headers["cache-control"] == "no-store"


def test_hyphens_or_underscores_codes_or_words_in_any_order(client: Client, row: dict[str, Any], bundle: Bundle) -> None:
    words = {name.replace("-", "_"): bundle.schema.word(name, value) if isinstance(value, str) else value for name, value in row.items()}
    first, second = client.post("/predict", json=row).json(), client.post("/predict", json=dict(reversed(words.items()))).json()
    assert first.pop("prediction_id") != second.pop("prediction_id")
    assert first == second


def test_a_value_never_seen_is_never_answered_with_edible(client: Client, row: dict[str, Any]) -> None:
    found = client.post("/predict", json={**row, "cap-shape": "star"}).json()
    assert (found["verdict"], found["unseen"]) == ("unknown", ["cap-shape"])
    assert found["reason"].startswith("never seen in training: cap-shape")
    assert client.post("/predict", json={}).status_code == 200  # missing is missing, no error


def test_reasons_on_request(client: Client, row: dict[str, Any], bundle: Bundle) -> None:
    found = client.post("/predict?explain=true", json=row).json()
    expected = explain_row(bundle, parse_row(row, bundle.schema))
    explanation = found["explanation"]
    assert [each["column"] for each in explanation["attributions"]] == [each.column for each in expected.attributions]
    assert expected.nearest is not None
    assert explanation["nearest"]["row"] == expected.nearest.row
    assert set(found) == FIELDS


def test_another_model(client: Client, row: dict[str, Any], shared_root: Path) -> None:
    found = client.post("/predict?model=logistic_regression", json=row).json()
    bundle = Registry(shared_root / "models/registry").load("logistic_regression")
    assert (found["model"], found["version"]) == ("logistic_regression", 1)
    assert found["probability"] == pytest.approx(predict_row(bundle, row).probability, abs=1e-6)
    tree = client.post("/predict?model=decision_tree/v1", json=row).json()
    assert tree["probability"] == pytest.approx(
        predict_row(Registry(shared_root / "models/registry").load("decision_tree"), row).probability, abs=1e-6
    )


@pytest.mark.parametrize(
    ("path", "status", "kind", "says"),
    [
        ("/predict?model=xgbost", 404, "no-such-model", "no model 'xgbost' is registered (did you mean 'xgboost'?)"),
        ("/predict?model=xgboost/v9", 404, "no-such-model", "has no version 'v9'; it has: v1"),
        ("/predict?model=../../etc/passwd", 404, "no-such-model", "without '..'"),
        ("/predict?model=/etc/passwd", 404, "no-such-model", "outside the registry"),
        ("/predict?model=", 404, "no-such-model", "names no model"),
        ("/predict?ab_test=colours", 404, "not-found", "there is no A/B test 'colours'"),
        ("/predict?explain=perhaps", 400, "bad-parameter", "parameter 'explain': expected true or false, got 'perhaps'"),
        ("/predict?modle=xgboost", 400, "bad-parameter", "unknown parameter 'modle' (did you mean 'model'?)"),
        ("/predict?model=a&model=b", 400, "bad-parameter", "given twice"),
        ("/predict/batch?explain=true", 404, "not-found", "a batch is not explained"),
        ("/predit", 404, "not-found", "nothing is at '/predit'"),
    ],
)
def test_what_cannot_be_answered_is_a_problem(
    client: Client, row: dict[str, Any], shared_root: Path, path: str, status: int, kind: str, says: str
) -> None:
    found = client.post(path, json=row)
    assert (found.status_code, found.headers["content-type"]) == (status, "application/problem+json")
    problem = found.json()
    assert (problem["type"], problem["status"]) == (f"urn:sporeprint:problem:{kind}", status)
    assert says in problem["detail"]
    assert str(shared_root) not in found.text


def test_another_method_is_a_problem(client: Client) -> None:
    found = client.get("/predict")
    assert (found.status_code, found.headers["allow"], found.json()["title"]) == (405, "POST", "Method Not Allowed")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/csv"}, 415),
        ({"content-type": ""}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-type": "application/json", "content-encoding": "br"}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 200),
        ({"content-length": "1000000000"}, 413),
        ({"content-length": "many"}, 413),
        ({"idempotency-key": "a b"}, 400),
        ({"idempotency-key": "x" * 256}, 400),
        ({"x-unit-id": "u" * 256}, 400),  # though no test runs
    ],
)
def test_headers(client: Client, headers: dict[str, str], status: int) -> None:
    assert client.post("/predict", content=b"{}", headers=headers).status_code == status


def test_what_a_request_without_a_body_says_of_one_makes_no_difference(client: Client) -> None:
    for headers in ({"content-type": "text/plain"}, {"content-type": "application/json", "content-encoding": "gzip"}):
        assert client.get("/batches/nothing/file", headers=headers).status_code == 404


def test_below_a_path_of_a_gateway(started: Start) -> None:
    client = started(serving={"root_path": "/shroom"})
    assert client.get("/openapi.json").json()["servers"] == [{"url": "/shroom"}]
    assert client.post("/predict", json={}).status_code == 200
    slash = client.post("/predict/", json={})
    assert (slash.status_code, "location" in slash.headers) == (404, False)
    made = client.post("/ab-tests", json={"name": "t", "model_a": "xgboost", "model_b": "decision_tree"})
    assert made.headers["location"] == f"/shroom/ab-tests/{made.json()['test_id']}"


def test_a_large_body_without_a_length_is_refused(client: Client) -> None:
    async def parts() -> Any:
        for _ in range(1_000):
            yield b" " * 1_000

    found = client.post("/predict", content=parts())
    assert (found.status_code, found.json()["type"]) == (413, "urn:sporeprint:problem:too-large")


# --- kept ----------------------------------------------------------------------------------------------------------------


def test_an_answer_is_kept_before_it_is_given(client: Client, row: dict[str, Any], shared_root: Path) -> None:
    said = client.post("/predict", json=row).json()
    found = client.get(f"/predictions/{said['prediction_id']}").json()
    for name in FIELDS - {"outside", "reason", "unknown", "look_at", "simulated", "ab_test", "explanation", "probability_of"}:
        assert found[name] == said[name]
    assert found["features"] == row
    assert found["outcome"] is None
    data = find(shared_root / "data/journal", said["prediction_id"])
    assert data is None or PredictionRecord.from_bytes(data).worker == "w"


def test_an_answer_is_found_after_it_was_shipped(started: Start, row: dict[str, Any], small_copy: Path) -> None:
    client = started(storage={"journal": {"interval_s": 0.05}})
    said = client.post("/predict", json=row).json()
    until(lambda: find(small_copy / "data/journal", said["prediction_id"]) is None)
    assert client.get(f"/predictions/{said['prediction_id']}").json()["probability"] == said["probability"]


def test_no_such_prediction(client: Client) -> None:
    for name in ("nothing", "x" * 65, "é"):
        found = client.get(f"/predictions/{name}")
        assert (found.status_code, found.json()["title"]) == (404, "There is no such thing")
    assert client.post("/predictions/nothing/outcome", json={"outcome": "p"}).status_code == 404


def test_outcomes_are_idempotent_and_can_be_corrected(client: Client, row: dict[str, Any]) -> None:
    path = f"/predictions/{client.post('/predict', json=row).json()['prediction_id']}/outcome"
    first = client.post(path, json={"outcome": "edible", "source": "laboratory", "observed": "2026-01-31T12:00:00+01:00"})
    assert first.status_code == 201
    assert (first.json()["outcome"], first.json()["revision"], first.json()["observed"]) == ("e", 1, "2026-01-31T11:00:00.000Z")
    again = client.post(path, json={"outcome": "e", "source": "laboratory"})
    assert (again.status_code, again.json()["revision"], again.json()["created"]) == (200, 1, False)
    corrected = client.post(path, json={"outcome": "p", "source": "laboratory"})
    assert (corrected.status_code, corrected.json()["revision"]) == (201, 2)
    assert client.get(path.removesuffix("/outcome")).json()["outcome"]["outcome"] == "p"


def test_an_outcome_with_a_key_is_written_once(client: Client, row: dict[str, Any]) -> None:
    path = f"/predictions/{client.post('/predict', json=row).json()['prediction_id']}/outcome"
    key = {"idempotency-key": f"outcome-{time.time_ns()}"}
    assert client.post(path, json={"outcome": "p"}, headers=key).json()["revision"] == 1
    assert client.post(path, json={"outcome": "e"}).json()["revision"] == 2
    assert client.post(path, json={"outcome": "p"}, headers=key).json()["revision"] == 1
    other = client.post(path, json={"outcome": "e"}, headers=key)
    assert (other.status_code, "was used for another outcome" in other.json()["detail"]) == (422, True)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"outcome": "toxic"}, 422, "field 'outcome': expected one of e (edible), p (poisonous)"),
        ({}, 422, "field 'outcome' is missing"),
        ({"outcome": "p", "sorce": "x"}, 422, "unknown field 'sorce' (did you mean 'source'?)"),
        ({"outcome": "p", "source": ""}, 422, "field 'source'"),
        ({"outcome": "p", "observed": "yesterday"}, 422, "field 'observed'"),
        ({"outcome": "p", "observed": "2026-01-31T12:00:00"}, 422, "with its zone"),
        (["p"], 400, "expected a JSON object with some of the fields"),
    ],
)
def test_an_outcome_that_is_none(client: Client, body: Any, status: int, says: str) -> None:
    found = client.post("/predictions/any/outcome", json=body)
    assert found.status_code == status
    assert says in found.json()["detail"]


# --- idempotent ----------------------------------------------------------------------------------------------------------


def test_the_same_key_gives_the_same_answer(client: Client, row: dict[str, Any]) -> None:
    key = {"idempotency-key": f"key-{time.time_ns()}"}
    first, *others = client.post_all("/predict", [{"json": row, "headers": key}] * 8)
    assert {found.text for found in others} == {first.text}
    assert [found.headers.get("idempotency-replayed") for found in (first, *others)].count(None) == 1
    other = client.post("/predict", json={**row, "cap-shape": None}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "urn:sporeprint:problem:key-used")


def test_a_key_gives_the_same_answer_after_it_was_shipped_and_another_model_serves(
    started: Start, row: dict[str, Any], small_copy: Path
) -> None:
    client, key = started(storage={"journal": {"interval_s": 0.05}}), {"idempotency-key": "once"}
    said = client.post("/predict?model=xgboost", json=row, headers=key)
    until(lambda: find(small_copy / "data/journal", said.json()["prediction_id"]) is None)
    again = client.post("/predict?model=logistic_regression", json=row, headers=key)
    assert again.json() == said.json()


def test_a_batch_with_a_key_is_written_once(client: Client, row: dict[str, Any]) -> None:
    key = {"idempotency-key": f"batch-{time.time_ns()}"}
    first = client.post("/predict/batch?model=xgboost", json=[row, {}], headers=key)
    again = client.post("/predict/batch?model=logistic_regression", json=[row, {}], headers=key)
    assert (first.json(), again.headers["idempotency-replayed"]) == (again.json(), "true")


# --- batches -------------------------------------------------------------------------------------------------------------


def test_a_batch_answers_what_single_rows_are_answered(client: Client, bundle: Bundle) -> None:
    rows = [dict(given) for given in bundle.golden.rows]
    found = client.post("/predict/batch", json={"rows": rows}).json()
    assert (found["rows"], found["problems"]) == (len(rows), 0)
    for number, (given, said) in enumerate(zip(rows, found["predictions"], strict=True)):
        single = client.post("/predict", json=given).json()
        assert (said["row"], said["prediction_id"]) == (number, f"{found['batch_id']}:{number}")
        assert said["probability"] == pytest.approx(single["probability"], abs=1e-6)
        for name in ("prediction", "verdict", "novelty_p", "unseen", "outside", "reason", "unknown", "look_at"):
            assert said[name] == single[name], name


def test_a_bad_row_does_not_harm_the_others(client: Client, row: dict[str, Any]) -> None:
    found = client.post("/predict/batch", json=[row, {"cap-shap": "x"}, 3, {"cap-diameter": -1}, row]).json()
    assert [(said["problem"] is not None, said["row"]) for said in found["predictions"]] == [
        (number in (1, 2, 3), number) for number in range(5)
    ]
    assert "did you mean 'cap-shape'" in found["predictions"][1]["problem"]["detail"]
    kept = client.get(f"/predictions/{found['predictions'][4]['prediction_id']}").json()
    assert (kept["batch_id"], kept["features"]) == (found["batch_id"], row)


def test_limits_of_a_batch(started: Start) -> None:
    client = started(serving={"max_batch_rows": 3, "max_batch_mb": 1})
    assert client.post("/predict/batch", json=[]).json()["predictions"] == []
    assert client.post("/predict/batch", json=[{}] * 3).status_code == 200
    found = client.post("/predict/batch", json=[{}] * 4)
    assert (found.status_code, found.json()["detail"]) == (413, "4 rows are given, at most 3 may be")
    assert client.post("/predict/batch", content=b"[" + b" " * (1 << 20) + b"]").status_code == 413
    assert client.post("/predict/batch", json={"row": []}).status_code == 400


# --- too much ------------------------------------------------------------------------------------------------------------


def test_more_than_can_be_worked_on_is_turned_away_at_once(started: Start, row: dict[str, Any]) -> None:
    client = started(serving={"max_in_flight": 2})
    found = client.post_all("/predict", [{"json": row}] * 20)
    turned_away = [answer for answer in found if answer.status_code == 503]
    assert turned_away
    assert {answer.status_code for answer in found} == {200, 503}
    assert (turned_away[0].headers["retry-after"], turned_away[0].json()["type"]) == ("1", "urn:sporeprint:problem:overloaded")
    assert client.post("/predict", json=row).status_code == 200


def test_a_full_journal_turns_away(started: Start, row: dict[str, Any]) -> None:
    client = started(storage={"journal": {"max_records": 2, "interval_s": 60}})
    until(lambda: client.post("/predict", json=row).status_code == 503, 10)
    found = client.post("/predict", json=row)
    assert (found.status_code, found.headers["retry-after"]) == (503, "1")
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
    assert client.get("/health").json()["status"] == "failing"


def test_who_sends_too_slowly_is_let_go(started: Start) -> None:
    client = started(serving={"deadline_s": 0.2})

    async def slow() -> Any:
        import asyncio

        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    begin = time.monotonic()
    assert client.post("/predict", content=slow()).status_code == 408
    assert time.monotonic() - begin < 4


def test_without_its_database_it_answers_and_says_so(
    started: Start, row: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Whether there are keys, nobody knows: only the first key of a container is taken.
    (tmp_path / "key").write_text("first-key-of-a-container-" + "x" * 20)
    monkeypatch.setenv("SPOREPRINT_BOOTSTRAP_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("SPOREPRINT_OLTP_URL", "mysql+pymysql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("SPOREPRINT_OLTP_PASSWORD", "secret-word")
    client, key = started(), {"idempotency-key": "k"}
    refused = client.post("/predict", json=row)
    assert (refused.status_code, refused.json()["type"]) == (401, "urn:sporeprint:problem:no-key")
    client.headers["x-api-key"] = (tmp_path / "key").read_text()
    said = client.post("/predict", json=row)
    assert said.status_code == 200
    assert client.post("/predict", json=row, headers=key).json() == client.post("/predict", json=row, headers=key).json()
    path = f"/predictions/{said.json()['prediction_id']}"
    found = client.get(path).json()
    assert (found["verdict"], found["outcome_unknown"]) == (said.json()["verdict"], "the database does not answer now")
    refused = client.post(f"{path}/outcome", json={"outcome": "p"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    health = client.get("/health")
    assert (health.status_code, health.json()["status"], health.json()["database"]["status"]) == (200, "degraded", "away")
    assert "secret-word" not in health.text + refused.text
    assert client.get("/health/ready").status_code == 200


# --- the service itself --------------------------------------------------------------------------------------------------


def test_health(client: Client) -> None:
    found = client.get("/health").json()
    assert (found["status"], found["model"]["status"], found["journal"]["status"], found["database"]["status"]) == ("ok",) * 4
    assert client.get("/health/live").json() == {"status": "live", "reason": None}
    assert client.get("/health/ready").json() == {"status": "ready", "reason": None}


def test_models_and_index(client: Client) -> None:
    found = client.get("/models").json()
    assert {model["name"]: model["versions"] for model in found["models"]} == {
        name: [f"{name}/v1"] for name in ("decision_tree", "logistic_regression", "xgboost")
    }
    assert client.get("/").json()["serving"] == found["serving"] == found["production"]


def test_metrics(started: Start, row: dict[str, Any]) -> None:
    client = started()
    client.post("/predict", json={**row, "cap-shape": "star"})
    client.post("/predict", content=b"{")
    found = client.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    lines = found.text.splitlines()
    for line in (
        'sporeprint_requests_total{endpoint="predict",status="200"} 1.0',
        'sporeprint_requests_total{endpoint="predict",status="400"} 1.0',
        'sporeprint_unseen_values_total{feature="cap-shape"} 1.0',
        'sporeprint_stage_seconds_count{stage="log"} 1.0',
        "sporeprint_model_fault 0.0",
    ):
        assert line in lines
    assert any(line.startswith("sporeprint_answers_total{") and 'verdict="unknown"' in line for line in lines)


def test_the_document_says_what_may_be_sent(client: Client, row: dict[str, Any]) -> None:
    found = client.get("/openapi.json").json()
    given = found["components"]["schemas"]["RowRequest"]
    assert given["properties"]["cap-diameter"]["description"] == "diameter of the cap, in cm"
    assert (given["properties"]["cap_diameter"]["minimum"], given["properties"]["cap_diameter"]["maximum"]) == (0.0, 100.0)
    assert "x = convex" in given["properties"]["cap-shape"]["description"]
    taken = {"cap-diameter": ("5.5", 5, None), "cap-shape": ("x", 1, 1.5, True, None)}
    types = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
    for name, values in taken.items():
        assert {types[type(value)] for value in values} == set(given["properties"][name]["type"])
        assert {client.post("/predict", json={name: value}).status_code for value in values} == {200}
    assert client.post("/predict", json=given["example"]).status_code == 200
    references = {part.split('"')[0] for part in json.dumps(found).split('"#/components/schemas/')[1:]}
    assert references <= set(found["components"]["schemas"])
    assert client.get("/docs").status_code == 200

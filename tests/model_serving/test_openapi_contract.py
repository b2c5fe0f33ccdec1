"""The OpenAPI document held against a real server: whatever is sent, every answer is as the document says, and none is a fault."""

import copy
import io
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import polars as pl
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.pytest.lazy import get_all_tests
from schemathesis.specs.openapi import checks as documented

from ab_support import until
from serving_support import Server, start_server, write_config
from sporeprint import settings
from sporeprint.model_serving.api import document
from sporeprint.model_serving.http.authentication import BOOTSTRAP_VARIABLE
from sporeprint.registry.registry import Registry
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from watch_support import add_evaluations, raise_alert

CONFIG = Path(__file__).resolve().parents[2] / "config/config.yaml"
#: What is asked of every answer.
CHECKS: list[Any] = [
    not_a_server_error,
    documented.status_code_conformance,
    documented.content_type_conformance,
    documented.response_headers_conformance,
    documented.response_schema_conformance,
    documented.unsupported_method,
    documented.allow_header_conformance,
]
#: Lists in which what is wrong has a problem in its place: the answer is good.
IN_THEIR_PLACE = ("predict_batch", "outcomes")
#: What an address may have in it.
IN_PATHS = ("prediction_id", "test_id", "name", "alert_id", "evaluation_id", "run_id", "batch_id", "version", "file")
KEY = "k" * 32
#: Longest that an answer may take where a process is started for it, to decode a file, plan a test or promote a model: on a busy machine.
ANSWER_S = 60
#: What a request may bring beside what the document names.
UNUSUAL = st.fixed_dictionaries(
    {},
    optional={
        "Accept": st.sampled_from(["", "*/*", "text/html", "application/xml;q=0.1", "x", ",;,", "application/json;q=nan", "a/b" * 900]),
        "Accept-Encoding": st.sampled_from(["gzip, br", "identity;q=0", "x", ""]),
        "Content-Encoding": st.sampled_from(["identity", "gzip", "x-unknown", ""]),
        "Content-Type": st.sampled_from(["", "json", "text/plain", "application/json; charset=utf-16", "multipart/form-data", "text/csv"]),
        "Range": st.sampled_from(["bytes=0-0", "bytes=9-1", "rows=1"]),
        "If-None-Match": st.just("*"),
        "Expect": st.sampled_from(["100-continue", "200-ok"]),
        "Origin": st.sampled_from(["null", "http://elsewhere.example"]),
        "Authorization": st.sampled_from(["", "Bearer", "Bearer x y", "Basic dTpw", "Bearer " + "x" * 4000]),
        "X-API-Key": st.text("spk_x0", max_size=60),
        "Cookie": st.sampled_from(["a=b; c", "=", "x" * 4000]),
        "Host": st.sampled_from(["localhost", "127.0.0.1:1", "elsewhere.example", "[::1]", "local host"]),
        "X-Request-Id": st.sampled_from(["", "a b", "\xff", "x" * 129, "<script>", "mine"]),
        "X-HTTP-Method-Override": st.just("DELETE"),
        "X-Forwarded-For": st.just("127.0.0.1, ::1"),
        "Traceparent": st.just("00-zz"),
        "Idempotency-Key": st.sampled_from(["", "\xe9", "k" * 256, "key-1"]),
        "X-Unit-Id": st.sampled_from(["", "\xff", "u" * 256, "u1"]),
    },
)


@schemathesis.serializer("application/vnd.apache.parquet")
def _as_bytes(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """What a file is, where it is to be none that can be read."""
    raw = getattr(value, "data", value)
    return raw if isinstance(raw, bytes) else str(raw).encode("utf-8", "surrogatepass")


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The same where an answer may have no member that is not documented."""
    found = copy.deepcopy(document)
    for schema in found["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return found


#: Cases of each operation; twenty times as many of unusual headers.
EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "15"))
DOCUMENT = document(settings.load_settings(CONFIG, environ={}).dataset)
HOW = schemathesis.Config.from_dict(
    {"generation": {"no-shrink": True, "deterministic": True}, "phases": {"coverage": {"generate-duplicate-query-parameters": True}}}
)
api = schemathesis.openapi.from_dict(closed(DOCUMENT), config=HOW)
OPERATIONS = [found.ok() for found in api.get_all_operations() if isinstance(found, Ok)]
BY_ID = {operation.definition.raw["operationId"]: operation for operation in OPERATIONS}


@pytest.fixture(scope="module")
def server(_small_run: Path, _small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("contract") / "work"
    shutil.copytree(_small_run, root)
    # The tree is promoted below and taken back: another one serves before, whichever was the best of so few rows.
    Registry(root / "models/registry").set_production("xgboost", reason="test", now=datetime.now(UTC))
    engine = connect(urls.oltp(settings.parse(_small).storage, root))
    add_evaluations(engine, 3)
    raise_alert(engine)
    engine.dispose()
    # With a key: the first one that a test makes would otherwise turn all the others away.
    (root / "key").write_text(KEY)
    config = write_config({**_small, "gate": {"margin": 0.99}}, root / "config.yaml")
    server = start_server(root, config, env={BOOTSTRAP_VARIABLE: str(root / "key")})
    yield server
    server.end()


@pytest.fixture(scope="module")
def session(server: Server) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["X-API-Key"] = KEY
        yield session


def test_the_document_is_the_servers(server: Server) -> None:
    assert server.client.get("/openapi.json").json() == DOCUMENT


@hypothesis.settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))
def answer_is_as_documented(case: "schemathesis.Case[Any]", server: Server, session: requests.Session) -> None:
    wrong = [] if case.operation.definition.raw["operationId"] in IN_THEIR_PLACE else [documented.negative_data_rejection]
    case.call_and_validate(base_url=str(server.client.base_url), session=session, checks=[*CHECKS, *wrong], timeout=ANSWER_S)


@pytest.mark.parametrize("operation_id", BY_ID)
def test_every_answer_is_as_documented(operation_id: str, server: Server, session: requests.Session) -> None:
    # `api.parametrize` makes the cases while tests are collected: five seconds, in each process of a run.
    (made,) = get_all_tests(
        schema=api.include(operation_id=operation_id), test_func=answer_is_as_documented, settings=None, given_kwargs={}
    )
    assert isinstance(made, Ok)
    _, ask = made.ok()
    ask(server=server, session=session)


@hypothesis.settings(
    max_examples=20 * EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.generate,), derandomize=True
)
@given(operation=st.sampled_from(OPERATIONS), headers=UNUSUAL, data=st.data())
def test_whatever_the_headers_say(
    operation: Any, headers: dict[str, str], data: st.DataObject, server: Server, session: requests.Session
) -> None:
    case = (
        operation.Case(
            path_parameters=dict.fromkeys(IN_PATHS, "nothing"),
            body=data.draw(st.sampled_from([{}, [], [{}], {"outcome": "p"}, {"version": 9}])),
            media_type="application/json",
        )
        if operation.method == "post"
        else operation.Case(path_parameters=dict.fromkeys(IN_PATHS, "nothing"))
    )
    case.call_and_validate(base_url=str(server.client.base_url), session=session, headers=headers, checks=CHECKS)


# --- what is good --------------------------------------------------------------------------------------------------------


class Asker:
    """Asks for what is there, and holds the answers against the document."""

    def __init__(self, server: Server, session: requests.Session) -> None:
        self._server, self._session = server, session
        self.done: set[str] = set()

    def __call__(
        self, operation_id: str, status: int = 200, *, media_type: str = "application/json", headers: Any = None, **given: Any
    ) -> Any:
        operation = BY_ID[operation_id]
        raw = given.pop("raw", None)
        if "body" in given:
            given["media_type"] = media_type
        case = operation.Case(**given)
        more: dict[str, Any] = {"timeout": ANSWER_S}
        if raw is not None:
            more |= {"data": raw, "headers": {"Content-Type": media_type, **(headers or {})}}
        found = case.call(base_url=str(self._server.client.base_url), session=self._session, **more)
        assert found.status_code == status, found.text
        case.validate_response(found, checks=CHECKS)
        self.done.add(operation_id)
        return found


def ask_about_batch(ask: Asker, batch: dict[str, Any]) -> None:
    """Everything about one stored batch."""
    ask("batch", **batch)
    for form in ("json", "csv", "parquet"):
        ask("batch_file", **batch, query={"format": form})
    assert ask("prediction_search", query=batch["path_parameters"]).json()["predictions"] != []


def ask_about_lists(ask: Asker) -> None:
    """Lists of what the database has."""
    for listing in ("prediction_search", "batches"):  # what the database has, which may take a moment
        until(lambda: ask(listing, query={"limit": 1}).json()["next"] is not None, 30)  # noqa: B023 -- called at once


def ask_about_models(ask: Asker) -> None:
    """Everything about registered versions; one is promoted, and taken back."""
    tree: dict[str, Any] = {"path_parameters": {"name": "decision_tree"}}
    version = {"name": "decision_tree", "version": 1}
    ask("model_version", path_parameters=version)
    ask("model_file", path_parameters={**version, "file": "metrics.json"})
    ask("model_compare", query={"a": "xgboost", "b": "decision_tree"})
    assert ask("gate_check", **tree, body={"version": 1, "alias": "production"}).json()["passes"]
    assert ask("promote", **tree, body={"version": 1, "alias": "production", "reason": "to see"}).json()["production"] == "decision_tree/v1"
    assert ask("rollback", **tree, query={"version": "v1", "alias": "production"}).json()["before"] == "decision_tree/v1"
    assert ask("models", query={"details": "true", "limit": 1}).json()["models"][0]["details"] is not None
    assert ask("alias_history", query={"limit": 1}).json()["next"] is not None


def test_good_answers_have_every_member_that_is_documented_and_no_other(server: Server, session: requests.Session, small_run: Path) -> None:
    ask = Asker(server, session)
    rows = [dict(row) for row in Registry(small_run / "models/registry").load("production").golden.rows]
    frame = pl.DataFrame([rows[0]] * 3)
    ids = [ask("predict", body=row, query={"explain": "true"}).json()["prediction_id"] for row in rows[:3]]
    for model in ("decision_tree", "logistic_regression"):
        ask("predict", body={}, query={"explain": "true", "model": model})
    ask("identify", body=rows[0])
    ask("schema", query={"model": "xgboost"})
    batch: dict[str, Any] = {"path_parameters": {"batch_id": ask("predict_batch", body=[rows[0], {"no-such": 1}, 7]).json()["batch_id"]}}
    ask_about_batch(ask, batch)
    for media_type, raw in (("text/csv", frame.write_csv().encode()), ("application/vnd.apache.parquet", parquet(frame))):
        assert ask("predict_batch", media_type=media_type, raw=raw).headers["content-type"][0].startswith(media_type)
        assert ask("predict_batch", media_type=media_type, raw=raw, headers={"Accept": "application/json"}).json()["rows"] == 3
    of_one = {"prediction_id": ids[0]}
    ask("prediction", path_parameters=of_one)
    ask("outcome", 201, path_parameters=of_one, body={"outcome": "edible", "observed": "2026-01-31T12:00:00Z"})
    ask("outcome", 200, path_parameters=of_one, body={"outcome": "edible", "observed": "2026-01-31T12:00:00Z"})
    assert ask("prediction", path_parameters=of_one, query={"explain": "true"}).json()["outcome"]["outcome"] == "e"
    ask_about_lists(ask)
    said = [{"prediction_id": each, "outcome": "p"} for each in ids] + [{"prediction_id": "none", "outcome": "p"}, {}]
    assert ask("outcomes", body=said).json()["problems"] == 2
    for media_type, raw in (
        ("text/csv", pl.DataFrame(said[:3]).write_csv().encode()),
        ("application/vnd.apache.parquet", parquet(pl.DataFrame(said[:3]))),
    ):
        assert ask("outcomes", media_type=media_type, raw=raw).json()["unchanged"] == 3
    for mode in ("split", "shadow"):
        given = {"name": mode, "model_a": "xgboost", "model_b": "decision_tree", "mode": mode, "independent": True}
        ask("ab_create", 201, body=given)
        answers = [ask("predict", body=row, query={"ab_test": mode}).json() for row in [{}, *rows[:30]]]
        ask("prediction", path_parameters={"prediction_id": answers[0]["prediction_id"]})
        test: dict[str, Any] = {"path_parameters": {"test_id": mode}}
        ask("ab_test", **test)
        ask("ab_report", **test)
        ask("ab_lease", **test, body={"count": 2})
        ask("ab_label", 404, **test, body={"prediction_id": "none", "outcome": "p"})  # a good one needs a disagreement that was counted
        ask("ab_conclude", **test, query={"winner": "A" if mode == "split" else "B", "reason": "to see"})
        ask("ab_disagreements", **test)
        assert ask("ab_test", **test).json()["interim_analysis"] is not None
    ask("ab_rollback", path_parameters={"test_id": "shadow"}, body={"reason": "to see"})
    ask("ab_plan", body={"rate_a": 0.2, "rate_b": 0.05, "per_day": 10})
    assert ask("ab_tests", query={"limit": 1}).json()["next"] is not None
    ask_about_models(ask)
    for operation_id in ("models", "metrics", "health", "live", "ready", "openapi", "docs", "index"):
        ask(operation_id)
    for operation_id in ("me", "activity", "streams", "evaluations", "settings", "keys", "audit"):
        ask(operation_id)
    alert = {"alert_id": ask("alerts").json()["alerts"][0]["alert_id"]}
    ask("alert", path_parameters=alert)
    ask("acknowledge", path_parameters=alert, body={"note": "seen"})
    for operation_id in ("evaluation", "evaluation_report"):
        ask(operation_id, path_parameters={"evaluation_id": "run-003"})
    run = {"run_id": ask("runs", query={"command": "etl"}).json()["runs"][0]["run_id"]}
    for operation_id in ("run", "rejected"):
        ask(operation_id, path_parameters=run)
    ask("rejected_file", 404, path_parameters=run)
    ask("create_key", 201, body={"name": "shop", "roles": ["read"]})
    ask("revoke_key", path_parameters={"name": "shop"})
    assert ask.done == set(BY_ID)


def parquet(frame: pl.DataFrame) -> bytes:
    raw = io.BytesIO()
    frame.write_parquet(raw)
    return raw.getvalue()

"""Who may call what: every role against every endpoint, keys that come, end and are lost, limits, and what nobody gets to see."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from journal_support import until
from mariadb_server import MariaDB
from serving_support import Client, Server
from sporeprint import settings as settings_of
from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import ConfigError
from sporeprint.model_serving.api import ROUTES, create_app
from sporeprint.model_serving.http.authentication import KEYS_FILE, REQUIRED_ROLES, AnyRole, TokenBucket, bootstrap_key
from sporeprint.model_serving.ui.routes import UI_ROUTES
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import api_keys, migrate
from sporeprint.storage.oltp.api_keys import Role
from sporeprint.storage.oltp.audit_log import changes

Serve = Callable[..., Server]
Keys = dict[str, str]
ENDPOINTS = [(route.path, next(iter(route.methods or ())), route.name) for route in ROUTES]
PAGES = {route.name for route in UI_ROUTES}
#: What an endpoint needs in its address, and a body that it takes.
BODY: dict[str, Any] = {
    "predict": {},
    "predict_batch": [{}],
    "identify": {},
    "outcome": {"outcome": "p"},
    "promote": {"version": 99},
    "rollback": {"version": 99},
    "outcomes": [{"prediction_id": "none", "outcome": "p"}],
    "create_key": {"name": "admin", "roles": ["read"]},
}


def now_us() -> int:
    return time.time_ns() // 1000


@pytest.fixture
def engine(small_settings: Settings, small_copy: Path) -> Iterator[Engine]:
    engine = connect(urls.oltp(small_settings.storage, small_copy))
    migrate.prepare(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def made(engine: Engine) -> Keys:
    """A key for each role."""
    return {role.value: api_keys.create(engine, role.value, frozenset({role}), now_us=now_us(), actor="test")[1] for role in Role}


@pytest.fixture
def row(small_copy: Path) -> dict[str, Any]:
    return dict(Registry(small_copy / "models/registry").load("production").golden.rows[0])


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def ask(client: Client, path: str, method: str, name: str, headers: dict[str, str]) -> Any:
    path = path.replace("{prediction_id}", "none").replace("/keys/{name}", "/keys/none").replace("{name}", "xgboost")
    body = {"json": BODY[name]} if name in BODY else {}
    return client.request(method, path, headers=headers, **body)


# --- roles ---------------------------------------------------------------------------------------------------------------


def test_every_endpoint_says_which_role_it_needs() -> None:
    assert set(REQUIRED_ROLES) == {name for _, _, name in ENDPOINTS} | PAGES
    open_inference = {"oip_live", "oip_ready", "oip_server"}  # its clients ask these before they have a key
    free = {"live", "ready", "openapi", "docs", "docs_asset", "index"} | open_inference
    assert {name for name, role in REQUIRED_ROLES.items() if role is None} - PAGES == free
    changing = {name for _, method, name in ENDPOINTS if method != "GET"}
    listing = {"oip_index", "ab_plan"}  # Triton's list of models, and a test's plan, are POSTs that change nothing
    assert all(REQUIRED_ROLES[name] in (Role.PREDICT, Role.LABEL, Role.OPERATE, Role.ADMIN) for name in changing - listing)


def test_every_role_against_every_endpoint(started: Callable[..., Client], made: Keys) -> None:
    client = started()
    for path, method, name in ENDPOINTS:
        for role, secret in made.items():
            status = ask(client, path, method, name, bearer(secret)).status_code
            if REQUIRED_ROLES[name] in (None, AnyRole.ANY, role):
                assert status not in (401, 403), (name, role, status)
            else:
                assert status == 403, (name, role, status)
        for headers in ({}, bearer("wrong"), {"x-api-key": "spk_000000000000_" + "x" * 43}, {"authorization": "Basic dTpw"}):
            status = ask(client, path, method, name, headers).status_code
            assert (status == 401) == (REQUIRED_ROLES[name] is not None), (name, headers, status)


def test_both_headers_and_what_is_said(started: Callable[..., Client], made: Keys) -> None:
    client = started()
    assert client.post("/predict", json={}, headers={"X-API-Key": made["predict"]}).status_code == 200
    missing = client.post("/predict", json={})
    assert missing.headers["www-authenticate"] == 'Bearer realm="sporeprint"'
    assert missing.json()["type"] == "urn:sporeprint:problem:no-key"
    refused = client.post("/predict", json={}, headers=bearer(made["read"]))
    assert refused.json()["detail"] == "the key 'read' has no role 'predict'; its roles: read"
    almost = made["predict"][:-1] + ("a" if made["predict"][-1] != "a" else "b")
    assert client.post("/predict", json={}, headers=bearer(almost)).status_code == 401


def test_the_document_says_so(started: Callable[..., Client], made: Keys) -> None:
    paths = started().get("/openapi.json").json()["paths"]
    for path, method, name in ENDPOINTS:
        if name == "docs_asset" or path.startswith("/v2"):  # the protocol has a document of its own
            continue
        operation = paths[path][method.lower()]
        assert operation.get("x-role") == REQUIRED_ROLES[name]
        assert ("401" in operation["responses"]) == (REQUIRED_ROLES[name] is not None)


# --- keys that come, end and are lost ------------------------------------------------------------------------------------


def test_a_running_server_learns_of_keys(served: Serve, engine: Engine, row: dict[str, Any]) -> None:
    server = served()
    assert server.client.post("/predict", json=row).status_code == 200
    _, secret = api_keys.create(engine, "shop", frozenset({Role.PREDICT}), now_us=now_us(), actor="test")
    begin = time.monotonic()
    until(lambda: server.client.post("/predict", json=row).status_code == 401, 10)
    assert time.monotonic() - begin < 5  # 2 s where nobody else needs the processor
    assert server.client.post("/predict", json=row, headers=bearer(secret)).status_code == 200
    other = api_keys.create(engine, "other", frozenset({Role.READ}), now_us=now_us(), actor="test")[1]
    api_keys.revoke(engine, "shop", now_us=now_us(), actor="test")
    begin = time.monotonic()
    until(lambda: server.client.post("/predict", json=row, headers=bearer(secret)).status_code == 401, 10)
    assert time.monotonic() - begin < 5
    server.stop()
    assert server.process.stderr is not None
    said = server.process.stderr.read()
    assert secret not in said
    assert other not in said


def test_an_expired_key_is_not_taken(started: Callable[..., Client], engine: Engine) -> None:
    _, secret = api_keys.create(engine, "shop", frozenset({Role.PREDICT}), expires_days=1, now_us=now_us() - 2 * DAY_US, actor="test")
    found = started().post("/predict", json={}, headers=bearer(secret))
    assert (found.status_code, found.json()["type"]) == (401, "urn:sporeprint:problem:wrong-key")


def test_what_is_known_of_keys_outlasts_the_database(
    started: Callable[..., Client], small_copy: Path, monkeypatch: pytest.MonkeyPatch, mariadb: MariaDB
) -> None:
    engine = connect(mariadb.url(database=mariadb.create_database()))
    migrate.upgrade(engine)
    _, secret = api_keys.create(engine, "shop", frozenset({Role.PREDICT}), now_us=now_us(), actor="test")
    monkeypatch.setenv("SPOREPRINT_OLTP_URL", engine.url.render_as_string(hide_password=False))
    engine.dispose()
    mariadb.kill()
    # What is known of another database is not taken.
    (small_copy / KEYS_FILE).parent.mkdir(exist_ok=True)
    (small_copy / KEYS_FILE).write_text(json.dumps({"format": 1, "database": "other", "keys": []}))
    first = started("first")
    closed = first.post("/predict", json={}, headers=bearer(secret))
    assert (closed.status_code, closed.json()["type"]) == (503, "urn:sporeprint:problem:keys-unknown")
    # A load balancer goes elsewhere as long as nobody is let in.
    assert (first.get("/health/ready").status_code, first.get("/health/live").status_code) == (503, 200)
    mariadb.start()
    assert started("second").post("/predict", json={}, headers=bearer(secret)).status_code == 200
    assert (small_copy / KEYS_FILE).stat().st_mode & 0o777 == 0o600
    assert secret not in (small_copy / KEYS_FILE).read_text()
    mariadb.kill()
    last = started("third")
    assert last.post("/predict", json={}, headers=bearer(secret)).status_code == 200
    assert last.post("/predict", json={}).status_code == 401


def test_the_first_key_of_a_container(
    started: Callable[..., Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    secret = "a-first-key-from-a-secret-file-0123456789"
    (tmp_path / "key").write_text(f"{secret}\n")
    monkeypatch.setenv("SPOREPRINT_BOOTSTRAP_KEY_FILE", str(tmp_path / "key"))
    client = started()
    assert client.post("/predict", json={}).status_code == 401
    for path, method, name in ENDPOINTS:
        assert ask(client, path, method, name, bearer(secret)).status_code not in (401, 403)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("short", "has 5 characters, expected at least 32 without spaces; make one with: openssl rand -base64 32"),
        ("with spaces in it it is none " * 2, "without spaces"),
        ("spk_" + "x" * 40, "begins as those of sporeprint keys create do"),
        ("ö" * 40, "not ASCII"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_first_key_that_is_none(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        bootstrap_key({"SPOREPRINT_BOOTSTRAP_KEY_FILE": str(tmp_path / "key")})
    assert text is None or text.strip() not in str(caught.value)
    assert bootstrap_key({}) is None


# --- this machine alone --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost", 200), ("localhost:8000", 200), ("127.0.0.1:1", 200), ("[::1]:8000", 200), ("LOCALHOST", 200)),
        *(("evil.example", 403), ("localhost.evil.example", 403), ("[::1", 403), ("", 403), ("10.0.0.1", 403)),
    ],
)
def test_without_keys_a_request_names_this_machine(client: Client, host: str, status: int) -> None:
    found = client.post("/predict", json={}, headers={"host": host})
    assert found.status_code == status
    if status == 403:
        assert "sporeprint keys create" in found.json()["detail"]


def test_a_server_that_others_reach_lets_nobody_in_without_a_key(small_settings: Settings, small_copy: Path) -> None:
    with Client(create_app(small_settings, small_copy, worker="w", exposed=True)) as client:
        assert client.post("/predict", json={}).status_code == 401
        assert client.get("/health/live").status_code == 200


# --- limits --------------------------------------------------------------------------------------------------------------


def test_a_key_has_a_rate_of_its_own(started: Callable[..., Client], engine: Engine) -> None:
    one, two = (api_keys.create(engine, name, frozenset({Role.READ}), now_us=now_us(), actor="t")[1] for name in ("one", "two"))
    client = started(serving={"rate_limit_per_s": 0.01, "rate_burst": 3})
    said = [client.get("/models", headers=bearer(one)) for _ in range(5)]
    assert [found.status_code for found in said] == [200, 200, 200, 429, 429]
    assert said[-1].headers["retry-after"] == "1"
    assert client.get("/models", headers=bearer(two)).status_code == 200
    assert client.get("/health/live").status_code == 200


@given(
    st.floats(0.1, 100),
    st.integers(1, 50),
    st.lists(st.floats(0, 10), max_size=60),
)
def test_a_bucket_gives_its_burst_and_its_rate(rate: float, burst: int, pauses: list[float]) -> None:
    bucket, now, taken = TokenBucket(rate, burst, float(burst), 0.0), 0.0, 0
    for pause in pauses:
        now += pause
        taken += bucket.take(now)
        assert taken <= burst + rate * now + 1e-6
    assert TokenBucket(0, 1, 1.0, 0.0).take(0.0)


# --- promotion -----------------------------------------------------------------------------------------------------------


def test_a_promotion_goes_through_the_gate_and_leaves_a_trace(
    served: Serve, engine: Engine, made: Keys, small_copy: Path, row: dict[str, Any]
) -> None:
    server = served()
    headers = bearer(made["operate"])
    found = server.client.post(
        "/models/decision_tree/promote", json={"version": 1, "alias": "production", "reason": "a test"}, headers=headers, timeout=60
    )
    # Whichever the gate says, it says why, and it is written down.
    trace = [change.action for change in changes(engine, "decision_tree/v1")]
    if found.status_code == 200:
        assert found.json()["production"] == "decision_tree/v1"
        assert trace == ["model.promoting", "model.promoted"]
        until(lambda: server.client.get("/").json()["serving"] == "decision_tree/v1", 10)
    else:
        assert (found.status_code, found.json()["type"]) == (409, "urn:sporeprint:problem:refused")
        assert "does not pass the gate: accuracy" in found.json()["detail"]
        assert trace == ["model.promoting", "model.refused"]
    assert changes(engine, "decision_tree/v1")[0].actor == "key:operate"
    serving = server.client.get("/").json()["serving"]
    again = server.client.post(f"/models/{serving.replace('/v', '/promote?alias=production&version=')}", headers=headers, timeout=60)
    assert (again.status_code, again.json()["production"]) == (200, serving)
    assert changes(engine, serving)[-1].action == "model.promoted"
    history = Registry(small_copy / "models/registry").aliases().history
    assert [move.by for move in history if move.reason == "a test"] == ["key:operate"] * (found.status_code == 200) * len(
        [move for move in history if move.reason == "a test"]
    )


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/models/xgboost/promote", {"version": 9}, 404, "has no version 'v9'; it has: v1"),
        ("/models/xgbost/promote", {"version": 1}, 404, "did you mean 'xgboost'?"),
        ("/models/xgboost/promote", {}, 400, "field 'version' is missing: expected a number, as in 2 or v2"),
        ("/models/xgboost/promote", {"version": "1.5"}, 422, "field 'version'"),
        ("/models/xgboost/promote", {"version": -1}, 422, "field 'version'"),
        (
            "/models/xgboost/promote",
            {"version": 1, "alias": "boss"},
            422,
            "field 'alias': expected one of champion, production; got 'boss'",
        ),
        ("/models/xgboost/promote", {"version": 1, "reason": ""}, 422, "field 'reason'"),
        ("/models/xgboost/promote", {"version": 1, "resaon": "x"}, 422, "unknown field 'resaon' (did you mean 'reason'?)"),
        ("/models/xgboost/promote", [1], 400, "expected a JSON object"),
        ("/models/%2e%2e/promote", {"version": 1}, 400, "is no name of a model"),
        ("/models/..%2f..%2fetc/promote", {"version": 1}, 404, "nothing is at"),
        ("/models/%F0%9F%8D%84/promote", {"version": 1}, 400, "is no name of a model"),
        (f"/models/{'x' * 300}/promote", {"version": 1}, 400, "is no name of a model"),
        ("/models/production/promote", {"version": 1}, 400, "is no name of a model"),
        ("/models/a%00b/promote", {"version": 1}, 400, "is no name of a model"),
    ],
)
def test_a_promotion_that_cannot_be(client: Client, path: str, body: Any, status: int, says: str) -> None:
    found = client.post(path, json=body)
    assert (found.status_code, says in found.json()["detail"]) == (status, True), found.text


def test_no_file_that_a_request_names_is_opened_outside_the_registry(client: Client, shared_root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("xgboost.joblib", "manifest.json", "model.json"):
        (outside / name).write_text("{}")
    opened: list[str] = []
    watching = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event == "open" and isinstance(arguments[0], str | bytes):
            opened.append(os.fsdecode(arguments[0]))

    sys.addaudithook(hook)
    names = ["../../outside/xgboost.joblib", f"{outside}/xgboost.joblib", f"{outside}", "models/../../outside/xgboost.joblib", "%00", "~/x"]
    names += ["/etc/passwd", "file:///etc/passwd", "xgboost/../../x", "models/registry/xgboost/v1/../../../x", "\\\\host\\share", "a" * 300]
    for name in names:
        assert client.post("/predict", params={"model": name}, json={}).status_code in (400, 404), name
        assert client.post("/models/xgboost/promote", params={"version": name}).status_code in (400, 404)
    watching = False
    assert [path for path in opened if str(outside) in path or "passwd" in path] == []


# --- headers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/health", "/nothing", "/predict", "/models", "/metrics"])
def test_every_answer_is_careful(client: Client, path: str) -> None:
    found = client.get(path)
    assert found.headers["x-content-type-options"] == "nosniff"
    assert found.headers["cache-control"] == "no-store"
    assert found.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in found.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in found.headers["content-security-policy"]
    assert "access-control-allow-origin" not in found.headers
    assert "server" not in found.headers


def test_the_page_needs_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/docs").text
    assert re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page) == []
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "docs.css", "docs.js", "favicon.png"):
        assert f'"docs/{name}"' in page
        assert client.get(f"/docs/{name}").status_code == 200
    assert client.get("/docs/other.js").status_code == 400


def test_other_origins_only_where_they_are_named(small_settings: Settings, small_copy: Path) -> None:
    raw = small_settings.model_dump(mode="json")
    raw["serving"]["cors_origins"] = ["https://example.org"]
    with Client(create_app(settings_of.parse(raw), small_copy, worker="w")) as client:
        for origin, allowed in (("https://example.org", "https://example.org"), ("https://evil.example", None)):
            found = client.post("/predict", json={}, headers={"origin": origin})
            assert found.headers.get("access-control-allow-origin") == allowed

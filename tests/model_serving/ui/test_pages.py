"""The pages without a browser: who may see them, what they show, and that nobody's text becomes markup."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from page_support import FORM, MARKUP, forget, log_in, send, until_ready, whole
from serving_support import Client
from sporeprint.model_serving.api import PATHS
from sporeprint.model_serving.http.authentication import REQUIRED_ROLES
from sporeprint.model_serving.ui.routes import UI_ROUTES
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import api_keys, migrate
from sporeprint.storage.oltp.api_keys import Role

Keys = dict[str, str]


@pytest.fixture(scope="module", autouse=True)
def _ready(client: Client) -> None:
    until_ready(client)


@pytest.fixture(scope="module")
def row(shared_root: Path) -> dict[str, Any]:
    found = Registry(shared_root / "models/registry").load("production").golden.rows[0]
    return {name: value for name, value in found.items() if value is not None}


@pytest.fixture
def keys(small_settings: Settings, small_copy: Path) -> Iterator[Keys]:
    engine = connect(urls.oltp(small_settings.storage, small_copy))
    migrate.prepare(engine)
    yield {
        role.value: api_keys.create(engine, role.value, frozenset({role}), now_us=time.time_ns() // 1000, actor="test")[1] for role in Role
    }
    engine.dispose()


# --- every page ----------------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_table_of_roles_and_has_an_address() -> None:
    assert {route.name for route in UI_ROUTES} == {name for name in REQUIRED_ROLES if name.startswith("ui_")}
    assert all(PATHS[route.name].startswith("/ui") for route in UI_ROUTES)


@pytest.mark.parametrize("path", ["", "identify", "identify?cap-shape=x&cap-color=n", "predictions", "models"])
def test_a_page_is_whole_and_the_policy_is_strict(client: Client, path: str) -> None:
    response = client.get(f"/ui/{path}")
    assert response.status_code == 200
    whole(response)
    assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "text/html; charset=utf-8"


def test_assets_are_found_kept_for_good_and_packed(client: Client) -> None:
    page = whole(client.get("/ui/"))
    for attributes in (*page.of("link"), *page.of("script")):
        address = attributes.get("href") or attributes.get("src")
        response = client.get(str(address))
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["content-encoding"] == "gzip"
    assert client.get("/ui/assets/000000000000/ui.css").status_code == 404
    assert client.get("/ui/assets/000000000000/../../../etc/passwd").status_code == 404


def test_a_browser_is_sent_to_the_pages_and_a_program_is_not(client: Client) -> None:
    sent = client.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/ui/")
    assert client.get("/", headers={"accept": "*/*"}).json()["service"] == "sporeprint"
    assert client.get("/ui").headers["location"] == "/ui/"


def test_without_pages_there_are_none(started: Callable[..., Client]) -> None:
    client = started(serving={"ui": False})
    assert client.get("/ui/").status_code == 404
    assert client.get("/", headers={"accept": "text/html"}).json()["service"] == "sporeprint"


def test_what_is_not_there_is_a_page_that_says_so(client: Client) -> None:
    response = client.get("/ui/nothing/<b>here")
    assert response.status_code == 404
    whole(response)
    assert "<b>here" not in response.text
    assert client.post("/ui/").status_code == 405


def test_a_page_speaks_the_language_that_is_asked_for_or_chosen(client: Client) -> None:
    german = client.get("/ui/identify", headers={"accept-language": "de-AT,de;q=0.9"})
    assert 'lang="de"' in german.text
    assert "Was haben Sie gefunden?" in german.text
    chosen = send(client, "/ui/language", language="en", to="identify")
    assert chosen.headers["location"] == "/ui/identify"
    cookie = chosen.headers["set-cookie"].partition(";")[0]
    client.run(forget(client))
    assert "What did you find?" in client.get("/ui/identify", headers={"accept-language": "de", "cookie": cookie}).text
    assert send(client, "/ui/language", language="tlh").status_code == 422


# --- who may -------------------------------------------------------------------------------------------------------------


def test_every_role_against_every_page(started: Callable[..., Client], keys: Keys) -> None:
    client = started()
    sessions = {role: log_in(client, secret) for role, secret in keys.items()}
    for route in UI_ROUTES:
        if route.name == "ui_log_in":  # a wrong key is what it refuses
            continue
        needed = REQUIRED_ROLES[route.name]
        path = re.sub(r"\{\w+(:path)?\}", "none", route.path)
        method = "POST" if "POST" in (route.methods or ()) else "GET"
        for role, cookie in sessions.items():
            status = client.request(method, path, headers={**FORM, **cookie}).status_code
            if needed is None or needed == role:
                assert status not in (401, 403), (route.name, role, status)
            else:
                assert status == 403, (route.name, role, status)
        nobody = client.request(method, path, headers=FORM)
        if needed is not None:
            assert (nobody.status_code, nobody.headers.get("location", "").partition("?")[0]) in ((303, "/ui/login"), (401, "")), route.name


def test_the_navigation_has_what_the_key_may(started: Callable[..., Client], keys: Keys) -> None:
    client = started()
    page = client.get("/ui/identify", headers=log_in(client, keys["predict"]))
    assert 'href="/ui/identify" aria-current="page"' in page.text
    assert '<li><a href="/ui/"' not in page.text
    assert send(client, "/ui/login", key=keys["predict"]).headers["location"] == "/ui/identify"


def test_a_session_is_for_pages_alone_and_a_log_in_goes_back_to_where_it_was_asked_for(started: Callable[..., Client], keys: Keys) -> None:
    client = started()
    asked = client.get("/ui/identify?cap-shape=x")
    assert asked.status_code == 303
    to = parse_qs(urlsplit(asked.headers["location"]).query)["to"][0]
    done = send(client, "/ui/login", key=keys["predict"], to=to)
    assert done.headers["location"] == "/ui/identify?cap-shape=x"
    kept = done.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=Lax" in kept
    cookie = {"cookie": kept.partition(";")[0]}
    client.run(forget(client))
    assert client.get("/ui/identify", headers=cookie).status_code == 200
    assert client.get("/models", headers=cookie).status_code == 401
    assert client.post("/predict", json={}, headers=cookie).status_code == 401
    assert client.get("/ui/identify", headers={"x-api-key": keys["predict"]}).status_code == 200
    over = send(client, "/ui/logout", cookie)
    assert "Max-Age=0" in over.headers["set-cookie"]


@pytest.mark.parametrize("to", ["//evil.example", "https://evil.example", "x\r\nset-cookie: a=b"])
def test_a_log_in_leads_nowhere_else(started: Callable[..., Client], keys: Keys, to: str) -> None:
    response = send(started(), "/ui/login", key=keys["predict"], to=to)
    assert response.headers["location"].startswith("/ui/")
    assert "\r" not in response.headers["location"]
    assert "a=b" not in response.headers["set-cookie"]


def test_a_session_ends_with_its_key_and_cannot_be_made_up(
    started: Callable[..., Client], keys: Keys, small_settings: Settings, small_copy: Path
) -> None:
    client = started()
    cookie = log_in(client, keys["read"])
    assert client.get("/ui/", headers=cookie).status_code == 200
    name, _, value = cookie["cookie"].partition("=")
    for wrong in (value[:-2] + ("AA" if value[-2:] != "AA" else "BB"), "", "x", "!" * 50, value + value):
        assert client.get("/ui/", headers={"cookie": f"{name}={wrong}"}).status_code == 303
    engine = connect(urls.oltp(small_settings.storage, small_copy))
    api_keys.revoke(engine, "read", now_us=time.time_ns() // 1000, actor="test")
    engine.dispose()
    end = time.monotonic() + 10
    while client.get("/ui/", headers=cookie).status_code == 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    # What was typed into a form comes back.
    late = send(client, "/ui/identify", cookie, **{"cap-shape": "x <b>"})
    assert late.status_code == 401
    assert 'name="cap-shape" value="x &lt;b&gt;"' in late.text


def test_guessing_keys_is_slow(started: Callable[..., Client], keys: Keys) -> None:
    client = started()
    statuses = [send(client, "/ui/login", key="spk_wrong_wrong").status_code for _ in range(7)]
    assert statuses == [401] * 5 + [429] * 2
    assert send(client, "/ui/login", key=keys["read"]).status_code == 429


def test_a_page_that_looks_again_without_a_session_stays_and_says_so(started: Callable[..., Client], keys: Keys) -> None:
    client = until_ready(started())
    for method in ("GET", "POST"):
        response = client.request(method, "/ui/" if method == "GET" else "/ui/identify", headers={"hx-request": "true", **FORM})
        assert response.status_code == 401
        assert (response.headers["hx-retarget"], response.headers["hx-reswap"]) == ("#problem", "innerHTML")
        assert "<html" not in response.text
        assert 'role="alert"' in response.text
        assert 'href="/ui/login" target="_blank"' in response.text


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}, {"sec-fetch-site": "same-site"}])
def test_a_page_of_another_site_sends_nothing(client: Client, headers: dict[str, str]) -> None:
    for route in UI_ROUTES:
        if "POST" in (route.methods or ()):
            path = re.sub(r"\{\w+\}", "none", route.path)
            assert send(client, path, headers).status_code == 403, route.name


def test_another_host_is_no_way_in_without_keys(client: Client) -> None:
    assert client.get("/ui/", headers={"host": "evil.example"}).status_code == 403


# --- identify ------------------------------------------------------------------------------------------------------------


def test_a_row_is_asked_for_once_however_often_it_is_sent(client: Client, row: dict[str, Any]) -> None:
    fields = {**{name: str(value) for name, value in row.items()}, "_once": "same"}
    first, second = send(client, "/ui/identify", **fields), send(client, "/ui/identify", **fields)
    assert first.status_code == 303, first.text
    assert first.headers["location"] == second.headers["location"]
    query = parse_qs(urlsplit(first.headers["location"]).query)
    kept = client.get(f"/predictions/{query['_asked'][0]}").json()
    assert kept["features"] == row
    page = client.get(first.headers["location"])
    whole(page)
    assert re.search(rf'<h2 id="verdict-word"[^>]*>{kept["verdict"]}', page.text, re.IGNORECASE)
    another = send(client, "/ui/identify", **{**fields, "_once": "other"})
    assert another.headers["location"] != first.headers["location"]


def test_a_verdict_is_shown_only_beside_the_row_it_is_of(client: Client, row: dict[str, Any]) -> None:
    fields = {name: str(value) for name, value in row.items()}
    location = send(client, "/ui/identify", **fields).headers["location"]
    asked = parse_qs(urlsplit(location).query)["_asked"][0]
    assert 'id="verdict"' in client.get(location).text
    assert 'id="verdict"' not in client.get(f"/ui/identify?cap-shape=x&_asked={asked}").text
    assert client.get("/ui/identify?_asked=none").status_code == 404


def test_a_fragment_is_the_panel_alone_with_the_address_to_share(client: Client) -> None:
    response = client.get("/ui/identify?cap-shape=x&cap-color=", headers={"hx-request": "true"})
    assert response.text.startswith('<div id="panel">')
    assert response.headers["hx-replace-url"] == "/ui/identify?cap-shape=x"
    assert "1 of 20 fields" in response.text


def test_the_same_is_said_as_by_the_api(client: Client, row: dict[str, Any]) -> None:
    few = dict(list(row.items())[:4])
    said = client.post("/identify", json=few).json()
    page = client.get("/ui/identify", params=few).text
    if said["fitting"]:
        assert f"{said['fitting']} of 30 known species fit" in page
    for each in said["next_questions"]:
        assert f'<a href="#q-{each["column"]}">' in page


@pytest.mark.parametrize("text", MARKUP)
def test_no_text_becomes_markup(client: Client, text: str) -> None:
    for path in ("/ui/identify", "/ui/login"):
        for params in ({"cap-shape": text}, {"stem-height": text}, {text[:200]: "1"}, {"to": text, "_asked": text[:60]}):
            response = client.get(path, params=params)
            assert response.status_code in (200, 303, 404, 422)
            assert "<script>alert" not in response.text
            assert "<img" not in response.text
    assert "<script>alert" not in send(client, "/ui/identify", **{"stem-height": text}).text


def test_nothing_typed_is_lost_where_a_field_is_wrong(client: Client) -> None:
    response = client.get("/ui/identify?stem-height=tall&cap-shape=x")
    assert response.status_code == 422
    page = whole(response)
    assert any(each.get("value") == "tall" for each in page.of("input"))
    assert any(each.get("value") == "x" and "checked" in each for each in page.of("input"))
    assert "expected a number of cm, got &#39;tall&#39;" in response.text


def test_only_forms_of_a_bounded_size_are_read(client: Client) -> None:
    assert client.post("/ui/identify", json={}).status_code == 415
    assert send(client, "/ui/identify", **{"cap-shape": "x" * 100_000}).status_code == 413
    assert client.get("/ui/identify?%ff=%ff").status_code == 400


def test_the_dialogues_rule_is_not_avoided(client: Client, row: dict[str, Any]) -> None:
    """Where /identify withholds the negative verdict, the page does not ask for it either."""
    withheld = 0
    for count in range(1, len(row)):
        few = dict(list(row.items())[:count])
        dialogue = client.post("/identify", json=few).json()["verdict"]
        response = send(client, "/ui/identify", **{name: str(value) for name, value in few.items()})
        if response.status_code == 200:
            withheld += 1
            assert dialogue == "unknown"
            assert "Nothing was kept" in response.text
        else:
            asked = parse_qs(urlsplit(response.headers["location"]).query)["_asked"][0]
            kept = client.get(f"/predictions/{asked}").json()["verdict"]
            assert kept == dialogue or kept != "edible"


# --- predictions ---------------------------------------------------------------------------------------------------------


def asked_id(client: Client, row: dict[str, Any], once: str) -> str:
    response = send(client, "/ui/identify", **{name: str(value) for name, value in row.items()}, _once=once)
    return parse_qs(urlsplit(response.headers["location"]).query)["_asked"][0]


def test_an_outcome_is_entered_and_corrected(client: Client, row: dict[str, Any]) -> None:
    path = f"/ui/predictions/{asked_id(client, row, 'outcome')}"
    page = client.get(path)
    whole(page)
    assert "Nobody has said it yet." in page.text
    for revision, code in enumerate(("e", "p"), 1):
        assert send(client, path, outcome=code, source="lab <b>").headers["location"] == f"{path}#outcome"
        kept = client.get(path.removeprefix("/ui")).json()["outcome"]
        assert (kept["outcome"], kept["revision"], kept["source"]) == (code, revision, "lab <b>")
    page = client.get(path)
    assert "revision 2: it was corrected" in page.text
    assert "lab &lt;b&gt;" in page.text
    assert "lab <b>" not in page.text


def test_an_outcome_that_is_none_is_refused_and_what_was_typed_stays(client: Client, row: dict[str, Any]) -> None:
    path = f"/ui/predictions/{asked_id(client, row, 'refused')}"
    for fields in ({}, {"outcome": "x"}, {"outcome": "<script>alert(1)</script>"}):
        response = send(client, path, **fields, source="typed")
        assert response.status_code == 422
        assert 'value="typed"' in response.text
        assert "<script>alert" not in response.text
    assert client.get(path.removeprefix("/ui")).json()["outcome"] is None


def test_an_id_leads_to_its_prediction(client: Client, row: dict[str, Any]) -> None:
    prediction_id = asked_id(client, row, "search")
    assert client.get("/ui/predictions", params={"id": f" {prediction_id} "}).headers["location"] == f"/ui/predictions/{prediction_id}"
    for wrong in ("none", "\u202e", "<b>", "x" * 500):
        response = client.get("/ui/predictions", params={"id": wrong})
        assert response.status_code == 404
        whole(response)
        assert "<b>" not in response.text.partition("</h1>")[2].replace("<b>There", "")
    assert client.get("/ui/predictions/none").status_code == 404


# --- overview ------------------------------------------------------------------------------------------------------------


def test_the_overview_says_what_serves(client: Client) -> None:
    page = client.get("/ui/").text
    health = client.get("/health").json()
    assert health["model"]["ref"] in page
    assert ("All is well." in page) == (health["status"] == "ok")

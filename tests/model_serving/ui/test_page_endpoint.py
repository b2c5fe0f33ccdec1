"""How pages are answered: shared for a second, while the database is away, after a session."""

import re
import time
from collections.abc import Callable

from page_support import log_in, send, until_ready, whole
from serving_support import Client
from sporeprint.model_serving.ui import page_endpoint
from sporeprint.model_serving.ui.routes import UI_ROUTES


def test_a_part_that_several_ask_for_is_made_once_a_second(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    fragment = {"hx-request": "true", "accept-language": "en"}
    first = client.get("/ui/", headers=fragment)
    client.post("/predict", json={"cap-shape": "x"})
    again = client.get("/ui/", headers=fragment)
    assert again.text == first.text
    assert client.get("/ui/", headers={**fragment, "accept-language": "de"}).text != first.text
    assert client.get("/ui/").text.count('<p class="big">1</p>') == 1  # a page as a whole is its own
    time.sleep(page_endpoint.SHARED_S)
    assert client.get("/ui/", headers=fragment).text != first.text


def test_every_page_answers_while_the_database_is_away(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    executor = client.app.state.service.database.executor
    for route in UI_ROUTES:
        if "GET" not in (route.methods or ()) or route.name in ("ui_asset", "ui_evaluation_report", "ui_model_file"):
            continue
        path = re.sub(r"\{version\}", "1", re.sub(r"\{(?!version)[\w:]+\}", "none", route.path))
        executor._away_since = time.monotonic()  # as after a call that got no answer, without the probe
        response = client.get(path, follow_redirects=False)
        assert response.status_code in (200, 303, 400, 404, 503), (route.name, response.text[:300])
        if response.status_code != 303:
            whole(response)
            assert "log says more" not in response.text
    executor._away_since = time.monotonic()
    page = client.get("/ui/")
    assert page.status_code == 200
    assert page.text.count("not known: the database does not answer") >= 2


def test_what_was_typed_outlives_the_session(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    made = client.post("/keys", json={"name": "boss", "roles": ["admin", "operate", "read"]}).json()["key"]
    boss = {"authorization": f"Bearer {made}"}
    secret = client.post("/keys", json={"name": "ada", "roles": ["predict", "read"]}, headers=boss).json()["key"]
    session = log_in(client, secret)
    assert client.get("/ui/identify", headers=session).status_code == 200
    assert client.request("DELETE", "/keys/ada", headers=boss).status_code == 200
    typed = {"cap-shape": "x", "stem-height": '<b>"7</b>', "_once": "o"}
    refused = send(client, "/ui/identify", session, **typed)
    assert refused.status_code == 401
    page = whole(refused)
    hidden = {str(each["name"]): each["value"] for each in page.of("input") if each.get("type") == "hidden" and each["name"] in typed}
    assert hidden == typed
    assert any(each.get("action") == "/ui/identify" for each in page.of("form"))
    another = client.post("/keys", json={"name": "ada", "roles": ["predict", "read"]}, headers=boss).json()["key"]
    again = send(client, "/ui/identify", log_in(client, another), **{**typed, "stem-height": "7"})
    assert again.status_code == 303


def test_what_went_wrong_is_not_kept(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    fragment = {"hx-request": "true"}
    assert client.get("/ui/tests/later", headers=fragment).status_code == 404
    fields = {"name": "later", "model_a": "xgboost", "model_b": "decision_tree", "independent": True}
    client.post("/ab-tests", json=fields).raise_for_status()
    assert client.get("/ui/tests/later", headers=fragment).status_code == 200

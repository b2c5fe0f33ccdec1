"""`/ui/predictions` and `/ui/batches`: what the API lists, with the filters in the address."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ab_support import until
from page_support import MARKUP, until_ready, whole
from serving_support import Client
from sporeprint import settings
from sporeprint.model_serving.api import create_app

COUNT = 53


@pytest.fixture(scope="module")
def client(_small: dict[str, Any], shared_root: Path) -> Iterator[Client]:
    """More predictions than a page has, one with text that could be markup, and a batch."""
    with Client(create_app(settings.parse(_small), shared_root, worker="w")) as client:
        until_ready(client)
        client.post_all("/predict", [{"json": {"cap-shape": "x", "stem-height": 5 + number}} for number in range(COUNT - 1)])
        client.post("/predict", json={"cap-color": MARKUP[0]})
        client.post("/predict/batch", json=[{"cap-shape": "x"}, {"no": 1}])
        until(lambda: len(client.get("/predictions?limit=200").json()["predictions"]) == COUNT, 30)
        until(lambda: client.get("/batches").json()["batches"], 30)
        yield client


def test_a_page_is_whole_in_both_languages(client: Client) -> None:
    batch_id = client.get("/batches").json()["batches"][0]["batch_id"]
    newest = client.get("/predictions?limit=1").json()["predictions"][0]["prediction_id"]
    for path in ("predictions", f"predictions/{newest}", "batches", f"batches/{batch_id}", f"predictions?batch_id={batch_id}"):
        for language in ("en", "de"):
            response = client.get(f"/ui/{path}", headers={"accept-language": language})
            assert response.status_code == 200, response.text
            whole(response)
            assert "<script>alert" not in response.text


def test_older_goes_on_where_the_page_ends_with_the_same_filters(client: Client) -> None:
    page = client.get("/ui/predictions?version=1&outcome=none&test_id=").text
    expected = client.get("/predictions?version=1&outcome=none&limit=200").json()["predictions"]
    older = re.search(r'href="(/ui/predictions\?version=1&amp;outcome=none&amp;before=[\d-]+)"', page)
    assert older is not None
    rest = client.get(older[1].replace("&amp;", "&")).text
    ids = re.findall(r'<th scope="row"><a href="/ui/predictions/([^"]+)"', page + rest)
    assert ids == [each["prediction_id"] for each in expected]
    assert '<option value="none" selected>' in rest


def test_days_are_whole_and_the_last_one_belongs_to_it(client: Client) -> None:
    day = client.get("/predictions?limit=1").json()["predictions"][0]["created"][:10]
    assert ">Older</a>" in client.get(f"/ui/predictions?since={day}&until={day}").text
    assert "Nothing more passes." in client.get("/ui/predictions?until=2001-01-01").text


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("since=yesterday", "field &#39;since&#39;: expected a day"),
        ("version=x", "field &#39;version&#39;"),
        ("outcome=maybe", "field &#39;outcome&#39;"),
        ("before=x", "field &#39;before&#39;"),
        ("batch_id=%3Cb%3E", "rows of a batch are searched by"),
        (f"unit_id={'u' * 10_000}", "field &#39;unit_id&#39;"),
    ],
)
def test_what_is_wrong_is_said_and_what_was_typed_stays(client: Client, query: str, says: str) -> None:
    response = client.get(f"/ui/predictions?{query}&model=typed")
    assert response.status_code in (400, 404, 422)
    whole(response)
    assert says in response.text
    assert 'value="typed"' in response.text
    assert len(response.content) < 30_000


@pytest.mark.parametrize("text", MARKUP)
def test_no_text_becomes_markup(client: Client, text: str) -> None:
    for name in ("model", "unit_id", "test_id", "batch_id", "unseen", "verdict", "since"):
        response = client.get("/ui/predictions", params={name: text})
        assert response.status_code in (200, 400, 404, 422)
        assert "<script>alert" not in response.text
        assert "<img" not in response.text


def test_a_database_that_is_away_is_said_and_the_page_stays(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    client.app.state.service.database.executor._away_since = time.monotonic()  # as after a call that got no answer, without the probe
    for path in ("predictions", "batches"):
        response = client.get(f"/ui/{path}")
        assert response.status_code == 503
        whole(response)
        assert "database" in response.text

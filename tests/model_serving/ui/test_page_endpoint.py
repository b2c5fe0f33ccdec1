"""Parts of pages that are looked up again and again: made once a second for all who may see the same."""

import time
from collections.abc import Callable

from page_support import until_ready
from serving_support import Client
from sporeprint.model_serving.ui import page_endpoint


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


def test_what_went_wrong_is_not_kept(started: Callable[..., Client]) -> None:
    client = until_ready(started())
    fragment = {"hx-request": "true"}
    assert client.get("/ui/tests/later", headers=fragment).status_code == 404
    fields = {"name": "later", "model_a": "xgboost", "model_b": "decision_tree", "independent": True}
    client.post("/ab-tests", json=fields).raise_for_status()
    assert client.get("/ui/tests/later", headers=fragment).status_code == 200

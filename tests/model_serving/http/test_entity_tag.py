"""Entity tags: a client that has a body is not sent it again, by the API and by the pages that look again and again."""

import pytest

from page_support import until_ready
from serving_support import Client
from sporeprint.model_serving.http.entity_tag import has, tag_of

TAG = tag_of(b"a body")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(b"if-none-match", TAG)], True),
        ([(b"if-none-match", TAG.removeprefix(b"W/"))], True),
        ([(b"if-none-match", b'"other", ' + TAG)], True),
        ([(b"if-none-match", b'"other"'), (b"if-none-match", TAG)], True),
        ([(b"if-none-match", b"*")], True),
        ([(b"if-none-match", b'"other"')], False),
        ([(b"if-match", TAG)], False),
        ([], False),
    ],
)
def test_who_has_a_body(given: list[tuple[bytes, bytes]], expected: bool) -> None:
    assert has(given, TAG) is expected
    assert has(given, tag_of(b"another body")) is (given == [(b"if-none-match", b"*")])


@pytest.mark.parametrize("path", ["/models", "/alerts", "/runs", "/predictions", "/ab-tests", "/monitoring/streams"])
def test_the_api_sends_again_what_has_changed(client: Client, path: str) -> None:
    first = until_ready(client).get(path)
    tag = first.headers["etag"]
    again = client.get(path, headers={"if-none-match": tag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert "content-length" not in again.headers
    assert again.headers["cache-control"] == "no-store"
    other = client.get(path, headers={"if-none-match": 'W/"other"'})
    assert (other.status_code, other.headers["etag"], other.json()) == (200, tag, first.json())


def test_what_is_not_read_has_no_tag(client: Client) -> None:
    for path in ("/metrics", "/health/live", "/models/nothing/versions/1"):
        assert "etag" not in client.get(path).headers


def test_a_page_that_looks_again_is_not_sent_what_it_has(client: Client) -> None:
    fragment = {"hx-request": "true"}
    first = until_ready(client).get("/ui/", headers=fragment)
    assert first.text.lstrip().startswith('<div id="overview">')
    again = client.get("/ui/", headers={**fragment, "if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "etag" not in client.get("/ui/").headers  # a page as a whole is not kept

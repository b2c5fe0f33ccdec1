"""Pages of other origins change nothing; programs and the service's own pages do."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_support import Client
from sporeprint.model_serving.http.origin import check_origin
from sporeprint.model_serving.http.problems import HttpProblemError

HOST = (b"host", b"localhost:8000")


def is_allowed(*headers: tuple[bytes, bytes], listed: tuple[str, ...] = ()) -> bool:
    try:
        check_origin(headers, listed)
    except HttpProblemError:
        return False
    return True


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ((), True),
        (((b"sec-fetch-site", b"same-origin"),), True),
        (((b"sec-fetch-site", b"none"),), True),
        (((b"sec-fetch-site", b"cross-site"),), False),
        (((b"sec-fetch-site", b"same-site"),), False),
        (((b"sec-fetch-site", b""),), False),
        (((b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")), False),
        (((b"origin", b"http://localhost:8000"),), True),
        (((b"origin", b"https://localhost:8000"),), True),  # a proxy in front speaks https
        (((b"origin", b"http://LOCALHOST:8000"),), True),
        (((b"origin", b"http://localhost"),), False),
        (((b"origin", b"http://localhost:8001"),), False),
        (((b"origin", b"http://127.0.0.1:8000"),), False),
        (((b"origin", b"null"),), False),
        (((b"origin", b""),), False),
        (((b"origin", b"http://localhost:8000@evil.example"),), False),
        (((b"origin", b"http://localhost:8000.evil.example"),), False),
        (((b"origin", b"file://localhost:8000"),), False),
        (((b"origin", b"http://evil@localhost:8000"),), False),
        (((b"origin", b"http://localhost:8000/page"),), False),
        (((b"origin", b"http://evil.example"), (b"sec-fetch-site", b"none")), False),  # no page made it, and yet one is named
        (((b"origin", b"http://localhost:8000"), (b"sec-fetch-site", b"none")), True),
        (((b"origin", b"http://localhost:8000"), (b"origin", b"http://evil.example")), False),
        (((b"origin", b"http://evil.example"), (b"sec-fetch-site", b"same-origin")), True),  # a proxy renamed the host; the browser knows
        (((b"origin", b"http://localhost:8000"), (b"sec-fetch-site", b"cross-site")), False),
        (((b"origin", b"https://listed.example"), (b"sec-fetch-site", b"cross-site")), True),
        (((b"origin", b"https://listed.example"), (b"origin", b"https://evil.example")), False),
    ],
)
def test_who_may_change_something(headers: tuple[tuple[bytes, bytes], ...], allowed: bool) -> None:
    assert is_allowed(HOST, *headers, listed=("https://listed.example",)) is allowed


def test_default_ports_are_those_of_the_scheme() -> None:
    assert is_allowed((b"host", b"example.org"), (b"origin", b"https://example.org"))
    assert is_allowed((b"host", b"example.org:443"), (b"origin", b"https://example.org"))
    assert not is_allowed((b"host", b"example.org:80"), (b"origin", b"https://example.org"))


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_an_origin_that_is_not_the_host_is_refused(origin: bytes, host: bytes) -> None:
    """Whatever is sent: no fault, and what is let in names the host."""
    if is_allowed((b"host", host), (b"origin", origin)):
        name = origin.lower().split(b"://", 1)[1].rstrip(b"/").rpartition(b"@")[2]
        assert name.split(b":")[0].split(b"/")[0].split(b"?")[0].split(b"#")[0] in host.lower()


PAGES = {"sec-fetch-site": "cross-site", "origin": "http://evil.example"}


@pytest.mark.parametrize(
    "path",
    [
        "/models/xgboost/rollback?version=1&alias=production",
        "/models/xgboost/promote?version=1&alias=production",
        "/ab-tests?name=fromevil&model_a=xgboost&model_b=decision_tree&default_route=true",
        "/ab-tests/x/conclude",
        "/ab-tests/x/rollback",
        "/ab-tests/x/labels",
        "/predict",
        "/predict/batch",
        "/predictions/outcomes",
        "/predictions/x/outcome",
    ],
)
def test_a_page_of_another_origin_changes_nothing(client: Client, path: str) -> None:
    for name, value in PAGES.items():
        found = client.post(path, headers={name: value})
        assert (found.status_code, found.json()["type"]) == (403, "urn:sporeprint:problem:cross-site"), (path, name)


def test_such_a_page_may_be_listed(started: Callable[..., Client]) -> None:
    client = started(serving={"cors_origins": ["https://shop.example"]})
    asked = {"origin": "https://shop.example", "sec-fetch-site": "cross-site"}
    assert client.post("/predict", json={}, headers=asked).status_code == 200
    assert client.post("/predict", json={}, headers={**asked, "origin": "https://other.example"}).status_code == 403

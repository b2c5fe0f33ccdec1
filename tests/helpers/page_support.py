"""Pages without a browser: forms are sent, and a page is held to what every page keeps to."""

import time
from html.parser import HTMLParser
from urllib.parse import urlsplit

import httpx

from serving_support import Client
from sporeprint.model_serving.ui.routes import UI_ROUTES

FORM = {"content-type": "application/x-www-form-urlencoded"}
MARKUP = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; drop --", "\u202e evil", "a" * 300]


class Reader(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def send(client: Client, path: str, headers: dict[str, str] | None = None, /, **fields: str) -> httpx.Response:
    return client.post(path, data=fields, headers={**FORM, **(headers or {})})


def whole(response: httpx.Response) -> Reader:
    """A page that is well made: one title, one h1, ids that are unique, no address that leads nowhere."""
    page = Reader(response.text)
    charts = [each for each in page.of("svg") if each.get("role") == "img"]
    assert len(page.of("h1")) == len(page.of("title")) - len(charts) == len(page.of("main")) == 1
    ids = [attributes["id"] for _, attributes in page.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.tags:
        for name in ("href", "src", "action", "formaction", "hx-get"):
            address = attributes.get(name)
            if address and not address.startswith("#"):
                path = urlsplit(address.replace("/ui/../", "/")).path
                known = path in ("/docs", "/") or any(route.path_regex.match(path) for route in UI_ROUTES if "{path" not in route.path)
                assert known, (tag, address)
    labelled = {attributes.get("for") for attributes in page.of("label")}
    for attributes in page.of("input"):
        if attributes.get("type") == "text":
            assert attributes.get("id") in labelled
    return page


def log_in(client: Client, secret: str) -> dict[str, str]:
    """The cookie of a session."""
    response = send(client, "/ui/login", key=secret)
    assert response.status_code == 303, response.text
    client.run(forget(client))
    return {"cookie": response.headers["set-cookie"].partition(";")[0]}


async def forget(client: Client) -> None:
    client._client.cookies.clear()


def until_ready(client: Client) -> Client:
    """Wait until the database has said whether there are keys: on a busy machine that may be late, and until then nobody is let in."""
    end = time.monotonic() + 30
    while client.get("/ui/").status_code == 503:
        assert time.monotonic() < end
        time.sleep(0.1)
    return client

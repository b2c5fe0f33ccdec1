"""A real browser with pages of two origins: the other's page changes nothing, the service's own documentation works."""

import http.server
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving_support import Server

PAGE = """<!doctype html><title>waits</title><script>
const calls = CALLS;
(async () => {
  const said = [];
  for (const [method, path, type] of calls) {
    try { await fetch(path, {method, mode: "no-cors", ...(type ? {headers: {"Content-Type": type}, body: "{}"} : {})}); said.push("sent"); }
    catch (error) { said.push("stopped"); }
  }
  document.body.textContent = "done: " + said.join(" ");
})();
</script><body></body>"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """A function that serves a page from an origin of its own, and gives its address."""
    html = tmp_path / "pages"
    html.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(html))  # type: ignore[arg-type]

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def serve(text: str) -> str:
        (html / "index.html").write_text(text, encoding="utf-8")
        return f"http://127.0.0.1:{server.server_address[1]}/index.html"

    yield serve
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def dom(chromium: str, tmp_path: Path) -> Callable[[str], str]:
    """A function from an address to what a browser makes of the page."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]

    def show(address: str) -> str:
        command = [chromium, *options, "--virtual-time-budget=8000", "--dump-dom", address]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return show


def test_a_page_of_another_origin_operates_nothing(
    served: Callable[..., Server], page: Callable[[str], str], dom: Callable[[str], str]
) -> None:
    server = served()
    own = str(server.client.base_url).replace("127.0.0.1", "localhost").rstrip("/")
    before = server.client.get("/models").json()
    test = "/ab-tests?name=evil&model_a=xgboost&model_b=decision_tree&traffic_split=0.5&default_route=true"
    calls = [
        ["POST", f"{own}/models/logistic_regression/promote?version=1&alias=production", ""],
        ["POST", f"{own}{test}", ""],
        ["POST", f"{own}/predict", "text/plain"],
    ]
    shown = dom(page(PAGE.replace("CALLS", str(calls))))
    assert "done: " in shown
    assert server.client.get("/models").json() == before
    assert server.client.get("/ab-tests").json()["tests"] == []
    refused = 'sporeprint_requests_total{endpoint="promote",status="403"} 1.0'
    assert refused in server.client.get("/metrics").text


def test_the_documentation_needs_nothing_from_elsewhere(served: Callable[..., Server], dom: Callable[[str], str]) -> None:
    server = served()
    shown = dom(f"{server.client.base_url}/docs".replace("//docs", "/docs"))
    assert "Predict one row" in shown
    assert "opblock" in shown
    names = ("swagger-ui-bundle.js", "swagger-ui.css", "docs.css", "docs.js", "favicon.png")
    files = {name: server.client.get(f"/docs/{name}") for name in names}
    assert {each.status_code for each in files.values()} == {200}
    assert all(each.headers["cache-control"].startswith("public") for each in files.values())
    sizes = {name: int(each.headers["content-length"]) for name, each in files.items()}
    assert sum(sizes.values()) < 600_000, sizes
    plain = server.client.get("/docs/swagger-ui.css", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == files["swagger-ui.css"].content

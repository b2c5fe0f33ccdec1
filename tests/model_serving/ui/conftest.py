"""What the tests of pages in a real browser share; each file has a `server` of its own."""

from collections.abc import Iterator

import pytest

from browser import Browser
from serving_support import Server


@pytest.fixture
def base(server: Server) -> str:
    return f"{str(server.client.base_url).rstrip('/')}/ui/"


@pytest.fixture(scope="module")
def _browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(chromium, tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


@pytest.fixture
def browser(_browser: Browser) -> Iterator[Browser]:
    with _browser.fresh() as browser:
        yield browser

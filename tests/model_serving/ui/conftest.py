"""What the tests of pages in a real browser share; each file has a `server` of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser
from serving_support import Server


@pytest.fixture
def base(server: Server) -> str:
    return f"{str(server.client.base_url).rstrip('/')}/ui/"


@pytest.fixture
def browser(chromium: str, tmp_path: Path) -> Iterator[Browser]:
    with Browser(chromium, tmp_path / "profile") as browser:
        yield browser

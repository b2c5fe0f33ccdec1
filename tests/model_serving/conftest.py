"""Applications over a small run, called through ASGI, and servers as processes of their own."""

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from serving_support import Client, Server, start_server, write_config
from sporeprint import settings
from sporeprint.model_serving.api import create_app
from sporeprint.settings import Settings


@pytest.fixture
def small_settings(small_config: dict[str, Any]) -> Settings:
    return settings.parse(small_config)


@pytest.fixture(scope="module")
def shared_root(_small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work directory with models, for tests that change none."""
    root = tmp_path_factory.mktemp("serving") / "work"
    shutil.copytree(_small_run / "models", root / "models")
    return root


@pytest.fixture(scope="module")
def client(_small: dict[str, Any], shared_root: Path) -> Iterator[Client]:
    """An application that serves the small run."""
    with Client(create_app(settings.parse(_small), shared_root, worker="w")) as client:
        yield client


@pytest.fixture
def started(small_settings: Settings, small_copy: Path) -> Iterator[Callable[..., Client]]:
    """A function that starts an application over a copy of the small run, with settings changed as in `serving={...}`."""
    with contextlib.ExitStack() as stack:

        def start(worker: str = "w", **changes: dict[str, Any]) -> Client:
            raw = small_settings.model_dump(mode="json")
            for section, values in changes.items():
                raw[section] = {**raw[section], **values}
            return stack.enter_context(Client(create_app(settings.parse(raw), small_copy, worker=worker)))

        yield start


@pytest.fixture
def served(small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts `sporeprint serve` over a copy of the small run."""
    config = write_config(small_config, tmp_path / "config.yaml")
    with contextlib.ExitStack() as stack:

        def start(*options: str, env: Mapping[str, str] | None = None) -> Server:
            server = start_server(small_copy, config, *options, env=env)
            stack.callback(server.end)
            return server

        yield start

"""Applications over a small run, called through ASGI, and servers as processes of their own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from serving_support import Client
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


@dataclass
class Server:
    """A running `sporeprint serve`."""

    process: "subprocess.Popen[str]"
    client: httpx.Client

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def served(small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts `sporeprint serve` over a copy of the small run."""
    config = tmp_path / "config.yaml"
    with config.open("w", encoding="utf-8") as file:
        YAML().dump(small_config, file)
    servers: list[Server] = []

    def start(*options: str) -> Server:
        port = free_port()
        command = [sys.executable, "-m", "sporeprint", "serve", "--port", str(port), "--workdir", str(small_copy), "--config", str(config)]
        process = subprocess.Popen([*command, *options], text=True, stderr=subprocess.PIPE, env={**os.environ, "PYTHONWARNINGS": "ignore"})
        server = Server(process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10))
        servers.append(server)
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, process.stderr and process.stderr.read()
            assert time.monotonic() < end
            with contextlib.suppress(httpx.TransportError):
                server.client.get("/health/live")
                return server
            time.sleep(0.05)

    yield start
    for server in servers:
        server.client.close()
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
        if server.process.stderr:
            server.process.stderr.close()

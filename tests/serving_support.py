"""Applications called through ASGI, from tests that know no event loop; and servers as processes of their own."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from fastapi import FastAPI
from ruamel.yaml import YAML

T = TypeVar("T")


class Client:
    """An application that runs as long as the context lasts, in an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        self._lifespan = self.app.router.lifespan_context(self.app)
        try:
            self.run(self._lifespan.__aenter__())
        except BaseException:
            self._end()
            raise
        headers = {"content-type": "application/json"}
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test", headers=headers)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.run(self._client.aclose())
        self.run(self._lifespan.__aexit__(None, None, None))
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something in the application's event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def get(self, path: str, **given: Any) -> httpx.Response:
        return self.run(self._client.get(path, **given))

    def post(self, path: str, **given: Any) -> httpx.Response:
        return self.run(self._client.post(path, **given))

    def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        return self.run(self._client.request(method, path, **given))

    def post_all(self, path: str, all_given: list[dict[str, Any]]) -> list[httpx.Response]:
        """Post at once."""

        async def work() -> list[httpx.Response]:
            return list(await asyncio.gather(*(self._client.post(path, **given) for given in all_given)))

        return self.run(work())


@dataclass
class Server:
    """A running `sporeprint serve`."""

    process: "subprocess.Popen[str]"
    client: httpx.Client

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)

    def end(self) -> None:
        """Whatever became of it, nothing of it is left."""
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def write_config(config: dict[str, Any], path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(config, file)
    return path


def start_server(root: Path, config: Path, *options: str) -> Server:
    """Start `sporeprint serve`, and wait until it answers."""
    port = free_port()
    command = [sys.executable, "-m", "sporeprint", "serve", "--port", str(port), "--workdir", str(root), "--config", str(config)]
    process = subprocess.Popen([*command, *options], text=True, stderr=subprocess.PIPE, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    server = Server(process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10))
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        with contextlib.suppress(httpx.TransportError):
            server.client.get("/health/live")
            return server
        time.sleep(0.05)

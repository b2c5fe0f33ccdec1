"""Applications called through ASGI, from tests that know no event loop; and servers as processes of their own."""

import asyncio
import contextlib
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from fastapi import FastAPI
from ruamel.yaml import YAML

from free_ports import free_port
from warm_start import Warm

T = TypeVar("T")
#: For clients that speak plain HTTP: without it each of them reads the system's certificates, which takes as long as ten requests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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
        self._client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost", headers=headers)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.run(self._client.aclose())
        self.run(self._lifespan.__aexit__(None, None, None))
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def headers(self) -> httpx.Headers:
        """What is sent with every request."""
        return self._client.headers

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

    def wait(self) -> None:
        """Wait until it answers."""
        end = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert time.monotonic() < end
            with contextlib.suppress(httpx.TransportError):
                self.client.get("/health/live")
                return
            time.sleep(0.05)

    def end(self) -> None:
        """Whatever became of it, nothing of it is left."""
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()


def write_config(config: dict[str, Any], path: Path) -> Path:
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(config, file)
    return path


def start_server(root: Path, config: Path, *options: str, env: Mapping[str, str] | None = None) -> Server:
    """Start `sporeprint serve`, and wait until it answers."""
    port = free_port()
    command = [sys.executable, "-m", "sporeprint", "serve", "--port", str(port), "--workdir", str(root), "--config", str(config)]
    process = Warm([*command, *options], text=True, stderr=subprocess.PIPE, env={**os.environ, "PYTHONWARNINGS": "ignore", **(env or {})})
    server = Server(process, httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, verify=NO_TLS))
    try:
        server.wait()
    except BaseException:
        server.end()
        raise
    return server


class Load:
    """Clients that ask without a pause, as long as the context lasts."""

    def __init__(self, client: httpx.Client, row: dict[str, Any], clients: int = 4, patience_s: float = 10) -> None:
        self._url, self._row, self._end = str(client.base_url.join("/predict")), row, threading.Event()
        self._patience_s = patience_s
        self.answers: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with httpx.Client(timeout=self._patience_s, verify=NO_TLS) as client:
            while not self._end.is_set():
                try:
                    found = client.post(self._url, json=self._row)
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    time.sleep(0.01)
                    continue
                if found.status_code == 200:
                    self.answers.append(found.json())
                else:
                    self.failures.append(found.text)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

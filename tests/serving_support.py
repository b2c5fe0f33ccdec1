"""Calls an application through ASGI, from tests that know no event loop."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from fastapi import FastAPI

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

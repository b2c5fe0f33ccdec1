"""Calls of the database in threads of their own, each with a deadline, behind a circuit breaker that the whole process shares.

A database that refuses connections is no danger: every call fails at once. One that is silent (a stopped process, a dead link, a firewall
that drops packets) holds each call until the driver gives up. Here a call is given up after `WAIT_S`, further ones fail at once until a
probe gets an answer again, and the threads that wait are none of those that score batches or read models.
"""

import asyncio
import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextvars import ContextVar
from typing import Any, ParamSpec, Self, TypeVar

from sqlalchemy import Engine

from sporeprint.errors import SporeprintError, StorageUnavailableError
from sporeprint.storage.engine import reading
from sporeprint.storage.urls import redacted

log = logging.getLogger(__name__)


class SilentDatabaseError(StorageUnavailableError):
    """A database takes connections and does not answer.

    Attributes:
        has_begun: whether the call was under way, so that what it asks for may still be done.
    """

    has_begun = False


P = ParamSpec("P")
Result = TypeVar("Result")

#: Threads, and calls that may wait for one.
THREADS, QUEUE = 4, 64
#: Seconds that a call is waited for. A database that is silent for longer counts as away.
WAIT_S = 8.0
#: Seconds between two probes while the database is away.
PROBE_S = 1.0


class Patience:
    """Seconds that all calls inside wait together, also those in threads that are begun there; calls at once count once."""

    def __init__(self, seconds: float = WAIT_S) -> None:
        self._left, self._calls, self._since = seconds, 0, 0.0

    def __enter__(self) -> Self:
        self._token = _PATIENCE.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _PATIENCE.reset(self._token)

    @property
    def left(self) -> float:
        """What is left of it."""
        return self._left - (time.monotonic() - self._since if self._calls else 0)

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Count the time of a call."""
        if not self._calls:
            self._since = time.monotonic()
        self._calls += 1
        try:
            yield
        finally:
            left = self.left
            self._calls -= 1
            if not self._calls:
                self._left = left


_PATIENCE: ContextVar[Patience | None] = ContextVar("patience", default=None)


class DatabaseExecutor:
    """The threads and the circuit of one database."""

    def __init__(self, engine: Engine, *, threads: int = THREADS, wait_s: float = WAIT_S) -> None:
        self.engine, self.wait_s = engine, wait_s
        self._pool = ThreadPoolExecutor(threads, "database")
        self._limit, self._pending = threads + QUEUE, 0
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._away_since: float | None = None

    @property
    def away_s(self) -> float | None:
        """Seconds since the database was found to be silent; None while it is not."""
        since = self._away_since
        return None if since is None else time.monotonic() - since

    async def run(self, call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """Run a call in a thread.

        Raises:
            StorageUnavailableError: the database is away, did not answer within `wait_s`, or too many calls wait for it.
        """
        return await self.run_within(self.wait_s, functools.partial(call, *args, **kwargs))

    async def run_within(self, seconds: float | None, call: Callable[[], Result]) -> Result:
        """The same with another deadline; None: as long as the driver waits. Only a deadline of at least `wait_s` opens the circuit."""
        with self._spending(seconds) as most:
            pending = self._submit(call)
            future = asyncio.wrap_future(pending)
            # Its error is somebody's, also when nobody waits any more.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait([future], timeout=most)
            if not future.done():
                raise self._timed_out(pending, most or self.wait_s)
            return future.result()

    def call(self, call: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
        """`run` for a thread that is no event loop's."""
        with self._spending(self.wait_s) as most:
            future = self._submit(functools.partial(call, *args, **kwargs))
            try:
                return future.result(most)
            except FutureTimeoutError:
                if future.done():  # the call's own
                    raise
                raise self._timed_out(future, most or self.wait_s) from None

    @contextlib.contextmanager
    def _spending(self, seconds: float | None) -> Iterator[float | None]:
        """How long a call may be waited for, of what its request has left. Raises: StorageUnavailableError."""
        patience = _PATIENCE.get()
        if patience is None:
            yield seconds
            return
        left = patience.left
        if left <= 0:
            raise StorageUnavailableError(f"{redacted(self.engine.url)} was too slow for the calls before this one; try again later")
        with patience.call():
            yield left if seconds is None else min(seconds, left)

    def trip(self, error: SilentDatabaseError) -> None:
        """Take the database for away, until a probe gets an answer."""
        with self._guard:
            if self._away_since is not None:
                return
            self._away_since = time.monotonic()
        log.warning("the database is away: %s", error)
        threading.Thread(target=self._probe, name="database-probe", daemon=True).start()

    def close(self) -> None:
        """Take no more calls. Those that wait are not waited for."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, call: Callable[[], Result]) -> "Future[Result]":
        with self._guard:
            if self._away_since is not None:
                raise StorageUnavailableError(f"{redacted(self.engine.url)} has not answered for {self.away_s:.0f} s; try again later")
            if self._pending >= self._limit:
                raise StorageUnavailableError(f"{self._pending} calls wait for {redacted(self.engine.url)}; try again soon")
            self._pending += 1
        future = self._pool.submit(call)
        future.add_done_callback(self._finished)
        return future

    def _finished(self, _: "Future[Result]") -> None:
        with self._guard:
            self._pending -= 1

    def _timed_out(self, call: "Future[Any]", seconds: float) -> SilentDatabaseError:
        error = SilentDatabaseError(f"{redacted(self.engine.url)} did not answer within {seconds:.3g} s; try again later")
        error.has_begun = not call.cancel()  # whoever was told that it failed must not find it done later
        if seconds >= self.wait_s:
            self.trip(error)
        return error

    def _probe(self) -> None:
        """Ask until there is an answer, whatever it is: then calls are let through again."""
        while not self._closed.wait(PROBE_S):
            try:
                with reading(self.engine) as connection:
                    connection.exec_driver_sql("SELECT 1").scalar()
            except StorageUnavailableError as error:
                if not _is_refusal(error):
                    continue
            except SporeprintError:
                pass  # an error of the database's own is an answer
            except Exception:  # whatever it was: a probe that ended would leave the circuit open for good
                log.exception("the database cannot be probed")
                continue
            with self._guard:
                away_s, self._away_since = self.away_s, None
            log.warning("the database answers again, after %.0f s", away_s)
            return


def _is_refusal(error: StorageUnavailableError) -> bool:
    """Whether the database refuses connections: it is away, but each call says so at once."""
    return "refused" in str(error)


def in_thread(call: Callable[[], Result]) -> "Future[Result]":
    """Begin a call in a thread of its own; for what is done once, before there is an executor. The thread ends when the driver gives up."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 -- it goes to who waits
            with contextlib.suppress(Exception):
                future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="database-start", daemon=True).start()
    return future


def within(seconds: float, call: "Future[Result]", *, since: float | None = None) -> Result:
    """The result of a call that was begun.

    Args:
        seconds: longest that it may take.
        call: see `in_thread`.
        since: when it began, by the steady clock; now, if left out.

    Raises:
        SilentDatabaseError: it takes longer.
    """
    # At the least a moment, as an answer may have come while this process was busy.
    left = seconds if since is None else max(0.5, since + seconds - time.monotonic())
    try:
        return call.result(left)
    except FutureTimeoutError:
        if call.done():
            raise
        raise SilentDatabaseError(f"the database did not answer within {seconds:g} s; try again later") from None

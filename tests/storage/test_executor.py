"""Tests of sporeprint.storage.executor, against a server that takes connections and says nothing."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import URL, Engine

from sporeprint.errors import StorageUnavailableError
from sporeprint.storage import executor
from sporeprint.storage.engine import connect, reading
from sporeprint.storage.executor import QUEUE, DatabaseExecutor, Patience, SilentDatabaseError, in_thread, within


@pytest.fixture
def silent() -> Iterator[Engine]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        address = URL.create("mysql+pymysql", username="u", host="127.0.0.1", port=listening.getsockname()[1], database="d")
        engine = connect(address, answer_s=2)
        yield engine
        engine.dispose()


def ask(engine: Engine) -> int:
    with reading(engine) as connection:
        return int(connection.exec_driver_sql("SELECT 1").scalar_one())


def test_calls_of_a_silent_database_are_given_up_and_further_ones_fail_at_once(silent: Engine) -> None:
    calls = DatabaseExecutor(silent, threads=2, wait_s=0.3)

    async def main() -> list[float]:
        took = []
        for _ in range(3):
            began = time.monotonic()
            with pytest.raises(StorageUnavailableError, match=r"answer"):
                await calls.run(ask, silent)
            took.append(time.monotonic() - began)
        return took

    first, *rest = asyncio.run(main())
    assert first >= 0.3
    assert max(rest) < 0.2
    assert calls.away_s is not None
    calls.close()


def test_calls_are_let_through_again_when_the_database_answers(oltp: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "PROBE_S", 0.02)
    calls, held = DatabaseExecutor(oltp, wait_s=0.05), threading.Event()
    with pytest.raises(SilentDatabaseError):
        calls.call(held.wait)
    held.set()
    until = time.monotonic() + 10
    while calls.away_s is not None:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert calls.call(ask, oltp) == 1
    calls.close()


def test_a_shorter_deadline_of_the_caller_does_not_take_the_database_for_away(oltp: Engine) -> None:
    calls, held = DatabaseExecutor(oltp), threading.Event()

    async def main() -> None:
        with pytest.raises(SilentDatabaseError, match=r"within 0\.01 s"):
            await calls.run_within(0.01, held.wait)
        held.set()
        assert await calls.run(ask, oltp) == 1

    asyncio.run(main())
    calls.close()


def test_no_more_calls_wait_than_are_allowed(oltp: Engine) -> None:
    calls, held = DatabaseExecutor(oltp, threads=1), threading.Event()

    async def main() -> None:
        waiting = [asyncio.create_task(calls.run_within(None, held.wait)) for _ in range(QUEUE + 1)]
        await asyncio.sleep(0.05)
        with pytest.raises(StorageUnavailableError, match="65 calls wait"):
            await calls.run(ask, oltp)
        held.set()
        await asyncio.gather(*waiting)

    asyncio.run(main())
    calls.close()


def test_what_was_given_up_before_it_began_is_never_done(oltp: Engine) -> None:
    calls, held, done = DatabaseExecutor(oltp, threads=1, wait_s=0.1), threading.Event(), list[str]()

    def under_way() -> None:
        held.wait(10)
        done.append("under way")

    with pytest.raises(SilentDatabaseError) as begun:
        calls.call(under_way)
    calls._away_since = None  # as after a probe
    with pytest.raises(SilentDatabaseError) as waiting:
        calls.call(done.append, "waiting")
    assert (begun.value.has_begun, waiting.value.has_begun) == (True, False)
    held.set()
    calls._pool.shutdown(wait=True)
    assert done == ["under way"]
    calls.close()


def test_errors_of_calls_are_the_callers(oltp: Engine) -> None:
    calls = DatabaseExecutor(oltp)

    def fails() -> None:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        calls.call(fails)
    with pytest.raises(TimeoutError, match="mine"):
        asyncio.run(calls.run(fails))
    with pytest.raises(TimeoutError, match="mine"):
        within(5, in_thread(fails))
    assert calls.away_s is None
    calls.close()


def test_what_is_done_at_the_start_is_given_up(silent: Engine) -> None:
    began = time.monotonic()
    with pytest.raises(SilentDatabaseError, match=r"within 0\.2 s"):
        within(0.2, in_thread(lambda: ask(silent)))
    assert time.monotonic() - began < 1.5


def test_the_calls_of_a_request_wait_so_long_together(oltp: Engine) -> None:
    calls, held = DatabaseExecutor(oltp), threading.Event()

    async def main() -> float:
        began = time.monotonic()
        with Patience(0.6):
            await asyncio.gather(*(calls.run(time.sleep, 0.3) for _ in range(3)))  # at once: they count once
            with pytest.raises(SilentDatabaseError) as given_up:
                await asyncio.to_thread(calls.call, held.wait)  # in a thread, too
            assert given_up.value.has_begun
            with pytest.raises(StorageUnavailableError, match="too slow for the calls before this one"):
                await calls.run(ask, oltp)
            with Patience(5):
                assert await calls.run(ask, oltp) == 1
        took = time.monotonic() - began
        assert await calls.run(ask, oltp) == 1  # another request
        return took

    assert 0.6 <= asyncio.run(main()) < 2
    assert calls.away_s is None  # a request that is out of patience says nothing about the database
    held.set()
    calls.close()

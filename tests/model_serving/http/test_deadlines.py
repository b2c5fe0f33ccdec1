"""What takes too long is cancelled and says so; one timer sees to all of it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from sporeprint.model_serving.http.deadlines import Deadlines


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that is to end by itself."""
    asyncio.run(asyncio.wait_for(work, 10))


def test_work_that_ends_in_time_is_left_alone() -> None:
    async def work() -> None:
        deadlines = Deadlines()
        with deadlines.within(5):
            await asyncio.sleep(0)
        assert not deadlines.ends

    run(work())


def test_late_work_is_cancelled() -> None:
    async def work() -> None:
        deadlines = Deadlines()
        with pytest.raises(TimeoutError), deadlines.within(0.01):
            await asyncio.sleep(60)
        assert not deadlines.ends
        await asyncio.sleep(0)  # the cancellation was for the work alone

    run(work())


def test_each_has_its_own_time() -> None:
    ended: list[str] = []

    async def work() -> None:
        deadlines = Deadlines()

        async def late(name: str, seconds: float) -> None:
            with pytest.raises(TimeoutError), deadlines.within(seconds):
                await asyncio.sleep(60)
            ended.append(name)

        # The timer that was set for the first is brought forward, and set again for those that are left.
        await asyncio.gather(late("long", 0.2), late("short", 0.02), late("middle", 0.1))

    run(work())
    assert ended == ["short", "middle", "long"]


def test_a_deadline_can_be_put_off_or_lifted() -> None:
    async def work() -> None:
        deadlines = Deadlines()
        with deadlines.within(0.02) as deadline:
            deadline.put_off(5)
            await asyncio.sleep(0.06)
            deadline.lift()
        with deadlines.within(0.02) as deadline:
            deadline.lift()
            await asyncio.sleep(0.06)

        async def brought_forward() -> None:
            with deadlines.within(5) as deadline:
                deadline.put_off(0.02)
                await asyncio.sleep(60)

        with pytest.raises(TimeoutError):
            await brought_forward()

    run(work())


def test_who_is_cancelled_from_outside_is_not_late() -> None:
    async def work() -> None:
        deadlines, began = Deadlines(), asyncio.Event()

        async def waits() -> None:
            with deadlines.within(0.05):
                began.set()
                await asyncio.sleep(60)

        task = asyncio.create_task(waits())
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(work())


def test_another_error_is_its_own() -> None:
    async def work() -> None:
        deadlines = Deadlines()

        async def fails_when_cancelled() -> None:
            with deadlines.within(0.01):
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    raise ZeroDivisionError from None

        with pytest.raises(ZeroDivisionError):
            await fails_when_cancelled()
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()

    run(work())

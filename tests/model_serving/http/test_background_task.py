"""Work beside the requests ends with its context, whatever happens in it."""

import asyncio

import pytest

from sporeprint.model_serving.http.background_task import background_task


def test_it_runs_as_long_as_the_context_and_is_waited_for() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            seen.append("begun")
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            seen.append("ended")

    async def fails() -> None:
        async with background_task(work(), "work"):
            await asyncio.sleep(0)
            assert "work" in {task.get_name() for task in asyncio.all_tasks()}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(fails())
    assert seen == ["begun", "ended"]

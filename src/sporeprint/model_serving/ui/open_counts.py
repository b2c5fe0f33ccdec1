"""How many alerts are on and how many A/B tests run: at the head of every page, asked for at most once a second."""

import asyncio
import contextvars
import time
from typing import NamedTuple

from sporeprint.errors import StorageError, StorageUnavailableError
from sporeprint.storage.executor import DatabaseExecutor
from sporeprint.storage.oltp import ab_tests, alerts

#: Seconds for which the counts are shared, and for which a page waits for them: one that has none has no numbers.
SHARED_S, PATIENCE_S = 1.0, 0.25


class OpenCounts(NamedTuple):
    """What goes on.

    Attributes:
        alerts: that are on.
        tests: that run.
    """

    alerts: int
    tests: int


class RecentCounts:
    """The counts of a server."""

    def __init__(self) -> None:
        self._until = 0.0
        self._task: asyncio.Task[OpenCounts | None] | None = None

    async def counts(self, database: DatabaseExecutor) -> OpenCounts | None:
        """As they were within the last second; None where the database does not say it soon."""
        if self._task is None or (time.monotonic() >= self._until and self._task.done()):
            self._until = time.monotonic() + SHARED_S
            # Not with the patience of one request: all wait for the same.
            self._task = asyncio.get_running_loop().create_task(_read(database), context=contextvars.Context())
        done, _ = await asyncio.wait({self._task}, timeout=PATIENCE_S)
        return self._task.result() if done else None


async def _read(database: DatabaseExecutor) -> OpenCounts | None:
    engine = database.engine
    try:
        return await database.run(lambda: OpenCounts(alerts.count_on(engine), len(ab_tests.running_ids(engine))))
    except (StorageError, StorageUnavailableError):
        return None

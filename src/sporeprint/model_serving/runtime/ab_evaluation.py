"""Looks at the running tests in the background, in one process at a time, and ends those that their rule ends."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable

from sporeprint.errors import SporeprintError
from sporeprint.model_serving.http.background_task import background_task
from sporeprint.pipelines import ab_test_lifecycle as experiments
from sporeprint.pipelines.ab_test_lifecycle import Lab
from sporeprint.storage.oltp import checkpoints

log = logging.getLogger(__name__)

LEASE = "evaluating"
#: Seconds that a lease lasts beyond the pause between two looks: whoever is killed is followed by another after so long.
BEYOND_S = 20.0


class Evaluating:
    """The background job of one process."""

    def __init__(self, lab: Lab, worker: str, any_runs: Callable[[], bool]) -> None:
        self._lab, self._worker, self._any_runs = lab, worker, any_runs
        self._pause_s = lab.settings.ab_testing.look_s

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look as long as the context lasts."""
        async with background_task(self._watch(), "ab-evaluating"):
            yield

    async def _watch(self) -> None:
        # Also after the last test has ended: a winner may wait for its promotion.
        more = True
        while True:
            await asyncio.sleep(self._pause_s)
            runs = self._any_runs()
            if runs or more:
                more = await asyncio.to_thread(self.look) or runs

    def look(self) -> bool:
        """Look once, if no other process does, and say whether there may be something left to do when no test runs."""
        try:
            now_us = time.time_ns() // 1000
            until_us = now_us + int((self._pause_s + BEYOND_S) * 1e6)
            if checkpoints.lease(self._lab.engine, LEASE, self._worker, now_us=now_us, until_us=until_us):
                experiments.evaluate(self._lab, actor=f"worker:{self._worker}")
                return experiments.waits(self._lab)
        except SporeprintError as error:
            log.warning("the A/B tests cannot be looked at: %s", error)
        except Exception:  # whatever it was: without this task, no test would ever end by itself
            log.exception("the A/B tests could not be looked at")
        return True

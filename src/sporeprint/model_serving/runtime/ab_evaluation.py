"""Evaluates the running A/B tests in the background, in one process at a time."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from sporeprint.common.files import atomic_write
from sporeprint.common.workdir import Workdir
from sporeprint.errors import SporeprintError, StorageUnavailableError
from sporeprint.model_serving.http.authentication import Run
from sporeprint.model_serving.http.background_task import background_task
from sporeprint.model_serving.runtime.monitoring_gauges import AB_TESTS
from sporeprint.pipelines.ab_test_lifecycle import AbTestStatus, ExperimentService
from sporeprint.storage.oltp import checkpoints

log = logging.getLogger(__name__)

LEASE = "evaluating"
#: Seconds that a lease lasts beyond the pause between two evaluations. If the process dies, another one takes over after so long.
BEYOND_S = 20.0


def _figures(status: AbTestStatus) -> dict[str, Any]:
    """What /metrics shows of a running test."""
    interim = status.interim_analysis
    return {
        "test": status.test.test_id,
        "units": interim.units,
        "labels": interim.labels,
        "log_e": interim.figures["running"]["log_e"],
        "mismatch_log_e": interim.figures["srm_log_e"],
        "gain": {"value": interim.figures["primary"]["gain"]["value"], **{end: interim.figures["running"][end] for end in ("low", "high")}},
    }


class BackgroundEvaluation:
    """The background task of one process.

    Args:
        experiments: evaluates the tests.
        worker: name of this process.
        any_runs: whether a test runs, as far as this process knows.
        run: runs what asks the database in a thread.
    """

    def __init__(self, experiments: ExperimentService, worker: str, any_runs: Callable[[], bool], *, run: Run = asyncio.to_thread) -> None:
        self._run_in_thread = run
        self._experiments, self._worker, self._any_runs = experiments, worker, any_runs
        self._pause_s = experiments.settings.ab_testing.evaluate_every_s

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Evaluate as long as the context lasts."""
        async with background_task(self._run(), "ab-evaluating"):
            yield

    async def _run(self) -> None:
        # Also after the last test has ended: a winner may wait for its promotion.
        more = True
        while True:
            await asyncio.sleep(self._pause_s)
            runs = self._any_runs()
            try:
                # A test may have begun and ended since the last look, also by a command: its winner waits as well.
                if runs or more or await self._run_in_thread(self.has_pending_promotion):
                    more = await self._run_in_thread(self.evaluate) or runs
            except StorageUnavailableError:  # the circuit is open: nothing was begun, and this task must outlast it
                more = True

    def has_pending_promotion(self) -> bool:
        """Whether a winner is still to be promoted, or that cannot be known now."""
        try:
            return self._experiments.has_pending_promotion()
        except SporeprintError:  # the evaluation that follows says what is wrong
            return True

    def evaluate(self) -> bool:
        """Evaluate once, if no other process does. Returns whether something may be left to do when no test runs."""
        try:
            now_us = time.time_ns() // 1000
            until_us = now_us + int((self._pause_s + BEYOND_S) * 1e6)
            if checkpoints.lease(self._experiments.engine, LEASE, self._worker, now_us=now_us, until_us=until_us):
                statuses = self._experiments.evaluate(actor=f"worker:{self._worker}")
                path = Workdir(self._experiments.root).monitoring / AB_TESTS
                atomic_write(path, json.dumps([_figures(status) for status in statuses]))
                return self._experiments.has_pending_promotion()
        except SporeprintError as error:
            if not isinstance(error, StorageUnavailableError):  # the database is away: that is in the log
                log.warning("the A/B tests cannot be evaluated: %s", error)
        except Exception:  # whatever it was: without this task, no test would ever end by itself
            log.exception("the A/B tests could not be evaluated")
        return True

"""One run of a step or of the whole pipeline: its configuration, its locked work directory and its log."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sporeprint.common import telemetry
from sporeprint.common.locks import run_lock
from sporeprint.common.progress import SilentSteps, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.pipelines.lineage import lineage_of
from sporeprint.pipelines.run_log import RunLog
from sporeprint.pipelines.run_record import RunRecord, recorded
from sporeprint.settings import Settings


@dataclass(frozen=True)
class RunContext:
    """What every step of a run needs.

    Attributes:
        settings: the configuration.
        workdir: the work directory, locked for this run.
        log: times and logs the steps.
        record: what the database has of it.
    """

    settings: Settings
    workdir: Workdir
    log: RunLog
    record: RunRecord

    @property
    def run_id(self) -> str:
        """The name of the run."""
        return self.log.run_id


def utc_now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def new_run_id() -> str:
    """A new run id: the start time, and four random hexadecimal digits to tell apart runs that start in the same second."""
    return f"{utc_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


@contextmanager
def open_run(settings: Settings, root: Path, steps: Steps | None, command: str) -> Iterator[RunContext]:
    """Lock the work directory and start a run, with its row in the database.

    Raises:
        BusyError: another run holds the work directory.
    """
    workdir, run_id = Workdir(root), new_run_id()
    record = RunRecord(settings, root, run_id, command)
    with _traced(run_id), run_lock(root), recorded(record, is_alone=True):
        log = RunLog(run_id, workdir.logs, steps or SilentSteps(), lineage_of(settings, workdir, run_id), record.times)
        yield RunContext(settings, workdir, log, record)


@contextmanager
def _traced(run_id: str) -> Iterator[None]:
    """The run as a trace, or as part of the one that the environment variable TRACEPARENT names. In a server its own tracing goes on."""
    if telemetry.is_tracing():
        with telemetry.span("run", {"sporeprint.run_id": run_id}):
            yield
        return
    telemetry.start()
    try:
        with telemetry.span("run", {"sporeprint.run_id": run_id}, traceparent=os.environ.get("TRACEPARENT")):
            yield
    finally:
        telemetry.stop()

"""One run of a step or of the whole pipeline: its configuration, its locked work directory and its log."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sporeprint.common.locks import run_lock
from sporeprint.common.progress import SilentSteps, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.pipelines.run_log import RunLog
from sporeprint.settings import Settings


@dataclass(frozen=True)
class RunContext:
    """What every step of a run needs.

    Attributes:
        settings: the configuration.
        workdir: the work directory, locked for this run.
        log: times and logs the steps.
    """

    settings: Settings
    workdir: Workdir
    log: RunLog

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
def open_run(settings: Settings, root: Path, steps: Steps | None) -> Iterator[RunContext]:
    """Lock the work directory and start a run.

    Raises:
        BusyError: another run holds the work directory.
    """
    workdir = Workdir(root)
    with run_lock(root):
        yield RunContext(settings, workdir, RunLog(new_run_id(), workdir.logs, steps or SilentSteps()))

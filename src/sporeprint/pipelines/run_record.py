"""A run as the database has it: who ran what, how long each step took, what came of it. A database that is away stops no run."""

import hashlib
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from sporeprint import __version__
from sporeprint.data.data_summary import DataSummary
from sporeprint.errors import SporeprintError
from sporeprint.messages.runs import RunStep
from sporeprint.settings import Settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.executor import in_thread, within
from sporeprint.storage.oltp import migrate, pipeline_runs
from sporeprint.storage.oltp.pipeline_runs import DONE, FAILED, PipelineRun, RunMetric
from sporeprint.storage.warehouse.training_sink import measured

log = logging.getLogger(__name__)

#: Longest that a run waits for its database, seconds: an SQLite file's lock is waited for longer by the driver itself.
WAIT_S = 3.0
FILE_S = 15.0
#: After so many seconds, a database that did not answer may do so.
AGAIN_S = 20.0
#: Most characters of an error, and of what is listed.
MOST_TEXT = 2_000
INTERRUPTED = 130


@dataclass
class RunRecord:
    """What is known of a run that goes on.

    Attributes:
        settings: the configuration.
        root: the work directory.
        run_id: its name.
        command: what is run.
        started_us: microseconds since 1970 UTC.
        rows: rows of the table; None: it reads none, or not yet.
        data_sha256: of the table's source.
        exit_code: what the command ends with, if nothing goes wrong.
        details: JSON values.
        metrics: what was measured.
        times: of the steps, which the run's log fills.
        error: why it stopped.
    """

    settings: Settings
    root: Path
    run_id: str
    command: str
    started_us: int = field(default_factory=lambda: time.time_ns() // 1000)
    rows: int | None = None
    data_sha256: str | None = None
    exit_code: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    metrics: list[RunMetric] = field(default_factory=list)
    times: list[RunStep] = field(default_factory=list)
    error: str | None = None
    _engine: Engine | None = None

    def add_data(self, summary: DataSummary) -> None:
        """The table that was read."""
        self.add_counts(summary.rows, summary.rejected, summary.by_rule, str(summary.provenance["sha256"]))
        same = ("simulated", "duplicates", "missing", "classes", "splits", "notes", "fingerprint")
        self.details |= {name: getattr(summary, name) for name in same}
        source = str(summary.provenance["source"])[:MOST_TEXT]
        self.details |= {"source": source, "groups": summary.groups.reason, "rejected_of": summary.run_id}

    def add_counts(self, rows: int, rejected: int, by_rule: Mapping[str, int], sha256: str) -> None:
        """How many rows there are, and how many break which rule."""
        self.rows, self.data_sha256 = rows, sha256
        most = self.settings.validation.max_rejected_share
        self.details |= {"rejected": rejected, "by_rule": dict(by_rule), "max_rejected_share": most, "rejected_of": self.run_id}

    def add_metrics(self, run: Mapping[str, Any]) -> None:
        """What was measured, as `report.metrics_dict` gives it."""
        self.metrics = [
            RunMetric(
                *(row["model"], row["part"], row["metric"], row["value"]),
                low=row.get("low"),
                high=row.get("high"),
                rows=row["rows_measured"],
            )
            for row in measured(run)
        ]

    def to_row(self, *, is_over: bool) -> PipelineRun:
        """As the database has it."""
        details = {
            "host": platform.node(),
            "release": __version__,
            **self.details,
            "steps": [asdict(each) for each in self.times],
            **({"error": self.error} if self.error else {}),
        }
        about = PipelineRun(self.run_id, self.command, self.started_us, rows=self.rows, data_sha256=self.data_sha256, details=details)
        if not is_over:
            return about
        status, now_us = FAILED if self.error else DONE, time.time_ns() // 1000
        return PipelineRun(**{**about.__dict__, "status": status, "exit_code": self.exit_code, "finished_us": now_us})

    def write(self, work: Callable[[Engine], object]) -> str | None:
        """Write something to the database, and say why that failed; None: it is done."""
        try:
            if self._engine is None:
                self._engine = connect(urls.oltp(self.settings.storage, self.root), answer_s=round(FILE_S))
            engine = self._engine
            is_file = engine.url.get_backend_name() == urls.SQLITE

            def prepared() -> None:
                migrate.prepare(engine)
                work(engine)

            within(FILE_S if is_file else WAIT_S, in_thread(prepared))
        except SporeprintError as error:
            return str(error)
        return None

    def close(self) -> None:
        """Close the connections."""
        if self._engine is not None:
            self._engine.dispose()

    def fail(self, error: BaseException) -> None:
        """Say why it stopped, without the folders of this machine."""
        self.error = (str(error) or type(error).__name__).replace(f"{self.root.absolute()}/", "")[:MOST_TEXT]
        unknown = INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
        self.exit_code = error.exit_code if isinstance(error, SporeprintError) else unknown


def place_of(root: Path) -> str:
    """What tells a work directory from those of other machines, without naming it."""
    return hashlib.sha256(f"{platform.node()}\n{root.absolute()}".encode()).hexdigest()[:16]


@contextmanager
def recorded(record: RunRecord, *, is_alone: bool) -> Iterator[None]:
    """Write down a run as long as the context lasts: that it begins, where it is alone in its place, and how it ends.

    Args:
        record: the run.
        is_alone: whether no other run of the work directory goes on beside it.
    """
    problem, began_s = None, time.monotonic()
    if is_alone:
        record.details["place"] = place_of(record.root)
        begun = record.to_row(is_over=False)
        problem = record.write(lambda engine: pipeline_runs.begin(engine, begun))
    try:
        yield
    except BaseException as error:
        record.fail(error)
        raise
    finally:
        row = record.to_row(is_over=True)
        if problem is None or time.monotonic() - began_s > AGAIN_S:  # one that was silent just now is not waited for again
            problem = record.write(lambda engine: pipeline_runs.finish(engine, row, record.metrics))
        if problem is not None:
            log.warning("the run %s is not in the database, but in logs/: %s", record.run_id, problem)
        record.close()

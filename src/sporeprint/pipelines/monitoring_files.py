"""The files of the monitor: reports, and the state of each stream."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sporeprint.common.files import atomic_write
from sporeprint.common.text_table import Table
from sporeprint.common.workdir import Workdir
from sporeprint.errors import SporeprintError, StorageError
from sporeprint.monitoring.evaluation import Evaluation
from sporeprint.monitoring.stream_state import StreamState
from sporeprint.monitoring.trends import Trend
from sporeprint.reports import monitoring_report as monitoring_report

#: Earlier evaluations on the page.
HISTORY = 30
STATE, LATEST = "state.json", "latest"


@dataclass(frozen=True)
class MonitoringRun:
    """An evaluation, and where it was written.

    Attributes:
        evaluation: the evaluation.
        written: the report's files.
        unwritten: why they could not be written; None if they were.
        actions: what was done about it, in lines.
        evaluation_id: its name in the database; None: it is not there.
    """

    evaluation: Evaluation
    written: tuple[str, ...]
    unwritten: str | None = None
    actions: tuple[str, ...] = ()
    evaluation_id: str | None = None

    @property
    def exit_code(self) -> int:
        """What the command ends with; an alarm goes before a report that could not be written."""
        code = self.evaluation.exit_code
        return StorageError.exit_code if code == 0 and self.unwritten else code

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        written = {"written": list(self.written), "not_written": self.unwritten, "actions": list(self.actions)}
        return {**self.evaluation.to_dict(), "evaluation_id": self.evaluation_id, **written, "exit_code": self.exit_code}

    def tables(self) -> list[Table]:
        """As people read it."""
        files = [("report", path) for path in self.written] + ([("NOT WRITTEN", self.unwritten)] if self.unwritten else [])
        done = [Table("Actions", ("",), tuple((line,) for line in self.actions))] if self.actions else []
        return [*self.evaluation.tables(), Table("", ("", ""), tuple(files)), *done]


def stream_state(workdir: Workdir, stream: str, notes: list[str]) -> StreamState:
    """What the evaluations before left behind."""
    path = workdir.monitoring / STATE
    try:
        raw = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return StreamState.from_dict(raw[stream]) if stream in raw else StreamState()
    except (OSError, ValueError, KeyError, TypeError) as error:
        notes.append(f"what earlier evaluations left in {workdir.shown(path)} cannot be read ({error!r}); this one begins anew")
        return StreamState()


def write(
    workdir: Workdir,
    evaluation: Evaluation,
    keep: int,
    memory: tuple[str, StreamState] | None = None,
    trends: Sequence[Trend] = (),
    unkept: str | None = None,
) -> MonitoringRun:
    """Write an evaluation's reports, and what the next one has to know.

    Args:
        workdir: where to.
        evaluation: the evaluation.
        keep: reports that stay, the newest.
        memory: a stream, and what its evaluations left behind.
        trends: the numbers of the evaluations before it, and its own.
        unkept: why its numbers are not among those; None if they are.
    """
    folder = workdir.monitoring
    stamp = datetime.fromtimestamp(evaluation.at_s, UTC).strftime("%Y%m%dT%H%M%S%fZ")
    text = json.dumps(evaluation.to_dict(), ensure_ascii=False, allow_nan=False, indent=1)
    try:
        html = monitoring_report.render(evaluation, _history(folder), trends)
        paths = [folder / f"{name}{ending}" for name in (f"report_{stamp}", LATEST) for ending in (".json", ".html")]
        for path in paths:
            atomic_write(path, html if path.suffix == ".html" else text)
        if memory is not None:
            _remember(folder / STATE, *memory)
        _prune(folder, keep)
        return MonitoringRun(evaluation, tuple(workdir.shown(path) for path in paths if path.suffix == ".html"), unkept)
    except (SporeprintError, OSError) as error:
        return MonitoringRun(evaluation, (), f"{error}; {unkept}" if unkept else str(error))


def _prune(folder: Path, keep: int) -> None:
    """Remove old reports. Their names are in the order of their times."""
    for ending in (".json", ".html"):
        for path in sorted(folder.glob(f"report_*{ending}"), reverse=True)[keep:]:
            path.unlink(missing_ok=True)


def _remember(path: Path, stream: str, remembered: StreamState) -> None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        raw = {}
    atomic_write(path, json.dumps({**raw, stream: remembered.to_dict()}, ensure_ascii=False, indent=1))


def _history(folder: Path) -> list[monitoring_report.Earlier]:
    """The last evaluations, the newest first; what cannot be read is left out."""
    points = []
    for path in sorted(folder.glob("report_*.json"), reverse=True)[:HISTORY]:
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            points.append(
                monitoring_report.Earlier(raw["at"], raw["status"], raw["current"], len(raw["alarms"]), path.with_suffix(".html").name)
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return points

"""Runs of the pipeline in the OLTP database: one row a run, written when it begins and again when it ends, and what it measured."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, insert, select, update

from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp.tables import pipeline_run, run_metric

RUNNING, DONE, FAILED = "running", "done", "failed"
#: Runs in one answer.
MOST = 200
_COLUMNS = tuple(column for column in pipeline_run.columns)


@dataclass(frozen=True)
class PipelineRun:
    """A run.

    Attributes:
        run_id: begins with the time.
        command: what was run: etl, train, monitor, ...
        started_us: when, microseconds since 1970 UTC.
        finished_us: when it ended; None: it has not.
        status: running, done or failed.
        exit_code: what the command ended with; None: it has not.
        rows: rows of the table; None: it read none.
        data_sha256: of the table's source; None: it read none.
        details: JSON values: host, place, steps, error, data.
    """

    run_id: str
    command: str
    started_us: int
    finished_us: int | None = None
    status: str = RUNNING
    exit_code: int | None = None
    rows: int | None = None
    data_sha256: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunMetric:
    """What a run measured.

    Attributes:
        model: of which model.
        part: on what: seen, unseen, ...
        metric: its name.
        value: the number; None: it is undefined.
        low: lower end of its interval; None: it has none.
        high: upper end.
        rows: that it was measured on.
    """

    model: str
    part: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    rows: int | None = None


def begin(engine: Engine, run: PipelineRun) -> None:
    """Write down that a run has begun. What was running in the same place has ended without a word, as a place runs one at a time.

    Raises:
        StorageUnavailableError: if the database does not answer now. Trying again is harmless.
        StorageError: if it cannot.
    """
    with writing(engine) as connection:
        if connection.execute(select(pipeline_run.c.run_id).where(pipeline_run.c.run_id == run.run_id)).first() is None:
            _end_lost(connection, run)
            connection.execute(insert(pipeline_run).values(**_values(run)))


def finish(engine: Engine, run: PipelineRun, metrics: Sequence[RunMetric]) -> None:
    """Write down how a run has ended, also where its begin could not be written. Again, it changes nothing. Raises: as `begin`."""
    with writing(engine) as connection:
        if not connection.execute(update(pipeline_run).where(pipeline_run.c.run_id == run.run_id).values(**_values(run))).rowcount:
            connection.execute(insert(pipeline_run).values(**_values(run)))
        there = connection.execute(select(run_metric.c.model).where(run_metric.c.run_id == run.run_id).limit(1)).first()
        if metrics and there is None:
            connection.execute(insert(run_metric), [{"run_id": run.run_id, **each.__dict__} for each in metrics])


def listed(
    engine: Engine, *, command: str | None = None, status: str | None = None, limit: int = MOST, before: str | None = None
) -> tuple[PipelineRun, ...]:
    """Runs, the latest first.

    Args:
        engine: of the OLTP database.
        command: only of this one.
        status: only these.
        limit: at most so many.
        before: id of a run; only those before it. Ids begin with the time.

    Raises:
        StorageUnavailableError, StorageError: as `begin`.
    """
    query = select(*_COLUMNS).order_by(pipeline_run.c.run_id.desc()).limit(limit)
    for column, value in ((pipeline_run.c.command, command), (pipeline_run.c.status, status)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(pipeline_run.c.run_id < before)
    with reading(engine) as connection:
        return tuple(_run(row) for row in connection.execute(query))


def get(engine: Engine, run_id: str) -> PipelineRun | None:
    """A run; None: there is none. Raises: as `begin`."""
    with reading(engine) as connection:
        row = connection.execute(select(*_COLUMNS).where(pipeline_run.c.run_id == run_id)).first()
    return None if row is None else _run(row)


def metrics(engine: Engine, run_id: str) -> tuple[RunMetric, ...]:
    """What a run measured, by model, part and name. Raises: as `begin`."""
    columns = [run_metric.c[name] for name in RunMetric.__dataclass_fields__]
    query = select(*columns).where(run_metric.c.run_id == run_id)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(run_metric.c.model, run_metric.c.part, run_metric.c.metric)).all()
    return tuple(RunMetric(*row) for row in rows)


def _end_lost(connection: Connection, run: PipelineRun) -> None:
    """Runs of a place that are still marked as running, though another one begins there, were killed."""
    rows = connection.execute(select(*_COLUMNS).where(pipeline_run.c.status == RUNNING)).all()
    for lost in map(_run, rows):
        if "place" in run.details and lost.details.get("place") == run.details["place"]:
            details = json.dumps({**lost.details, "error": "it ended without a word: killed, or the machine went down"})
            mine = pipeline_run.c.run_id == lost.run_id
            connection.execute(update(pipeline_run).where(mine).values(status=FAILED, details=details))


def _values(run: PipelineRun) -> dict[str, Any]:
    return {**run.__dict__, "details": json.dumps(run.details, ensure_ascii=False, allow_nan=False)}


def _run(row: Any) -> PipelineRun:
    return PipelineRun(**{**row._mapping, "details": json.loads(row.details)})

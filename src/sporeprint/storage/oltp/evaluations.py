"""Evaluations of the monitor in the OLTP database: a summary of each, and of the newest of a stream all that was computed, and its page."""

import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select, update

from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp.tables import monitor_evaluation

#: Evaluations in one answer.
MOST = 90
#: Streams in one answer, the newest.
MOST_STREAMS = 200
#: Most bytes of a summary.
SUMMARY_BYTES = 16_384
_COLUMNS = (
    monitor_evaluation.c.evaluation_id,
    monitor_evaluation.c.stream_id,
    monitor_evaluation.c.stream,
    monitor_evaluation.c.at_us,
    monitor_evaluation.c.status,
)


@dataclass(frozen=True)
class StoredEvaluation:
    """An evaluation, as it is listed.

    Attributes:
        evaluation_id: unique for all time.
        stream_id: of what it was held against: what has the same one is compared over time.
        stream: the same in words.
        at_us: when, microseconds since 1970 UTC.
        status: alarm, not computed or no alarm.
        summary: its main numbers, JSON values.
    """

    evaluation_id: str
    stream_id: str
    stream: str
    at_us: int
    status: str
    summary: Mapping[str, Any]


@dataclass(frozen=True)
class Stream:
    """What is evaluated under one name, with one budget of false alarms.

    Attributes:
        stream_id: of its words.
        stream: in words.
        evaluations: how many there are.
        last_us: when the newest was made, microseconds since 1970 UTC.
    """

    stream_id: str
    stream: str
    evaluations: int
    last_us: int


def stream_id_of(stream: str) -> str:
    """The id of a stream: its words may be of any length."""
    return hashlib.sha256(stream.encode()).hexdigest()[:24]


def keep(engine: Engine, item: StoredEvaluation, details: Mapping[str, Any], report: bytes | None, *, whole: int) -> None:
    """Write an evaluation down; one with the same id is replaced.

    Args:
        engine: of the OLTP database.
        item: the evaluation.
        details: all that was computed, as JSON values.
        report: its page, UTF-8; None: there is none.
        whole: evaluations of the stream that keep details and page, the newest.

    Raises:
        StorageUnavailableError: if the database does not answer now. Trying again is harmless.
        StorageError: if it cannot.
    """
    row = {
        "evaluation_id": item.evaluation_id,
        "stream_id": item.stream_id,
        "stream": item.stream,
        "at_us": item.at_us,
        "status": item.status,
        "summary": json.dumps(item.summary, ensure_ascii=False, allow_nan=False),
        "details": json.dumps(details, ensure_ascii=False, allow_nan=False),
        "report": None if report is None else gzip.compress(report, 6, mtime=0),
    }
    with writing(engine) as connection:
        if not connection.execute(
            update(monitor_evaluation).where(monitor_evaluation.c.evaluation_id == item.evaluation_id).values(**row)
        ).rowcount:
            connection.execute(insert(monitor_evaluation).values(**row))
        _thin(connection, item.stream_id, whole)


def _thin(connection: Connection, stream_id: str, whole: int) -> None:
    """Take details and pages of old evaluations away."""
    same = monitor_evaluation.c.stream_id == stream_id
    last = connection.execute(
        select(monitor_evaluation.c.at_us).where(same).order_by(monitor_evaluation.c.at_us.desc()).offset(whole).limit(1)
    ).scalar()
    if last is not None:
        old = same, monitor_evaluation.c.at_us <= last, monitor_evaluation.c.details.is_not(None)
        connection.execute(update(monitor_evaluation).where(*old).values(details=None, report=None))


def streams(engine: Engine) -> tuple[Stream, ...]:
    """What is evaluated, the newest first. Raises: as `keep`."""
    last = func.max(monitor_evaluation.c.at_us)
    grouped = (
        select(monitor_evaluation.c.stream_id, func.count(), last)
        .group_by(monitor_evaluation.c.stream_id)
        .order_by(last.desc())
        .limit(MOST_STREAMS)
    )
    with reading(engine) as connection:
        rows = connection.execute(grouped).all()
        return tuple(
            Stream(stream_id, connection.execute(_words_of(stream_id)).scalar_one(), count, last_us) for stream_id, count, last_us in rows
        )


def _words_of(stream_id: str) -> Any:
    return select(monitor_evaluation.c.stream).where(monitor_evaluation.c.stream_id == stream_id).limit(1)


def listed(engine: Engine, *, stream_id: str | None = None, since_us: int | None = None, limit: int = MOST) -> tuple[StoredEvaluation, ...]:
    """Evaluations, the newest first. Raises: as `keep`."""
    query = (
        select(*_COLUMNS, monitor_evaluation.c.summary)
        .order_by(monitor_evaluation.c.at_us.desc(), monitor_evaluation.c.evaluation_id.desc())
        .limit(limit)
    )
    if stream_id is not None:
        query = query.where(monitor_evaluation.c.stream_id == stream_id)
    if since_us is not None:
        query = query.where(monitor_evaluation.c.at_us >= since_us)
    with reading(engine) as connection:
        return tuple(_evaluation(row) for row in connection.execute(query))


def get(engine: Engine, evaluation_id: str) -> tuple[StoredEvaluation, Mapping[str, Any] | None] | None:
    """An evaluation, and all that was computed, as long as that is there; None: there is no such evaluation. Raises: as `keep`."""
    query = select(*_COLUMNS, monitor_evaluation.c.summary, monitor_evaluation.c.details).where(
        monitor_evaluation.c.evaluation_id == evaluation_id
    )
    with reading(engine) as connection:
        row = connection.execute(query).first()
    return None if row is None else (_evaluation(row), None if row.details is None else json.loads(row.details))


def report(engine: Engine, evaluation_id: str) -> bytes | None:
    """The page of an evaluation; None where there is none. Raises: as `keep`."""
    with reading(engine) as connection:
        packed = connection.execute(select(monitor_evaluation.c.report).where(monitor_evaluation.c.evaluation_id == evaluation_id)).scalar()
    return None if packed is None else gzip.decompress(packed)


def _evaluation(row: Any) -> StoredEvaluation:
    return StoredEvaluation(row.evaluation_id, row.stream_id, row.stream, row.at_us, row.status, json.loads(row.summary))

"""Batches as the database lists them, and rows of one as its artefact has them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from sqlalchemy import Engine, or_, select

from sporeprint.storage.engine import reading
from sporeprint.storage.oltp.batch_file import BatchStore, frames
from sporeprint.storage.oltp.prediction_search import SCAN_ROWS, Position
from sporeprint.storage.oltp.tables import batch

_COLUMNS = ("batch_id", "seq", "created_us", "model", "version", "rows", "verdicts", "sha256", "bytes")


@dataclass(frozen=True)
class BatchEntry:
    """A batch as the database has it.

    Attributes:
        position: its place in the list.
        batch_id: its id.
        model: name of the model.
        version: N of v<N>.
        rows: all of them.
        verdicts: verdict -> rows.
        sha256: of its artefact.
        bytes: of its artefact.
    """

    position: Position
    batch_id: str
    model: str
    version: int
    rows: int
    verdicts: Mapping[str, int]
    sha256: str
    bytes: int


def listed(engine: Engine, *, limit: int, before: Position | None = None) -> tuple[BatchEntry, ...]:
    """Batches, the latest first.

    Raises:
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    conditions = []
    if before is not None:
        created = batch.c.created_us
        conditions = [created <= before.created_us, or_(created < before.created_us, batch.c.seq < before.seq)]
    query = select(*(batch.c[name] for name in _COLUMNS)).where(*conditions)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(batch.c.created_us.desc(), batch.c.seq.desc()).limit(limit)).mappings().all()
    same = ("batch_id", "model", "version", "rows", "sha256", "bytes")
    return tuple(
        BatchEntry(
            position=Position(row["created_us"], row["seq"]), **{name: row[name] for name in same}, verdicts=json.loads(row["verdicts"])
        )
        for row in rows
    )


@dataclass(frozen=True)
class BatchRows:
    """Rows of a batch that pass a filter.

    Attributes:
        rows: number -> values, in their order.
        scanned_to: number of the first row that was not read; None: all were.
    """

    rows: Sequence[tuple[int, Mapping[str, Any]]]
    scanned_to: int | None


def batch_rows(store: BatchStore, batch_id: str, passes: Callable[[Mapping[str, Any]], bool], *, first: int = 0, limit: int) -> BatchRows:
    """Rows of a batch, of which no more than `SCAN_ROWS` are read.

    Args:
        store: of the artefacts.
        batch_id: its id.
        passes: whether a row is one of those.
        first: number of the first row that is read.
        limit: at most so many.

    Raises:
        FileNotFoundError: there is no such batch.
        StorageError: its artefact is damaged.
    """
    rows: list[tuple[int, Mapping[str, Any]]] = []
    begin, last = 0, first + SCAN_ROWS
    for frame in frames(store.path(batch_id)):
        part: pl.DataFrame = frame[max(0, first - begin) : max(0, last - begin)]
        for number, row in enumerate(part.iter_rows(named=True), begin + max(0, first - begin)):
            if len(rows) == limit:
                return BatchRows(rows, number)
            if passes(row):
                rows.append((number, row))
        begin += frame.height
        if begin > last:
            return BatchRows(rows, last)
    return BatchRows(rows, None)

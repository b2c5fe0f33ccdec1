"""Answers whose outcome is known, from the warehouse, as rows to train on: what the next model learns from the use of this one.

They follow the rows of the configured table; nothing of that is left out, because outcomes come only for some answers. Who
collects what a model calls edible hears of its errors there, and of no others: on such rows alone, a model would learn its own habits.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl

from sporeprint.common.files import atomic_path, sha256_file
from sporeprint.common.progress import Progress
from sporeprint.common.timestamps import HOUR_US
from sporeprint.common.workdir import Workdir
from sporeprint.data.parquet_store import Writer
from sporeprint.errors import DataError, StorageError
from sporeprint.ingestion.raw_table import RawTable
from sporeprint.schema import DatasetSchema
from sporeprint.settings import Settings
from sporeprint.storage.warehouse import monitoring_queries, training_sink
from sporeprint.storage.warehouse.protocol import Reader, Warehouse
from sporeprint.storage.warehouse.sync import BATCHES, PREDICTIONS

#: Rows that are read at a time: what bounds the memory.
PAGE_ROWS = 25_000
#: The group of rows of the warehouse, where a column names the groups: nobody asked for it.
GROUP = "of the warehouse"


@dataclass(frozen=True)
class LabelCounts:
    """How many answers have an outcome.

    Attributes:
        answers: answers in the period.
        labelled: those with an outcome.
        hours: hour -> how many of them.
    """

    answers: int
    labelled: int
    hours: dict[int, int]


def append_labelled_predictions(
    settings: Settings, workdir: Workdir, raw: RawTable, *, since_us: int | None, progress: Progress
) -> RawTable:
    """A table, followed by the answers of the warehouse whose outcome is known.

    Args:
        settings: the contract, where the warehouse is, and how few rows are too few.
        workdir: where the rows are written.
        raw: the table that they follow. It stays as it is.
        since_us: only answers given from then on; None: all.
        progress: told in rows.

    Raises:
        DataError: there are too few.
        StorageError, StorageUnavailableError: the warehouse cannot be read, or was never filled.
    """
    path = workdir.outcomes
    with training_sink.opened(settings.storage, workdir.root) as warehouse, _read(warehouse) as reader:
        labels = count_labels(reader, since_us or 0)
        refuse_too_few(settings, labels, since_us)
        progress.total(labels.labelled)
        first, last, rows = None, 0, 0
        with atomic_path(path) as temporary, Writer(temporary, {}) as writer:
            for frame, times in pages(reader, settings.dataset, labels, since_us or 0):
                writer.write(frame.to_arrow())
                first, last, rows = times[0] if first is None else first, times[-1], rows + frame.height
                progress.advance(frame.height)
        shown = warehouse.shown
    if first is None:  # counts and facts disagree
        raise DataError(f"{shown} counts {labels.labelled:,} answers with an outcome, and holds none of them; make it anew")
    sentence = (
        f"{rows:,} answers with an outcome (of {labels.answers:,}) of the warehouse {shown}, given {_moment(first)} to {_moment(last)}"
    )
    before = raw.provenance
    together = hashlib.sha256(f"{before.sha256} {sha256_file(path)}".encode()).hexdigest()
    provenance = replace(
        before,
        source=f"{before.source}, and {sentence}",
        bytes=before.bytes + path.stat().st_size,
        sha256=together,
        rows=None if before.rows is None else before.rows + rows,
    )
    return replace(raw, further=path.absolute(), provenance=provenance)


def refuse_too_few(settings: Settings, labels: LabelCounts, since_us: int | None) -> None:
    """Say so, where there are too few.

    Raises:
        DataError: see above.
    """
    least = settings.retrain.least_rows
    if labels.labelled < least:
        when = "" if since_us is None else f" since {_moment(since_us)}"
        raise DataError(
            f"the warehouse has {labels.labelled:,} answers with an outcome{when} (of {labels.answers:,} answers), and retrain.least_rows "
            f"asks for {least:,}; nothing was changed. Outcomes come by POST /predictions/ID/outcome, and then: sporeprint warehouse sync"
        )


def count_labels(reader: Reader, since_us: int) -> LabelCounts:
    """How many answers there are, and how many of them have an outcome; of whole hours."""
    first = since_us - since_us % HOUR_US
    answers = reader.query(f"SELECT SUM(answers) FROM hour_answers WHERE hour_us >= {int(first)}").rows[0][0]  # noqa: S608
    sql = f"SELECT hour_us, SUM(answers) FROM hour_outcomes WHERE hour_us >= {int(first)} GROUP BY hour_us ORDER BY hour_us"  # noqa: S608
    hours = {int(hour): int(count) for hour, count in reader.query(sql).rows if int(count) > 0}
    return LabelCounts(int(answers or 0), sum(hours.values()), hours)


def pages(
    reader: Reader, schema: DatasetSchema, labels: LabelCounts, since_us: int, *, page_rows: int = PAGE_ROWS
) -> Iterator[tuple[pl.DataFrame, list[int]]]:
    """The rows in the order in which they were asked for: the columns of the table, as text, and when each was answered."""
    for first, last in _hour_pages(labels.hours, page_rows):
        within = f"hour_us >= {first} AND {{0}}hour_us <= {last} AND {{0}}created_us >= {int(since_us)}"
        sql = (
            "SELECT p.features, p.probability, p.novelty_p, p.verdict, o.outcome, p.created_us FROM fact_outcome o "  # noqa: S608
            "JOIN fact_prediction p ON p.created_us = o.created_us AND p.prediction_id = o.prediction_id "
            f"WHERE o.latest = 1 AND o.{within.format('o.')} AND p.{within.format('p.')} ORDER BY p.created_us, p.prediction_id"
        )
        rows = reader.query(sql).rows
        if rows:
            frame = monitoring_queries.table_rows(monitoring_queries.frame(rows, schema), schema)
            if schema.groups is not None and schema.groups.column is not None:
                frame = frame.with_columns(pl.lit(GROUP).alias(schema.groups.column))
            yield frame.select(schema.table_columns), [int(row[5]) for row in rows]


def _hour_pages(hours: dict[int, int], page_rows: int) -> Iterator[tuple[int, int]]:
    """First and last hour of periods that hold about one page of rows."""
    first, last, held = None, 0, 0
    for hour, count in sorted(hours.items()):
        if first is not None and held + count > page_rows:
            yield first, last
            first, held = None, 0
        first, last, held = hour if first is None else first, hour, held + count
    if first is not None:
        yield first, last


def _read(warehouse: Warehouse) -> AbstractContextManager[Reader]:
    if warehouse.get_note(PREDICTIONS) is None and warehouse.get_note(BATCHES) is None:
        raise StorageError(f"{warehouse.shown} holds no answers yet; run: sporeprint warehouse sync")
    return warehouse.reading()


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

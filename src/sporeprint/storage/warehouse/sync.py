"""Brings predictions and outcomes from the OLTP database into the warehouse: what is new, once, page by page.

Each page is one load: its facts, its counts and the note of how far they go become visible together. Killed anywhere, the next sync goes
on from the last page. Facts are looked up by their id before they are counted, so that whatever is read again changes nothing.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, Table, func, select

from sporeprint.common.progress import Progress, SilentProgress
from sporeprint.common.timestamps import now_us
from sporeprint.schema import DatasetSchema
from sporeprint.storage.engine import reading
from sporeprint.storage.oltp import tables
from sporeprint.storage.oltp.read_progress import SAFE_LAG_US, ReadProgress
from sporeprint.storage.paging import pages
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.protocol import Load, Warehouse

if TYPE_CHECKING:  # slow to import, and a sync that finds nothing new needs none of it
    import polars as pl

    from sporeprint.storage.warehouse.feature_counts import FeatureCounter

log = logging.getLogger(__name__)

#: Rows in a page.
PAGE_ROWS = 25_000
#: Pages in one load: publishing costs the same for one as for many.
LOAD_PAGES = 8
#: Names of notes: how far the two tables were read; the contract and the tests whose words are there.
PREDICTIONS, OUTCOMES, BATCHES, CONTRACT, TESTS, WAITING = "prediction", "outcome", "batch", "contract", "tests", "waiting"
#: What is read of both tables. The number comes first. What only matters to who runs the service stays in the OLTP database.
COLUMNS = {
    PREDICTIONS: (
        *("seq", "prediction_id", "batch_id", "created_us", "model", "version", "prediction", "probability", "verdict", "novelty_p"),
        *("threshold", "unseen", "features", "test_id", "arm", "unit_id", "shadow", "latency_us"),
    ),
    OUTCOMES: ("seq", "prediction_id", "revision", "outcome", "source", "observed_us", "recorded_us"),
    BATCHES: ("seq", "batch_id", "artefact", "rows"),
}


@dataclass(frozen=True)
class SyncResult:
    """What a sync brought.

    Attributes:
        predictions: new ones.
        outcomes: revisions of outcomes that were new.
        read: rows that were read for it.
        waiting: whether outcomes wait for their prediction.
        seconds: what it took.
    """

    predictions: int
    outcomes: int
    read: int
    waiting: bool
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def sync_warehouse(
    oltp: Engine,
    warehouse: Warehouse,
    schema: DatasetSchema,
    *,
    root: Path | None = None,
    progress: Progress | None = None,
    clock: Callable[[], int] = now_us,
    lag_us: int = SAFE_LAG_US,
    page_rows: int = PAGE_ROWS,
    load_pages: int = LOAD_PAGES,
) -> SyncResult:
    """Bring everything that is new into the warehouse.

    Args:
        oltp: engine of the OLTP database.
        warehouse: where to.
        schema: the contract whose features are counted.
        root: the work directory, below which the artefacts of batches are; left out, no batch is read.
        progress: counts rows.
        clock: what time it is.
        lag_us: how long a writer's transaction can last.
        page_rows: most rows in a page.
        load_pages: pages in one load.

    Raises:
        StorageError, StorageUnavailableError: see `Warehouse.loading`, `storage.engine.errors`.
        BusyError: another process is loading.
    """
    progress, began = progress or SilentProgress(), time.monotonic()
    run = _SyncRun(oltp, warehouse, schema, root, progress, clock, lag_us, page_rows, load_pages)
    return run.all(began)


@dataclass
class _SyncRun:
    """One sync."""

    oltp: Engine
    warehouse: Warehouse
    schema: DatasetSchema
    root: Path | None
    progress: Progress
    clock: Callable[[], int]
    lag_us: int
    page_rows: int
    load_pages: int
    read: int = 0

    def all(self, began: float) -> SyncResult:
        seen = {name: self._where(table, name) for name, table in self._tables}
        self.progress.total(self._expected(seen))
        self._dimensions()
        predictions = self._table(tables.prediction, PREDICTIONS, self._predictions)
        if self.root is not None:
            predictions += self._table(tables.batch, BATCHES, self._batches)
        outcomes = self._table(tables.outcome, OUTCOMES, self._outcomes)
        waiting = bool(self.warehouse.get_note(WAITING))
        return SyncResult(predictions, outcomes, self.read, waiting, round(time.monotonic() - began, 3))

    @property
    def _tables(self) -> list[tuple[str, Table]]:
        sources = [(PREDICTIONS, tables.prediction), (OUTCOMES, tables.outcome)]
        return sources if self.root is None else [*sources, (BATCHES, tables.batch)]

    def _where(self, table: Table, name: str) -> ReadProgress:
        """How far the table was read; from the start again where it is not the table that was read."""
        seen = ReadProgress.from_json(self.warehouse.get_note(name))
        with reading(self.oltp) as connection:
            highest = connection.execute(select(func.max(table.c.seq))).scalar()
        # Numbers that were given out are not given out again: this is a restored or a new database.
        return ReadProgress() if highest is not None and highest < seen.high else seen

    def _expected(self, seen: dict[str, ReadProgress]) -> int:
        """About how many rows there are to read."""
        left = 0
        with reading(self.oltp) as connection:
            for name, table in self._tables:
                first, last = connection.execute(select(func.min(table.c.seq), func.max(table.c.seq))).one()
                left += max(0, (last or 0) - max(seen[name].high, (first or 1) - 1))
        return left

    def _table(self, table: Table, name: str, take: Callable[[Load, Sequence[Sequence[Any]]], int]) -> int:
        """Read a table's open gaps page by page, and take the pages, several in one load."""
        began, taken, note = self.clock(), 0, self.warehouse.get_note(name)
        seen = self._where(table, name)
        following = pages(self.oltp, table, COLUMNS[name], seen.open(), rows=self.page_rows)
        page = next(following, None)
        while page is not None:
            with contextlib.ExitStack() as stack:
                load: Load | None = None
                for _ in range(self.load_pages):
                    seen = seen.read(page.gap, page.first, page.last, page.numbers, began)
                    if page.rows:
                        load = load or stack.enter_context(self.warehouse.loading())
                        taken += take(load, page.rows)
                        self.read += len(page.rows)
                        self.progress.advance(len(page.rows))
                    page = next(following, None)
                    if page is None:
                        break
                if load is not None:
                    note = seen.to_json()
                    load.note(name, note)
                    load.note(WAITING, load.waiting())
        seen = seen.settled(began, self.lag_us)
        if seen.to_json() != note and (note is not None or seen.high):
            with self.warehouse.loading() as load:
                load.note(name, seen.to_json())
        return taken

    def _predictions(self, load: Load, rows: Sequence[Sequence[Any]]) -> int:
        from sporeprint.storage.warehouse import aggregation

        page = aggregation.predictions(rows, COLUMNS[PREDICTIONS]).unique("prediction_id", keep="first", maintain_order=True)
        return self._take(load, page, self._features.count)

    def _batches(self, load: Load, rows: Sequence[Sequence[Any]]) -> int:
        from sporeprint.storage.oltp.batch_file import BatchInfo
        from sporeprint.storage.warehouse import batch_aggregation

        taken = 0
        for seq, batch_id, artefact, _ in rows:
            assert self.root is not None  # noqa: S101 -- without it no batch is read
            path = self.root / artefact
            try:
                about = BatchInfo.of(path)
                for facts, features in batch_aggregation.parts(path, about, self.schema, seq):
                    taken += self._take(load, facts, features)
            except FileNotFoundError:  # others must not wait for what is lost
                log.warning("the artefact of batch %s is gone: %s; its answers are not in the warehouse", batch_id, artefact)
        return taken

    def _take(self, load: Load, page: "pl.DataFrame", count: Callable[["pl.DataFrame", "pl.DataFrame"], "pl.DataFrame"]) -> int:
        """Take over facts with ids of their own that are not there; `count` says what was given for each feature."""
        import polars as pl

        from sporeprint.storage.warehouse import aggregation
        from sporeprint.storage.warehouse.feature_rows import row_hashes

        if page.is_empty():
            return 0
        made = page["created_us"]
        between: Any = (made.min(), made.max())
        there = load.find(page["prediction_id"], between)
        new = page.join(there, on="prediction_id", how="anti", maintain_order="left")
        if new.is_empty():
            return 0
        new = new.with_columns(row_hashes(new["features"].to_list(), self.schema))
        load.append(star_schema.FACT_PREDICTION, new)
        load.put(star_schema.DIM_TIME, aggregation.hours(new), keep=True)
        load.put(star_schema.DIM_MODEL, aggregation.models(new), keep=True)
        load.add(star_schema.HOUR_ANSWERS, aggregation.answers(new))
        load.add(star_schema.HOUR_LATENCY, aggregation.latency(new))
        cells = aggregation.cells(new)
        counted = aggregation.features(count(new, cells), cells, self.schema)
        load.add(star_schema.HOUR_FEATURES, pl.concat([counted, aggregation.shares(new, cells)]))
        if load.waiting() and not (before := load.outcomes(new["prediction_id"])).is_empty():
            self._settle(load, before, before.clear(), new.filter(pl.col("prediction_id").is_in(before["prediction_id"].implode())))
        return new.height

    def _outcomes(self, load: Load, rows: Sequence[Sequence[Any]]) -> int:
        from sporeprint.storage.warehouse import aggregation

        new = aggregation.outcomes(rows, COLUMNS[OUTCOMES])
        ids = new["prediction_id"].unique()
        before = load.outcomes(ids)
        self._settle(load, before, new, load.find(ids))
        return new.join(before, on=list(star_schema.FACT_OUTCOME.key), how="anti").height

    def _settle(self, load: Load, before: "pl.DataFrame", new: "pl.DataFrame", predictions: "pl.DataFrame") -> None:
        from sporeprint.storage.warehouse import aggregation

        settled = aggregation.settle(before, new, predictions)
        load.put(star_schema.FACT_OUTCOME, settled.outcomes)
        load.add(star_schema.HOUR_OUTCOMES, settled.counts)

    @cached_property
    def _features(self) -> "FeatureCounter":
        from sporeprint.storage.warehouse.feature_counts import FeatureCounter

        return FeatureCounter(list(self.schema.columns))

    def _dimensions(self) -> None:
        """Tests as they stand now, and the words of the contract; both are small."""
        with reading(self.oltp) as connection:
            tests = [
                dict(row._mapping) for row in connection.execute(select(*(tables.ab_test.c[name] for name in star_schema.DIM_TEST.names)))
            ]
        contract = self.schema.fingerprint()
        if self.warehouse.get_note(CONTRACT) == contract and self.warehouse.get_note(TESTS) == tests:
            return
        from sporeprint.storage.warehouse import aggregation

        with self.warehouse.loading() as load:
            load.put(star_schema.DIM_VERDICT, aggregation.verdicts(self.schema))
            load.put(star_schema.DIM_CLASS, aggregation.classes(self.schema))
            load.put(star_schema.DIM_TEST, aggregation.frame(star_schema.DIM_TEST, tests))
            load.note(CONTRACT, contract)
            load.note(TESTS, tests)

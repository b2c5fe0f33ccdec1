"""Brings predictions and outcomes from the OLTP database into the warehouse: what is new, once, page by page.

A backlog of predictions is read and counted in several processes; this one alone writes, in the order of their numbers.

Each page is one load: its facts, its counts and the note of how far they go become visible together. Killed anywhere, the next sync goes
on from the last page. Facts are looked up by their id before they are counted, so that whatever is read again changes nothing.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine, Table, func, select

from sporeprint.common.progress import Progress, SilentProgress
from sporeprint.common.timestamps import now_us
from sporeprint.schema import DatasetSchema
from sporeprint.storage.engine import reading
from sporeprint.storage.oltp import tables
from sporeprint.storage.oltp.read_progress import HIGHEST, SAFE_LAG_US, Gap, ReadProgress
from sporeprint.storage.paging import pages
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.protocol import Load, Warehouse

if TYPE_CHECKING:  # slow to import, and a sync that finds nothing new needs none of it
    import polars as pl

    from sporeprint.common.engine import LocalEngine
    from sporeprint.storage.warehouse.counted_page import CountedPage, FeatureCount, PageResult
    from sporeprint.storage.warehouse.feature_counts import FeatureCounter

log = logging.getLogger(__name__)

#: Rows in a page.
PAGE_ROWS = 25_000
#: Pages in one load: publishing costs the same for one as for many.
LOAD_PAGES = 8
#: Pages from which on predictions are read in several processes: starting them takes as long as reading a few.
MANY_PAGES = 8
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


@dataclass(frozen=True)
class Readers:
    """Processes that read and count.

    Attributes:
        engine: where they are.
        address: of the OLTP database, as they open it.
    """

    engine: "LocalEngine"
    address: URL


@dataclass(frozen=True)
class _Step:
    """Part of a load: how far the reading is after it, how many rows it has, and what takes them."""

    read: Callable[[ReadProgress], ReadProgress]
    rows: int
    take: Callable[[Load], int]


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
    readers: Readers | None = None,
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
        readers: processes for a backlog; left out, this one alone. The warehouse is the same.

    Raises:
        RetryableError: one of the processes was killed; what was loaded until then stays.
        StorageError, StorageUnavailableError: see `Warehouse.loading`, `storage.engine.errors`.
        BusyError: another process is loading.
    """
    progress, began = progress or SilentProgress(), time.monotonic()
    run = _SyncRun(oltp, warehouse, schema, root, progress, clock, lag_us, page_rows, load_pages, readers)
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
    readers: Readers | None
    read: int = 0

    def all(self, began: float) -> SyncResult:
        seen = {name: self._where(table, name) for name, table in self._tables}
        self.progress.total(self._expected(seen))
        self._dimensions()
        predictions = self._backlog()
        predictions += self._table(tables.prediction, PREDICTIONS, self._predictions)
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

    def _backlog(self) -> int:
        """Read and count what has come since in several processes, if it is much; what comes meanwhile is left to `_table`."""
        if self.readers is None or self.readers.engine.workers < 2:
            return 0
        began, seen = self.clock(), self._where(tables.prediction, PREDICTIONS)
        with reading(self.oltp) as connection:
            numbers = select(func.min(tables.prediction.c.seq), func.max(tables.prediction.c.seq))
            first, last = connection.execute(numbers.where(tables.prediction.c.seq > seen.high)).one()
        if first is None or last - first < MANY_PAGES * self.page_rows:
            return 0
        taken, seen = self._loads(PREDICTIONS, seen, self._counted(self.readers, first, last, began))
        return taken

    def _counted(self, readers: Readers, first: int, last: int, began: int) -> Iterator[_Step]:
        from sporeprint.storage.warehouse.counted_page import PageTask, read_and_count, rest

        columns = COLUMNS[PREDICTIONS]
        begins = range(first, last + 1, self.page_rows)
        tasks = [PageTask(readers.address, self.schema, columns, begin, min(last, begin + self.page_rows - 1)) for begin in begins]
        for task, result in zip(tasks, readers.engine.map(read_and_count, tasks), strict=True):
            yield self._counted_step(result, began)
            left = rest(task, result)
            while left is not None:
                yield self._counted_step(result := read_and_count(left), began)
                left = rest(left, result)

    def _counted_step(self, result: "PageResult", began: int) -> _Step:
        def seen_after(seen: ReadProgress) -> ReadProgress:
            # From what was read last: numbers that are missing between two pages are missing, too.
            return seen.read(Gap(seen.high + 1, HIGHEST, 0), seen.high + 1, result.last, result.numbers, began)

        def take(load: Load) -> int:
            return 0 if result.page is None else self._take_counted(load, result.page)

        return _Step(seen_after, len(result.numbers), take)

    def _table(self, table: Table, name: str, take: Callable[[Load, Sequence[Sequence[Any]]], int]) -> int:
        """Read a table's open gaps page by page, and take the pages, several in one load."""
        began, note = self.clock(), self.warehouse.get_note(name)
        seen = self._where(table, name)
        steps = (
            _Step(
                partial(ReadProgress.read, span=page.gap, first=page.first, last=page.last, present=page.numbers, now_us=began),
                len(page.rows),
                self._taking(take, page.rows),
            )
            for page in pages(self.oltp, table, COLUMNS[name], seen.open(), rows=self.page_rows)
        )
        taken, seen = self._loads(name, seen, steps)
        settled, note = seen.settled(began, self.lag_us), self.warehouse.get_note(name)
        if settled.to_json() != note and (note is not None or settled.high):
            with self.warehouse.loading() as load:
                load.note(name, settled.to_json())
        return taken

    @staticmethod
    def _taking(take: Callable[[Load, Sequence[Sequence[Any]]], int], rows: Sequence[Sequence[Any]]) -> Callable[[Load], int]:
        return lambda load: take(load, rows)

    def _loads(self, name: str, seen: ReadProgress, steps: Iterator[_Step]) -> tuple[int, ReadProgress]:
        """Take the steps, several in one load, each with a note of how far it goes: how many rows were new, and how far it came."""
        taken, step = 0, next(steps, None)
        while step is not None:
            with contextlib.ExitStack() as stack:
                load: Load | None = None
                for _ in range(self.load_pages):
                    seen = step.read(seen)
                    if step.rows:
                        load = load or stack.enter_context(self.warehouse.loading())
                        taken += step.take(load)
                        self.read += step.rows
                        self.progress.advance(step.rows)
                    step = next(steps, None)
                    if step is None:
                        break
                if load is not None:
                    load.note(name, seen.to_json())
                    load.note(WAITING, load.waiting())
        return taken, seen

    def _predictions(self, load: Load, rows: Sequence[Sequence[Any]]) -> int:
        from sporeprint.storage.warehouse.counted_page import facts_of

        return self._take(load, facts_of(rows, COLUMNS[PREDICTIONS]), self._features.count)

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

    def _take(self, load: Load, page: "pl.DataFrame", count: "FeatureCount") -> int:
        """Take over facts with ids of their own that are not there; `count` says what was given for each feature."""
        from sporeprint.storage.warehouse.counted_page import counted

        if page.is_empty():
            return 0
        new = page.join(self._there(load, page), on="prediction_id", how="anti", maintain_order="left")
        return 0 if new.is_empty() else self._write(load, counted(new, count, self.schema))

    def _take_counted(self, load: Load, page: "CountedPage") -> int:
        """Take over what another process has counted; where some of it is there already, it is counted again without that."""
        if not self._there(load, page.facts).is_empty():
            return self._take(load, page.facts, self._features.count)
        return self._write(load, page)

    def _there(self, load: Load, page: "pl.DataFrame") -> "pl.DataFrame":
        made = page["created_us"]
        between: Any = (made.min(), made.max())
        return load.find(page["prediction_id"], between)

    def _write(self, load: Load, page: "CountedPage") -> int:
        """Write facts that are not there, and add what they come to."""
        import polars as pl

        new = page.facts
        load.append(star_schema.FACT_PREDICTION, new)
        load.put(star_schema.DIM_TIME, page.hours, keep=True)
        load.put(star_schema.DIM_MODEL, page.models, keep=True)
        load.add(star_schema.HOUR_ANSWERS, page.answers)
        load.add(star_schema.HOUR_LATENCY, page.latency)
        load.add(star_schema.HOUR_FEATURES, page.features)
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

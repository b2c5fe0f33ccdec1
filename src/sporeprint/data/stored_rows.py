"""Rows of published files, for whatever is fitted on all of them: counted, or boosted, where an engine's tasks run."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from sporeprint.common.batches import Counted, total
from sporeprint.common.collective import in_collective
from sporeprint.common.engine import Engine
from sporeprint.data.dataset import Observations
from sporeprint.data.parquet_store import read_tables
from sporeprint.data.part_files import part_files
from sporeprint.settings import Settings

Result = TypeVar("Result")

#: Rows of a batch: they are encoded for a fit, some hundred numbers a row.
BATCH_ROWS = 65_536


@dataclass(frozen=True)
class RowFiles:
    """Rows of some files, read batch by batch as often as they are iterated over.

    Attributes:
        paths: the files, in their order.
        settings: the contract, and how the rows were split.
        parts: of which parts of the split, by number; None: all.
    """

    paths: tuple[Path, ...]
    settings: Settings
    parts: tuple[int, ...] | None = None

    def __iter__(self) -> Iterator[Observations]:
        """The rows, in the order of the files."""
        for path in self.paths:
            for batch in read_tables(path, self.settings.dataset, tuple(self.settings.split.shares), rows=BATCH_ROWS):
                rows = counted_rows(self.settings, batch)
                if self.parts is None or rows.part is None or (mine := np.isin(rows.part, self.parts)).all():
                    yield rows
                elif mine.any():
                    yield rows.take(np.flatnonzero(mine))


@dataclass(frozen=True)
class StoredRows:
    """Rows of published files, and the engine that counts them. See `Batches`.

    Attributes:
        files: where they are.
        engine: runs a task for each file.
    """

    files: RowFiles
    engine: Engine

    def __iter__(self) -> Iterator[Observations]:
        """The rows, in the order of the files, in this process."""
        return iter(self.files)

    def total(self, of: Callable[[Observations], Counted]) -> Counted:
        """See `Batches`. Files are added up in their order, and in each its batches: every engine gives the same bytes."""
        tasks = [replace(self.files, paths=(path,)) for path in self.files.paths]
        return total(each for each in self.engine.map(partial(_total, of), tasks) if each is not None)

    def together(self, work: Callable[[Iterable[Observations]], Result]) -> Result:
        """See `Batches`. No place is without a file."""
        ranks = min(self.engine.nodes, len(self.files.paths))
        if ranks == 1:
            return work(self.files)
        return in_collective(self.engine, work, [replace(self.files, paths=self.files.paths[rank::ranks]) for rank in range(ranks)])


def stored_rows(settings: Settings, tables: Iterable[Path], engine: Engine, parts: tuple[int, ...] | None = None) -> StoredRows:
    """The rows of published tables.

    Raises:
        DataError: a table is damaged; see `part_files`.
    """
    paths = tuple(path.absolute() for table in tables for path in part_files(table))
    return StoredRows(RowFiles(paths, settings, parts), engine)


def _total(of: Callable[[Observations], Counted], files: RowFiles) -> Counted | None:
    """Of the rows of a task; None where it has none of the parts."""
    with threadpool_limits(1, "blas"):  # tasks run side by side, and their sums are small: further threads would wait for each other
        tallies = map(of, files)
        return next((total(chain([first], tallies)) for first in tallies), None)


def counted_rows(settings: Settings, rows: Observations) -> Observations:
    """With `split.by: groups` test rows are of new groups: a promise for these counts each group once."""
    return replace(rows, cluster=rows.group) if settings.split.by == "groups" else rows

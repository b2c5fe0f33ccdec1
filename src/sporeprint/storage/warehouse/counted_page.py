"""What a page of answers comes to: facts with their hashes, and counts. Computed before anything is written, also in other processes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import polars as pl
from sqlalchemy import URL, Engine

from sporeprint.schema import DatasetSchema
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp.read_progress import Gap
from sporeprint.storage.oltp.tables import prediction
from sporeprint.storage.paging import pages
from sporeprint.storage.warehouse import aggregation
from sporeprint.storage.warehouse.feature_counts import FeatureCounter
from sporeprint.storage.warehouse.feature_rows import row_hashes

#: Counts the values of each feature, of facts in cells with these numbers.
FeatureCount: TypeAlias = Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class CountedPage:
    """Rows for the tables of the warehouse: `fact_prediction` and what is counted of it.

    Attributes:
        facts: with their hashes.
        hours: of `dim_time`.
        models: of `dim_model`.
        answers: of `hour_answers`.
        latency: of `hour_latency`.
        features: of `hour_features`.
    """

    facts: pl.DataFrame
    hours: pl.DataFrame
    models: pl.DataFrame
    answers: pl.DataFrame
    latency: pl.DataFrame
    features: pl.DataFrame


def counted(facts: pl.DataFrame, count: FeatureCount, schema: DatasetSchema) -> CountedPage:
    """Count facts that are in the warehouse not yet."""
    hashed = facts.with_columns(row_hashes(facts["features"].to_list(), schema))
    cells = aggregation.cells(hashed)
    features = aggregation.features(count(hashed, cells), cells, schema)
    return CountedPage(
        facts=hashed,
        hours=aggregation.hours(hashed),
        models=aggregation.models(hashed),
        answers=aggregation.answers(hashed),
        latency=aggregation.latency(hashed),
        features=pl.concat([features, aggregation.shares(hashed, cells)]),
    )


def facts_of(rows: Sequence[Sequence[object]], columns: Sequence[str]) -> pl.DataFrame:
    """Facts of rows of the OLTP database, each id once."""
    return aggregation.predictions(rows, columns).unique("prediction_id", keep="first", maintain_order=True)


@dataclass(frozen=True)
class PageTask:
    """Answers to read and to count: the numbers from `first` to `last`.

    Attributes:
        address: of the OLTP database.
        schema: the contract.
        columns: of the table of predictions.
        first: the lowest number.
        last: the highest.
    """

    address: URL
    schema: DatasetSchema
    columns: tuple[str, ...]
    first: int
    last: int


@dataclass(frozen=True)
class PageResult:
    """The result of a task.

    Attributes:
        first: the lowest number of the task.
        last: the highest that is answered for; below the task's where the rows are very large.
        numbers: those that are there.
        page: what they come to; None where there are none.
    """

    first: int
    last: int
    numbers: list[int]
    page: CountedPage | None


def read_and_count(task: PageTask) -> PageResult:
    """Read a page and count it. Raises: StorageError, StorageUnavailableError, see `paging.pages`."""
    gap = Gap(task.first, task.last, 0)
    page = next(pages(_engine(task.address), prediction, task.columns, [gap], rows=task.last - task.first + 1))
    if not page.rows:
        return PageResult(task.first, task.last, [], None)
    count = _counter(tuple(task.schema.columns)).count
    return PageResult(task.first, page.last, page.numbers, counted(facts_of(page.rows, task.columns), count, task.schema))


def rest(task: PageTask, result: PageResult) -> PageTask | None:
    """What a result leaves of its task."""
    return replace(task, first=result.last + 1) if result.last < task.last else None


@lru_cache(1)
def _engine(address: URL) -> Engine:
    return connect(address, pool_size=1)


@lru_cache(1)
def _counter(names: tuple[str, ...]) -> FeatureCounter:
    return FeatureCounter(list(names))

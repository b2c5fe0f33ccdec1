"""What the client returns where it is more than one response of the service."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sporeprint.messages.base import response
from sporeprint.messages.outcomes import RowOutcome
from sporeprint.messages.predictions import PredictResponse, RowPrediction


@response
class PredictResult(PredictResponse):
    """A prediction, and whether it is an earlier one.

    Attributes:
        replayed: whether it was given before, to the same idempotency key.
    """

    replayed: bool = False


@dataclass(frozen=True)
class BatchResult:
    """The predictions for many rows, in their order.

    Attributes:
        predictions: one for each row.
        batch_ids: under which they are kept; many rows are sent as several batches.
        models: the versions that predicted, as name/v2.
        simulated: whether one of them was trained on invented rows.
    """

    predictions: tuple[RowPrediction, ...]
    batch_ids: tuple[str, ...]
    models: tuple[str, ...]
    simulated: bool = False

    def __len__(self) -> int:
        return len(self.predictions)

    def __iter__(self) -> Iterator[RowPrediction]:
        return iter(self.predictions)

    @property
    def problems(self) -> tuple[RowPrediction, ...]:
        """The rows that were not understood."""
        return tuple(each for each in self.predictions if each.problem is not None)


@dataclass(frozen=True)
class BatchFile:
    """A file of answers: the columns given, prediction_id and the answer's.

    Attributes:
        path: where it is.
        batch_id: under which it is kept.
        model: the version that answered, as name/v2.
        size: bytes.
        replayed: whether it was given before, to the same idempotency key.
    """

    path: Path
    batch_id: str
    model: str
    size: int
    replayed: bool = False

    def frame(self) -> Any:
        """The same as a polars frame. Needs polars, which nothing else of the client does."""
        import polars as pl

        return pl.read_csv(self.path) if self.path.suffix == ".csv" else pl.read_parquet(self.path)


@dataclass(frozen=True)
class OutcomesResult:
    """The results of many outcomes, in their order.

    Attributes:
        results: one for each.
    """

    results: tuple[RowOutcome, ...]

    @property
    def created(self) -> int:
        """How many made a revision."""
        return sum(each.created for each in self.results)

    @property
    def problems(self) -> tuple[RowOutcome, ...]:
        """Those that were refused."""
        return tuple(each for each in self.results if each.problem is not None)

"""The warehouse: what both implementations do. Whoever loads and whoever asks knows no more than this.

What is loaded becomes visible all at once, together with the note of how far it goes, or not at all; so a load that was killed is simply
done again.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sporeprint.storage.warehouse.star_schema import StarTable

if TYPE_CHECKING:  # a sync that finds nothing new does not wait for it
    import polars as pl

#: How long to wait for another process that loads, seconds.
LOCK_WAIT_S = 30.0
#: How long a question may take, seconds, unless told otherwise.
ANSWER_S = 60.0
#: The table of the rows that the last run of the pipeline split, with their part, class and features.
TRAINING = "training"


@dataclass(frozen=True, slots=True)
class QueryResult:
    """The result of a query.

    Attributes:
        columns: names.
        rows: values, as many in each row as there are columns: None, text, int, float, bool.
        more: whether there were more rows than were asked for.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool = False

    def dicts(self) -> list[dict[str, Any]]:
        """Rows by the names of their columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


class Reader(Protocol):
    """One state of the warehouse, whatever is loaded meanwhile."""

    def query(self, sql: str, *, rows: int | None = None) -> QueryResult:
        """Run one statement of the program's own; at most so many rows.

        Raises:
            StorageError: it cannot be answered.
        """

    def user_query(self, sql: str, *, rows: int) -> QueryResult:
        """Run one statement of a user, which reads from the warehouse and from nothing else, and writes nothing.

        Raises:
            UsageError: it is no such statement, or has a mistake; with what the engine says.
            StorageUnavailableError: it takes too long.
        """


class Load(Protocol):
    """One load, open until its context ends."""

    def find(self, ids: "pl.Series", created_us: tuple[int, int] | None = None) -> "pl.DataFrame":
        """`prediction_id` and `star.OF_PREDICTION` of the predictions that are there; all others are left out.

        Args:
            ids: what is looked for.
            created_us: only among predictions made then, from and to, both included.
        """

    def outcomes(self, ids: "pl.Series") -> "pl.DataFrame":
        """Every row of `fact_outcome` of these predictions."""

    def waiting(self) -> bool:
        """Whether any outcome waits for its prediction."""

    def append(self, table: StarTable, rows: "pl.DataFrame") -> None:
        """Add facts that are not there."""

    def put(self, table: StarTable, rows: "pl.DataFrame", *, keep: bool = False) -> None:
        """Write rows by their key: over those that are there, or, to keep them, beside."""

    def add(self, table: StarTable, rows: "pl.DataFrame") -> None:
        """Add to counts."""

    def training(self, sources: Sequence[Path], record: Mapping[str, Any]) -> None:
        """Replace the training data by the rows of Parquet files with equal columns, and note what says which rows these are."""

    def note(self, name: str, value: Any) -> None:
        """Keep a JSON value under a name."""


class Warehouse(Protocol):
    """A warehouse."""

    @property
    def shown(self) -> str:
        """Where it is, without a password."""

    def get_note(self, name: str) -> Any:
        """What was last kept under a name, or None.

        Raises:
            StorageError: the warehouse is of another version.
        """

    def loading(self) -> AbstractContextManager[Load]:
        """Load: everything written inside is visible after a clean end, nothing after any other. One at a time.

        Raises:
            BusyError: another process has been loading for longer than `LOCK_WAIT_S`.
            StorageError, StorageUnavailableError: it cannot be written.
        """

    def reading(self, *, seconds: float = ANSWER_S) -> AbstractContextManager[Reader]:
        """Ask; each question may take so long."""

    def close(self) -> None:
        """Let go of connections."""


def plain(rows: Sequence[Sequence[Any]]) -> tuple[tuple[Any, ...], ...]:
    """Rows whose numbers are int and float: engines disagree on what a sum is."""

    def value(cell: Any) -> Any:
        if isinstance(cell, Decimal):
            return int(cell) if cell == cell.to_integral_value() else float(cell)
        return cell

    return tuple(tuple(map(value, row)) for row in rows)

"""Rows in batches, which may lie where an engine's tasks run: what is counted of each batch is added up there, and here."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from typing import Generic, Protocol, Self, TypeVar


class Mergeable(Protocol):
    """What is counted of rows, in parts that merge to that of the whole."""

    def merge(self, other: Self, /) -> Self:
        """Of both; the other rows come after these."""


Rows = TypeVar("Rows")
Rows_co = TypeVar("Rows_co", covariant=True)
Further = TypeVar("Further")
Counted = TypeVar("Counted", bound=Mergeable)
Result = TypeVar("Result")


class Batches(Protocol[Rows_co]):
    """Batches of rows, readable again and again."""

    def __iter__(self) -> Iterator[Rows_co]:
        """Batch by batch, in this process."""

    def total(self, of: Callable[[Rows_co], Counted]) -> Counted:
        """What is counted of all rows.

        Args:
            of: a batch -> its tally. It can be pickled.
        """

    def together(self, work: Callable[[Iterable[Rows_co]], Result]) -> Result:
        """What a function makes of all rows, that runs at once wherever some of them lie, and speaks to itself by XGBoost's collective.

        Args:
            work: the batches of a place -> a result, the same everywhere. It can be pickled.
        """


def total(tallies: Iterable[Counted]) -> Counted:
    """Of all of them, one at the least."""
    return reduce(lambda one, other: one.merge(other), tallies)


@dataclass(frozen=True)
class BatchSequence(Generic[Rows]):
    """Batches in memory."""

    batches: Sequence[Rows]

    def __iter__(self) -> Iterator[Rows]:
        """See `Batches`."""
        return iter(self.batches)

    def total(self, of: Callable[[Rows], Counted]) -> Counted:
        """See `Batches`."""
        return total(map(of, self.batches))

    def together(self, work: Callable[[Iterable[Rows]], Result]) -> Result:
        """See `Batches`."""
        return work(self)


@dataclass(frozen=True)
class BatchView(Generic[Rows, Further]):
    """Batches as a function gives them, which can be pickled."""

    source: Batches[Rows]
    view: Callable[[Rows], Further]

    def __iter__(self) -> Iterator[Further]:
        """See `Batches`."""
        return map(self.view, self.source)

    def total(self, of: Callable[[Further], Counted]) -> Counted:
        """See `Batches`."""
        return self.source.total(partial(_of_view, self.view, of))

    def together(self, work: Callable[[Iterable[Further]], Result]) -> Result:
        """See `Batches`."""
        return self.source.together(partial(_work_on_view, self.view, work))


def _of_view(view: Callable[[Rows], Further], of: Callable[[Further], Counted], rows: Rows) -> Counted:
    return of(view(rows))


def _work_on_view(view: Callable[[Rows], Further], work: Callable[[Iterable[Further]], Result], batches: Iterable[Rows]) -> Result:
    return work(_View(batches, view))


@dataclass(frozen=True)
class _View(Generic[Rows, Further]):
    """What a function gives of batches, as often as it is iterated over."""

    source: Iterable[Rows]
    view: Callable[[Rows], Further]

    def __iter__(self) -> Iterator[Further]:
        return map(self.view, self.source)

"""What a step has to show, and how a run says where it is: no word on how either is drawn."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from sporeprint.common.files import Progress, Silent


@dataclass(frozen=True, slots=True)
class Table:
    """A small table for people, every cell already in words.

    Attributes:
        title: what it says, in a few words; may be empty.
        columns: names of the columns.
        rows: cells, as many in each row as there are columns.

    Raises:
        ValueError: if a row has more or fewer cells than there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: a row has {len(row)} cells, there are {len(self.columns)} columns: {row!r}")


class Steps(Protocol):
    """Where a run says which step it is in."""

    def step(self, name: str) -> AbstractContextManager[Progress]:
        """Enter a step; what the context gives takes the step's progress. Leaving it with an exception is a failure."""


class SilentSteps:
    """Steps for nobody."""

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Progress]:  # noqa: ARG002 -- the protocol's signature
        """Show nothing."""
        yield Silent()

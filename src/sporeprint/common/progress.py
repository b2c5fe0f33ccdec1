"""How a long operation reports where it is; who shows it is somebody else's business."""

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one step."""

    def total(self, amount: int | None) -> None:
        """Set the amount of work, in the step's own unit; None: unknown."""

    def advance(self, amount: int) -> None:
        """Add work that is done."""

    def text(self, text: str) -> None:
        """Describe the current work in a few words."""


class SilentProgress:
    """Progress that nobody sees."""

    def total(self, amount: int | None) -> None:
        """Ignore."""

    def advance(self, amount: int) -> None:
        """Ignore."""

    def text(self, text: str) -> None:
        """Ignore."""


class Steps(Protocol):
    """Receives the steps of a run."""

    def step(self, name: str) -> AbstractContextManager[Progress]:
        """Enter a step; the context's value receives its progress. An exception that leaves the context is a failure."""


class SilentSteps:
    """Steps that nobody sees."""

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Progress]:  # noqa: ARG002 -- the protocol's signature
        """Show nothing."""
        yield SilentProgress()

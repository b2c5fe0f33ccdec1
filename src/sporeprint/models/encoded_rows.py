"""Rows as an estimator takes them, in memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from sporeprint.common.batches import Counted, Result
from sporeprint.models.encoder import Labels, Matrix


@dataclass(frozen=True)
class EncodedRows:
    """Encoded rows with their labels: float32 [n, m] and int8 [n]. They are one batch; see `Batches`."""

    X: Matrix
    y: Labels

    def __iter__(self) -> Iterator["EncodedRows"]:
        """See `Batches`."""
        yield self

    def total(self, of: Callable[["EncodedRows"], Counted]) -> Counted:
        """See `Batches`."""
        return of(self)

    def together(self, work: Callable[[Iterable["EncodedRows"]], Result]) -> Result:
        """See `Batches`."""
        return work(self)

    @property
    def count(self) -> int:
        """N."""
        return len(self.y)

    def sample(self, most: int) -> "EncodedRows":
        """At most so many of them, evenly spread over the table."""
        step = -(-self.count // most)
        return self if step <= 1 else EncodedRows(self.X[::step], self.y[::step])

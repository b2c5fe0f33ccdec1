"""Shapley values of a score that nothing is known of but its values: any model, by replacing columns.

Sampled over permutations (Castro, Gómez, Tejada 2009), each with a row of the background and its reverse: starting from that row, one
column after the other takes the explained row's value, and what the score changes by is that column's. A column's matrix columns change
together. The contributions and the base add up to the score exactly; of a score that is a sum over columns they are exact themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.npz import from_npz, to_npz
from sporeprint.models.encoder import Matrix

Float64 = npt.NDArray[np.float64]

#: Rows of the background.
BACKGROUND = 64
#: Rows that are scored at the most for one call; the more rows are explained, the fewer permutations each gets.
MOST_SCORED = 200_000
#: Log odds are of probabilities between this and its complement.
LEAST = 1e-9


def log_odds(scores: Float64) -> Float64:
    """Log odds of probabilities, finite ones also of 0 and 1."""
    inside = np.clip(scores, LEAST, 1 - LEAST)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def chosen_rows(count: int) -> npt.NDArray[np.intp]:
    """Which of so many rows make the background."""
    return np.sort(np.random.default_rng(0).permutation(count)[:BACKGROUND])


@dataclass(frozen=True, eq=False)
class Background:
    """Rows that an explained row is compared with.

    Attributes:
        rows: float32 [b, m].
        group: int [m], the number of the dataset's column that each matrix column comes from: 0 to k - 1.
    """

    rows: Matrix
    group: npt.NDArray[np.int64]

    @classmethod
    def of(cls, X: Matrix, sources: Sequence[str]) -> Self:
        """Some rows of a matrix [n, m], whose columns come from `sources`."""
        number = {source: place for place, source in enumerate(dict.fromkeys(sources))}
        rows = np.ascontiguousarray(X[chosen_rows(len(X))], dtype=np.float32)
        return cls(rows, np.array([number[source] for source in sources], dtype=np.int64))

    def to_bytes(self) -> bytes:
        """As a file; equal values give equal bytes."""
        return to_npz({"rows": self.rows, "group": self.group}, compressed=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` gave.

        Raises:
            ValueError: if it is damaged.
        """
        arrays = from_npz(data)
        if set(arrays) != {"rows", "group"}:
            raise ValueError(f"expected the arrays rows and group, found {', '.join(arrays)}")
        rows, group = arrays["rows"], arrays["group"]
        fits = rows.ndim == 2 and len(rows) and rows.dtype == np.float32 and group.dtype == np.int64 and group.shape == rows.shape[1:]
        if not fits or sorted(set(group.tolist())) != list(range(int(group.max(initial=-1)) + 1)):
            raise ValueError("the arrays rows and group do not belong together")
        return cls(rows, group)

    def contributions(self, X: Matrix, score: Callable[[Matrix], Float64]) -> tuple[Float64, float]:
        """What each column adds to the score of n rows.

        Args:
            X: float32 [n, m].
            score: matrix [r, m] -> float64 [r].

        Returns:
            float64 [n, m], a column's contribution at the first of its matrix columns; and the base, the mean score of the background.
        """
        columns = int(self.group.max()) + 1
        pairs = int(np.clip(MOST_SCORED // max(2 * len(X) * (columns + 1), 1), 1, len(self.rows)))
        draw = np.random.default_rng(0)
        forward = np.array([draw.permutation(columns) for _ in range(pairs)])
        order = np.concatenate([forward, forward[:, ::-1]])  # [p, k]
        start = np.concatenate([self.rows[:pairs]] * 2)  # [p, m]
        place = np.argsort(order, axis=1)
        taken = place[:, np.newaxis, :] < np.arange(columns + 1)[:, np.newaxis]  # [p, k + 1, k]: what has the row's value by then
        taken = taken[:, :, self.group]
        first = np.array([int(np.argmax(self.group == number)) for number in range(columns)])
        effects = np.zeros(X.shape)
        base = float(score(start[:pairs]).mean())
        for number, row in enumerate(X):
            scores = score(np.where(taken, row, start[:, np.newaxis, :]).reshape(-1, X.shape[1])).reshape(len(order), columns + 1)
            sums = np.zeros(columns)
            np.add.at(sums, order, np.diff(scores, axis=1))
            effects[number, first] = sums / len(order)
        return effects, base

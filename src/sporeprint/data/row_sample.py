"""At most so many rows of a table, chosen by a hash: the same rows, in whatever batches and order the table is read.

The hash is of the row's values and of its number in the source, so that copies of a row are chosen one by one: a table of few
different rows keeps their shares. It is not the hash that decides a row's part, so each part gives its share.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import Batches
from sporeprint.data.dataset import Observations, concat

Keys = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def row_keys(rows: Observations) -> Keys:
    """A number of each row that looks drawn at random: uint64 [n]. SplitMix64 (Steele, Lea, Flood 2014)."""
    keys = rows.row_hash.astype(np.uint64) + (rows.row.astype(np.uint64) + np.uint64(1)) * _GOLDEN
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        keys ^= keys >> np.uint64(shift)
        keys *= np.uint64(factor)
    keys ^= keys >> np.uint64(31)
    return keys


@dataclass(frozen=True)
class RowsInOrder:
    """Some rows of a table, in its order."""

    tables: tuple[Observations, ...]

    def merge(self, other: Self) -> Self:
        """Of both."""
        return type(self)((*self.tables, *other.tables))


def sample(batches: Batches[Observations], rows: int, most: int) -> Observations:
    """The rows with the smallest keys, in the order of the table: all where they are no more than `most`.

    Args:
        batches: a table, one batch at least.
        rows: rows in all batches together.
        most: rows that are chosen at the most.
    """
    if rows <= most:
        return concat(list(batches))
    # Six standard deviations more than needed stay while reading, and the smallest of them chosen in the end.
    limit = np.uint64(min((most + 6 * math.sqrt(most) + 6) / rows, 1.0) * (2.0**64 - 2048))
    return smallest(concat(list(batches.total(partial(_up_to, limit)).tables)), most)


def _up_to(limit: np.uint64, rows: Observations) -> RowsInOrder:
    return RowsInOrder((rows.take(row_keys(rows) <= limit),))


def smallest(rows: Observations, most: int) -> Observations:
    """The `most` rows with the smallest keys, in their order; all where there are no more."""
    if len(rows.y) <= most:
        return rows
    return rows.take(np.sort(np.argsort(row_keys(rows), kind="stable")[:most]))

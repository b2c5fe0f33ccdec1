"""What is counted of batches is what is counted of all rows, through a view too."""

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Self

import pytest

from sporeprint.common.batches import Batches, BatchSequence, BatchView


@dataclass(frozen=True)
class InOrder:
    numbers: tuple[int, ...]

    @classmethod
    def times(cls, factor: int, rows: list[int]) -> Self:
        return cls(tuple(factor * row for row in rows))

    def merge(self, other: Self) -> Self:
        return type(self)(self.numbers + other.numbers)


def longer(rows: list[int]) -> list[int]:
    return [*rows, 0]


def all_of(batches: Iterable[list[int]]) -> list[int]:
    return [row for rows in batches for row in rows]


ROWS = BatchSequence([[1, 2], [], [3]])


@pytest.mark.parametrize(("batches", "expected"), [(ROWS, [1, 2, 3]), (BatchView(ROWS, longer), [1, 2, 0, 0, 3, 0])])
def test_totals_are_of_all_rows_in_their_order(batches: Batches[list[int]], expected: list[int]) -> None:
    assert batches.total(partial(InOrder.times, 2)).numbers == tuple(2 * row for row in expected)
    assert batches.together(all_of) == all_of(batches) == expected
    assert list(pickle.loads(pickle.dumps(batches))) == list(batches)


def test_a_batch_alone_is_its_own_total() -> None:
    assert BatchSequence([[5]]).total(partial(InOrder.times, 1)) == InOrder((5,))

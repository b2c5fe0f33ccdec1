"""Rows that are asked for at the same time, as arrays: what one row costs in calls, a few together cost once.

Of every value that a nominal column can have, all that it means is looked up by one number: its cell in the matrix, its row of the
guard's weights and its place in the tables of partial rows, whether it was never seen, and which conditions of contradictions it fulfils.
The numbers are the same as those of `Encoder.encode_row`, `Guard.row`, `Cells.of_rows` and `row_anomalies`, which a test holds it to.
"""

import functools
import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sporeprint.data.cross_field_rules import holds
from sporeprint.inference.model_bundle import Bundle
from sporeprint.models.encoder import Matrix
from sporeprint.safety.cells import ABSENT, Cells, Layout, RowCells
from sporeprint.schema import Condition

Row = Mapping[str, str | float | None]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Bits = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

#: Conditions of contradictions that one number can hold, beside the last bit. With more, every row is looked at by itself.
MOST_CONDITIONS, UNSEEN = 63, np.uint64(1 << 63)


class _Item(NamedTuple):
    """What a value of a nominal column means: see `RowVectorizer`.

    Attributes:
        cell: place in a row of the matrix.
        number: what is written there.
        place: place in the tables of the guard of partial rows.
        flags: the conditions it fulfils, a bit each; -1 where it was never seen in training.
    """

    cell: int
    number: float
    place: int
    flags: int


class VectorizedRows(NamedTuple):
    """Rows, read.

    Attributes:
        matrix: float32 [n, m], what the scorer takes.
        items: intp [n, nominal columns], the number of each item.
        numbers: float64 [q, n], NaN where there is none.
        may_be_anomalous: bool [n], whether a row may have anomalies: then it is checked by itself.
    """

    matrix: Matrix
    items: Index
    numbers: Float64
    may_be_anomalous: Flags


@dataclass(frozen=True)
class RowVectorizer:
    """Look-ups of one model.

    Attributes:
        bundle: the model.
        columns: nominal column, value -> number of the item, number of the item that a value nobody knows is.
        cell: intp [items], place in a row of the matrix.
        number: float32 [items], what is written there.
        place: intp [items], place in a row of the guard's features.
        partial_place: intp [items], place in the tables of the guard of partial rows; 0 where there is no such guard.
        unseen: bool [items], whether it was never seen in training.
        fulfils: uint64 [items], the conditions it fulfils, a bit each.
        numeric: the q numeric columns.
        ranges: float64 [2, q, 1], the smallest and the largest number in training.
        conditions: of k conditions of numeric columns, the column's number: intp [k].
        bounds: float64 [2, k, 1], what their numbers have to be above and below; infinite where there is no bound.
        bits: uint64 [k, 1], their bits.
        contradictions: uint64 [c], the conditions of each contradiction; None where there are too many.
    """

    bundle: Bundle
    columns: tuple[tuple[str, dict[Any, int], int], ...]
    cell: Index
    number: npt.NDArray[np.float32]
    place: Index
    partial_place: Index
    unseen: Flags
    fulfils: Bits
    numeric: tuple[str, ...]
    ranges: Float64
    conditions: Index
    bounds: Float64
    bits: Bits
    contradictions: Bits | None

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """The look-ups of a model."""
        schema, encoder, guard = bundle.schema, bundle.encoder, bundle.safety.guard
        bits = [(number, name, condition) for number, (name, condition) in enumerate(_conditions(bundle))]
        few = len(bits) <= MOST_CONDITIONS
        columns: list[tuple[str, dict[Any, int], int]] = []
        items: list[tuple[int, float, int, int, bool, int]] = []
        known = dict(encoder.known_values)
        encoded = {name: (cells, unseen) for name, cells, unseen in encoder.look_ups}
        places = {name: (rows, never) for name, rows, never in guard.look_ups}
        partial = bundle.safety.partial
        partial_places = {} if partial is None else {name: (rows, never) for name, rows, never in partial.layout.look_ups}
        for name in schema.nominal:
            (cells, unseen), (rows, never) = encoded[name], places[name]
            partial_rows, partial_never = partial_places.get(name, ({}, 0))
            values = dict.fromkeys((None, ABSENT, *cells, *rows, *(schema.columns[name].values or ())))
            columns.append((name, {value: len(items) + at for at, value in enumerate(values)}, len(items) + len(values)))
            for cell in values:
                value = None if cell is ABSENT else cell
                fulfilled = sum(1 << bit for bit, column, condition in bits if few and column == name and holds(value, condition))
                where = rows.get(value, never), partial_rows.get(cell, partial_never)
                items.append((*cells.get(value, unseen), *where, value is not None and value not in known[name], fulfilled))
            items.append((*unseen, never, partial_never, True, 0))
        numeric, ranges = tuple(schema.numeric), {name: bounds for name, *bounds in encoder.ranges}
        numeric_bits = [(bit, name, condition) for bit, name, condition in bits if few and name in numeric]
        ends = np.cumsum([0, *(len(item.when) for item in schema.contradictions)]).tolist()
        masks = [sum(1 << bit for bit in range(begin, end)) for begin, end in itertools.pairwise(ends)]
        return cls(
            bundle=bundle,
            columns=tuple(columns),
            cell=np.array([item[0] for item in items], dtype=np.intp),
            number=np.array([item[1] for item in items], dtype=np.float32),
            place=np.array([item[2] for item in items], dtype=np.intp),
            partial_place=np.array([item[3] for item in items], dtype=np.intp),
            unseen=np.array([item[4] for item in items], dtype=np.bool_),
            fulfils=np.array([item[5] for item in items], dtype=np.uint64),
            numeric=numeric,
            ranges=np.array([ranges[name] for name in numeric], dtype=np.float64).reshape(-1, 2).T[:, :, np.newaxis],
            conditions=np.array([numeric.index(name) for _, name, _ in numeric_bits], dtype=np.intp),
            bounds=_bounds([condition for _, _, condition in numeric_bits]),
            bits=np.array([1 << bit for bit, _, _ in numeric_bits], dtype=np.uint64)[:, np.newaxis],
            contradictions=np.array(masks, dtype=np.uint64) if few else None,
        )

    def vectorize(self, rows: Sequence[Row]) -> VectorizedRows:
        """Vectorize n rows, each in the contract's names and codes; a column left out is missing, and so is NaN."""
        n, encoder = len(rows), self.bundle.encoder
        numbered = [[look_up.get(row.get(name, ABSENT), never) for name, look_up, never in self.columns] for row in rows]
        items = np.array(numbered, dtype=np.intp).reshape(n, len(self.columns))
        numbers = np.array([[row.get(name) for row in rows] for name in self.numeric], dtype=np.float64).reshape(len(self.numeric), n)
        matrix = np.zeros((n, len(encoder.features)), dtype=np.float32)
        # By places in the flat matrix: looking up in two dimensions takes twice as long.
        flat = self.cell.take(items) + np.arange(0, matrix.size, matrix.shape[1])[:, np.newaxis]
        matrix.reshape(-1)[flat] = self.number.take(items)
        encoder.write_numbers(dict(zip(self.numeric, numbers, strict=True)), matrix)
        low, high = self.ranges
        fulfilled = np.bitwise_or.reduce(self.flags.take(items), axis=1)
        may_be_anomalous = (
            (fulfilled >= UNSEEN) | self._contradictory(fulfilled, numbers) | ((numbers < low) | (numbers > high)).any(axis=0)
        )
        return VectorizedRows(matrix, items, numbers, may_be_anomalous)

    def vectorize_row(self, row: Row, out: Matrix, layout: Layout | None) -> tuple[RowCells | None, bool]:
        """Vectorize one row, without the cost of arrays of one.

        Args:
            row: as in `vectorize`.
            out: float32 [m], what the scorer takes is written there.
            layout: of the guard of partial rows; None where there is none.

        Returns:
            What that guard takes, and whether the row may have anomalies.
        """
        get, values, places, raised = row.get, [0.0] * out.size, [], 0
        for name, look_up, never in self._items_by_column:
            cell, encoded, place, flags = look_up.get(get(name, ABSENT), never)
            values[cell] = encoded
            places.append(place)
            raised |= flags
        self.bundle.encoder.write_row_numbers(row, values)
        out[:] = values
        may_be_anomalous = raised < 0 or self.contradictions is None
        for mask, others in self._of_contradictions:
            if raised & mask == mask and not may_be_anomalous:
                may_be_anomalous = all(holds(get(name), condition) for name, condition in others)
        for name, low, high in self._ranges:
            may_be_anomalous |= (number := get(name)) is not None and not low <= float(number) <= high
        return None if layout is None else RowCells.of_places(places, row, layout), may_be_anomalous

    @cached_property
    def _items_by_column(self) -> list[tuple[str, dict[Any, _Item], _Item]]:
        """For every nominal column value -> its item, and that of a value nobody knows: for one row look-ups cost less than arrays."""
        flags = [-1 if unseen else fulfilled for unseen, fulfilled in zip(self.unseen.tolist(), self.fulfils.tolist(), strict=True)]
        items = list(map(_Item, self.cell.tolist(), self.number.tolist(), self.partial_place.tolist(), flags))
        return [(name, {value: items[at] for value, at in numbers.items()}, items[never]) for name, numbers, never in self.columns]

    @cached_property
    def _of_contradictions(self) -> list[tuple[int, list[tuple[str, Condition]]]]:
        """Of every contradiction its nominal conditions, as bits, and its numeric ones."""
        nominal = functools.reduce(operator.or_, self.fulfils.tolist(), 0)
        masks = [] if self.contradictions is None else self.contradictions.tolist()
        numeric = [[pair for pair in item.when.items() if pair[0] in self.numeric] for item in self.bundle.schema.contradictions]
        return [(mask & nominal, others) for mask, others in zip(masks, numeric, strict=False)]

    @cached_property
    def _ranges(self) -> list[tuple[str, float, float]]:
        return [(name, *bounds) for name, bounds in zip(self.numeric, self.ranges[:, :, 0].T.tolist(), strict=True)]

    def features(self, read: VectorizedRows) -> Float64:
        """What the guard takes of n rows: float64 [n, D]."""
        guard = self.bundle.safety.guard
        features = np.zeros((len(read.items), len(guard.weights)), dtype=np.float64)
        features[:, 0] = 1.0
        features[np.arange(len(features))[:, np.newaxis], self.place[read.items]] = 1.0
        guard.write_numbers(dict(zip(self.numeric, read.numbers, strict=True)), features.T)
        return features

    def cells(self, read: VectorizedRows, rows: Sequence[Row], layout: Layout) -> Cells:
        """What the guard of partial rows takes of the same n rows."""
        tells = not layout.informative.isdisjoint(layout.scales)
        absent = [[name not in row for name in layout.scales] for row in rows] if tells else [False] * len(layout.scales)
        return Cells.of_places(self.partial_place[read.items], read.numbers.T, layout, np.array(absent, dtype=np.bool_))

    @cached_property
    def flags(self) -> Bits:
        """uint64 [items], `fulfils`, and whether the item was never seen as one more bit."""
        return self.fulfils | np.where(self.unseen, UNSEEN, np.uint64(0))

    def _contradictory(self, fulfilled: Bits, numbers: Float64) -> Flags:
        if self.contradictions is None:
            return np.ones(len(fulfilled), dtype=np.bool_)
        if len(self.conditions):
            values, (above, below) = numbers.take(self.conditions, axis=0), self.bounds
            # A comparison with NaN is false: a number that is not there fulfils no condition.
            fulfilled = fulfilled | np.bitwise_or.reduce(((values > above) & (values < below)) * self.bits, axis=0)
        return np.asarray(((fulfilled[:, np.newaxis] & self.contradictions) == self.contradictions).any(axis=1))


def _bounds(conditions: Sequence[Condition]) -> Float64:
    bounds = [
        (-math.inf if condition.above is None else condition.above, math.inf if condition.below is None else condition.below)
        for condition in conditions
    ]
    return np.array(bounds, dtype=np.float64).reshape(-1, 2).T[:, :, np.newaxis]


def _conditions(bundle: Bundle) -> list[tuple[str, Condition]]:
    return [pair for item in bundle.schema.contradictions for pair in item.when.items()]

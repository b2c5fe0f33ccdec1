"""Rows that are asked for at the same time, as arrays: what one row costs in calls, a few together cost once.

Of every value that a nominal column can have, all that it means is looked up by one number: its cell in the matrix, its row of the
guard's weights, whether it was never seen, and which conditions of contradictions it fulfils. The numbers are the same as those of
`Encoder.encode_row`, `Guard.row` and `strange_row`, which a test holds it to.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sporeprint.data.cross_field_rules import holds
from sporeprint.inference.model_bundle import Bundle
from sporeprint.models.encoder import Matrix
from sporeprint.schema import Condition

Row = Mapping[str, str | float | None]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Bits = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

#: Conditions of contradictions that one number can hold. With more, every row is looked at by itself.
MOST_CONDITIONS = 64


class VectorizedRows(NamedTuple):
    """Rows, read.

    Attributes:
        matrix: float32 [n, m], what the scorer takes.
        features: float64 [n, D], what the guard takes.
        may_be_anomalous: bool [n], whether a row may have anomalies: then it is checked by itself.
    """

    matrix: Matrix
    features: Float64
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
        unseen: bool [items], whether it was never seen in training.
        fulfils: uint64 [items], the conditions it fulfils, a bit each.
        numeric: the q numeric columns.
        ranges: float64 [2, q, 1], the smallest and the largest number in training.
        conditions: of k conditions of numeric columns, the column's number: intp [k].
        bounds: float64 [2, k, 1], what their numbers have to be above and below; NaN where there is no bound.
        bits: uint64 [k, 1], their bits.
        contradictions: uint64 [c], the conditions of each contradiction; None where there are too many.
    """

    bundle: Bundle
    columns: tuple[tuple[str, dict[Any, int], int], ...]
    cell: Index
    number: npt.NDArray[np.float32]
    place: Index
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
        items: list[tuple[int, float, int, bool, int]] = []
        known = dict(encoder.known_values)
        places = {name: (rows, never) for name, rows, never in guard.look_ups}
        for name, cells, unseen in encoder.look_ups:
            rows, never = places[name]
            values = dict.fromkeys((None, *cells, *rows, *(schema.columns[name].values or ())))
            columns.append((name, {value: len(items) + at for at, value in enumerate(values)}, len(items) + len(values)))
            for value in values:
                fulfilled = sum(1 << bit for bit, column, condition in bits if few and column == name and holds(value, condition))
                items.append((*cells.get(value, unseen), rows.get(value, never), value is not None and value not in known[name], fulfilled))
            items.append((*unseen, never, True, 0))
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
            unseen=np.array([item[3] for item in items], dtype=np.bool_),
            fulfils=np.array([item[4] for item in items], dtype=np.uint64),
            numeric=numeric,
            ranges=np.array([ranges[name] for name in numeric], dtype=np.float64).reshape(-1, 2).T[:, :, np.newaxis],
            conditions=np.array([numeric.index(name) for _, name, _ in numeric_bits], dtype=np.intp),
            bounds=_bounds([condition for _, _, condition in numeric_bits]),
            bits=np.array([1 << bit for bit, _, _ in numeric_bits], dtype=np.uint64)[:, np.newaxis],
            contradictions=np.array(masks, dtype=np.uint64) if few else None,
        )

    def vectorize(self, rows: Sequence[Row]) -> VectorizedRows:
        """Vectorize n rows, each in the contract's names and codes; a column left out is missing, and so is NaN."""
        n, encoder, guard = len(rows), self.bundle.encoder, self.bundle.safety.guard
        items = np.array([[look_up.get(row.get(name), never) for name, look_up, never in self.columns] for row in rows], dtype=np.intp)
        items = items.reshape(n, len(self.columns))
        numbers = np.array([[row.get(name) for row in rows] for name in self.numeric], dtype=np.float64).reshape(len(self.numeric), n)
        values = dict(zip(self.numeric, numbers, strict=True))
        everyone = np.arange(n)[:, np.newaxis]
        matrix = np.zeros((n, len(encoder.features)), dtype=np.float32)
        matrix[everyone, self.cell[items]] = self.number[items]
        encoder.write_numbers(values, matrix)
        features = np.zeros((n, len(guard.weights)), dtype=np.float64)
        features[:, 0] = 1.0
        features[everyone, self.place[items]] = 1.0
        guard.write_numbers(values, features.T)
        low, high = self.ranges
        may_be_anomalous = (
            self.unseen[items].any(axis=1) | self._contradictory(items, numbers) | ((numbers < low) | (numbers > high)).any(axis=0)
        )
        return VectorizedRows(matrix, features, may_be_anomalous)

    def _contradictory(self, items: Index, numbers: Float64) -> Flags:
        if self.contradictions is None:
            return np.ones(len(items), dtype=np.bool_)
        fulfilled = np.bitwise_or.reduce(self.fulfils[items], axis=1)
        if len(self.conditions):
            values, (above, below) = numbers[self.conditions], self.bounds
            # A comparison with NaN is false: a bound that is not there is kept, a number that is not there keeps none.
            holds = ~(np.isnan(values) | (values <= above) | (values >= below))
            fulfilled |= np.bitwise_or.reduce(holds * self.bits, axis=0)
        return np.asarray(((fulfilled[:, np.newaxis] & self.contradictions) == self.contradictions).any(axis=1))


def _bounds(conditions: Sequence[Condition]) -> Float64:
    bounds = [[math.nan if bound is None else bound for bound in (condition.above, condition.below)] for condition in conditions]
    return np.array(bounds, dtype=np.float64).reshape(-1, 2).T[:, :, np.newaxis]


def _conditions(bundle: Bundle) -> list[tuple[str, Condition]]:
    return [pair for item in bundle.schema.contradictions for pair in item.when.items()]

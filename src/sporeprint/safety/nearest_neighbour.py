"""The nearest known observation: of the training rows kept with a model, the one that differs least from a row.

Distance: one for every nominal column that differs (missing is a value), and for a number the difference in standard deviations
of the training rows, at most one (the heterogeneous metric of Wilson and Martinez 1997, without its overlap of missing values).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import Batches
from sporeprint.common.npz import from_npz, to_npz
from sporeprint.data.dataset import Observations, concat
from sporeprint.safety.novelty_guard import Guard

Row = Mapping[str, str | float | None]

#: The file in a bundle.
REFERENCE_FILE = "known.npz"
#: Numbers further apart than this many standard deviations are simply different.
FAR = 4.0


@dataclass(frozen=True)
class NearestRow:
    """A kept row.

    Attributes:
        row: its number in the source, from 0.
        component: number of the guard's component it belongs to.
        distance: 0 for an equal row, at most the number of columns.
        values: its values by column, None where missing.
        differing: the columns in which the two differ, the most different first.
    """

    row: int
    component: int
    distance: float
    values: Row
    differing: tuple[str, ...]


@dataclass(frozen=True)
class ReferenceRows:
    """Training rows of every component of a guard.

    Attributes:
        nominal: column -> int16 [n], place in the guard's categories, counted from 1; 0 missing.
        numeric: column -> float64 [n], NaN where missing.
        row: int64 [n], number in the source.
        component: int32 [n], sorted.
    """

    nominal: Mapping[str, npt.NDArray[np.int16]]
    numeric: Mapping[str, npt.NDArray[np.float64]]
    row: npt.NDArray[np.int64]
    component: npt.NDArray[np.int32]

    def nearest(self, row: Row, guard: Guard, component: int, *, observed_only: bool = False) -> NearestRow | None:
        """The nearest kept row of a component; None where none is kept. Of equally near ones the first in the source.

        Args:
            row: column -> code, number or None.
            guard: the guard that the rows were kept for.
            component: its component.
            observed_only: whether a cell without a value, on either side, makes no difference.
        """
        at = slice(*np.searchsorted(self.component, [component, component + 1]).tolist())
        rows = self.row[at]
        if not len(rows):
            return None
        parts = {name: _nominal_distance(row.get(name), values[at], guard.categories[name]) for name, values in self.nominal.items()}
        parts |= {name: _numeric_distance(row.get(name), values[at], guard.scales[name][1]) for name, values in self.numeric.items()}
        if observed_only:
            empty = {name: values[at] == 0 for name, values in self.nominal.items()}
            empty |= {name: np.isnan(values[at]) for name, values in self.numeric.items()}
            for name, part in parts.items():
                value = row.get(name)
                parts[name] = np.zeros_like(part) if value is None or value != value else np.where(empty[name], 0.0, part)
        distance = np.add.reduce(list(parts.values()))
        best = int(np.lexsort((rows, distance))[0])
        differing = sorted((name for name, part in parts.items() if part[best] > 0), key=lambda name: -parts[name][best])
        return NearestRow(int(rows[best]), component, float(distance[best]), self._values(at.start + best, guard), tuple(differing))

    def _values(self, number: int, guard: Guard) -> Row:
        values: dict[str, str | float | None] = {}
        for name, codes in self.nominal.items():
            values[name] = guard.categories[name][code - 1] if (code := int(codes[number])) else None
        for name, numbers in self.numeric.items():
            values[name] = None if np.isnan(numbers[number]) else float(numbers[number])
        return values

    def to_bytes(self) -> bytes:
        """As a compressed .npz archive of plain arrays; equal values give equal bytes."""
        arrays: dict[str, npt.NDArray[Any]] = {"row": self.row, "component": self.component}
        arrays |= {f"nominal.{name}": values for name, values in self.nominal.items()}
        arrays |= {f"numeric.{name}": values for name, values in self.numeric.items()}
        return to_npz(arrays, compressed=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if the bytes are nothing of the kind.
        """
        try:
            arrays = from_npz(data)
            by_kind = {
                kind: {name.partition(".")[2]: values for name, values in arrays.items() if name.startswith(f"{kind}.")}
                for kind in ("nominal", "numeric")
            }
            return cls(by_kind["nominal"], by_kind["numeric"], arrays["row"], arrays["component"])
        except (KeyError, ValueError) as error:
            raise ValueError(f"not a table of known observations: {error}") from error


def _nominal_distance(value: str | float | None, codes: npt.NDArray[np.int16], categories: tuple[str, ...]) -> npt.NDArray[np.float64]:
    # A value that the guard does not know differs from every one that is kept.
    code = 0 if value is None else categories.index(str(value)) + 1 if value in categories else -1
    unequal: npt.NDArray[np.float64] = (codes != code).astype(np.float64)
    return unequal


def _numeric_distance(value: str | float | None, numbers: npt.NDArray[np.float64], sd: float) -> npt.NDArray[np.float64]:
    missing = np.isnan(numbers)
    if value is None or value != value:
        return (~missing).astype(np.float64)
    apart: npt.NDArray[np.float64] = np.where(missing, 1.0, np.minimum(np.abs(numbers - float(value)) / (FAR * sd), 1.0))
    return apart


@dataclass(frozen=True)
class RowsByHash:
    """Of rows those with the smallest hashes, at most so many of each of K components, and the component of each."""

    rows: Observations
    component: npt.NDArray[np.intp]
    components: int
    most: int

    @classmethod
    def of(cls, guard: Guard, most: int, rows: Observations) -> Self:
        """Of some rows."""
        return cls(rows, _component(rows, guard), len(guard.names), most)._chosen()

    def merge(self, other: Self) -> Self:
        """Of both."""
        rows, component = concat([self.rows, other.rows]), np.concatenate([self.component, other.component])
        return type(self)(rows, component, self.components, self.most)._chosen()

    def _chosen(self) -> Self:
        order = np.lexsort((self.rows.row_hash, self.component))
        sizes = np.bincount(self.component, minlength=self.components)
        place = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        chosen = order[place < self.most]
        return type(self)(self.rows.take(chosen), self.component[chosen], self.components, self.most)


def reference_rows(batches: Batches[Observations], guard: Guard, *, most: int) -> ReferenceRows:
    """Choose the training rows that are kept: of each component at most so many, by their hash.

    Args:
        batches: the rows the guard was fitted on.
        guard: the guard.
        most: rows of a component.
    """
    smallest = batches.total(partial(RowsByHash.of, guard, most))
    chosen = smallest.rows
    nominal = {}
    for name, categories in guard.categories.items():
        index = {value: number for number, value in enumerate(categories, start=1)}
        table = np.array([0, 0, *(index.get(value, 0) for value in chosen.codes.vocabulary[name])], dtype=np.int16)
        nominal[name] = table.take(chosen.codes.nominal[name] + np.int16(1))
    return ReferenceRows(nominal, dict(chosen.codes.numeric), chosen.row, smallest.component.astype(np.int32))


def _component(rows: Observations, guard: Guard) -> npt.NDArray[np.intp]:
    if rows.group is None or (guard.names < 0).any():
        return guard.novelty(rows.codes).component
    return np.searchsorted(guard.names, rows.group).astype(np.intp)

"""What the guards learn of the rows of each component, in parts that merge: counts of values, and moments of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import Batches
from sporeprint.data.coded_table import MISSING, UNKNOWN, Codes
from sporeprint.models.encoder import ROUNDING
from sporeprint.schema import DatasetSchema
from sporeprint.stats.moments import RunningMoments

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class ComponentRows:
    """Training rows: codes of n rows, labels int8 [n], and the component of each, int [n], 0 ... K - 1."""

    codes: Codes
    y: npt.NDArray[np.int8]
    component: Index


@dataclass(frozen=True, eq=False)
class ValueTally:
    """What one pass over rows counts.

    Attributes:
        sizes: int64 [K], rows of each component.
        positives: int64 [K], those of the positive class.
        vocabulary: for every nominal column its values, in code order.
        counts: for every nominal column int64 [k + 2, K], rows by code + 1: unknown, missing, each value.
        moments: of every numeric column, over all rows.
        most_missing: missing cells of the row that has the most.
    """

    sizes: Int64
    positives: Int64
    vocabulary: Mapping[str, tuple[str, ...]]
    counts: Mapping[str, Int64]
    moments: Mapping[str, RunningMoments]
    most_missing: int

    @classmethod
    def of(cls, rows: ComponentRows, components: int, schema: DatasetSchema) -> Self:
        """Count rows, whose components are K in all."""
        codes, counts, missing = rows.codes, {}, np.zeros(rows.codes.rows, dtype=np.int32)
        for name in schema.nominal:
            height = len(codes.vocabulary[name]) + 2
            flat = (codes.nominal[name] - UNKNOWN).astype(np.intp) * components + rows.component
            counts[name] = np.bincount(flat, minlength=height * components).reshape(height, components)
            missing += codes.nominal[name] == MISSING
        for name in schema.numeric:
            missing += np.isnan(codes.numeric[name])
        return cls(
            np.bincount(rows.component, minlength=components),
            np.bincount(rows.component[rows.y == 1], minlength=components),
            {name: codes.vocabulary[name] for name in schema.nominal},
            counts,
            {name: RunningMoments.of(codes.numeric[name][~np.isnan(codes.numeric[name])]) for name in schema.numeric},
            int(missing.max(initial=0)),
        )

    def merge(self, other: Self) -> Self:
        """Of both; new values come last."""
        vocabulary, counts = {}, {}
        for name, values in self.vocabulary.items():
            vocabulary[name] = tuple(dict.fromkeys((*values, *other.vocabulary[name])))
            index = {value: number for number, value in enumerate(vocabulary[name], start=2)}
            counts[name] = np.zeros((len(index) + 2, len(self.sizes)), dtype=np.int64)
            counts[name][: len(values) + 2] = self.counts[name]
            counts[name][[0, 1, *(index[value] for value in other.vocabulary[name])]] += other.counts[name]
        return type(self)(
            self.sizes + other.sizes,
            self.positives + other.positives,
            vocabulary,
            counts,
            {name: mine.merge(other.moments[name]) for name, mine in self.moments.items()},
            max(self.most_missing, other.most_missing),
        )


@dataclass(frozen=True, eq=False)
class ComponentNumbers:
    """What a second pass, which knows the scale of numbers, adds of one numeric column.

    Attributes:
        n: int64 [K], rows of each component with a number.
        means: float64 [K], of the standardised numbers; 0 where there are none.
        squares: float64 [K], sums of the squared deviations from them.
    """

    n: Int64
    means: Float64
    squares: Float64

    @classmethod
    def of(cls, values: Float64, component: Index, components: int, scale: tuple[float, float]) -> Self:
        """Of float64 [n], NaN where missing."""
        present = ~np.isnan(values)
        z, where = (values[present] - scale[0]) / scale[1], component[present]
        n = np.bincount(where, minlength=components)
        means = np.bincount(where, weights=z, minlength=components) / np.maximum(n, 1)
        squares = np.bincount(where, weights=(z - means[where]) ** 2, minlength=components)
        return cls(n, means, squares.astype(np.float64))

    def merge(self, other: Self) -> Self:
        """Of both (Chan, Golub, LeVeque 1983)."""
        n = self.n + other.n
        apart, share = other.means - self.means, other.n / np.maximum(n, 1)
        return type(self)(n, self.means + apart * share, self.squares + other.squares + apart**2 * self.n * share)

    def rescaled(self, factor: float) -> Self:
        """Of numbers divided by a standard deviation that is smaller by this factor."""
        return type(self)(self.n, self.means * factor, self.squares * factor**2)


@dataclass(frozen=True, eq=False)
class ComponentCounts:
    """All of it: what was counted, and, for every numeric column, its scale over all rows and its moments in each component."""

    values: ValueTally
    scales: Mapping[str, tuple[float, float]]
    numbers: Mapping[str, ComponentNumbers]

    def seen(self, name: str) -> list[int]:
        """The codes of a nominal column that some row holds."""
        return [code for code in range(1, len(self.values.vocabulary[name]) + 1) if self.values.counts[name][code + 1].any()]

    def categories(self, name: str) -> tuple[str, ...]:
        """The values of a nominal column that some row holds."""
        return tuple(self.values.vocabulary[name][code - 1] for code in self.seen(name))


@dataclass(frozen=True)
class NumbersByColumn:
    """The moments of numeric columns in each component."""

    columns: Mapping[str, ComponentNumbers]

    @classmethod
    def of(cls, scales: Mapping[str, tuple[float, float]], components: int, rows: ComponentRows) -> Self:
        """Of some rows."""
        numeric = rows.codes.numeric
        return cls({name: ComponentNumbers.of(numeric[name], rows.component, components, scale) for name, scale in scales.items()})

    def merge(self, other: Self) -> Self:
        """Of both."""
        return type(self)({name: mine.merge(other.columns[name]) for name, mine in self.columns.items()})


def count_components(batches: Batches[ComponentRows], components: int, schema: DatasetSchema) -> ComponentCounts:
    """Count the rows of K components, in two passes."""
    values = batches.total(partial(ValueTally.of, components=components, schema=schema))
    scales = {name: scale_of(moments) for name, moments in values.moments.items()}
    return ComponentCounts(values, scales, batches.total(partial(NumbersByColumn.of, scales, components)).columns if scales else {})


def scale_of(moments: RunningMoments, least: float = ROUNDING) -> tuple[float, float]:
    """Mean and standard deviation of numbers; 1 for the latter where rounding alone, or nothing, spreads them."""
    return moments.mean, moments.sd if moments.sd > least * moments.largest else 1.0

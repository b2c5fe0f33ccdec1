"""What an encoder learns of training rows, in parts that merge: counts by value and fold, moments and quartiles of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import Batches
from sporeprint.data.coded_table import UNKNOWN, Codes, refuse_too_many
from sporeprint.stats.moments import RunningMoments
from sporeprint.stats.value_counts import ValueCounts, quantiles

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]
Fold = npt.NDArray[np.int64]

#: Folds in which orders and means by the label are cross-fitted.
FOLDS = 5
QUARTILES = np.array([0.25, 0.5, 0.75])


@dataclass(frozen=True)
class RowsWithFolds:
    """Training rows: codes of n rows, labels int8 [n], and the fold of each for cross-fitting, int64 [n]."""

    codes: Codes
    y: npt.NDArray[np.int8]
    fold: Fold


@dataclass(frozen=True, eq=False)
class NominalTally:
    """Of one nominal column.

    Attributes:
        vocabulary: its values, in code order.
        counts: int64 [FOLDS, k + 2], rows by code + 1: unknown, missing, each value.
        positives: the same of rows of the positive class.
    """

    vocabulary: tuple[str, ...]
    counts: Int64
    positives: Int64

    @classmethod
    def of(cls, rows: RowsWithFolds, name: str) -> Self:
        """Count a column."""
        vocabulary = rows.codes.vocabulary[name]
        size = len(vocabulary) + 2
        places = rows.fold * size + (rows.codes.nominal[name] - UNKNOWN)
        counts, positives = (
            np.bincount(chosen, minlength=FOLDS * size).reshape(FOLDS, size).astype(np.int64) for chosen in (places, places[rows.y == 1])
        )
        return cls(vocabulary, counts, positives)

    def merge(self, other: Self, name: str) -> Self:
        """Of both; new values come last."""
        vocabulary = tuple(dict.fromkeys((*self.vocabulary, *other.vocabulary)))
        refuse_too_many(name, len(vocabulary))
        index = {value: number for number, value in enumerate(vocabulary, start=2)}
        places = np.array([0, 1, *(index[value] for value in other.vocabulary)], dtype=np.intp)
        added = np.zeros((2, FOLDS, len(vocabulary) + 2), dtype=np.int64)
        added[:, :, : self.counts.shape[1]] = self.counts, self.positives
        added[:, :, places] += np.stack([other.counts, other.positives])
        return type(self)(vocabulary, *added)


@dataclass(frozen=True, eq=False)
class NumberTally:
    """Of one numeric column: moments, whether some number is not whole (a date with a time of day), and how often each value occurs."""

    moments: RunningMoments
    has_parts: bool
    counts: ValueCounts

    @classmethod
    def of(cls, values: Float64) -> Self:
        """Of float64 [n], NaN where missing."""
        present = values[~np.isnan(values)]
        return cls(RunningMoments.of(present), bool((present != np.floor(present)).any()), ValueCounts.of(present))

    def merge(self, other: Self) -> Self:
        """Of both."""
        return type(self)(self.moments.merge(other.moments), self.has_parts or other.has_parts, self.counts.merge(other.counts))


@dataclass(frozen=True, eq=False)
class EncoderTally:
    """Of all columns of some rows, and how many rows."""

    rows: int
    nominal: Mapping[str, NominalTally]
    numeric: Mapping[str, NumberTally]

    @classmethod
    def of(cls, rows: RowsWithFolds) -> Self:
        """Tally rows."""
        codes = rows.codes
        return cls(
            codes.rows,
            {name: NominalTally.of(rows, name) for name in codes.nominal},
            {name: NumberTally.of(values) for name, values in codes.numeric.items()},
        )

    def merge(self, other: Self) -> Self:
        """Of both."""
        return type(self)(
            self.rows + other.rows,
            {name: mine.merge(other.nominal[name], name) for name, mine in self.nominal.items()},
            {name: mine.merge(other.numeric[name]) for name, mine in self.numeric.items()},
        )


@dataclass(frozen=True, eq=False)
class TrainingCounts:
    """All that an encoder learns: the tally of all rows, and the quartiles [3] of every numeric column that has a number."""

    tally: EncoderTally
    quartiles: Mapping[str, Float64]


@dataclass(frozen=True)
class NumbersInBins:
    """How often values occur in those bins of numeric columns that are asked for, by column."""

    counts: Mapping[str, ValueCounts]

    @classmethod
    def of(cls, bins: Mapping[str, ValueCounts], rows: RowsWithFolds) -> Self:
        """Count some rows."""
        numbers = {name: rows.codes.numeric[name] for name in bins}
        return cls({name: ValueCounts.of(values[~np.isnan(values)], bins=bins[name]) for name, values in numbers.items()})

    def merge(self, other: Self) -> Self:
        """Of both."""
        return type(self)({name: mine.merge(other.counts[name]) for name, mine in self.counts.items()})


def training_counts(batches: Batches[RowsWithFolds]) -> TrainingCounts:
    """Count training rows; they are read again only where a column has more values than are counted."""
    whole = batches.total(EncoderTally.of)
    counted = {name: column.counts for name, column in whole.numeric.items() if column.moments.n}
    return TrainingCounts(whole, quantiles(counted, QUARTILES, lambda bins: batches.total(partial(NumbersInBins.of, bins)).counts))

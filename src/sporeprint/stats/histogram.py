"""Numbers as a histogram of bounded size that can be added: every distinct value with its count while there are few, else fine bins.

A double's bits, read as a whole number, are in the order of the doubles. Without its last s bits each value names a bin that depends on
the value alone: with s = 0 every value is a bin of its own, and each further bit joins two neighbours. So two histograms have a
common scale, the coarser of the two, and adding parts in any order gives what counting the whole gives, to the bit.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

#: Most bins of a histogram. Numbers written with two decimals, over three powers of ten, stay distinct.
MOST_BINS = 32_768
_BELOW_SIGN = np.int64(0x7FFF_FFFF_FFFF_FFFF)
_LARGEST = np.int64(0x7FEF_FFFF_FFFF_FFFF)


@dataclass(frozen=True)
class Histogram:
    """How often each number occurs, or each small range of numbers.

    Attributes:
        shift: bits that are left out; 0: every distinct value has a bin.
        keys: int64 [k], the bins, ascending.
        counts: int64 [k], at least 1 each.
    """

    shift: int
    keys: Int64
    counts: Int64

    @classmethod
    def empty(cls) -> Self:
        """A histogram of nothing."""
        return cls(0, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))

    @classmethod
    def of(cls, values: Float64, most: int = MOST_BINS) -> Self:
        """Count finite numbers, float64 [n]."""
        ordered = np.sort(values + 0.0)  # there is one zero
        first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(ordered) else np.empty(0, dtype=np.intp)
        counts = np.diff(np.append(first, len(ordered))).astype(np.int64)
        return cls(0, _keys(ordered[first]), counts).within(most)

    @classmethod
    def of_bins(cls, low: Float64, high: Float64, counts: Int64, shift: int) -> Self:
        """Take counts that were made elsewhere in bins of this scale, in any order.

        Args:
            low: lower ends, [k]. `bins.log_linear` with 2^b bins to an octave is this scale with a shift of 52 - b.
            high: upper ends, [k].
            counts: numbers in each, [k].
            shift: of the scale.
        """
        keys = _keys(np.asarray(low / 2 + high / 2 + 0.0)) >> np.int64(shift)
        different, place = np.unique(keys, return_inverse=True)
        summed = np.zeros(len(different), dtype=np.int64)
        np.add.at(summed, place, counts)
        return cls(shift, different[summed > 0], summed[summed > 0])

    def within(self, most: int = MOST_BINS) -> Self:
        """The same with at most so many bins, 2 or more (one for each sign): the finest scale on which that holds."""
        histogram = self
        while len(histogram.keys) > max(most, 2):
            histogram = histogram.coarser(histogram.shift + 1)
        return histogram

    def coarser(self, shift: int) -> Self:
        """The same on a scale that leaves out more bits."""
        if shift <= self.shift:
            return self
        keys = self.keys >> np.int64(shift - self.shift)
        first = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1]))) if len(keys) else np.empty(0, dtype=np.intp)
        return type(self)(shift, keys[first], np.add.reduceat(self.counts, first) if len(first) else self.counts)

    def add(self, other: Self, most: int = MOST_BINS) -> Self:
        """Both together."""
        if not len(other.keys) or not len(self.keys):
            longer = self if len(self.keys) else other
            return longer.coarser(max(self.shift, other.shift))
        keys, mine, theirs = common(self, other)
        return type(self)(max(self.shift, other.shift), keys, mine + theirs).within(most)

    @property
    def total(self) -> int:
        """How many numbers were counted."""
        return int(self.counts.sum())

    @property
    def exact(self) -> bool:
        """Whether every bin is one value."""
        return self.shift == 0

    @cached_property
    def values(self) -> Float64:
        """The bins' values, float64 [k]: exact ones, or the bins' middles."""
        return middles(self.keys, self.shift)

    @cached_property
    def mean(self) -> float:
        """Mean; NaN of nothing."""
        return float(np.average(self.values, weights=self.counts)) if self.total else float("nan")

    @cached_property
    def deviation(self) -> float:
        """Standard deviation of the sample, divided by n; NaN of nothing."""
        if not self.total:
            return float("nan")
        return float(np.sqrt(np.average((self.values - self.mean) ** 2, weights=self.counts)))

    def quantiles(self, shares: Float64) -> Float64:
        """The smallest values that at least these shares of the numbers are at or below."""
        cumulated = np.cumsum(self.counts)
        places = np.searchsorted(cumulated, np.asarray(shares) * cumulated[-1] * (1 - 1e-15), side="left")
        return np.asarray(self.values[np.minimum(places, len(self.keys) - 1)])

    def binned(self, edges: Float64) -> Int64:
        """How many numbers are in each of the bins (-inf, e1], (e1, e2], ... (ek, inf), by the values of this histogram."""
        place = np.searchsorted(edges, self.values, side="left")
        counts = np.zeros(len(edges) + 1, dtype=np.int64)
        np.add.at(counts, place, self.counts)
        return counts


def _keys(values: Float64) -> Int64:
    bits = values.view(np.int64)
    return np.where(bits < 0, bits ^ _BELOW_SIGN, bits)


def middles(keys: Int64, shift: int) -> Float64:
    """The values in the middle of bins, float64 [k]; with shift 0 the values themselves."""
    low, high = _ends(keys, shift)
    return low if shift == 0 else low / 2 + high / 2


def widths(keys: Int64, shift: int) -> Float64:
    """How far apart two numbers of the same bin can be, float64 [k]; 0 with shift 0."""
    low, high = _ends(keys, shift)
    return high - low


def _ends(keys: Int64, shift: int) -> tuple[Float64, Float64]:
    """The smallest and the largest number of each bin."""
    low = keys << np.int64(shift)
    high = low | np.int64((1 << shift) - 1)
    # The widest bins would hold the bit patterns of infinity, too.
    return _value(np.maximum(low, -_LARGEST - 1)), _value(np.minimum(high, _LARGEST))


def _value(keys: Int64) -> Float64:
    return np.where(keys < 0, keys ^ _BELOW_SIGN, keys).view(np.float64)


def common(a: Histogram, b: Histogram) -> tuple[Int64, Int64, Int64]:
    """Two histograms on their common scale: keys of either [k], and the counts of both, [k] each."""
    shift = max(a.shift, b.shift)
    a, b = a.coarser(shift), b.coarser(shift)
    keys = np.sort(np.concatenate([a.keys, b.keys]), kind="stable")  # two sorted runs: much faster than a hash of them
    keys = keys[np.flatnonzero(np.diff(keys, prepend=keys[:1] - 1))]
    counts = np.zeros((2, len(keys)), dtype=np.int64)
    counts[0, np.searchsorted(keys, a.keys)] = a.counts
    counts[1, np.searchsorted(keys, b.keys)] = b.counts
    return keys, counts[0], counts[1]

"""Exact quantiles of numbers that do not fit into memory: how often each value occurs, in parts that merge.

Up to a bound of different values each is counted. Beyond, values are counted together that share their leading bits, in an order
of bits that is the order of numbers; a further pass counts the values of those few bins that a quantile lies in.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

#: Different values, or bins of them, that are held at the most.
MOST_VALUES = 1_000_000
#: Bits by which bins grow where there are too many.
STEP = 4
_SIGN = np.uint64(1 << 63)


@dataclass(frozen=True, eq=False)
class ValueCounts:
    """How often values occur.

    Attributes:
        keys: uint64 [k], increasing: the leading bits of the values.
        counts: int64 [k].
        shift: how many bits are left out; 0: every value is counted on its own.
        most: different keys at the most.
    """

    keys: Keys
    counts: Int64
    shift: int = 0
    most: int = MOST_VALUES

    @classmethod
    def of(cls, numbers: Float64, *, bins: "ValueCounts | None" = None, most: int = MOST_VALUES) -> Self:
        """Count float64 [n], without NaN; with `bins`, only numbers that lie in one of them."""
        keys = _keys(numbers)
        if bins is not None:
            coarse = keys >> np.uint64(bins.shift)
            place = np.searchsorted(bins.keys, coarse).clip(max=max(len(bins.keys) - 1, 0))
            keys = keys[bins.keys[place] == coarse] if len(bins.keys) else keys[:0]
        return cls(*_counted(keys, None), 0, most)._bounded()

    def merge(self, other: Self) -> Self:
        """Of both."""
        shift = max(self.shift, other.shift)
        keys = np.concatenate([part.keys >> np.uint64(shift - part.shift) for part in (self, other)])
        counts = np.concatenate([self.counts, other.counts])
        return type(self)(*_counted(keys, counts), shift, self.most)._bounded()

    def _bounded(self) -> Self:
        """With bins so large that there are not too many."""
        if len(self.keys) <= self.most:
            return self
        keys, counts = _counted(self.keys >> np.uint64(STEP), self.counts)
        return type(self)(keys, counts, self.shift + STEP, self.most)._bounded()

    def at(self, ranks: Int64) -> npt.NDArray[np.intp]:
        """The places of the keys that the numbers of these ranks, from 0, lie in."""
        return np.searchsorted(np.cumsum(self.counts), ranks, side="right")

    def narrowed(self, ranks: Int64) -> tuple[Self, Int64]:
        """The bins that these ranks lie in alone, and the ranks among their numbers."""
        places = self.at(ranks)
        used = np.unique(places)
        before = np.cumsum(self.counts) - self.counts
        left_out = before[used] - (np.cumsum(self.counts[used]) - self.counts[used])
        return type(self)(self.keys[used], self.counts[used], self.shift, self.most), ranks - left_out[np.searchsorted(used, places)]


def quantiles(
    counted: Mapping[str, ValueCounts], shares: Float64, again: Callable[[Mapping[str, ValueCounts]], Mapping[str, ValueCounts]]
) -> dict[str, Float64]:
    """Quantiles as `numpy.quantile` gives them, of several sets of numbers, none of them empty.

    Args:
        counted: name -> counts of its numbers.
        shares: float64 [q], from 0 to 1.
        again: counts the numbers in bins by name once more: called only where values were counted together.

    Returns:
        name -> float64 [q].
    """
    ranks, parts = {}, {}
    for name, counts in counted.items():
        place = shares * (int(counts.counts.sum()) - 1)
        below = np.floor(place).astype(np.int64)
        ranks[name] = np.concatenate([below, np.minimum(below + 1, int(counts.counts.sum()) - 1)])
        parts[name] = place - below
    current = dict(counted)
    while coarse := [name for name, counts in current.items() if counts.shift]:
        narrowed = {name: current[name].narrowed(ranks[name]) for name in coarse}
        ranks |= {name: rank for name, (_, rank) in narrowed.items()}
        current |= again({name: bins for name, (bins, _) in narrowed.items()})
    results = {}
    for name, counts in current.items():
        low, high = _numbers(counts.keys[counts.at(ranks[name])]).reshape(2, -1)
        # Of two numbers NumPy interpolates as it does of all.
        results[name] = np.array([np.quantile([a, b], t) for a, b, t in zip(low, high, parts[name], strict=True)])
    return results


def _counted(keys: Keys, counts: Int64 | None) -> tuple[Keys, Int64]:
    if counts is None:
        different, counts = np.unique(keys, return_counts=True)
        return different, counts.astype(np.int64)
    different, place = np.unique(keys, return_inverse=True)
    return different, np.bincount(place.ravel(), weights=counts, minlength=len(different)).astype(np.int64)


def _keys(numbers: Float64) -> Keys:
    """Bits whose order as integers is the order of the numbers; 0 and -0 are one."""
    bits = (numbers + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _numbers(keys: Keys) -> Float64:
    return np.where(keys & _SIGN, keys & ~_SIGN, ~keys).view(np.float64)

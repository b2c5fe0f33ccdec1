"""Histograms that can be added: bins that are fixed beforehand, so that any two counts of them make a third."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

#: Bins between two powers of two: a bin is at most a sixteenth as wide as its lower end.
PER_OCTAVE = 16
#: Bins of a number between 0 and 1. A power of two, so that every end is exact.
PER_UNIT = 64


def log_linear(values: Numbers, per_octave: int = PER_OCTAVE) -> tuple[Numbers, Numbers]:
    """The bin of each value: powers of two, each octave cut into equal parts (as in HdrHistogram, Tene 2012).

    The ends depend on the value alone, are exact, and need neither a range nor a unit. 0 is a bin of its own, without width;
    negative values mirror positive ones.

    Args:
        values: finite numbers, [n].
        per_octave: bins between two powers of two, itself a power of two.

    Returns:
        lower and upper ends, [n] each: low <= value < high; mirrored, low < value <= high.

    >>> [end.tolist() for end in log_linear(np.array([0.0, 1.0, 5.3, -5.3]))]
    [[0.0, 1.0, 5.25, -5.5], [0.0, 1.0625, 5.5, -5.25]]
    """
    mantissa, exponent = np.frexp(np.abs(values))
    step = np.ldexp(1.0 / per_octave, exponent - 1)
    place = np.floor(mantissa * 2 * per_octave)
    low, high = place * step, np.where(values == 0, 0.0, (place + 1) * step)
    negative = values < 0
    return np.where(negative, -high, low), np.where(negative, -low, high)


def unit(values: Numbers, bins: int = PER_UNIT) -> tuple[Numbers, Numbers]:
    """The bin of each number from 0 to 1, of equal width; 1 is in the last.

    >>> [end.tolist() for end in unit(np.array([0.0, 0.02, 1.0]))]
    [[0.0, 0.015625, 0.984375], [0.015625, 0.03125, 1.0]]
    """
    place = np.clip(np.floor(values * bins), 0, bins - 1)
    return place / bins, (place + 1) / bins


def quantile(low: Sequence[float], high: Sequence[float], counts: Sequence[int], share: float) -> float:
    """A quantile of a histogram: values are taken as evenly spread within their bin.

    Args:
        low: lower ends, ascending, [k].
        high: upper ends, [k].
        counts: values in each bin, [k]; at least one value in all.
        share: 0 to 1.

    Returns:
        the smallest number that at least this share of the values is at or below.
    """
    cumulated = np.cumsum(counts)
    rank = share * float(cumulated[-1])
    place = int(np.argmax((cumulated >= rank) & (np.asarray(counts) > 0)))
    into = (rank - float(cumulated[place] - counts[place])) / counts[place]
    return float(low[place] + into * (high[place] - low[place]))

"""Slice analysis: accuracy of the rows with one value, or in one range, of one column, against the same slice of the reference."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import MISSING, UNKNOWN, Codes
from sporeprint.stats import two_sample
from sporeprint.stats.intervals import Estimate, proportion
from sporeprint.stats.paired import holm

#: Rows with an outcome below which a slice is not looked at, in either table.
LEAST_ROWS = 50
#: Probability of any false positive if no slice changed (family-wise error).
LEVEL = 0.05
CONFIDENCE = 0.95
#: Ranges of a numeric column: parts of the reference of equal size.
RANGES = 4
#: Slices that are kept, the worst.
KEPT = 50
NOTHING = "(missing)"

#: (column, value) -> rows, and rows whose likelier class is right.
SliceCounts = Mapping[tuple[str, str], tuple[int, int]]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SliceDrop:
    """A slice whose answers are less often right than in the reference.

    Attributes:
        column: its column.
        value: its value, or its range.
        rows: current rows with an outcome.
        now: share of them whose likelier class is right.
        reference_rows: rows of the reference.
        before: share of them that is right.
        fall: before minus now.
        p: probability of a difference as large if nothing had changed, adjusted for all slices that were looked at (Holm 1979).
        significant: whether it is more than chance.
    """

    column: str
    value: str
    rows: int
    now: Estimate
    reference_rows: int
    before: float
    fall: float
    p: float
    significant: bool


@dataclass(frozen=True)
class SliceAnalysis:
    """The slices whose accuracy dropped.

    Attributes:
        source: which rows these are, in words.
        rows: current rows with an outcome.
        least: rows below which a slice was not looked at.
        tested: slices that were.
        drops: those whose answers are less often right; what is more than chance first, and of these the largest fall.
        not_computed: why there are none; None where there could be.
    """

    source: str
    rows: int
    least: int
    tested: int
    drops: tuple[SliceDrop, ...]
    not_computed: str | None = None

    @property
    def worst(self) -> SliceDrop | None:
        """The slice that fell most, if any fell by more than chance."""
        return self.drops[0] if self.drops and self.drops[0].significant else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "worst": None if self.worst is None else asdict(self.worst)}


def cuts(codes: Codes) -> dict[str, Float64]:
    """Where the ranges of numeric columns end: at quantiles of these rows."""
    shares = np.arange(1, RANGES) / RANGES
    edges = {}
    for name, values in codes.numeric.items():
        present = values[np.isfinite(values)]
        edges[name] = np.unique(np.quantile(present, shares, method="inverted_cdf")) if len(present) else np.empty(0)
    return edges


def count_slices(
    codes: Codes, right: npt.NDArray[np.bool_], ends: Mapping[str, Float64], words: Mapping[str, Mapping[str, str]]
) -> SliceCounts:
    """Count the slices of coded rows.

    Args:
        codes: the rows.
        right: bool [n], whether the likelier class is right.
        ends: see `cuts`: the same for both tables.
        words: nominal column -> code -> word.
    """
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for name, values in codes.nominal.items():
        vocabulary = codes.vocabulary[name]
        labels = [f"(other {name})", NOTHING, *(words.get(name, {}).get(value, value) for value in vocabulary)]
        _add(counts, name, labels, values.astype(np.int64) - UNKNOWN, right)
        counts.pop((name, labels[0]), None)  # what the reference does not know has nothing to be compared with
    for name, numbers in codes.numeric.items():
        places = np.where(np.isfinite(numbers), 1 + np.searchsorted(ends[name], numbers, side="left"), MISSING)
        _add(counts, name, [NOTHING, *ranges(ends[name])], places, right)
    return counts


def ranges(ends: Float64) -> list[str]:
    """The names of the ranges between these ends."""
    texts = [f"{end:.6g}" for end in ends.tolist()]
    if not texts:
        return ["any number"]
    between = [f"above {low} to {high}" for low, high in pairwise(texts)]
    return [f"up to {texts[0]}", *between, f"above {texts[-1]}"]


def _add(
    counts: dict[tuple[str, str], tuple[int, int]],
    name: str,
    labels: Sequence[str],
    places: npt.NDArray[np.int64],
    right: npt.NDArray[np.bool_],
) -> None:
    rows = np.bincount(places, minlength=len(labels))
    good = np.bincount(places[right], minlength=len(labels))
    for label, count, hits in zip(labels, rows.tolist(), good.tolist(), strict=True):
        if count:
            counts[name, label] = (count, hits)


def analyse_slices(
    reference: SliceCounts, current: SliceCounts, *, rows: int, source: str, least: int = LEAST_ROWS, level: float = LEVEL
) -> SliceAnalysis:
    """Find the slices whose answers are less often right than they were.

    Args:
        reference: slices of the rows the model was validated on.
        current: slices of the current rows with an outcome.
        rows: how many these are.
        source: which they are, in words.
        least: rows of either below which a slice is not looked at.
        level: probability that any slice is called significant if nothing changed.
    """
    names = [name for name in reference if name in current and min(reference[name][0], current[name][0]) >= least]
    if not names:
        reason = f"no value of any column has {least} rows with an outcome, in the reference and now"
        return SliceAnalysis(source, rows, least, 0, (), reason)
    adjusted = holm([_p(reference[name], current[name]) for name in names])
    drops = []
    for name, p in zip(names, adjusted, strict=True):
        (old, old_right), (new, new_right) = reference[name], current[name]
        before, now = old_right / old, proportion(new_right, new, CONFIDENCE)
        if now.value < before:
            drops.append(SliceDrop(*name, new, now, old, before, before - now.value, p, p <= level))
    drops.sort(key=lambda item: (not item.significant, -item.fall, item.column, item.value))
    return SliceAnalysis(source, rows, least, len(names), tuple(drops[:KEPT]))


def _p(old: tuple[int, int], new: tuple[int, int]) -> float:
    """Exact: where all answers were right, an expected number of wrong ones is far below what a test of large samples needs."""
    return two_sample.fisher(old[1], old[0] - old[1], new[1], new[0] - new[1])

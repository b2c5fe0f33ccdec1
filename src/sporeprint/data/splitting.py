"""Splitting by a hash of the row: which part of the data each row belongs to.

The hash is of the features and of how many equal rows stand before the row, never of the label: so rows that repeat, with one
label or with several, are shared out like any others, and the parts stay exchangeable, which every calibrated promise needs.
The split needs no shuffle and no stored assignment, and the same table is always split alike. When a group grows, rows near a
cut may move to the neighbouring part, which is never from training to test.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.errors import DataError

Hashes = npt.NDArray[np.uint64]

#: Up to so many rows every stratum gets its exact shares; beyond, the hash alone decides, which is as good there: the
#: shares are off by less than 0.1 % and nothing has to be sorted.
EXACT_ROWS = 2_000_000
#: Rows whose hashes are made at a time: they stay in the processor's cache.
HASHED_AT_ONCE = 16_384
#: Row hashes held in memory at a time when equal rows are looked for.
HASHES_AT_ONCE = 80_000_000

_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(32)
#: Bits that hashes are first compared by, and those that are left.
_BEGINNING = 22
_REST = np.uint64(64 - _BEGINNING)


def row_hashes(codes: Codes, *, seed: int) -> Hashes:
    """A 64-bit hash of every row's features (of the values, not of their codes, so it does not depend on a vocabulary's order).

    Multiply and xor-shift mixing after SplitMix64 (Steele, Lea, Flood 2014), over blake2b hashes of the values.

    Returns:
        uint64 [n]. Equal rows have equal hashes; among n different rows some pair collides with probability n² / 2⁶⁵.
    """
    hashes = np.full(codes.rows, _hash_text("seed", str(seed)), dtype=np.uint64)
    tables = {name: np.array(_hashed_values(name, codes.vocabulary[name]), dtype=np.uint64) for name in codes.nominal}
    for start in range(0, codes.rows, HASHED_AT_ONCE):
        rows = slice(start, start + HASHED_AT_ONCE)
        some = hashes[rows]
        for name, values in codes.nominal.items():
            _mix(some, tables[name].take(values[rows] + np.int16(1)))
        for name, numbers in codes.numeric.items():
            # + 0.0 makes one zero of two; all NaN (missing) are given one pattern.
            bits = np.where(np.isnan(numbers[rows]), np.nan, numbers[rows] + 0.0).view(np.uint64)
            _mix(some, bits * (np.uint64(_hash_text(name, "\0number")) | np.uint64(1)))
        _mix(some, np.uint64(0))
    return hashes


def _hashed_values(name: str, values: Iterable[str]) -> list[int]:
    return [_hash_text(name, "\0unknown"), _hash_text(name, "\0missing"), *(_hash_text(name, value) for value in values)]


def _hash_text(name: str, value: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{name}\0{value}".encode(), digest_size=8).digest(), "little")


def _mix(hashes: Hashes, values: Hashes | np.uint64) -> None:
    hashes ^= values
    hashes *= _ODD
    hashes ^= hashes >> _SHIFT


def labelled_hashes(hashes: Hashes, y: npt.NDArray[np.int8]) -> Hashes:
    """Row hashes with the label mixed in: equal for exact copies only."""
    mixed = hashes.copy()
    _mix(mixed, np.array([_hash_text("y", "0"), _hash_text("y", "1")], dtype=np.uint64)[y])
    return mixed


class HashSet:
    """Hashes by which many others can be searched.

    Args:
        hashes: uint64, sorted, each once.
    """

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        self._beginnings = np.zeros(1 << _BEGINNING, dtype=np.bool_)
        self._beginnings[hashes >> _REST] = True

    def __len__(self) -> int:
        return len(self._hashes)

    def places(self, hashes: Hashes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Which of n hashes are in the set, in their order, and the place of each of these in it: both int [found]."""
        if not len(self):
            return np.empty(0, dtype=np.intp), np.empty(0, dtype=np.intp)
        # Few of them begin as one in the set does: only these are searched for.
        rows = np.flatnonzero(self._beginnings[hashes >> _REST])
        place = np.searchsorted(self._hashes, hashes[rows])
        place[place == len(self)] = 0
        hits = self._hashes[place] == hashes[rows]
        return rows[hits], place[hits]


class CopyNumbers:
    """Numbers equal rows in the order of the table: 0 for the first, 1 for the second, and so on.

    Args:
        repeated: uint64, sorted; the hashes that occur more than once.
    """

    def __init__(self, repeated: Hashes) -> None:
        self._repeated = HashSet(repeated)
        self._counts = np.zeros(len(repeated), dtype=np.int64)

    def __call__(self, hashes: Hashes) -> npt.NDArray[np.int64]:
        """int64 [n]: for the next n rows of the table, how many rows before each have its hash."""
        numbers = np.zeros(len(hashes), dtype=np.int64)
        rows, place = self._repeated.places(hashes)
        if not len(rows):
            return numbers
        by_place = np.argsort(place, kind="stable")
        ordered = place[by_place]
        starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        sizes = np.diff(np.r_[starts, len(ordered)])
        numbers[rows[by_place]] = np.arange(len(ordered)) - np.repeat(starts, sizes) + self._counts[ordered]
        self._counts += np.bincount(ordered, minlength=len(self._counts))
        return numbers


def draws(hashes: Hashes, copies: npt.NDArray[np.int64]) -> Hashes:
    """uint64 [n], one pseudo-random number a row: its row hash, and for a copy a new one for each copy number."""
    mixed_hashes = hashes.copy()
    again = np.flatnonzero(copies)
    if len(again):
        mixed = mixed_hashes[again]
        _mix(mixed, copies[again].astype(np.uint64) * _ODD)
        _mix(mixed, _ODD)
        _mix(mixed, np.uint64(0))
        mixed_hashes[again] = mixed
    return mixed_hashes


def parts(draws: Hashes, strata: npt.NDArray[np.int64] | None, shares: Mapping[str, float]) -> npt.NDArray[np.int8]:
    """The number of each row's part, in the order of the shares.

    Args:
        draws: uint64 [n], a pseudo-random number a row.
        strata: int [n], rows that are to be shared out alike; None: the number alone decides.
        shares: part -> share of the rows, adding up to 1.

    Returns:
        int8 [n]. Within a stratum of k rows a part holds its share of k, to within one row.
    """
    ends = _ends(shares)
    if strata is None:
        part, place = np.zeros(len(draws), dtype=np.int8), draws / 2.0**64
        for end in ends:  # there are few: several times as fast as a search among them
            part += place >= end
        return part
    order = np.lexsort((draws, strata))
    strata = strata[order]
    starts = np.flatnonzero(np.r_[True, strata[1:] != strata[:-1]])
    sizes = np.diff(np.r_[starts, len(strata)])
    # Each stratum starts at a place of its own (systematic sampling), so that small ones do not all round the same way.
    offset = _hash_of_strata(strata[starts]) / 2.0**64
    place = (np.arange(len(strata)) - np.repeat(starts, sizes) + np.repeat(offset, sizes)) / np.repeat(sizes, sizes)
    result = np.empty(len(order), dtype=np.int8)
    result[order] = np.searchsorted(ends, place, side="right")
    return result


def group_parts(group: npt.NDArray[np.int64], y: npt.NDArray[np.int8], shares: Mapping[str, float], *, seed: int) -> npt.NDArray[np.int8]:
    """Parts of whole groups: int8 [n], equal within a group.

    Groups of mostly positive and of mostly negative rows are shared out apart, in the order of a hash, so that a part holds
    about its share of the rows and of both classes.
    """
    groups, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    positive = np.bincount(index, weights=y) * 2 > sizes
    draw = _hash_of_strata(groups + np.int64(_hash_text("group", str(seed)) >> 1))
    parts = np.empty(len(groups), dtype=np.int8)
    for stratum in (False, True):
        mine = np.flatnonzero(positive == stratum)
        mine = mine[np.argsort(draw[mine])]
        middle = np.cumsum(sizes[mine]) - sizes[mine] / 2
        parts[mine] = np.searchsorted(_ends(shares), middle / max(sizes[mine].sum(), 1), side="right")
    return parts[index]


def ordered_parts(key: npt.NDArray[np.float64], shares: Mapping[str, float]) -> npt.NDArray[np.int8]:
    """Parts in the order of a key, such as the time: int8 [n]. The smallest come first; equal ones are in one part."""
    _, index, sizes = np.unique(key, return_inverse=True, return_counts=True)
    middle = (np.cumsum(sizes) - sizes / 2) / max(len(key), 1)
    parts: npt.NDArray[np.int8] = np.searchsorted(_ends(shares), middle, side="right").astype(np.int8)[index]
    return parts


def _ends(shares: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Where each part but the last ends, as a share of all rows."""
    return np.cumsum(list(shares.values()))[:-1]


def _hash_of_strata(strata: npt.NDArray[np.int64]) -> Hashes:
    hashes = strata.astype(np.uint64)
    for _ in itertools.repeat(None, 3):
        _mix(hashes, _ODD)
    return hashes


def check_counts(counts: npt.NDArray[np.int64], shares: Mapping[str, float], words: tuple[str, str], *, by: str = "rows") -> None:
    """Refuse a split in which a part lacks a class.

    Args:
        counts: int [2, parts], rows of the negative and of the positive class in each part.
        shares: part -> share.
        words: how people call the negative and the positive class.
        by: what the table was split by, as in `split.by`.

    Raises:
        DataError: naming the class and how many rows it has.
    """
    for of_class, word, other in zip(counts, words, words[::-1], strict=True):
        rows = int(of_class.sum())
        if not rows:
            raise DataError(f"the table has one class only: every row is {other!r}, none is {word!r}; a classifier needs both")
        if (of_class == 0).any():
            empty = list(shares)[int(of_class.argmin())]
            if by != "rows":
                raise DataError(
                    f"split.by: {by} leaves the part {empty!r} without a row of class {word!r} (of {rows:,} in all); "
                    "give that part a larger share, or choose another split.by"
                )
            raise DataError(
                f"class {word!r} has {rows} rows, too few to split: none is left for {empty!r} ({shares[empty]:.0%} of the rows); "
                f"about {int(np.ceil(2 / min(shares.values())))} rows of each class are needed"
            )


def repeated(batches: Callable[[], Iterable[Hashes]], rows: int) -> tuple[Hashes, int]:
    """Hashes that occur more than once, in bounded memory: one pass over the hashes for every `HASHES_AT_ONCE` rows.

    Args:
        batches: gives all hashes, batch by batch, each time it is called.
        rows: how many there are.

    Returns:
        The repeated hashes, sorted, and the number of rows that are copies of an earlier one.
    """
    passes = max(1, -(-rows // HASHES_AT_ONCE))
    edges = [number * 2**64 // passes for number in range(1, passes)]
    repeats, copies = [], 0
    for number in range(passes):
        hashes = _filled((_between(batch, number, passes, edges) for batch in batches()), rows)
        hashes.sort()
        again = hashes[1:][hashes[1:] == hashes[:-1]]
        copies += len(again)
        repeats.append(np.unique(again))
    return np.concatenate(repeats), copies


def _filled(batches: Iterable[Hashes], most: int) -> Hashes:
    """All of at most so many hashes. The room is taken at once, and used as far as it is filled: joining batches would take it twice."""
    hashes, done = np.empty(most, dtype=np.uint64), 0
    for batch in batches:
        hashes[done : done + len(batch)] = batch
        done += len(batch)
    return hashes[:done]


def _between(hashes: Hashes, number: int, passes: int, edges: list[int]) -> Hashes:
    if passes == 1:
        return hashes
    low = np.uint64(edges[number - 1]) if number else np.uint64(0)
    inside = hashes >= low
    if number < passes - 1:
        inside &= hashes < np.uint64(edges[number])
    return hashes[inside]

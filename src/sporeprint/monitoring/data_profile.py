"""What a table looks like, in so few numbers that it can be kept, sent and added: how often each value occurs, column by column."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import polars as pl

from sporeprint.common.npz import from_npz, to_npz
from sporeprint.data.coded_table import MISSING, MOST_VALUES, UNKNOWN, Codes, coded_frame
from sporeprint.schema import Kind
from sporeprint.stats.histogram import Histogram

#: Nominal values that are kept by name beyond those a contract lists; more, and they are counted together.
MOST_NAMED = MOST_VALUES
FORMAT = 1


@dataclass(frozen=True)
class NumericProfile:
    """A column of numbers.

    Attributes:
        histogram: the numbers.
        missing: rows without a value.
        invalid: rows with a value that is no finite number.
    """

    histogram: Histogram
    missing: int = 0
    invalid: int = 0

    @property
    def present(self) -> int:
        """Rows with a number."""
        return self.histogram.total

    def __add__(self, other: Self) -> "NumericProfile":
        return NumericProfile(self.histogram.add(other.histogram), self.missing + other.missing, self.invalid + other.invalid)


@dataclass(frozen=True)
class NominalProfile:
    """A column of names.

    Attributes:
        counts: value -> rows, of every value that occurs.
        missing: rows without a value.
        other: rows with a value that is not in `counts`, because there were too many values; 0 if there were not.
        known: values that are always counted by name: those a contract lists.
    """

    counts: Mapping[str, int]
    missing: int = 0
    other: int = 0
    known: frozenset[str] = frozenset()

    @property
    def present(self) -> int:
        """Rows with a value."""
        return sum(self.counts.values()) + self.other

    def __add__(self, other: Self) -> "NominalProfile":
        counts = dict(self.counts)
        for value, rows in other.counts.items():
            counts[value] = counts.get(value, 0) + rows
        return bounded(counts, self.missing + other.missing, self.other + other.other, self.known | other.known)


def bounded(counts: Mapping[str, int], missing: int, other: int, known: frozenset[str]) -> NominalProfile:
    """A column with no more names than are kept: all of them, or only the known ones. So it does not matter what is added first."""
    if not other and len(counts) <= MOST_NAMED + len(known):
        return NominalProfile(counts, missing, 0, known)
    known_counts = {value: rows for value, rows in counts.items() if value in known}
    return NominalProfile(known_counts, missing, other + sum(counts.values()) - sum(known_counts.values()), known)


ColumnProfile = NumericProfile | NominalProfile


@dataclass(frozen=True)
class Profile:
    """A table in numbers. Profiles of parts add up to the profile of the whole, in any order.

    Attributes:
        rows: how many rows it has.
        columns: name -> what is in it.
        unreadable: further rows that could not be split into fields.
    """

    rows: int = 0
    columns: Mapping[str, ColumnProfile] = field(default_factory=dict)
    unreadable: int = 0

    def __add__(self, other: Self) -> "Profile":
        if not self.columns or not other.columns:
            columns = self.columns or other.columns
        elif self.columns.keys() != other.columns.keys():
            differing = ", ".join(sorted(self.columns.keys() ^ other.columns.keys()))
            raise ValueError(f"profiles of different columns cannot be added; not in both: {differing}")
        else:
            columns = {name: _added(name, column, other.columns[name]) for name, column in self.columns.items()}
        return Profile(self.rows + other.rows, columns, self.unreadable + other.unreadable)

    def only(self, names: Collection[str]) -> "Profile":
        """Some of its columns."""
        return Profile(self.rows, {name: column for name, column in self.columns.items() if name in names}, self.unreadable)

    def renamed(self, names: Mapping[str, str]) -> "Profile":
        """The same, with other names for some columns."""
        columns = {names.get(name, name): column for name, column in self.columns.items()} if names else self.columns
        return Profile(self.rows, columns, self.unreadable)

    def beside(self, other: Self) -> "Profile":
        """The columns of two profiles of the same rows."""
        return Profile(self.rows, {**self.columns, **other.columns}, self.unreadable)

    def to_bytes(self) -> bytes:
        """An .npz archive; equal profiles give equal bytes."""
        arrays: dict[str, Any] = {}
        described: dict[str, Any] = {}
        for number, (name, column) in enumerate(self.columns.items()):
            if isinstance(column, NumericProfile):
                arrays[f"keys{number}"], arrays[f"counts{number}"] = column.histogram.keys, column.histogram.counts
                described[name] = {"shift": column.histogram.shift, "missing": column.missing, "invalid": column.invalid}
            else:
                counts = dict(sorted(column.counts.items()))
                described[name] = {"counts": counts, "missing": column.missing, "other": column.other, "known": sorted(column.known)}
        head = {"format": FORMAT, "rows": self.rows, "unreadable": self.unreadable, "columns": described}
        arrays["profile"] = np.frombuffer(json.dumps(head, ensure_ascii=False).encode(), dtype=np.uint8)
        return to_npz(arrays, compressed=True)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: if it is something else.
        """
        arrays = from_npz(data)
        try:
            head = json.loads(arrays["profile"].tobytes())
            if head["format"] != FORMAT:
                raise ValueError(f"a profile of format {head['format']!r}, expected {FORMAT}")
            columns: dict[str, ColumnProfile] = {}
            for number, (name, raw) in enumerate(head["columns"].items()):
                if "shift" in raw:
                    histogram = Histogram(int(raw["shift"]), arrays[f"keys{number}"], arrays[f"counts{number}"])
                    columns[name] = NumericProfile(histogram, raw["missing"], raw["invalid"])
                else:
                    columns[name] = NominalProfile(raw["counts"], raw["missing"], raw["other"], frozenset(raw["known"]))
            return cls(head["rows"], columns, head["unreadable"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no profile: {error!r}") from error


def _added(name: str, one: ColumnProfile, other: ColumnProfile) -> ColumnProfile:
    if isinstance(one, NumericProfile) and isinstance(other, NumericProfile):
        return one + other
    if isinstance(one, NominalProfile) and isinstance(other, NominalProfile):
        return one + other
    raise ValueError(f"column {name!r} is numeric in one profile and nominal in the other")


@dataclass(frozen=True)
class ColumnSpec:
    """A column to profile.

    Attributes:
        kind: how its values are to be read.
        known: nominal: the values that a contract lists; none if it lists none.
    """

    kind: Kind
    known: frozenset[str] = frozenset()


def profile(frame: pl.DataFrame, specs: Mapping[str, ColumnSpec], *, unreadable: int = 0) -> Profile:
    """Count what is in the columns of a frame.

    Args:
        frame: the columns, as text or of their own types; white space around text does not count.
        specs: which of them, and how they are to be read.
        unreadable: rows that are not in the frame, because they could not be split into fields.
    """
    numeric = [name for name, column in specs.items() if column.kind is not Kind.NOMINAL]
    numbers = coded_frame(frame, {}, numeric) if numeric else frame
    columns: dict[str, ColumnProfile] = {}
    for name, column in specs.items():
        columns[name] = _names(frame[name], column.known) if column.kind is Kind.NOMINAL else _numbers(numbers[name])
    return Profile(frame.height, columns, unreadable)


def _numbers(series: pl.Series) -> NumericProfile:
    missing = series.null_count()
    values = (series.drop_nulls() if missing else series).to_numpy()
    finite = np.isfinite(values)
    invalid = len(values) - int(np.count_nonzero(finite))
    return NumericProfile(Histogram.of(values[finite] if invalid else values), missing, invalid)


def _names(series: pl.Series, known: frozenset[str]) -> NominalProfile:
    counted = series.cast(pl.String).value_counts(name="rows")
    counts: dict[str, int] = {}
    missing = 0
    # Trimmed after they are counted: there are few of them.
    for value, rows in zip(counted.to_series(0).str.strip_chars().to_list(), counted["rows"].to_list(), strict=True):
        if value is None or value == "":
            missing += rows
        else:
            counts[value] = counts.get(value, 0) + rows
    return bounded(counts, missing, 0, known)


def of_codes(codes: Codes, known: Mapping[str, frozenset[str]]) -> Profile:
    """Profile coded rows. Values that are not in the vocabulary are counted together.

    Args:
        codes: the rows.
        known: for nominal columns the values that a contract lists.
    """
    columns: dict[str, ColumnProfile] = {}
    for name, values in codes.nominal.items():
        counts = np.bincount(values.astype(np.int64) - UNKNOWN, minlength=2 + len(codes.vocabulary[name]))
        named = {value: int(rows) for value, rows in zip(codes.vocabulary[name], counts[2:], strict=True) if rows}
        columns[name] = bounded(named, int(counts[MISSING - UNKNOWN]), int(counts[0]), known.get(name, frozenset()))
    for name, numbers in codes.numeric.items():
        missing = np.isnan(numbers)
        columns[name] = replace(_numbers(pl.Series(numbers[~missing])), missing=int(missing.sum()))
    return Profile(codes.rows, columns)


def of_numbers(values: np.ndarray[Any, np.dtype[np.float64]]) -> NumericProfile:
    """A column of numbers that may not all be finite, such as scores; NaN and infinity are invalid."""
    return _numbers(pl.Series(np.asarray(values, dtype=np.float64)))


def of_names(values: Sequence[str], counts: Sequence[int], known: Collection[str] = ()) -> NominalProfile:
    """A column of names with how often each occurs."""
    return bounded({value: int(rows) for value, rows in zip(values, counts, strict=True) if rows}, 0, 0, frozenset(known))

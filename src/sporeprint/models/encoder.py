"""From codes to the numbers a model sees: fitted once on training rows, applied to any row, anywhere.

An `Encoder` is a frozen value object that serialises to JSON. It has two ways to the same numbers: `matrix` for whole
tables, and `encode_row`, dictionary look-ups into a preallocated array, for one row at a time. In every encoding a
missing value, a value that was never seen in training, and a known value are three different things.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.dates import date_part
from sporeprint.data.coded_table import LARGEST, Codes

Matrix = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int8]

#: Rows that are encoded at a time where a table is scored.
SCORED_ROWS = 65_536

#: Relative to a column's numbers, a spread that is none.
ROUNDING = 10 * float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class NominalEncoding:
    """One nominal column.

    Attributes:
        name: the dataset's column.
        one_hot: one 0/1 feature per value (and one for missing), or one number per value.
        categories: the values seen in training, in order.
        numbers: for the one-number encodings, the number of each category; empty for one_hot.
        rare: further values seen in training, too rare for a feature or number of their own; encoded as `unseen` ones are.
        missing: the number that stands for a missing value, or for one_hot the category it is read as, counted from 1
            (0: a feature of its own).
        unseen: the number that stands for a value never seen in training; not used by one_hot, where no feature is set.
    """

    name: str
    one_hot: bool
    categories: tuple[str, ...]
    numbers: tuple[float, ...]
    missing: float
    unseen: float
    rare: tuple[str, ...] = ()

    @property
    def known(self) -> tuple[str, ...]:
        """All values seen in training."""
        return self.categories + self.rare

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the matrix columns."""
        if not self.one_hot:
            return (self.name,)
        own = (f"{self.name}:missing",) if self.missing == 0 else ()
        return (*own, *(f"{self.name}={value}" for value in self.categories))

    def table(self) -> Matrix:
        """Look-up table: row 0 for unseen, row 1 for missing, row i + 2 for known value i. Shape [k + 2, width]."""
        if not self.one_hot:
            numbers = (self.unseen, self.missing, *self.numbers, *(self.unseen for _ in self.rare))
            return np.array(numbers, dtype=np.float32)[:, np.newaxis]
        if self.rare:
            frequent = replace(self, rare=()).table()
            return np.concatenate([frequent, np.zeros((len(self.rare), frequent.shape[1]), dtype=np.float32)])
        own = int(self.missing == 0)
        table = np.zeros((len(self.categories) + 2, len(self.categories) + own), dtype=np.float32)
        table[np.arange(len(self.categories)) + 2, np.arange(len(self.categories)) + own] = 1
        table[1] = table[int(self.missing) + 1] if self.missing else 0
        if own:
            table[1, 0] = 1
        return table


@dataclass(frozen=True)
class NumericEncoding:
    """One numeric column: (x - center) / scale, `fill` where missing.

    Attributes:
        name: the dataset's column.
        center: subtracted, in the column's unit.
        scale: divided by, in the column's unit; never 0.
        fill: the value that stands for a missing one, in the column's unit.
        indicator: whether a further 0/1 feature says that the value was missing.
        low: smallest value in training, in the column's unit; None if none was seen.
        high: largest value in training.
        parts: of a date, what is read off it for further features: see `sporeprint.common.dates.PARTS`.
    """

    name: str
    center: float
    scale: float
    fill: float
    indicator: bool
    low: float | None
    high: float | None
    parts: tuple[str, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the matrix columns."""
        own = (self.name, f"{self.name}:missing") if self.indicator else (self.name,)
        return (*own, *(f"{self.name}:{part}" for part in self.parts))


Encoding = NominalEncoding | NumericEncoding


@dataclass(frozen=True)
class Encoder:
    """The fitted transform: one encoding a column, in the order of the schema."""

    columns: tuple[Encoding, ...]

    @cached_property
    def features(self) -> tuple[str, ...]:
        """Names of the m matrix columns."""
        return tuple(feature for column in self.columns for feature in column.features)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """For each of the m matrix columns, the dataset's column that it comes from."""
        return tuple(column.name for column in self.columns for _ in column.features)

    @cached_property
    def vocabulary(self) -> dict[str, tuple[str, ...]]:
        """For every nominal column the values seen in training."""
        return {column.name: column.known for column in self.columns if isinstance(column, NominalEncoding)}

    def matrix(self, codes: Codes) -> Matrix:
        """Encode a table.

        Args:
            codes: n rows, in any vocabulary: a value that was not seen in training is unseen, whatever its code.

        Returns:
            float32 [n, m], C-contiguous, without NaN.
        """
        # Feature by feature into memory that lies together, then turned: half the time of writing across the rows.
        features = np.empty((len(self.features), codes.rows), dtype=np.float32)
        at = 0
        for column in self.columns:
            width = len(column.features)
            if isinstance(column, NominalEncoding):
                table = column.table()[_rows_of(column.known, codes.vocabulary[column.name])]
                # Codes are never out of range; a mode is named because the default one copies.
                np.take(table.T, codes.nominal[column.name] + np.int16(1), axis=1, out=features[at : at + width], mode="clip")
            at += width
        self.write_numbers(codes.numeric, features.T)
        return np.ascontiguousarray(features.T)

    def scored(self, codes: Codes, score: Callable[[Matrix], npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """The scores of n rows, whose matrix is never whole in memory: float64 [n].

        Args:
            codes: n rows.
            score: float32 [b, m] -> float64 [b].
        """
        starts = range(0, max(codes.rows, 1), SCORED_ROWS)
        return np.concatenate([score(self.matrix(codes.take(slice(start, start + SCORED_ROWS)))) for start in starts])

    def write_numbers(self, values: Mapping[str, npt.NDArray[np.float64]], out: Matrix) -> None:
        """Encode the numeric columns of n rows, to the same numbers as `matrix`.

        Args:
            values: column -> float64 [n], NaN where missing.
            out: float32 [n, m] to write into.
        """
        if not self._numbers:
            return
        places, flagged, flags, centers, scales, fills = self._number_arrays
        numbers = np.array([values[column.name] for _, column in self._numbers])
        missing = np.isnan(numbers)
        np.copyto(numbers, fills, where=missing)
        numbers -= centers
        numbers /= scales
        out.T[places] = np.maximum(np.minimum(numbers, LARGEST, out=numbers), -LARGEST, out=numbers)
        if len(flags):
            out.T[flags] = missing[flagged]
        for at, column in self._dates:
            for place, part in enumerate(column.parts, at + 1 + column.indicator):
                out[:, place] = date_part(np.asarray(values[column.name], dtype=np.float64), part)

    def encode_row(self, row: Mapping[str, str | float | None], out: Matrix | None = None) -> Matrix:
        """Encode one row by look-ups, to the same numbers as `matrix`.

        Args:
            row: column -> code, number or None. A column left out is missing, and so is NaN.
            out: float32 [m] to write into, so that nothing is allocated; a new array if left out.

        Returns:
            float32 [m].
        """
        out = np.empty(len(self.features), dtype=np.float32) if out is None else out
        out.fill(0)
        for name, look_up, unseen in self.look_ups:
            at, value = look_up.get(row.get(name), unseen)
            out[at] = value
        self.write_row_numbers(row, out)
        return out

    def write_row_numbers(self, row: Mapping[str, str | float | None], out: Matrix | list[float]) -> None:
        """Encode the numeric columns of one row into float32 [m], or into a list of as many."""
        for at, column in self._numbers:
            number = row.get(column.name)
            missing = number is None or number != number
            scaled = ((column.fill if number is None or missing else float(number)) - column.center) / column.scale
            out[at] = min(max(scaled, -LARGEST), LARGEST)
            if column.indicator:
                out[at + 1] = missing
            for place, part in enumerate(column.parts, at + 1 + column.indicator):
                out[place] = date_part(np.array([np.nan if missing else number], dtype=np.float64), part)[0]

    def unseen(self, codes: Codes) -> dict[str, npt.NDArray[np.bool_]]:
        """For every nominal column where it happens: bool [n], whether the value was never seen in training."""
        flags_by_column = {}
        for name, categories in self.vocabulary.items():
            is_category = _rows_of(categories, codes.vocabulary[name]) != 0
            flags = ~is_category.take(codes.nominal[name] + np.int16(1))
            if flags.any():
                flags_by_column[name] = flags
        return flags_by_column

    @cached_property
    def known_values(self) -> tuple[tuple[str, frozenset[str]], ...]:
        """Every nominal column with the values seen in training."""
        return tuple((name, frozenset(values)) for name, values in self.vocabulary.items())

    @cached_property
    def ranges(self) -> tuple[tuple[str, float, float], ...]:
        """Every numeric column with the smallest and the largest number seen in training; an empty range where there was none."""
        columns = [column for column in self.columns if isinstance(column, NumericEncoding)]
        return tuple(
            (column.name, math.inf if column.low is None else column.low, -math.inf if column.high is None else column.high)
            for column in columns
        )

    @cached_property
    def look_ups(self) -> tuple[tuple[str, dict[Any, tuple[int, float]], tuple[int, float]], ...]:
        """For every nominal column: value -> (matrix column, number to write there), and the pair for unseen values."""
        tables = []
        for at, column in self.offsets:
            if isinstance(column, NominalEncoding):
                table = column.table()
                pairs = [(at + int(row.argmax()), float(row.max())) if column.one_hot else (at, float(row[0])) for row in table]
                tables.append((column.name, dict(zip((None, *column.known), pairs[1:], strict=True)), pairs[0]))
        return tuple(tables)

    @cached_property
    def _number_arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """Of the q numeric columns: their places, the indexes of those with an indicator and its places; center, scale, fill [q, 1]."""
        flagged = [(number, at + 1) for number, (at, column) in enumerate(self._numbers) if column.indicator]
        numbers = np.array([[column.center, column.scale, column.fill] for _, column in self._numbers], dtype=np.float64)
        places = np.array([at for at, _ in self._numbers], dtype=np.intp)
        indexes = np.array(flagged, dtype=np.intp).reshape(-1, 2)
        return places, indexes[:, 0], indexes[:, 1], *(numbers[:, [part]] for part in range(3))

    @cached_property
    def _numbers(self) -> tuple[tuple[int, NumericEncoding], ...]:
        return tuple((at, column) for at, column in self.offsets if isinstance(column, NumericEncoding))

    @cached_property
    def _dates(self) -> tuple[tuple[int, NumericEncoding], ...]:
        return tuple((at, column) for at, column in self._numbers if column.parts)

    @cached_property
    def offsets(self) -> tuple[tuple[int, Encoding], ...]:
        """Every column with the number of its first matrix column."""
        offsets, at = [], 0
        for column in self.columns:
            offsets.append((at, column))
            at += len(column.features)
        return tuple(offsets)

    def to_json(self) -> str:
        """Canonical JSON: equal encoders give equal bytes."""
        columns: list[dict[str, Any]] = [
            {"kind": "nominal" if isinstance(column, NominalEncoding) else "numeric", **asdict(column)} for column in self.columns
        ]
        for item in columns:  # of a number, as it was written before there were dates
            if not item.get("parts", True):
                del item["parts"]
        return json.dumps({"format": 1, "columns": columns}, ensure_ascii=False, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the text is not an encoder of a known format.
        """
        try:
            raw = json.loads(text)
            version, columns = raw["format"], tuple(_from_item(item) for item in raw["columns"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an encoder of format 1: {error!r}") from error
        if version != 1:
            raise ValueError(f"not an encoder of format 1: its format is {version!r}")
        return cls(columns)


def _from_item(item: Mapping[str, Any]) -> Encoding:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}
    kinds: dict[str, type[Encoding]] = {"nominal": NominalEncoding, "numeric": NumericEncoding}
    return kinds[fields.pop("kind")](**fields)


def _rows_of(categories: Sequence[str], vocabulary: Sequence[str]) -> npt.NDArray[np.intp]:
    """For codes -1 (unknown), 0 (missing), 1 ... of a vocabulary: the row in an encoding's look-up table."""
    rows = {category: index + 2 for index, category in enumerate(categories)}
    return np.array([0, 1, *(rows.get(value, 0) for value in vocabulary)], dtype=np.intp)

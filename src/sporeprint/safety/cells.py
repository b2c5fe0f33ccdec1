"""The cells of rows, in three kinds: a value, not observed, recorded as empty. What the likelihoods of partial rows start from."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import MISSING, Codes
from sporeprint.schema import DatasetSchema

Row = Mapping[str, str | float | None]
Flags = npt.NDArray[np.bool_]

#: Places of a column's first rows in the tables of log-likelihoods: a value never seen in training, no observation, recorded as
#: empty; then the values in order. For a numeric column the first stands for "has a number".
NEVER_SEEN, NOT_OBSERVED, EMPTY, FIRST_VALUE = 0, 1, 2, 3

#: Stands for a cell that a row does not have: its column was not observed.
ABSENT: Final[Any] = object()


@dataclass(frozen=True)
class Layout:
    """Where each column's cells stand in tables of log-likelihoods.

    Attributes:
        categories: for every nominal column the values seen in training, in order.
        scales: for every numeric column mean and standard deviation over all training rows.
        informative: columns whose empty cell is a value of its own; elsewhere an empty cell is not an observation.
    """

    categories: Mapping[str, tuple[str, ...]]
    scales: Mapping[str, tuple[float, float]]
    informative: frozenset[str]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns, nominal ones first: the order of every mask."""
        return (*self.categories, *self.scales)

    @cached_property
    def starts(self) -> npt.NDArray[np.intp]:
        """For every column the first of its rows in a table: [columns]."""
        widths = [FIRST_VALUE + len(values) for values in self.categories.values()] + [FIRST_VALUE] * len(self.scales)
        return np.concatenate([[0], np.cumsum(widths)[:-1]]).astype(np.intp) if widths else np.zeros(0, dtype=np.intp)

    @cached_property
    def not_observed(self) -> npt.NDArray[np.intp]:
        """For every column the row of a table that stands for no observation: [columns]."""
        return self.starts + NOT_OBSERVED

    @cached_property
    def empty(self) -> npt.NDArray[np.intp]:
        """For every numeric column what an empty cell is: EMPTY or NOT_OBSERVED, [q]."""
        return np.array([EMPTY if name in self.informative else NOT_OBSERVED for name in self.scales], dtype=np.intp)

    @cached_property
    def height(self) -> int:
        """Rows of a table."""
        return sum(FIRST_VALUE + len(values) for values in self.categories.values()) + FIRST_VALUE * len(self.scales)

    @cached_property
    def look_ups(self) -> tuple[tuple[str, dict[Any, int], int], ...]:
        """For every nominal column: value -> row of a table (None: an empty cell; ABSENT), and the row of values never seen."""
        result = []
        for start, (name, values) in zip(self.starts.tolist(), self.categories.items(), strict=False):
            empty = EMPTY if name in self.informative else NOT_OBSERVED
            rows: dict[Any, int] = {value: start + FIRST_VALUE + number for number, value in enumerate(values)}
            result.append((name, rows | {None: start + empty, ABSENT: start + NOT_OBSERVED}, start))
        return tuple(result)

    @cached_property
    def measures(self) -> tuple[tuple[str, float, float, int, int], ...]:
        """For every numeric column mean, standard deviation, and the rows of a table for a number and for an empty cell."""
        starts = self.starts[len(self.categories) :].tolist()
        ends = zip(self.scales.items(), starts, self.empty.tolist(), strict=True)
        return tuple((name, *scale, start, start + empty) for (name, scale), start, empty in ends)

    @cached_property
    def center_and_scale(self) -> npt.NDArray[np.float64]:
        """Mean and standard deviation of the q numeric columns: [2, q]."""
        return np.array(list(self.scales.values()), dtype=np.float64).reshape(-1, 2).T


@dataclass(frozen=True)
class Cells:
    """n rows.

    Attributes:
        places: intp [n, columns], the row that each cell takes in a table of log-likelihoods.
        numbers: float64 [n, q], standardised; NaN where there is no number.
        observed: bool [n, columns].
    """

    places: npt.NDArray[np.intp]
    numbers: npt.NDArray[np.float64]
    observed: Flags

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def keys(self) -> list[bytes]:
        """For each row the bytes that stand for its set of observed columns."""
        return mask_keys(self.observed)

    @cached_property
    def by_mask(self) -> list[tuple[bytes, npt.NDArray[np.intp]]]:
        """Every set of observed columns that occurs, by the bytes that stand for it, and the rows that have it."""
        alike = rows_alike(self.observed)
        return list(zip(mask_keys(self.observed[[rows[0] for rows in alike]]), alike, strict=True))

    @classmethod
    def of_codes(cls, codes: Codes, layout: Layout, unobserved: Collection[str] = ()) -> Self:
        """The cells of a table.

        Args:
            codes: n rows.
            layout: where the columns stand.
            unobserved: columns whose empty cells are no observation, whatever the layout says.
        """
        places = np.empty((len(layout.categories), codes.rows), dtype=np.intp).T  # column by column, as they are written and looked up
        for at, (name, rows, start) in enumerate(layout.look_ups):
            empty = start + NOT_OBSERVED if name in unobserved else rows[None]
            table = np.array([start, empty, *(rows.get(value, start) for value in codes.vocabulary[name])], dtype=np.intp)
            places[:, at] = table.take(codes.nominal[name] + np.int16(1))
        values = np.array([codes.numeric[name] for name in layout.scales]).reshape(len(layout.scales), codes.rows).T
        return cls.of_places(places, values, layout, np.array([name in unobserved for name in layout.scales], dtype=np.bool_))

    @classmethod
    def of_places(cls, nominal: npt.NDArray[np.intp], values: npt.NDArray[np.float64], layout: Layout, absent: Flags) -> Self:
        """The cells of n rows whose nominal columns were looked up.

        Args:
            nominal: intp [n, nominal columns], their places.
            values: float64 [n, q], the numbers; NaN where there is none.
            layout: where the columns stand.
            absent: bool [n, q], or [q] for all rows alike: where no number means no observation, whatever the layout says.
        """
        columns = nominal.shape[1]
        places = np.empty((columns + len(layout.scales), len(values)), dtype=np.intp).T
        places[:, :columns] = nominal
        np.add(
            layout.starts[columns:],
            np.where(np.isnan(values), np.where(absent, NOT_OBSERVED, layout.empty), NEVER_SEEN),
            out=places[:, columns:],
        )
        return cls(places, _standardised(values, layout), places != layout.not_observed)

    @classmethod
    def of_rows(cls, rows: Sequence[Row], layout: Layout) -> Self:
        """The cells of rows as requests give them: column -> code, number or None (an empty cell). A column left out is not observed."""
        cells = [RowCells.of_row(row, layout) for row in rows]
        places = np.array([each.places for each in cells], dtype=np.intp).reshape(len(rows), len(layout.columns))
        numbers = np.array([each.numbers for each in cells], dtype=np.float64).reshape(len(rows), len(layout.scales))
        return cls(places, numbers, places != layout.not_observed)

    def take(self, rows: npt.NDArray[Any] | slice) -> Self:
        """The rows at an index array, under a boolean mask or in a slice."""
        return type(self)(self.places[rows], self.numbers[rows], self.observed[rows])

    def hidden(self, mask: Flags, layout: Layout) -> Self:
        """The rows with only those cells left that the mask names.

        Args:
            mask: bool [columns], or [n, columns] for a mask a row.
            layout: where the columns stand.
        """
        observed = self.observed & mask
        nominal = len(layout.categories)
        places = np.where(observed, self.places, layout.not_observed)
        return type(self)(places, np.where(observed[:, nominal:], self.numbers, np.nan), observed)


#: Standardised numbers are cut off here: beyond, a row is as unknown as can be, and squares must not overflow.
FARTHEST = 1e4


def _standardised(values: npt.NDArray[np.float64], layout: Layout) -> npt.NDArray[np.float64]:
    if not layout.scales:
        return values
    center, scale = layout.center_and_scale
    with np.errstate(over="ignore"):
        result: npt.NDArray[np.float64] = (values - center) / scale
    return np.maximum(np.minimum(result, FARTHEST, out=result), -FARTHEST, out=result)


def mask_keys(observed: Flags) -> list[bytes]:
    """For each of n rows the bytes that stand for its set of observed columns."""
    packed = np.packbits(observed, axis=1)
    width = packed.shape[1]
    text = packed.tobytes()
    return [text[at : at + width] for at in range(0, len(text), width)] if width else [b""] * len(observed)


def rows_alike(flags: Flags) -> list[npt.NDArray[np.intp]]:
    """The rows of a table of flags, those with equal flags together, each in the order of the table."""
    packed = np.packbits(flags, axis=1)
    padded = np.zeros((len(flags), 8 * max(1, -(-packed.shape[1] // 8))), dtype=np.uint8)
    padded[:, : packed.shape[1]] = packed
    words = padded.view(np.uint64)  # numbers are sorted many times faster than rows of flags
    order = np.lexsort(words.T)
    is_other = (words[order[1:]] != words[order[:-1]]).any(axis=1)
    return np.split(order, np.flatnonzero(is_other) + 1) if len(order) else []


def observed_masks(codes: Codes, schema: DatasetSchema) -> frozenset[bytes]:
    """The keys of the sets of observed columns that occur in a table, as `Cells.of_codes` has them with the contract's layout."""
    present = [codes.nominal[name] != MISSING for name in schema.nominal] + [~np.isnan(codes.numeric[name]) for name in schema.numeric]
    names = (*schema.nominal, *schema.numeric)
    seen = [np.ones_like(flags) if name in schema.informative else flags for name, flags in zip(names, present, strict=True)]
    if not seen:
        return frozenset([b""] if codes.rows else [])
    packed = np.packbits(np.stack(seen, axis=1), axis=1)
    return frozenset(row.tobytes() for row in np.unique(packed, axis=0))


class RowCells(NamedTuple):
    """One row: `Cells` without the cost of arrays of one.

    Attributes:
        places: intp [columns].
        numbers: [q], standardised; NaN where there is no number.
        key: the bytes that stand for its set of observed columns.
    """

    places: npt.NDArray[np.intp]
    numbers: list[float]
    key: bytes

    @classmethod
    def of_row(cls, row: Row, layout: Layout) -> Self:
        """The cells of a row as `Cells.of_rows` takes it."""
        return cls.of_places([known.get(row.get(name, ABSENT), start) for name, known, start in layout.look_ups], row, layout)

    @classmethod
    def of_places(cls, nominal: list[int], row: Row, layout: Layout) -> Self:
        """The cells of a row whose nominal columns were looked up."""
        places, numbers = [*nominal], []
        for name, center, scale, start, empty in layout.measures:
            value = row.get(name, ABSENT)
            if value is ABSENT or value is None or value != value:
                places.append(start + NOT_OBSERVED if value is ABSENT else empty)
                numbers.append(math.nan)
            else:
                places.append(start)
                number = (float(value) - center) / scale
                numbers.append(number if -FARTHEST <= number <= FARTHEST else math.copysign(FARTHEST, number))
        at = np.array(places, dtype=np.intp)
        return cls(at, numbers, np.packbits(at != layout.not_observed).tobytes())

    def cells(self, layout: Layout) -> Cells:
        """The same as an array of one row."""
        places = self.places[np.newaxis]
        return Cells(places, np.array([self.numbers], dtype=np.float64), places != layout.not_observed)


def mask_of(key: bytes, columns: int) -> Flags:
    """The set of observed columns that a key stands for: bool [columns]."""
    return np.unpackbits(np.frombuffer(key, dtype=np.uint8), count=columns).astype(np.bool_)

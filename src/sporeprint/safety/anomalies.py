"""Anomalies of rows, value by value: never seen in training, out of the range of training, or at odds with each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sporeprint.data import cross_field_rules
from sporeprint.data.coded_table import Codes
from sporeprint.models.encoder import Encoder, NumericEncoding
from sporeprint.schema import DatasetSchema

Row = Mapping[str, str | float | None]
Flags = npt.NDArray[np.bool_]

#: Why a verdict is "unknown", in words.
NEVER_SEEN = "never seen in training"
OUTSIDE = "outside the training rows' range"
UNLIKE = "out of distribution"
NO_THRESHOLD = "no threshold controls the risk, so the negative class is never said"
BETWEEN = "the probability is too high for one class and too low for the other"
DISAGREE = "the probability and the most similar training rows disagree"


@dataclass(frozen=True)
class TableAnomalies:
    """Unseen categories, numbers out of range and contradictions of n rows; only what occurs is listed.

    Attributes:
        unseen: nominal column -> bool [n], whether the value was never seen in training.
        outside: numeric column -> bool [n], whether the number lies outside the training rows'.
        contradictions: words -> bool [n], whether the row contradicts itself so.
    """

    unseen: Mapping[str, Flags] = field(default_factory=dict)
    outside: Mapping[str, Flags] = field(default_factory=dict)
    contradictions: Mapping[str, Flags] = field(default_factory=dict)

    def any(self, rows: int) -> Flags:
        """Whether a row has any: bool [rows]."""
        return _any((*self.unseen.values(), *self.outside.values(), *self.contradictions.values()), rows)

    def contradictory(self, rows: int) -> Flags:
        """Whether a row contradicts itself: bool [rows]."""
        return _any(tuple(self.contradictions.values()), rows)


def _any(flags: Sequence[Flags], rows: int) -> Flags:
    joined: Flags = np.logical_or.reduce([np.zeros(rows, dtype=np.bool_), *flags])
    return joined


@dataclass(frozen=True)
class RowAnomalies:
    """The anomalies of one row: columns, columns, and words, as in `TableAnomalies`."""

    unseen: tuple[str, ...]
    outside: tuple[str, ...]
    contradictions: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.unseen or self.outside or self.contradictions)


def table_anomalies(codes: Codes, encoder: Encoder, schema: DatasetSchema) -> TableAnomalies:
    """The anomalies of the rows of a table."""
    return TableAnomalies(encoder.unseen(codes), _outside(codes, encoder), cross_field_rules.contradictory(codes, schema))


def _outside(codes: Codes, encoder: Encoder) -> dict[str, Flags]:
    flags_by_column = {}
    for column in encoder.columns:
        if isinstance(column, NumericEncoding):
            values = codes.numeric[column.name]
            # A column without a single number in training: any number is one that it has never seen.
            flags = ~np.isnan(values) if column.low is None or column.high is None else (values < column.low) | (values > column.high)
            if flags.any():
                flags_by_column[column.name] = flags
    return flags_by_column


def row_anomalies(row: Row, encoder: Encoder, schema: DatasetSchema) -> RowAnomalies:
    """The anomalies of one row; a column left out is missing."""
    unseen = tuple([name for name, categories in encoder.known_values if (value := row.get(name)) is not None and value not in categories])
    outside = tuple([name for name, low, high in encoder.ranges if _is_outside(row.get(name), low, high)])
    return RowAnomalies(unseen, outside, cross_field_rules.of_row(row, schema))


def _is_outside(number: str | float | None, low: float, high: float) -> bool:
    return number is not None and number == number and not low <= float(number) <= high

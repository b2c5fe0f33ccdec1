"""What is strange about a row, value by value: never seen in training, outside what was, or at odds with the others."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sporeprint.data import cross_field_rules as contradictions
from sporeprint.data.coded_table import Codes
from sporeprint.models.encoder import Encoder, NumericEncoding
from sporeprint.schema import DatasetSchema

Row = Mapping[str, str | float | None]
Flags = npt.NDArray[np.bool_]

#: Why a row is answered with "unknown", in words.
NEVER_SEEN = "never seen in training"
OUTSIDE = "outside the training rows' range"
UNLIKE = "unlike the training rows"
NO_THRESHOLD = "no threshold keeps the promise, so a low probability is no answer"


@dataclass(frozen=True)
class TableAnomalies:
    """What is strange about n rows; only what occurs is listed.

    Attributes:
        unseen: nominal column -> bool [n], whether the value was never seen in training.
        outside: numeric column -> bool [n], whether the number lies outside the training rows'.
        contradictions: words -> bool [n], whether the row contradicts itself so.
    """

    unseen: Mapping[str, Flags] = field(default_factory=dict)
    outside: Mapping[str, Flags] = field(default_factory=dict)
    contradictions: Mapping[str, Flags] = field(default_factory=dict)

    def any(self, rows: int) -> Flags:
        """Whether anything is: bool [rows]."""
        any_flag = np.zeros(rows, dtype=np.bool_)
        for flags in (*self.unseen.values(), *self.outside.values(), *self.contradictions.values()):
            any_flag |= flags
        return any_flag


@dataclass(frozen=True)
class RowAnomalies:
    """What is strange about one row: columns, columns, and words, as in `Strange`."""

    unseen: tuple[str, ...]
    outside: tuple[str, ...]
    contradictions: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.unseen or self.outside or self.contradictions)


def table_anomalies(codes: Codes, encoder: Encoder, schema: DatasetSchema) -> TableAnomalies:
    """What is strange about the rows of a table."""
    return TableAnomalies(encoder.unseen(codes), _outside(codes, encoder), contradictions.contradictory(codes, schema))


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
    """What is strange about one row; a column left out is missing."""
    unseen = tuple([name for name, categories in encoder.known_values if (value := row.get(name)) is not None and value not in categories])
    outside = tuple([name for name, low, high in encoder.ranges if _is_outside(row.get(name), low, high)])
    return RowAnomalies(unseen, outside, contradictions.of_row(row, schema))


def _is_outside(number: str | float | None, low: float, high: float) -> bool:
    return number is not None and number == number and not low <= float(number) <= high

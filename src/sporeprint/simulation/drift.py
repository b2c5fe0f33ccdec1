"""Drift of a simulated table: which columns move, and how far."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Drift:
    """How rows change from some row on. The default changes nothing.

    Species and all other values stay what they are without drift, so two files can be compared cell by cell.

    Attributes:
        start: share of the rows that come before, 0 to 1. NOTE: rows come in blocks, so the species after it are others
            anyway; to compare the same species with and without drift use a second file with another `draw`.
        numeric_shift: added to every numeric value, in standard deviations of its species (about 13 % of its centre),
            within the column's min and max.
        new_category: share of the rows that, in each nominal column, get a code that no row without drift has. It is one of
            the dictionary: a declared dictionary of four codes or more has one that no species uses; smaller ones are
            left alone. Where the schema lists no codes it is one more code.
        undeclared: whether that code is one the dictionary does not have instead; then in every nominal column.
        missing: share of the rows that, in each column that is not required, lose their value.
        columns: the columns that change; none named: all.
    """

    start: float = 0.0
    numeric_shift: float = 0.0
    new_category: float = 0.0
    undeclared: bool = False
    missing: float = 0.0
    columns: tuple[str, ...] = ()

    def first_row(self, rows: int) -> int:
        """Number of the first row that may differ."""
        return math.ceil(self.start * rows)

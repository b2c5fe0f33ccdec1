"""Consecutive rows of a raw table: what every reader gives and every later step takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a table.

    Attributes:
        frame: `row` (Int64, number of the data row in the file, from 0, malformed ones counted, blank lines not), then the
            schema's columns in the schema's order. From CSV: String, or Enum where there is a vocabulary; an empty field is null.
            From Parquet: native types.
        malformed: rows that could not be split into fields: `row` Int64, `reason` String, `text` String (clipped).
        bytes_read: bytes of the file that were read for this batch.
    """

    frame: pl.DataFrame
    malformed: pl.DataFrame
    bytes_read: int


def malformed_rows(rows: Sequence[int] = (), reasons: Sequence[str] = (), texts: Sequence[str] = ()) -> pl.DataFrame:
    """The rows that could not be split, as `Batch.malformed` has them."""
    schema = {"_row": pl.Int64, "reason": pl.String, "text": pl.String}
    return pl.DataFrame({"_row": rows, "reason": reasons, "text": texts}, schema=schema)

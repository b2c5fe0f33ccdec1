"""Data frames of any library as Polars frames: by column, so that one of objects of several types changes no other."""

import math
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from sporeprint.schema import code_text

#: Types of pandas' missing values, beside NaN, which answer no question with yes or no.
_MISSING = ("NAType", "NaTType")


def polars_frame(table: nw.DataFrame[Any]) -> pl.DataFrame:
    """A frame with columns of objects as text."""
    try:
        frame: pl.DataFrame = table.to_polars()
    except (TypeError, ValueError):  # Arrow's, on a pandas column of objects of several types
        frame = pl.DataFrame([_column(table, name) for name in table.columns])
    objects = [name for name in frame.columns if frame.schema[name] == pl.Object]
    return frame.with_columns(_texts(name, frame[name].to_list()) for name in objects)


def object_text(value: Any) -> str | None:
    """A value as a file would hold it; None where it is missing. A number reads back as the same float64."""
    if value is None or isinstance(value, str):
        return value
    plain = value.item() if isinstance(value, np.generic) else value
    if type(plain).__name__ in _MISSING or (isinstance(plain, float) and math.isnan(plain)):
        return None
    return code_text(plain) if isinstance(plain, bool | int | float) else str(plain)


def _column(table: nw.DataFrame[Any], name: str) -> pl.Series:
    try:
        column: pl.Series = table.select(name).to_polars()[name]
    except (TypeError, ValueError):
        return _texts(name, table[name].to_list())
    return column


def _texts(name: str, values: list[Any]) -> pl.Series:
    return pl.Series(name, [object_text(value) for value in values], dtype=pl.String)

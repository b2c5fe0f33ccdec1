"""Reads the file of the rows that a run rejected, a page at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from sporeprint.errors import StorageError

#: Columns of the file that are no column of the table. One of the table with such a name has `_` behind it.
OWN = ("_row", "rules", "reason", "text")
#: Rows of a file that are written at a time.
PART = 10_000
#: Most characters of a cell.
MOST_TEXT = 10_000


def read(path: Path, *, rule: str | None, column: str | None, limit: int, after: int | None) -> tuple[list[dict[str, Any]], int]:
    """Some rows, in the order of the source, and how many there are of this rule and column.

    Args:
        path: of the Parquet file, as `transform` wrote it.
        rule: only rows that broke it, as kind:column.
        column: only rows that broke a rule of it.
        limit: at most so many.
        after: only rows with a higher number.

    Returns:
        Rows as row, rules, reason, values (column -> text), text; and the number of all that fit rule and column.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        fitting = pl.scan_parquet(path).filter(_condition(rule, column))
        count = fitting.select(pl.len()).collect().item()
        frame = _page(fitting, limit, after)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise StorageError(f"{path} cannot be read: {error}") from None
    return [_row(values) for values in frame.iter_rows(named=True)], count


def csv_parts(path: Path, *, rule: str | None, column: str | None) -> Iterator[bytes]:
    """All rows that broke a rule as a CSV file, part by part: their number, rules, reason and text, then the cells as they were read.

    Raises:
        StorageError: the file cannot be read.
    """
    after, height = None, PART
    while height == PART:
        try:
            frame = _page(pl.scan_parquet(path).filter(_condition(rule, column)), PART, after)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise StorageError(f"{path} cannot be read: {error}") from None
        height = frame.height
        cells = frame.drop(OWN).columns
        flat = frame.select("_row", pl.col("rules").list.join(" "), "reason", "text", *cells)
        yield flat.write_csv(include_header=after is None).encode()
        after = frame["_row"][-1] if height else None


def _condition(rule: str | None, column: str | None) -> pl.Expr:
    """What the rules of a row have to hold."""
    condition = pl.lit(True)
    if rule is not None:
        condition &= pl.col("rules").list.contains(rule)
    if column is not None:
        condition &= pl.col("rules").list.eval(pl.element().str.splitn(":", 2).struct.field("field_1") == column).list.any()
    return condition


def _page(rows: pl.LazyFrame, limit: int, after: int | None) -> pl.DataFrame:
    return (rows if after is None else rows.filter(pl.col("_row") > after)).sort("_row").head(limit).collect()


def _row(values: dict[str, Any]) -> dict[str, Any]:
    # Where `reason_` and `reason__` are there, the table has `reason_` itself.
    names = {held: name for name in OWN for held in [max((one for one in values if one.rstrip("_") == name), key=len)]}
    cells = {names.get(name, name): None if value is None else value[:MOST_TEXT] for name, value in values.items() if name not in OWN}
    text = values["text"]
    return {
        "row": values["_row"],
        "rules": tuple(values["rules"] or ()),
        "reason": values["reason"],
        "values": cells,
        "text": None if text is None else text[:MOST_TEXT],
    }

"""Many rows as the text of INSERT statements, put together by column: a tenth of the time that it takes value by value.

Text is quoted as the driver does it, for a connection in utf8mb4 without NO_BACKSLASH_ESCAPES, which `storage.engine` sees to.
"""

from collections.abc import Iterator, Sequence

import polars as pl

#: Bytes of rows after which a statement takes no further one. The server's own limit is 16 MiB unless told otherwise.
STATEMENT_BYTES = 1 << 20
#: As in PyMySQL: what a text in single quotes cannot hold as it is. The backslash goes first.
ESCAPES = (("\\", "\\\\"), ("'", "\\'"), ("\0", "\\0"), ("\n", "\\n"), ("\r", "\\r"), ("\x1a", "\\Z"))


def literals(rows: pl.DataFrame) -> pl.Series:
    """Each row as `(value, ...)`. Numbers are finite."""
    parts: list[pl.Expr] = []
    for name, kind in rows.schema.items():
        column = pl.col(name)
        text = _text(column) if kind == pl.String else column.cast(pl.String)
        parts += [pl.lit(","), text.fill_null("NULL")]
    return rows.select(pl.concat_str(pl.lit("("), *parts[1:], pl.lit(")")).alias("row"))["row"]


def texts(values: pl.Series) -> pl.Series:
    """Each text in quotes."""
    return pl.DataFrame({"value": values}).select(_text(pl.col("value")).alias("value"))["value"]


def _text(column: pl.Expr) -> pl.Expr:
    for character, written in ESCAPES:
        column = column.str.replace_all(character, written, literal=True)
    return pl.concat_str(pl.lit("'"), column, pl.lit("'"))


def joined(pieces: pl.Series, *, size: int = STATEMENT_BYTES) -> Iterator[str]:
    """Pieces joined by commas, until a size is reached."""
    ends = pieces.str.len_bytes().cum_sum() // size
    for part in pl.DataFrame({"piece": pieces, "statement": ends}).partition_by("statement", maintain_order=True):
        yield ",".join(part["piece"].to_list())


def inserts(table: str, rows: pl.DataFrame, on_duplicate: str = "") -> Iterator[str]:
    """The statements that insert these rows."""
    if rows.is_empty():
        return
    head = f"INSERT INTO `{table}` ({names(rows.columns)}) VALUES "  # noqa: S608 -- quoted names
    tail = f" ON DUPLICATE KEY UPDATE {on_duplicate}" if on_duplicate else ""
    for values in joined(literals(rows)):
        yield f"{head}{values}{tail}"


def names(columns: Sequence[str]) -> str:
    """Names in quotes."""
    return ", ".join("`" + column.replace("`", "``") + "`" for column in columns)

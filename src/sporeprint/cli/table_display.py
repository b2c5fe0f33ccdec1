"""Tables as lines of text, and as Rich draws them."""

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from sporeprint.cli.terminal import printable
from sporeprint.common.text_table import Table

_NUMBER = re.compile(r"[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?( ?(%|[a-zA-Zµ]{1,3}(/s)?))?|-|", re.ASCII)


#: A time of ISO 8601 in UTC: its day, and its minute.
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)[\d:.]*(?:\+00:00|Z)", re.ASCII)


def plain_table(table: Table) -> str:
    """A table in lines of text: title, names of the columns, rows; cells padded, two blanks apart. No names, no line of them."""
    lines = [[printable(cell) for cell in row] for row in (_head(table) + list(table.rows))]
    widths = [max(map(_width, cells)) for cells in zip(*lines, strict=True)]
    right = _right_aligned(table)
    text = [printable(table.title)] if table.title else []
    text += ["  ".join(map(_padded, line, widths, right)).rstrip() for line in lines]
    return "\n".join(text)


def _head(table: Table) -> list[tuple[str, ...]]:
    return [table.columns] if any(table.columns) else []


def _right_aligned(table: Table) -> list[bool]:
    """Columns of nothing but numbers (with a unit, or none at all) are easier to compare by their right ends."""
    cells = [[row[number] for row in table.rows] for number in range(len(table.columns))]
    return [any(column) and all(_NUMBER.fullmatch(cell) for cell in column) for column in cells]


def _padded(text: str, width: int, right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if right else text + blanks


def _width(text: str) -> int:
    """Columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def drawn_table(table: Table, width: int) -> Any:
    """A table as Rich draws it in so many columns of a terminal."""
    from rich import box
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(
        title=Text(printable(table.title), style="bold") if table.title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD if any(table.columns) else None,
        show_header=any(table.columns),
        show_edge=False,
        pad_edge=False,
        padding=(0, 1 if any(table.columns) else 2, 0, 0),
        header_style="dim",
        border_style="dim",
    )
    table, left_out = _fitted(_to_the_minute(table), width)
    wraps = _wrapping(table)
    if left_out:
        drawn.caption, drawn.caption_justify = Text(f"more at a greater width, or with --json: {', '.join(left_out)}", style="dim"), "left"
    if len(table.columns) > 2 and _narrowest(table, wraps) > width:
        table, wraps = _records(table), [False, True]
        drawn.box, drawn.show_header, drawn.padding = None, False, (0, 2, 0, 0)
    for number, (name, right) in enumerate(zip(table.columns, _right_aligned(table), strict=True)):
        drawn.add_column(
            Text(printable(name, keep="\n")),
            justify="right" if right else "left",
            style=None if number else "cyan",
            no_wrap=not wraps[number],
            overflow="fold",
        )
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell)) for cell in row))
    return drawn


#: Columns of a terminal: a text up to the first is never broken, a longer one may be down to the second.
_UNBROKEN, _BROKEN = 24, 16


def _widths(table: Table) -> list[int]:
    cells = _head(table) + list(table.rows)
    return [
        max((_width(printable(line)) for row in cells for line in row[number].split("\n")), default=0)
        for number in range(len(table.columns))
    ]


def _wrapping(table: Table) -> list[bool]:
    return [width > _UNBROKEN and not right for width, right in zip(_widths(table), _right_aligned(table), strict=True)]


def _narrowest(table: Table, wraps: Sequence[bool]) -> int:
    gaps = 2 * (len(table.columns) - 1)
    return gaps + sum(_BROKEN if wrap else width for width, wrap in zip(_widths(table), wraps, strict=True))


def _to_the_minute(table: Table) -> Table:
    """A table with columns, its times without seconds, so that they need not be broken."""
    if len(table.columns) < 3:
        return table
    return Table(table.title, table.columns, tuple(tuple(_TIME.sub(r"\1 \2", cell) for cell in row) for row in table.rows))


def _fitted(table: Table, width: int) -> tuple[Table, tuple[str, ...]]:
    """A table of several rows that is too wide: with the names of its columns in lines, and then without its last columns.

    Returns:
        the table, and the names of the columns that had no room; the table as it is where those would hold longer texts, or be half of it.
    """
    if len(table.rows) < 2 or len(table.columns) < 3 or _narrowest(table, _wrapping(table)) <= width:
        return table, ()
    cells = _widths(Table("", ("",) * len(table.columns), table.rows))
    heads = tuple(
        "\n".join(textwrap.wrap(name, max(cell, 5), break_long_words=False)) for name, cell in zip(table.columns, cells, strict=True)
    )
    wraps = _wrapping(table)
    for number in range(len(table.columns), len(table.columns) // 2, -1):
        if any(wraps[number:]):
            break
        fitted = Table(table.title, heads[:number], tuple(row[:number] for row in table.rows))
        if _narrowest(fitted, _wrapping(fitted)) <= width:
            return fitted, tuple(name for name in table.columns[number:] if name)
    return table, ()


def _records(table: Table) -> Table:
    """The same with each row below the other, cell by cell: for terminals too narrow for the columns."""
    rows = [pair for row in table.rows for pair in [*zip(table.columns, row, strict=True), ("", "")]]
    return Table(table.title, ("", ""), tuple(rows[:-1]))

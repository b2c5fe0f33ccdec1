"""Reads the rows of a table that only grows, in the order of their numbers and in pages of bounded size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Table, Text, select

from sporeprint.storage.engine import reading
from sporeprint.storage.oltp.read_progress import Gap

#: Bytes of text after which a page takes no further row: what bounds the memory.
PAGE_BYTES = 24 << 20
#: Rows in one query, and rows that are fetched from its result at a time.
FETCH_ROWS, READ_ROWS = 10_000, 1_000


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of one open gap: those with numbers from `first` to `last` that are there."""

    gap: Gap
    first: int
    last: int
    rows: Sequence[Sequence[Any]]

    @property
    def numbers(self) -> list[int]:
        """Their numbers, ascending."""
        return [row[0] for row in self.rows]


def pages(oltp: Engine, table: Table, columns: Sequence[str], gaps: Sequence[Gap], *, rows: int, size: int = PAGE_BYTES) -> Iterator[Page]:
    """The rows of open gaps, in the order of their numbers, each page read in a transaction of its own.

    Raises:
        StorageError, StorageUnavailableError: the database cannot be read.
    """
    for gap in gaps:
        first = gap.first
        while first <= gap.last:
            with reading(oltp) as connection:
                page, whole = _page(connection, table, columns, (first, gap.last), rows, size)
            last = gap.last if whole else page[-1][0]
            yield Page(gap, first, last, page)
            if whole:
                break
            first = last + 1


def _page(
    connection: Connection, table: Table, columns: Sequence[str], between: tuple[int, int], rows: int, size: int
) -> tuple[list[Sequence[Any]], bool]:
    """Rows up to a number and a size of them, and whether these were all."""
    long = [place for place, name in enumerate(columns) if isinstance(table.c[name].type, Text)]
    taken: list[Sequence[Any]] = []
    first, held = between[0], 0
    while len(taken) < rows and held < size:
        limit = min(FETCH_ROWS, rows - len(taken))
        query = select(*(table.c[name] for name in columns)).where(table.c.seq >= first, table.c.seq <= between[1])
        result = connection.execution_options(yield_per=READ_ROWS).execute(query.order_by(table.c.seq).limit(limit))
        count = 0
        for part in result.partitions():
            count += len(part)
            taken += part
            held += sum(sum([len(row[place] or "") for row in part]) for place in long)
            if held >= size:
                break
        result.close()
        if held < size and count < limit:
            return taken, True
        first = taken[-1][0] + 1
    return taken, False

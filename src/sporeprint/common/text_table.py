"""Small tables for people, every cell already in words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """A small table for people, every cell already in words.

    Attributes:
        title: what it says, in a few words; may be empty.
        columns: names of the columns.
        rows: cells, as many in each row as there are columns.

    Raises:
        ValueError: if a row has more or fewer cells than there are columns.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: a row has {len(row)} cells, there are {len(self.columns)} columns: {row!r}")

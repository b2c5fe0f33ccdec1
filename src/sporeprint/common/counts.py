"""Counts with their words."""


def number_of(count: int, one: str) -> str:
    """A count with its word.

    >>> number_of(1, "unit"), number_of(1203, "unit")
    ('1 unit', '1,203 units')
    """
    return counted(count, one, f"{one}s")


def counted(count: int, one: str, many: str) -> str:
    """A count with the words that agree with it.

    >>> counted(1, "row is left out", "rows are left out"), counted(2, "row is left out", "rows are left out")
    ('1 row is left out', '2 rows are left out')
    """
    return f"{count:,} {one if count == 1 else many}"

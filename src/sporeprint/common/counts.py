"""Counts with their words."""


def number_of(count: int, one: str) -> str:
    """A count with its word.

    >>> number_of(1, "unit"), number_of(1203, "unit")
    ('1 unit', '1,203 units')
    """
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"

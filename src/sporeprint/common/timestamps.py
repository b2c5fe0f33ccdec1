"""Times as whole microseconds since 1970 UTC, as every table and file of the project keeps them, and as text."""

import time
from datetime import UTC, datetime

SECOND_US, HOUR_US, DAY_US = 1_000_000, 3_600_000_000, 86_400_000_000


def now_us() -> int:
    """The time: microseconds since 1970 UTC."""
    return time.time_ns() // 1000


def iso_utc(microseconds: int, timespec: str = "seconds") -> str:
    """A time in ISO 8601, UTC.

    >>> iso_utc(1_767_225_600_000_000)
    '2026-01-01T00:00:00Z'
    """
    text = datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec=timespec)
    return text.replace("+00:00", "Z")

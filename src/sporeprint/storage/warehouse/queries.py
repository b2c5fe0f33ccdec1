"""The standard queries: SQL files in the folder `sql`, the same text for both warehouses."""

import re
from importlib.resources import files

from sporeprint.storage.warehouse.protocol import QueryResult, Reader

#: By day, model and arm; then over the whole time, by model and arm.
DAILY = ("volume", "verdicts", "false_negative", "latency")
TOTAL = ("verdicts_total", "false_negative_total", "latency_total", "cells_total")
#: Those that are the daily statement without its day.
WITHOUT_DAY = ("false_negative_total", "latency_total")


def text(name: str, since_us: int) -> str:
    """The statement of a query, from a time on.

    Args:
        name: one of `DAILY` and `TOTAL`.
        since_us: microseconds since 1970 UTC; answers of earlier hours are left out.
    """
    folder = files("sporeprint.storage.warehouse").joinpath("sql")
    daily = name.removesuffix("_total")
    statement = folder.joinpath(f"{daily if name in WITHOUT_DAY else name}.sql").read_text(encoding="utf-8")
    if name in WITHOUT_DAY:
        statement = re.sub(r"\b(\w\.)?day, |q\.day = s\.day AND ", "", statement)
    return re.sub(r":since_us\b", str(int(since_us)), statement)


def run(reader: Reader, name: str, since_us: int) -> QueryResult:
    """Run one of them. Raises: StorageError, StorageUnavailableError."""
    return reader.query(text(name, since_us))

"""Counts the features of many answers at once: JSON as it was given, taken apart and counted in DuckDB."""

import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import duckdb
import polars as pl

from sporeprint.storage.warehouse.star_schema import CELL_NAMES

#: Cells, and how often: `cell` (a number for each hour, model and arm), `feature` (its place), `text`, `there` (whether it was
#: there at all: null and "" are, and say that it is empty), `unseen`, `answers`.
GIVEN = {"cell": pl.UInt32, "feature": pl.Int64, "text": pl.String, "there": pl.Boolean, "unseen": pl.String, "answers": pl.Int64}


class FeatureCounter:
    """Takes JSON apart where the counting is done: no text has to become a value of Python, and numbers or lists do no harm."""

    def __init__(self, names: Sequence[str], *, threads: int = 1) -> None:
        self._names = list(names)
        # Requests may have underscores for hyphens.
        self._others = [name.replace("-", "_") for name in self._names]
        self._marks = [json.dumps(other, ensure_ascii=False) for other in self._others if other not in self._names]
        self._engine: Any = duckdb.connect(config={"threads": threads, "memory_limit": "256MB", "enable_external_access": "false"})

    def count(self, facts: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
        """What was given for each feature.

        Args:
            facts: rows of `fact_prediction`.
            cells: `cell` and the columns of `star.CELL`, one row for each that occurs.

        Returns:
            the columns of `GIVEN`; `text` is null where nothing or null was given, `unseen` is that of the answers.
        """
        # Looking for what is hardly ever there is cheap, taking it apart is not.
        both = bool(self._marks) and bool(facts["features"].str.contains_any(self._marks).any())
        paired = "list_transform(list_zip(features->>$names, features->>$others), lambda pair: coalesce(pair[1], pair[2]))"
        either = "list_transform(list_zip(json_exists(features, $names), json_exists(features, $others)), lambda pair: pair[1] OR pair[2])"
        parameters = {"names": [_pointer(name) for name in self._names]}
        if both:
            parameters["others"] = [_pointer(name) for name in self._others]
        page = facts.select(*CELL_NAMES, "unseen", "features").join(cells, on=list(CELL_NAMES), how="left")
        self._engine.register("page", page.select("cell", "unseen", "features"))
        try:
            texts, there = (paired, either) if both else ("features->>$names", "json_exists(features, $names)")
            columns = f"unnest({texts}) AS text, unnest({there}) AS there, unnest(range({len(self._names)})) AS feature"
            long = f"SELECT cell, unseen, {columns} FROM page"  # noqa: S608
            query = f"SELECT cell, feature, text, there, unseen, count(*) AS answers FROM ({long}) GROUP BY ALL"  # noqa: S608 -- none of a user's
            table = self._engine.sql(query, params=parameters).to_arrow_table()
        finally:
            self._engine.unregister("page")
        return pl.DataFrame(pl.from_arrow(table)).cast(GIVEN)  # type: ignore[arg-type]  # a dict of types is what it takes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._engine.close()


def _pointer(name: str) -> str:
    """A JSON pointer: the only form of a path in which a name can hold any character."""
    return "/" + name.replace("~", "~0").replace("/", "~1")

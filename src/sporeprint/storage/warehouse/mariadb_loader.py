"""Loads into a warehouse in MariaDB: statements of many rows, in one transaction."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import Connection, Engine, text

from sporeprint.storage import bulk_insert
from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse.protocol import TRAINING
from sporeprint.storage.warehouse.star_schema import WAITING_US, StarTable

#: Longest text of a training column that MariaDB keeps within the row.
SHORT = 255


class MariaDBLoad:
    """A transaction of the caller."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self._connection, self._engine = connection, engine
        self._added: dict[str, list[pl.DataFrame]] = {}

    def find(self, ids: pl.Series, created_us: tuple[int, int] | None = None) -> pl.DataFrame:
        """Predictions that are there."""
        table, names = star_schema.FACT_PREDICTION, ("prediction_id", *star_schema.OF_PREDICTION)
        within = ""
        if created_us is not None:
            within = f"created_us BETWEEN {int(created_us[0])} AND {int(created_us[1])}"
            if not self._rows(f"SELECT 1 FROM {table.name} WHERE {within} LIMIT 1"):  # noqa: S608 -- names and numbers only
                return aggregation.empty(table).select(names)
        return self._looked_up(table, names, ids, "FORCE INDEX (ix_fact_prediction_prediction_id)", within)

    def outcomes(self, ids: pl.Series) -> pl.DataFrame:
        """Outcomes that are there."""
        return self._looked_up(star_schema.FACT_OUTCOME, star_schema.FACT_OUTCOME.names, ids)

    def waiting(self) -> bool:
        """Whether any outcome waits for its prediction."""
        return bool(self._rows(f"SELECT 1 FROM {star_schema.FACT_OUTCOME.name} WHERE hour_us = {WAITING_US} LIMIT 1"))  # noqa: S608

    def append(self, table: StarTable, rows: pl.DataFrame) -> None:
        """Insert."""
        self._run(bulk_insert.inserts(table.name, rows.select(table.names).sort(table.key)))

    def put(self, table: StarTable, rows: pl.DataFrame, *, keep: bool = False) -> None:
        """Insert, or write over what has the same key."""
        rest = [table.key[0]] if keep else [name for name in table.names if name not in table.key]
        changes = ", ".join(f"`{name}` = {f'`{name}`' if keep else f'VALUES(`{name}`)'}" for name in rest)
        self._run(bulk_insert.inserts(table.name, rows.select(table.names).sort(table.key), changes))

    def add(self, table: StarTable, rows: pl.DataFrame) -> None:
        """Kept for the end: each row is written only once."""
        self._added.setdefault(table.name, []).append(rows.select(table.names))

    def finish(self) -> None:
        """Write what was added up."""
        for name, parts in self._added.items():
            table = star_schema.TABLES[name]
            rows = aggregation.add_up(table, parts)
            changes = ", ".join(f"`{count}` = `{count}` + VALUES(`{count}`)" for count in table.counts)
            self._run(bulk_insert.inserts(name, rows, changes))
            if bool((rows[table.counts[0]] < 0).any()):
                hours = ", ".join(map(str, rows["hour_us"].unique().to_list()))
                self._run([f"DELETE FROM {name} WHERE `{table.counts[0]}` = 0 AND hour_us IN ({hours})"])  # noqa: S608
        self._added.clear()

    def training(self, sources: Sequence[Path], record: Mapping[str, Any]) -> None:
        """A new table beside the old one, then both renamed at once. In a transaction of its own: tables are not part of one."""
        rows = pl.concat([_spelled_out(pl.read_parquet(source)) for source in sources])
        fresh, old = f"{TRAINING}_fresh", f"{TRAINING}_old"
        with self._engine.connect() as connection:
            for name in (fresh, old):
                connection.exec_driver_sql(f"DROP TABLE IF EXISTS {name}")
            columns = ", ".join(f"{bulk_insert.names([name])} {_type(rows[name])}" for name in rows.columns)
            connection.exec_driver_sql(
                f"CREATE TABLE {fresh} ({columns}) {star_schema.MARIADB_OPTIONS}", execution_options={"no_parameters": True}
            )
            for statement in bulk_insert.inserts(fresh, rows):
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
            connection.commit()
            connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {TRAINING} LIKE {fresh}")
            connection.exec_driver_sql(f"RENAME TABLE {TRAINING} TO {old}, {fresh} TO {TRAINING}")
            connection.exec_driver_sql(f"DROP TABLE {old}")
        self.note(TRAINING, dict(record))

    def note(self, name: str, value: Any) -> None:
        """Keep a value, in the same transaction."""
        statement = text("INSERT INTO warehouse_note VALUES (:name, :value) ON DUPLICATE KEY UPDATE value = VALUES(value)")
        self._connection.execute(statement, {"name": name, "value": json.dumps(value, ensure_ascii=False)})

    def _run(self, statements: Iterable[str]) -> None:
        for statement in statements:
            self._connection.exec_driver_sql(statement, execution_options={"no_parameters": True})

    def _rows(self, sql: str) -> list[Any]:
        return [tuple(row) for row in self._connection.exec_driver_sql(sql, execution_options={"no_parameters": True})]

    def _looked_up(self, table: StarTable, names: tuple[str, ...], ids: pl.Series, hint: str = "", within: str = "") -> pl.DataFrame:
        records: list[Any] = []
        if not ids.is_empty():
            head = (
                f"SELECT {bulk_insert.names(names)} FROM {table.name} {hint} WHERE {f'{within} AND ' if within else ''}prediction_id IN ("  # noqa: S608
            )
            for some in bulk_insert.joined(bulk_insert.texts(ids.unique(maintain_order=True)), size=1 << 16):
                records += self._rows(f"{head}{some})")
        kinds = {name: kind for name, kind in aggregation.types(table).items() if name in names}
        return pl.DataFrame(records, schema={name: kinds[name] for name in names}, orient="row")


def _spelled_out(rows: pl.DataFrame) -> pl.DataFrame:
    """Codes as the text they stand for: each file numbers them in its own way."""
    return rows.cast({name: pl.String for name, kind in rows.schema.items() if isinstance(kind, pl.Categorical | pl.Enum)})


def _type(values: pl.Series) -> str:
    if values.dtype.is_unsigned_integer():
        return "BIGINT UNSIGNED"
    if values.dtype.is_integer() or values.dtype == pl.Boolean:
        return "BIGINT"
    if values.dtype.is_float():
        return "DOUBLE"
    longest: Any = values.str.len_chars().max() or 0
    return f"VARCHAR({SHORT})" if longest <= SHORT else "LONGTEXT"

"""The configured warehouse: MariaDB. A load is one transaction; a reader has one snapshot."""

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

from sqlalchemy import URL, Connection, exc, text

from sporeprint.errors import BusyError, StorageError, UsageError
from sporeprint.storage.engine import connect, database_errors, reading, translate_error, writing
from sporeprint.storage.urls import redacted
from sporeprint.storage.warehouse import star_schema, views
from sporeprint.storage.warehouse.protocol import ANSWER_S, LOCK_WAIT_S, TRAINING, Load, QueryResult, Reader, plain
from sporeprint.storage.warehouse.readonly_sql import one_that_reads

log = logging.getLogger(__name__)

NOTES = "warehouse_note"
#: Names a lock of the whole server, by the database.
LOCK = "CONCAT('sporeprint.warehouse.', DATABASE())"
#: What is a mistake of who asks: syntax, unknown column, unknown table, ambiguous column, grouping, types, division, JSON, read-only.
#: What an account may not do: any command, one on this table.
_NOT_ALLOWED = frozenset({1044, 1142})
_MISTAKES = frozenset(
    {1046, 1051, 1052, 1054, 1055, 1056, 1060, 1064, 1066, 1111, 1140, 1146, 1149, 1222, 1248, 1292, 1305, 1365, 1690, 1792}
)


class MariaDBWarehouse:
    """A warehouse in a database of its own."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = connect(url, pool_size=2)

    @property
    def shown(self) -> str:
        """Where it is, without a password."""
        return redacted(self._url)

    def get_note(self, name: str) -> Any:
        """What was last kept under a name, or None."""
        with reading(self._engine) as connection:
            if not _tables(connection, NOTES):
                return None
            self._check(connection)
            return _noted(connection, name)

    @contextlib.contextmanager
    def loading(self) -> Iterator[Load]:
        """One transaction; the tables are made before it, where they are not there."""
        from sporeprint.storage.warehouse.mariadb_loader import MariaDBLoad

        with self._alone():
            self._prepare()
            with writing(self._engine) as connection:
                load = MariaDBLoad(connection, self._engine)
                yield load
                load.finish()

    @contextlib.contextmanager
    def reading(self, *, seconds: float = ANSWER_S) -> Iterator[Reader]:
        """A transaction that only reads, in one snapshot."""
        with database_errors(self._url), self._engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            connection.exec_driver_sql(f"SET SESSION max_statement_time = {seconds:f}, sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')")
            connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            if not _tables(connection, NOTES):
                raise StorageError(f"{self.shown} has no tables yet; run: sporeprint warehouse sync")
            self._check(connection)
            if _noted(connection, "star") in star_schema.EXTENDABLE:
                raise StorageError(f"{self.shown} is of an earlier version; run: sporeprint warehouse sync, which extends its tables")
            try:
                yield MariaDBReader(connection, self._url)
            finally:
                # Its settings, and what of an answer was not read, are nobody else's.
                connection.invalidate()

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the warehouse for one load. The server lets go of it when the connection ends, however it ends."""
        with database_errors(self._url), self._engine.connect() as connection:
            held = connection.exec_driver_sql(f"SELECT GET_LOCK({LOCK}, {LOCK_WAIT_S})").scalar()
            if held != 1:
                raise BusyError(f"another process has been loading into {self.shown} for {LOCK_WAIT_S:g} s; try again later")
            try:
                yield
            finally:
                with contextlib.suppress(exc.DBAPIError):  # the connection is lost, and with it the lock
                    connection.exec_driver_sql(f"SELECT RELEASE_LOCK({LOCK})")

    def _prepare(self) -> None:
        with writing(self._engine) as connection:
            there = _tables(connection, NOTES, *star_schema.TABLES)
            if NOTES not in there:
                connection.exec_driver_sql(
                    f"CREATE TABLE {NOTES} (name VARCHAR(64) NOT NULL PRIMARY KEY, value LONGTEXT NOT NULL) {star_schema.MARIADB_OPTIONS}"
                )
            for table in star_schema.TABLES.values():
                if table.name not in there:
                    connection.exec_driver_sql(star_schema.mariadb_ddl(table), execution_options={"no_parameters": True})
            if (release := _noted(connection, "star")) is None or release in star_schema.EXTENDABLE:
                for table in star_schema.TABLES.values():
                    if (statement := star_schema.mariadb_extension(table, _columns(connection, table.name))) is not None:
                        connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
                connection.execute(text(f"REPLACE INTO {NOTES} VALUES ('star', :star)"), {"star": json.dumps(star_schema.STAR)})  # noqa: S608
            self._check(connection)
            self._prepare_views(connection)

    def _prepare_views(self, connection: Connection) -> None:
        """Make the views where they are not this version's. An account without the right to leaves them as they are."""
        made = {name: view.select("mariadb") for name, view in views.VIEWS.items()}
        if _noted(connection, "views") == made:
            return
        try:
            for name, query in made.items():
                statement = f"CREATE OR REPLACE SQL SECURITY INVOKER VIEW {name} AS {query}"
                connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
        except exc.DBAPIError as error:
            if getattr(error.orig, "args", (None,))[0] not in _NOT_ALLOWED:
                raise
            log.warning("%s: the account may not make views; run the script that makes accounts again", self.shown)
            return
        connection.execute(text(f"REPLACE INTO {NOTES} VALUES ('views', :made)"), {"made": json.dumps(made)})  # noqa: S608

    def _check(self, connection: Connection) -> None:
        release = _noted(connection, "star")
        if release not in {None, star_schema.STAR, *star_schema.EXTENDABLE}:
            raise StorageError(
                f"{self.shown} is of another version ({release}, this one works with {star_schema.STAR}); "
                "give an empty database and run: sporeprint warehouse sync"
            )


class MariaDBReader:
    """One snapshot."""

    def __init__(self, connection: Connection, url: URL) -> None:
        self._connection, self._url = connection, url

    def query(self, sql: str, *, rows: int | None = None) -> QueryResult:
        """Run one statement of the program's own."""
        with database_errors(self._url):
            return self._run(sql, rows)

    def user_query(self, sql: str, *, rows: int) -> QueryResult:
        """Run one statement that reads."""
        statement = one_that_reads(sql)
        try:
            return self._run(statement, rows)
        except exc.DBAPIError as error:
            number = getattr(error.orig, "args", (None,))[0]
            if number in _MISTAKES:
                raise UsageError(str(getattr(error.orig, "args", ("", error))[1])) from None
            raise translate_error(error, self._url) from None

    def _run(self, sql: str, rows: int | None) -> QueryResult:
        options = {"no_parameters": True, "stream_results": rows is not None}
        result = self._connection.exec_driver_sql(sql, execution_options=options)
        columns = tuple(result.keys())
        values = result.fetchall() if rows is None else result.fetchmany(rows + 1)
        returned = values if rows is None else values[:rows]
        more = len(returned) < len(values)
        if not more:
            result.close()
        return QueryResult(columns, plain(returned), more)


def _tables(connection: Connection, *names: str) -> set[str]:
    """Those of the tables that are there."""
    query = text("SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE()")
    return {*connection.execute(query).scalars()} & {*names, TRAINING}


def _columns(connection: Connection, table: str) -> set[str]:
    query = text("SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = :table")
    return {*connection.execute(query, {"table": table}).scalars()}


def _noted(connection: Connection, name: str) -> Any:
    value = connection.execute(text(f"SELECT value FROM {NOTES} WHERE name = :name"), {"name": name}).scalar()  # noqa: S608
    return None if value is None else json.loads(value)

"""Engines for the two kinds of database, set up so that what is committed stays, and errors that say what to do.

SQLite: write-ahead log, synced at every commit, foreign keys, real transactions (the driver's own leave out what only
reads or changes tables). MariaDB: utf8mb4, strict mode, READ COMMITTED, UTC, connections tested before use.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.pool import ConnectionPoolEntry

from sporeprint.common.files import make_private
from sporeprint.errors import ConfigError, SporeprintError, StorageError, StorageUnavailableError
from sporeprint.storage.urls import SQLITE, TLS_OPTIONS, redacted

#: Seconds to wait for another process that writes to the same SQLite file, or for a row that another transaction holds.
LOCK_WAIT_S: Final = 10
#: Seconds for a connection, and for one answer on it. A server that is silent for longer counts as gone.
CONNECT_TIMEOUT_S: Final = 10
ANSWER_TIMEOUT_S: Final = 120
#: How MariaDB reads statements and takes values, whatever the server's own mode is.
SQL_MODE: Final = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
#: Connections are made anew after so many seconds: below every firewall's and server's idea of an idle one.
RECYCLE_S: Final = 1800

#: What MariaDB refuses whoever asks again: rights, names, a database that is not there.
_REFUSED = frozenset({1044, 1045, 1049, 1142, 1143, 1227, 1370, 1698, 3159, 4151})
_NO_TABLE = frozenset({1054, 1146})
#: What passes: too many connections, shutdown, disk full, lock wait, deadlock, read-only for now, killed, gone, lost.
_PASSING = frozenset({1021, 1040, 1041, 1053, 1114, 1129, 1152, 1158, 1159, 1160, 1161, 1203, 1205, 1213, 1290, 1317, 1836, 1927, 1969})
_GONE = range(2000, 2062)
#: SQLite's primary codes: busy, locked, full; an interrupted statement.
_SQLITE_PASSING = frozenset({5, 6, 9, 13})
_SQLITE_PLACE = frozenset({8, 10, 14})
_SQLITE_DAMAGED = frozenset({11, 26})


class AccessDeniedError(StorageError):
    """The account has not the right to do it."""


def connect(url: URL, *, pool_size: int = 5, answer_s: int = ANSWER_TIMEOUT_S) -> Engine:
    """An engine for an address. No connection is made yet; an SQLite file's folder is.

    Args:
        url: the address.
        pool_size: connections that stay open.
        answer_s: seconds after which a server that is silent counts as gone, unless the address says another number.

    Raises:
        ConfigError: an option of the address has no such value.
        StorageError: the folder of the SQLite file cannot be made.
    """
    if url.get_backend_name() == SQLITE:
        return _sqlite(url)
    base, arguments = _driver_arguments(url, answer_s)
    # Parameters stay out of errors and logs: they are people's data.
    engine = create_engine(
        base,
        connect_args=arguments,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_recycle=RECYCLE_S,
        pool_size=pool_size,
        pool_timeout=CONNECT_TIMEOUT_S,
    )
    event.listen(engine, "do_connect", _greeted)
    return engine


@contextmanager
def database_errors(url: URL) -> Iterator[None]:
    """Say of every database error inside what it means: `StorageUnavailableError` where trying again can help, else `StorageError`.

    A commit whose connection was lost may have happened or not: what is repeated after a `StorageUnavailableError`
    must be written so that a second time changes nothing.
    """
    try:
        yield
    except exc.DBAPIError as error:
        raise translate_error(error, url) from None
    except exc.TimeoutError:
        raise StorageUnavailableError(f"{redacted(url)}: all connections are in use; try again") from None


def translate_error(error: exc.DBAPIError, url: URL) -> SporeprintError:
    """A driver's error in the project's terms, without the statement, its parameters or the password."""
    message = _message(error, url)
    where = redacted(url)
    number = _number(error)
    if url.get_backend_name() == SQLITE:
        return _sqlite_meaning(where, message, number)
    if number in _REFUSED:
        return AccessDeniedError(
            f"{where} refuses: {message}; check the user, its password and its rights (docs/storage.md lists the accounts)"
        )
    if number in _NO_TABLE:
        return _no_table(where, message)
    if number in _PASSING or number in _GONE or error.connection_invalidated or isinstance(error, exc.InterfaceError):
        return StorageUnavailableError(f"{where} cannot answer now: {message}; try again")
    return StorageError(f"{where}: {message}")


def _sqlite_meaning(where: str, message: str, number: int | None) -> SporeprintError:
    primary = (number or 0) & 0xFF
    if primary in _SQLITE_PASSING:
        return StorageUnavailableError(f"{where} cannot be used now: {message}; try again")
    if primary in _SQLITE_PLACE:
        return StorageError(f"{where} cannot be used: {message}; check that the folder is there, can be written and has room")
    if primary in _SQLITE_DAMAGED:
        return StorageError(f"{where} is damaged or no SQLite file: {message}; restore it from a backup")
    if "no such table" in message or "no such column" in message or "has no column" in message:
        return _no_table(where, message)
    return StorageError(f"{where}: {message}")


def _no_table(where: str, message: str) -> StorageError:
    return StorageError(f"{where} does not have the tables this version works with ({message}); run: sporeprint db upgrade")


def _number(error: exc.DBAPIError) -> int | None:
    """The driver's error number: PyMySQL's first argument, SQLite's extended code."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    if code is None and arguments and isinstance(arguments[0], int):
        code = arguments[0]
    return code if isinstance(code, int) else None


def _message(error: exc.DBAPIError, url: URL) -> str:
    arguments: tuple[Any, ...] = getattr(error.orig, "args", ())
    text = str(arguments[1] if len(arguments) > 1 else error.orig) or "the connection is closed"
    return text.replace(str(url.password), "***") if url.password else text


# --- SQLite --------------------------------------------------------------------------------------------------------------


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot make the folder of {url.database}: {error.strerror}") from None
    engine = create_engine(url, connect_args={"timeout": LOCK_WAIT_S}, hide_parameters=True)
    if url.database and url.database != ":memory:":
        event.listen(engine, "do_connect", _private_file(url.database))
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _private_file(path: str) -> Callable[..., None]:
    """Before a connection: a new file is for its owner only, because it holds what people sent, and the hashes of keys."""

    def make(*_: Any) -> None:
        with contextlib.suppress(OSError):  # the connection says what is wrong
            make_private(Path(path))

    return make


def _prepare_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # The driver's own transactions begin only before INSERT, UPDATE and DELETE: `_begin_sqlite` begins them all.
    raw: Any = connection
    raw.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Begin as `begin_immediate` asks, else as a reader: a reader that then writes can find the file locked, and cannot wait."""
    immediate = connection.get_execution_options().get("begin_immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes, committed at the end. On SQLite it waits for other writers before it reads anything."""
    with database_errors(engine.url), engine.connect().execution_options(begin_immediate=True) as connection, connection.begin():
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads."""
    with database_errors(engine.url), engine.connect() as connection:
        yield connection


# --- MariaDB -------------------------------------------------------------------------------------------------------------


def _driver_arguments(url: URL, answer_s: int) -> tuple[URL, dict[str, Any]]:
    """An address without the options the driver takes as values of its own, and those values.

    With `ssl_ca`, the server's certificate and name are checked, unless the address says that they are not.
    """
    options = {name: value for name, value in url.query.items() if isinstance(value, str)}
    arguments: dict[str, Any] = {"charset": "utf8mb4", "connect_timeout": CONNECT_TIMEOUT_S}
    arguments |= {"read_timeout": answer_s, "write_timeout": answer_s}
    # By the driver, before anything else looks: a server's own ANSI_QUOTES would decide how names are quoted.
    arguments |= {"sql_mode": SQL_MODE, "init_command": f"SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = {LOCK_WAIT_S}"}
    for name in ("connect_timeout", "read_timeout", "write_timeout"):
        if name in options:
            arguments[name] = _seconds(name, options[name])
    for name in ("ssl_ca", "ssl_cert", "ssl_key"):
        if name in options:
            if not Path(options[name]).is_file():
                raise ConfigError(f"{redacted(url)}: {name} names no file: {options[name]}")
            arguments[name] = options[name]
    checked = "true" if "ssl_ca" in options else None
    for name in ("ssl_verify_cert", "ssl_verify_identity"):
        if (value := options.get(name, checked)) is not None:
            arguments[name] = _switch(name, value)
    return url.difference_update_query([*TLS_OPTIONS, "connect_timeout", "read_timeout", "write_timeout"]), arguments


def _greeted(dialect: Dialect, _: ConnectionPoolEntry, arguments: Sequence[Any], options: dict[str, Any]) -> DBAPIConnection:
    """A connection whose server has greeted in the time of a connection, however long an answer may take."""
    answer_s = options["read_timeout"]
    raw: Any = dialect.connect(*arguments, **{**options, "read_timeout": min(options["connect_timeout"], answer_s)})
    raw._read_timeout = answer_s  # PyMySQL reads the greeting with it, and has no setting for that alone
    connection: DBAPIConnection = raw
    return connection


def _seconds(name: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{name}: expected whole seconds, at least 1, not {text!r}")
    return int(text)


def _switch(name: str, text: str) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    if text.lower() not in words:
        raise ConfigError(f"{name}: expected true or false, not {text!r}")
    return words[text.lower()]

"""Brings the records of the journals into the OLTP database: in order, in bulk, at least once, and by their id only once.

A record leaves its journal only after the database has said that it committed. Where that answer is lost, the same records are sent
again, and the database keeps the first of each id. So nothing is lost and nothing is there twice, whoever is killed, and when.
"""

import functools
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeAlias

import polars as pl
from sqlalchemy import Connection, Engine, exc, select, text
from sqlalchemy.dialects import sqlite

from sporeprint.common.locks import acquire
from sporeprint.common.timestamps import now_us
from sporeprint.errors import BusyError, DataError, JournalError, StorageError
from sporeprint.settings import JournalSettings
from sporeprint.storage import bulk_insert
from sporeprint.storage.engine import database_errors, translate_error
from sporeprint.storage.journal.file import DAMAGED, Clock, Entry, JournalFile, Refusal
from sporeprint.storage.journal.salvage import salvage
from sporeprint.storage.journal.writer import Journal
from sporeprint.storage.oltp.tables import prediction
from sporeprint.storage.prediction_record import COLUMNS, as_row
from sporeprint.storage.urls import SQLITE

log = logging.getLogger(__name__)

#: What MariaDB says of a record that it never takes, where the driver has no class for it: a check failed, a statement is larger
#: than `max_allowed_packet`. With the driver's DataError and IntegrityError that is all; anything else is not the record's fault.
REFUSED_CODES: frozenset[object] = frozenset({1153, 1366, 4025})
DUPLICATE = 1062
#: Characters that take two in a statement, and the size from which a record may be too large for one.
QUOTED, LARGE = (b"'", b'"', b"\\", b"\0", b"\n", b"\r", b"\x1a"), 500_000
#: First pause after a failure, seconds; each further one is twice as long.
FIRST_PAUSE_S = 0.1
#: How often to look for journals whose workers have ended.
ADOPT_S = 5.0
#: How long a database may be silent while the server stops, seconds.
SILENT_S = 5.0
#: Rows in one statement for SQLite, which allows 32,766 values.
SQLITE_ROWS = 200

_NUMBERS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("created_us", "version", "latency_us", "recorded_us"), pl.Int64),
    **dict.fromkeys(("probability", "novelty_p", "threshold"), pl.Float64),
}
TYPES = {name: _NUMBERS.get(name, pl.String) for name in COLUMNS}
ID = COLUMNS.index("prediction_id")
#: Values of one row.
Row: TypeAlias = tuple[Any, ...]


class RecordSource(Protocol):
    """What is shipped from: a journal that this process holds."""

    def read(self, records: int, size: int) -> list[Entry]:
        """The oldest records, in order."""

    def settle(self, through: int, refused: Sequence[Refusal] = ()) -> object:
        """Remove those up to `through`, or a part of them, and set aside what was refused among them."""


@dataclass(frozen=True, slots=True)
class ShipmentResult:
    """What one shipment did.

    Attributes:
        rows: records that the database has now.
        refused: records that it does not take.
        reason: why it does not take the last of them.
        full: whether there was no room for another record; else there was none.
    """

    rows: int = 0
    refused: int = 0
    reason: str | None = None
    full: bool = False


@dataclass(frozen=True, slots=True)
class ShipperStats:
    """What a shipper did since its start, for metrics.

    Attributes:
        shipped: records the database said it has.
        refused: records it does not take, set aside in their journal.
        adopted: journals of ended workers that were emptied.
        failures: shipments that failed, each to be tried again.
        lag_s: age of the oldest record in this worker's journal, seconds.
        pause_s: pause before the next try, while the database does not answer; else 0.
        last_error: message of the last failure or refusal.
    """

    shipped: int = 0
    refused: int = 0
    adopted: int = 0
    failures: int = 0
    lag_s: float = 0.0
    pause_s: float = 0.0
    last_error: str | None = None


def ship_once(source: RecordSource, engine: Engine, *, rows: int = 300, size: int = 8 << 20, clock: Clock = now_us) -> ShipmentResult:
    """Bring the oldest records of a journal into the database, in one transaction, and remove them from the journal.

    What the database refuses for what it says is set aside in the journal, with the reason, so that it does not block the others.

    Args:
        source: the journal.
        engine: of the OLTP database.
        rows: most records.
        size: bytes after which no further record is taken.
        clock: what time it is.

    Raises:
        StorageUnavailableError: if the database does not answer now. It may have committed; the next call sends the same again.
        StorageError: if it refuses everything: no tables, no right to write.
        JournalError: if the journal cannot be read, or shipped records cannot be removed from it: they are sent again.
    """
    entries = source.read(rows, size)
    if not entries:
        return ShipmentResult()
    with database_errors(engine.url):
        refused = _store(engine, entries, clock())
    # A journal file removes step by step, so that nobody who writes waits long; a journal does all of its steps itself.
    while source.settle(entries[-1].seq, refused) is not None:
        pass
    full = len(entries) >= rows or sum(len(entry.body) for entry in entries) >= size
    return ShipmentResult(len(entries) - len(refused), len(refused), refused[-1].reason if refused else None, full)


def upsert(engine: Engine, rows: Sequence[Row]) -> None:
    """Write rows of `COLUMNS` into the table `prediction`, in one transaction. An id that is there stays as it is.

    The right to insert and to read is enough.
    """
    try:
        with _transaction(engine) as connection:
            _insert(connection, rows)
    except exc.IntegrityError as error:
        # MariaDB's ON DUPLICATE KEY wants the right to update, its IGNORE also cuts a text that is too long. Ids that are there
        # are rare: a commit whose answer was lost, a worker killed before it could remove what it had shipped.
        if _code(error) != DUPLICATE:
            raise
        with _transaction(engine) as connection:
            _insert(connection, _missing(connection, rows))


def _transaction(engine: Engine) -> AbstractContextManager[Connection]:
    return engine.execution_options(begin_immediate=True).begin()


def _insert(connection: Connection, rows: Sequence[Row]) -> None:
    # Many rows a statement: each row of `executemany` is a step, at which the interpreter is handed over to whoever computes.
    if connection.dialect.name == SQLITE:
        statement, order = _statement()
        for begin in range(0, len(rows), SQLITE_ROWS):
            part = [order(row) for row in rows[begin : begin + SQLITE_ROWS]]
            connection.exec_driver_sql(_many(statement, len(part)), tuple(value for row in part for value in row))
    elif rows:
        for statement in bulk_insert.inserts(
            prediction.name, pl.DataFrame(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True)), TYPES)
        ):
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


def _missing(connection: Connection, rows: Sequence[Row]) -> list[Row]:
    """The first row of each id that the database does not have."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row[ID], row)
    column = prediction.c.prediction_id
    there = set(connection.execute(select(column).where(column.in_(first))).scalars())
    return [row for name, row in first.items() if name not in there]


def _store(engine: Engine, entries: Sequence[Entry], recorded_us: int) -> list[Refusal]:
    """Write records, and say which the database does not take; found by writing halves of the others."""
    rows: list[Row] = []
    readable: list[Entry] = []
    refused: list[Refusal] = []
    for entry in entries:
        if not entry.sound:
            refused.append(Refusal(entry.seq, DAMAGED))
            continue
        try:
            rows.append(as_row(entry.body, recorded_us))
            readable.append(entry)
        except DataError as error:
            refused.append(Refusal(entry.seq, str(error)))
    return refused + _store_rows(engine, readable, rows)


def _store_rows(engine: Engine, entries: Sequence[Entry], rows: Sequence[Row]) -> list[Refusal]:
    if not rows:
        return []
    try:
        upsert(engine, rows)
    except (exc.DBAPIError, OverflowError) as error:
        if not _is_refusal(error, engine, entries):
            raise
        if len(entries) == 1:
            return [Refusal(entries[0].seq, _reason(error, engine))]
        middle = len(entries) // 2
        first = _store_rows(engine, entries[:middle], rows[:middle])
        return first + _store_rows(engine, entries[middle:], rows[middle:])
    return []


def _is_damage(error: StorageError) -> bool:
    """Whether a journal's file is damaged, and not merely out of reach."""
    code = getattr(error.__cause__, "sqlite_errorcode", 0) or 0
    return code & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _is_refusal(error: exc.DBAPIError | OverflowError, engine: Engine, entries: Sequence[Entry]) -> bool:
    """Whether an error is about what a record says."""
    if isinstance(error, OverflowError | exc.DataError | exc.IntegrityError):
        return True
    return _code(error) in REFUSED_CODES or (error.connection_invalidated and _too_large(engine, entries))


def _code(error: exc.DBAPIError) -> object:
    """MariaDB's number of an error."""
    return next(iter(getattr(error.orig, "args", ())), None)


def _too_large(engine: Engine, entries: Sequence[Entry]) -> bool:
    """Whether a record is larger than the server takes: MariaDB then closes the connection, which looks as if it were gone."""
    largest = max(len(entry.body) + sum(entry.body.count(quoted) for quoted in QUOTED) for entry in entries)
    if engine.dialect.name == SQLITE or largest < LARGE:
        return False
    with engine.connect() as connection:
        return largest > int(connection.execute(text("select @@max_allowed_packet")).scalar_one())


def _reason(error: exc.DBAPIError | OverflowError, engine: Engine) -> str:
    return str(translate_error(error, engine.url) if isinstance(error, exc.DBAPIError) else error)


@functools.cache
def _statement() -> tuple[str, Callable[[Row], Row]]:
    """SQLite's statement for one row, and the order in which it wants the values."""
    statement = sqlite.insert(prediction).on_conflict_do_nothing(index_elements=["prediction_id"])
    # With named parameters first: they say in which order the columns come.
    named = str(statement.compile(dialect=sqlite.dialect(paramstyle="pyformat"), column_keys=list(COLUMNS)))
    names = re.findall(r"%\((\w+)\)s", named)
    return re.sub(r"%\(\w+\)s", "?", named), itemgetter(*(COLUMNS.index(name) for name in names))


@functools.lru_cache(maxsize=8)
def _many(statement: str, rows: int) -> str:
    """A statement for one row, of many."""
    row = f"({', '.join(['?'] * len(COLUMNS))})"
    return statement.replace(row, ", ".join([row] * rows))


class Shipper:
    """Ships on, in a thread of its own: this worker's journal, and those of workers that have ended.

    It waits without working: for the next answer, for others that can go with it, and ever longer while the database is away.
    """

    def __init__(self, engine: Engine, folder: Path, settings: JournalSettings | None = None, *, own: Journal | None = None) -> None:
        """Prepare to ship what is in `folder`; `own` is the journal of this worker, which it has open."""
        self._engine, self._folder, self._settings, self._own = engine, folder, settings or JournalSettings(), own
        self._stats, self._guard = ShipperStats(), threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._flush_s = 0.0
        self._warned: set[Path] = set()
        self._look_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="shipper", daemon=True)
        if own is not None:
            own.on_arrival(self._wake.set)

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def stop(self, flush_s: float = 5.0) -> None:
        """End, after trying for so many seconds to ship what is left. What then is left waits in the journal.

        A database that has taken a statement and is silent is not waited for: close the journal, and end.
        """
        self._flush_s = flush_s
        self._stop.set()
        self._wake.set()
        self._thread.join(flush_s + SILENT_S)

    def stats(self) -> ShipperStats:
        """What was done so far."""
        lag_s = self._own.stats().age_s if self._own else 0.0
        with self._guard:
            return replace(self._stats, lag_s=lag_s)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self._turn():
                continue
            pause = self._stats.pause_s
            if not pause:
                self._wake.wait(max(0.0, self._look_at - time.monotonic()))
                pause = self._settings.interval_s  # so that what comes within it goes together
            self._stop.wait(pause)
        until = time.monotonic() + self._flush_s
        while time.monotonic() < until and self._turn(adopt=False):
            pass

    def _turn(self, *, adopt: bool = True) -> bool:
        """Ship once, and say whether there is more to do at once."""
        self._wake.clear()
        try:
            more = self._own is not None and self._ship(self._own, self._own.path)
            if adopt and not more and time.monotonic() >= self._look_at:
                more = self._adopt()
                # Not before everything is shipped is the next look a while away.
                self._look_at = time.monotonic() + (0 if more else ADOPT_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next try may succeed; a thread that ended would ship nothing
            self._failed(error)
            return False
        if self._stats.pause_s:
            log.warning("the database takes answers again")
            with self._guard:
                self._stats = replace(self._stats, pause_s=0.0)
        return more

    def _ship(self, source: RecordSource, path: Path) -> bool:
        settings = self._settings
        done = ship_once(source, self._engine, rows=settings.batch_rows, size=settings.batch_mb << 20)
        if done.refused:
            self._tell(path, f"records of the journal {path} are set aside in it and not shipped: {done.reason}")
        with self._guard:
            stats = self._stats
            self._stats = replace(
                stats,
                shipped=stats.shipped + done.rows,
                refused=stats.refused + done.refused,
                last_error=done.reason or stats.last_error,
            )
        return done.full

    def _adopt(self) -> bool:
        """Ship once from each journal that nobody holds, remove those that are empty, and say whether there is more."""
        more = False
        for path in sorted(self._folder.glob("*.db")):
            if self._own is not None and path.name == self._own.path.name:
                continue
            try:
                file = JournalFile.adopt(path)
            except StorageError as error:  # the others go on
                more = self._salvage(path, error) or more
                continue
            if file is None:  # its worker lives
                continue
            try:
                more = self._empty(file) or more
            except JournalError as error:
                more = self._salvage(path, error) or more
        return more

    def _empty(self, file: JournalFile) -> bool:
        """Ship once from an adopted journal, and remove it when it is empty."""
        with closing(file):
            # A little at a time: the worker may be on its way back, and waits for the lock.
            more = self._ship(file, file.path)
            if not file.depth and file.remove():
                with self._guard:
                    self._stats = replace(self._stats, adopted=self._stats.adopted + 1)
        return more

    def _salvage(self, path: Path, error: StorageError) -> bool:
        """Take out of a damaged journal what can be read, and say whether there is something to ship at once."""
        self._note(error)
        if not _is_damage(error):
            self._tell(path, f"the journal {path} is not shipped: {error}")
            return False
        try:
            lock = acquire(path.with_suffix(".lock"), busy=str)
        except BusyError:  # another shipper does it
            return False
        try:
            return salvage(path) > 0
        except (OSError, sqlite3.Error) as failure:
            self._note(failure)
            return False
        finally:
            os.close(lock)

    def _tell(self, path: Path, problem: str) -> None:
        """Write down what is wrong with a journal, once."""
        if path not in self._warned:
            self._warned.add(path)
            log.warning("%s", problem)

    def _note(self, error: Exception) -> None:
        with self._guard:
            self._stats = replace(self._stats, failures=self._stats.failures + 1, last_error=str(error))

    def _failed(self, error: Exception) -> None:
        if not self._stats.pause_s:  # one line for a change of state, none for each try
            log.warning("answers wait in the journals of %s: %s", self._folder, error)
        self._note(error)
        with self._guard:
            pause_s = min(self._settings.max_pause_s, 2 * self._stats.pause_s or FIRST_PAUSE_S)
            self._stats = replace(self._stats, pause_s=pause_s)

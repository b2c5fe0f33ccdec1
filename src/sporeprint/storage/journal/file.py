"""A worker's journal on disk: a SQLite file that one process writes, held by a lock, and anybody can read.

What is written is synced before `append` returns (`synchronous=FULL`). Rows go when they are shipped, so that the file holds what
the database does not have yet, in the order in which it was written (`seq`, not the clock), and what the database refused.

Every record has a CRC-32 of its bytes. A record whose checksum does not fit is set aside and never shipped.

An error of `append` means that the records may not be there, not that they are not: a sync that failed may have reached the disk.
"""

import contextlib
import functools
import os
import re
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

from sporeprint.common.files import make_private, sync_path
from sporeprint.common.locks import acquire
from sporeprint.common.timestamps import now_us
from sporeprint.errors import BusyError, JournalError, JournalFullError, StorageError

#: A clock: microseconds since 1970 UTC.
Clock: TypeAlias = Callable[[], int]

FORMAT = 2
APPLICATION_ID = 0x53504F52
SCHEMA = f"""
begin immediate;
create table record (seq integer primary key autoincrement, prediction_id text not null, written_us integer not null, body text not null,
                     crc integer);
create index record_prediction_id on record (prediction_id);
create table refused (seq integer primary key, prediction_id text not null, written_us integer not null, body text not null,
                      refused_us integer not null, reason text not null, crc integer);
pragma application_id = {APPLICATION_ID};
pragma user_version = {FORMAT};
commit;
"""
#: Format 1 had no checksums: its records are shipped as they are.
UPGRADE = f"""
begin immediate;
alter table record add column crc integer;
alter table refused add column crc integer;
pragma user_version = {FORMAT};
commit;
"""
#: Why a record is set aside whose bytes are not those that were written.
DAMAGED = "damaged: its checksum does not fit"
#: Pages in the write-ahead log before they are copied into the file. SQLite's 1,000 makes every 30th group of 64 wait for it.
CHECKPOINT_PAGES = 4_000
#: Most records of one `append`, and most that one step of `settle` removes.
GROUP, STEP = 256, 250
#: What a record takes beside its body: row, index, and the share of both in their pages.
OVERHEAD = 80
#: How long a write waits for somebody who looks into the file with a tool of his own.
BUSY_S = 2.0
#: Between records and fields in what `read` fetches: JSON cannot hold them unescaped.
RECORD, FIELD = b"\x1e", b"\x1f"

_STATE = (
    "select (select page_count from pragma_page_count) * (select page_size from pragma_page_size)"
    " - (select freelist_count from pragma_freelist_count) * (select page_size from pragma_page_size),"
    " (select written_us from record order by seq limit 1), (select count(*) from refused)"
)
_SET_ASIDE = "insert or replace into refused select seq, prediction_id, written_us, body, ?, ?, crc from record where seq = ?"
READ = """
select group_concat(seq || char(31) || coalesce(crc, '') || char(31) || body, char(30))
from (select seq, crc, body, sum(length(body)) over (order by seq rows unbounded preceding) - length(body) as before
      from (select seq, crc, body from record order by seq limit ?))
where before < ?
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record in a journal: its place in the order, its bytes, and whether they are those that were written."""

    seq: int
    body: bytes
    sound: bool = True

    @classmethod
    def of(cls, seq: int, crc: int | None, body: bytes) -> Self:
        """From what the file holds; without a checksum (format 1) every record counts as sound."""
        return cls(seq, body, crc is None or zlib.crc32(body) == crc)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that the database does not take: its place, and why."""

    seq: int
    reason: str


class JournalFile:
    """A journal that this process holds. `append` and `settle` are for one thread, everything else is for any."""

    def __init__(self, path: Path, lock: int, clock: Clock) -> None:
        self.path, self.worker = path, path.stem
        self._lock, self._clock = lock, clock
        self._reading = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._inode: int | None = None
        self.depth = self.bytes = self.refused = 0
        self._oldest_us: int | None = None

    @classmethod
    def open(cls, folder: Path, worker: str, *, wait_s: float = 0.0, clock: Clock = now_us) -> Self:
        """Take a worker's journal, and make it where there is none.

        Args:
            folder: where the journals are.
            worker: name of the journal.
            wait_s: how long to wait for the lock.
            clock: what time it is.

        Raises:
            BusyError: if somebody else holds it, naming the process.
            StorageError: if it cannot be read or written, or is no journal of a known format.
        """
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", worker):
            raise StorageError(f"{worker!r} cannot name a worker: letters, digits, '.', '_' and '-', a letter or digit first, at most 63")
        return cls._locked(folder / f"{worker}.db", wait_s, clock)

    @classmethod
    def adopt(cls, path: Path, *, clock: Clock = now_us) -> Self | None:
        """Take a journal whose worker has ended; None where somebody holds it, or it is gone.

        Raises:
            StorageError: see `open`.
        """
        if not path.exists():
            return None
        try:
            return cls._locked(path, 0.0, clock, only_existing=True)
        except (BusyError, FileNotFoundError):
            return None

    @classmethod
    def _locked(cls, path: Path, wait_s: float, clock: Clock, *, only_existing: bool = False) -> Self:
        try:
            _make_folder(path.parent)
            lock = acquire(path.with_suffix(".lock"), busy=lambda holder: _held(path, holder), wait_s=wait_s)
        except OSError as error:
            raise StorageError(f"cannot use the journal {path}: {error.strerror}") from error
        journal = cls(path, lock, clock)
        with contextlib.ExitStack() as stack:
            stack.callback(journal.close)
            if only_existing and not path.exists():  # another shipper was faster, and has removed it
                path.with_suffix(".lock").unlink(missing_ok=True)
                raise FileNotFoundError(path)
            try:
                journal._connect()
            except (sqlite3.Error, OSError) as error:
                raise StorageError(
                    f"cannot open the journal {path}: {describe(error)}; if it is damaged, move it aside and keep it"
                ) from error
            stack.pop_all()
        return journal

    def _connect(self) -> sqlite3.Connection:
        """Connect, make the tables where there are none, and count what is there."""
        connection = connect(self.path)
        with contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            connection.execute(f"pragma wal_autocheckpoint = {CHECKPOINT_PAGES}")
            (version,) = connection.execute("pragma user_version").fetchone()
            ours = connection.execute("pragma application_id").fetchone()[0] == APPLICATION_ID
            if not version and not connection.execute("select count(*) from sqlite_schema").fetchone()[0]:
                connection.executescript(SCHEMA)
            elif ours and version == 1:
                connection.executescript(UPGRADE)
            elif not ours or version != FORMAT:
                raise StorageError(
                    f"{self.path} is no journal of format {FORMAT}, but of {version}; ship it with the release that wrote it"
                )
            self.depth = connection.execute("select coalesce(max(seq) - min(seq) + 1, 0) from record").fetchone()[0]
            self._measure(connection)
            stack.pop_all()
        self._connection, self._inode = connection, _inode(self.path)
        return connection

    def append(self, records: Sequence[tuple[str, bytes]]) -> None:
        """Write records, all or none, and return when they are synced. At most `GROUP` at a time.

        Raises:
            JournalFullError: if the disk is full.
            JournalError: if it cannot be written. The next call tries anew.
        """
        written_us = self._clock()
        values: list[Any] = []
        for prediction_id, body in records:
            values += (prediction_id, written_us, body.decode(), zlib.crc32(body))
        with self._writing() as connection:
            # One statement is one transaction, and one step of SQLite's: a step a row would hand the interpreter over, and
            # wait to get it back, at every row.
            connection.execute(_insert(len(records)), values)
        self.depth += len(records)
        self.bytes += sum(len(body) for _, body in records) + OVERHEAD * len(records)
        if self._oldest_us is None:
            self._oldest_us = written_us

    def settle(self, through: int, refused: Sequence[Refusal] = ()) -> int | None:
        """Remove what is shipped, the oldest `STEP` records up to `through`, and set aside what was refused among them.

        Returns:
            Where the next step begins, or None when nothing up to `through` is left.

        Raises:
            JournalFullError: if the disk is full.
            JournalError: if it cannot be written; nothing was removed.
        """
        with self._writing() as connection:
            (first,) = connection.execute("select min(seq) from record").fetchone()
            if first is None or first > through:
                return None
            last = min(first + STEP - 1, through)
            aside = [refusal for refusal in refused if first <= refusal.seq <= last]
            remove = "delete from record where seq between ? and ?", (first, last)
            with _unsynced(connection):
                if aside:
                    with _transaction(connection):
                        for refusal in aside:
                            connection.execute(_SET_ASIDE, (self._clock(), refusal.reason, refusal.seq))
                        removed = connection.execute(*remove).rowcount
                else:
                    removed = connection.execute(*remove).rowcount
            self.depth = max(0, self.depth - removed)
            self._measure(connection)
            return last + 1 if last < through else None

    def probe(self) -> None:
        """Write a page and sync it, without a record: whether records can be written now. Raises: as `append`."""
        with self._writing() as connection:
            connection.execute(f"pragma user_version = {FORMAT}")

    def requeue(self) -> int:
        """Put what the database refused back at the end, to be shipped again, and say how many."""
        with self._writing() as connection:
            with _transaction(connection):
                columns = "prediction_id, written_us, body, crc"
                copy = f"insert into record ({columns}) select {columns} from refused order by seq"  # noqa: S608 -- no values
                moved = connection.execute(copy).rowcount
                connection.execute("delete from refused")
            self.depth += moved
            self._measure(connection)
            return moved

    def read(self, records: int, size: int) -> list[Entry]:
        """The oldest records, in order: at most so many, and no more once they have `size` bytes.

        Raises:
            JournalError: if it cannot be read.
        """
        with self._asking() as reader:
            (text,) = reader.execute(READ, (records, size)).fetchone()
            try:
                fields = [part.split(FIELD, 2) for part in text.split(RECORD)] if text else []
                return [Entry.of(int(seq), int(crc) if crc else None, body) for seq, crc, body in fields]
            except ValueError:  # a damaged record holds what no record can
                rows = reader.execute("select seq, crc, cast(body as blob) from record order by seq limit ?", (min(records, STEP),))
                return [Entry.of(*row) for row in rows]

    def get(self, prediction_id: str) -> bytes | None:
        """The bytes of an answer that is not in the database yet, or was refused by it; None where there is none.

        Raises:
            JournalError: if it cannot be read.
        """
        with self._asking() as reader:
            return look_up(reader, prediction_id)

    def age_s(self) -> float:
        """Seconds since the oldest record was written; 0 where there is none, or the clock was put back behind it."""
        oldest = self._oldest_us
        return 0.0 if oldest is None else max(0.0, (self._clock() - oldest) / 1e6)

    def close(self) -> None:
        """Let go of the file, then of the lock."""
        self._disconnect(reader=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def remove(self) -> bool:
        """Remove a journal that holds nothing, while the lock is still held, and say whether that was so."""
        with self._asking() as reader:
            (left,) = reader.execute("select exists (select 1 from record) or exists (select 1 from refused)").fetchone()
        if left:
            return False
        self._disconnect(reader=True)
        for suffix in ("-wal", "-shm", ""):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self.path.with_suffix(".lock").unlink(missing_ok=True)
        return True

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """The connection, made anew where it was lost. What goes wrong is said as an error of the journal."""
        try:
            connection = self._connection or self._connect()
            if _inode(self.path) != self._inode:
                raise _taken_away(self.path)
            yield connection
        except JournalError:  # taken away
            self._disconnect(reader=True)
            raise
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise JournalFullError(f"the disk of the journal {self.path} is full; make room, then try again") from error
            self._disconnect()
            raise JournalError(f"cannot write the journal {self.path}: {describe(error)}; see to the disk, then try again") from error

    @contextlib.contextmanager
    def _asking(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own: who reads does not wait for the writer, and reads on while writing fails."""
        with self._reading:
            if self._lock < 0:
                raise JournalError(f"the journal {self.path} is closed")
            try:
                if self._reader is None:
                    self._reader = connect(self.path)
                    self._reader.text_factory = bytes  # of a damaged record too
                    self._reader.execute("pragma query_only = 1")
                yield self._reader
            except sqlite3.Error as error:
                raise JournalError(f"cannot read the journal {self.path}: {describe(error)}") from error

    def _disconnect(self, *, reader: bool = False) -> None:
        gone, self._connection = [self._connection], None
        if reader:
            with self._reading:
                gone.append(self._reader)
                self._reader = None
        for connection in gone:
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()

    def _measure(self, connection: sqlite3.Connection) -> None:
        """The pages in use, the age of the oldest record, what is set aside: without looking at every record, and at once.

        Each statement hands the interpreter over, and waits to get it back, while somebody waits for the next group.
        """
        self.bytes, self._oldest_us, self.refused = connection.execute(_STATE).fetchone()


def find(folder: Path, prediction_id: str) -> bytes | None:
    """The bytes of an answer in any journal of a folder, whoever holds it; None where there is none.

    Ask here first and then the database: a record leaves its journal only when the database has it.

    Raises:
        JournalError: if a journal cannot be read.
    """
    for path in sorted(folder.glob("*.db")):
        try:
            with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)) as reader:
                reader.text_factory = bytes
                record = look_up(reader, prediction_id)
        except sqlite3.Error as error:
            if not path.exists() or "no such table" in str(error):  # removed, or made, this very moment
                continue
            raise JournalError(f"cannot read the journal {path}: {describe(error)}") from error
        if record is not None:
            return record
    return None


def look_up(reader: sqlite3.Connection, prediction_id: str) -> bytes | None:
    """The bytes of an answer: the first that was written with this id, as it is in the database."""
    for table in ("record", "refused"):
        query = f"select seq, crc, body from {table} where prediction_id = ? order by seq"  # noqa: S608 - one of two names
        try:
            rows = reader.execute(query, (prediction_id,))
        except sqlite3.OperationalError as error:
            if "no such column: crc" not in str(error):
                raise
            rows = reader.execute(query.replace("crc", "null"), (prediction_id,))  # format 1, which nobody has opened yet
        for entry in (Entry.of(seq, crc, bytes(body)) for seq, crc, body in rows):
            if entry.sound:
                return entry.body
    return None


def connect(path: Path) -> sqlite3.Connection:
    """A connection without transactions of its own, for use from any one thread at a time. A new file is for its owner only."""
    make_private(path)
    return sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=128)


def describe(error: Exception) -> str:
    """What went wrong, in SQLite's or the system's words."""
    name = getattr(error, "sqlite_errorname", None)
    text = getattr(error, "strerror", None) or str(error)
    return f"{text} ({name})" if name else text


@functools.lru_cache(maxsize=GROUP)
def _insert(records: int) -> str:
    row = "(?, ?, ?, ?)"
    return f"insert into record (prediction_id, written_us, body, crc) values {', '.join([row] * records)}"  # noqa: S608 - placeholders


@contextlib.contextmanager
def _unsynced(connection: sqlite3.Connection) -> Iterator[None]:
    """For what may be undone by a power cut: then it is shipped again, which harms nothing, and nobody waits for the disk."""
    connection.execute("pragma synchronous = normal")
    try:
        yield
    finally:
        connection.execute("pragma synchronous = full")


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        if connection.in_transaction:
            connection.execute("rollback")
        raise


def _taken_away(path: Path) -> JournalError:
    return JournalError(f"the journal {path} was taken away while it was in use, with what it held; put it back, or start anew")


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _make_folder(folder: Path) -> None:
    """Make a folder that is still there after the power was gone."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_path(each.parent)


def _held(path: Path, holder: str) -> str:
    return (
        f"the journal {path} is held by process {holder}: one journal has one writer; give this worker another name, or wait until "
        "that process has ended"
    )

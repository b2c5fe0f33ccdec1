"""Predictions by Idempotency-Key: one SQLite file for all workers of a machine, so that no retry waits for the database.

The first prediction of a caller's key is the prediction of that key. It is synced here before it is journaled and answered, with the digest
of its row: whichever worker a retry reaches, and whatever was promoted meanwhile, it gets the same prediction, and another row is a
conflict. What many requests wait for is written in one transaction with one sync.
"""

import asyncio
import contextlib
import logging
import queue
import sqlite3
import threading
import time
from pathlib import Path
from typing import NamedTuple, Self, TypeAlias

from sporeprint.common.files import make_private
from sporeprint.common.timestamps import now_us
from sporeprint.errors import JournalError, StorageError

log = logging.getLogger(__name__)

APPLICATION_ID, FORMAT = 0x53504944, 1
SCHEMA = f"""
begin immediate;
create table if not exists prediction (caller text not null, key text not null, row_sha256 blob not null, record blob not null,
                                       created_us integer not null, journaled integer not null default 0, primary key (caller, key)
) without rowid;
create index if not exists prediction_created_us on prediction (created_us);
pragma application_id = {APPLICATION_ID};
pragma user_version = {FORMAT};
commit;
"""
#: Seconds to wait for another worker that writes.
BUSY_S = 5.0
#: Most writes in one transaction.
GROUP = 256
#: Seconds between two removals of what is older than `keep_us`, and rows of one removal.
EXPIRE_S, EXPIRE_ROWS = 60.0, 1_000
#: Seconds after which marks are written although nobody waits for them.
IDLE_S = 1.0

_INSERT = "insert or ignore into prediction (caller, key, row_sha256, record, created_us) values (?, ?, ?, ?, ?)"
_SELECT = "select row_sha256, record, journaled from prediction where caller = ? and key = ?"
_MARK = "update prediction set journaled = 1 where caller = ? and key = ?"
_EXPIRE = "delete from prediction where (caller, key) in (select caller, key from prediction where created_us < ? limit ?)"

Key: TypeAlias = tuple[str, str]


class KeyedPrediction(NamedTuple):
    """The prediction of a key.

    Attributes:
        row_sha256: digest of the row it was made for.
        record: bytes of its `PredictionRecord`.
        is_journaled: whether it is known to be in a journal; if not, journaling it again is harmless.
    """

    row_sha256: bytes
    record: bytes
    is_journaled: bool


class _Write(NamedTuple):
    key: Key
    row_sha256: bytes
    record: bytes
    future: "asyncio.Future[KeyedPrediction]"


class IdempotencyStore:
    """The file, opened by one process. `put` is for event loops, everything else for any thread.

    Attributes:
        is_failing: whether the last write failed. The writer then tries by itself, so that this ends when the disk is back.
    """

    def __init__(self, path: Path, keep_us: int) -> None:
        self.path, self._keep_us = path, keep_us
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._marks: queue.SimpleQueue[Key] = queue.SimpleQueue()
        self._expire_at = 0.0
        self.is_failing = False
        self._thread = threading.Thread(target=self._run, name="idempotency", daemon=True)

    @classmethod
    def open(cls, path: Path, keep_us: int) -> Self:
        """Open the file, and make it where there is none.

        Args:
            path: the file, on a local disk.
            keep_us: how long a key is remembered, microseconds.

        Raises:
            StorageError: it cannot be used, or is of another format.
        """
        store = cls(path, keep_us)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(store._connect()) as connection:
                version, application = (connection.execute(f"pragma {name}").fetchone()[0] for name in ("user_version", "application_id"))
                if (version, application) not in {(0, 0), (FORMAT, APPLICATION_ID)}:
                    raise StorageError(f"{path} holds no idempotency keys of format {FORMAT}; move it away, and its keys are forgotten")
                connection.executescript(SCHEMA)
                _select(connection, ("", ""))
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"cannot use {path}: {error}; if it is damaged, move it away, and its keys are forgotten") from error
        store._thread.start()
        store.find("", "")  # opens the file for reading: the first request is as fast as the others
        return store

    def find(self, caller: str, key: str) -> KeyedPrediction | None:
        """The prediction of a caller's key; None where it has none. Reads one row: a few microseconds.

        Raises:
            JournalError: the file cannot be read.
        """
        with self._reading:
            try:
                self._reader = self._reader or self._connect()
                return _select(self._reader, (caller, key))
            except (sqlite3.Error, OSError) as error:
                raise JournalError(f"cannot read {self.path}: {error}; try again") from error

    async def put(self, caller: str, key: str, row_sha256: bytes, record: bytes) -> KeyedPrediction:
        """Keep a prediction for a key that has none, synced; the prediction that the key has then, which may be another one.

        Raises:
            JournalError: it is not kept, or not for certain; trying again is harmless.
        """
        future: asyncio.Future[KeyedPrediction] = asyncio.get_running_loop().create_future()
        self._queue.put(_Write((caller, key), row_sha256, record, future))
        return await future

    def mark_journaled(self, caller: str, key: str) -> None:
        """Note that a prediction is in a journal. Nobody waits for it: if the note is lost, it is journaled again."""
        self._marks.put((caller, key))

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._queue.put(None)
        self._thread.join()
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def _connect(self) -> sqlite3.Connection:
        make_private(self.path)
        connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        with contextlib.ExitStack() as stack:
            stack.callback(connection.close)
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = full")
            stack.pop_all()
        return connection

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        with contextlib.suppress(sqlite3.Error, OSError):  # then it is tried again
            connection = self._connect()
        is_open = True
        while is_open:
            group, is_open = self._next_group()
            try:
                connection = connection or self._connect()
                predictions = self._write(connection, group)
            except Exception as error:  # noqa: BLE001 -- it goes to who waits; the next group may succeed
                if connection is not None:
                    connection.close()
                    connection = None
                if not self.is_failing:  # one line for a change of state
                    log.warning("the idempotency keys cannot be written: %s: %s", self.path, error)
                self.is_failing = True
                _resolve(group, JournalError(f"cannot write {self.path}: {error}; see to the disk, then try again"))
            else:
                if self.is_failing:
                    log.warning("the idempotency keys in %s can be written again", self.path)
                self.is_failing = False
                _resolve(group, predictions)
        if connection is not None:
            connection.close()

    def _next_group(self) -> tuple[list[_Write], bool]:
        group: list[_Write] = []
        with contextlib.suppress(queue.Empty):
            write = self._queue.get(timeout=IDLE_S)
            while len(group) < GROUP:
                if write is None:
                    return group, False
                group.append(write)
                write = self._queue.get_nowait()
            self._queue.put(write)
        return group, True

    def _write(self, connection: sqlite3.Connection, group: list[_Write]) -> list[KeyedPrediction]:
        marks = []
        with contextlib.suppress(queue.Empty):
            while True:
                marks.append(self._marks.get_nowait())
        expires = time.monotonic() >= self._expire_at
        if not (group or marks or expires or self.is_failing):
            return []
        now = now_us()
        connection.execute("begin immediate")
        try:
            connection.executemany(_INSERT, [(*write.key, write.row_sha256, write.record, now) for write in group])
            connection.executemany(_MARK, marks)
            if self.is_failing:  # something is written in any case
                connection.execute(f"pragma user_version = {FORMAT}")
            if expires:
                removed = connection.execute(_EXPIRE, (now - self._keep_us, EXPIRE_ROWS)).rowcount
                self._expire_at = time.monotonic() + (0 if removed == EXPIRE_ROWS else EXPIRE_S)
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
        stored = [_select(connection, write.key) for write in group]
        if None in stored:
            raise StorageError("a prediction is gone that was written a moment ago")
        return [prediction for prediction in stored if prediction is not None]


def _select(connection: sqlite3.Connection, key: Key) -> KeyedPrediction | None:
    row = connection.execute(_SELECT, key).fetchone()
    return None if row is None else KeyedPrediction(row[0], row[1], bool(row[2]))


def _resolve(group: list[_Write], result: "list[KeyedPrediction] | Exception") -> None:
    """Give every waiting request its prediction, or the error; one call into each loop."""
    for loop in {write.future.get_loop() for write in group}:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_set, [(n, write.future) for n, write in enumerate(group) if write.future.get_loop() is loop], result)


def _set(futures: "list[tuple[int, asyncio.Future[KeyedPrediction]]]", result: "list[KeyedPrediction] | Exception") -> None:
    for number, future in futures:
        if future.done():  # cancelled
            continue
        if isinstance(result, Exception):
            future.set_exception(result)
        else:
            future.set_result(result[number])

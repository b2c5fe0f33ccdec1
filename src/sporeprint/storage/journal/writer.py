"""A worker's journal: `await journal.write(record)` returns when the record is on the disk.

One thread writes. What many callers wait for goes to the disk in one transaction with one sync, so that the disk is asked as often
as it can answer and no more (group commit). What waits, and what the database does not have yet, is bounded.

A lost disk loses the answers that were given and not shipped yet: normally those of the last second or two, during an outage of the
database all since its beginning (`JournalStats.depth`, `age_s`). A killed process or a lost power supply loses nothing.
"""

import asyncio
import contextlib
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from sporeprint.common.timestamps import now_us
from sporeprint.errors import JournalError, JournalFullError
from sporeprint.settings import JournalSettings
from sporeprint.storage.journal.file import GROUP, Clock, Entry, JournalFile, Refusal
from sporeprint.storage.prediction_record import PredictionRecord

log = logging.getLogger(__name__)

#: Bytes in one transaction, after which no further record joins it.
GROUP_BYTES = 8 << 20
#: How often the writer looks although nobody woke it, seconds: a loop may end before it does.
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class JournalStats:
    """A journal's state, for metrics.

    Attributes:
        worker: whose it is.
        depth: records that the database does not have yet.
        bytes: size of what is in use in the file.
        age_s: seconds since the oldest of them was written.
        waiting: records that are not on the disk yet.
        written: records since the start.
        groups: transactions they took.
        failures: transactions that failed since the start.
        turned_away: records that were not taken since the start, because the journal was full.
        refused: records set aside, because the database does not take them.
        last_error: message of the last failure.
        is_failing: whether the last write failed. The writer then tries by itself, so that this ends when the disk is back.
    """

    worker: str
    depth: int
    bytes: int
    age_s: float
    waiting: int
    written: int
    groups: int
    failures: int
    turned_away: int
    refused: int
    last_error: str | None
    is_failing: bool


#: How often this process, or one that it comes from, was forked: a journal is of the process that opened it.
_forks = 0


def _forked() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)


class _Waiting(NamedTuple):
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[None]
    prediction_id: str
    body: bytes


class Journal:
    """The journal of this worker. `write` is for any event loop of the process, everything else for any thread."""

    def __init__(self, file: JournalFile, limits: JournalSettings) -> None:
        self._file, self._limits = file, limits
        self._process, self._forks = os.getpid(), _forks
        self._guard = threading.Lock()
        # An Event would take three times as long to set.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._is_more = False  # the writer's own: whether something was left when it last took a group
        self._woken = self._closing = False
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._orders: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._written = self._groups = self._failures = self._turned_away = 0
        self._last_error: str | None = None
        self._is_failing = False
        self._arrived: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name=f"journal-{file.worker}", daemon=True)

    @classmethod
    def open(cls, folder: Path, worker: str, limits: JournalSettings | None = None, *, wait_s: float = 0.0, clock: Clock = now_us) -> Self:
        """Take a worker's journal and start its writer. See `JournalFile.open` for arguments and errors."""
        journal = cls(JournalFile.open(folder, worker, wait_s=wait_s, clock=clock), limits or JournalSettings())
        journal._thread.start()
        return journal

    @property
    def path(self) -> Path:
        """The journal's file."""
        return self._file.path

    @property
    def worker(self) -> str:
        """Whose journal it is."""
        return self._file.worker

    async def write(self, record: PredictionRecord) -> None:
        """Return when the record is on the disk. Who is cancelled while waiting does not know whether it is.

        Raises:
            DataError: if the record cannot be kept, whenever it is tried (see `PredictionRecord.to_bytes`).
            JournalFullError: if the journal takes nothing more for now.
            JournalError: if it could not be written, or not for certain: writing the same record again is harmless.
        """
        done = asyncio.get_running_loop().create_future()
        self.submit(record, done)
        await done

    def submit(self, record: PredictionRecord, done: asyncio.Future[None]) -> None:
        """Have a record written, and a future of the running loop resolved when it is on the disk.

        Raises:
            DataError: see `write`.
            JournalFullError: see `write`. A `JournalError` of the disk is set as the future's exception.
        """
        loop = done.get_loop()
        if self._enqueue(_Waiting(loop, done, record.prediction_id, record.to_bytes())):
            # At the end of this turn of the loop: whoever else is ready to write is then in the same group.
            loop.call_soon(self._bell.put, None)

    def read(self, records: int, size: int) -> list[Entry]:
        """The oldest records that are not shipped. See `JournalFile.read`."""
        return self._file.read(records, size)

    def settle(self, through: int, refused: Sequence[Refusal] = ()) -> None:
        """Remove what is shipped, in steps between which answers are written. See `JournalFile.settle`."""
        while self._order(lambda: self._file.settle(through, refused)) is not None:
            pass

    def requeue(self) -> int:
        """Put what the database refused back at the end, to be shipped again, and say how many."""
        return int(self._order(self._file.requeue))

    def get(self, prediction_id: str) -> PredictionRecord | None:
        """An answer of this worker that the database does not have yet. For the other workers' see `journal_file.find`.

        Raises:
            JournalError: if the journal cannot be read.
        """
        data = self._file.get(prediction_id)
        return None if data is None else PredictionRecord.from_bytes(data)

    def stats(self) -> JournalStats:
        """The journal's state."""
        with self._guard:
            return JournalStats(
                worker=self._file.worker,
                depth=self._file.depth,
                bytes=self._file.bytes,
                age_s=self._file.age_s(),
                waiting=len(self._waiting),
                written=self._written,
                groups=self._groups,
                failures=self._failures,
                turned_away=self._turned_away,
                refused=self._file.refused,
                last_error=self._last_error,
                is_failing=self._is_failing,
            )

    def on_arrival(self, call: Callable[[], object]) -> None:
        """Have something called, from the writer's thread, after each group that was written."""
        self._arrived = call

    def close(self) -> None:
        """Write what waits, then let go of the journal. Writing from then on is refused."""
        with self._guard:
            self._closing = True
        self._bell.put(None)
        if self._process == os.getpid():
            self._thread.join()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _enqueue(self, waiting: _Waiting) -> bool:
        """Put a record into the queue, and say whether the writer has to be woken."""
        size = len(waiting.body)
        with self._guard:
            self._check_open()
            if reason := self._full(size):
                self._turned_away += 1
                raise JournalFullError(reason)
            self._waiting.append(waiting)
            self._waiting_bytes += size
            wake, self._woken = not self._woken, True
        return wake

    def _check_open(self) -> None:
        if self._forks != _forks:  # asking the system each time would cost more than all the rest here
            raise JournalError(f"the journal {self.path} belongs to process {self._process}; after a fork, open another one")
        if self._closing:
            raise JournalError(f"the journal {self.path} is closed; the server is stopping, ask another one")

    def _full(self, size: int) -> str | None:
        """Why a record of this size is not taken, if so."""
        limits, file = self._limits, self._file
        if len(self._waiting) >= limits.waiting_records or self._waiting_bytes + size > limits.waiting_mb << 20:
            return (
                f"{len(self._waiting):,} answers ({self._waiting_bytes >> 20} MiB) wait for the disk of {self.path}; at most "
                f"{limits.waiting_records:,} ({limits.waiting_mb} MiB) may; try again soon (storage.journal.waiting_records, waiting_mb)"
            )
        if file.depth + len(self._waiting) >= limits.max_records or file.bytes + self._waiting_bytes + size > limits.max_mb << 20:
            return (
                f"the journal {self.path} holds {file.depth:,} answers ({file.bytes >> 20} MiB) that the database does not have; at most "
                f"{limits.max_records:,} ({limits.max_mb} MiB) are allowed; try again when the database is back "
                "(storage.journal.max_records, max_mb)"
            )
        return None

    def _order(self, call: Callable[[], Any]) -> Any:
        """Have the writer's thread do something between two groups."""
        done: Future[Any] = Future()
        with self._guard:
            self._check_open()
            self._orders.append((call, done))
            self._woken = True
        self._bell.put(None)
        return done.result()

    def _run(self) -> None:
        """The writer."""
        while self._turn():
            pass

    def _turn(self) -> bool:
        """Write one group, do one order, and say whether there is a next turn."""
        if not self._is_more:
            with contextlib.suppress(queue.Empty):
                self._bell.get(timeout=LOOK_S)
        group, order, closing = self._take()
        if group:
            self._write(group)
        elif self._is_failing:
            self._try()
        if order:
            call, done = order
            try:
                done.set_result(call())
            except Exception as error:  # noqa: BLE001 - it goes to whoever gave the order
                self._failed(error)
                done.set_exception(error)
        return bool(group or order or not closing)

    def _take(self) -> tuple[list[_Waiting], tuple[Callable[[], Any], Future[Any]] | None, bool]:
        group: list[_Waiting] = []
        size = 0
        with self._guard:
            while self._waiting and len(group) < GROUP and size < GROUP_BYTES:
                group.append(self._waiting.popleft())
                size += len(group[-1].body)
            self._waiting_bytes -= size
            order = self._orders.popleft() if self._orders else None
            self._woken = bool(self._waiting or self._orders)
            self._is_more = self._woken or self._closing
            return group, order, self._closing

    def _try(self) -> None:
        """Find out whether records can be written again: a server that is not ready is sent none."""
        try:
            self._file.probe()
        except Exception as error:  # noqa: BLE001 -- the next try may succeed
            with self._guard:
                self._last_error = str(error)
        else:
            self._is_failing = False
            log.warning("the journal %s can be written again", self.path)

    def _write(self, group: list[_Waiting]) -> None:
        try:
            self._file.append([(waiting.prediction_id, waiting.body) for waiting in group])
        except JournalError as error:
            self._write_failed(error)
            self._answer(group, str(error), type(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody may wait for ever, and the next group may succeed
            self._write_failed(error)
            self._answer(group, f"cannot write the journal {self.path}: {error!r}")
            return
        with self._guard:
            self._is_failing = False
            self._groups += 1
            self._written += len(group)
        self._answer(group)
        self._arrived()

    def _write_failed(self, error: Exception) -> None:
        if not self._is_failing:  # one line for a change of state, none for each record
            log.warning("the journal cannot be written: %s", error)
        self._is_failing = True
        self._failed(error)

    def _failed(self, error: Exception) -> None:
        with self._guard:
            self._failures += 1
            self._last_error = str(error)

    def _answer(self, group: Sequence[_Waiting], problem: str | None = None, kind: type[JournalError] = JournalError) -> None:
        """Tell every waiting caller, one call into each loop."""
        for loop in {waiting.loop for waiting in group}:
            futures = [waiting.future for waiting in group if waiting.loop is loop]
            try:
                loop.call_soon_threadsafe(_resolve, futures, problem, kind)
            except RuntimeError:  # the loop is closed: nobody waits any more
                continue


def _resolve(futures: Sequence[asyncio.Future[None]], problem: str | None, kind: type[JournalError]) -> None:
    for future in futures:
        if future.done():  # cancelled
            continue
        if problem is None:
            future.set_result(None)
        else:
            future.set_exception(kind(problem))

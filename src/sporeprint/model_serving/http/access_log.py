"""The access log: one line of JSON for each request, written aside.

A request appends what is known of it to a list. A thread makes lines of it and writes them, several times a second and at the end. What
the disk does not take in time is counted and left out: a log must not hold up what it speaks of.

By hand, because the handlers of `logging` write record by record, hold up or drop without a count where the disk hangs, and rotate for one
process alone, where here several workers append to one file.
"""

import contextlib
import fcntl
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import orjson

from sporeprint.model_serving.http.request_context import REQUEST, RequestContext

log = logging.getLogger(__name__)

#: Where the setting says stderr.
STDERR = "-"
#: Seconds between two writes: what a kill can lose.
EVERY_S = 0.1
#: Lines that wait for the disk at a time.
MOST = 100_000
#: Ends of lines that are kept, because most are the same.
MOST_RESTS = 1_000

_Entry = tuple[int, str, str, str, int, int, int, tuple[str, int] | None, str | None, str | None, str | None]


class AccessLog:
    """The log of one process. Several may write into one file: each write is whole lines at its end."""

    def __init__(self, path: Path | None, worker: str, paths: Mapping[str, str], *, max_bytes: int = 0) -> None:
        """Open it; nothing is written yet.

        Args:
            path: the file; None: stderr.
            worker: name of this process.
            paths: endpoint -> its address, with the names of what varies in it.
            max_bytes: size after which the file is put aside as `.1`, in place of the one that was; 0: never.
        """
        self._path, self._worker, self._paths, self._max_bytes = path, worker, paths, max_bytes
        self._waiting: list[_Entry] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._file = -1
        self._failing = False
        self._rests: dict[tuple[str, str, int, tuple[str, int] | None, str | None], str] = {}
        self._second = 0, "1970-01-01T00:00:00"
        self._left_out = self._unwritten = 0  # one number for each thread that counts

    # --- requests

    def add(self, exchange: RequestContext) -> None:
        """Note a request that has ended."""
        if len(self._waiting) >= MOST:
            self._left_out += 1
            return
        spent = perf_counter_ns() - exchange.begin
        self._waiting.append(
            (
                exchange.began_ns,
                exchange.request_id,
                exchange.method,
                exchange.endpoint,
                exchange.status,
                spent,
                exchange.size,
                exchange.model,
                exchange.prediction_id,
                exchange.key,
                exchange.trace_id,
            )
        )

    @property
    def dropped(self) -> int:
        """Requests that the log does not have."""
        return self._left_out + self._unwritten

    # --- writing

    @contextlib.contextmanager
    def writing(self) -> Iterator["AccessLog"]:
        """Write as long as the context lasts; afterwards all that was noted is written."""
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while True:
            ending = self._stop.wait(EVERY_S)
            noted, self._waiting = self._waiting, []
            if noted:
                try:
                    self._write(noted)
                    self._failing = False
                except Exception as error:  # whatever it was: without this thread nothing would be written any more
                    if not self._failing:
                        log.warning("the access log cannot be written: %s", error, exc_info=not isinstance(error, OSError))
                    self._failing = True
                    self._unwritten += len(noted)
            if ending:
                break
        self._close()

    def _write(self, noted: list[_Entry]) -> None:
        left = memoryview(b"".join(map(self._line, noted)))
        file = self._open()
        while left:
            left = left[os.write(file, left) :]
        self._rotate()

    def _line(self, noted: _Entry) -> bytes:
        began_ns, request_id, method, endpoint, status, spent, size, model, prediction_id, key, trace_id = noted
        # What hardly varies is made once. What varies has nothing that JSON would want to be written otherwise.
        rest = self._rests.get((method, endpoint, status, model, key))
        if rest is None:
            rest = self._rest(method, endpoint, status, model, key)
        seconds, left = divmod(began_ns // 1000, 1_000_000)
        if seconds != self._second[0]:
            self._second = seconds, datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        trace = "" if trace_id is None else f'"trace_id":"{trace_id}",'
        quoted_id = "null" if prediction_id is None else f'"{prediction_id}"'
        return (
            f'{{"time":"{self._second[1]}.{left:06d}Z","request_id":"{request_id}","ms":{spent / 1e6:.3f},"bytes":{size},'
            f'"prediction_id":{quoted_id},{trace}{rest}'
        ).encode()

    def _rest(self, method: str, endpoint: str, status: int, model: tuple[str, int] | None, key: str | None) -> str:
        values: dict[str, Any] = {
            "method": method,
            "path": self._paths.get(endpoint),
            "status": status,
            "model": None if model is None else f"{model[0]}/v{model[1]}",
            "key": key,
            "worker": self._worker,
        }
        if len(self._rests) >= MOST_RESTS:
            self._rests.clear()
        rest = self._rests[method, endpoint, status, model, key] = f"{orjson.dumps(values).decode()[1:]}\n"
        return rest

    # --- the file

    def _open(self) -> int:
        """The file that the path names now: whoever put the old one aside gets a new one."""
        if self._path is None:
            return sys.stderr.fileno()
        if self._file >= 0 and _identity(self._path) == _identity(self._file):
            return self._file
        self._close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        return self._file

    def _rotate(self) -> None:
        if self._path is None or not self._max_bytes or os.fstat(self._file).st_size < self._max_bytes:
            return
        with contextlib.suppress(BlockingIOError):  # another worker is at it
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _identity(self._path) == _identity(self._file):
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            self._close()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _identity(file: Path | int) -> tuple[int, int] | None:
    try:
        stat = os.stat(file)  # noqa: PTH116 -- also of open files
    except OSError:
        return None
    return stat.st_dev, stat.st_ino


class RequestIdFilter(logging.Filter):
    """Puts the id of the request that is worked on behind what the server's log says."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let everything pass."""
        if (request_id := REQUEST.get()) and not getattr(record, "request_id", ""):
            record.request_id = request_id
            record.msg, record.args = f"{record.getMessage()} [request {request_id}]", ()
        return True


@contextlib.contextmanager
def request_ids_in_log() -> Iterator[None]:
    """Name requests in the server's log as long as the context lasts."""
    handlers, id_filter = list(logging.getLogger("sporeprint").handlers), RequestIdFilter()
    for handler in handlers:
        handler.addFilter(id_filter)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(id_filter)

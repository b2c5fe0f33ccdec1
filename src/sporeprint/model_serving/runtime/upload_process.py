"""Uploaded files are decoded in a process of their own, with limits that the kernel keeps.

A few kilobytes of Parquet can unpack to gigabytes, and a damaged file can end a reader. Neither may happen in the process that answers. The
decoded rows come back as Arrow data without compression, which cannot grow when it is read.
"""

import contextlib
import io
import multiprocessing
import os
import resource
import signal
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from sporeprint.errors import DataError
from sporeprint.ingestion.raw_table import open_table, read_batches
from sporeprint.schema import DatasetSchema

#: What a message calls the file.
UPLOAD = "the upload"
#: Most bytes of a piece of decoded rows, and of one cell.
PIECE_BYTES, CELL_BYTES = 16 << 20, 64 << 10
_SIZE = struct.Struct("<Q")


class TooLargeError(Exception):
    """What a file holds is more than is decoded here."""


@dataclass(frozen=True)
class DecodeLimits:
    """What decoding a file may take.

    Attributes:
        memory_bytes: memory of the process, beyond what it has before it reads anything.
        decoded_bytes: decoded rows, on the disk.
        rows: rows.
        columns: columns.
        seconds: time.
    """

    memory_bytes: int
    decoded_bytes: int
    rows: int
    columns: int
    seconds: float


class UploadDecoder:
    """Processes that decode files, each one file at a time. One that fails is replaced."""

    def __init__(self, limits: DecodeLimits) -> None:
        self.limits = limits
        self._idle: list[ProcessPoolExecutor] = []
        self._lock = threading.Lock()

    def decode(self, path: Path, schema: DatasetSchema, out: Path) -> Iterator[pl.DataFrame]:
        """The rows of a Parquet file, with their numbers, piece by piece.

        Args:
            path: the file.
            schema: of the rows to be scored.
            out: a file of one's own for the decoded rows.

        Raises:
            TooLargeError: if it holds more than the limits allow.
            DataError: if it is damaged, or its columns are not those of the dataset.
        """
        self._run(_decode_rows, path, schema, out, self.limits)
        return _pieces(out)

    def decode_table(self, path: Path, out: Path) -> pl.DataFrame:
        """A Parquet file as a whole. See `decode`."""
        self._run(_decode_table, path, out, self.limits)
        return pl.concat(_pieces(out))

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for pool in idle:
            pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, work: Any, *arguments: Any) -> None:
        with self._lock:
            pool = self._idle.pop() if self._idle else None
        if pool is None:
            spawn = multiprocessing.get_context("spawn")
            pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_limit, initargs=(self.limits,))
        try:
            fault, grown = pool.submit(_quietly, work, arguments).result(self.limits.seconds)
        except BrokenProcessPool:
            pool.shutdown(wait=False)
            raise TooLargeError(f"it needs more than the {self.limits.memory_bytes >> 20:,} MiB of memory that decoding may take") from None
        except TimeoutError:
            _kill(pool)
            raise TooLargeError(f"decoding it takes longer than {self.limits.seconds:g} s") from None
        except BaseException:
            _kill(pool)
            raise
        if grown:  # what a reader keeps would count against the next file
            _kill(pool)
        else:
            with self._lock:
                self._idle.append(pool)
        if fault is not None:
            raise fault


def _kill(pool: ProcessPoolExecutor) -> None:
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.kill()
    pool.shutdown(wait=False, cancel_futures=True)


def _pieces(out: Path) -> Iterator[pl.DataFrame]:
    with out.open("rb") as file:
        while head := file.read(_SIZE.size):
            yield pl.read_ipc(io.BytesIO(file.read(_SIZE.unpack(head)[0])))


# --- in the process ------------------------------------------------------------------------------------------------------


def _limit(limits: DecodeLimits) -> None:
    """Set the limits of this process: the kernel ends it, before it takes what the server needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing too much is an error
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    pl.DataFrame({"a": [1, 2]}).lazy().select(pl.col("a").sum()).collect()  # its threads take their memory now
    most = _data_bytes() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.decoded_bytes, limits.decoded_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _end_with_the_server() -> None:
    """Wait until the server has ended, and end: one that is killed tells nobody, and its processes would wait for work for ever."""
    if (server := multiprocessing.parent_process()) is not None:
        server.join()
        os._exit(1)


def _data_bytes() -> int:
    """Private memory that this process may write to, as RLIMIT_DATA counts it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 1 << 30


def _quietly(work: Any, arguments: tuple[Any, ...]) -> tuple[Exception | None, bool]:
    """Do it, and return what went wrong, and whether the process has grown much."""
    return _fault(work, arguments), _data_bytes() > resource.getrlimit(resource.RLIMIT_DATA)[0] * 0.6


def _fault(work: Any, arguments: tuple[Any, ...]) -> Exception | None:
    """What went wrong: whatever a damaged file does to a reader, it is the file's fault."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # a library's last words on a bad file are not the server's log
    os.close(devnull)
    try:
        work(*arguments)
    except (DataError, TooLargeError) as error:
        return type(error)(str(error))
    except MemoryError:
        return TooLargeError("it needs more memory than decoding may take")
    except OSError as error:
        return TooLargeError(f"its rows cannot be kept for now: {error.strerror}")
    except BaseException as error:  # noqa: BLE001 -- a panic of Rust is no Exception
        return DataError(f"{UPLOAD} cannot be read; is it damaged? ({type(error).__name__})")
    return None


def _decode_rows(path: Path, schema: DatasetSchema, out: Path, limits: DecodeLimits) -> None:
    _check_columns(path, limits)
    raw = open_table(path, schema, now=lambda: datetime.now(UTC))
    if (rows := raw.provenance.rows) is not None and rows > limits.rows:
        raise TooLargeError(f"{rows:,} rows are given, at most {limits.rows:,} may be")
    left = limits.decoded_bytes
    with out.open("wb") as file:
        for batch in read_batches(raw, schema, batch_bytes=PIECE_BYTES, labelled=False):
            left = _write(file, batch.frame, left)


def _decode_table(path: Path, out: Path, limits: DecodeLimits) -> None:
    table = _check_columns(path, limits)
    rows = int(table.select(pl.len()).collect().item())
    if rows > limits.rows:
        raise TooLargeError(f"{rows:,} rows are given, at most {limits.rows:,} may be")
    with out.open("wb") as file:
        _write(file, table.collect(), limits.decoded_bytes)


def _check_columns(path: Path, limits: DecodeLimits) -> pl.LazyFrame:
    table = pl.scan_parquet(path, glob=False)
    if (columns := len(table.collect_schema())) > limits.columns:
        raise TooLargeError(f"it has {columns:,} columns, at most {limits.columns:,} may be")
    return table


def _write(file: Any, frame: pl.DataFrame, left: int) -> int:
    """Write rows in pieces, and return how many bytes further ones may have."""
    # One text that stands in a million rows lies in memory once: what counts is what the rows would be as a file.
    size = int(frame.estimated_size())
    if size > left:
        raise TooLargeError("it unpacks to more bytes than are decoded here")
    texts = [name for name, kind in frame.schema.items() if kind in (pl.Categorical, pl.Enum, pl.Binary)]
    frame = frame.with_columns(pl.col(texts).cast(pl.String)) if texts else frame
    for name, kind in frame.schema.items():
        longest = frame[name].str.len_bytes().max() if kind == pl.String else 0
        if isinstance(longest, int) and longest > CELL_BYTES:
            raise TooLargeError(f"the column {name[:40]!r} has a value of {longest:,} bytes, at most {CELL_BYTES:,} may be")
    pieces = max(1, -(-size // PIECE_BYTES))
    for part in frame.iter_slices(max(1, -(-frame.height // pieces))) if frame.height else [frame]:
        raw = io.BytesIO()
        part.rechunk().write_ipc(raw, compression="uncompressed")
        file.write(_SIZE.pack(raw.tell()))
        file.write(raw.getbuffer())
    return left - size

"""Uploaded files are decoded in a process of their own, with limits that the kernel keeps.

A few kilobytes of Parquet can unpack to gigabytes, and a damaged file can end a reader. Neither may happen in the process that answers. The
decoded rows come back piece by piece, as Arrow data without compression, which cannot grow when it is read.
"""

import contextlib
import io
import os
import resource
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

from sporeprint.common.child_process import ChildDiedError, ChildProcess
from sporeprint.errors import DataError
from sporeprint.ingestion.file_formats import kind_of
from sporeprint.ingestion.parquet_reader import plain_values
from sporeprint.ingestion.raw_batch import Batch, malformed_rows
from sporeprint.ingestion.raw_table import open_table, read_batches
from sporeprint.schema import DatasetSchema
from sporeprint.settings import CsvSettings

#: What a message calls the file.
UPLOAD = "the upload"
#: Most bytes of a piece of decoded rows, of a piece of a CSV file, and of one cell.
PIECE_BYTES, CSV_BYTES, CELL_BYTES = 16 << 20, 4 << 20, 64 << 10
#: Most bytes of a line of column names.
HEADER_BYTES = 1 << 20
#: Characters that separate the columns of a CSV file.
SEPARATORS = (b",", b";", b"\t", b"|")


class TooLargeError(Exception):
    """What a file holds is more than is decoded here."""


@dataclass(frozen=True)
class DecodeLimits:
    """What decoding a file may take.

    Attributes:
        memory_bytes: memory of the process, beyond what it has before it reads anything.
        decoded_bytes: decoded rows, all together.
        rows: rows.
        columns: columns.
        seconds: time until a file is decoded, and scored meanwhile.
        cpu_s: processor seconds for a small file.
        bytes_per_cpu_s: bytes of a larger file for each further processor second.
    """

    memory_bytes: int
    decoded_bytes: int
    rows: int
    columns: int
    seconds: float
    cpu_s: float = 1.5
    bytes_per_cpu_s: int = 2 << 20


class UploadDecoder:
    """Processes that decode files, each one file at a time. One that fails, or has grown, is replaced."""

    def __init__(self, limits: DecodeLimits) -> None:
        self.limits = limits
        self._idle: list[ChildProcess] = []
        self._lock = threading.Lock()

    def decode(self, path: Path, schema: DatasetSchema, csv: CsvSettings | None = None) -> Iterator[Batch]:
        """The rows of a CSV or Parquet file, with their numbers, piece by piece.

        Args:
            path: the file.
            schema: of the rows to be scored.
            csv: how the training table was written; left out: as is found.

        Raises:
            TooLargeError: if it holds more than the limits allow.
            DataError: if it is damaged, or its columns are not those of the dataset.
        """
        for rows, malformed in self._items(_decode_rows, path, schema, csv, self.limits):
            yield Batch(_frame(rows), malformed_rows() if malformed is None else _frame(malformed), 0)

    def decode_table(self, path: Path) -> pl.DataFrame:
        """A CSV or Parquet file as a whole; the cells of CSV are text. See `decode`."""
        return pl.concat(_frame(piece) for piece in self._items(_decode_table, path, self.limits))

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()

    def _items(self, work: Any, *arguments: Any) -> Iterator[Any]:
        with self._lock:
            child = self._idle.pop() if self._idle else None
        child = child or ChildProcess(_limit, self.limits)
        has_grown = True
        try:
            for item in child.items(_quietly, work, arguments, seconds=self.limits.seconds):
                if isinstance(item, bool):
                    has_grown = item
                else:
                    yield item
        except ChildDiedError as error:
            if error.exit_code == -signal.SIGPROF:
                raise TooLargeError("decoding it takes longer than a file of its size may") from None
            raise TooLargeError(f"it needs more than the {self.limits.memory_bytes >> 20:,} MiB of memory that decoding may take") from None
        except TimeoutError:
            raise TooLargeError(f"decoding it takes longer than {self.limits.seconds:g} s") from None
        finally:
            if has_grown:  # what a reader keeps would count against the next file
                child.kill()
            else:
                with self._lock:
                    self._idle.append(child)


def _frame(data: bytes) -> pl.DataFrame:
    return pl.read_ipc(io.BytesIO(data))


# --- in the process ------------------------------------------------------------------------------------------------------


def _limit(limits: DecodeLimits) -> None:
    """Set the limits of this process: the kernel ends it, before it takes what the server needs."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    pl.DataFrame({"a": [1, 2]}).lazy().select(pl.col("a").sum()).collect()  # its threads take their memory now
    most = _data_bytes() + limits.memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # a library's last words on a bad file are not the server's log
    os.close(devnull)


def _data_bytes() -> int:
    """Private memory that this process may write to, as RLIMIT_DATA counts it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) << 10
    return 1 << 30


def _quietly(work: Any, arguments: tuple[Any, ...]) -> Iterator[Any]:
    """Do it, then say whether the process has grown much. Whatever a damaged file does to a reader, it is the file's fault."""
    path, limits = arguments[0], arguments[-1]
    fault: Exception | None = None
    # Time of the processor, not of the clock: a busy machine is no fault of the file's. The signal ends the process.
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_s + path.stat().st_size / limits.bytes_per_cpu_s)
    try:
        yield from work(*arguments)
    except (DataError, TooLargeError) as error:
        fault = type(error)(str(error).replace(str(path), UPLOAD))
    except MemoryError:
        fault = TooLargeError("it needs more memory than decoding may take")
    except BaseException as error:  # noqa: BLE001 -- a panic of Rust is no Exception
        fault = DataError(f"{UPLOAD} cannot be read; is it damaged? ({type(error).__name__})")
    signal.setitimer(signal.ITIMER_PROF, 0)
    yield _data_bytes() > resource.getrlimit(resource.RLIMIT_DATA)[0] * 0.6
    if fault is not None:
        raise fault


def _decode_rows(path: Path, schema: DatasetSchema, csv: CsvSettings | None, limits: DecodeLimits) -> Iterator[tuple[bytes, bytes | None]]:
    _check_columns(path, limits)
    raw = open_table(path, schema, now=lambda: datetime.now(UTC), csv=csv)
    if raw.provenance.rows is not None:
        _check_rows(raw.provenance.rows, limits)
    rows, left = 0, limits.decoded_bytes
    for batch in read_batches(raw, schema, batch_bytes=CSV_BYTES, labelled=False):
        _check_rows(rows := rows + batch.frame.height + batch.malformed.height, limits)
        left = _left(left, batch.frame, batch.malformed)
        if batch.malformed.height:
            yield _bytes(batch.frame), _bytes(batch.malformed)
        else:
            yield from ((piece, None) for piece in _pieces(batch.frame))


def _decode_table(path: Path, limits: DecodeLimits) -> Iterator[bytes]:
    table = _check_columns(path, limits)
    _check_rows(int(table.select(pl.len()).collect().item()), limits)
    frame = plain_values(table.collect(), str(path))
    _left(limits.decoded_bytes, frame)
    yield from _pieces(frame)


def _check_rows(rows: int, limits: DecodeLimits) -> None:
    if rows > limits.rows:
        raise TooLargeError(f"{rows:,} rows are given, at most {limits.rows:,} may be")


def _check_columns(path: Path, limits: DecodeLimits) -> pl.LazyFrame:
    if kind_of(path, UPLOAD) == "parquet":
        table = pl.scan_parquet(path, glob=False)
        try:
            columns = len(table.collect_schema())
        except pl.exceptions.DuplicateError as error:
            raise DataError(f"{UPLOAD}: two columns have the same name: {str(error).partition(chr(10))[0]}") from error
    else:
        with path.open("rb") as file:
            header = file.readline(HEADER_BYTES)
        if len(header) == HEADER_BYTES:
            raise TooLargeError(f"its line of column names has more than {HEADER_BYTES:,} bytes")
        columns = 1 + max(map(header.count, SEPARATORS))
        if columns <= limits.columns:
            return pl.scan_csv(path, infer_schema=False, glob=False)
    if columns > limits.columns:
        raise TooLargeError(f"it has {columns:,} columns, at most {limits.columns:,} may be")
    return table


def _left(left: int, *frames: pl.DataFrame) -> int:
    """How many bytes further rows may have; what a cell may have is looked at, too."""
    # One text that stands in a million rows lies in memory once: what counts is what the rows would be as a file.
    size = sum(int(frame.estimated_size()) for frame in frames)
    if size > left:
        raise TooLargeError("it unpacks to more bytes than are decoded here")
    for frame in frames:
        for name, kind in frame.schema.items():
            longest = frame[name].str.len_bytes().max() if kind == pl.String else 0
            if isinstance(longest, int) and longest > CELL_BYTES:
                raise TooLargeError(f"the column {name[:40]!r} has a value of {longest:,} bytes, at most {CELL_BYTES:,} may be")
    return left - size


def _pieces(frame: pl.DataFrame) -> Iterator[bytes]:
    # A batch can be fetched as CSV, too, which has no durations.
    frame = frame.with_columns(pl.col(name).dt.to_string("iso") for name, kind in frame.schema.items() if kind == pl.Duration)
    count = max(1, -(-int(frame.estimated_size()) // PIECE_BYTES))
    for part in frame.iter_slices(max(1, -(-frame.height // count))) if frame.height else [frame]:
        yield _bytes(part)


def _bytes(frame: pl.DataFrame) -> bytes:
    raw = io.BytesIO()
    frame.rechunk().write_ipc(raw, compression="uncompressed")
    return raw.getvalue()

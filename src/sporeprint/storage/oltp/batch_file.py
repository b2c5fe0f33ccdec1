"""The artefact of a batch: one Parquet file with the rows as given, their ids and what was answered.

It appears whole or not at all, and for each id once. Until the database knows of it, it has a second name below `.pending`: these names
are the journal of batches. What is being written lies below `.parts`, locked by its process; a name there that nobody holds is a leftover.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import polars as pl

from sporeprint.common.files import sync_path
from sporeprint.common.locks import try_lock
from sporeprint.errors import JournalError, StorageError
from sporeprint.ingestion.parquet_footer import DamagedFileError
from sporeprint.schema import ANSWERS
from sporeprint.storage.oltp import parquet_writer
from sporeprint.storage.oltp.parquet_writer import ParquetWriter

#: Key of the file's metadata.
KEY = "sporeprint.batch"
#: Ids of batches: nothing else becomes part of a path.
BATCH_ID = re.compile(r"[0-9a-f]{32}|k[0-9a-f]{31}")
ROW_ID = re.compile(rf"({BATCH_ID.pattern}):(0|[1-9][0-9]{{0,11}})")


@dataclass(frozen=True)
class BatchInfo:
    """What a batch is, as its file says it.

    Attributes:
        batch_id: its id; those of its rows are `<batch_id>:<row>`.
        created_us: when it was asked for, microseconds since 1970 UTC.
        model: name of the model.
        version: N of v<N>.
        threshold: of the verdict.
        simulated: whether the model was trained on invented rows.
        rows: all of them.
        problems: rows without an answer.
        verdicts: verdict -> rows.
        latency_us: from question to file.
        worker: who answered.
        given: json, csv or parquet.
        columns: names of the columns that were given.
        asked: sha256 of what was sent.
    """

    batch_id: str
    created_us: int
    model: str
    version: int
    threshold: float | None
    simulated: bool
    rows: int
    problems: int
    verdicts: Mapping[str, int]
    latency_us: int
    worker: str
    given: str
    columns: tuple[str, ...]
    asked: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """What a file says of itself.

        Raises:
            StorageError: it is no artefact.
        """
        try:
            note = json.loads(parquet_writer.notes(path)[KEY])
            return cls(**{**note, "columns": tuple(note["columns"])})
        except FileNotFoundError:
            raise
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise StorageError(f"{path} is damaged or no artefact of a batch; restore it from a backup") from error


@dataclass(frozen=True)
class BatchStore:
    """The folder of artefacts.

    Attributes:
        root: the work directory.
        folder: below it.
    """

    root: Path
    folder: str

    def name(self, batch_id: str) -> str:
        """The path of an artefact, below the work directory."""
        return f"{self.folder}/{batch_id}.parquet"

    def path(self, batch_id: str) -> Path:
        """Where an artefact is, or would be."""
        if not BATCH_ID.fullmatch(batch_id):
            raise ValueError(batch_id)
        return self.root / self.name(batch_id)

    @property
    def parts(self) -> Path:
        """Folder of what is being written."""
        return self.root / self.folder / ".parts"

    @property
    def waiting(self) -> Path:
        """Folder of the second names."""
        return self.root / self.folder / ".pending"

    def pending(self) -> list[str]:
        """Batches that the database may not know of, in the order of their ids."""
        return sorted(path.stem for path in self.waiting.glob("*.parquet") if BATCH_ID.fullmatch(path.stem))

    @contextlib.contextmanager
    def part(self, kind: str) -> Iterator[Path]:
        """A file to write to, gone when the context ends, or, after a kill, with the next `sweep`.

        Raises:
            JournalError: the folder cannot be written.
        """
        with retryable_write(self.folder):
            self.parts.mkdir(parents=True, exist_ok=True)
            handle, path = self._locked(kind)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)

    def _locked(self, kind: str) -> tuple[int, Path]:
        while True:
            handle, name = tempfile.mkstemp(dir=self.parts, prefix=f"{kind}-")
            if try_lock(handle) and os.fstat(handle).st_nlink:
                return handle, Path(name)
            os.close(handle)  # swept away before it was locked

    def sweep(self) -> int:
        """Remove what killed processes left, and say how many files."""
        gone = 0
        for path in self.parts.glob("*"):
            with contextlib.suppress(OSError):
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    if try_lock(handle):
                        path.unlink()
                        gone += 1
                finally:
                    os.close(handle)
        return gone

    def publish(self, part: Path, batch_id: str) -> bool:
        """Give a part that is complete its names; False where the id has its artefact already, which stays.

        Raises:
            JournalError: it could not be kept; the same again is harmless.
        """
        final, second = self.path(batch_id), self.waiting / f"{batch_id}.parquet"
        with retryable_write(self.folder):
            self.waiting.mkdir(parents=True, exist_ok=True)
            part.chmod(0o644)
            sync_path(part)
            # Whoever is first with the second name is the one; the other helps to finish it.
            with contextlib.suppress(FileExistsError):
                os.link(part, second)
            self.finish(batch_id)
            mine = part.samefile(final)
            if not mine:
                with contextlib.suppress(FileNotFoundError):
                    if part.samefile(second):
                        second.unlink()
            sync_path(self.waiting)
            sync_path(final.parent)
        return mine

    def finish(self, batch_id: str) -> None:
        """Give a batch with a second name its first, if it has none: its process was killed between the two."""
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            os.link(self.waiting / f"{batch_id}.parquet", self.path(batch_id))

    def known(self, batch_id: str) -> None:
        """The database has it: drop the second name."""
        (self.waiting / f"{batch_id}.parquet").unlink(missing_ok=True)

    def about(self, batch_id: str) -> BatchInfo | None:
        """What a batch is; None where there is none.

        Raises:
            StorageError: its file is damaged.
        """
        if not BATCH_ID.fullmatch(batch_id):
            return None
        try:
            return BatchInfo.of(self.path(batch_id))
        except FileNotFoundError:
            return None


class BatchDraft:
    """An artefact on its way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: ParquetWriter | None = None

    def write(self, frame: pl.DataFrame) -> None:
        """Append rows; the first ones decide the columns. Raises: JournalError."""
        with retryable_write("a batch"):
            if self._writer is None:
                self._writer = ParquetWriter(self._path)
            self._writer.write(frame)

    def close(self, about: BatchInfo | None) -> None:
        """Write the file's end; without a word about it, it is only let go of. Raises: JournalError."""
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        with retryable_write("a batch"):
            writer.close(None if about is None else {KEY: json.dumps(asdict(about))})


def frames(path: Path, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """The rows of an artefact, part by part; columns of answers that it was written without, by an earlier release, are null.

    Raises:
        FileNotFoundError: it is not there.
        StorageError: it is damaged.
    """
    with _whole(path):
        if columns is not None:
            there = pl.read_parquet_schema(path)
            absent = [pl.lit(None, dtype=pl.String).alias(name) for name in columns if name not in there and name in ANSWERS]
            for frame in parquet_writer.frames(path, [name for name in columns if name in there]):
                yield frame.with_columns(absent).select(columns)
        else:
            yield from parquet_writer.frames(path)


def input_columns(names: Sequence[str], about: BatchInfo) -> dict[str, str]:
    """The columns of the batch -> their names in the artefact, whose columns are `names`: behind the id they stand in their order."""
    return dict(zip(about.columns, names[1:], strict=False))


def row_of(path: Path, row: int) -> dict[str, Any] | None:
    """One row of an artefact; None where it has fewer. Raises: see `frames`."""
    with _whole(path):
        return parquet_writer.row(path, row)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (DamagedFileError, OSError) as error:
        raise StorageError(f"{path} is damaged; restore it from a backup") from error


@contextlib.contextmanager
def retryable_write(what: str) -> Iterator[None]:
    """What cannot be written now is to be tried again."""
    try:
        yield
    except OSError as error:
        raise JournalError(f"cannot write {what}: {error.strerror or error}; nothing is half written") from error

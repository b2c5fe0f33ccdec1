"""Takes the readable records out of a damaged journal, so that they are shipped, and keeps the damaged file for people."""

import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from sporeprint.common.files import sync_path
from sporeprint.common.locks import try_lock
from sporeprint.storage.journal.file import FORMAT, SCHEMA, connect

log = logging.getLogger(__name__)

#: What a damaged journal is called afterwards: no journal, so that nobody opens it again.
SUFFIX = ".damaged"
#: How a file of SQLite begins; bytes of its header, and where in it the number of its pages is, which 0 leaves to the file's size.
MAGIC, HEADER, PAGES = b"SQLite format 3\0", 100, slice(28, 32)


def salvage(path: Path) -> int:
    """Replace a damaged journal, whose lock the caller holds, by one with the records that can be read.

    A record is looked up by its number: that reads a few pages, so that one damaged page costs the records on it and no others.
    The damaged file stays beside it, as `<name>.db.damaged`.

    Returns:
        How many records could be read.

    Raises:
        OSError, sqlite3.Error: the folder cannot be written.
    """
    fresh = path.with_name(f".{path.name}.salvage")
    fresh.unlink(missing_ok=True)
    records = 0
    with contextlib.closing(connect(fresh)) as target:
        target.executescript(SCHEMA)
        target.execute("begin")
        for row in _readable(path, fresh):
            with contextlib.suppress(sqlite3.Error):  # a field that is no text any more
                target.execute("insert into record (prediction_id, written_us, body, crc) values (?, ?, ?, ?)", row)
                records += 1
        target.execute("commit")
    sync_path(fresh)
    path.replace(path.with_name(path.name + SUFFIX))
    for extra in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + extra).replace(path.with_name(path.name + SUFFIX + extra))
    fresh.replace(path)
    sync_path(path.parent)
    log.warning(
        "the journal %s was damaged: %d records could be read and are shipped; the file is kept as %s", path, records, path.name + SUFFIX
    )
    return records


def damaged_journals(folder: Path) -> tuple[str, ...]:
    """Names of the damaged journals that were kept."""
    return tuple(sorted(path.name for path in folder.glob(f"*.db{SUFFIX}")))


def orphan_journals(folder: Path) -> dict[str, int | None]:
    """Journals that no process holds, by name, with the number of their records that are not in the database; None: it cannot be read.

    A shipper empties and removes such a journal a few seconds after its worker has ended, if the database takes the records.
    """
    return {path.name: records for path in sorted(folder.glob("*.db")) if not _is_held(path) and (records := _depth(path)) != 0}


def _is_held(path: Path) -> bool:
    try:
        handle = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not try_lock(handle)
    finally:
        os.close(handle)


def _depth(path: Path) -> int | None:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as reader:
            return int(reader.execute("select (select count(*) from record) + (select count(*) from refused)").fetchone()[0])
    except sqlite3.Error:
        return None if path.exists() else 0


def _readable(path: Path, fresh: Path) -> Iterator[tuple[str, int, str, int | None]]:
    try:
        with (
            _with_header(path, fresh) as file,
            contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as reader,
        ):
            for seq in _numbers(reader):
                with contextlib.suppress(sqlite3.Error):
                    crc = "crc" if _format(reader) == FORMAT else "null"
                    query = f"select prediction_id, written_us, body, {crc} from record where seq = ?"  # noqa: S608 -- no values
                    if row := reader.execute(query, (seq,)).fetchone():
                        yield row
    except sqlite3.Error:  # not even its first page
        return


@contextlib.contextmanager
def _with_header(path: Path, fresh: Path) -> Iterator[Path]:
    """A copy of a damaged journal that says what it is, and not how long: SQLite reads nothing of a file that is shorter than it says."""
    copy = path.with_name(f".{path.name}.copy")
    log_of_copy = copy.with_name(copy.name + "-wal")
    try:
        shutil.copyfile(path, copy)
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(path.name + "-wal"), log_of_copy)
        with copy.open("r+b") as file:
            header = bytearray(file.read(HEADER))
            if not header.startswith(MAGIC):
                header = bytearray(fresh.read_bytes()[:HEADER])
            header[PAGES] = bytes(4)
            file.seek(0)
            file.write(header)
        yield copy
    finally:
        for each in (copy, log_of_copy, copy.with_name(copy.name + "-shm")):
            each.unlink(missing_ok=True)


def _format(reader: sqlite3.Connection) -> int:
    return int(reader.execute("pragma user_version").fetchone()[0])


def _numbers(reader: sqlite3.Connection) -> range:
    """Numbers that the records can have: from the counter of the table, which gives no number twice."""
    first, last = 1, 0
    with contextlib.suppress(sqlite3.Error):
        last = reader.execute("select seq from sqlite_sequence where name = 'record'").fetchone()[0]
    with contextlib.suppress(sqlite3.Error):
        first = reader.execute("select min(seq) from record").fetchone()[0] or 1
    return range(first, last + 1)

"""Atomic writes, hashes and the progress protocol."""

import contextlib
import fcntl
import hashlib
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from sporeprint.errors import StorageError

#: Names of files that are being written: those of `tempfile.mkstemp`.
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp")

_MAKING = threading.Lock()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` on a clean exit and vanishes on any other.

    Raises:
        StorageError: if the folder or file cannot be written (permission, full disk), naming the path.
    """
    temporary: Path | None = None
    handle: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name no reader looks for, and none that a parallel writer can have.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(handle, fcntl.LOCK_EX)  # until the writer ends, however it ends: see `remove_leftovers`
        yield temporary
        temporary.chmod(0o644)
        sync_path(temporary)
        temporary.replace(path)
        sync_path(path.parent)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}; nothing was replaced") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left below a folder: temporary files of `atomic_path` that no process holds.

    Raises:
        StorageError: one cannot be removed, naming it.
    """
    for path in folder.rglob(".*.tmp"):
        if not _TEMPORARY.fullmatch(path.name):
            continue
        with contextlib.ExitStack() as stack:
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue  # gone, being written, or in a file system without locks
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"cannot remove {path}: {error.strerror or error}") from error


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write a whole file, or leave what was there.

    Raises:
        StorageError: see `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Whether two names are those of one file that is there."""
    first, second = Path(one), Path(other)
    return first.exists() and second.exists() and first.samefile(second)


def sha256_file(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_path(path: Path) -> None:
    """Have a file or folder written to the disk: it is still there after a power cut. Raises: OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private(path: Path) -> None:
    """Make a file for its owner only, if there is none. A file that is there is not opened.

    For SQLite's files: a process that closes any handle of a file lets go of all its locks on it (POSIX). Then another process takes itself
    for the last one that uses the database and removes its log, and with it what is committed later.

    Raises:
        OSError: it cannot be made.
    """
    with _MAKING:  # nobody in this process may lock the new file before its handle is closed
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return
        os.close(handle)

"""Atomic writes, hashes and the progress protocol."""

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from sporeprint.errors import StorageError

_CREATING = threading.Lock()


def create_private(path: str | Path) -> None:
    """Create a file that its owner alone may read and write; one that is there is not touched.

    Not touched means not even opened: whoever closes a file gives up every lock that his process holds on it, and SQLite's are among
    them. Another process would then take the database for its own, and remove the log that this one goes on writing to.

    Raises:
        OSError: it cannot be created.
    """
    # Alone: a thread that finds the file there could lock it before this one has closed it.
    with _CREATING, contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` on a clean exit and vanishes on any other.

    Raises:
        StorageError: if the folder or file cannot be written (permission, full disk), naming the path.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name no reader looks for, and none that a parallel writer can have.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
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


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write a whole file, or leave what was there.

    Raises:
        StorageError: see `atomic_path`.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


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

"""Atomic writes, hashes, the run lock and the progress protocol: what every step needs at its edge."""

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from sporeprint.errors import BusyError, StorageError


class Progress(Protocol):
    """What a long step tells of itself. The CLI draws it; everything else may ignore it."""

    def total(self, amount: int | None) -> None:
        """Say how much there is to do, in the step's own unit, or None where nobody knows."""

    def advance(self, amount: int) -> None:
        """Say that so much more is done."""

    def text(self, text: str) -> None:
        """Say in a few words what is being done."""


class Silent:
    """Progress for nobody."""

    def total(self, amount: int | None) -> None:
        """Ignore."""

    def advance(self, amount: int) -> None:
        """Ignore."""

    def text(self, text: str) -> None:
        """Ignore."""


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
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
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


@contextlib.contextmanager
def run_lock(workdir: Path) -> Iterator[None]:
    """Hold the work directory for one run. The kernel lets go of it when the process ends, however it ends.

    Raises:
        BusyError: if another run holds it, naming its process.
        StorageError: if the work directory cannot be written.
    """
    path = workdir / ".sporeprint.lock"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"cannot use the work directory {workdir}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
            raise BusyError(f"another run (process {holder}) is writing to {workdir}; wait for it, or use another --workdir") from None
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            raise StorageError(f"cannot use the work directory {workdir}: {error.strerror}") from error
        yield
    finally:
        os.close(handle)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Lock files: held by one process at a time, and released by the kernel when that process ends, however it ends."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sporeprint.common.files import remove_leftovers
from sporeprint.errors import BusyError, StorageError

#: Seconds between two tries for a lock that another process holds.
POLL_S = 0.01


def try_lock(handle: int) -> bool:
    """Lock an open file exclusively without waiting; False where another process holds it. Raises: OSError."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def acquire(path: Path, *, busy: Callable[[str], str], wait_s: float = 0.0) -> int:
    """Lock a file, made where it is not there, and write the number of this process into it.

    Args:
        path: the lock file. Its folder exists.
        busy: the message of the error, from the number of the process that holds the lock.
        wait_s: seconds to wait for that process.

    Returns:
        The open file. Closing it releases the lock.

    Raises:
        BusyError: another process holds the lock for longer than `wait_s`.
        OSError: the file cannot be opened, locked or written.
    """
    until = time.monotonic() + wait_s
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with contextlib.ExitStack() as stack:
            stack.callback(os.close, handle)
            if try_lock(handle):
                # A holder may have removed the file before it released it: then this lock protects nothing.
                if path.exists() and os.fstat(handle).st_ino == path.stat().st_ino:
                    os.ftruncate(handle, os.pwrite(handle, f"{os.getpid()}\n".encode(), 0))
                    stack.pop_all()
                    return handle
                continue
            if time.monotonic() >= until:
                raise BusyError(busy(os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"))
        time.sleep(POLL_S)


@contextlib.contextmanager
def locked(path: Path, *, busy: Callable[[str], str], failure: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold a lock file, and make its folder where it is not there.

    Args:
        path: the lock file.
        busy: see `acquire`.
        failure: beginning of the message where the file cannot be used.
        wait_s: see `acquire`.

    Raises:
        BusyError: see `acquire`.
        StorageError: the file or its folder cannot be made, or the file system has no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = acquire(path, busy=busy, wait_s=wait_s)
    except OSError as error:
        raise StorageError(f"{failure}: {error.strerror or error}") from error
    try:
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def run_lock(workdir: Path) -> Iterator[None]:
    """Hold the work directory for one run, and remove what runs that were killed left of files they were writing.

    Raises:
        BusyError: another run holds it, naming its process.
        StorageError: the work directory cannot be written.
    """

    def busy(holder: str) -> str:
        return f"another run (process {holder}) is writing to {workdir}; wait for it, or use another --workdir"

    with locked(workdir / ".sporeprint.lock", busy=busy, failure=f"cannot use the work directory {workdir}"):
        # Not below all of it: a work directory may be a person's own folder.
        for folder in ("data", "models"):
            remove_leftovers(workdir / folder)
        yield

"""Loads what the command line loads, once, and then becomes each command that it is asked for, by a fork. See `warm_start.py`.

A program of its own and not a fork of pytest: it has one thread, and nothing of a test in it.
"""

import atexit
import contextlib
import fcntl
import gc
import importlib
import io
import json
import multiprocessing
import os
import pkgutil
import re
import runpy
import selectors
import shutil
import signal
import socket
import sys
import threading
import types
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Never

#: What the commands load in their course, beside the modules of the project.
LIBRARIES = (
    *("alembic.command", "alembic.config", "alembic.runtime.migration", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.mysql"),
    *("pymysql", "duckdb", "httpx", "jinja2", "joblib", "xgboost", "rich.traceback", "ruamel.yaml", "multiprocessing.spawn"),
    *("sklearn.tree", "sklearn.linear_model", "sklearn.isotonic", "sklearn.cluster", "scipy.stats", "scipy.special", "scipy.optimize"),
    *("uvicorn.loops.auto", "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl", "apprise"),
)


def load() -> None:
    """Load all modules of the project, and the libraries that they load later.

    Not Arrow, which pandas would load: it takes its memory with its first use, and how much it may take is the limit of some processes.
    """
    import sporeprint

    sys.modules["pandas"] = None  # type: ignore[assignment]  # so marked, it cannot be imported

    for module in pkgutil.walk_packages(sporeprint.__path__, "sporeprint."):
        if not re.search(r"__main__|\.migrations\.", module.name):
            with contextlib.suppress(ModuleNotFoundError):  # of an extra that is not installed
                importlib.import_module(module.name)
    for name in LIBRARIES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    del sys.modules["pandas"]
    from sporeprint.common.optional_dependencies import leave_out

    leave_out("xgboost", "pandas", "sklearn")
    # Most commands read the file that comes with the project; it is parsed once for all of them.
    sporeprint.load_settings(Path(__file__).parents[2] / "config" / "config.yaml", environ={})


def jobs(listener: socket.socket, pytest: int) -> tuple[dict[str, Any], list[int]]:
    """Fork for each request; returns in the processes that are made, with what they shall do and their descriptors.

    A process is killed when nobody is left who could wait for it. `pytest`: a descriptor of the process with which this one ends, and
    with it what it made.
    """
    running: dict[int, socket.socket] = {}
    wakes, woken = socket.socketpair()
    wakes.setblocking(False)
    woken.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken.fileno())
    with selectors.DefaultSelector() as selector:
        for waited in (listener, wakes, pytest):
            selector.register(waited, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj: key.data for key, _ in selector.select()}
            if pytest in ready:  # it has ended
                _leave(listener, running)
            for pid in set(ready.values()) & set(running):
                selector.unregister(running[pid])
                os.kill(pid, signal.SIGKILL)
            if wakes in ready:
                _report(wakes, running, selector)
            if listener not in ready or (request := _request(listener)) is None:
                continue
            connection, job, descriptors = request
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for opened in (listener, wakes, woken, connection, *running.values()):
                    opened.close()
                os.close(pytest)
                return job, descriptors
            for descriptor in descriptors:
                os.close(descriptor)
            running[pid] = connection
            _send(connection, pid)
            selector.register(connection, selectors.EVENT_READ, pid)


def _leave(listener: socket.socket, running: Iterable[int]) -> Never:
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(Path(listener.getsockname()).parent)
    os._exit(0)


def _request(listener: socket.socket) -> tuple[socket.socket, dict[str, Any], list[int]] | None:
    """Who asks, and for what; None where somebody only looks whether there is a starter."""
    connection, _ = listener.accept()
    data, descriptors, _, _ = socket.recv_fds(connection, 65536, 100)
    while data and not data.endswith(b"\n"):
        more = connection.recv(65536)
        data = data + more if more else b""
    if data:
        return connection, json.loads(data), descriptors
    connection.close()
    return None


def _report(wakes: socket.socket, running: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    """Tell whoever waits for a process that has ended how it did."""
    with contextlib.suppress(BlockingIOError):
        wakes.recv(4096)
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as connection:
            if connection.fileno() in selector.get_map():
                selector.unregister(connection)
            _send(connection, status)


def _send(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(ConnectionError):  # nobody waits for it any more
        connection.sendall(b"%d\n" % number)


def become(job: dict[str, Any], descriptors: list[int]) -> None:
    """Make this process what the start of Python would have made."""
    free = max(job["descriptors"]) + 1
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, free) for descriptor in descriptors]  # out of the way of their places
    for descriptor in descriptors:
        os.close(descriptor)
    for descriptor, place in zip(moved, job["descriptors"], strict=True):
        os.dup2(descriptor, place)
        os.close(descriptor)
    if job["new_session"]:
        os.setsid()
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.stdin = _stream(sys.stdin, 0, "r")
    sys.stdout = _stream(sys.stdout, 1, "w")
    sys.stderr = _stream(sys.stderr, 2, "w")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr  # type: ignore[misc]  # as Python's start does
    if options := os.environ.get("PYTHONWARNINGS"):
        sys.warnoptions[:] = options.split(",")
        warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]  # what Python's start does


def _stream(before: Any, number: int, mode: str) -> Any:
    binary: Any = open(number, mode + "b", closefd=False)  # noqa: SIM115 -- a stream that stays
    binary.raw.name = f"<{('stdin', 'stdout', 'stderr')[number]}>"
    by_line = os.isatty(number) or before.line_buffering
    return io.TextIOWrapper(binary, before.encoding, before.errors, line_buffering=by_line, write_through=before.write_through)


def run(arguments: list[str]) -> None:
    """Run what stands after `python` on a command line."""
    kind, *rest = arguments
    if kind == "-m":
        sys.argv, sys.path[:0] = rest, [str(Path.cwd())]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv, sys.path[:0] = ["-c", *rest[1:]], [""]
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(rest[0], main.__dict__)
    else:
        sys.argv, sys.path[:0] = arguments, [str(Path(kind).parent)]
        runpy.run_path(kind, run_name="__main__")


def ended(arguments: list[str]) -> int:
    """Run it to its end; the exit code that Python would give the process."""
    code = 0
    try:
        run(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:  # noqa: BLE001 -- as Python does
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # what the end of Python does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError):  # closed
            stream.flush()
    return code


if __name__ == "__main__":
    sys.path.pop(0)  # the helpers' folder, which a command does not see
    os.chdir("/")
    os.closerange(3, 256)  # what pytest was given and passed on
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        pytest = os.pidfd_open(int(sys.argv[2]))
        print("ready", flush=True)
        os.dup2(0, 1)  # so that whoever listens hears the end
        load()
        # So do the processes that a command starts for its work; `warm_start.py` writes this program.
        multiprocessing.set_executable(str(Path(sys.argv[1]).with_name("python")))
        gc.collect()
        gc.freeze()  # what has been loaded stays shared
        job, descriptors = jobs(listener, pytest)
    become(job, descriptors)
    # Without taking apart all modules, object by object: a second in which nothing happens any more.
    os._exit(ended(job["arguments"]) & 0xFF)

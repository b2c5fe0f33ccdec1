"""Loads what the command line loads, once, and then becomes each command that it is asked for, by a fork. See `warm_start.py`.

A program of its own and not a fork of pytest: it has one thread, and nothing of a test in it.
"""

import atexit
import contextlib
import gc
import importlib
import io
import json
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
from pathlib import Path
from typing import Any

#: What the commands load in their course, beside the modules of the project.
LIBRARIES = (
    *("alembic.command", "alembic.config", "alembic.runtime.migration", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.mysql"),
    *(
        "pymysql",
        "duckdb",
        "pyarrow.parquet",
        "pyarrow.fs",
        "httpx",
        "jinja2",
        "joblib",
        "xgboost",
        "rich.traceback",
        "ruamel.yaml",
        "multiprocessing.spawn",
    ),
    *("sklearn.tree", "sklearn.linear_model", "sklearn.isotonic", "sklearn.cluster", "scipy.stats", "scipy.special", "scipy.optimize"),
    *("uvicorn.loops.auto", "uvicorn.lifespan.on", "uvicorn.protocols.http.httptools_impl", "apprise"),
)


def load() -> None:
    """Load all modules of the project, and the libraries that they load later."""
    import sporeprint

    for module in pkgutil.walk_packages(sporeprint.__path__, "sporeprint."):
        if not re.search(r"__main__|\.migrations\.", module.name):
            with contextlib.suppress(ModuleNotFoundError):  # of an extra that is not installed
                importlib.import_module(module.name)
    for name in LIBRARIES:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    from sporeprint.common.optional_dependencies import leave_out

    leave_out("xgboost", "pandas", "sklearn")


def jobs(listener: socket.socket, pytest: int) -> tuple[dict[str, Any], list[int]]:
    """Fork for each request; returns in the processes that are made, with what they shall do and their three streams.

    `pytest`: a descriptor of the process with which this one ends.
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
            ready = {key.fileobj for key, _ in selector.select()}
            if pytest in ready:  # it has ended
                shutil.rmtree(Path(listener.getsockname()).parent)
                os._exit(0)
            if wakes in ready:
                with contextlib.suppress(BlockingIOError):
                    wakes.recv(4096)
                _report(running)
            if listener not in ready:
                continue
            connection, _ = listener.accept()
            job, streams = _request(connection)
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for opened in (listener, wakes, woken, connection, *running.values()):
                    opened.close()
                os.close(pytest)
                return job, streams
            for stream in streams:
                os.close(stream)
            running[pid] = connection
            _send(connection, pid)


def _request(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    data, streams, _, _ = socket.recv_fds(connection, 65536, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(65536)
    return json.loads(data), streams


def _report(running: dict[int, socket.socket]) -> None:
    """Tell whoever waits how its process ended."""
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as connection:
            _send(connection, status)


def _send(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(ConnectionError):  # nobody waits for it any more
        connection.sendall(b"%d\n" % number)


def become(job: dict[str, Any], streams: list[int]) -> None:
    """Make this process what the start of Python would have made."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    if job["new_session"]:
        os.setsid()
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.stdin = _stream(sys.stdin, 0, "r")
    sys.stdout = _stream(sys.stdout, 1, "w")
    sys.stderr = _stream(sys.stderr, 2, "w")
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    if options := os.environ.get("PYTHONWARNINGS"):
        sys.warnoptions[:] = options.split(",")
        warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]  # what Python's start does


def _stream(before: Any, number: int, mode: str) -> Any:
    is_terminal = os.isatty(number)
    binary = open(number, mode + "b", closefd=False)  # noqa: SIM115 -- a stream that stays
    return io.TextIOWrapper(binary, before.encoding, before.errors, line_buffering=is_terminal or number == 2)


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
    load()
    gc.collect()
    gc.freeze()  # what has been loaded stays shared
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(sys.argv[1])
        listener.listen(64)
        pytest = os.pidfd_open(int(sys.argv[2]))
        print("ready", flush=True)
        os.dup2(0, 1)  # so that whoever listens hears the end
        job, streams = jobs(listener, pytest)
    become(job, streams)
    # Without taking apart all modules, object by object: a second in which nothing happens any more.
    os._exit(ended(job["arguments"]) & 0xFF)

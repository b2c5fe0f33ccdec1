"""Starts and ends the processes that answer."""

import contextlib
import functools
import logging
import multiprocessing
import multiprocessing.process
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from sporeprint.common import telemetry
from sporeprint.common.optional_dependencies import leave_out
from sporeprint.common.workdir import Workdir
from sporeprint.errors import RegistryError, StorageError, StorageUnavailableError, UsageError
from sporeprint.model_serving import model_loader
from sporeprint.model_serving.api import create_app
from sporeprint.model_serving.database import START_S, DatabaseStart
from sporeprint.model_serving.http.authentication import Authenticator, bootstrap_key
from sporeprint.model_serving.http.connections import Connection
from sporeprint.model_serving.runtime.shared_counters import folder_of_server
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings

log = logging.getLogger(__name__)

#: Seconds that answers which are worked on have to finish when the server ends.
GRACE_S = 20
#: Seconds that a worker may be silent before another one takes its place.
SILENT_S = 30
#: Exit code of a worker that could not start, as uvicorn ends it.
STARTUP_FAILURE = 3
#: Connections that wait for a worker to take them.
BACKLOG = 2048


class Server(uvicorn.Server):
    """A server for which a signal to end is the regular end: it is not raised anew afterwards. It says when it answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the application and listen."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server, as long as the context lasts."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Supervisor(Multiprocess):
    """Looks after the workers, and says when all of them answer."""

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], ready: Callable[[], None]) -> None:
        super().__init__(config, sockets)
        self._ready, self._is_ready = ready, False

    def keep_subprocess_alive(self) -> None:
        """Put a new worker in the place of one that ended."""
        super().keep_subprocess_alive()
        if not self._is_ready and not self.should_exit.is_set() and all(process.is_ready() for process in self.processes):
            self._is_ready = True
            self._ready()


@dataclass(frozen=True)
class StartCheck:
    """What is known before a server starts.

    Attributes:
        ref: the version that would serve; None where there is none.
        problem: why there is none.
        has_keys: whether there is an API key, as far as that can be known now.
    """

    ref: str | None
    problem: RegistryError | None
    has_keys: bool


def check(settings: Settings, root: Path, model: str, start: DatabaseStart | None = None) -> StartCheck:
    """Find out whether a server could start, so that what stands in its way is said once, and not by each worker.

    A database that is silent is waited for once, for `START_S`, and that counts for its keys, too. `start`: where it was begun earlier.

    Raises:
        StorageError: if the database has other tables than this version works with.
        ConfigError: if its address is none, or the first key of a container.
    """
    telemetry.requested()
    bootstrap = bootstrap_key(os.environ)
    start = start or DatabaseStart(settings.storage, root)
    access = Authenticator(start.engine, root, exposed=True, rate=0, burst=1, bootstrap=bootstrap)
    ref, problem = None, None
    try:
        ref = Registry(Workdir(root).registry).resolve(model).ref
    except RegistryError as error:
        problem = error
    try:
        start.finish()
        access.refresh_within(START_S)
    except StorageUnavailableError as error:  # answers are kept until it is back
        access.unread(error)
    finally:
        start.engine.dispose()
    return StartCheck(ref, problem, access.any)


def serve(
    settings: Settings, root: Path, *, model: str, host: str, port: int, workers: int, exposed: bool, ready: Callable[[], None]
) -> None:
    """Answer until a signal ends it: then what is worked on is finished, and what was answered is shipped or waits in the journal.

    Args:
        settings: all of them.
        root: the work directory.
        model: what serves.
        host: address to listen on.
        port: port to listen on.
        workers: number of processes that answer.
        exposed: whether other machines can reach it.
        ready: is called once, as soon as it answers.

    Raises:
        UsageError: if the port is taken.
        StorageError: if a worker could not start.
    """
    allow_files()
    _say_what_serves()
    with closing(listening(host, port)) as sock, folder_of_server(Workdir(root).serving) as counts:
        config = uvicorn.Config(
            functools.partial(_worker, settings, root, model, exposed, counts),
            factory=True,
            workers=workers,
            backlog=BACKLOG,
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=bool(settings.serving.trusted_proxies),
            forwarded_allow_ips=list(settings.serving.trusted_proxies),
            http=Connection,
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
            timeout_worker_healthcheck=SILENT_S,
        )
        if workers > 1:
            supervisor = Supervisor(config, [sock], ready)
            supervisor.run()
            if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
                raise StorageError("a worker could not start; what it says above tells why")
            return
        server = Server(config, ready)
        server.run([sock])
        if not server.started:
            raise StorageError("the server could not start; --verbose shows why")


def _worker(settings: Settings, root: Path, model: str, exposed: bool, counts: Path | None) -> FastAPI:
    """The application of one process."""
    if (parent := multiprocessing.parent_process()) is not None:
        _log_to_stderr()
        threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    leave_out("xgboost", "pandas", "sklearn")  # batches and reasons need it; a server holds it for good
    return create_app(settings, root, model=model, exposed=exposed, counts=counts)


def _log_to_stderr() -> None:
    """In a process of its own nothing is set up for what the server has to say."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: worker %(process)d: %(message)s"))
    logger = logging.getLogger("sporeprint")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.WARNING)
    _say_what_serves()


def _say_what_serves() -> None:
    """Let through, beside warnings, that another version serves now."""
    logging.getLogger(model_loader.__name__).setLevel(logging.INFO)


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """End in the regular way when the process that looks after this one is gone: nobody would replace it, or could end it."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def allow_files() -> None:
    """Let this process and its workers have as many files and connections open as the system lets them."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # then it is what it was
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound: a port that is taken is found out before anything is loaded.

    Raises:
        UsageError: if it is taken, or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; name another one with --port") from None
    sock.set_inheritable(True)
    return sock

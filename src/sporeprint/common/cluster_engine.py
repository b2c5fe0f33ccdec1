"""Tasks on a cluster, whatever runs it: an engine of one primitive, which calls a function with numbers on workers.

Tasks are read from a folder of the share, where they also read and write tables, so driver and workers must see it under the same path.
"""

import pickle
import socket
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from sporeprint.errors import ConfigError, SourceUnavailableError

Task = TypeVar("Task")
Result = TypeVar("Result")

#: What tasks need beside Python: packages of one version everywhere.
PACKAGES = ("numpy", "polars", "pyarrow", "pydantic", "sporeprint", "xgboost")
#: Seconds in which a scheduler must take a connection.
CONNECT_S = 5.0


@dataclass(frozen=True)
class WorkerReport:
    """What a worker says of itself.

    Attributes:
        host: its name.
        python: version and place of its Python.
        packages: of `PACKAGES`, the versions; None: not there.
        sees_share: whether it sees a file that the driver wrote to the share.
    """

    host: str
    python: str
    packages: dict[str, str | None]
    sees_share: bool


@dataclass(frozen=True, kw_only=True)
class ClusterEngine(ABC):
    """An engine, as `sporeprint.common.engine.Engine` says.

    Attributes:
        workers: tasks that run at once.
        share: a folder that driver and workers see.
        host: the address of the driver on the network of the workers.
        reports: of the workers, from when the session began.
    """

    workers: int
    share: Path
    host: str
    reports: tuple[WorkerReport, ...] = ()

    @abstractmethod
    def run(self, work: Callable[[int], bytes], tasks: int, *, at_once: bool = False) -> dict[int, bytes]:
        """What a function returns for the numbers from 0, by number. It is sent by value, to where sporeprint may be missing.

        Args:
            work: the function.
            tasks: how many numbers.
            at_once: whether all must run at the same time.

        Raises:
            ConfigError: the cluster lacks what the function needs.
            RetryableError: workers were lost.
        """

    @property
    def nodes(self) -> int:
        """See `Engine`: a process on each core."""
        return self.workers

    def map(self, work: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """See `Engine`. An error of `work` that says what is wrong with the data comes back as it is; any other is tried again."""
        return self._results(work, tasks, at_once=False)

    def together(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """See `Engine`: a barrier."""
        return list(self._results(work, tasks, at_once=True))

    def _results(self, work: Callable[[Task], Result], tasks: Iterable[Task], *, at_once: bool) -> Iterator[Result]:
        with tempfile.TemporaryDirectory(prefix=".tasks-", dir=self.share, ignore_cleanup_errors=True) as folder:
            Path(folder, "work").write_bytes(pickle.dumps(work))
            count = 0
            for count, task in enumerate(tasks, 1):
                Path(folder, f"{count - 1}.task").write_bytes(pickle.dumps(task))
            Path(folder).chmod(0o755)
            outcomes = self.run(_runner(folder, at_once=at_once), count, at_once=at_once)
        for number in range(count):
            outcome = pickle.loads(outcomes[number])  # noqa: S301 -- what this run's own tasks wrote
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome

    def check(self, resources: str, start_s: float, *, began: float) -> tuple[WorkerReport, ...]:
        """What the workers say of themselves, so many seconds after the start at the latest.

        Args:
            resources: what the cluster must have free, in words, and the settings that say so.
            start_s: how long it has.
            began: when that began, by the monotonic clock.

        Raises:
            ConfigError: no worker has started, or one has another Python, lacks a package or has another version, or does not see the
                share; it is named.
        """
        try:
            with tempfile.NamedTemporaryFile(prefix=".seen-", dir=self.share) as sign:
                # A job that waits for executors cannot be cancelled before Spark has it; it ends with the session.
                answers = result_by(began + start_s, partial(self.run, _probe(sign.name), self.workers))
                reports = tuple(WorkerReport(*pickle.loads(each)) for each in answers.values())  # noqa: S301 -- of this run's own probes
        except TimeoutError:
            raise ConfigError(
                f"no executor has started and answered in {start_s:.0f} s; {resources}: "
                "has any worker of the cluster as much free? A busy cluster needs longer: engine.start_s"
            ) from None
        for report in reports:
            refuse_unlike(report, self.share)
        return reports


def refuse_unlike(report: WorkerReport, share: Path) -> None:
    """Refuse a worker on which tasks would fail, or do something else.

    Raises:
        ConfigError: see `ClusterEngine.check`.
    """
    mine = versions()
    for name, version in report.packages.items():
        if version == mine[name]:
            continue
        if version is None:
            raise ConfigError(
                f"the worker {report.host} has no {name} in its Python ({report.python}); install there what is installed here"
            )
        raise ConfigError(f"the worker {report.host} has {name} {version}, here is {mine[name]}; install the same version on both")
    if not report.sees_share:
        raise ConfigError(
            f"the worker {report.host} does not see the work directory {share}; "
            "put it on a share that every worker mounts under the same path"
        )


def versions() -> dict[str, str | None]:
    """The versions of `PACKAGES` here; None: not there."""
    return _probe_packages()(PACKAGES)


def _probe_packages() -> Callable[[Sequence[str]], dict[str, str | None]]:
    """A function that needs nothing of sporeprint: it is sent by value, to where sporeprint may be missing."""

    def versions_of(names: Sequence[str]) -> dict[str, str | None]:
        import contextlib
        import importlib.metadata
        import importlib.util

        result: dict[str, str | None] = {}
        for name in names:
            result[name] = None if importlib.util.find_spec(name) is None else "of a source tree"
            # XGBoost is brought by either; whose it is among all distributions takes a fifth of a second to find.
            for distribution in (f"{name}-cpu", name):
                with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                    if result[name] is not None:
                        result[name] = importlib.metadata.version(distribution)
        return result

    return versions_of


# Functions within functions are sent to workers by value.


def _probe(sign: str) -> Callable[[int], bytes]:
    versions_of, names = _probe_packages(), PACKAGES

    def run(_: int) -> bytes:
        import pickle
        import socket
        import sys
        from pathlib import Path

        python = f"{sys.version.split()[0]} at {sys.executable}"
        return pickle.dumps((socket.gethostname(), python, versions_of(names), Path(sign).exists()))

    return run


def _runner(folder: str, *, at_once: bool) -> Callable[[int], bytes]:
    def run(number: int) -> bytes:
        import os
        import pickle
        from pathlib import Path

        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # a task has one core; Polars would start a thread for each of the machine's

        from threadpoolctl import threadpool_limits

        from sporeprint.errors import RetryableError, SporeprintError

        # What the driver of this run wrote.
        work, task = (pickle.loads(Path(folder, name).read_bytes()) for name in ("work", f"{number}.task"))  # noqa: S301
        begun = Path(folder, f"{number}.begun")
        try:
            if at_once and begun.exists():
                # A stage that Spark repeats would wait for processes of the first attempt: whoever runs it begins anew.
                raise RetryableError("an executor was lost, and with it tasks that run at once; run it again")
            begun.touch()
            with threadpool_limits(1, "blas"):  # so sums are of one order everywhere
                outcome = work(task)
        except SporeprintError as error:
            outcome = error
        return pickle.dumps(outcome)

    return run


def result_by(moment: float, call: Callable[[], Result]) -> Result:
    """What a function returns until a moment of the monotonic clock; it has a second at least.

    A call that takes longer goes on in a thread of its own, which keeps no process from ending.

    Raises:
        TimeoutError: it has not returned by then.
    """
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 -- raised again where the result is taken
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future.result(max(1.0, moment - time.monotonic()))


def own_address(host: str, port: int, what: str) -> str:
    """The address under which this machine reaches a host.

    Raises:
        SourceUnavailableError: nothing listens there; `what` is what does not.
    """
    try:
        with socket.create_connection((host, port), CONNECT_S) as connection:
            return str(connection.getsockname()[0])
    except OSError as error:
        raise SourceUnavailableError(f"no {what}: {error.strerror or error}; is it running?") from error


def reason_of(error: Exception) -> str:
    """The first line of what an error says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]

"""Tasks on a Spark cluster, classic or Spark Connect. The one file that knows PySpark.

Spark starts Python where there is room, tries again what was lost, and brings back small results; no row passes through its JVM. Tasks are
read from a folder of the share, where they also read and write tables, so driver and workers must see it under the same path.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import re
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sporeprint.common.optional_dependencies import Lazy
from sporeprint.errors import ConfigError, RetryableError, SourceUnavailableError

if TYPE_CHECKING:
    import pyspark.sql as spark_sql
else:
    spark_sql = Lazy("pyspark.sql")

Task = TypeVar("Task")
Result = TypeVar("Result")

#: What tasks need beside Python: packages of one version everywhere.
PACKAGES = ("numpy", "polars", "pyarrow", "pydantic", "sporeprint", "xgboost")
#: What Spark knows as a cluster.
MASTERS = r"spark://[^/,:;]+:\d+.*|sc://[^/,:;]+.*|local(\[.+\])?|yarn|k8s://.+"
#: Seconds in which a master must take a connection.
CONNECT_S = 5.0
#: What a result of `mapInArrow` is.
_COLUMNS = "task bigint, result binary"


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


@contextlib.contextmanager
def spark_engine(master: str, workers: int, memory: str, share: Path, *, start_s: float) -> Iterator[SparkEngine]:
    """A session on a cluster that has answered, for as long as the block runs.

    Args:
        master: its address.
        workers: tasks that run at once.
        memory: of each executor's JVM, as Spark writes it.
        share: a folder that driver and workers see under the same path.
        start_s: how long Spark and the cluster have to start and answer.

    Raises:
        MissingExtraError: PySpark or Java is not installed.
        SourceUnavailableError: nothing answers at that address.
        ConfigError: it is no address; or what the workers lack, see `SparkEngine.check`.
    """
    began = time.monotonic()
    host = _reach(master)
    session = _session(master, workers, memory)
    try:
        engine = SparkEngine(session, workers, share.absolute(), host)
        yield replace(engine, reports=engine.check(f"{workers} x 1 core with {memory}", start_s, began=began))
    finally:
        session.stop()


def _reach(master: str) -> str:
    """The address under which this machine reaches a master. Where nobody listens it is refused: Spark itself would try for minutes."""
    if re.fullmatch(MASTERS, master) is None:
        raise ConfigError(
            f"engine.master {master!r} is no address of a cluster; "
            "expected spark://HOST:PORT, sc://HOST:PORT, local[N], yarn or k8s://HOST:PORT"
        )
    match = re.fullmatch(r"(?:spark|sc)://([^/,:;]+):(\d+).*", master)
    if match is None:
        return "127.0.0.1"
    try:
        with socket.create_connection((match[1], int(match[2])), CONNECT_S) as connection:
            return str(connection.getsockname()[0])
    except OSError as error:
        raise SourceUnavailableError(f"no Spark master answers at {master}: {error.strerror or error}; is it running?") from error


def _session(master: str, workers: int, memory: str) -> spark_sql.SparkSession:
    # PySpark asks for it and says so of each task; no row of this engine meets it.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    logging.getLogger().addFilter(is_ours)
    os.environ["PYSPARK_PYTHON"] = os.environ.get("PYSPARK_PYTHON") or sys.executable
    builder = spark_sql.SparkSession.builder.appName("sporeprint")
    if master.startswith("sc://"):
        return builder.remote(master).getOrCreate()
    options = {
        "spark.executor.cores": 1,
        "spark.cores.max": workers,
        "spark.executor.memory": memory,
        "spark.executorEnv.PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "spark.sql.artifact.isolation.enabled": "false",
        "spark.task.maxFailures": 4,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    if re.match(r"spark://(127\.|localhost)", master):
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    for name, value in options.items():
        builder = builder.config(name, value)
    try:
        session = builder.master(master).getOrCreate()
    except Exception as error:  # PySpark's own errors, py4j's and Java's: the session did not start, and each says why
        raise SourceUnavailableError(f"Spark did not start on {master}: {_reason(error)}") from error
    session.sparkContext.setLogLevel("OFF")
    return session


def is_ours(record: logging.LogRecord) -> bool:
    """Whether a message of the root logger is to be seen: Py4J writes a traceback there when somebody interrupts a run."""
    return "while sending command" not in record.getMessage()


@dataclass(frozen=True)
class SparkEngine:
    """An engine, as `sporeprint.common.engine.Engine` says.

    Attributes:
        session: of Spark.
        workers: tasks that run at once.
        share: a folder that driver and workers see.
        host: the address of the driver on the network of the workers.
        reports: of the workers, from when the session began.
    """

    session: Any
    workers: int
    share: Path
    host: str
    reports: tuple[WorkerReport, ...] = ()

    @property
    def nodes(self) -> int:
        """See `Engine`: a process on each core."""
        return self.workers

    def map(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """See `Engine`. An error of `work` that says what is wrong with the data comes back as it is; any other is tried again."""
        return self._results(work, tasks, at_once=False)

    def together(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
        """See `Engine`: a barrier."""
        return list(self._results(work, tasks, at_once=True))

    def write_table(self, name: str, folder: Path) -> None:
        """Write a table of a catalogue as Parquet files into a folder of the share, in place of what is there; workers write them.

        Raises:
            SourceUnavailableError: there is no such table, or it cannot be read or written.
        """
        try:
            self.session.table(name).write.mode("overwrite").parquet(folder.absolute().as_uri())
        except Exception as error:  # see `_run`
            raise SourceUnavailableError(f"Spark cannot read the table {name}: {_reason(error)}") from error

    def _results(self, work: Callable[[Task], Result], tasks: Sequence[Task], *, at_once: bool) -> Iterator[Result]:
        with tempfile.TemporaryDirectory(prefix=".tasks-", dir=self.share, ignore_cleanup_errors=True) as folder:
            Path(folder, "work").write_bytes(pickle.dumps(work))
            for number, task in enumerate(tasks):
                Path(folder, f"{number}.task").write_bytes(pickle.dumps(task))
            Path(folder).chmod(0o755)
            outcomes = self._run(_runner(folder, at_once=at_once), len(tasks), at_once=at_once)
        for number in range(len(tasks)):
            outcome = outcomes[number]
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome

    def _run(self, run: Callable[[Iterable[Any]], Iterator[Any]], tasks: int, *, at_once: bool = False) -> dict[int, Any]:
        try:
            rows = self.session.range(0, tasks, 1, tasks).mapInArrow(run, _COLUMNS, barrier=at_once).collect()
        except Exception as error:  # PySpark's own errors, py4j's and gRPC's have no common base
            raise _failure(error) from error
        return {row["task"]: pickle.loads(row["result"]) for row in rows}  # noqa: S301 -- what this run's own tasks wrote

    def check(self, resources: str, start_s: float, *, began: float) -> tuple[WorkerReport, ...]:
        """What the workers say of themselves, so many seconds after the start at the latest.

        Raises:
            ConfigError: no executor has started, or one has another Python, lacks a package or has another version, or does not see the
                share; it is named.
        """
        pool = ThreadPoolExecutor(1)
        try:
            with tempfile.NamedTemporaryFile(prefix=".seen-", dir=self.share) as sign:
                answer = pool.submit(self._run, _probe(sign.name), self.workers)
                reports = tuple(WorkerReport(*each) for each in answer.result(max(1.0, began + start_s - time.monotonic())).values())
        except TimeoutError:
            raise ConfigError(
                f"no executor has started and answered in {start_s:.0f} s; {resources} were asked for (engine.workers, "
                "engine.executor_memory): has any worker of the cluster as much free? A busy cluster needs longer: engine.start_s"
            ) from None
        finally:
            # A job that waits for executors cannot be cancelled before Spark has it; it ends with the session.
            pool.shutdown(wait=False)
        for report in reports:
            refuse_unlike(report, self.share)
        return reports


def refuse_unlike(report: WorkerReport, share: Path) -> None:
    """Refuse a worker on which tasks would fail, or do something else.

    Raises:
        ConfigError: see `SparkEngine.check`.
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
        import importlib.metadata
        import importlib.util

        result: dict[str, str | None] = {}
        for name in names:
            if importlib.util.find_spec(name) is None:
                result[name] = None
                continue
            try:
                result[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:  # as xgboost is, of the distribution xgboost-cpu
                owners = importlib.metadata.packages_distributions().get(name)
                result[name] = importlib.metadata.version(owners[0]) if owners else "of a source tree"
        return result

    return versions_of


def _probe(sign: str) -> Callable[[Iterable[Any]], Iterator[Any]]:
    versions_of, names = _probe_packages(), PACKAGES

    def run(batches: Iterable[Any]) -> Iterator[Any]:
        import pickle
        import socket
        import sys
        from pathlib import Path

        import pyarrow as pa

        for batch in batches:
            for number in batch.column(0).to_pylist():
                python = f"{sys.version.split()[0]} at {sys.executable}"
                report = pickle.dumps((socket.gethostname(), python, versions_of(names), Path(sign).exists()))
                yield pa.RecordBatch.from_pydict({"task": [number], "result": [report]})

    return run


def _runner(folder: str, *, at_once: bool) -> Callable[[Iterable[Any]], Iterator[Any]]:
    def run(batches: Iterable[Any]) -> Iterator[Any]:
        import os
        import pickle
        from pathlib import Path

        import pyarrow as pa

        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # a task has one core; Polars would start a thread for each of the machine's

        from sporeprint.errors import RetryableError, SporeprintError

        for batch in batches:
            for number in batch.column(0).to_pylist():
                # What the driver of this run wrote.
                work, task = (pickle.loads(Path(folder, name).read_bytes()) for name in ("work", f"{number}.task"))  # noqa: S301
                begun = Path(folder, f"{number}.begun")
                try:
                    if at_once and begun.exists():
                        # A stage that Spark repeats would wait for processes of the first attempt: whoever runs it begins anew.
                        raise RetryableError("an executor was lost, and with it tasks that run at once; run it again")
                    begun.touch()
                    outcome = work(task)
                except SporeprintError as error:
                    outcome = error
                yield pa.RecordBatch.from_pydict({"task": [number], "result": [pickle.dumps(outcome)]})

    return run


#: What Spark says -> what it means for whoever runs this.
_CAUSES = {
    "PYTHON_VERSION_MISMATCH": "the workers have another Python than the driver; set PYSPARK_PYTHON to one of its version on every worker",
    "Cannot run program": "the workers do not have the driver's Python; set PYSPARK_PYTHON to one that is on every worker",
    "No module named": "the workers' Python lacks a package; install there what is installed here",
    "PACKAGE_NOT_INSTALLED": "PySpark lacks a package; install it with: pip install 'sporeprint[spark]'",
}


def _failure(error: Exception) -> ConfigError | RetryableError:
    text = str(error)
    for sign, meaning in _CAUSES.items():
        if sign in text:
            line = next((line.strip() for line in text.splitlines() if sign in line), "")
            return ConfigError(f"{meaning} ({line[:200]})")
    return RetryableError(f"the cluster gave up a task; run it again: {_reason(error)}")


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]

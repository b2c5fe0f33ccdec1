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
    import pyspark
    import pyspark.sql as spark_sql
else:
    pyspark, spark_sql = Lazy("pyspark"), Lazy("pyspark.sql")

Task = TypeVar("Task")
Result = TypeVar("Result")

#: What tasks need beside Python: packages of one version everywhere.
PACKAGES = ("numpy", "polars", "pyarrow", "pydantic", "sporeprint", "xgboost")
#: What Spark knows as a cluster.
MASTERS = r"spark://[^/,:;]+:\d+.*|sc://[^/,:;]+.*|local(\[.+\])?|yarn|k8s://.+"
#: Seconds in which a master must take a connection.
CONNECT_S = 5.0
#: For JVMs that live for minutes and see no row: they compile less, and start fewer threads. Of a collector it says nothing; one that
#: somebody chose beside these would be refused by Java as a second one.
JAVA = "-XX:TieredStopAtLevel=1 -XX:ActiveProcessorCount=1 -Xshare:auto"
#: What a result of `mapInArrow` is, which Spark Connect is asked for.
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


def _session(master: str, workers: int, memory: str) -> spark_sql.SparkSession | pyspark.SparkContext:
    """What runs tasks. Without Connect it is Spark's core alone: with its SQL, driver and executors take twice as long to begin."""
    # PySpark asks for it and says so of each task; no row of this engine meets it.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    logging.getLogger().addFilter(is_ours)
    os.environ["PYSPARK_PYTHON"] = os.environ.get("PYSPARK_PYTHON") or sys.executable
    if master.startswith("sc://"):
        return spark_sql.SparkSession.builder.appName("sporeprint").remote(master).getOrCreate()
    options = {
        "spark.app.name": "sporeprint",
        "spark.master": master,
        "spark.executor.cores": str(1),
        "spark.cores.max": str(workers),
        "spark.executor.memory": memory,
        "spark.executorEnv.PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "spark.sql.artifact.isolation.enabled": "false",
        "spark.task.maxFailures": str(4),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **java_options(master, Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)),
    }
    if re.match(r"spark://(127\.|localhost)", master):
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    try:
        context = pyspark.SparkContext.getOrCreate(pyspark.SparkConf().setAll(list(options.items())))
    except Exception as error:  # PySpark's own errors, py4j's and Java's: the session did not start, and each says why
        raise SourceUnavailableError(f"Spark did not start on {master}: {_reason(error)}") from error
    context.setLogLevel("OFF")
    return context


def java_options(master: str, spark_home: Path) -> dict[str, str]:
    """Options of Spark that start its JVMs with `JAVA`; without those that this machine's configuration of Spark or the environment names.

    Spark puts them before `extraJavaOptions`, so what those say holds.
    """
    defaults = Path(os.environ.get("SPARK_CONF_DIR") or spark_home / "conf", "spark-defaults.conf")
    named = (defaults.read_text(errors="replace") if defaults.is_file() else "") + os.environ.get("PYSPARK_SUBMIT_ARGS", "")
    kinds = ("executor",) if master.startswith("local") else ("driver", "executor")  # local[*] counts the processors of the driver
    return {option: JAVA for kind in kinds if (option := f"spark.{kind}.defaultJavaOptions") not in named}


def is_ours(record: logging.LogRecord) -> bool:
    """Whether a message of the root logger is to be seen: Py4J writes a traceback there when somebody interrupts a run."""
    return "while sending command" not in record.getMessage()


@dataclass(frozen=True)
class SparkEngine:
    """An engine, as `sporeprint.common.engine.Engine` says.

    Attributes:
        session: of Spark Connect, or the context of Spark.
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
            session = self.session if hasattr(self.session, "table") else spark_sql.SparkSession(self.session)
            session.table(name).write.mode("overwrite").parquet(folder.absolute().as_uri())
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

    def _run(self, run: Callable[[int], bytes], tasks: int, *, at_once: bool = False) -> dict[int, Any]:
        try:
            if hasattr(self.session, "parallelize"):
                numbers = self.session.parallelize(range(tasks), tasks)
                found = (numbers.barrier() if at_once else numbers).mapPartitions(_each(run)).collect()
            else:
                found = self.session.range(0, tasks, 1, tasks).mapInArrow(_each_in_arrow(run), _COLUMNS, barrier=at_once).collect()
        except Exception as error:  # PySpark's own errors, py4j's and gRPC's have no common base
            raise _failure(error) from error
        return {number: pickle.loads(result) for number, result in found}  # noqa: S301 -- what this run's own tasks wrote

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


def _each(run: Callable[[int], bytes]) -> Callable[[Iterable[int]], Iterator[tuple[int, bytes]]]:
    def each(numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        return ((number, run(number)) for number in numbers)

    return each


def _each_in_arrow(run: Callable[[int], bytes]) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """For Spark Connect, which knows tables alone."""

    def each(batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield pa.RecordBatch.from_pydict({"task": [number], "result": [run(number)]})

    return each


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

        from sporeprint.errors import RetryableError, SporeprintError

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
        return pickle.dumps(outcome)

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

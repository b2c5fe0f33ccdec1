"""Tasks on a Spark cluster, classic or Spark Connect. The one file that knows PySpark.

Spark starts Python where there is room, tries again what was lost, and brings back small results; no row passes through its JVM.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sporeprint.common.cluster_engine import ClusterEngine, own_address, reason_of, result_by
from sporeprint.common.optional_dependencies import Lazy
from sporeprint.errors import ConfigError, MissingExtraError, RetryableError, SourceUnavailableError

if TYPE_CHECKING:
    import pyspark
    import pyspark.sql as spark_sql
else:
    pyspark, spark_sql = Lazy("pyspark"), Lazy("pyspark.sql")

#: What Spark knows as a cluster.
MASTERS = r"spark://[^/,:;]+:\d+.*|sc://[^/,:;]+.*|local(\[.+\])?|yarn|k8s://.+"
#: For JVMs that live for minutes and see no row: they compile less, and start fewer threads. Of a collector it says nothing; one that
#: somebody chose beside these would be refused by Java as a second one.
JAVA = "-XX:TieredStopAtLevel=1 -XX:ActiveProcessorCount=1 -Xshare:auto"
#: What a result of `mapInArrow` is, which Spark Connect is asked for.
_COLUMNS = "task bigint, result binary"


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
        MissingExtraError: PySpark is not installed.
        SourceUnavailableError: no Spark answers at that address.
        ConfigError: it is no address; PySpark lacks Java or a package; or what the workers lack, see `SparkEngine.check`.
    """
    began = time.monotonic()
    host = _reach(master)
    try:
        session = result_by(began + start_s, partial(_session, master, workers, memory))
    except TimeoutError:
        raise SourceUnavailableError(
            f"Spark did not start on {master} in {start_s:.0f} s: does a Spark master answer there? "
            "A busy machine needs longer: engine.start_s"
        ) from None
    try:
        engine = SparkEngine(session=session, workers=workers, share=share.absolute(), host=host)
        need = f"{workers} x 1 core with {memory} were asked for (engine.workers, engine.executor_memory)"
        yield replace(engine, reports=engine.check(need, start_s, began=began))
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
    return "127.0.0.1" if match is None else own_address(match[1], int(match[2]), f"Spark master answers at {master}")


def _session(master: str, workers: int, memory: str) -> spark_sql.SparkSession | pyspark.SparkContext:
    """What runs tasks. Without Connect it is Spark's core alone: with its SQL, driver and executors take twice as long to begin."""
    # PySpark asks for it and says so of each task; no row of this engine meets it.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    logging.getLogger().addFilter(is_ours)
    os.environ["PYSPARK_PYTHON"] = os.environ.get("PYSPARK_PYTHON") or sys.executable
    try:
        if master.startswith("sc://"):
            return spark_sql.SparkSession.builder.appName("sporeprint").remote(master).getOrCreate()
        context = pyspark.SparkContext.getOrCreate(pyspark.SparkConf().setAll(list(_options(master, workers, memory).items())))
    except MissingExtraError:
        raise
    except Exception as error:  # PySpark's own errors, py4j's, gRPC's and Java's: the session did not start, and each says why
        if isinstance(failure := _failure(error), ConfigError):
            raise failure from error
        raise SourceUnavailableError(f"Spark did not start on {master}: {_reason(error)}") from error
    context.setLogLevel("OFF")
    return context


def _options(master: str, workers: int, memory: str) -> dict[str, str]:
    options = {
        "spark.app.name": "sporeprint",
        "spark.master": master,
        "spark.executor.cores": "1",
        "spark.cores.max": str(workers),
        "spark.executor.memory": memory,
        "spark.executorEnv.PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "spark.sql.artifact.isolation.enabled": "false",
        "spark.task.maxFailures": "4",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **java_options(master, Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)),
    }
    if re.match(r"spark://(127\.|localhost)", master):
        options |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    return options


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


@dataclass(frozen=True, kw_only=True)
class SparkEngine(ClusterEngine):
    """Tasks of Spark; those that run at once are a barrier.

    Attributes:
        session: of Spark Connect, or the context of Spark.
    """

    session: Any

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

    def run(self, work: Callable[[int], bytes], tasks: int, *, at_once: bool = False) -> dict[int, bytes]:
        """See `ClusterEngine`."""
        try:
            if hasattr(self.session, "parallelize"):
                numbers = self.session.parallelize(range(tasks), tasks)
                results = (numbers.barrier() if at_once else numbers).mapPartitions(_each(work)).collect()
            else:
                results = self.session.range(0, tasks, 1, tasks).mapInArrow(_each_in_arrow(work), _COLUMNS, barrier=at_once).collect()
        except Exception as error:  # PySpark's own errors, py4j's and gRPC's have no common base
            raise _failure(error) from error
        return dict(map(tuple, results))


def _each(work: Callable[[int], bytes]) -> Callable[[Iterable[int]], Iterator[tuple[int, bytes]]]:
    def each(numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        return ((number, work(number)) for number in numbers)

    return each


def _each_in_arrow(work: Callable[[int], bytes]) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """For Spark Connect, which knows tables alone."""

    def each(batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield pa.RecordBatch.from_pydict({"task": [number], "result": [work(number)]})

    return each


#: What Spark says -> what it means for whoever runs this.
_CAUSES = {
    "PYTHON_VERSION_MISMATCH": "the workers have another Python than the driver; set PYSPARK_PYTHON to one of its version on every worker",
    "Cannot run program": "the workers do not have the driver's Python; set PYSPARK_PYTHON to one that is on every worker",
    "No module named": "the workers' Python lacks a package; install there what is installed here",
    "JAVA_GATEWAY_EXITED": "Java did not start here; Spark needs Java 17 or newer, on the path or in JAVA_HOME",
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
    """Py4J's first line names the method that it called; what went wrong there stands after it."""
    first, _, rest = str(error).partition("\n: ")
    return reason_of(error) if not rest or not first.startswith("An error occurred while calling") else reason_of(RuntimeError(rest))

"""A real Spark cluster on loopback: a master and two workers, each a process of its own."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from free_ports import free_port

ROOT = Path(__file__).resolve().parents[2]
#: Small JVMs that compile little: they live for a minute.
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"
#: Java says on its output where classes do not fit, and Spark reads the output of Java.
QUIET = "-Xlog:disable -Xlog:all=error:stderr"
#: Loads the classes of a master, a worker, a driver and an executor.
LOADS = """
from pyspark import SparkConf, SparkContext
for master in ("local-cluster[1,1,1024]", "local[1]"):
    context = SparkContext(conf=SparkConf().setMaster(master).set("spark.ui.enabled", "false"))
    numbers = context.parallelize(range(2), 1)
    numbers.mapPartitions(list).collect()
    numbers.barrier().mapPartitions(list).collect()
    context.stop()
"""
#: Seconds of a command of a session.
LONGEST_S = 400
#: Runs commands, a line each, until one fails. What they ask of a cluster they ask of one session: Java and executors start once.
RUNS = """
import json, sys
from pyspark import SparkContext
from sporeprint.cli.app import run
stop = SparkContext.stop
SparkContext.stop = lambda context: context.master.startswith("spark:") or stop(context)
for line in sys.stdin:
    if code := run(json.loads(line)):
        sys.exit(code)
    print("ended", flush=True)
"""


@dataclass(frozen=True)
class SparkCluster:
    """Where the master listens, and what a driver needs around it."""

    master: str
    environment: dict[str, str]

    def driver(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """`sporeprint` with PySpark beside it, started."""
        command = [sys.executable, "-m", "sporeprint", *arguments]
        return subprocess.Popen(
            command, env={**self.environment, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
        )

    def session(self) -> "subprocess.Popen[str]":
        """A process that runs the commands which `then` gives it, one after the other; it ends with the first that fails."""
        command = [sys.executable, "-c", RUNS]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=ROOT)

    def run(self, *arguments: str, timeout: float | None = 300, **environment: str) -> tuple[int, str, str]:
        """`sporeprint` with PySpark beside it: exit code, what it wrote, and its errors."""
        with self.driver(*arguments, **environment) as process:
            out, errors = process.communicate(timeout=timeout)
        return process.returncode, out, errors


def then(session: "subprocess.Popen[str]", *arguments: str) -> None:
    """What a session shall run next."""
    assert session.stdin is not None
    session.stdin.write(f"{json.dumps(arguments)}\n")
    session.stdin.flush()


def has_ended(session: "subprocess.Popen[str]") -> bool:
    """Whether the next command of a session has ended well, once it has ended; a session that takes too long is killed."""
    assert session.stdout is not None
    limit = threading.Timer(LONGEST_S, session.kill)
    limit.start()
    try:
        return "ended\n" in session.stdout
    finally:
        limit.cancel()


def executors() -> list[int]:
    """Process ids of the executors of this user's clusters below this process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with_cluster = path.parent / "environ"
        try:
            if b"CoarseGrainedExecutorBackend" in path.read_bytes() and MARK.encode() in with_cluster.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


#: In the environment of all processes of this run's cluster.
MARK = f"TEST_CLUSTER_OF={os.getpid()}"


@contextmanager
def spark_cluster(python: Path, folder: Path, *, beside: Path | None = None, hidden: Path | None = None) -> Iterator[SparkCluster]:
    """A cluster for as long as the block runs.

    Args:
        python: of the environment with PySpark.
        folder: for its logs, and what executors write.
        beside: further packages for drivers; None: none.
        hidden: a folder that workers see empty, as one that they do not mount; needs root. None: they see all.
    """
    packages = next((python.parents[1].resolve() / "lib").glob("python3.*/site-packages"))
    (found := folder / "pyspark").mkdir()
    for name in ("pyspark", "py4j"):
        (found / name).symlink_to(packages / name)
    path = os.pathsep.join(map(str, (found, ROOT / "src", *([] if beside is None else [beside]))))
    name, _, value = MARK.partition("=")
    environment = {
        **os.environ,
        name: value,
        "SPARK_HOME": str(packages / "pyspark"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_NO_DAEMONIZE": "1",
        "SPARK_DAEMON_JAVA_OPTS": JAVA,
        "SPARK_MASTER_OPTS": "-Dspark.master.rest.enabled=false",
    }
    environment["JAVA_TOOL_OPTIONS"] = f"-XX:SharedArchiveFile={_classes(python, environment, folder)} -Xshare:auto {QUIET}"
    with ExitStack() as stack:
        master = _started(
            stack, environment, folder / "master.log", "deploy.master.Master", "--host", "127.0.0.1", "--port", "0", "--webui-port", "0"
        )
        address = _logged(master, folder / "master.log", r"Starting Spark master at (spark://127\.0\.0\.1:\d+)")
        workers = []
        for number in range(2):
            log = folder / f"worker{number}.log"
            work = ("--cores", "1", "--memory", "1g", "--webui-port", "0", "--work-dir", str(folder / f"work{number}"))
            program = ("deploy.worker.Worker", "--host", "127.0.0.1", *work, address)
            workers.append((_started(stack, environment, log, *program, within=() if hidden is None else _without(hidden)), log))
        for worker, log in workers:
            _logged(worker, log, "Successfully registered with master")
        yield SparkCluster(address, {**environment, "PYTHONPATH": path})


@contextmanager
def connect_server(cluster: SparkCluster, folder: Path) -> Iterator[str]:
    """A Spark Connect server of a cluster, for as long as the block runs; its address."""
    port = free_port()
    settings = {
        "spark.connect.grpc.binding.port": port,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.cores.max": 2,
        "spark.executor.cores": 1,
        "spark.executor.memory": "1g",
        "spark.executorEnv.PYTHONPATH": cluster.environment["PYTHONPATH"],
        "spark.sql.artifact.isolation.enabled": "false",
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.ui.enabled": "false",
    }
    options = [option for name, value in settings.items() for option in ("--conf", f"{name}={value}")]
    log = folder / "connect.log"
    service = ("--class", "org.apache.spark.sql.connect.service.SparkConnectServer", "spark-internal")
    with ExitStack() as stack:
        # The workers' Python is the server's choice.
        options_of_java = f"{cluster.environment['JAVA_TOOL_OPTIONS']} {JAVA}"
        environment = {**cluster.environment, "PYSPARK_PYTHON": sys.executable, "JAVA_TOOL_OPTIONS": options_of_java}
        server = _started(stack, environment, log, "deploy.SparkSubmit", "--master", cluster.master, *options, *service)
        _logged(server, log, "Spark Connect server started")
        yield f"sc://127.0.0.1:{port}"


def _classes(python: Path, environment: dict[str, str], folder: Path) -> Path:
    """The classes of Spark as a JVM maps them into its memory: it would unpack and check thousands, for half of its processor time.

    They lie beside the Python with PySpark, made by whoever needs them first; a JVM to which they do not fit does without.
    """
    spark = Path(environment["SPARK_HOME"])
    java = Path(shutil.which("java") or "java").resolve()
    known = f"{spark}{(spark / 'jars').stat().st_mtime_ns}{java}{java.stat().st_mtime_ns if java.exists() else ''}"
    place = python.parents[1] / f"spark-{hashlib.sha256(known.encode()).hexdigest()[:12]}.jsa"
    if not place.exists():
        (folder / "loads.py").write_text(LOADS)
        made = folder / "spark.jsa"
        options = f"-XX:ArchiveClassesAtExit={made} -XX:TieredStopAtLevel=1 -XX:ActiveProcessorCount=1 {QUIET}"
        command = [str(spark / "bin/spark-submit"), "--master", "local[1]", "--driver-java-options", options, str(folder / "loads.py")]
        subprocess.run(
            command, env={**environment, "PYSPARK_PYTHON": str(python)}, check=True, capture_output=True, cwd=folder, timeout=300
        )
        shutil.copy(made, beside := place.with_suffix(f".{os.getpid()}"))
        beside.replace(place)
    return place


def _without(folder: Path) -> tuple[str, ...]:
    """A command that runs another one where a folder is empty."""
    return ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh")


def _started(
    stack: ExitStack, environment: dict[str, str], log: Path, kind: str, *options: str, within: Sequence[str] = ()
) -> "subprocess.Popen[bytes]":
    program = Path(environment["SPARK_HOME"]) / "bin" / "spark-class"
    command: Sequence[str] = [*within, str(program), f"org.apache.spark.{kind}", *options]
    process = subprocess.Popen(command, env=environment, stdout=stack.enter_context(log.open("wb")), stderr=subprocess.STDOUT)
    stack.callback(_stop, process)
    return process


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(30)


def _logged(process: "subprocess.Popen[bytes]", log: Path, pattern: str) -> str:
    for _ in range(1200):
        if match := re.search(pattern, log.read_text(errors="replace")):
            return match[match.lastindex or 0]
        assert process.poll() is None, log.read_text(errors="replace")
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace"))

"""A real Dask cluster on loopback: a scheduler and two workers, each a process of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class DaskCluster:
    """Where the scheduler listens, what a driver needs around it, and the workers by their addresses."""

    master: str
    environment: dict[str, str]
    workers: dict[str, "subprocess.Popen[bytes]"]

    def driver(self, *arguments: str) -> "subprocess.Popen[str]":
        """`sporeprint` with Dask beside it, started."""
        command = [sys.executable, "-m", "sporeprint", *arguments]
        return subprocess.Popen(command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """`sporeprint` with Dask beside it: exit code, what it wrote, and its errors."""
        with self.driver(*arguments) as process:
            out, errors = process.communicate(timeout=300)
        return process.returncode, out, errors


@contextmanager
def dask_cluster(python: Path, folder: Path, *, workers: int = 2) -> Iterator[DaskCluster]:
    """A cluster for as long as the block runs.

    Args:
        python: of the environment with Dask.
        folder: for its logs, and what workers write.
        workers: how many, of one task at a time.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(_beside(python, folder)), str(ROOT / "src"))),
        "DASK_DISTRIBUTED__DIAGNOSTICS__NVML": "False",
    }
    with ExitStack() as stack:
        options = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        _started(stack, environment, folder / "scheduler.log", "dask_scheduler", *options)
        master = _logged(folder / "scheduler.log", r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)")
        beside = (master, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(folder))
        logs = {
            _started(stack, environment, log, "dask_worker", *beside): log
            for log in (folder / f"worker{number}.log" for number in range(workers))
        }
        for log in logs.values():
            _logged(log, "(Registered to)")
        addresses = {_logged(log, r"Start worker at:\s+(tcp://127\.0\.0\.1:\d+)"): worker for worker, log in logs.items()}
        yield DaskCluster(master, environment, addresses)


def _beside(python: Path, folder: Path) -> Path:
    """A folder with the packages of that environment which this one lacks."""
    (lacking := folder / "packages").mkdir()
    here = {path.name for path in Path(next(path for path in sys.path if (Path(path) / "polars").is_dir())).iterdir()}
    for path in next((python.parents[1] / "lib").glob("python3.*/site-packages")).iterdir():
        if path.name not in here and not path.name.startswith(("pandas", "numpy", "pyarrow")):
            (lacking / path.name).symlink_to(path)
    return lacking


def _started(stack: ExitStack, environment: dict[str, str], log: Path, program: str, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", f"distributed.cli.{program}", *options]
    process = subprocess.Popen(command, env=environment, stdout=stack.enter_context(log.open("wb")), stderr=subprocess.STDOUT, cwd=ROOT)
    stack.callback(_stop, process)
    return process


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait(30)


def _logged(log: Path, pattern: str) -> str:
    for _ in range(600):
        if match := re.search(pattern, log.read_text(errors="replace")):
            return match[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace"))

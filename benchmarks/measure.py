"""Whole processes, measured from outside, in pairs, so that a ratio holds when the machine's speed drifts."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SPOREPRINT = [sys.executable, "-m", "sporeprint"]


@dataclass(frozen=True)
class Run:
    """One finished process: seconds that passed, processor seconds of all its threads, peak memory, what it printed."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    output: str


def run(command: Sequence[str], *, cwd: Path | None = None) -> Run:
    """Run a command to its end.

    Raises:
        SystemExit: with what it printed, if it failed.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=cwd)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed with {process.returncode}:\n{out.read()}{err.read()}")
        return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.read())


def pairs(first: Callable[[], Run], second: Callable[[], Run], times: int) -> list[tuple[Run, Run]]:
    """Run two things in turn: A B A B ..., after one of each that is not counted."""
    first()
    second()
    return [(first(), second()) for _ in range(times)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Minimum, median and maximum."""
    return {"min": round(min(values), 3), "median": round(statistics.median(values), 3), "max": round(max(values), 3)}


def say(title: str, found: dict[str, Any]) -> None:
    """Print a result for people and for the README."""
    print(json.dumps({"benchmark": title, "cores": len(os.sched_getaffinity(0)), **found}, indent=1))

"""`etl` is killed at each operation that changes a file; then nothing half written is visible, and the same command ends well.

    python benchmarks/faults/crash_points.py                          # all points: about 500 runs and reruns, an hour
    python benchmarks/faults/crash_points.py --first 101 --last 200   # a piece of them

The libraries are loaded once; each run is a fork of that process, which kills itself at its point.
"""

import argparse
import contextlib
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from lab import CONFIG, SMALL, SPOREPRINT
from sporeprint.registry.registry import Registry

#: Audit events of operations that change files, beside opening one for writing.
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.link", "shutil.rmtree"}
#: Prints the modules that a whole run has loaded.
LIST_MODULES = """
import runpy, sys
sys.argv[0] = "sporeprint"
try:
    runpy.run_module("sporeprint", run_name="__main__")
finally:
    print("\\n".join(sys.modules))
"""


def command(root: Path, table: Path) -> list[str]:
    """The arguments of the run."""
    settings = [word for one in SMALL for word in ("--set", one)]
    return ["etl", "--source", str(table), "--workdir", str(root), "--config", str(CONFIG), *settings, "-q", "--allow-simulated"]


def preload(root: Path, table: Path) -> None:
    """Load what a run loads, so that a fork need not."""
    done = subprocess.run([sys.executable, "-c", LIST_MODULES, *command(root, table)], check=True, capture_output=True, text=True)
    for name in done.stdout.split():
        if name.split(".")[0] not in ("__main__", "__mp_main__"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def etl(root: Path, table: Path, die_at: int = 0) -> int:
    """Run it in a fork, killed at a point; 0: at none. Returns its exit code, negative for a signal."""
    if (pid := os.fork()) == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        code: Any = 1
        try:
            from sporeprint.cli.app import main

            _kill_at(die_at)
            sys.argv = ["sporeprint", *command(root, table)]
            main()
        except SystemExit as ending:
            code = ending.code or 0
        finally:
            os._exit(code if isinstance(code, int) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill_at(point: int) -> None:
    left = point

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        opened = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR) and args[0] != os.devnull
        if opened or event in CHANGES:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def half_files(root: Path) -> list[Path]:
    """Files that a reader would take for whole, and that are not."""
    bad = []
    for path in root.rglob("*"):
        if any(part.startswith(".") or part == "staging" for part in path.relative_to(root).parts) or not path.is_file():
            continue
        if path.suffix == ".json":
            try:
                json.loads(path.read_bytes())
            except ValueError:
                bad.append(path)
        elif path.suffix == ".parquet" and path.read_bytes()[-4:] != b"PAR1":
            bad.append(path)
    return bad


def examine(base: Path, points: Iterable[int]) -> dict[str, int]:
    """Kill at each of the points, until there is none; then run again.

    Returns:
        Points tried, half-written files seen, reruns that failed, registries that could not be read after the rerun; last point tried.
    """
    table, root = base / "table.csv", base / "run"
    simulate = [*SPOREPRINT, "simulate", "--rows", "300", "--seed", "4", "--out", str(table), "--config", str(CONFIG)]
    subprocess.run(simulate, check=True, stdout=subprocess.DEVNULL)
    preload(base / "first", table)
    figure = {"points": 0, "half_files": 0, "reruns_failed": 0, "registries_unreadable": 0, "last": 0}
    for at in points:
        shutil.rmtree(root, ignore_errors=True)
        if etl(root, table, at) != -signal.SIGKILL:
            break
        half, failed = half_files(root), etl(root, table) != 0
        figure["points"] += 1
        figure["last"] = at
        figure["half_files"] += len(half)
        figure["reruns_failed"] += failed
        figure["registries_unreadable"] += not _is_readable(root)
        if half or failed:
            print(f"point {at}: half-written {half}, rerun {'failed' if failed else 'fine'}", flush=True)
        elif figure["points"] % 20 == 0:
            print(json.dumps(figure), flush=True)
    return figure


def _is_readable(root: Path) -> bool:
    with contextlib.suppress(Exception):
        return bool(Registry(root / "models/registry").resolve("production").ref)
    return False


def main() -> None:
    """Try the points, and print the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sporeprint-faults-") as folder:
        figure = examine(Path(folder), range(options.first, options.last + 1))
    print(json.dumps(figure))
    sys.exit(bool(figure["half_files"] or figure["reruns_failed"] or figure["registries_unreadable"]))


if __name__ == "__main__":
    main()

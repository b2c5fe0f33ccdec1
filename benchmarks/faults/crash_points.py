"""`etl` is killed at each operation that changes a file; then nothing half written is visible, and the same command ends well.

    python benchmarks/faults/crash_points.py                          # all points: about 500 reruns, twenty minutes
    python benchmarks/faults/crash_points.py --first 101 --last 200   # a piece of them

What `kill -9` leaves is what the kernel has been handed: the work directory as it stands at that moment. So one run stops before each
operation and copies its work directory; each copy is then examined, and run again in the place of the first. Equal copies are one. The
libraries are loaded once and each run is a fork of that process; the pictures are drawn once and written by every run.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Container
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
    settings = [word for one in (*SMALL, "guard.clusters=10") for word in ("--set", one)]
    return ["etl", "--source", str(table), "--workdir", str(root), "--config", str(CONFIG), *settings, "-q", "--allow-simulated"]


def preload(root: Path, table: Path) -> None:
    """Load what a run loads, and take over its pictures, so that a fork need not."""
    done = subprocess.run([sys.executable, "-c", LIST_MODULES, *command(root, table)], check=True, capture_output=True, text=True)
    for name in done.stdout.split():
        if name.split(".")[0] not in ("__main__", "__mp_main__"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    pictures = {path.name: path.read_bytes() for path in (root / "models/metrics").glob("*.png")}
    importlib.import_module("sporeprint.pipelines.evaluate").draw_all = lambda *_, **__: pictures  # type: ignore[attr-defined]


def etl(root: Path, table: Path, at_change: Callable[[], None] | None = None) -> int:
    """Run it in a fork; `at_change` is called before each operation that changes a file. Returns the exit code, negative for a signal."""
    if (pid := os.fork()) == 0:
        quiet = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(quiet, stream)
        code: Any = 1
        try:
            from sporeprint.cli.app import main

            if at_change is not None:
                _call_at_changes(at_change)
            sys.argv = ["sporeprint", *command(root, table)]
            main()
        except SystemExit as ending:
            code = ending.code or 0
        finally:
            os._exit(code if isinstance(code, int) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _call_at_changes(at_change: Callable[[], None]) -> None:
    is_inside = False

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal is_inside
        opened = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR) and args[0] != os.devnull
        if (opened or event in CHANGES) and not is_inside:
            is_inside = True
            at_change()
            is_inside = False

    sys.addaudithook(hook)


class Copies:
    """Copies of a work directory, by the number of the operation that comes next; one equal to the copy before it is left out."""

    def __init__(self, root: Path, to: Path, points: Container[int]) -> None:
        self._root, self._to, self._points = root, to, points
        self._point, self._last = 0, ""

    def __call__(self) -> None:
        """Copy it."""
        self._point += 1
        if self._point not in self._points or not self._root.exists():
            return
        paths = sorted(self._root.rglob("*"))
        state = [f"{path} {path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest()}" for path in paths]
        if (last := "\n".join(state)) != self._last:
            shutil.copytree(self._root, self._to / f"{self._point:05}", symlinks=True)
        self._last = last
        (self._to / "points").write_text(str(self._point))


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


def examine(base: Path, points: range) -> dict[str, int]:
    """Stop at each of the points, and run again from what is there.

    Returns:
        Last point, different work directories at the points, half-written files seen, reruns that failed, registries that could not be
        read after the rerun.
    """
    table, root, copies = base / "table.csv", base / "run", base / "copies"
    simulate = [*SPOREPRINT, "simulate", "--rows", "300", "--seed", "4", "--out", str(table), "--config", str(CONFIG)]
    subprocess.run(simulate, check=True, stdout=subprocess.DEVNULL)
    preload(base / "first", table)
    copies.mkdir()
    etl(root, table, Copies(root, copies, points))
    figure = {"points": int((copies / "points").read_text()), "states": 0}
    figure |= {"half_files": 0, "reruns_failed": 0, "registries_unreadable": 0}
    for copy in sorted(path for path in copies.iterdir() if path.is_dir()):
        shutil.rmtree(root)
        copy.rename(root)
        half, failed = half_files(root), etl(root, table) != 0
        figure["states"] += 1
        figure["half_files"] += len(half)
        figure["reruns_failed"] += failed
        figure["registries_unreadable"] += not _is_readable(root)
        if half or failed:
            print(f"point {copy.name}: half-written {half}, rerun {'failed' if failed else 'fine'}", flush=True)
        elif figure["states"] % 20 == 0:
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

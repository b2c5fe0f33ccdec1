"""This tree against an earlier one, in turn: processor seconds of a run, of a file of rows, of the guard, and per answer of a server.

    python benchmarks/before_after.py COMMIT [--only serve predict etl guard] [--pairs 5] [--requests 3000]

COMMIT is checked out into a folder of its own and runs with the libraries of this environment. Both trees do the same work on the real
table (data/raw/secondary_data.csv). Processor time, not the clock: it hardly changes when the machine does other things beside.
A ratio above 1 says that this tree is faster.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from http.client import HTTPConnection
from pathlib import Path

import polars as pl

from measure import Run, pairs, run, say, spread

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "data/raw/secondary_data.csv"
#: Connections that ask a server at once.
CLIENTS = 8


class Tree:
    """A checkout, its work directory, and how its command is called."""

    def __init__(self, source: Path, work: Path) -> None:
        self.source, self.work = source, work
        # It comes before an installed package, an editable one too.
        self.python = ["env", f"PYTHONPATH={source / 'src'}", sys.executable]
        self.start = [*self.python, "-m", "sporeprint"]
        self.place = ["--config", str(source / "config/config.yaml"), "--workdir", str(work)]

    def etl(self) -> Run:
        """A whole run in an empty folder."""
        shutil.rmtree(self.work, ignore_errors=True)
        return run([*self.start, "etl", *self.place, "--source", str(TABLE), "--set", "runtime.threads=1", "--quiet"])

    def predict(self) -> Run:
        """The whole table, ten times over."""
        rows, out = self.work.parent / "rows.parquet", self.work / "out.parquet"
        return run([*self.start, "predict", str(rows), "--out", str(out), *self.place, "--quiet"])

    def guard(self) -> Run:
        """The guard's own benchmark: one row, a batch, fitting, and the evaluation one species at a time."""
        return run([*self.python, str(self.source / "benchmarks/guard.py"), "--rows", "48000"])

    def serve(self, requests: int) -> Run:
        """A server that answers so many requests: its processor seconds for them, after as many that are not counted."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [*self.start, "serve", "--port", str(port), *self.place]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait(port, process)
            ask(self.work.parent / "rows.json", port, requests // 3)
            before = used(process.pid)
            began = time.perf_counter()
            ask(self.work.parent / "rows.json", port, requests)
            return Run(time.perf_counter() - began, used(process.pid) - before, 0.0, "")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Until the server is ready."""
    for _ in range(1200):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready") as response:
                if response.status == 200:
                    return
        except OSError:
            if process.poll() is not None:
                sys.exit("the server has ended")
            time.sleep(0.1)
    sys.exit("the server is not ready after two minutes")


def used(pid: int) -> float:
    """Processor seconds of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(rows: Path, port: int, requests: int) -> None:
    """Send rows in turn, over connections that stay open."""
    bodies = rows.read_text(encoding="utf-8").splitlines()
    connections = [HTTPConnection("127.0.0.1", port) for _ in range(CLIENTS)]
    for number in range(0, requests, CLIENTS):
        for offset, connection in enumerate(connections):
            connection.request("POST", "/predict", bodies[(number + offset) % len(bodies)], {"Content-Type": "application/json"})
        for connection in connections:
            response = connection.getresponse()
            response.read()
            if response.status != 200:
                sys.exit(f"the server answered {response.status}")
    for connection in connections:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--only", nargs="+", default=["serve", "predict", "etl", "guard"], choices=["serve", "predict", "etl", "guard"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=3000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="before-after-") as name:
        folder = Path(name)
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--quiet", "--detach", folder / "tree", options.commit], check=True)
        try:
            (folder / "tree/data/raw").mkdir(parents=True, exist_ok=True)
            shutil.copy(TABLE, folder / "tree/data/raw")
            compare(Tree(folder / "tree", folder / "before/work"), Tree(ROOT, folder / "after/work"), options)
        finally:
            subprocess.run(["git", "-C", ROOT, "worktree", "remove", "--force", folder / "tree"], check=True)


def compare(before: Tree, after: Tree, options: argparse.Namespace) -> None:
    rows = pl.read_csv(TABLE, separator=";").drop("class")
    drawn = rows.sample(2048, seed=1).iter_rows(named=True)
    lines = [json.dumps({name: value for name, value in row.items() if value is not None}) for row in drawn]
    for tree in (before, after):
        tree.work.parent.mkdir()
        pl.concat([rows] * 10).write_parquet(tree.work.parent / "rows.parquet")
        (tree.work.parent / "rows.json").write_text("\n".join(lines), encoding="utf-8")
        tree.etl()
    for name in options.only:
        works = [(lambda tree=tree: tree.serve(options.requests)) if name == "serve" else getattr(tree, name) for tree in (before, after)]
        found = pairs(works[0], works[1], options.pairs)
        scale = 1e6 / options.requests if name == "serve" else 1.0
        say(
            f"{name}: {options.commit} against this tree",
            {
                "unit": "us an answer" if name == "serve" else "s",
                "before": spread([old.cpu_s * scale for old, _ in found]),
                "after": spread([new.cpu_s * scale for _, new in found]),
                "ratio": spread([old.cpu_s / new.cpu_s for old, new in found]),
            },
        )


if __name__ == "__main__":
    main()

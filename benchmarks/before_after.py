"""This tree against an earlier one, in turn: processor seconds of a run, of a file of rows, of the guard, and per answer of a server.

    python benchmarks/before_after.py COMMIT [--only serve predict etl guard] [--pairs 5] [--requests 3000]

COMMIT is checked out into a folder of its own and runs with the libraries of this environment. Both trees do the same work on the real
table (data/raw/secondary_data.csv). Processor time, not the clock: it hardly changes when the machine does other things beside.
A ratio above 1 says that this tree is faster.
"""

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import polars as pl

from measure import Run, pairs, run, say, spread

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "data/raw/secondary_data.csv"
#: Connections that ask a server at once.
CLIENTS = 8
#: Requests that one server answers before it is the other's turn.
TURN = 240


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
        return run([*self.start, "predict", str(rows), "--out", str(out), "--workdir", str(self.work)])

    def guard(self) -> Run:
        """The guard's own benchmark: one row, a batch, fitting, and the evaluation one species at a time."""
        return run([*self.python, str(self.source / "benchmarks/guard.py"), "--rows", "48000"])

    @contextmanager
    def server(self) -> Iterator["Server"]:
        """A server that has answered a thousand requests."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [*self.start, "serve", "--port", str(port), *self.place]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait(port, process)
            server = Server(process.pid, port, (self.work.parent / "rows.json").read_text(encoding="utf-8").splitlines())
            server.answer(1000)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


class Server:
    """A server, and connections to it that stay open."""

    def __init__(self, pid: int, port: int, bodies: list[str]) -> None:
        self.pid, self.bodies, self.asked = pid, bodies, 0
        self.connections = [HTTPConnection("127.0.0.1", port) for _ in range(CLIENTS)]

    def answer(self, requests: int) -> float:
        """Have it answer so many requests, and say how many processor seconds it took for them."""
        before = used(self.pid)
        for _ in range(0, requests, CLIENTS):
            for connection in self.connections:
                body = self.bodies[self.asked % len(self.bodies)]
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                self.asked += 1
            for connection in self.connections:
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    sys.exit(f"the server answered {response.status}")
        return used(self.pid) - before


def served(before: Server, after: Server, requests: int) -> tuple[Run, Run]:
    """Both answer so many requests, by turns of a tenth of a second: what else the machine does hits both alike."""
    first, second = 0.0, 0.0
    for _ in range(requests // TURN):
        first += before.answer(TURN)
        second += after.answer(TURN)
    return Run(0.0, first, 0.0, ""), Run(0.0, second, 0.0, "")


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
    """Processor seconds of a process's threads so far, by the scheduler's count."""
    return sum(int((task / "schedstat").read_text(encoding="utf-8").split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--only", nargs="+", default=["serve", "predict", "etl", "guard"], choices=["serve", "predict", "etl", "guard"])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--requests", type=int, default=10 * TURN, help=f"of each pair, a multiple of {TURN}")
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
        if name == "serve":
            with before.server() as old, after.server() as new:
                found = [served(old, new, options.requests) for _ in range(options.pairs)]
        else:
            found = pairs(getattr(before, name), getattr(after, name), options.pairs)
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

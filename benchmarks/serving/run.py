"""`POST /predict` against other servers of the same model: requests per second, latency, memory, size of the installation.

Every server answers one mushroom a request, on the loopback interface, with one worker, and is loaded by `wrk` on the same machine with
4,096 different rows of the table. Each peer lives in a virtual environment of its own, made on first use below the folder. The model of
the peers has as many trees as sporeprint's, behind a one-hot encoding, fitted on the same rows; none of them keeps what it answered.

    python benchmarks/serving/run.py --workdir DIR                      sporeprint, the echo, bare ASGI
    python benchmarks/serving/run.py --workdir DIR --peers all          and MLflow, BentoML, MLServer, a scikit-learn pipeline

DIR is a work directory in which `sporeprint etl` has run. Needs wrk (Debian: apt install wrk), and mariadbd for `sporeprint-mariadb`.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

#: What the peers run, in their own environments.
HERE = Path(__file__).resolve().parent / "peers"
ROOT = HERE.parents[2]
#: Different rows that are sent.
ROWS = 4096
#: wrk's threads: one is enough to send more than any of these answers.
LUA = """
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local next = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  next = next % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[next])
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("\\nFOUND %d %d %d %d %d %d\\n", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.timeout + e.status, latency:percentile(50), latency:percentile(99), e.status))
end
"""


@dataclass(frozen=True)
class Load:
    """One run of wrk: requests per second, latencies in milliseconds, answers that failed, CPU seconds of the server per request."""

    per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    cpu_us: float


@dataclass(frozen=True)
class Peer:
    """A server.

    Attributes:
        name: of it.
        packages: what its environment needs; none: this one's.
        command: what starts it; {python}, {port}, {folder} are put in.
        path: what is asked.
        shape: how a row is sent: sporeprint's object, or the peer's protocol.
        ready: what answers once it is up.
        prepare: a script that runs once in its environment.
        env: further variables.
    """

    name: str
    packages: tuple[str, ...]
    command: tuple[str, ...]
    path: str
    shape: str
    ready: str
    prepare: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


FIT = ("scikit-learn", "xgboost-cpu", "polars", "joblib", "pandas<3", "pyarrow")
#: Its settings, see peers/fit_mlserver.py.
MLSERVER = ("mlserver", "mlserver-batching", "mlserver-workers", "mlserver-lean", "mlserver-lean-batching", "mlserver-lean-workers")
WEB = ("fastapi", "uvicorn[standard]")
PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            "asgi",
            (),
            ("{python}", "-m", "uvicorn", "servers:bare", *["--port", "{port}", "--no-access-log", "--log-level", "warning"]),
            "/",
            "object",
            "/",
        ),
        Peer(
            "echo",
            (),
            ("{python}", "-m", "uvicorn", "servers:echo", *["--port", "{port}", "--no-access-log", "--log-level", "warning"]),
            "/predict",
            "object",
            "/docs",
        ),
        Peer(
            "pipeline",
            (*FIT, *WEB),
            ("{python}", "-m", "uvicorn", "servers:pipeline", *["--port", "{port}", "--no-access-log", "--log-level", "warning"]),
            "/predict",
            "object",
            "/docs",
            "fit.py",
        ),
        Peer(
            "mlflow",
            ("mlflow", *FIT),
            (
                "{python}",
                "-m",
                "mlflow",
                "models",
                "serve",
                "-m",
                "{folder}/mlflow_model",
                "--env-manager",
                "local",
                "-p",
                "{port}",
                "-w",
                "1",
            ),
            "/invocations",
            "records",
            "/ping",
            "fit_mlflow.py",
        ),
        Peer(
            "bentoml",
            ("bentoml", *FIT),
            ("{python}", "-m", "bentoml", "serve", "service_bentoml:Mushrooms", "--port", "{port}", "--api-workers", "1"),
            "/predict",
            "row",
            "/readyz",
            "fit.py",
        ),
        Peer(
            "bentoml-batching",
            ("bentoml", *FIT),
            ("{python}", "-m", "bentoml", "serve", "service_bentoml:Batching", "--port", "{port}", "--api-workers", "1"),
            "/predict",
            "rows",
            "/readyz",
            "fit.py",
        ),
        *(
            Peer(
                name,
                ("mlserver", "uvloop<0.23", *FIT),
                ("{bin}/mlserver", "start", f"{{folder}}/repositories/{name}"),
                "/v2/models/mushrooms/infer",
                "oip",
                "/v2/health/ready",
                "fit_mlserver.py",
            )
            for name in MLSERVER
        ),
    )
}
OURS = ("sporeprint", "sporeprint-mariadb", "sporeprint-2-workers")


# --- environments --------------------------------------------------------------------------------------------------------


def environment(peer: Peer, cache: Path) -> Path:
    """The Python of a peer's environment, made on first use."""
    if not peer.packages:
        return Path(sys.executable)
    folder = cache / peer.name.partition("-")[0]
    python = folder / "bin/python"
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        uv = shutil.which("uv")
        make: list[list[str]] = [[uv, "venv", "--quiet", str(folder)]] if uv else [[sys.executable, "-m", "venv", str(folder)]]
        make.append(
            [*([uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]), "--quiet", *peer.packages]
        )
        for command in make:
            subprocess.run(command, check=True)
        (folder / "made").touch()
    return python


def size(python: Path) -> tuple[int, int]:
    """MiB of the installed packages, and how many there are."""
    code = "import importlib.metadata as m, sysconfig as s; print(len({d.name for d in m.distributions()}), s.get_paths()['purelib'])"
    count, place = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip().split(" ", 1)
    files = (path for path in Path(place).rglob("*") if path.is_file() and path.suffix != ".pyc" and not path.is_symlink())
    return sum(path.stat().st_size for path in files) >> 20, int(count)


# --- rows ----------------------------------------------------------------------------------------------------------------


def bodies(table: pl.DataFrame, folder: Path) -> None:
    """The rows in each shape, a line each."""
    rows = [{name: value for name, value in row.items() if value is not None} for row in table.iter_rows(named=True)]
    full = table.to_dicts()
    shapes = {
        "object": rows,
        "records": [{"dataframe_records": [row]} for row in full],
        "row": [{"row": row} for row in full],
        "rows": [{"rows": [row]} for row in full],
        "oip": [
            {
                "inputs": [
                    {
                        "name": name,
                        "shape": [1, 1],
                        "datatype": "FP64" if table[name].dtype.is_numeric() else "BYTES",
                        "data": ["" if row[name] is None and not table[name].dtype.is_numeric() else row[name]],
                        "parameters": {} if table[name].dtype.is_numeric() else {"content_type": "str"},
                    }
                    for name in table.columns
                ],
                "parameters": {"content_type": "pd"},
            }
            for row in full
        ],
    }
    for shape, values in shapes.items():
        (folder / f"{shape}.jsonl").write_text("".join(f"{json.dumps(value)}\n" for value in values))


# --- servers -------------------------------------------------------------------------------------------------------------


class Server:
    """A process group that answers; ended, whatever happens, with all its children."""

    def __init__(self, command: Sequence[str], port: int, ready: str, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self.port = port
        with log.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **env}, cwd=cwd, start_new_session=True)
        began = time.monotonic()
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}{ready}", timeout=2).read()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() - began > 120:
                    self.end()
                    raise SystemExit(f"{' '.join(command)} does not answer:\n{log.read_text(errors='replace')[-2000:]}") from None
                time.sleep(0.02)
        self.start_s = time.monotonic() - began

    def pids(self) -> list[int]:
        """The process and all below it."""
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                queue += map(int, task.read_text().split())
        return found

    def cpu_s(self) -> float:
        """Processor seconds of all of them."""
        ticks = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_mib(self) -> float:
        """Memory of all of them."""
        return sum(int(re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]) for pid in self.pids()) / 1024

    def end(self) -> None:
        """End it, in the regular way if it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def wrk(server: Server, path: str, shape: Path, script: Path, connections: int, seconds: int) -> Load:
    """Load a server."""
    before = server.cpu_s()
    command = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-s",
        str(script),
        f"http://127.0.0.1:{server.port}{path}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "BODIES": str(shape)}, check=True)
    found = re.search(r"FOUND (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise SystemExit(f"wrk said:\n{done.stdout}{done.stderr}")
    requests, micros, failed, p50, p99 = map(int, found.groups())
    cpu_us = (server.cpu_s() - before) / max(requests, 1) * 1e6
    return Load(requests / micros * 1e6, p50 / 1000, p99 / 1000, failed, cpu_us)


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def start_peer(peer: Peer, cache: Path, folder: Path, trees: int) -> Server:
    """Start a peer."""
    python, port = environment(peer, cache), free_port()
    env = {
        "BENCH_FOLDER": str(cache),
        "BENCH_TABLE": str(folder / "table.parquet"),
        "BENCH_TREES": str(trees),
        "BENCH_PORT": str(port),
        "PYTHONPATH": str(HERE),
    }
    if peer.prepare:
        subprocess.run([str(python), str(HERE / peer.prepare)], env={**os.environ, **env}, check=True, stdout=subprocess.DEVNULL)
    env["PATH"] = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    if peer.name.startswith("mlserver"):
        env |= {"MLSERVER_HTTP_PORT": str(port), "MLSERVER_GRPC_PORT": str(free_port()), "MLSERVER_METRICS_PORT": str(free_port())}
    command = [part.format(python=python, bin=python.parent, port=port, folder=cache) for part in peer.command]
    return Server(command, port, peer.ready, {**env, **peer.env}, HERE, folder / f"{peer.name}.log")


def start_ours(name: str, workdir: Path, folder: Path, stack: ExitStack, **variables: str) -> Server:
    """Start sporeprint over a copy of the work directory's models, with further environment variables."""
    root, env = folder / name, {"PYTHONPATH": "", **variables}
    if not root.exists():
        shutil.copytree(workdir / "models", root / "models")
    if name == "sporeprint-mariadb":
        sys.path.insert(0, str(ROOT / "tests" / "helpers"))
        from mariadb_server import MariaDB
        from sporeprint.storage.engine import connect
        from sporeprint.storage.oltp import migrate

        where = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mariadb-")))
        database = stack.enter_context(MariaDB(where))
        engine = connect(database.url(database=database.create_database()))
        migrate.upgrade(engine)
        env["SPOREPRINT_OLTP_URL"] = engine.url.render_as_string(hide_password=False)
        engine.dispose()
    port = free_port()
    workers = "2" if name == "sporeprint-2-workers" else "1"
    command = [sys.executable, "-m", "sporeprint", "serve", "--port", str(port), "--workdir", str(root), "--workers", workers]
    return Server([*command, "--config", str(ROOT / "config/config.yaml")], port, "/health/ready", env, folder, folder / f"{name}.log")


def commit_ms(folder: Path) -> float:
    """Median of one record's way to the disk, with nobody else writing."""
    from sporeprint.storage.journal.writer import Journal
    from sporeprint.storage.prediction_record import PredictionRecord

    async def write(journal: Journal, count: int) -> list[float]:
        spent = []
        for number in range(count):
            record = PredictionRecord(f"{number:032}", number, "m", 1, "e", "edible", {"text": "x" * 400}, 1, "bench")
            began = time.perf_counter()
            await journal.write(record)
            spent.append((time.perf_counter() - began) * 1000)
        return spent

    with tempfile.TemporaryDirectory(dir=folder) as where, Journal.open(Path(where), "bench") as journal:
        return statistics.median(asyncio.run(write(journal, 1000)))


# --- the comparison ------------------------------------------------------------------------------------------------------


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Load every server in turn, several times."""
    cache = Path(options.cache)
    cache.mkdir(parents=True, exist_ok=True)
    workdir = Path(options.workdir).resolve()
    names = [
        *OURS,
        "echo",
        "asgi",
        *(["pipeline", "mlflow", "bentoml", "bentoml-batching", *MLSERVER] if options.peers == "all" else []),
    ]
    if options.peers not in ("all", "none"):
        names += [name for name in options.peers.split(",") if name not in names]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="serving-", dir=cache) as temporary:
        folder = Path(temporary)
        table = pl.read_csv(ROOT / "data/raw/secondary_data.csv", separator=";", null_values="")
        table.write_parquet(folder / "table.parquet")
        bodies(table.drop("class").sample(ROWS, seed=1), folder)
        script = folder / "load.lua"
        script.write_text(LUA)
        trees = tree_count(workdir)
        commits = []
        for turn in range(options.pairs):
            commits.append(commit_ms(folder))
            for name in names:
                with ExitStack() as stack:
                    peer = PEERS.get(name)
                    try:
                        server = start_peer(peer, cache, folder, trees) if peer else start_ours(name, workdir, folder, stack)
                    except (SystemExit, subprocess.CalledProcessError) as error:
                        print(f"{name}: left out: {str(error)[-600:]}", file=sys.stderr)
                        names = [other for other in names if other != name]
                        continue
                    stack.callback(server.end)
                    path, shape = (peer.path, peer.shape) if peer else ("/predict", "object")
                    wrk(server, path, folder / f"{shape}.jsonl", script, 16, 1)
                    loads = {count: wrk(server, path, folder / f"{shape}.jsonl", script, count, options.seconds) for count in (1, 16, 64)}
                    entry = found.setdefault(name, {"rss_mib": [], "start_s": [], "loads": []})
                    entry["rss_mib"].append(round(server.rss_mib()))
                    entry["start_s"].append(round(server.start_s, 2))
                    entry["loads"].append(loads)
                    print(f"{turn + 1} {name}: {'; '.join(map(_said, loads, loads.values()))}", file=sys.stderr)
        sizes = {name: size(environment(PEERS[name], cache)) for name in found if name in PEERS and PEERS[name].packages}
    return _summary(found, sizes, commits)


def _said(connections: int, load: Load) -> str:
    times = f"p50 {load.p50_ms:.2f} p99 {load.p99_ms:.1f} ms"
    return f"{connections}: {load.per_s:,.0f}/s {times}, {load.cpu_us:.0f} us CPU, {load.failed} failed"


def tree_count(workdir: Path) -> int:
    """How many trees sporeprint's model has."""
    import orjson

    from sporeprint.registry.registry import Registry

    model = Registry(workdir / "models/registry").read("xgboost", "model.json")
    return len(orjson.loads(model)["learner"]["gradient_booster"]["model"]["trees"])


def _summary(found: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, tuple[int, int]], commits: Sequence[float]) -> dict[str, Any]:
    def median(name: str, count: int, what: str) -> float:
        return float(statistics.median(getattr(loads[count], what) for loads in found[name]["loads"]))

    servers = {
        name: {
            "requests_per_s": {count: round(median(name, count, "per_s")) for count in (1, 16, 64)},
            "p50_ms": {count: round(median(name, count, "p50_ms"), 2) for count in (1, 16, 64)},
            "p99_ms": {count: round(median(name, count, "p99_ms"), 1) for count in (1, 16, 64)},
            "cpu_us_a_request": round(median(name, 64, "cpu_us")),
            "failed": sum(load.failed for loads in entry["loads"] for load in loads.values()),
            "rss_mib": max(entry["rss_mib"]),
            "start_s": min(entry["start_s"]),
            **({"install_mib": sizes[name][0], "distributions": sizes[name][1]} if name in sizes else {}),
        }
        for name, entry in found.items()
    }

    def ratios(first: str, second: str, what: str = "per_s") -> list[float] | None:
        if first not in found or second not in found:
            return None
        pairs = zip(found[first]["loads"], found[second]["loads"], strict=False)
        values = [getattr(a[64], what) / getattr(b[64], what) for a, b in pairs]
        return [round(min(values), 2), round(statistics.median(values), 2), round(max(values), 2)]

    peers = [name for name in found if name not in (*OURS, "echo", "asgi")]
    best = max(peers, key=lambda name: median(name, 64, "per_s"), default=None)
    commit = statistics.median(commits)
    return {
        "load": os.getloadavg(),
        "commit_ms": round(commit, 2),
        "p50 at 1 connection, to twice the echo's and a commit (limit 1)": round(
            median("sporeprint", 1, "p50_ms") / (2 * median("echo", 1, "p50_ms") + commit), 2
        ),
        "servers": servers,
        "at 64 connections, min median max": {
            "sporeprint to the echo (limit 0.5)": ratios("sporeprint", "echo"),
            "sporeprint with MariaDB to the echo": ratios("sporeprint-mariadb", "echo"),
            f"sporeprint to the best peer, {best} (limit 4)": ratios("sporeprint", best) if best else None,
            "requests per CPU second, two workers to one (limit 0.9)": [
                round(1 / value, 2) for value in reversed(ratios("sporeprint-2-workers", "sporeprint", "cpu_us") or [])
            ],
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, help="where sporeprint etl has run")
    parser.add_argument("--peers", default="none", help="all, none, or names with commas between")
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--pairs", type=int, default=3, help="turns")
    parser.add_argument("--cache", default=str(ROOT / "benchmarks/out/serving"), help="folder for the peers' environments")
    print(json.dumps(compare(parser.parse_args()), indent=1))

"""What every experiment needs: a trained work directory, a server over a copy of it, callers, and what the database has afterwards."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

PROJECT = Path(__file__).parents[2]
sys.path.insert(0, str(PROJECT / "tests" / "helpers"))
CONFIG = PROJECT / "config" / "config.yaml"
SPOREPRINT = [sys.executable, "-m", "sporeprint"]
#: A small run: seconds instead of minutes, the same files.
SMALL = ("models.xgboost.rounds=20", "evaluation.folds=3", "evaluation.replicates=100", "runtime.threads=1")
ROW = {"cap-shape": "x", "cap-diameter": 5.5}


def trained(folder: Path) -> Path:
    """A work directory with models of invented rows, made once."""
    root = folder / "trained"
    if not (root / "models/registry/aliases.json").exists():
        table, config = folder / "table.csv", ["--config", str(CONFIG)]
        subprocess.run([*SPOREPRINT, "simulate", "--rows", "2000", "--seed", "3", "--out", str(table), *config], check=True)
        settings = [word for one in SMALL for word in ("--set", one)]
        command = [*SPOREPRINT, "etl", "--source", str(table), "--workdir", str(root), *config, "--allow-simulated", *settings, "-q"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return root


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Response:
    """What a caller got: 0 where the connection broke."""

    status: int
    seconds: float
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


def call(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 60) -> Response:
    """One request over a connection of its own."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        more = {} if data is None or (headers and "Content-Type" in headers) else {"Content-Type": "application/json"}
        connection.request(method, path, data, {**more, **(headers or {})})
        response = connection.getresponse()
        text = response.read()
        with contextlib.suppress(ValueError):
            return Response(response.status, time.monotonic() - began, json.loads(text), dict(response.getheaders()))
        return Response(response.status, time.monotonic() - began, text, dict(response.getheaders()))
    except (OSError, http.client.HTTPException):
        return Response(0, time.monotonic() - began)
    finally:
        connection.close()


class Server:
    """A running server over a copy of a trained work directory."""

    def __init__(self, root: Path, workers: int = 1, environ: Mapping[str, str] | None = None, settings: tuple[str, ...] = ()) -> None:
        self.root, self.port = root, free_port()
        more = [word for one in settings for word in ("--set", one)]
        command = [
            *SPOREPRINT,
            "serve",
            "--workdir",
            str(root),
            "--config",
            str(CONFIG),
            "--port",
            str(self.port),
            "--workers",
            str(workers),
            *more,
        ]
        self.log = root / "server.log"
        began = time.monotonic()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **(environ or {})}, start_new_session=True)
        self.ready_s = self._wait(began)

    def _wait(self, began: float, seconds: float = 120) -> float | None:
        while time.monotonic() - began < seconds and self.process.poll() is None:
            if call(self.port, "GET", "/health/ready", timeout=2).status == 200:
                return time.monotonic() - began
            time.sleep(0.1)
        if self.process.poll() is not None:
            sys.exit(f"the server did not start: {self.log.read_text()[-2000:]}")
        return None

    def children(self) -> list[int]:
        """Processes of the workers; with one worker the server itself."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = [int(word) for word in path.read_text().split()] if path.exists() else []
        return [pid for pid in found if b"resource_tracker" not in _command(pid)] or [self.process.pid]

    def kill(self) -> None:
        """SIGKILL for the whole tree."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int | None:
        """Let it end in the regular way; None where it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def traces(self) -> int:
        """Tracebacks in its log."""
        return self.log.read_bytes().count(b"Traceback (most recent call last)")


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


class PeakMemory:
    """The most memory that a process and those below it have had together, MiB, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self._pid, self._stop = pid, threading.Event()
        self.first = self.peak = self._now()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.peak = max(self.peak, self._now())

    def _now(self) -> int:
        return sum(map(_resident_kib, _tree(self._pid))) >> 10


def _tree(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        children = [word for path in Path(f"/proc/{pid}/task").glob("*/children") for word in path.read_text().split()]
        return [pid, *(each for child in children for each in _tree(int(child)))]
    return []


def _resident_kib(pid: int) -> int:
    with contextlib.suppress(OSError):
        line = next((line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")), "VmRSS: 0")
        return int(line.split()[1])
    return 0


@contextlib.contextmanager
def copy_of(trained_root: Path) -> Iterator[Path]:
    """A copy without what earlier servers left."""
    with tempfile.TemporaryDirectory(prefix="sporeprint-faults-") as folder:
        root = Path(folder) / "work"
        shutil.copytree(trained_root, root)
        for name in ("journal", "batches", "warehouse", "serving"):
            shutil.rmtree(root / "data" / name, ignore_errors=True)
        for path in [*(root / "data").glob("*.db*"), *(root / "data").glob("keys.json")]:
            path.unlink()
        yield root


class Load:
    """Callers that ask on and on; every prediction they were given, by its id."""

    def __init__(self, port: int, callers: int = 4, keyed: bool = False, headers: Mapping[str, str] | None = None) -> None:
        self.given: dict[str, dict[str, Any]] = {}
        self.statuses: dict[int, int] = {}
        self.slowest_s, self.port, self._keyed, self._headers = 0.0, port, keyed, headers or {}
        self._stop, self._guard = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, caller: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            headers = {**self._headers, **({"Idempotency-Key": f"{caller}-{number}"} if self._keyed else {})}
            response = call(self.port, "POST", "/predict", {**ROW, "cap-diameter": caller + number / 1000}, headers, timeout=30)
            with self._guard:
                self.statuses[response.status] = self.statuses.get(response.status, 0) + 1
                self.slowest_s = max(self.slowest_s, response.seconds)
                if response.status == 200:
                    self.given[response.body["prediction_id"]] = response.body
            if response.status != 200:
                time.sleep(0.05)


def settled(root: Path, seconds: float = 60, environ: Mapping[str, str] | None = None) -> None:
    """Start a server of this work directory once more, and wait until every journal is empty."""
    server, until = Server(root, environ=environ), time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            if all(_depth(path) == 0 for path in (root / "data/journal").glob("*.db")):
                return
            time.sleep(0.2)
    finally:
        server.stop()


def _depth(path: Path) -> int:
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            return int(connection.execute("select count(*) from record").fetchone()[0])
    except sqlite3.Error:
        return 0 if not path.exists() else -1


PREDICTIONS = "select prediction_id, verdict, probability from prediction"


def compared(root: Path, given: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Predictions that were given, held against the database, SQLite."""
    with contextlib.closing(sqlite3.connect(root / "data/sporeprint.db")) as connection:
        return differences(connection.execute(PREDICTIONS).fetchall(), given)


def differences(rows: Sequence[Sequence[Any]], given: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Predictions that were given, held against the rows of a database."""
    there = {row[0]: row for row in rows}
    altered = sum(1 for key, one in given.items() if key in there and (one["verdict"], one["probability"]) != tuple(there[key][1:]))
    return {"given": len(given), "lost": len(set(given) - set(there)), "doubled": len(rows) - len(there), "altered": altered}

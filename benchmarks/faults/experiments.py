"""The experiments: each breaks one thing, and returns its figure and whether it is right."""

import concurrent.futures
import gzip
import io
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import zstandard

import database_experiments
import input_experiments
from crash_points import examine
from database_experiments import MissingToolError
from lab import ROW, Load, PeakMemory, Server, call, compared, copy_of, settled
from sporeprint.registry.registry import Registry

Outcome: TypeAlias = tuple[dict[str, Any], bool]


def etl_crash_points(trained: Path, quick: bool) -> Outcome:  # noqa: ARG001 -- every experiment takes it
    """`etl` is killed at a file operation; see `crash_points.py`, which does them in pieces, too."""
    with tempfile.TemporaryDirectory(prefix="sporeprint-faults-") as folder:
        figure = examine(Path(folder), range(1, 10_000, 40 if quick else 1))
    return figure, figure["points"] > 0 and not (figure["half_files"] or figure["reruns_failed"] or figure["registries_unreadable"])


def kill_workers(trained: Path, quick: bool) -> Outcome:
    """Workers, and the whole server, are killed at random moments under load."""
    chance, kills = random.Random(5), 6 if quick else 40
    given: dict[str, dict[str, Any]] = {}
    traces = 0
    with copy_of(trained) as root:
        server = Server(root, workers=2)
        for number in range(kills):
            with Load(server.port) as load:
                time.sleep(chance.uniform(0.3, 2.0))
                if number % 3 == 2:
                    server.kill()
                else:
                    os.kill(chance.choice(server.children()), signal.SIGKILL)
                time.sleep(0.3)
            given |= load.given
            if number % 3 == 2:
                server = Server(root, workers=2)
        traces = server.traces()
        server.stop()
        settled(root)
        figure = {"kills": kills, **compared(root, given), "tracebacks": traces}
    return figure, figure["given"] > 0 and not (figure["lost"] or figure["doubled"] or figure["altered"])


def one_key_two_rows(trained: Path, quick: bool) -> Outcome:
    """One key, two rows, two workers, at once: one of the two is refused, and of one id there is one prediction."""
    keys, two, wrong = 200 if quick else 10_000, 0, 0
    with copy_of(trained) as root:
        server = Server(root, workers=2)

        def ask(key: int, diameter: float) -> Any:
            return call(server.port, "POST", "/predict", {**ROW, "cap-diameter": diameter}, {"Idempotency-Key": f"k{key}"})

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for begin in range(0, keys, 4):
                pairs = [(pool.submit(ask, key, 1.5), pool.submit(ask, key, 2.5)) for key in range(begin, begin + 4)]
                for first, second in pairs:
                    one, other = first.result(), second.result()
                    two += one.status == other.status == 200
                    wrong += sorted((one.status, other.status)) != [200, 422]
        server.stop()
    return {"keys": keys, "two_answers_under_one_id": two, "not_one_answer_and_one_conflict": wrong}, not two and not wrong


def retries(trained: Path, quick: bool) -> Outcome:
    """A retry gets the same prediction from another worker, after a restart and after a promotion."""
    keys, other = 20 if quick else 300, 0
    with copy_of(trained) as root:
        server = Server(root, workers=2)
        first = [call(server.port, "POST", "/predict", ROW, {"Idempotency-Key": f"k{key}"}).body for key in range(keys)]
        server.kill()
        now = datetime.now(UTC)
        Registry(root / "models/registry").set_production("decision_tree/v1", reason="a trial", now=now, allow_simulated=True)
        server = Server(root, workers=2)
        for _ in range(2):
            again = [call(server.port, "POST", "/predict", ROW, {"Idempotency-Key": f"k{key}"}).body for key in range(keys)]
            other += sum(one != two for one, two in zip(first, again, strict=True))
        server.stop()
    return {"keys": keys, "other_answers": other}, not other


def silent_database(trained: Path, quick: bool) -> Outcome:  # noqa: ARG001 -- every experiment takes it
    """A database that takes connections and never answers, from the start on."""
    held: list[socket.socket] = []
    with copy_of(trained) as root, socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        threading.Thread(target=_accept, args=(listening, held), daemon=True).start()
        key = root / "key"
        key.write_text("0123456789abcdef" * 4)
        url = f"mysql+pymysql://u@127.0.0.1:{listening.getsockname()[1]}/sporeprint"
        environ = {"SPOREPRINT_OLTP_URL": url, "SPOREPRINT_OLTP_PASSWORD": "pw", "SPOREPRINT_BOOTSTRAP_KEY_FILE": str(key)}
        server = Server(root, environ=environ)
        caller = {"Authorization": f"Bearer {key.read_text()}"}
        plain = call(server.port, "POST", "/predict", ROW, caller)
        keyed = call(server.port, "POST", "/predict", ROW, {**caller, "Idempotency-Key": "k"})
        health = call(server.port, "GET", "/health", headers=caller)
        path = f"/predictions/{'0' * 30}/outcome"
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(call, server.port, "POST", path, {"outcome": "p"}, caller) for _ in range(8)]
            time.sleep(0.2)
            batch = call(server.port, "POST", "/predict/batch", [ROW], caller)
            models = call(server.port, "GET", "/models", headers=caller)
            outcomes = [one.result() for one in waiting]
        server.stop()
    figure: dict[str, Any] = {
        "start_to_ready_s": server.ready_s,
        "predict_s": plain.seconds,
        "predict_with_key_s": keyed.seconds,
        "health_s": health.seconds,
        "batch_s": batch.seconds,
        "models_s": models.seconds,
        "slowest_outcome_s": max(one.seconds for one in outcomes),
        "outcome_statuses": sorted({one.status for one in outcomes}),
    }
    right = (plain.status, keyed.status, batch.status, models.status) == (200,) * 4 and health.body["database"]["status"] == "away"
    right = right and figure["outcome_statuses"] == [503] and figure["slowest_outcome_s"] <= 10 and figure["health_s"] <= 5
    shown = {name: round(value, 3) if isinstance(value, float) else value for name, value in figure.items()}
    return shown, right and keyed.seconds <= 0.3 and server.ready_s is not None and server.ready_s <= 15


def _accept(listening: socket.socket, held: list[socket.socket]) -> None:
    while True:
        try:
            held.append(listening.accept()[0])
        except OSError:
            return


def full_disk(trained: Path, quick: bool) -> Outcome:  # noqa: ARG001 -- every experiment takes it
    """The journal's file system is full, then has room again: not ready meanwhile, and nothing that was given is lost."""
    with copy_of(trained) as root:
        server = Server(root)
        pid = server.process.pid
        with Load(server.port, callers=2) as load:
            time.sleep(1)
            size = max(path.stat().st_size for path in (root / "data/journal").glob("*.db*"))
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (max(4096, size), resource.RLIM_INFINITY))
            time.sleep(3)
            while_full = call(server.port, "GET", "/health/ready").status
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            time.sleep(3)
            after = call(server.port, "GET", "/health/ready").status
        refused = load.statuses.get(503, 0)
        server.stop()
        settled(root)
        figure = {"refused": refused, "ready_while_full": while_full, "ready_after": after, **compared(root, load.given)}
    return figure, not figure["lost"] and after == 200 and (not refused or while_full == 503)


def clock(trained: Path, quick: bool) -> Outcome:  # noqa: ARG001 -- every experiment takes it
    """The clock jumps back and forth: every answer is given and kept."""
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
    if library is None:
        raise MissingToolError("libfaketime")
    with copy_of(trained) as root:
        times = root / "faketime"
        times.write_text("+0")
        # The system's steady clock does not jump with the other one.
        steady = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1"}
        server = Server(root, environ={"LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(times), **steady})
        with Load(server.port, callers=2) as load:
            for jump in ("+3600", "-86400", "+2592000", "-315360000", "+0"):
                times.write_text(jump)
                time.sleep(0.7)
        server.stop()
        settled(root)
        figure = {**compared(root, load.given), "refused": sum(load.statuses.values()) - load.statuses.get(200, 0)}
    return figure, not (figure["lost"] or figure["refused"] or figure["altered"])


def bombs(trained: Path, quick: bool) -> Outcome:
    """Small uploads that unpack without end: refused, and the server goes on in little memory."""
    with copy_of(trained) as root:
        server = Server(root)
        ready = call(server.port, "POST", "/predict/batch", b"cap-shape\nx\n", {"Content-Type": CSV})  # its process starts
        figure: dict[str, Any] = {}
        with PeakMemory(server.process.pid) as memory:
            for name, (path, body, headers) in _bombs(quick).items():
                response = call(server.port, "POST", path, body, headers, timeout=120)
                figure[name] = {"bytes": len(body), "status": response.status, "s": round(response.seconds, 2)}
        alive = ready.status < 500 and call(server.port, "POST", "/predict", ROW).status == 200
        server.stop()
    right = alive and all(400 <= one["status"] < 500 and one["s"] <= 5 for one in figure.values())
    return {**figure, "alive": alive, "base_mib": memory.first, "peak_mib": memory.peak}, right and memory.peak - memory.first <= 1024


CSV, PARQUET, JSON = "text/csv", "application/vnd.apache.parquet", "application/json"


def _bombs(quick: bool) -> dict[str, tuple[str, bytes, dict[str, str]]]:
    """Name -> path, body, headers."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.parquet as pq

    batch, outcomes = "/predict/batch", "/predictions/outcomes"

    def parquet(columns: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        pq.write_table(pa.table(columns), out, compression="zstd")
        return out.getvalue()

    def wide(columns: int) -> bytes:
        out = io.BytesIO()
        pl.DataFrame({f"c{number}": [1] for number in range(columns)}).write_parquet(out)
        return out.getvalue()

    rows = 20_000 if quick else 1_000_000
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * 100_000]))
    cell, many = "x" * (50 << 20), 20_000 if quick else 100_000
    blank = b" " * (200 << 20)
    packed = {"gzip": gzip.compress(blank, 9), "zstd": zstandard.ZstdCompressor().compress(blank), "deflate": zlib.compress(blank, 9)}
    return {
        "parquet_dictionary": (batch, parquet({"cap-shape": texts}), {"Content-Type": PARQUET}),
        "parquet_dictionary_outcomes": (outcomes, parquet({"prediction_id": texts, "outcome": texts}), {"Content-Type": PARQUET}),
        "parquet_cell": (batch, parquet({"cap-shape": [cell]}), {"Content-Type": PARQUET}),
        "parquet_pages": (batch, parquet({"cap-shape": pa.array([None] * (rows * 30), pa.string())}), {"Content-Type": PARQUET}),
        "parquet_20000_columns": (batch, wide(20_000), {"Content-Type": PARQUET}),
        **{f"csv_{name}": (batch, data, {"Content-Type": CSV, "Content-Encoding": name}) for name, data in packed.items()},
        **{f"json_{name}": (batch, data, {"Content-Type": JSON, "Content-Encoding": name}) for name, data in packed.items()},
        f"csv_{many}_columns": (batch, ",".join(f"c{number}" for number in range(many)).encode() + b"\n", {"Content-Type": CSV}),
        f"outcomes_{many}_columns": (outcomes, ",".join(f"c{n}" for n in range(many)).encode() + b"\n", {"Content-Type": CSV}),
        "csv_cell": (batch, b"cap-shape\n" + b"x" * (50 << 20) + b"\n", {"Content-Type": CSV}),
        "csv_open_quote": (batch, b'cap-shape\n"' + b"x\n" * (20 << 20), {"Content-Type": CSV}),
        "csv_blank_lines": (batch, b"\n" * (50 << 20), {"Content-Type": CSV}),
        "json_empty_lists": (batch, b"[" + b"[]," * (5 << 20) + b"[]]", {"Content-Type": JSON}),
        "json_empty_rows": (batch, b"[" + b"{}," * (5 << 20) + b"{}]", {"Content-Type": JSON}),
        "json_deep": (batch, b"[" * (15 << 20), {"Content-Type": JSON}),
    }


def mutated_files(trained: Path, quick: bool) -> Outcome:
    """Parquet files with flipped bytes: answered, or refused as the file's fault."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(pa.table({"cap-shape": ["x", "f"] * 50, "cap-diameter": [1.5, 2.5] * 50}), out)
    whole, chance, statuses, slowest = out.getvalue(), random.Random(9), dict[int, int](), 0.0
    with copy_of(trained) as root:
        server = Server(root)
        for _ in range(100 if quick else 2_000):
            data = bytearray(whole)
            for _ in range(chance.randrange(1, 4)):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            response = call(server.port, "POST", "/predict/batch", bytes(data), {"Content-Type": "application/vnd.apache.parquet"})
            statuses[response.status] = statuses.get(response.status, 0) + 1
            slowest = max(slowest, response.seconds)
        server.stop()
    bad = sum(count for status, count in statuses.items() if status >= 500 or status == 0)
    return {"statuses": statuses, "slowest_s": round(slowest, 2), "server_errors": bad}, not bad


def two_origins(trained: Path, quick: bool) -> Outcome:  # noqa: ARG001 -- every experiment takes it
    """A page of another origin, in a real browser, asks for what changes something."""
    browser = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if browser is None:
        raise MissingToolError("a browser (chromium)")
    with copy_of(trained) as root:
        server = Server(root)
        before = call(server.port, "GET", "/models").body["production"]
        page = root / "page"
        page.mkdir()
        target = f"http://localhost:{server.port}/models/logistic_regression"
        (page / "index.html").write_text(
            f'<script>for (const what of ["promote?version=1&alias=production", "rollback?version=1&alias=production"]) '
            f'fetch("{target}/" + what, {{method: "POST", mode: "no-cors"}});</script>'
        )
        unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
        quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
        command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(page)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=unbuffered) as web:
            assert web.stdout is not None
            port = web.stdout.readline().split(" port ")[1].split()[0]
            options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={root / 'browser'}", "--virtual-time-budget=4000"]
            subprocess.run([browser, *options, "--dump-dom", f"http://127.0.0.1:{port}/"], timeout=90, **quiet)
            web.kill()
        after = call(server.port, "GET", "/models").body["production"]
        server.stop()
    return {"production_before": before, "production_after": after}, before == after


EXPERIMENTS: dict[str, Callable[[Path, bool], Outcome]] = {
    "kill_workers": kill_workers,
    "silent_database": silent_database,
    "one_key_two_rows": one_key_two_rows,
    "retries": retries,
    "full_disk": full_disk,
    "clock": clock,
    "bombs": bombs,
    "mutated_files": mutated_files,
    "two_origins": two_origins,
    **database_experiments.EXPERIMENTS,
    **input_experiments.EXPERIMENTS,
    "etl_crash_points": etl_crash_points,
}

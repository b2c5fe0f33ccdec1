"""Partial rows as they are served: the time of a request, of one row inside, and of a file of a million rows.

    python benchmarks/partial_serving.py --workdir DIR [--rows 1000000] [--only http,row,file]

DIR holds a run of `sporeprint etl` on the real table. Times depend on what else the machine does: CPU times are printed beside them.
"""

import argparse
import http.client
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.registry.registry import Registry

Row = dict[str, str | float | None]
MASKS = 100


def whole_rows(workdir: Path, model: LoadedModel, count: int) -> list[Row]:
    """Test rows as they are recorded: what is empty is left out."""
    names = list(model.bundle.schema.columns)
    frame = pl.read_parquet(workdir / "data/model_input/test.parquet", columns=names).cast({pl.Categorical: pl.String})
    rows = frame.sample(count, seed=3).to_dicts()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def some(rows: Sequence[Row], fields: int, seed: int = 1) -> list[Row]:
    """The rows with so many of their fields, chosen at random."""
    random = np.random.default_rng(seed)
    return [{name: row[name] for name in random.permutation(sorted(row))[:fields].tolist()} for row in rows]


def one_row(model: LoadedModel, rows: Sequence[Row]) -> None:
    """CPU time of one answer, without HTTP and storage."""
    before = replace(model, safety=replace(model.safety, partial=None))
    masked = some(rows, 10)

    def spent(served: LoadedModel, asked: Sequence[Row], rounds: int = 5) -> float:
        for row in asked:
            served.answer(row)
        best = np.inf
        for _ in range(rounds):
            begin = time.process_time()
            for row in asked:
                served.answer(row)
            best = min(best, (time.process_time() - begin) / len(asked))
        return float(best) * 1e6

    today, whole, ten = spent(before, rows), spent(model, rows), spent(model, masked)
    print(
        f"one row, CPU us: without the guard of partial rows {today:.0f}; all recorded fields {whole:.0f} ({whole / today:.2f} x); "
        f"ten fields, mask seen before {ten:.0f} ({ten / today:.2f} x)"
    )


def over_http(workdir: Path, rows: Sequence[Row]) -> None:
    """p50 of requests on one connection."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sporeprint", "serve", "--port", str(port), "--workdir", str(workdir)]
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            connection = _connected(port)
            few, ten = some(rows, 5), some(rows, 10)
            for name, path, asked in (
                ("/identify, no field", "/identify", [{}] * len(rows)),
                ("/identify, five fields", "/identify", few),
                ("/identify, ten fields", "/identify", ten),
                ("/identify, all recorded fields", "/identify", rows),
                ("/predict, all recorded fields", "/predict", rows),
                ("/predict, ten fields, masks seen before", "/predict", ten),
            ):
                _times(connection, path, asked)  # everything made on first use is there
                spent = np.array(_times(connection, path, asked)) * 1e3
                print(f"{name}: p50 {np.median(spent):.2f} ms, p95 {np.quantile(spent, 0.95):.2f} ms, {len(spent)} requests")
        finally:
            server.terminate()
            server.wait()


def _connected(port: int) -> http.client.HTTPConnection:
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            connection.request("GET", "/health/ready")
            if connection.getresponse().read() and connection.sock is not None:
                return connection
        except OSError:
            time.sleep(0.1)
    raise SystemExit("the server does not answer")


def _times(connection: http.client.HTTPConnection, path: str, rows: Sequence[Row]) -> list[float]:
    spent = []
    for row in rows:
        body = json.dumps(row)
        begin = time.perf_counter()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        said = response.read()
        spent.append(time.perf_counter() - begin)
        if response.status != 200:
            raise SystemExit(f"{path}: {response.status} {said[:300]!r}")
    return spent


def a_file(workdir: Path, model: LoadedModel, count: int) -> None:
    """`sporeprint predict` of a CSV whose rows have a hundred different sets of columns."""
    names = list(model.bundle.schema.columns)
    random = np.random.default_rng(7)
    frame = pl.read_parquet(workdir / "data/model_input/test.parquet", columns=names).cast({pl.Categorical: pl.String})
    masks = random.random((MASKS, len(names))).argsort(axis=1).argsort(axis=1) < random.integers(3, len(names) + 1, MASKS)[:, np.newaxis]
    frame = frame.sample(count, with_replacement=True, seed=5)
    mask = masks[random.integers(0, MASKS, count)]
    frame = frame.with_columns(pl.when(pl.Series(mask[:, at])).then(pl.col(name)).alias(name) for at, name in enumerate(names))
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "rows.csv", Path(folder) / "answers.parquet"
        frame.write_csv(source, separator=";")
        command = [sys.executable, "-m", "sporeprint", "predict", str(source), "--out", str(out), "--workdir", str(workdir)]
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.05)
        wall = time.perf_counter() - begin
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"sporeprint predict ended with {process.returncode}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        counts = pl.read_parquet(out, columns=["verdict", "unknown"]).group_by("verdict", "unknown").len().sort("len").rows()
        print(
            f"{count:,} rows, {MASKS} masks: {count / wall:,.0f} rows/s ({wall:.1f} s), {count / cpu:,.0f} rows per CPU second on "
            f"{len(os.sched_getaffinity(0))} cores, at most {peak / 2**20:,.0f} MiB; {counts}"
        )


def _resident(pid: int) -> int:
    """Bytes of memory of a process that are its own or shared."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--model", default="production")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="row,http,file")
    chosen = parser.parse_args()
    registry = Registry(chosen.workdir / "models/registry")
    model = LoadedModel.load(registry, registry.resolve(chosen.model))
    rows, only = whole_rows(chosen.workdir, model, 300), chosen.only.split(",")
    print(f"model {model.ref.ref}; load of the machine {os.getloadavg()[0]:.1f}")
    if "row" in only:
        one_row(model, rows)
    if "http" in only:
        over_http(chosen.workdir, rows)
    if "file" in only:
        a_file(chosen.workdir, model, chosen.rows)


if __name__ == "__main__":
    main()

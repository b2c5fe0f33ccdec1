"""The speed of the Open Inference Protocol: a batch and one row beside the other ways in, and one row beside MLServer.

    python benchmarks/open_inference.py --workdir DIR [--seconds 3] [--pairs 3]
    python benchmarks/open_inference.py --workdir DIR --mlserver      needs wrk; makes an environment for MLServer on first use

DIR is a work directory in which `sporeprint etl` has run over the table DIR/data/raw/secondary_data.csv. MLServer has a model of as many
trees fitted on the same table, in six settings: as it comes, with adaptive batching, with a process a core, each with its
documented pandas codec and with a runtime that does no more than it must. same_answers.py holds
all ways in against each other. One connection for batches; eight threads, each with a connection, for single rows. The sides take turns; a
figure is a pair's ratio.
"""

import argparse
import io
import json
import math
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from serving.run import LUA, MLSERVER, PEERS, ROOT, ROWS, Server, bodies, start_ours, start_peer, tree_count, wrk
from sporeprint.model_serving.open_inference.tensors import BYTES, Tensor, to_bytes
from sporeprint.registry.registry import Registry
from sporeprint.schema import DatasetSchema

BATCH = 1000


def binary_body(
    frame: pl.DataFrame, schema: DatasetSchema, *, outputs: Sequence[Any] = (), parameters: Mapping[str, Any] | None = None
) -> tuple[bytes, int]:
    """An inference request with one binary tensor a column, and the length of its JSON."""
    inputs, chunks = [], []
    for name in frame.columns:
        numeric = name in schema.numeric
        values = frame[name].cast(pl.Float64).fill_null(float("nan")) if numeric else frame[name].fill_null("")
        chunk = to_bytes(Tensor(name, "FP64" if numeric else BYTES, (frame.height,), values.to_list()))
        chunks.append(chunk)
        described = {"name": name, "datatype": "FP64" if numeric else BYTES, "shape": [frame.height]}
        inputs.append({**described, "parameters": {"binary_data_size": len(chunk)}})
    request = {"inputs": inputs, "outputs": list(outputs), "parameters": {"binary_data_output": True, **(parameters or {})}}
    head = json.dumps(request).encode()
    return head + b"".join(chunks), len(head)


def rate(send: Callable[[httpx.Client], None], base_url: str, seconds: float, threads: int) -> float:
    """Calls a second of n threads with a connection each."""
    counts, end = [0] * threads, time.perf_counter() + seconds

    def work(number: int) -> None:
        with httpx.Client(base_url=base_url, timeout=60) as client:
            while time.perf_counter() < end:
                send(client)
                counts[number] += 1

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    begin = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - begin)


def checked(response: httpx.Response) -> None:
    """An answer that is none would make a figure that is none."""
    if response.status_code != 200:
        raise SystemExit(f"{response.request.url} answered {response.status_code}: {response.text[:300]}")


def compare(server: Server, frame: pl.DataFrame, schema: DatasetSchema, seconds: float, pairs: int) -> dict[str, Any]:
    """The two ratios, of each pair."""
    url, part = f"http://127.0.0.1:{server.port}", frame.head(BATCH)
    body, length = binary_body(part, schema)
    parquet = io.BytesIO()
    part.write_parquet(parquet)
    row = {name: value for name, value in part.row(0, named=True).items() if value is not None}
    single = json.dumps({"inputs": [{"name": "rows", "datatype": BYTES, "shape": [1], "data": [json.dumps(row)]}]}).encode()
    infer, json_type = "/v2/models/mushroom/infer", {"Content-Type": "application/json"}
    binary_type, parquet_type = {"Inference-Header-Content-Length": str(length)}, {"Content-Type": "application/vnd.apache.parquet"}
    ways: dict[str, tuple[Callable[[httpx.Client], None], int]] = {
        "batch, binary tensors": (
            lambda c: checked(c.post(infer, content=body, headers=binary_type)),
            1,
        ),
        "batch, Parquet": (
            lambda c: checked(c.post("/predict/batch", content=parquet.getvalue(), headers=parquet_type)),
            1,
        ),
        "one row, /v2": (lambda c: checked(c.post(infer, content=single, headers=json_type)), 8),
        "one row, /predict": (lambda c: checked(c.post("/predict", json=row)), 8),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    micros: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(pairs):
        for name, (send, threads) in ways.items():
            before = server.cpu_s()
            rates[name].append(rate(send, url, seconds, threads) * (BATCH if "batch" in name else 1))
            micros[name].append((server.cpu_s() - before) * 1e6 / max(rates[name][-1] * seconds, 1.0))

    def cpu(a: str, b: str) -> float:
        return round(statistics.median(micros[b]) / statistics.median(micros[a]), 3)

    def ratios(a: str, b: str) -> list[float]:
        return [x / y for x, y in zip(rates[a], rates[b], strict=True)]

    return {
        "rates": {name: round(statistics.median(values)) for name, values in rates.items()},
        "batch, binary / Parquet": ratios("batch, binary tensors", "batch, Parquet"),
        "one row, /v2 / /predict": ratios("one row, /v2", "one row, /predict"),
        "microseconds of processor a row": {name: round(statistics.median(values), 1) for name, values in micros.items()},
        # What the rates come to where nobody else uses the processor, which bounds a busy server.
        "the same ratios by processor time": [
            cpu("batch, binary tensors", "batch, Parquet"),
            cpu("one row, /v2", "one row, /predict"),
        ],
    }


def is_loaded(server: Server, path: str) -> bool:
    """Whether a model is ready within half a minute: MLServer is before its models are, where other processes load them."""
    for _ in range(150):
        with suppress(httpx.TransportError):
            if httpx.get(f"http://127.0.0.1:{server.port}{path}").status_code == 200:
                return True
        time.sleep(0.2)
    return False


def against_mlserver(server: Server, cache: Path, table: pl.DataFrame, trees: int, seconds: int, pairs: int) -> dict[str, Any]:
    """Single rows as JSON at 64 connections, by wrk, and the same bodies to MLServer in each of its settings, in turn."""
    own = {"sporeprint": ("/v2/models/mushroom/infer", "oip"), "sporeprint, /predict": ("/predict", "object")}
    rates: dict[str, list[float]] = {name: [] for name in (*own, *MLSERVER)}
    micros: dict[str, list[float]] = {name: [] for name in rates}
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="serving-", dir=cache) as temporary:
        folder = Path(temporary)
        table.write_parquet(folder / "table.parquet")
        bodies(table.drop("class").sample(ROWS, seed=1), folder)
        (script := folder / "load.lua").write_text(LUA)
        for _ in range(pairs):
            for name, measured in rates.items():
                with ExitStack() as stack:
                    asked, (path, shape) = server, own.get(name, (PEERS["mlserver"].path, "oip"))
                    if name not in own:
                        asked = start_peer(PEERS[name], cache, folder, trees)
                        stack.callback(asked.end)
                        if not is_loaded(asked, f"{path.removesuffix('/infer')}/ready"):
                            print(f"{name}: does not load its model", file=sys.stderr)
                            measured.append(0.0)
                            micros[name].append(math.inf)
                            continue
                    wrk(asked, path, folder / f"{shape}.jsonl", script, 16, 1)
                    load = wrk(asked, path, folder / f"{shape}.jsonl", script, 64, seconds)
                    measured.append(load.per_s - load.failed / seconds)  # what failed is no answer
                    micros[name].append(load.cpu_us * load.per_s / measured[-1] if measured[-1] > 0 else math.inf)
                    print(f"{name}: {measured[-1]:.0f}/s, {micros[name][-1]:.0f} us CPU; {load.failed} failed", file=sys.stderr)
    ours, row = rates["sporeprint"], rates["sporeprint, /predict"]
    return {
        "requests/s, one row, 64 connections": {name: list(map(round, values)) for name, values in rates.items()},
        "microseconds of processor a request": {name: [round(value, 1) for value in values] for name, values in micros.items()},
        "one row, columns by /v2 / the object by /predict, limit 0.7": [round(a / b, 3) for a, b in zip(ours, row, strict=True)],
        "columns by /v2 / the object by /predict, by processor time": _less(micros, ["sporeprint, /predict"]),
        "one row, /v2 / MLServer's best setting, limit 4": _more(rates, [name for name in MLSERVER if "lean" not in name]),
        "/v2 / MLServer's best setting, by processor time": _less(micros, [name for name in MLSERVER if "lean" not in name]),
        "one row, /v2 / MLServer's best with a runtime written for speed": _more(rates, MLSERVER),
        "/v2 / that, by processor time": _less(micros, MLSERVER),
    }


def _more(rates: Mapping[str, Sequence[float]], others: Sequence[str]) -> list[float]:
    """How many times as many requests sporeprint answers as the best of some others, in each turn."""
    return [round(ours / max(rates[name][turn] for name in others), 2) for turn, ours in enumerate(rates["sporeprint"])]


def _less(micros: Mapping[str, Sequence[float]], others: Sequence[str]) -> list[float]:
    """How many times as long as sporeprint the best of some others computes, in each turn."""
    return [round(min(micros[name][turn] for name in others) / ours, 2) for turn, ours in enumerate(micros["sporeprint"])]


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--mlserver", action="store_true", help="only single rows, beside MLServer")
    parser.add_argument("--cache", type=Path, default=ROOT / "benchmarks/out/serving", help="folder for MLServer's environment")
    options = parser.parse_args()
    schema = Registry(options.workdir / "models/registry").load("production").schema
    table = pl.read_csv(options.workdir / "data/raw/secondary_data.csv", separator=";")
    frame = table.select([pl.col(name).cast(pl.String) if name not in schema.numeric else pl.col(name) for name in schema.columns])
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = start_ours("sporeprint", options.workdir, Path(folder), stack)
        stack.callback(server.end)
        if options.mlserver:
            trees = tree_count(options.workdir)
            found = against_mlserver(server, options.cache, table, trees, round(options.seconds), options.pairs)
        else:
            found = compare(server, frame, schema, options.seconds, options.pairs)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

"""Verdicts and scores of every row of the table by every way in, held against `sporeprint predict FILE`.

    python benchmarks/same_answers.py --workdir DIR [--rows 61069] [--clients .venv-clients/bin/python]

DIR is a work directory in which `sporeprint etl` has run over the table DIR/data/raw/secondary_data.csv. `--clients` is a Python with
MLflow (scripts/clients_dev.sh --setup). Three tables: as it is; half of the cells not observed; half of the columns not there.
Exits with 1 where a verdict differs, or a score by more than 1e-6.
"""

import argparse
import http.client
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import orjson
import polars as pl

from open_inference import binary_body, checked
from serving.run import ROOT, Server, start_ours
from sporeprint.registry.registry import Registry
from sporeprint.schema import DatasetSchema

#: Verdicts and probabilities of the rows, in their order.
Answers = tuple[list[str], npt.NDArray[np.float64]]
Way = Callable[[pl.DataFrame], Answers]
INFER, PARQUET = "/v2/models/mushroom/infer", "application/vnd.apache.parquet"
OUTPUTS = [{"name": "verdict"}, {"name": "probability"}]
PYFUNC = """
import sys, mlflow.pyfunc, pandas as pd, polars as pl
frame = pl.read_parquet(sys.argv[2])
pl.DataFrame(mlflow.pyfunc.load_model(sys.argv[1]).predict(pd.DataFrame(frame.to_dict(as_series=False)))
    [["verdict", "probability"]].to_dict("list")).write_parquet(sys.argv[3])
"""


def tables(frame: pl.DataFrame, schema: DatasetSchema) -> dict[str, pl.DataFrame]:
    """The table, and two of it with parts not observed."""
    random = np.random.default_rng(20)
    hidden = [pl.Series(name, random.random(frame.height) < 0.5) for name in frame.columns]
    cells = [pl.when(mask).then(None).otherwise(pl.col(mask.name)).alias(mask.name) for mask in hidden]
    some = sorted(random.permutation(len(schema.columns))[: len(schema.columns) // 2].tolist())
    return {"complete rows": frame, "half of the cells": frame.select(cells), "half of the columns": frame.select(pl.nth(some))}


def as_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Each row with the fields that were observed."""
    return [{name: value for name, value in row.items() if value is not None} for row in frame.iter_rows(named=True)]


def gathered(parts: list[Answers]) -> Answers:
    """Answers one after the other."""
    return [verdict for verdicts, _ in parts for verdict in verdicts], np.concatenate([scores for _, scores in parts])


def from_frame(frame: pl.DataFrame) -> Answers:
    """Answers in a table."""
    return frame["verdict"].to_list(), frame["probability"].to_numpy()


def from_json(document: Mapping[str, Any]) -> Answers:
    """Answers in tensors."""
    given = {output["name"]: output["data"] for output in document["outputs"]}
    return given["verdict"], np.array(given["probability"])


def from_bytes(response: httpx.Response) -> Answers:
    """Answers in bytes behind their JSON: texts with their lengths, then double precision."""
    at = int(response.headers["Inference-Header-Content-Length"])
    texts, numbers = orjson.loads(response.content[:at])["outputs"]
    raw = response.content[at : (end := at + texts["parameters"]["binary_data_size"])]
    scores = np.frombuffer(response.content[end : end + numbers["parameters"]["binary_data_size"]], dtype="<f8")
    verdicts, place = [], 0
    for _ in range(texts["shape"][0]):
        size = int.from_bytes(raw[place : place + 4], "little")
        verdicts.append(raw[place + 4 : place + 4 + size].decode())
        place += 4 + size
    return verdicts, scores


# --- the ways in -----------------------------------------------------------------------------------------------------------


def by_file(workdir: Path, frame: pl.DataFrame, folder: Path) -> Answers:
    """`sporeprint predict FILE`."""
    frame.write_parquet(folder / "rows.parquet")
    command = [sys.executable, "-m", "sporeprint", "predict", str(folder / "rows.parquet"), "--out", str(folder / "answers.parquet")]
    subprocess.run([*command, "--workdir", str(workdir), "--quiet"], check=True, stdout=subprocess.DEVNULL)
    return from_frame(pl.read_parquet(folder / "answers.parquet"))


def by_mlflow(python: Path, workdir: Path, frame: pl.DataFrame, folder: Path) -> Answers:
    """`sporeprint export mlflow`, loaded by MLflow in an environment of its own."""
    if not (folder / "model").exists():
        command = [sys.executable, "-m", "sporeprint", "export", "mlflow", "production", "--out", str(folder / "model")]
        subprocess.run([*command, "--workdir", str(workdir), "--quiet"], check=True, stdout=subprocess.DEVNULL)
    frame.write_parquet(folder / "rows.parquet")
    paths = os.pathsep.join((str(ROOT / "src"), str(Path(np.__file__).parents[1])))
    command = [str(python), "-c", PYFUNC, str(folder / "model"), str(folder / "rows.parquet"), str(folder / "answers.parquet")]
    environment = {**os.environ, "PYTHONPATH": paths, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    subprocess.run(command, check=True, env=environment, stderr=subprocess.DEVNULL)
    return from_frame(pl.read_parquet(folder / "answers.parquet"))


def by_predict(port: int, frame: pl.DataFrame) -> Answers:
    """`POST /predict`, a request a row."""

    def ask(rows: list[dict[str, Any]]) -> Answers:
        connection, verdicts, scores = http.client.HTTPConnection("127.0.0.1", port, timeout=60), [], []
        for row in rows:
            connection.request("POST", "/predict", orjson.dumps(row), {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = orjson.loads(response.read())
            if response.status != 200:
                raise SystemExit(f"/predict answered {response.status}: {answer}")
            verdicts.append(answer["verdict"])
            scores.append(answer["probability"])
        connection.close()
        return verdicts, np.array(scores)

    rows = as_rows(frame)
    with ThreadPoolExecutor(4) as pool:
        return gathered(list(pool.map(ask, [rows[at : at + 1000] for at in range(0, len(rows), 1000)])))


def by_batch(client: httpx.Client, frame: pl.DataFrame) -> Answers:
    """`POST /predict/batch`, one Parquet file."""
    stream = io.BytesIO()
    frame.write_parquet(stream)
    answer = client.post("/predict/batch", content=stream.getvalue(), headers={"Content-Type": PARQUET, "Accept": PARQUET})
    checked(answer)
    return from_frame(pl.read_parquet(io.BytesIO(answer.content)))


def by_columns(client: httpx.Client, frame: pl.DataFrame, schema: DatasetSchema) -> Answers:
    """Open Inference Protocol, JSON, a tensor a column, 5,000 rows a request."""
    parts = []
    for part in frame.iter_slices(5000):
        inputs = [
            {"name": name, "datatype": "FP64" if name in schema.numeric else "BYTES", "shape": [part.height], "data": part[name].to_list()}
            for name in part.columns
        ]
        answer = client.post(INFER, content=orjson.dumps({"inputs": inputs, "outputs": OUTPUTS, "parameters": {"partial": True}}))
        checked(answer)
        parts.append(from_json(answer.json()))
    return gathered(parts)


def by_rows(client: httpx.Client, frame: pl.DataFrame) -> Answers:
    """Open Inference Protocol, JSON, one tensor of rows, 100 rows a request."""
    parts = []
    for part in frame.iter_slices(100):
        data = [orjson.dumps(row).decode() for row in as_rows(part)]
        inputs = [{"name": "rows", "datatype": "BYTES", "shape": [part.height], "data": data}]
        answer = client.post(INFER, content=orjson.dumps({"inputs": inputs, "outputs": OUTPUTS}))
        checked(answer)
        parts.append(from_json(answer.json()))
    return gathered(parts)


def by_binary(client: httpx.Client, frame: pl.DataFrame, schema: DatasetSchema) -> Answers:
    """Open Inference Protocol, binary tensors in both directions, 5,000 rows a request."""
    parts = []
    for part in frame.iter_slices(5000):
        body, length = binary_body(part, schema, outputs=OUTPUTS, parameters={"partial": True})
        answer = client.post(INFER, content=body, headers={"Inference-Header-Content-Length": str(length)})
        checked(answer)
        parts.append(from_bytes(answer))
    return gathered(parts)


def compare(server: Server, workdir: Path, python: Path, folder: Path, frame: pl.DataFrame, schema: DatasetSchema) -> dict[str, Any]:
    """For each table and way in, the verdicts that differ from those of the file, and the largest difference of scores."""
    found: dict[str, Any] = {"rows": frame.height}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=300) as client:
        ways: dict[str, Way] = {
            "/v2, JSON, columns": lambda part: by_columns(client, part, schema),
            "/v2, JSON, rows": lambda part: by_rows(client, part),
            "/v2, binary": lambda part: by_binary(client, part, schema),
            "/predict": lambda part: by_predict(server.port, part),
            "/predict/batch": lambda part: by_batch(client, part),
            "MLflow pyfunc": lambda part: by_mlflow(python, workdir, part, folder),
        }
        for table, part in tables(frame, schema).items():
            verdicts, scores = by_file(workdir, part, folder)
            entry = found[table] = {"verdicts": dict(zip(*np.unique(verdicts, return_counts=True), strict=True))}
            entry["verdicts"] = {str(name): int(count) for name, count in entry["verdicts"].items()}
            for name, way in ways.items():
                others, other_scores = way(part)
                differing = sum(a != b for a, b in zip(verdicts, others, strict=True))
                entry[name] = {"verdicts": differing, "scores": float(np.abs(scores - other_scores).max())}
                print(f"{table}, {name}: {entry[name]}", file=sys.stderr)
    return found


def main() -> None:
    """Compare, print JSON, and fail where something differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=61_069)
    parser.add_argument("--clients", type=Path, default=ROOT / ".venv-clients/bin/python")
    options = parser.parse_args()
    workdir = options.workdir.resolve()
    schema = Registry(workdir / "models/registry").load("production").schema
    frame = pl.read_csv(workdir / "data/raw/secondary_data.csv", separator=";", n_rows=options.rows)
    frame = frame.select([pl.col(name).cast(pl.String) if name not in schema.numeric else pl.col(name) for name in schema.columns])
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        server = start_ours("sporeprint", workdir, Path(folder), stack)
        stack.callback(server.end)
        found = compare(server, workdir, options.clients.absolute(), Path(folder), frame, schema)
    print(json.dumps(found, indent=1))
    ways = [way for table in found.values() if isinstance(table, dict) for name, way in table.items() if name != "verdicts"]
    sys.exit(any(way["verdicts"] or not way["scores"] <= 1e-6 for way in ways))


if __name__ == "__main__":
    main()

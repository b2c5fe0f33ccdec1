"""Experiments with what is sent: the same rows five ways, and inputs that are wrong in every way that could be thought of."""

import csv
import io
import itertools
import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from lab import CONFIG, SPOREPRINT, Server, call, copy_of
from sporeprint.registry.registry import Registry
from sporeprint.schema import DatasetSchema

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"


# --- five ways -----------------------------------------------------------------------------------------------------------


def five_ways(trained: Path, quick: bool) -> tuple[dict[str, Any], bool]:
    """The same rows by JSON, JSON batch, CSV, Parquet and the command line, in codes and words: rows of which anything differs."""
    with copy_of(trained) as root:
        schema = Registry(root / "models/registry").load("production").schema
        rows = _rows(root, schema, 400 if quick else 10_000)
        server = Server(root)
        single = [_told(call(server.port, "POST", "/predict", row).body) for row in rows]
        ways = {"JSON batch": [_told(row) for row in _batch(server.port, json.dumps(rows).encode(), "application/json")]}
        frame = pl.DataFrame(rows, infer_schema_length=None)
        table, parquet, out = root / "rows.csv", root / "rows.parquet", root / "out.csv"
        frame.write_csv(table)
        frame.write_parquet(parquet)
        ways["CSV"] = [_told(row) for row in _batch(server.port, table.read_bytes(), CSV)]
        ways["Parquet"] = [_told(row) for row in _batch(server.port, parquet.read_bytes(), PARQUET)]
        server.stop()
        place = ["--workdir", str(root), "-q"]
        subprocess.run([*SPOREPRINT, "predict", str(table), "--out", str(out), *place], check=True, stdout=subprocess.DEVNULL)
        with out.open(encoding="utf-8") as file:
            told = list(csv.DictReader(file))
        ways["CLI"] = [(row["verdict"], row["prediction"], tuple(filter(None, row["unseen"].split(",")))) for row in told]
    differing = {name: sum(one != other for one, other in zip(single, way, strict=True)) for name, way in ways.items()}
    return {"rows": len(rows), "verdicts": dict(Counter(each[0] for each in single)), "differing": differing}, not any(differing.values())


def _rows(root: Path, schema: DatasetSchema, count: int) -> list[dict[str, Any]]:
    """Training rows in codes and words, some of them changed, with gaps and with values that nobody has seen."""
    chance, found = random.Random(12), []
    known = pl.read_parquet(root / "data/model_input/train.parquet").select(list(schema.columns))
    for observed in known.sample(count, with_replacement=True, seed=12).iter_rows(named=True):
        strangeness, row = chance.choice((0, 0, 0.02)), dict[str, Any]()
        for name, value in observed.items():
            words = schema.columns[name].values or {}
            if chance.random() < 0.02:
                value = round(chance.uniform(0, 20), 2) if name in schema.numeric else chance.choice(list(words))
            word = words.get(value, value) if chance.random() < 0.5 else value
            row[name] = None if chance.random() < 0.05 else "never" if words and chance.random() < strangeness else word
        found.append(row)
    return found


def _batch(port: int, body: bytes, media: str) -> list[dict[str, Any]]:
    response = call(port, "POST", "/predict/batch", body, {"Content-Type": media, "Accept": "application/json"}, timeout=300)
    return response.body["predictions"]  # type: ignore[no-any-return]


def _told(row: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    return row["verdict"], row["prediction"], tuple(row["unseen"])


# --- bad inputs ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BadInput:
    """Something that cannot be understood.

    Attributes:
        name: of the case.
        path: with its parameters; the name of a command, where `arguments` are given.
        body: of the request.
        headers: of the request.
        method: of HTTP.
    """

    name: str
    path: str
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    method: str = "POST"


BAD_VALUES: tuple[Any, ...] = ([], {}, [1], {"a": 1}, "x" * 300)
BAD_NUMBERS: tuple[Any, ...] = ("abc", "1,5", "1e999", True, "--1", "0x10", "1 2")
BAD_CELLS = ("abc", "1e999", "--1", "0x10", "1 2", "12cm")


def bad_rows(schema: DatasetSchema) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows with one bad field."""
    for name in schema.columns:
        values = BAD_VALUES + (BAD_NUMBERS if name in schema.numeric else ())
        for value in values:
            yield f"{name}={json.dumps(value)[:20]}", {name: value}
        yield f"{name}x", {f"{name}x": "x"}


def bad_requests(schema: DatasetSchema) -> Iterator[BadInput]:
    """Requests that are wrong: of one row, of many, of outcomes, of files, of what operates the server."""
    for name, row in bad_rows(schema):
        yield BadInput(f"row {name}", "/predict", json.dumps(row).encode())
        yield BadInput(f"batch {name}", "/predict/batch", json.dumps([row]).encode())
    good = json.dumps({name: "x" if name in schema.nominal else 1.5 for name in list(schema.columns)[:3]}).encode()
    for end in range(len(good)):
        yield BadInput(f"cut at {end}", "/predict", good[:end])
    for text in (
        b"\xff",
        b"[]",
        b"7",
        b'"a"',
        b"null",
        b"NaN",
        b"{'a':1}",
        b'{"a":1,"a":2}',
        b"[" * 5000,
        b'{"a":' * 5000,
        b"{}{}",
        b"\x00",
    ):
        yield BadInput(f"body {text[:12]!r}", "/predict", text)
        if text != b"[]":
            yield BadInput(f"batch body {text[:12]!r}", "/predict/batch", text)
            yield BadInput(f"outcomes body {text[:12]!r}", "/predictions/outcomes", text)
    for query in (
        "modle=xgboost",
        "model=",
        "model=nope",
        "model=xgboost/v99",
        "explain=perhaps",
        "ab_test=nope",
        "a=%ff",
        "explain=1&explain=0",
    ):
        yield BadInput(f"query {query}", f"/predict?{query}", b"{}")
        yield BadInput(f"batch query {query}", f"/predict/batch?{query}", b"[{}]")
    for name, value in (
        ("Content-Type", "text/plain"),
        ("Content-Type", ""),
        ("Content-Encoding", "compress"),
        ("Content-Encoding", "gzip"),
    ):
        yield BadInput(f"header {name}: {value}", "/predict", b"{}", (*(() if name == "Content-Type" else JSON), (name, value)))
    for name, value in (("Idempotency-Key", ""), ("Idempotency-Key", "k" * 256), ("Idempotency-Key", "a b"), ("X-Request-Id", "a b")):
        if name != "X-Request-Id":  # a bad one is replaced, and the answer names the new one
            yield BadInput(f"header {name}: {value[:10]}", "/predict", b"{}", (*JSON, (name, value)))
    yield from _bad_outcomes()
    yield from _bad_operations()
    yield from _bad_csv(schema)
    yield from _bad_parquet(schema)


JSON = (("Content-Type", "application/json"),)


def _bad_outcomes() -> Iterator[BadInput]:
    codes: tuple[Any, ...] = (None, "", "q", 7, [], {}, "x" * 300)
    times: tuple[Any, ...] = ("yesterday", "2026-02-30", "2026-01-01T00:00", "9999-12-31T23:59:59-23:59", 7, [], "1900-01-01T00:00:00Z")
    sources: tuple[Any, ...] = ("", "x" * 300, 7, [], "a\x00b")
    bad: list[dict[str, Any]] = [{"outcome": value} for value in codes]
    bad += [{"outcome": "p", "observed": value} for value in times]
    bad += [{"outcome": "p", "source": value} for value in sources]
    bad += [{"outcome": "p", "extra": 1}, {"Outcome": "p"}, {}]
    for fields in bad:
        body = json.dumps(fields).encode()
        yield BadInput(f"outcome {body[:40]!r}", f"/predictions/{'0' * 32}/outcome", body)
        yield BadInput(f"outcomes {body[:40]!r}", "/predictions/outcomes", json.dumps([{"prediction_id": "0" * 32, **fields}]).encode())
    for text in (b"prediction_id\n1\n", b"a,b\n1,2\n", b"prediction_id,outcome\n1", b'prediction_id,outcome\n"1,p\n', b"\x00\x01", b""):
        yield BadInput(f"outcomes csv {text[:30]!r}", "/predictions/outcomes", text, (("Content-Type", CSV),))


def _bad_operations() -> Iterator[BadInput]:
    body: Any
    for what in ("promote", "rollback"):
        for body in (
            {},
            {"version": "x"},
            {"version": 99},
            {"version": -1},
            {"version": 1, "alias": "boss"},
            {"version": 1, "reason": 7},
            {"versio": 1},
            [],
        ):
            yield BadInput(f"{what} {body}", f"/models/xgboost/{what}", json.dumps(body).encode())
        yield BadInput(f"{what} nobody", f"/models/nope/{what}", b'{"version":1}')
    test: dict[str, Any] = {"name": "t", "model_a": "xgboost", "model_b": "decision_tree"}
    for name, values in {
        "name": ("", "a b", "x" * 300, 7),
        "model_a": ("", "nope", 7),
        "model_b": ("xgboost", "nope/v1", None),
        "traffic_split": (0, 1, 2, "half", -1),
        "mode": ("both", 7),
        "metric": ("luck", 7),
        "alpha": (0, 1, "x"),
        "margin": (-1, "x", 2),
        "min_units": (-1, "x", 1.5),
        "guardrails": ("x", ["luck"], {}),
        "costs": ("x", {"a": -1}),
        "unit": ("person", 7),
    }.items():
        for value in values:
            yield BadInput(f"ab {name}={value!r}"[:40], "/ab-tests", json.dumps({**test, name: value}).encode())
    yield BadInput("ab conclude", "/ab-tests/nope/conclude", b"{}")
    for path in (
        "/ab-tests?limit=0",
        "/ab-tests?limit=x",
        "/ab-tests?before=x",
        "/ab-tests?status=odd",
        "/ab-tests/nope",
        "/ab-tests/nope/report",
        "/predictions/nope",
        "/nowhere",
        "/models/x",
        "/%00",
        "/docs/%2e%2e/secret",
    ):
        yield BadInput(f"get {path}", path, None, (), "GET")
    for method, path in itertools.product(("PUT", "DELETE", "PATCH"), ("/predict", "/models", "/ab-tests")):
        yield BadInput(f"{method} {path}", path, b"{}", JSON, method)


def _bad_csv(schema: DatasetSchema) -> Iterator[BadInput]:
    names, kind = list(schema.columns), (("Content-Type", CSV), ("Accept", "application/json"))
    good = ["1.5" if name in schema.numeric else "x" for name in names]

    def table(header: list[str], *rows: list[str]) -> bytes:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([header, *rows])
        return out.getvalue().encode()

    for place, name in enumerate(names):
        yield BadInput(f"csv without {name}", "/predict/batch", table(names[:place] + names[place + 1 :], good[:-1]), kind)
        yield BadInput(f"csv {name} twice", "/predict/batch", table([*names, name], [*good, "x"]), kind)
        for value in BAD_CELLS if name in schema.numeric else ():
            yield BadInput(f"csv {name}={value}", "/predict/batch", table(names, [*good[:place], value, *good[place + 1 :]]), kind)
    whole = table(names, good)
    for text in (
        b"",
        b"\n",
        b"\x00" * 50,
        b"\xff\xfe\x00",
        whole.replace(b",", b"!"),
        b"PK\x03\x04 no zip",
        b"%PDF-1.4",
        b"\x1f\x8b no gzip",
        b"<html>",
        b"PAR1",
    ):
        yield BadInput(f"csv file {text[:10]!r}", "/predict/batch", text, kind)
    for row in (good[:-1], [*good, "more"], ["only"]):
        yield BadInput(f"csv row of {len(row)}", "/predict/batch", table(names, row), kind)
    yield BadInput("csv open quote", "/predict/batch", whole + b'"' + b"x" * 100, kind)


def _bad_parquet(schema: DatasetSchema) -> Iterator[BadInput]:
    names, kind = list(schema.columns), (("Content-Type", PARQUET), ("Accept", "application/json"))
    good: dict[str, Any] = {name: [1.5] if name in schema.numeric else ["x"] for name in names}

    def table(columns: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        pl.DataFrame(columns).write_parquet(out)
        return out.getvalue()

    for name in names:
        yield BadInput(f"parquet without {name}", "/predict/batch", table({key: value for key, value in good.items() if key != name}), kind)
        yield BadInput(f"parquet {name} a list", "/predict/batch", table({**good, name: [["x"]]}), kind)
        yield BadInput(f"parquet {name} a struct", "/predict/batch", table({**good, name: [{"a": 1}]}), kind)
        if name in schema.numeric:
            yield BadInput(f"parquet {name} a text", "/predict/batch", table({**good, name: ["abc"]}), kind)
    whole = table(good)
    for end in range(0, len(whole), max(1, len(whole) // 60)):
        yield BadInput(f"parquet cut at {end}", "/predict/batch", whole[:end], kind)


def bad_commands(root: Path, schema: DatasetSchema) -> Iterator[list[str]]:
    """Arguments of `sporeprint` that cannot be understood."""
    names = list(schema.columns)
    files = {
        "empty": b"",
        "nul": b"\x00" * 99,
        "nothing": b"a,b\n1,2\n",
        "header": ",".join([*names, names[0]]).encode() + b"\n",
        "pdf": b"%PDF-1.4",
    }
    for name, data in files.items():
        (root / f"{name}.csv").write_bytes(data)
        yield ["predict", str(root / f"{name}.csv"), "--out", str(root / "out.csv")]
    out = ["--out", str(root / "out.csv")]
    yield from (["predict", "no-such.csv", *out], ["predict", str(root), *out], ["predict", str(root / "empty.csv")])
    yield from (["predict", str(root / "nothing.csv"), *out, "--model", model] for model in ("nope", "xgboost/v99", ""))
    yield from (
        ["models", *words] for words in (["promote", "nope"], ["promote", "xgboost/v99"], ["rollback", "nope"], ["show", "nope"], ["odd"])
    )
    yield from (
        ["serve", *words] for words in (["--port", "0"], ["--port", "x"], ["--workers", "0"], ["--model", "nope"], ["--host", "1.2.3"])
    )
    yield from (
        ["keys", *words]
        for words in (["create"], ["create", "--name", "a b", "--role", "predict"], ["create", "--name", "a", "--role", "king"])
    )
    yield from (["ab-test", *words] for words in (["show", "nope"], ["conclude", "nope"], ["create", "--name", ""], ["report", "nope"]))
    yield from (
        ["config", "check", "--set", word] for word in ("serving.prot=1", "split.seed=x", "a", "serving.deadline_s=-1", "dataset=1")
    )
    yield from (["warehouse", "query", sql] for sql in ("DROP TABLE x", "SELECT", "", "SELECT 1; SELECT 2"))
    yield from (["db", "upgrade", "nope"], ["db", "downgrade", "nope"], ["nope"], ["--nope"], ["etl", "--source", "no-such.csv"])
    yield from (["monitor", "--current", "no-such.csv"], ["monitor", "--last", "soon"], ["simulate", "--rows", "-1", "--out", "x.csv"])


def bad_inputs(trained: Path, quick: bool) -> tuple[dict[str, Any], bool]:
    """Over HTTP, as files and on the command line: tracebacks, answers of 5xx, and inputs that were taken without a word."""
    wrong: dict[str, list[str]] = {"server_error": [], "silent": [], "traceback": []}
    tried = Counter[str]()
    with copy_of(trained) as root:
        schema = Registry(root / "models/registry").load("production").schema
        server = Server(root)
        for case in itertools.islice(bad_requests(schema), 0, None, 10 if quick else 1):
            kind = "files" if dict(case.headers).get("Content-Type") in (CSV, PARQUET) else "HTTP"
            tried[kind] += 1
            response = call(server.port, case.method, case.path, case.body, dict(case.headers))
            if response.status >= 500 or response.status == 0:
                wrong["server_error"].append(f"{case.name}: {response.status}")
            elif response.status < 400 and not _is_said(response.body):
                wrong["silent"].append(f"{case.name}: {response.status}")
        wrong["traceback"] += ["the server's log"] * server.traces()
        server.stop()
        for words in itertools.islice(bad_commands(root, schema), 0, None, 10 if quick else 1):
            tried["CLI"] += 1
            environ = {**os.environ, "SPOREPRINT_CONFIG": str(CONFIG), "SPOREPRINT_WORKDIR": str(root)}
            done = subprocess.run([*SPOREPRINT, *words], capture_output=True, text=True, env=environ, cwd=root, timeout=120, check=False)
            if "Traceback" in done.stderr + done.stdout:
                wrong["traceback"].append(" ".join(words))
            if done.returncode == 0 or not done.stderr.strip():
                wrong["silent"].append(" ".join(words))
    return {"tried": dict(tried), **{name: found[:20] for name, found in wrong.items()}}, not any(wrong.values())


def _is_said(body: Any) -> bool:
    """Whether an answer says of some row what is wrong with it."""
    if not isinstance(body, dict):
        return False
    rows = body.get("predictions") or body.get("results") or []
    return any(row.get("problem") or row.get("reason") for row in rows)


EXPERIMENTS = {"five_ways": five_ways, "bad_inputs": bad_inputs}

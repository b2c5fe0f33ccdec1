"""The same rows in every form that other tools send them in have the same verdicts."""

import csv
import gzip
import io
import json
import random
from typing import Any

import polars as pl
import pytest
import zstandard

from serving_support import Client
from sporeprint.inference.model_bundle import Bundle
from sporeprint.registry.registry import Registry

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


@pytest.fixture(scope="module")
def bundle(shared_root: Any) -> Bundle:
    return Registry(shared_root / "models/registry").load("production")


@pytest.fixture(scope="module")
def rows(bundle: Bundle) -> list[dict[str, Any]]:
    """Rows of the contract, in codes and words, with missing and unknown values, drawn by chance."""
    chance, schema = random.Random(11), bundle.schema
    found = []
    for _ in range(60):
        row: dict[str, Any] = {}
        for name, column in schema.columns.items():
            values = [*(column.values or {}), *(column.values or {}).values(), "never", None]
            row[name] = round(chance.uniform(0, 20), 2) if name in schema.numeric else chance.choice(values)
        found.append(row)
    return found


def as_csv(rows: list[dict[str, Any]], names: list[str], before: str = "") -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*([""] if before else []), *names])
    for number, row in enumerate(rows):
        writer.writerow([*([number] if before else []), *row.values()])
    return out.getvalue().encode()


def as_parquet(rows: list[dict[str, Any]], names: list[str]) -> bytes:
    out = io.BytesIO()
    frame = pl.DataFrame(rows, infer_schema_length=None)
    frame.rename(dict(zip(frame.columns, names, strict=True))).write_parquet(out)
    return out.getvalue()


def form(name: str, body: bytes, media: str) -> tuple[bytes, str]:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: {media}\r\n\r\n'.encode()
    return head + body + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


def test_every_form_of_the_same_rows_has_the_same_verdicts(client: Client, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    spelled = [name.replace("-", "_") for name in names]
    split = {"columns": names, "data": [list(row.values()) for row in rows]}
    lines = b"\n".join(json.dumps(row).encode() for row in rows) + b"\n"
    plain = as_csv(rows, names)
    bodies: dict[str, tuple[bytes, str, dict[str, str]]] = {
        "rows": (json.dumps({"rows": rows}).encode(), JSON, {}),
        "instances": (json.dumps({"instances": rows}).encode(), JSON, {}),
        "records": (json.dumps({"dataframe_records": rows}).encode(), JSON, {}),
        "split": (json.dumps({"index": list(range(len(rows))), **split}).encode(), JSON, {}),
        "dataframe_split": (json.dumps({"dataframe_split": split}).encode(), JSON, {}),
        "lines": (lines, "application/x-ndjson", {}),
        "csv": (plain, CSV, {}),
        "csv, underscores": (as_csv(rows, spelled), CSV, {}),
        "csv with an index": (as_csv(rows, names, "index"), CSV, {}),
        "csv, gzip": (gzip.compress(plain), CSV, {"content-encoding": "gzip"}),
        "csv, zstd": (zstandard.ZstdCompressor().compress(plain), CSV, {"content-encoding": "zstd"}),
        "parquet": (as_parquet(rows, names), PARQUET, {}),
        "parquet, underscores": (as_parquet(rows, spelled), PARQUET, {}),
        "a form, csv": (*form("rows.csv", plain, CSV), {}),
        "a form, parquet": (*form("rows.parquet", as_parquet(rows, names), "application/octet-stream"), {}),
    }
    for marker in ("NA", "NaN", "NULL", "<NA>"):  # as R, pandas and SQL clients write what is missing
        marked = [{name: marker if value is None else value for name, value in row.items()} for row in rows]
        bodies[f"csv, {marker}"] = as_csv(marked, names), CSV, {}
    single = [client.post("/predict", json=row).json() for row in rows]
    expected = [(each["verdict"], each["prediction"], each["unseen"]) for each in single]
    for name, (body, media, headers) in bodies.items():
        found = client.post("/predict/batch", content=body, headers={"content-type": media, "accept": JSON, **headers})
        assert found.status_code == 200, (name, found.text)
        assert [(each["verdict"], each["prediction"], each["unseen"]) for each in found.json()["predictions"]] == expected, name


def test_no_rows_have_no_predictions(client: Client, rows: list[dict[str, Any]]) -> None:
    names = list(rows[0])
    for body, media in ((b"[]", JSON), (b"", "application/x-ndjson"), (as_csv([], names), CSV), (as_parquet(rows, names), PARQUET)):
        if media == PARQUET:
            out = io.BytesIO()
            pl.DataFrame(rows, infer_schema_length=None).clear().write_parquet(out)
            body = out.getvalue()
        found = client.post("/predict/batch", content=body, headers={"content-type": media, "accept": JSON})
        assert (found.status_code, found.json().get("predictions")) == (200, []), (media, found.text)


@pytest.mark.parametrize(
    ("body", "media", "status"),
    [
        (b'{"columns": ["a", "a"], "data": []}', JSON, 400),
        (b'{"columns": ["a"], "data": [[1, 2]]}', JSON, 400),
        (b'{"columns": ["a"], "data": 3}', JSON, 400),
        (b'{"row": []}', JSON, 400),
        (b"{}\n{bad\n", "application/x-ndjson", 400),
        (b"--b\r\n", "multipart/form-data; boundary=b", 400),
        (form("x.txt", b"a", "text/plain")[0], "multipart/form-data; boundary=b", 415),
        (b"PAR1" + bytes(200) + b"PAR1", PARQUET, 422),
        (b"x", "multipart/form-data", 415),
    ],
)
def test_what_is_no_table_is_a_problem(client: Client, body: bytes, media: str, status: int) -> None:
    found = client.post("/predict/batch", content=body, headers={"content-type": media})
    assert (found.status_code, found.headers["content-type"]) == (status, "application/problem+json"), found.text


def told(client: Client, body: bytes, media: str) -> tuple[Any, ...]:
    (row,) = client.post("/predict/batch", content=body, headers={"content-type": media, "accept": JSON}).json()["predictions"]
    return row["verdict"], row.get("probability"), row.get("problem") is not None or row.get("probability") is None


@pytest.mark.parametrize(
    ("in_json", "in_csv", "in_parquet"),
    [
        (None, "NaN", pl.Series([float("nan")])),
        (True, "true", pl.Series([True])),
        ("1e999", "1e999", pl.Series([float("inf")])),
        (3, "3", pl.Series([3], dtype=pl.UInt8)),
        (3.5, "3.5", pl.Series(["3.5"]).cast(pl.Decimal(10, 2))),
        ("3", "3", pl.Series(["3"], dtype=pl.Categorical)),
    ],
)
def test_a_number_says_the_same_in_every_form(client: Client, bundle: Bundle, in_json: Any, in_csv: str, in_parquet: pl.Series) -> None:
    name, names = next(iter(bundle.schema.numeric)), list(bundle.schema.columns)
    row = {each: 1.5 if each in bundle.schema.numeric else None for each in names}
    frame = pl.DataFrame({each: [value] for each, value in row.items()}).with_columns(in_parquet.alias(name))
    out = io.BytesIO()
    frame.write_parquet(out)
    expected = told(client, json.dumps([{**row, name: in_json}]).encode(), JSON)
    assert told(client, as_csv([{**row, name: in_csv}], names), CSV) == expected
    assert told(client, out.getvalue(), PARQUET) == expected


@pytest.mark.parametrize("answer", [JSON, CSV, PARQUET])
def test_whatever_is_carried_along_can_be_answered_in_every_form(client: Client, rows: list[dict[str, Any]], answer: str) -> None:
    frame, out = pl.DataFrame(rows[:1], infer_schema_length=None), io.BytesIO()
    own = (pl.Series([2**62]).cast(pl.Duration("us")), pl.Series(["a"], dtype=pl.Categorical), pl.Series([2**64 - 1], dtype=pl.UInt64))
    frame.with_columns(series.alias(f"own {number}") for number, series in enumerate(own)).write_parquet(out)
    headers = {"content-type": PARQUET, "accept": answer}
    assert client.post("/predict/batch", content=out.getvalue(), headers=headers).status_code == 200
    out = io.BytesIO()
    frame.with_columns(pl.Series([2**62]).cast(pl.Datetime("ms")).alias("own")).write_parquet(out)
    refused = client.post("/predict/batch", content=out.getvalue(), headers=headers)
    assert (refused.status_code, "'own' has a time outside the years 1 to 9999" in refused.text) == (422, True)


@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_the_name_of_the_row_number_is_refused_in_words(client: Client, rows: list[dict[str, Any]], write: Any) -> None:
    names = ["_row", *rows[0]]
    own = [{"_row": 1, **rows[0]}]
    body = write(own, names)
    found = client.post("/predict/batch", content=body, headers={"content-type": PARQUET if body.startswith(b"PAR1") else CSV})
    assert "the column '_row' has the name of one that is to be added; rename it" in found.json()["detail"]

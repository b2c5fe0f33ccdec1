"""Tests of sporeprint.model_serving.endpoints.predict_batch: a file over HTTP gets the answers of `sporeprint predict`, and is kept."""

import asyncio
import io
import json
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import URL, Engine, select

from journal_support import until
from serving_support import NO_TLS, Client, Server
from sporeprint.pipelines.batch_prediction import predict
from sporeprint.settings import Settings
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp.batch_file import BatchStore
from sporeprint.storage.oltp.tables import batch
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.sync import sync_warehouse
from warehouse_support import dicts, everything, warehouse_at

Start = Callable[..., Client]
CSV, PARQUET = {"content-type": "text/csv"}, {"content-type": "application/vnd.apache.parquet"}


@pytest.fixture(scope="module")
def csv(small_table: Path) -> bytes:
    """Rows, some of which are none."""
    lines = small_table.read_bytes().splitlines()[:400]
    return b"\n".join([*lines[:200], b"x;y", lines[200].replace(b".", b"-"), *lines[201:]]) + b"\n"


@pytest.fixture(scope="module")
def parquet(small_table: Path) -> bytes:
    out = io.BytesIO()
    pl.read_csv(small_table, separator=";", n_rows=500).with_columns(pl.col("cap-diameter") * 1.0).write_parquet(out)
    return out.getvalue()


def files(root: Path) -> list[str]:
    """Everything below the folder of batches."""
    return sorted(str(path.relative_to(root / "data/batches")) for path in (root / "data/batches").rglob("*") if path.is_file())


def database(root: Path) -> Engine:
    return connect(URL.create("sqlite", database=str(root / "data/sporeprint.db")))


def registered(root: Path) -> list[dict[str, Any]]:
    engine = database(root)
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(select(batch)).mappings()]
    engine.dispose()
    return found


# --- the same as predict -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("wanted", ["csv", "parquet"])
def test_a_file_is_answered_as_predict_answers_it(
    client: Client, shared_root: Path, tmp_path: Path, request: Any, kind: str, wanted: str
) -> None:
    body = request.getfixturevalue(kind)
    (tmp_path / f"in.{kind}").write_bytes(body)
    predict(shared_root, tmp_path / f"in.{kind}", tmp_path / f"out.{wanted}")
    headers = {**(CSV if kind == "csv" else PARQUET), "accept": "text/csv" if wanted == "csv" else "application/vnd.apache.parquet"}
    found = client.post("/predict/batch", content=body, headers=headers)
    assert (found.status_code, found.headers["content-type"].partition(";")[0]) == (200, headers["accept"])
    read = pl.read_parquet if wanted == "parquet" else lambda source: pl.read_csv(source, infer_schema=False)
    expected = read(tmp_path / f"out.{wanted}")
    said = read(io.BytesIO(found.content))
    assert_frame_equal(said.drop("prediction_id"), expected)
    assert said["prediction_id"].to_list() == [f"{found.headers['x-batch-id']}:{row}" for row in range(expected.height)]
    assert expected["prediction"].null_count() == (2 if kind == "csv" else 0)


def test_the_answer_is_of_the_kind_of_the_question(client: Client, csv: bytes, parquet: bytes) -> None:
    assert client.post("/predict/batch", content=csv, headers=CSV).headers["content-type"].startswith("text/csv")
    found = client.post("/predict/batch", content=parquet, headers=PARQUET)
    assert pl.read_parquet(found.content).height == 500
    hinted = client.post("/predict/batch?format=parquet", content=parquet, headers={"content-type": "application/octet-stream"})
    assert hinted.content[:4] == b"PAR1"


def test_a_file_answered_as_json(client: Client, csv: bytes) -> None:
    found = client.post("/predict/batch", content=csv, headers={**CSV, "accept": "application/json"}).json()
    assert (found["rows"], found["problems"], len(found["predictions"])) == (400, 2, 400)
    assert [each["row"] for each in found["predictions"]] == list(range(400))
    assert found["predictions"][199]["prediction"] is None
    assert "fields" in found["predictions"][199]["reason"]


def test_json_answered_as_a_file_keeps_rows_that_are_none(client: Client) -> None:
    found = client.post("/predict/batch", json=[{}, {"cap-shap": "x"}, 3], headers={"accept": "application/vnd.apache.parquet"})
    frame = pl.read_parquet(found.content)
    assert frame["prediction"].is_null().to_list() == [False, True, True]
    assert "did you mean 'cap-shape'" in frame["reason"][1]
    assert frame["verdict"].to_list()[1:] == ["unknown", "unknown"]


def test_one_answer_of_a_batch_and_its_outcome(client: Client, parquet: bytes) -> None:
    frame = pl.read_parquet(client.post("/predict/batch", content=parquet, headers=PARQUET).content)
    row = frame.row(321, named=True)
    found = client.get(f"/predictions/{row['prediction_id']}").json()
    for name in ("prediction", "probability", "verdict", "novelty_p"):
        assert found[name] == row[name]
    assert found["features"]["cap-diameter"] == row["cap-diameter"]
    assert client.post(f"/predictions/{row['prediction_id']}/outcome", json={"outcome": "p"}).status_code == 201
    batch_id = row["prediction_id"].partition(":")[0]
    for other in (f"{batch_id}:500", f"{batch_id}:01", f"{batch_id}:-1", f"{'0' * 32}:0", "..%2F..%2Fetc:0"):
        assert client.get(f"/predictions/{other}").status_code == 404


def test_a_row_without_an_answer_is_no_prediction(client: Client, csv: bytes) -> None:
    found = client.post("/predict/batch", content=csv, headers=CSV).headers["x-batch-id"]
    assert client.get(f"/predictions/{found}:199").status_code == 404
    assert client.get(f"/predictions/{found}:200").status_code in (200, 404)


# --- what is no batch ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b"", PARQUET, 422, "the upload is empty"),
        (b"PAR1 and nothing else PAR1", PARQUET, 422, "cannot be read; is it damaged?"),
        (b"a;b\n1;2\n", PARQUET, 422, "Content-Type says parquet"),
        (b"cap-shap;b\n1;2\n", CSV, 422, "missing: 'cap-shape'"),
        (b"{}", {"content-type": "text/plain"}, 415, "content type 'text/plain'"),
        (b"{}", {"content-type": "application/octet-stream"}, 415, "?format="),
        (b"[]", {"content-type": "application/json", "accept": "image/png"}, 406, "image/png"),
        (b"[]", {"content-type": "application/json", "content-encoding": "gzip"}, 400, "cannot be unpacked"),
        (b"[]", {"content-type": "application/json", "content-encoding": "br"}, 415, "content encoding 'br'; known: gzip"),
        (b"{", {"content-type": "application/json"}, 400, "not valid JSON"),
    ],
)
def test_what_is_no_batch(client: Client, shared_root: Path, body: bytes, headers: dict[str, str], status: int, says: str) -> None:
    before = files(shared_root)
    found = client.post("/predict/batch", content=body, headers=headers)
    assert (found.status_code, found.headers["content-type"]) == (status, "application/problem+json")
    assert says in found.json()["detail"]
    assert str(shared_root) not in found.text
    assert "upload-" not in found.text
    assert [name for name in files(shared_root) if name not in before] == []


def test_a_damaged_file_is_no_fault_of_the_server(client: Client, parquet: bytes) -> None:
    for place in range(10, len(parquet), len(parquet) // 12):
        damaged = parquet[:place] + bytes(byte ^ 0xFF for byte in parquet[place : place + 20]) + parquet[place + 20 :]
        found = client.post("/predict/batch", content=damaged, headers=PARQUET)
        assert found.status_code in (200, 422), found.text


@pytest.mark.parametrize("name", ["prediction_id", "problem"])
def test_a_column_that_would_be_added_has_another_name(client: Client, parquet: bytes, name: str) -> None:
    out = io.BytesIO()
    rows = pl.read_parquet(parquet).with_columns(pl.lit("x").alias(name), pl.lit("y").alias(f"{name}_"))
    rows.write_parquet(out)
    for accept in (PARQUET["content-type"], CSV["content-type"]):
        found = client.post("/predict/batch", content=out.getvalue(), headers={**PARQUET, "accept": accept})
        assert found.status_code == 200, found.text
        table = pl.read_parquet(found.content) if accept == PARQUET["content-type"] else pl.read_csv(found.content)
        assert table[f"{name}__"].unique().to_list() == ["x"]
        assert table[f"{name}_"].unique().to_list() == ["y"]
        record = client.get(f"/predictions/{table['prediction_id'][0]}").json()
        assert {key: record["features"][key] for key in (name, f"{name}_")} == {name: "x", f"{name}_": "y"}


def test_too_large_declared_or_not(started: Start, small_copy: Path, csv: bytes) -> None:
    client = started(serving={"max_upload_mb": 1, "max_upload_rows": 100})

    async def parts() -> Any:
        for _ in range(20):
            yield b"x" * 100_000

    assert client.post("/predict/batch", content=b"x" * (1 << 21), headers=CSV).status_code == 413
    assert client.post("/predict/batch", content=parts(), headers=CSV).status_code == 413
    found = client.post("/predict/batch", content=csv, headers=CSV)
    assert (found.status_code, "at most 100 may be" in found.json()["detail"]) == (413, True)
    assert files(small_copy) == []


# --- kept ----------------------------------------------------------------------------------------------------------------


def test_the_artefact_is_there_before_the_answer_and_the_row_follows(started: Start, small_copy: Path, parquet: bytes) -> None:
    client = started()
    found = client.post("/predict/batch", content=parquet, headers=PARQUET)
    path = small_copy / "data/batches" / f"{found.headers['x-batch-id']}.parquet"
    assert path.read_bytes() == found.content
    until(lambda: registered(small_copy) != [])
    (row,) = registered(small_copy)
    assert (row["batch_id"], row["rows"], row["bytes"]) == (found.headers["x-batch-id"], 500, len(found.content))
    assert row["artefact"] == f"data/batches/{row['batch_id']}.parquet"
    assert sum(json.loads(row["verdicts"]).values()) == 500
    until(lambda: files(small_copy) == [path.name])


def test_the_same_key_gives_the_same_batch(started: Start, small_copy: Path, csv: bytes) -> None:
    client, headers = started(), {**CSV, "idempotency-key": "once"}
    first, *others = client.post_all("/predict/batch", [{"content": csv, "headers": headers}] * 4)
    assert {found.content for found in others} == {first.content}
    assert [found.headers.get("idempotency-replayed") for found in (first, *others)].count(None) == 1
    again = client.post("/predict/batch?model=decision_tree", content=csv, headers={**headers, "accept": "application/json"})
    assert (again.headers["idempotency-replayed"], again.json()["model"]) == ("true", first.headers["x-model"].partition("/")[0])
    other = client.post("/predict/batch", content=csv[:-1], headers=headers)
    assert (other.status_code, other.json()["type"]) == (422, "urn:sporeprint:problem:key-used")
    until(lambda: len(registered(small_copy)) == 1)


def test_of_two_batches_at_once_with_one_key_one_is_refused_whichever_workers_they_reach(started: Start, csv: bytes) -> None:
    first, second = started("w"), started("v")

    def ask(client: Client, body: bytes, key: int) -> tuple[int, bytes]:
        found = client.post("/predict/batch", content=body, headers={**CSV, "idempotency-key": f"k{key}"})
        return found.status_code, found.content

    with ThreadPoolExecutor(2) as pool:
        for key in range(12):
            both = [pool.submit(ask, first, csv, key), pool.submit(ask, second, csv[: csv.rindex(b"\n", 0, -1) + 1], key)]
            assert sorted(each.result()[0] for each in both) == [200, 422], key
            same = [pool.submit(ask, client, csv, 100 + key) for client in (first, second)]
            assert same[0].result() == same[1].result()


def test_a_folder_that_cannot_be_written(started: Start, small_copy: Path, parquet: bytes) -> None:
    client = started()
    shutil.rmtree(small_copy / "data/batches", ignore_errors=True)
    (small_copy / "data/batches").write_text("no folder")
    found = client.post("/predict/batch", content=parquet, headers=PARQUET)
    assert (found.status_code, found.json()["type"]) == (503, "urn:sporeprint:problem:not-kept")
    (small_copy / "data/batches").unlink()
    assert client.post("/predict/batch", content=parquet, headers=PARQUET).status_code == 200


def test_more_batches_than_are_received(started: Start, parquet: bytes) -> None:
    client = started(serving={"max_batches": 1})
    found = client.post_all("/predict/batch", [{"content": parquet, "headers": PARQUET}] * 12)
    assert {answer.status_code for answer in found} == {200, 503}
    assert client.post("/predict/batch", content=parquet, headers=PARQUET).status_code == 200


def test_what_was_answered_comes_into_the_warehouse_once(
    started: Start, small_copy: Path, small_settings: Settings, csv: bytes, tmp_path: Path
) -> None:
    client = started()
    frame = pl.read_csv(client.post("/predict/batch", content=csv, headers=CSV).content, infer_schema=False)
    answered = frame.filter(pl.col("prediction").is_not_null())
    ids = answered["prediction_id"].to_list()
    told = client.post("/predictions/outcomes", json=[{"prediction_id": each, "outcome": "p"} for each in ids[:50]]).json()
    assert told["created"] == 50
    until(lambda: registered(small_copy) != [])
    engine = database(small_copy)
    with warehouse_at(str(tmp_path / "warehouse")) as warehouse:
        assert sync_warehouse(engine, warehouse, small_settings.dataset, root=small_copy).predictions == len(ids)
        assert sync_warehouse(engine, warehouse, small_settings.dataset, root=small_copy).predictions == 0
        found = everything(warehouse)
    engine.dispose()
    facts = dicts(found, star_schema.FACT_PREDICTION)
    assert sorted(fact["prediction_id"] for fact in facts) == sorted(ids)
    assert {fact["batch_id"] for fact in facts} == {ids[0].partition(":")[0]}
    assert sum(row["answers"] for row in dicts(found, star_schema.HOUR_OUTCOMES)) == 50
    shapes = [row for row in dicts(found, star_schema.HOUR_FEATURES) if row["feature"] == "cap-shape"]
    assert sum(row["answers"] for row in shapes) == len(ids)
    counted = {row["value"]: row["answers"] for row in shapes if row["kind"] == "value"}
    assert counted == {value: rows for value, rows in answered["cap-shape"].value_counts().iter_rows() if value}


# --- as a process --------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(served: Callable[..., Server]) -> Server:
    return served()


def test_a_killed_server_leaves_nothing_half_done(served: Callable[..., Server], small_copy: Path, parquet: bytes) -> None:
    server = served()
    big = io.BytesIO()
    pl.concat([pl.read_parquet(parquet)] * 400).write_parquet(big)
    with pytest.raises(httpx.TransportError):  # noqa: PT012 -- the kill is part of it

        async def ask() -> None:
            async with httpx.AsyncClient(base_url=server.client.base_url, timeout=30, verify=NO_TLS) as client:
                task = asyncio.ensure_future(client.post("/predict/batch", content=big.getvalue(), headers=PARQUET))
                await asyncio.to_thread(until, lambda: any(name.startswith(".parts/artefact") for name in files(small_copy)))
                server.process.send_signal(signal.SIGKILL)
                await task

        asyncio.run(ask())
    server.process.wait()
    assert [name for name in files(small_copy) if not name.startswith(".parts/")] == []
    assert files(small_copy) != []
    again = served()
    assert files(small_copy) == []
    assert again.client.post("/predict/batch", content=parquet, headers=PARQUET).status_code == 200
    assert again.stop() == 0
    assert len(registered(small_copy)) == 1


def test_a_client_that_goes_leaves_nothing(server: Server, small_copy: Path) -> None:
    async def parts() -> Any:
        for _ in range(30):
            yield b"x" * 100_000
        await asyncio.to_thread(until, lambda: files(small_copy) != [])
        raise ConnectionError

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=server.client.base_url, timeout=30, verify=NO_TLS) as client:
            await client.post("/predict/batch", content=parts(), headers=CSV)

    with pytest.raises(ConnectionError):
        asyncio.run(ask())
    until(lambda: files(small_copy) == [])
    until(lambda: server.client.get("/health").json()["in_flight"] == 1)


def test_a_batch_is_registered_when_the_database_is_back(started: Start, small_copy: Path, parquet: bytes) -> None:
    client = started()
    engine = database(small_copy)
    with engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        found = client.post("/predict/batch", content=parquet, headers=PARQUET)
        assert found.status_code == 200
        assert client.get("/predictions/" + pl.read_parquet(found.content)["prediction_id"][7]).status_code == 200
        assert BatchStore(small_copy, "data/batches").pending() == [found.headers["x-batch-id"]]
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()
    until(lambda: len(registered(small_copy)) == 1, 20)


def test_the_file_says_what_it_is(client: Client, shared_root: Path, parquet: bytes) -> None:
    found = client.post("/predict/batch", content=parquet, headers=PARQUET)
    about = BatchStore(shared_root, "data/batches").about(found.headers["x-batch-id"])
    assert about is not None
    assert (about.rows, about.problems, about.given) == (500, 0, "parquet")
    assert pq.read_metadata(io.BytesIO(found.content)).row_group(0).column(0).compression == "ZSTD"

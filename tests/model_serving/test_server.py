"""Servers as processes: what is promised of them while models move, and when they end, however they end."""

import http.client
import json
import shutil
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

import warm_start
from free_ports import free_port
from journal_support import until
from serving_support import NO_TLS, Load, write_config
from sporeprint.errors import StorageError, UsageError
from sporeprint.inference.predictor import predict_row
from sporeprint.model_serving.server import StartCheck, check, listening
from sporeprint.registry.registry import Registry
from sporeprint.settings import Settings
from sporeprint.storage.engine import connect
from sporeprint.storage.journal.file import find
from sporeprint.storage.journal.shipper import Shipper
from sporeprint.storage.oltp.predictions import find as find_shipped

Serve = Callable[..., Any]


@pytest.fixture
def registry(small_copy: Path) -> Registry:
    return Registry(small_copy / "models/registry")


def golden(registry: Registry) -> dict[str, Any]:
    return dict(registry.load("production").golden.rows[0])


def move(registry: Registry, ref: str) -> None:
    registry.set_production(ref, reason="a test", now=datetime.now(UTC))


def test_a_model_that_moves_under_load_drops_and_mixes_nothing(served: Serve, registry: Registry) -> None:
    server, row = served(), golden(registry)
    refs = ("logistic_regression/v1", "decision_tree/v1", "xgboost/v1")
    expected = {(ref.partition("/")[0], round(predict_row(registry.load(ref), row).probability, 6)) for ref in refs}
    with Load(server.client, row) as load:
        for ref in refs:
            move(registry, ref)
            begin = time.monotonic()
            until(lambda ref=ref: server.client.get("/").json()["serving"] == ref, 10)  # type: ignore[misc]
            assert time.monotonic() - begin < 5  # 2 s where nobody else needs the processor
            time.sleep(0.2)
    assert load.failures == []
    assert {(said["model"], round(said["probability"], 6)) for said in load.answers} <= expected
    assert set(Counter(said["model"] for said in load.answers)) == {"logistic_regression", "decision_tree", "xgboost"}


def test_a_damaged_version_leaves_the_one_that_serves(served: Serve, registry: Registry) -> None:
    move(registry, "logistic_regression/v1")
    server, row = served(), golden(registry)
    move(registry, "decision_tree/v1")
    guard = registry.root / "decision_tree/v1/guard.npz"
    data = guard.read_bytes()
    guard.chmod(0o644)
    guard.write_bytes(data[:-1])
    until(lambda: server.client.get("/health").json()["status"] == "degraded", 10)
    found = server.client.get("/health")
    assert (found.status_code, found.json()["model"]["ref"]) == (200, "logistic_regression/v1")
    assert "cannot be loaded" in found.json()["model"]["problem"]
    assert str(registry.root) not in found.text
    assert server.client.post("/predict", json=row).json()["model"] == "logistic_regression"
    damaged = server.client.post("/predict?model=decision_tree", json=row)
    assert (damaged.status_code, damaged.json()["type"]) == (503, "urn:sporeprint:problem:model-damaged")
    assert "sporeprint_model_fault 1.0" in server.client.get("/metrics").text
    guard.write_bytes(data)
    until(lambda: server.client.get("/health").json()["status"] == "ok", 20)
    assert server.client.post("/predict", json=row).json()["model"] == "decision_tree"


def test_the_same_when_the_version_is_gone(served: Serve, registry: Registry) -> None:
    move(registry, "logistic_regression/v1")
    server, row = served(), golden(registry)
    shutil.rmtree(registry.root / "logistic_regression")
    (registry.root / "aliases.json").unlink()
    until(lambda: server.client.get("/health").json()["status"] == "degraded", 10)
    assert server.client.post("/predict", json=row).json()["model"] == "logistic_regression"


def kept(root: Path, ids: list[str]) -> int:
    """How many of these answers the database has, after what the journals hold was shipped."""
    engine = connect_to(root)
    try:
        with Shipper(engine, root / "data/journal"):
            until(lambda: all(find_shipped(engine, name) for name in ids[-3:]), 30)
        return sum(find_shipped(engine, name) is not None or find(root / "data/journal", name) is not None for name in ids)
    finally:
        engine.dispose()


def connect_to(root: Path) -> Any:
    from sqlalchemy import URL

    return connect(URL.create("sqlite", database=str(root / "data/sporeprint.db")))


def test_every_answer_of_a_killed_server_is_kept(served: Serve, registry: Registry, small_copy: Path) -> None:
    server = served()
    with Load(server.client, golden(registry)) as load:
        time.sleep(1)
        server.process.kill()
        server.process.wait()
    assert len(load.answers) > 50
    ids = [said["prediction_id"] for said in load.answers]
    assert len(set(ids)) == len(ids)
    assert kept(small_copy, ids) == len(ids)


def test_a_stop_finishes_what_is_worked_on(served: Serve, registry: Registry, small_copy: Path) -> None:
    server = served()
    body = json.dumps([golden(registry)] * 2_000).encode()
    batch = http.client.HTTPConnection(str(server.client.base_url.host), server.client.base_url.port, timeout=30)
    batch.putrequest("POST", "/predict/batch")
    batch.putheader("Content-Type", "application/json")
    batch.putheader("Content-Length", str(len(body)))
    batch.endheaders()
    batch.send(body[: len(body) // 2])
    until(lambda: server.client.get("/health").json()["in_flight"] >= 2)  # this one, and the batch
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    batch.send(body[len(body) // 2 :])
    answer = batch.getresponse()
    said = json.loads(answer.read())
    batch.close()
    assert (answer.status, said["rows"]) == (200, 2_000)
    assert server.process.wait(30) == 0
    # What was answered is there for the next server.
    again = served()
    assert again.client.get(f"/predictions/{said['predictions'][-1]['prediction_id']}").status_code == 200


def test_two_workers_answer_and_end_together(served: Serve, registry: Registry, small_copy: Path) -> None:
    server = served("--workers", "2")

    def workers() -> set[str]:
        # A connection stays with its worker.
        return {httpx.get(server.client.base_url.join("/health"), verify=NO_TLS).json()["worker"] for _ in range(10)}

    until(lambda: len(workers()) == 2, 30)
    with Load(server.client, golden(registry)) as load:
        time.sleep(0.5)
    assert load.failures == []
    until(lambda: server.client.get(f"/predictions/{load.answers[-1]['prediction_id']}").status_code == 200)
    assert server.stop(signal.SIGINT) == 0
    assert kept(small_copy, [said["prediction_id"] for said in load.answers]) == len(load.answers)


@pytest.mark.parametrize("workers", [1, 2])
def test_it_says_what_serves_and_when_that_changes(served: Serve, registry: Registry, workers: int) -> None:
    server = served("--workers", str(workers))
    before = registry.resolve("production").ref
    assert (line := server.process.stderr.readline()).startswith(f"serving {before} at {str(server.client.base_url).rstrip('/')}, "), line
    after = next(ref for ref in ("decision_tree/v1", "logistic_regression/v1") if ref != before)
    move(registry, after)
    said = [server.process.stderr.readline() for _ in range(workers)]
    assert all(line.endswith(f"production is now {after}, was {before}\n") for line in said), said
    assert server.stop() == 0
    assert "is now" not in server.process.stderr.read()


def test_a_port_that_is_taken_is_all_that_is_said(small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> None:
    config = write_config(small_config, tmp_path / "config.yaml")
    with listening("127.0.0.1", 0) as taken:
        taken.listen()
        where = ["--port", str(taken.getsockname()[1]), "--workdir", str(small_copy), "--config", str(config)]
        done = warm_start.run([sys.executable, "-m", "sporeprint", "serve", *where], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: cannot listen on 127.0.0.1:")


def test_slow_clients_do_not_hold_others_up(served: Serve, registry: Registry) -> None:
    server, row = served(), golden(registry)
    address = (server.client.base_url.host, server.client.base_url.port)
    slow = [socket.create_connection(address) for _ in range(200)]
    try:
        for sock in slow:
            sock.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{")
        begin = time.monotonic()
        assert server.client.post("/predict", json=row).status_code == 200
        assert time.monotonic() - begin < 2
    finally:
        for sock in slow:
            sock.close()


def test_a_taken_port_is_said_at_once() -> None:
    with listening("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use; name another one with --port"):
            listening("127.0.0.1", taken.getsockname()[1])


def test_what_stands_in_the_way_is_found_before_anything_starts(small_settings: Settings, small_copy: Path, tmp_path: Path) -> None:
    assert check(small_settings, small_copy, "xgboost") == StartCheck("xgboost/v1", None, has_keys=False)
    nothing = check(small_settings, tmp_path / "empty", "production")
    assert nothing.ref is None
    assert "no version is in production yet; choose one of: none yet, run sporeprint etl" in str(nothing.problem)
    engine = connect_to(small_copy)
    with engine.begin() as connection:
        connection.exec_driver_sql("drop table prediction")
        connection.exec_driver_sql("update alembic_version set version_num = '9999'")
    engine.dispose()
    with pytest.raises(StorageError):
        check(small_settings, small_copy, "xgboost")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_model_that_cannot_be_read_is_one_sentence(small_copy: Path, small_config: dict[str, Any], tmp_path: Path, workers: str) -> None:
    version = Registry(small_copy / "models/registry").resolve("production")
    for path in (small_copy / "models/registry" / version.ref).rglob("*"):
        if path.is_file() and path.name != "manifest.sha256" and path.suffix not in (".json", ".md"):
            path.chmod(0o644)
            path.write_bytes(b"of another release")
    config = write_config(small_config, tmp_path / "config.yaml")
    where = ["--port", str(free_port()), "--workers", workers, "--workdir", str(small_copy)]
    command = [sys.executable, "-m", "sporeprint", "serve", *where]
    done = warm_start.run([*command, "--config", str(config)], capture_output=True, text=True, timeout=180)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert version.ref in done.stderr


def test_who_uses_a_connection_is_told_that_the_server_ends(served: Serve, registry: Registry) -> None:
    server, body = served(), json.dumps(golden(registry))
    host, port = server.client.base_url.host, server.client.base_url.port
    connections = [http.client.HTTPConnection(host, port, timeout=30) for _ in range(8)]

    def ask_all() -> list[tuple[int, str | None]]:
        for connection in connections:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        return [answer(connection) for connection in connections]

    def answer(connection: http.client.HTTPConnection) -> tuple[int, str | None]:
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("connection")

    def takes_nobody_more() -> bool:
        with socket.socket() as further:
            return further.connect_ex((host, port)) != 0

    assert ask_all() == [(200, None)] * 8
    server.process.send_signal(signal.SIGTERM)
    until(takes_nobody_more)  # it has begun to end, and from then on answers for a short time only
    assert ask_all() == [(200, "close")] * 8
    assert server.process.wait(30) == 0


def test_nothing_of_the_server_is_left(served: Serve, small_copy: Path) -> None:
    server = served()
    assert server.stop() == 0
    assert [path.name for path in (small_copy / "data/journal").glob("*-wal") if path.stat().st_size] == []

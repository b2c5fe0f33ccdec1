"""The access log: what stands in a line, what never does, and that it neither grows nor waits without bounds."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from journal_support import until
from serving_support import Client, Server
from sporeprint.model_serving.http import access_log as logs
from sporeprint.model_serving.http.access_log import AccessLog, RequestIdFilter, request_ids_in_log
from sporeprint.model_serving.http.request_context import REQUEST, RequestContext
from sporeprint.registry.registry import Registry
from sporeprint.storage.oltp import api_keys

Start = Callable[..., Client]
SECRET = "spk_0123_secret"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


async def _send(message: Any) -> None:
    """Take everything."""


def exchange(request_id: str = "r") -> RequestContext:
    return RequestContext({"headers": [(b"x-request-id", request_id.encode())], "method": "POST"}, _send)


@pytest.fixture
def row(small_copy: Path) -> dict[str, Any]:
    return dict(Registry(small_copy / "models/registry").load("production").golden.rows[0])


def test_a_line_for_each_request(started: Start, small_copy: Path, row: dict[str, Any]) -> None:
    path = small_copy / "logs/access.jsonl"
    client = started()
    said = client.post("/predict", json=row, headers={"x-request-id": "mine-1"})
    batch = client.post("/predict/batch", json=[row])
    wrong = client.post("/predict?explain=perhaps", json=row, headers={"x-request-id": "two words"})
    client.get(f"/predictions/{said.json()['prediction_id']}")
    nowhere = client.get(f"/nowhere/{SECRET}?key={SECRET}", headers={"authorization": f"Bearer {SECRET}"})
    method = client.request("DELETE", "/predict")
    until(lambda: path.exists() and len(lines(path)) == 6)
    found = lines(path)
    names = {"time", "request_id", "method", "path", "status", "ms", "bytes", "model", "prediction_id", "key", "worker"}
    assert all(set(line) == names for line in found)
    assert all(abs(datetime.fromisoformat(line["time"]).timestamp() - time.time()) < 60 for line in found)
    production = f"{said.json()['model']}/v1"
    assert [(line["method"], line["path"], line["status"], line["model"]) for line in found] == [
        ("POST", "/predict", 200, production),
        ("POST", "/predict/batch", 200, production),
        ("POST", "/predict", 400, None),
        ("GET", "/predictions/{prediction_id}", 200, None),
        ("GET", None, 404, None),
        ("DELETE", None, 405, None),
    ]
    assert [line["bytes"] for line in found] == [len(each.content) for each in (said, batch, wrong)] + [line["bytes"] for line in found[3:]]
    assert (found[0]["request_id"], found[0]["key"], found[0]["worker"]) == ("mine-1", "local", "w")
    assert found[0]["prediction_id"] == said.json()["prediction_id"]
    assert found[1]["prediction_id"] == batch.json()["batch_id"]
    assert all(line["ms"] > 0 for line in found)
    # Every answer names its request, and so does the document of what went wrong.
    assert said.headers["x-request-id"] == "mine-1"
    for answer, line in ((wrong, found[2]), (nowhere, found[4]), (method, found[5])):
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == line["request_id"] != "two words"
    text = path.read_text(encoding="utf-8")
    assert SECRET not in text
    assert not any(f'"{name}"' in text for name in row)


def test_who_is_turned_away_is_named(started: Start, small_copy: Path) -> None:
    client = started(serving={"rate_limit_per_s": 0.001, "rate_burst": 1})
    engine = client.app.state.service.database.engine
    _, secret = api_keys.create(engine, "shop", frozenset({api_keys.Role.READ}), now_us=1, actor="t")
    until(lambda: client.get("/models").status_code == 401)
    client.headers["authorization"] = f"Bearer {secret}"
    statuses = [client.post("/predict", json={}).status_code, *(client.get("/models").status_code for _ in range(2))]
    assert statuses == [403, 200, 429]
    path = small_copy / "logs/access.jsonl"
    until(lambda: path.exists() and [line["key"] for line in lines(path)][-3:] == ["shop"] * 3)


def test_none_where_none_is_wanted(started: Start, small_copy: Path, row: dict[str, Any]) -> None:
    client = started(serving={"access_log": "none"})
    assert client.post("/predict", json=row).headers["x-request-id"]
    time.sleep(3 * logs.EVERY_S)
    assert not (small_copy / "logs/access.jsonl").exists()


def test_what_was_answered_is_written_when_the_server_has_ended(
    served: Callable[..., Server], small_copy: Path, row: dict[str, Any]
) -> None:
    server = served()
    for _ in range(50):
        server.client.post("/predict", json=row)
    assert server.stop() == 0
    found = [line for line in lines(small_copy / "logs/access.jsonl") if line["path"] == "/predict"]
    assert len(found) == len({line["request_id"] for line in found}) == 50


def test_stderr(tmp_path: Path) -> None:
    code = (
        "from sporeprint.model_serving.http.access_log import AccessLog\n"
        "from sporeprint.model_serving.http.request_context import RequestContext\n"
        "log = AccessLog(None, 'w', {})\n"
        "with log.writing(): log.add(RequestContext({'headers': [], 'method': 'GET'}, None))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert json.loads(done.stderr)["method"] == "GET"


def test_a_file_that_was_put_aside_is_left_alone(tmp_path: Path) -> None:
    path, moved = tmp_path / "logs/access.jsonl", tmp_path / "logs/moved.jsonl"
    with AccessLog(path, "w", {}).writing() as log:
        log.add(exchange("first"))
        until(path.exists)
        path.rename(moved)
        log.add(exchange("second"))
        until(path.exists)
    assert [line["request_id"] for line in lines(moved) + lines(path)] == ["first", "second"]


def test_two_workers_write_whole_lines_and_the_file_does_not_grow_without_end(tmp_path: Path) -> None:
    path, most = tmp_path / "access.jsonl", 200_000
    both = [AccessLog(path, name, {}, max_bytes=most) for name in "ab"]

    def work(log: AccessLog) -> None:
        with log.writing():
            for _ in range(20):
                for _ in range(100):
                    log.add(exchange())
                # However busy the machine is: what is written at once stays small.
                while log._waiting:
                    time.sleep(logs.EVERY_S / 10)

    threads = [threading.Thread(target=work, args=(log,)) for log in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    aside = tmp_path / "access.jsonl.1"
    assert aside.exists()
    kept = [found for found in (path, aside) if found.exists()]  # the last write may have put the file aside
    assert sum(log.dropped for log in both) == 0
    for found in kept:
        assert found.stat().st_size < 2 * most
        assert {line["worker"] for line in lines(found)} <= {"a", "b"}


def test_what_the_disk_does_not_take_is_counted_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with AccessLog(tmp_path / "file/access.jsonl", "w", {}).writing() as log:
        log.add(exchange())
        until(lambda: log.dropped == 1)
        log.add(exchange())
        until(lambda: log.dropped == 2)
    assert caplog.text.count("the access log cannot be written") == 1
    monkeypatch.setattr(logs, "MOST", 3)
    full = AccessLog(tmp_path / "access.jsonl", "w", {})
    for _ in range(5):
        full.add(exchange())
    assert full.dropped == 2


def test_the_log_of_the_server_names_the_request(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("sporeprint")
    logger.addHandler(caplog.handler)
    try:
        with request_ids_in_log():
            assert any(isinstance(each, RequestIdFilter) for each in caplog.handler.filters)
            token = REQUEST.set("r-7")
            logging.getLogger("sporeprint.x").warning("%s failed: %d", "it", 3)
            REQUEST.reset(token)
            logging.getLogger("sporeprint.x").warning("100%")
        assert not any(isinstance(each, RequestIdFilter) for each in caplog.handler.filters)
    finally:
        logger.removeHandler(caplog.handler)
    assert "it failed: 3 [request r-7]" in caplog.text
    assert "100%" in caplog.text

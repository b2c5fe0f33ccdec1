"""A run in a real MLflow tracking server; and that a server which is away, or fails, harms no run."""

import http.server
import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from free_ports import free_port
from sporeprint import settings as configuration
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.mlflow_tracking import track_run
from sporeprint.pipelines.results import EtlResult
from sporeprint.settings import Settings


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield


@pytest.fixture(scope="module")
def run(_small: dict[str, Any], small_table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Path, EtlResult]:
    settings, root = configuration.parse(_small), tmp_path_factory.mktemp("tracked")
    return settings, root, run_etl(settings, root, source=str(small_table))


@pytest.fixture
def server(clients: Path, tmp_path: Path) -> Iterator[str]:
    """A tracking server with a store of its own."""
    port = free_port()
    store = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", str(tmp_path / "artifacts")]
    command: list[str | Path] = [clients, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", *store]
    # Nothing here is a job for later: without it, six processes load MLflow to wait for one.
    env = {**os.environ, "PATH": f"{clients.parent}:{os.environ['PATH']}", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                urllib.request.urlopen(f"{address}/health").close()
                break
            except OSError:
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def ask(server: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(f"{server}/api/2.0/mlflow/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def test_a_run_and_its_models_with_metrics_report_and_files(server: str, run: tuple[Settings, Path, EtlResult]) -> None:
    settings, root, result = run
    run_id = track_run(settings, root, result, server)
    assert run_id is not None
    found = ask(server, "experiments/search", {"max_results": 10})["experiments"]
    (experiment,) = [each["experiment_id"] for each in found if each["name"] == settings.dataset.name]
    runs = ask(server, "runs/search", {"experiment_ids": [experiment]})["runs"]
    assert {each["info"]["status"] for each in runs} == {"FINISHED"}
    parent = next(each for each in runs if each["info"]["run_id"] == run_id)
    assert parent["info"]["run_name"] == result.run_id
    models = {each["info"]["run_name"]: each["data"] for each in runs if each is not parent}
    measured = result.evaluated.to_dict()["models"]
    assert set(models) == set(measured)
    for name, data in models.items():
        metrics = {each["key"]: each["value"] for each in data["metrics"]}
        expected = measured[name]["seen"]["accuracy"]
        assert [metrics[f"seen.accuracy{end}"] for end in ("", "_low", "_high")] == [expected[key] for key in ("value", "low", "high")]
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server)
    assert {"report.html", "metrics.json"} <= {each.path for each in client.list_artifacts(run_id)}
    (xgboost,) = [each["info"]["run_id"] for each in runs if each["info"]["run_name"] == "xgboost"]
    assert "model/MLmodel" in {each.path for each in client.list_artifacts(xgboost, "model")}


def test_a_server_that_is_away_is_told_and_harms_nothing(run: tuple[Settings, Path, EtlResult], caplog: pytest.LogCaptureFixture) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    assert track_run(*run[:2], run[2], address) is None
    assert f"was not tracked by MLflow at {address}" in caplog.text
    assert "the run itself is complete" in caplog.text


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers everything with the same."""

    status, body = 500, b""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(self.status)
        self.send_header("content-length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"", "500"),
        (500, b'{"error_code": "INTERNAL_ERROR", "message": "full"}', "500"),
        (403, b"<html>log in</html>", "403"),
        (200, b"<html>log in</html>", "not in a valid JSON format"),
        (200, b'{"experiment": 5}', "Failed to parse experiment"),
        (200, b"{}", "MLflow"),  # an experiment and a run without names, to which nothing can be attached
    ],
)
def test_a_server_that_fails_or_is_another_is_told_and_harms_nothing(
    run: tuple[Settings, Path, EtlResult], caplog: pytest.LogCaptureFixture, status: int, body: bytes, said: str
) -> None:
    handler = type("Handler", (Answering,), {"status": status, "body": body})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as failing:
        threading.Thread(target=failing.serve_forever, daemon=True).start()
        try:
            assert track_run(*run[:2], run[2], f"http://127.0.0.1:{failing.server_port}") is None
        finally:
            failing.shutdown()
    assert "was not tracked by MLflow" in caplog.text
    assert said in caplog.text


@pytest.mark.parametrize("address", ["http://[::1", "http://127.0.0.1:99999", "htp://nowhere"])
def test_an_address_that_is_none_is_told(run: tuple[Settings, Path, EtlResult], caplog: pytest.LogCaptureFixture, address: str) -> None:
    assert track_run(*run[:2], run[2], address) is None
    assert f"was not tracked by MLflow at {address}" in caplog.text


def test_a_password_in_the_address_is_not_told(run: tuple[Settings, Path, EtlResult], caplog: pytest.LogCaptureFixture) -> None:
    assert track_run(*run[:2], run[2], f"http://me:secret@127.0.0.1:{free_port()}") is None
    assert "http://me:***@127.0.0.1" in caplog.text
    assert "secret" not in caplog.text

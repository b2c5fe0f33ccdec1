"""An exported version in a real MLflow: loaded, served, and equal to what `predict` says of the same rows."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from free_ports import free_port
from sporeprint.errors import RegistryError, UsageError
from sporeprint.pipelines.batch_prediction import predict
from sporeprint.pipelines.mlflow_export import export_mlflow
from sporeprint.registry.registry import Registry

SOURCE, PACKAGES = Path(__file__).parents[2] / "src", Path(np.__file__).parents[1]
LOAD = """
import sys, mlflow.pyfunc, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = pd.read_csv(sys.argv[2], sep=";").drop(columns=["class"], errors="ignore")
model.predict(frame).to_json(sys.argv[3], orient="records", double_precision=15)
"""


@pytest.fixture(scope="module")
def exported(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_mlflow(Registry(small_run / "models" / "registry"), "production", tmp_path_factory.mktemp("mlflow") / "model")


@pytest.fixture
def environment() -> dict[str, str]:
    """MLflow's libraries first, then those of sporeprint; nothing is reported to anybody."""
    return {**os.environ, "PYTHONPATH": f"{SOURCE}:{PACKAGES}", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}


def test_no_pickle_and_nothing_absolute(exported: Path, small_run: Path) -> None:
    files = [path for path in exported.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} & {".joblib", ".pkl", ".pickle"} == set()
    assert {"MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml", "input_example.json"} <= {path.name for path in files}
    for path in exported.iterdir():
        if path.is_file():
            assert str(small_run) not in path.read_text(encoding="utf-8")


def test_scores_and_verdicts_in_mlflow_are_those_of_predict(
    clients: Path, exported: Path, environment: dict[str, str], small_run: Path, small_table: Path, tmp_path: Path
) -> None:
    predict(small_run, small_table, tmp_path / "expected.parquet")
    subprocess.run([clients, "-c", LOAD, exported, small_table, tmp_path / "answers.json"], env=environment, check=True)
    answers = pl.DataFrame(json.loads((tmp_path / "answers.json").read_text()), infer_schema_length=None)
    expected = pl.read_parquet(tmp_path / "expected.parquet")
    assert answers.height == expected.height
    for name in ("verdict", "prediction"):
        assert answers[name].to_list() == expected[name].to_list()
    for name in ("probability", "novelty_p"):
        np.testing.assert_allclose(answers[name].to_numpy(), expected[name].to_numpy(), atol=1e-12)


@pytest.fixture
def served(clients: Path, exported: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[str]:
    """The address of `mlflow models serve` over the exported model."""
    port = free_port()
    command: list[str | Path] = [
        clients,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        exported,
        "-p",
        str(port),
        "--env-manager",
        "local",
        "-w",
        "1",
    ]
    environment["PATH"] = f"{clients.parent}:{environment['PATH']}"
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert server.poll() is None, (tmp_path / "log").read_text()
            try:
                urllib.request.urlopen(f"{address}/ping").close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def invocations(address: str, body: Any) -> Any:
    request = urllib.request.Request(f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        return json.load(response)


def test_mlflow_serves_the_example_and_rows_that_lack_columns(served: str, exported: Path) -> None:
    example = json.loads((exported / "serving_input_example.json").read_text())
    (answer,) = invocations(served, example)["predictions"]
    assert answer["verdict"] in {"edible", "poisonous", "unknown"}
    assert 0 <= answer["probability"] <= 1
    (name, value), *_ = (
        (name, value)
        for name, value in zip(
            *(example["dataframe_split"][key] for key in ("columns",)), example["dataframe_split"]["data"][0], strict=True
        )
        if value is not None
    )
    (partial,) = invocations(served, {"dataframe_records": [{name: value}]})["predictions"]
    assert set(partial) == set(answer)


def test_where_it_may_be_written(small_run: Path, exported: Path, tmp_path: Path) -> None:
    registry = Registry(small_run / "models" / "registry")
    with pytest.raises(UsageError, match="expected a folder that is empty or does not exist"):
        export_mlflow(registry, "production", exported)
    with pytest.raises(RegistryError, match="nobody"):
        export_mlflow(registry, "nobody", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_damaged_copy_is_refused(clients: Path, exported: Path, environment: dict[str, str], small_table: Path, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    (guard,) = copy.rglob("calibration.json")
    guard.write_bytes(guard.read_bytes().replace(b"1", b"2", 1))
    done = subprocess.run([clients, "-c", LOAD, copy, small_table, tmp_path / "x"], env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "calibration.json" in done.stderr

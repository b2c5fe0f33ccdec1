"""What `pip install 'sporeprint[serve]'` brings: little, and all that a server needs."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

from free_ports import free_port
from install_support import new_environment
from sporeprint.data.parquet_store import read_table
from sporeprint.registry.registry import Registry

ROOT = Path(__file__).parents[2]
MOST_MIB, MOST_DISTRIBUTIONS = 400, 60
#: What a server does without.
ABSENT = ("duckdb", "joblib", "matplotlib", "onnx", "pandas", "pyarrow", "scipy", "skl2onnx", "sklearn", "xgboost")
PARQUET = "application/vnd.apache.parquet"

BLOCKED = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_environment(tmp_path_factory.mktemp("install") / "venv", f"sporeprint[serve] @ {ROOT.as_uri()}")


@contextlib.contextmanager
def serving(environment: Path, work: Path, config: Path) -> Iterator[httpx.Client]:
    port = free_port()
    command = [str(environment / "bin/sporeprint"), "serve", "--port", str(port), "--workdir", str(work), "--config", str(config)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            for _ in range(300):
                with contextlib.suppress(httpx.TransportError):
                    if client.get("/health/ready").status_code == 200:
                        break
                assert server.poll() is None, server.communicate()[1]
                time.sleep(0.1)
            yield client
    finally:
        server.terminate()
        server.communicate()


def test_the_size_of_a_server(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    ours = [
        path for path in packages.rglob("*") if path.is_file() and not path.is_symlink() and path.relative_to(packages).parts[0] != "pip"
    ]
    distributions = sorted(path.name for path in packages.glob("*.dist-info") if not path.name.startswith("pip-"))
    assert sum(path.stat().st_size for path in ours) <= MOST_MIB << 20
    assert len(distributions) <= MOST_DISTRIBUTIONS
    assert [name for name in ABSENT if (packages / name).exists()] == []


def test_a_server_answers(environment: Path, small_copy: Path, config_file: Path) -> None:
    with serving(environment, small_copy, config_file) as client:
        row = {"cap-shape": "x", "season": "a"}
        assert client.post("/predict", json=row).json()["verdict"] in ("edible", "poisonous", "unknown")
        # Few columns are explained by the groups; as many as the classifier was trained on, by the classifier.
        assert client.post("/predict?explain=true", json=row).json()["explanation"]["unit"] == "log odds"

        frame = pl.read_parquet(small_copy / "data/model_input/test.parquet").head(50)
        rows = frame.select(name for name in frame.columns if name not in ("_row", "_group", "_row_hash", "_part", "class"))
        rows.cast({pl.Categorical: pl.String}).write_parquet(small_copy / "rows.parquet")
        recorded = {name: value for name, value in rows.row(0, named=True).items() if value is not None}
        refused = client.post("/predict?explain=true", json=recorded)
        assert (refused.status_code, refused.json()["type"]) == (501, "urn:sporeprint:problem:not-installed")
        assert "pip install 'sporeprint[train]'" in refused.json()["detail"]
        found = {
            kind: client.post("/predict/batch", content=content, headers={"content-type": kind, "accept": "application/json"}).json()
            for kind, content in {
                "application/json": rows.write_json().encode(),
                "text/csv": rows.write_csv(separator=";").encode(),
                PARQUET: (small_copy / "rows.parquet").read_bytes(),
            }.items()
        }
        answers = [[answer["probability"] for answer in said["predictions"]] for said in found.values()]
        assert len(answers[0]) == 50
        assert answers[0] == answers[1] == answers[2]
        kept = found[PARQUET]["predictions"][7]["prediction_id"]
        assert client.get(f"/predictions/{kept}").status_code == 200
        assert client.post(f"/predictions/{kept}/outcome", json={"outcome": "edible", "source": "test"}).status_code in (200, 201)
        assert "sporeprint_answers_total" in client.get("/metrics").text
        promoted = client.post("/models/decision_tree/promote", json={"version": 1, "reason": "test"})
        assert promoted.status_code in (200, 409), promoted.text


def test_without_the_libraries_scores_and_rows_are_the_same(small_run: Path) -> None:
    work = f"""
import json
from pathlib import Path
import sporeprint.model_serving.server, sporeprint.pipelines.etl, sporeprint.pipelines.ab_test_lifecycle
from sporeprint.registry.registry import Registry
from sporeprint.data.parquet_store import read_table
bundle = Registry(Path({str(small_run / "models/registry")!r})).load("xgboost")
rows = read_table(Path({str(small_run / "data/model_input/test.parquet")!r}), bundle.schema)
print(json.dumps([bundle.probability(rows.codes).tolist(), rows.y.tolist(), rows.row_hash.tolist()]))
"""
    found = subprocess.run([sys.executable, "-c", BLOCKED + work], capture_output=True, text=True, check=True)
    probability, y, row_hash = json.loads(found.stdout)
    bundle = Registry(small_run / "models/registry").load("xgboost")
    rows = read_table(small_run / "data/model_input/test.parquet", bundle.schema)
    assert np.abs(np.array(probability) - bundle.probability(rows.codes)).max() <= 1e-6
    assert (y, row_hash) == (rows.y.tolist(), rows.row_hash.tolist())


def test_without_the_libraries_partial_rows_are_answered_the_same(small_run: Path) -> None:
    work = f"""
import json
from pathlib import Path
from sporeprint.inference.identification import identify_row
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.registry.registry import Registry
registry = Registry(Path({str(small_run / "models/registry")!r}))
model = LoadedModel.load(registry, registry.resolve("xgboost"))
row = {{"cap-shape": "x", "season": "a", "cap-diameter": 8.0}}
answers = [model.answer({{}}), model.answer(row), *model.answers([row] * 40)]
print(json.dumps([[answer.look_at for answer, _ in answers], identify_row(model.bundle, row).to_dict()]))
"""
    blocked, free = (
        json.loads(subprocess.run([sys.executable, "-c", block + work], capture_output=True, text=True, check=True).stdout)
        for block in (BLOCKED, "")
    )
    assert blocked[0] == free[0]
    assert blocked[0][0]  # nothing observed: it says what to look at
    assert blocked[1]["next_questions"][0]["column"] == free[1]["next_questions"][0]["column"]
    assert blocked[1]["verdict"] == free[1]["verdict"] == "unknown"


def test_a_command_without_its_libraries_says_what_to_install(tmp_path: Path, config_file: Path, small_table: Path) -> None:
    arguments = ["etl", "--workdir", str(tmp_path), "--config", str(config_file), "--source", str(small_table)]
    work = f"from sporeprint.cli.app import run\nsys.exit(run({arguments!r}))"
    found = subprocess.run([sys.executable, "-c", BLOCKED + work], capture_output=True, text=True, check=False)
    assert found.returncode == 3
    assert "pip install 'sporeprint[train]'" in found.stderr

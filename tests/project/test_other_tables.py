"""Other tables with other targets go through the whole run by their own config files alone."""

import csv
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from sporeprint import settings
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.pipelines import batch_prediction as scoring
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.results import EtlResult
from sporeprint.registry.registry import Registry

QUICK = ["evaluation.replicates=100", "runtime.threads=1"]


def run(config: Path, table: Path, root: Path) -> EtlResult:
    return run_etl(settings.load_settings(config, environ={}, overrides=QUICK), root, source=str(table))


@pytest.fixture(scope="module")
def breast_cancer(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EtlResult]:
    """A whole run, on the table that the config file's own comment makes."""
    folder = tmp_path_factory.mktemp("breast_cancer")
    config = root / "config/examples/breast_cancer.yaml"
    said = config.read_text(encoding="utf-8")
    (script,) = re.findall(r"<<'PYTHON'\n(.*?)#   PYTHON\n", said, re.DOTALL)
    subprocess.run([sys.executable, "-c", re.sub(r"^#   ", "", script, flags=re.MULTILINE)], cwd=folder, check=True)
    return folder, run(config, folder / "breast_cancer.csv", folder / "work")


def test_all_numbers(breast_cancer: tuple[Path, EtlResult]) -> None:
    folder, result = breast_cancer
    record = result.data.record
    assert (record.rows, record.rejected) == (569, 0)
    assert dict(record.classes) == {"benign": 357, "malignant": 212}
    metrics: dict[str, Any] = json.loads((folder / "work/models/metrics/metrics.json").read_text(encoding="utf-8"))
    assert list(metrics["models"]) == ["logistic_regression", "random_forest", "xgboost"]
    for model in metrics["models"].values():
        assert model["seen"]["roc_auc"]["value"] > 0.95
        assert model["unseen"] == {"available": False, "reason": "the configuration declares no groups (dataset.groups)"}
    assert (folder / "work/data/processed/breast_cancer.parquet").exists()
    assert Registry(folder / "work/models/registry").verify_all() == ()


def test_its_words_are_everywhere_and_those_of_the_shipped_table_nowhere(breast_cancer: tuple[Path, EtlResult]) -> None:
    folder, result = breast_cancer
    card = (folder / "work/models/registry/random_forest/v1/model_card.md").read_text(encoding="utf-8")
    pages = [(folder / "work" / name).read_text(encoding="utf-8") for name in ("models/metrics/report.html", "data/validation/report.html")]
    for text in (card, pages[0]):
        assert "malignant" in text
        assert "benign" in text
    for text in (card, *(re.sub(r"data:[^\"')]+", "", page) for page in pages), *(str(table) for table in result.tables())):
        assert not re.search("mushroom|edible|poisonous|species", text, re.IGNORECASE)


def test_its_rows_can_be_scored(breast_cancer: tuple[Path, EtlResult], tmp_path: Path) -> None:
    folder, _ = breast_cancer
    found = scoring.predict(folder / "work", folder / "breast_cancer.csv", tmp_path / "out.csv", model="random_forest")
    assert found.counts.scored == 569
    said = pl.read_csv(tmp_path / "out.csv")
    assert np.mean((said["prediction"] == said["diagnosis"]).to_numpy()) > 0.9
    assert found.words == ("benign", "malignant")


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """435 invented members, in the form of the UCI table: commas, no header, '?' for neither."""
    dice = random.Random(5)
    path = tmp_path_factory.mktemp("votes") / "house-votes-84.data"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        for _ in range(435):
            republican = dice.random() < 0.39
            yea = [0.3 + 0.04 * vote if republican else 0.8 - 0.04 * vote for vote in range(16)]
            rows.writerow(["republican" if republican else "democrat", *(dice.choices("yn?", (p, 1 - p, 0.05))[0] for p in yea)])
    return path


def test_all_codes_and_no_header(root: Path, votes: Path, tmp_path: Path) -> None:
    result = run(root / "config/examples/votes_no_header.yaml", votes, tmp_path)
    assert result.data.record.rows == result.data.record.good == 435
    found = result.evaluated.context.evaluations
    assert found["logistic_regression"].seen.metrics["roc_auc"].value > 0.9
    assert all(isinstance(model.unseen, Unavailable) for model in found.values())
    source = [line.split(",") for line in votes.read_text(encoding="utf-8").splitlines()]
    names = ["party", *result.evaluated.context.schema.columns]
    table = pl.read_parquet(tmp_path / "data/processed/votes.parquet").select(pl.col(names).cast(pl.String))
    assert [list(row) for row in table.iter_rows()] == source
    assert pq.read_schema(tmp_path / "data/processed/votes.parquet").names[-16:] == names[1:]


def test_rows_to_score_may_have_a_header_though_the_table_had_none(root: Path, votes: Path, tmp_path: Path) -> None:
    result = run(root / "config/examples/votes_no_header.yaml", votes, tmp_path)
    names = list(result.evaluated.context.schema.columns)
    rows = pl.read_csv(votes, has_header=False, new_columns=["party", *names]).drop("party")
    rows.write_csv(tmp_path / "new.csv")
    assert scoring.predict(tmp_path, tmp_path / "new.csv", tmp_path / "out.csv").counts.scored == 435
    assert pl.read_csv(tmp_path / "out.csv").columns[:16] == names


@pytest.mark.parametrize("name", ["breast_cancer", "votes_no_header"])
def test_the_examples_are_good(name: str, root: Path) -> None:
    assert settings.load_settings(root / f"config/examples/{name}.yaml", environ={}).models

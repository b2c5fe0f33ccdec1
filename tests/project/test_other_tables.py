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
from sporeprint.errors import DataError
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.inference.identification import identify_row
from sporeprint.inference.prediction import TOO_LITTLE_OBSERVED
from sporeprint.inference.predictor import predict_row
from sporeprint.pipelines import batch_prediction as scoring
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.results import EtlResult
from sporeprint.registry.registry import Registry
from sporeprint.safety.verdict import verdict_words

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


@pytest.fixture(scope="module")
def votes_run(root: Path, votes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EtlResult]:
    folder = tmp_path_factory.mktemp("votes_run")
    return folder, run(root / "config/examples/votes_no_header.yaml", votes, folder)


def test_all_codes_and_no_header(votes: Path, votes_run: tuple[Path, EtlResult]) -> None:
    folder, result = votes_run
    assert result.data.record.rows == result.data.record.good == 435
    found = result.evaluated.context.evaluations
    assert found["logistic_regression"].seen.metrics["roc_auc"].value > 0.9
    assert all(isinstance(model.unseen, Unavailable) for model in found.values())
    source = [line.split(",") for line in votes.read_text(encoding="utf-8").splitlines()]
    names = ["party", *result.evaluated.context.schema.columns]
    table = pl.read_parquet(folder / "data/processed/votes.parquet").select(pl.col(names).cast(pl.String))
    assert [list(row) for row in table.iter_rows()] == source
    assert pq.read_schema(folder / "data/processed/votes.parquet").names[-16:] == names[1:]


def test_rows_to_score_may_have_a_header_though_the_table_had_none(votes: Path, votes_run: tuple[Path, EtlResult], tmp_path: Path) -> None:
    folder, result = votes_run
    names = list(result.evaluated.context.schema.columns)
    rows = pl.read_csv(votes, has_header=False, new_columns=["party", *names]).drop("party")
    rows.write_csv(tmp_path / "new.csv")
    assert scoring.predict(folder, tmp_path / "new.csv", tmp_path / "out.csv").counts.scored == 435
    assert pl.read_csv(tmp_path / "out.csv").columns[:16] == names


@pytest.mark.parametrize("table", ["breast_cancer", "votes_run"])
def test_columns_may_be_hidden(table: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Without groups: nobody answers wrongly for want of a column, and what is unknown says what to look at."""
    folder, _ = request.getfixturevalue(table)
    work = folder / "work" if table == "breast_cancer" else folder
    bundle = Registry(work / "models/registry").load("production")
    negative, positive, _ = verdict_words(bundle.schema)
    test = pl.read_parquet(work / "data/model_input/test.parquet")
    target, columns, dice = bundle.schema.target, list(bundle.schema.columns), random.Random(2)
    wrong = answered = 0
    for row in test.head(60).iter_rows(named=True):
        some = {name: row[name] for name in dice.sample(columns, len(columns) // 2) if row[name] is not None}
        prediction = predict_row(bundle, some)
        if prediction.unknown == TOO_LITTLE_OBSERVED:
            assert not set(prediction.look_at) & set(some)
        answered += prediction.verdict in (negative, positive)
        wrong += prediction.verdict == negative and row[target.column] == target.positive
    assert wrong <= 1
    standing = identify_row(bundle, {})
    assert standing.unknown == TOO_LITTLE_OBSERVED
    observed: dict[str, str | float | None] = {}
    whole = test.row(0, named=True)
    while not standing.is_final:
        observed[standing.next_questions[0].column] = whole[standing.next_questions[0].column]
        standing = identify_row(bundle, observed)
    assert standing.fitting <= len(bundle.safety.components)

    # A file that lost a column is answered, not refused.
    lost = next((name for name in columns if not bundle.schema.columns[name].required), columns[0])
    test.select(name for name in columns if name != lost).cast({pl.Categorical: pl.String}).write_parquet(tmp_path / "lost.parquet")
    if bundle.schema.columns[lost].required:  # all are: then it is refused, by name
        with pytest.raises(DataError, match=f"missing: '{lost}'"):
            scoring.predict(work, tmp_path / "lost.parquet", tmp_path / "out.csv")
        return
    found = scoring.predict(work, tmp_path / "lost.parquet", tmp_path / "out.csv")
    assert found.counts.scored == found.counts.rows == test.height
    alone = [predict_row(bundle, {name: row[name] for name in columns if name != lost}) for row in test.head(20).iter_rows(named=True)]
    said = pl.read_csv(tmp_path / "out.csv", infer_schema=False).head(20)
    assert said["verdict"].to_list() == [each.verdict for each in alone]
    assert said["unknown"].to_list() == [each.unknown for each in alone]


def test_an_absent_member_is_not_an_empty_cell(votes_run: tuple[Path, EtlResult]) -> None:
    """Where an empty cell says something: each row of a batch is answered as it would be alone."""
    bundle = Registry(votes_run[0] / "models/registry").load("production")
    assert bundle.safety.partial is not None
    columns = list(bundle.schema.columns)
    assert bundle.safety.partial.layout.informative == set(columns)
    whole: dict[str, Any] = dict.fromkeys(columns, "y")
    rows: list[dict[str, Any]] = [whole, {**whole, columns[0]: None}, dict.fromkeys(columns[1:], "y"), {}, dict.fromkeys(columns)]
    frame = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=dict.fromkeys(columns, pl.String))
    absent = {name: np.array([name not in row for row in rows]) for name in columns}
    said = scoring.score_frame(frame, bundle, absent=absent)
    alone = [predict_row(bundle, row) for row in rows]
    for name in ("verdict", "unknown", "prediction", "reason"):
        assert said[name].to_list() == [getattr(each, name) for each in alone]
    assert said["probability"].to_list() == pytest.approx([each.probability for each in alone])
    assert alone[3].unknown == TOO_LITTLE_OBSERVED
    assert alone[4].unknown != TOO_LITTLE_OBSERVED


@pytest.mark.parametrize("name", ["breast_cancer", "votes_no_header"])
def test_the_examples_are_good(name: str, root: Path) -> None:
    assert settings.load_settings(root / f"config/examples/{name}.yaml", environ={}).models

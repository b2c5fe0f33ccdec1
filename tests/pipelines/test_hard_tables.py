"""Tables on which a classifier goes wrong without a word, from the file to the verdict: each with its right result."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML
from scipy.special import expit

from sporeprint import settings
from sporeprint.errors import DataError
from sporeprint.inference.table_scoring import class_probabilities, verdicts
from sporeprint.pipelines.batch_prediction import score_frame
from sporeprint.pipelines.draft import draft_configuration
from sporeprint.pipelines.etl import run_etl
from sporeprint.pipelines.results import EtlResult
from sporeprint.registry.registry import Registry
from table_cases import csv, loans

LINEAR = {"linear": {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 1000}}}
BOOSTED = {
    "boosted": {
        "estimator": "xgboost",
        "nominal": "ordinal",
        "numeric": "none",
        "rounds": 150,
        "params": {"max_depth": 4, "learning_rate": 0.1, "subsample": 0.9, "colsample_bytree": 0.9},
    }
}


def trained(root: Path, columns: dict[str, list[Any]], models: dict[str, Any], target: str = "late", **sections: Any) -> EtlResult:
    """A run on a drafted configuration, with these models."""
    (root / "table.csv").write_text(csv(columns))
    raw = YAML(typ="safe", pure=True).load(draft_configuration(str(root / "table.csv"), root, target=target).text)
    for name, values in sections.items():
        raw[name] = {**raw.get(name, {}), **values}
    fast = {"models": models, "runtime": {"threads": 1}, "evaluation": {"replicates": 100}}
    return run_etl(settings.parse({**raw, **fast}), root)


def auc(root: Path, model: str) -> float:
    """ROC AUC on the test rows."""
    metrics = json.loads((root / "models/metrics/metrics.json").read_text())["models"]
    return float(metrics[model]["seen"]["roc_auc"]["value"])


def frame_of(columns: dict[str, list[Any]]) -> pl.DataFrame:
    return pl.DataFrame({name: [None if value is None else str(value) for value in values] for name, values in columns.items()})


def noted(result: EtlResult) -> str:
    return " ".join((*result.data.record.notes, *result.registered.notes))


def test_a_column_of_many_values_does_no_harm(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    columns = {"branch": [f"b{number}" for number in draw.integers(0, 700, 1200)], **loans(1200)}
    result = trained(tmp_path, columns, BOOSTED)
    (plain := tmp_path / "plain").mkdir()
    trained(plain, loans(1200), BOOSTED)
    assert auc(tmp_path, "boosted") > auc(plain, "boosted") - 0.04
    assert "'branch'" in noted(result)


def test_weighed_boosting_is_stopped_by_weighed_rows(tmp_path: Path) -> None:
    weighed = {"boosted": {**BOOSTED["boosted"], "params": {**BOOSTED["boosted"]["params"], "scale_pos_weight": 10}}}  # type: ignore[dict-item]
    result = trained(tmp_path, loans(1200), weighed)
    bundle = Registry(tmp_path / "models/registry").load(str(result.registered.production))
    assert bundle.info["rounds"] > 5
    assert not bundle.info["notes"]
    assert auc(tmp_path, "boosted") > 0.7


@pytest.fixture(scope="module")
def frequent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EtlResult]:
    """A model of a table in which few rows are likelier late than not, with a loose promise."""
    root = tmp_path_factory.mktemp("frequent")
    return root, trained(root, loans(1500, seed=4), LINEAR, guard={"alpha": 0.2})


def test_what_is_likelier_negative_is_never_called_positive(frequent: tuple[Path, EtlResult]) -> None:
    root, result = frequent
    bundle = Registry(root / "models/registry").load(str(result.registered.production))
    answers = score_frame(frame_of(loans(1500, seed=4)), bundle)
    assert (answers["verdict"] == "late").any()
    assert answers.filter((pl.col("verdict") == "late") & (pl.col("prediction") == "0")).is_empty()


@pytest.mark.parametrize(("rows", "intercept"), [(4_000, -5), (20_000, -7.3), (20_000, -9)])  # 1 of 25, of 230, of 1,100
def test_rare_positives_are_not_lost_behind_an_empty_promise(tmp_path: Path, rows: int, intercept: float) -> None:
    draw = np.random.default_rng(3)
    x, other = draw.normal(size=(2, rows)).round(3)
    late = (draw.random(rows) < expit(2 * x + intercept)).astype(int)
    columns = {"x": x.tolist(), "other": other.tolist(), "late": late.tolist()}
    result = trained(tmp_path, columns, LINEAR)
    bundle = Registry(tmp_path / "models/registry").load(str(result.registered.production))
    said = verdicts(bundle, frame_of(columns))
    missed = (said[late == 1] == "not late").mean()
    assert bundle.safety.limits.negative is None or bundle.safety.limits.negative < late.mean()
    assert missed < 0.35


def test_rows_that_repeat_are_learned_and_tested_alike(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    bits = draw.integers(0, 2, (3000, 5))
    weights, late = np.array([1.0, -1.0, 0.8, -0.5, 0.3]), np.zeros(3000)
    late = (draw.random(3000) < expit(bits @ weights - 0.3)).astype(int)
    columns = {**{f"q{place}": [f"v{value}" for value in bits[:, place]] for place in range(5)}, "late": late.tolist()}
    result = trained(tmp_path, columns, LINEAR)
    assert abs(auc(tmp_path, "linear") - 0.71) < 0.06
    assert "have the features of another row" in noted(result)


def test_one_row_repeated_a_thousand_times_is_no_reason_to_stop(tmp_path: Path) -> None:
    table = loans(1200)
    columns = {name: [*values, *([values[0]] * 900)] for name, values in table.items()}
    result = trained(tmp_path, columns, LINEAR)
    assert result.data.record.rejected == 0
    assert auc(tmp_path, "linear") > 0.75


def test_a_hundred_rows_and_a_line_of_totals(tmp_path: Path) -> None:
    table = loans(100)
    totals = {"income": [str(round(sum(table["income"]), 2))]}
    result = trained(tmp_path, {name: [*values, *totals.get(name, [None])] for name, values in table.items()}, LINEAR)
    assert (result.data.record.rows, result.data.record.rejected) == (100, 0)
    assert "1 row has no label and was left out" in noted(result)
    assert str(result.registered.production) == "linear/v1"


def test_rows_without_a_group_are_groups_of_their_own(tmp_path: Path) -> None:
    table = loans()
    columns = {"patient": [None if row % 30 == 0 else row % 50 for row in range(600)], **table}
    result = trained(tmp_path, columns, LINEAR)
    assert (result.data.record.rejected, result.data.record.groups.count) == (0, 50 + 20 - len({0, 30} & set(range(50)) - {0, 30}))


def test_a_wide_table_is_known_by_its_own_kind(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    x = draw.normal(size=(400, 60)).round(3)
    late = (draw.random(400) < expit(x[:, :4].sum(axis=1))).astype(int)
    columns = {**{f"x{place}": x[:, place].tolist() for place in range(60)}, "late": late.tolist()}
    result = trained(tmp_path, columns, LINEAR)
    bundle = Registry(tmp_path / "models/registry").load(str(result.registered.production))
    fresh = frame_of({f"x{place}": draw.normal(size=300).round(3).tolist() for place in range(60)})
    answers = score_frame(fresh, bundle)
    # 40 rows calibrate the guard: what it covers is Beta(39, 2), 0.95 in the mean, and below 0.8 in 2 of 1,000 tables.
    assert (answers["novelty_p"].to_numpy() > 0.05).mean() > 0.8
    assert class_probabilities(bundle, fresh).shape == (300, 2)


def test_text_alone_is_refused(tmp_path: Path) -> None:
    draw = np.random.default_rng(6)
    words = [" ".join(draw.choice(["pay", "now", "later", "never", "soon", "again"], 9)) + f" {row}" for row in range(300)]
    with pytest.raises(DataError, match="no column beside the target that a model could learn from"):
        trained(tmp_path, {"text": words, "late": draw.integers(0, 2, 300).tolist()}, LINEAR)

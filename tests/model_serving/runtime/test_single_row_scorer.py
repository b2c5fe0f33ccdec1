"""Scores of single rows, against the scorers that they stand in for."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import xgboost

from sporeprint.inference.model_bundle import Bundle
from sporeprint.model_serving.runtime.single_row_scorer import single_row_scorer
from sporeprint.models.scorers import OnnxScorer, XGBoostScorer
from sporeprint.registry.registry import Registry


@pytest.mark.parametrize(("name", "engine"), [("xgboost", "onnx"), ("decision_tree", "onnx"), ("logistic_regression", "linear")])
def test_the_same_scores_on_every_row(small_run: Path, name: str, engine: str) -> None:
    bundle = Registry(small_run / "models/registry").load(name)
    found = single_row_scorer(bundle)
    assert found.engine == engine
    table = pl.read_parquet(small_run / "data/model_input/train.parquet").head(500)
    columns = [column for column in bundle.schema.columns if column in table.columns]
    rows = [*bundle.golden.rows, *table.select(columns).to_dicts(), {}]
    X = np.stack([bundle.encoder.encode_row(row) for row in rows])
    one_by_one = np.array([found.score(row[np.newaxis]) for row in X])
    assert np.abs(one_by_one - bundle.scorer.score(X)).max() <= 1e-6
    assert np.abs(found.scores(X) - one_by_one).max() <= 1e-6


def booster(**params: Any) -> tuple[XGBoostScorer, np.ndarray[Any, np.dtype[np.float32]]]:
    random = np.random.default_rng(5)
    X = random.normal(size=(400, 6)).astype(np.float32)
    y = (X[:, 0] + random.normal(size=400) > 0.8).astype(np.int8)
    params = {"objective": "binary:logistic", "nthread": 1, "max_depth": 5, **params}
    return XGBoostScorer.of(xgboost.train(params, xgboost.DMatrix(X, y), num_boost_round=40)), X


@pytest.mark.parametrize(
    "params", [{}, {"base_score": 0.5}, {"max_depth": 1}, {"grow_policy": "lossguide", "max_leaves": 9, "max_depth": 0}]
)
def test_trees_as_a_graph(params: dict[str, Any]) -> None:
    scorer, X = booster(**params)
    graph = scorer.graph
    assert graph is not None
    margin = OnnxScorer.of(graph).session.run(["margin"], {"X": X})[0][:, 0]
    assert np.abs(1 / (1 + np.exp(-margin.astype(np.float64))) - scorer.score(X)).max() <= 1e-6


def test_what_a_graph_cannot_say_is_left_to_the_scorer(small_run: Path) -> None:
    scorer, _ = booster(booster="dart", rate_drop=0.5)
    assert scorer.graph is None
    bundle = Registry(small_run / "models/registry").load("xgboost")
    with_dart = Bundle(bundle.name, bundle.encoder, scorer, bundle.schema, type(bundle.golden)((), ()), bundle.info)
    found = single_row_scorer(with_dart)
    row = np.zeros((1, 6), dtype=np.float32)
    assert (found.engine, found.score(row)) == ("xgboost", float(scorer.score(row)[0]))
    assert found.scores(row) == scorer.score(row)

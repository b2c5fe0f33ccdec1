"""A model from Python: the answers of the command line and the estimator, over any kind of table."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import sporeprint
from sporeprint.errors import DataError, RegistryError


@pytest.fixture(scope="module")
def model(small_run: Path) -> sporeprint.Model:
    return sporeprint.load("xgboost", small_run)


@pytest.fixture(scope="module")
def table(small_run: Path, model: sporeprint.Model) -> pl.DataFrame:
    raw = pl.read_parquet(small_run / "data/processed/mushroom.parquet").head(50)
    return raw.select(list(model.schema.columns))


def test_it_answers_as_the_estimator_does(model: sporeprint.Model, table: pl.DataFrame) -> None:
    estimator = sporeprint.SporeprintClassifier.from_bundle(model.bundle)
    assert np.array_equal(model.predict_proba(table), estimator.predict_proba(table))
    assert model.verdict(table).tolist() == estimator.verdict(table).tolist()
    assert model.predict(table).tolist() == estimator.predict(table).tolist()
    assert model.classes.tolist() == ["e", "p"]


def test_frames_of_each_kind_and_dicts_are_one_table(model: sporeprint.Model, table: pl.DataFrame) -> None:
    expected = model.predict_proba(table)
    for same in (table.to_pandas(), table.to_arrow(), table.to_dicts()):
        assert np.array_equal(model.predict_proba(same), expected)


def test_one_row_is_explained(model: sporeprint.Model, table: pl.DataFrame) -> None:
    row = table.row(0, named=True)
    explanation = model.explain(row, most=3)
    assert explanation.prediction.verdict == model.verdict(table[:1])[0]
    assert len(explanation.attributions) == 3
    with pytest.raises(DataError, match=r"unknown field 'cap-shap' \(did you mean 'cap-shape'"):
        model.explain({"cap-shap": "x"})


def test_it_says_what_it_is(model: sporeprint.Model) -> None:
    assert repr(model) == f"Model(xgboost/v1: {model.schema.name}, {len(model.schema.columns)} columns, classes e/p)"
    assert not model.is_simulated
    assert "seen" in model.metrics


def test_what_is_not_registered_is_named(small_run: Path) -> None:
    with pytest.raises(RegistryError, match="no model 'forest'"):
        sporeprint.load("forest", small_run)

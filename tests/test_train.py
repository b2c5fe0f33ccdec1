"""Fitting: the estimators a configuration may name, what they leave behind, and what is refused."""

import numpy as np
import pytest

from sporeprint.errors import ConfigError, NotServableError
from sporeprint.settings import ModelSettings
from sporeprint.train import Encoded, Fitted, fit, importance, make_estimator, to_scorer

FOREST = "sklearn.ensemble.RandomForestClassifier"


def rows(count: int, seed: int) -> Encoded:
    """Two useful features and one of noise."""
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(count, 3)).astype(np.float32)
    y = (X[:, 0] + 0.5 * X[:, 1] + 0.3 * draw.normal(size=count) > 0).astype(np.int8)
    return Encoded(X, y)


def fitted(model: ModelSettings, seed: int = 1) -> Fitted:
    return fit(model, rows(400, 1), rows(200, 2), seed=seed, threads=1)


XGBOOST = ModelSettings(estimator="xgboost", rounds=200, early_stopping_rounds=5, params={"max_depth": 3})


def test_boosting_stops_when_the_stopping_rows_say_so_and_keeps_the_best_rounds() -> None:
    found = fitted(XGBOOST)
    assert found.rounds is not None
    assert 1 <= found.rounds < 200
    assert found.estimator.num_boosted_rounds() == found.rounds


def test_without_early_stopping_every_round_is_kept() -> None:
    assert fitted(ModelSettings(estimator="xgboost", rounds=12, early_stopping_rounds=None)).rounds == 12


def test_every_round_is_told() -> None:
    told: list[int] = []
    model = ModelSettings(estimator="xgboost", rounds=7, early_stopping_rounds=None)
    fit(model, rows(100, 1), rows(50, 2), seed=1, threads=1, each_round=told.append)
    assert told == [1] * 7


@pytest.mark.parametrize(
    "model",
    [XGBOOST, ModelSettings(estimator=FOREST, params={"n_estimators": 5}), ModelSettings(estimator="sklearn.tree.DecisionTreeClassifier")],
)
def test_the_same_seed_gives_the_same_serving_bytes(model: ModelSettings) -> None:
    X = rows(200, 2).X
    first, second = (to_scorer(fitted(model), X, threads=1).to_files() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("estimator", ["sklearn.linear_model.LogisticRegression", "sklearn.tree.DecisionTreeClassifier", FOREST, "xgboost"])
def test_a_fitted_model_tells_the_classes_apart_and_is_served_as_it_scores(estimator: str) -> None:
    found, test = fitted(ModelSettings(estimator=estimator)), rows(300, 3)
    scores = found.score(test.X)
    assert scores.dtype == np.float64
    assert ((scores > 0.5) == test.y).mean() > 0.8
    np.testing.assert_allclose(to_scorer(found, test.X, threads=1).score(test.X), scores, atol=1e-6)


def test_an_estimator_without_probabilities_is_measured_but_not_served() -> None:
    found = fitted(ModelSettings(estimator="sklearn.linear_model.RidgeClassifier"))
    assert set(found.score(rows(50, 3).X)) == {0.0, 1.0}
    with pytest.raises(NotServableError, match="RidgeClassifier gives no probabilities"):
        to_scorer(found, rows(50, 3).X, threads=1)


def test_what_a_fit_warns_of_is_kept_in_words() -> None:
    model = ModelSettings(estimator="sklearn.linear_model.LogisticRegression", params={"max_iter": 1, "solver": "lbfgs"})
    assert any(note.startswith("ConvergenceWarning: ") for note in fitted(model).notes)


@pytest.mark.parametrize("estimator", ["sklearn.linear_model.LogisticRegression", FOREST, "xgboost"])
def test_importance_adds_up_to_one_by_column_and_leaves_little_to_noise(estimator: str) -> None:
    found = importance(fitted(ModelSettings(estimator=estimator)), rows(400, 1).X, ("width", "width", "noise"))
    assert sum(found.values()) == pytest.approx(1)
    assert found["width"] > found["noise"]


def test_an_estimator_that_says_nothing_of_importance_has_none() -> None:
    assert importance(fitted(ModelSettings(estimator="sklearn.naive_bayes.GaussianNB")), rows(400, 1).X, ("a", "b", "c")) == {}


@pytest.mark.parametrize(
    ("estimator", "params", "message"),
    [
        ("xgbost", {}, "estimator 'xgbost': expected 'xgboost' or the import path of a scikit-learn classifier"),
        ("os.system", {}, "estimator 'os.system': expected"),
        ("sklearn.forests.Forest", {}, "scikit-learn has no module 'sklearn.forests'"),
        ("sklearn.tree.DecisionTreeClasifier", {}, r"did you mean 'DecisionTreeClassifier'\?"),
        ("sklearn.linear_model.LinearRegression", {}, "is not a classifier"),
        ("sklearn.tree.DecisionTreeClassifier", {"max_dept": 3}, r"no parameter 'max_dept' \(did you mean 'max_depth'\?\)"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_is_near(estimator: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_estimator(ModelSettings(estimator=estimator, params=params), seed=1, threads=1)


def test_boosting_for_anything_but_a_probability_is_refused() -> None:
    with pytest.raises(ConfigError, match="objective 'binary:hinge' gives no probability of a class"):
        fitted(ModelSettings(estimator="xgboost", params={"objective": "binary:hinge"}))


@pytest.mark.parametrize("estimator", ["xgboost", "sklearn.tree.DecisionTreeClassifier"])
def test_a_value_that_the_estimator_refuses_is_a_fault_of_the_configuration(estimator: str) -> None:
    with pytest.raises(ConfigError, match="max_depth"):
        fitted(ModelSettings(estimator=estimator, params={"max_depth": "deep"}))

"""Fits: what is refused and how, when boosting stops, that the same input gives the same bytes, and what a model says it uses."""

import re
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.tree import DecisionTreeClassifier

from sporeprint.errors import ConfigError, NotServableError
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.training import FittedModel, fit_model, importance, make_estimator, to_scorer
from sporeprint.settings import ModelSettings

FOREST = "sklearn.ensemble.RandomForestClassifier"
LOGISTIC = "sklearn.linear_model.LogisticRegression"
RIDGE = "sklearn.linear_model.RidgeClassifier"
TREE = "sklearn.tree.DecisionTreeClassifier"
SOURCES = ("size", "color", "color", "season")


def rows(count: int, seed: int) -> EncodedRows:
    """Encoded rows whose class hangs on the first feature, a little on the second, and on chance."""
    random = np.random.default_rng(seed)
    X = random.random((count, 4)).astype(np.float32)
    return EncodedRows(X, (X[:, 0] + 0.3 * X[:, 1] + 0.5 * random.random(count) > 0.9).astype(np.int8))


TRAIN, STOP = rows(600, 1), rows(200, 2)


def model(estimator: str = "xgboost", *, rounds: int = 200, stop: int | None = 5, **params: Any) -> ModelSettings:
    return ModelSettings(estimator=estimator, rounds=rounds, early_stopping_rounds=stop, params=params)


def fitted(
    settings: ModelSettings, *, seed: int = 7, train: EncodedRows = TRAIN, stop: EncodedRows = STOP, threads: int = 1
) -> FittedModel:
    return fit_model(settings, train, stop, seed=seed, threads=threads)


# --- boosting --------------------------------------------------------------------------------------------------------


def test_boosting_stops_where_the_stop_rows_have_the_lowest_log_loss() -> None:
    found = fitted(model())
    every = fitted(model(rounds=40, stop=None)).estimator
    losses = [
        log_loss(STOP.y, every.predict(xgboost.DMatrix(STOP.X), iteration_range=(0, rounds)).astype(np.float64)) for rounds in range(1, 41)
    ]
    assert found.rounds == int(np.argmin(losses)) + 1
    assert 1 < found.rounds < 35


def test_the_rounds_after_the_best_one_are_cut_off() -> None:
    found = fitted(model())
    assert found.rounds is not None
    assert found.estimator.num_boosted_rounds() == found.rounds
    same = fitted(model(rounds=found.rounds, stop=None))
    assert np.array_equal(same.score(STOP.X), found.score(STOP.X))
    assert to_scorer(same, STOP.X, threads=1).to_files() == to_scorer(found, STOP.X, threads=1).to_files()


def test_other_stop_rows_stop_it_elsewhere() -> None:
    noise = EncodedRows(STOP.X, np.random.default_rng(0).integers(0, 2, 200).astype(np.int8))
    assert fitted(model(), stop=noise).rounds != fitted(model()).rounds


@pytest.mark.parametrize("stop", [EncodedRows(STOP.X[:0], STOP.y[:0]), STOP])
def test_without_stopping_or_rows_to_stop_by_all_rounds_are_made(stop: EncodedRows) -> None:
    patience = None if len(stop.y) else 5
    assert fitted(model(rounds=12, stop=patience), stop=stop).rounds == 12


def test_every_round_is_told() -> None:
    told: list[int] = []
    found = fit_model(model(), TRAIN, STOP, seed=7, threads=1, each_round=told.append)
    assert found.rounds is not None
    assert set(told) == {1}
    # The rounds in which it became no better. XGBoost before 3.2 asks its callbacks in no order, and none after the one that stops.
    assert len(told) - found.rounds in (4, 5)


def test_a_parameter_of_the_configuration_goes_before_the_default() -> None:
    assert fitted(model(tree_method="hist", eval_metric="error", max_bin=16, nthread=1)).rounds
    assert fitted(model(seed=1, subsample=0.5), seed=7).score(STOP.X[:9]).tolist() == (
        fitted(model(subsample=0.5), seed=1).score(STOP.X[:9]).tolist()
    )


@pytest.mark.parametrize(
    "params", [{"eta": 0.1, "lambda": 2, "alpha": 0.1}, {"booster": "dart"}, {"max_leaves": 4, "grow_policy": "lossguide"}]
)
def test_what_xgboost_knows_is_taken(params: dict[str, Any]) -> None:
    assert fitted(model(rounds=5, **params)).rounds == 5


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_dept": 3}, "xgboost has no use for the parameter 'max_dept' (did you mean 'max_depth'?)"),
        ({"lerning_rate": 0.1}, "xgboost has no use for the parameter 'lerning_rate' (did you mean 'learning_rate'?)"),
        ({"n_estimators": 100}, "xgboost has no use for the parameter 'n_estimators'"),
        ({"rate_drop": 0.1}, "xgboost has no use for the parameter 'rate_drop'"),
        ({"max_depth": "deep"}, "xgboost refuses the parameters {'max_depth': 'deep'}: Invalid Parameter format for max_depth expect int"),
        (
            {"max_depth": -1},
            "xgboost refuses the parameters {'max_depth': -1}: value -1 for Parameter max_depth should be greater",
        ),
        ({"max_bin": "many"}, "xgboost refuses the parameters {'max_bin': 'many'}: Invalid type for: `max_bin`"),
        ({"eval_metric": "nope"}, "xgboost refuses the parameters {'eval_metric': 'nope'}: Unknown metric function nope"),
        (
            {"tree_method": "exact"},
            "xgboost refuses the parameters {'tree_method': 'exact'}: Only `hist` tree method can use `QuantileDMatrix`",
        ),
        (
            {"objective": "reg:squarederror"},
            "xgboost with objective 'reg:squarederror' gives no probability of a class; leave it at binary:logistic",
        ),
        ({"objective": "multi:softprob", "num_class": 2}, "xgboost with objective 'multi:softprob' gives no probability of a class"),
        ({"booster": "gblinear"}, "xgboost with booster 'gblinear' cannot be served; expected one of gbtree, dart"),
    ],
)
def test_what_xgboost_does_not_take_is_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        fitted(model(**params))


# --- scikit-learn ----------------------------------------------------------------------------------------------------


def test_linear_models_are_fitted_in_double_precision() -> None:
    found = fitted(model(LOGISTIC, C=0.5, solver="newton-cholesky"))
    wanted = LogisticRegression(C=0.5, solver="newton-cholesky").fit(TRAIN.X.astype(np.float64), TRAIN.y)
    assert found.estimator.coef_.dtype == np.float64
    assert np.array_equal(found.score(STOP.X), wanted.predict_proba(STOP.X.astype(np.float64))[:, 1])
    assert (found.rounds, found.notes) == (None, ())


def test_a_tree_is_the_tree_that_scikit_learn_fits() -> None:
    found = fitted(model(TREE, min_samples_leaf=5), seed=3)
    wanted = DecisionTreeClassifier(min_samples_leaf=5, random_state=3).fit(TRAIN.X, TRAIN.y)
    assert np.array_equal(found.score(STOP.X), wanted.predict_proba(STOP.X)[:, 1])


def test_seed_and_threads_are_given_to_those_who_take_them() -> None:
    forest = make_estimator(model(FOREST), seed=5, threads=3)
    assert (forest.random_state, forest.n_jobs) == (5, 3)
    own = make_estimator(model(FOREST, random_state=1, n_jobs=2), seed=5, threads=3)
    assert (own.random_state, own.n_jobs) == (1, 2)
    assert make_estimator(model(LOGISTIC), seed=5, threads=3).n_jobs is None
    assert "random_state" not in make_estimator(model("sklearn.naive_bayes.GaussianNB"), seed=5, threads=3).get_params()


def test_what_a_fit_warns_of_is_noted() -> None:
    found = fitted(model(LOGISTIC, max_iter=1))
    assert len(found.notes) == 1
    assert found.notes[0].startswith("ConvergenceWarning: lbfgs failed to converge after 1 iteration")


def test_without_probabilities_the_score_is_the_decision_and_nothing_is_served() -> None:
    found = fitted(model(RIDGE))
    scores = found.score(STOP.X)
    assert scores.dtype == np.float64
    assert set(scores.tolist()) == {0.0, 1.0}
    assert (scores == STOP.y).mean() > 0.7
    with pytest.raises(NotServableError, match=r"^RidgeClassifier gives no probabilities$"):
        to_scorer(found, STOP.X, threads=1)


@pytest.mark.parametrize(
    ("estimator", "params", "message"),
    [
        (
            "LogisticRegression",
            {},
            "estimator 'LogisticRegression': expected 'xgboost' or the import path of a scikit-learn classifier",
        ),
        ("os.path.join", {}, "estimator 'os.path.join': expected 'xgboost' or the import path of a scikit-learn classifier, as in"),
        ("sklearn_extra.x.Y", {}, "estimator 'sklearn_extra.x.Y': expected 'xgboost' or"),
        ("sklearn.linear_modl.Ridge", {}, "estimator 'sklearn.linear_modl.Ridge': scikit-learn has no module 'sklearn.linear_modl'"),
        ("sklearn..tree", {}, "estimator 'sklearn..tree': scikit-learn has no module 'sklearn.'"),
        (
            "sklearn.linear_model.LogisticRegresion",
            {},
            "estimator 'sklearn.linear_model.LogisticRegresion': sklearn.linear_model has no class 'LogisticRegresion' "
            "(did you mean 'LogisticRegression'?)",
        ),
        ("sklearn.linear_model", {}, "estimator 'sklearn.linear_model': sklearn has no class 'linear_model'"),
        ("sklearn.linear_model.Ridge", {}, "estimator 'sklearn.linear_model.Ridge' is not a classifier"),
        ("sklearn.base.ClassifierMixin", {}, "estimator 'sklearn.base.ClassifierMixin' is not a classifier"),
        ("sklearn.cluster.KMeans", {}, "estimator 'sklearn.cluster.KMeans' is not a classifier"),
        (TREE, {"max_dept": 3}, f"{TREE} has no parameter 'max_dept' (did you mean 'max_depth'?); it has: ccp_alpha, class_weight, "),
        (TREE, {"max_depth": 0}, f"{TREE} with {{'max_depth': 0}}: The 'max_depth' parameter of DecisionTreeClassifier must be an int"),
        (LOGISTIC, {"C": "much"}, f"{LOGISTIC} with {{'C': 'much'}}: The 'C' parameter of LogisticRegression must be a float"),
        (
            "sklearn.ensemble.VotingClassifier",
            {},
            "sklearn.ensemble.VotingClassifier with {}: VotingClassifier.__init__() missing 1 required positional argument: 'estimators'",
        ),
    ],
)
def test_what_scikit_learn_does_not_have_is_refused(estimator: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        fitted(model(estimator, **params))


# --- the same again --------------------------------------------------------------------------------------------------

SERVED = [
    model(rounds=20, subsample=0.5, colsample_bytree=0.5),
    model(LOGISTIC),
    model(TREE),
    model(FOREST, n_estimators=5),
]


@pytest.mark.parametrize("settings", SERVED, ids=lambda settings: settings.estimator)
@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_input_gives_the_same_bytes(settings: ModelSettings, threads: int) -> None:
    first, second = (to_scorer(fitted(settings, threads=threads), STOP.X, threads=1).to_files() for _ in range(2))
    assert first == second


@pytest.mark.parametrize("settings", [SERVED[0], SERVED[3]], ids=lambda settings: settings.estimator)
def test_another_seed_gives_another_model(settings: ModelSettings) -> None:
    first, second = (fitted(settings, seed=seed).score(STOP.X) for seed in (1, 2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("settings", SERVED, ids=lambda settings: settings.estimator)
def test_what_is_served_scores_as_what_was_fitted(settings: ModelSettings) -> None:
    found = fitted(settings)
    scores = found.score(STOP.X)
    assert (scores.dtype, scores.shape) == (np.dtype(np.float64), (200,))
    served = to_scorer(found, STOP.X[:50], threads=1)
    assert served.n_features == 4
    np.testing.assert_allclose(served.score(STOP.X), scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("settings", [*SERVED, model(RIDGE)], ids=lambda settings: settings.estimator)
def test_the_score_is_of_the_positive_class(settings: ModelSettings) -> None:
    scores = fitted(settings).score(STOP.X)
    assert scores[STOP.y == 1].mean() > scores[STOP.y == 0].mean() + 0.2
    assert 0 <= scores.min() <= scores.max() <= 1


def test_fitting_leaves_its_input_as_it_is() -> None:
    before = TRAIN.X.copy(), TRAIN.y.copy()
    for settings in SERVED:
        fitted(settings)
    assert np.array_equal(TRAIN.X, before[0])
    assert np.array_equal(TRAIN.y, before[1])


# --- importance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [*SERVED, model(RIDGE)], ids=lambda settings: settings.estimator)
def test_importance_adds_up_to_one_over_the_columns_of_the_dataset(settings: ModelSettings) -> None:
    found = importance(fitted(settings), TRAIN.X, SOURCES)
    assert list(found) == ["size", "color", "season"]
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) >= 0
    assert found["size"] > found["color"] > found["season"]


def test_importance_of_boosting_is_the_gain() -> None:
    found = fitted(model(rounds=5))
    trees = found.estimator.trees_to_dataframe()
    gains = trees[trees["Feature"] != "Leaf"].groupby("Feature")["Gain"].sum()
    share = {source: sum(gains.get(f"f{at}", 0.0) for at in range(4) if SOURCES[at] == source) / gains.sum() for source in SOURCES}
    assert importance(found, TRAIN.X, SOURCES) == pytest.approx(share, rel=1e-5)


def test_importance_of_a_tree_is_its_own() -> None:
    found = fitted(model(TREE))
    own = found.estimator.feature_importances_
    assert importance(found, TRAIN.X, SOURCES) == pytest.approx({"size": own[0], "color": own[1] + own[2], "season": own[3]})


def test_importance_of_a_linear_model_does_not_hang_on_units() -> None:
    # In millimetres instead of metres a coefficient is a thousandth, and means the same.
    found = fitted(model(LOGISTIC, C=1e6, solver="newton-cholesky"))
    scale = np.array([1000, 1, 1, 1], dtype=np.float32)
    other = fitted(model(LOGISTIC, C=1e6, solver="newton-cholesky"), train=EncodedRows(TRAIN.X * scale, TRAIN.y))
    assert importance(found, TRAIN.X, SOURCES) == pytest.approx(importance(other, TRAIN.X * scale, SOURCES), rel=1e-3)


@pytest.mark.parametrize("estimator", ["sklearn.neighbors.KNeighborsClassifier", "sklearn.naive_bayes.GaussianNB", "sklearn.svm.SVC"])
def test_who_says_nothing_of_importance_is_not_asked(estimator: str) -> None:
    assert importance(fitted(model(estimator)), TRAIN.X, SOURCES) == {}


def test_a_model_that_uses_nothing_gives_nothing_a_share() -> None:
    constant = EncodedRows(np.ones_like(TRAIN.X), TRAIN.y)
    for settings in (model(TREE), model(rounds=3, stop=None)):
        assert set(importance(fitted(settings, train=constant), constant.X, SOURCES).values()) == {0.0}

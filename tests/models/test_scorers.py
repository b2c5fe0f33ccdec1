import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sporeprint import settings
from sporeprint.data.coded_table import Codes
from sporeprint.errors import NotServableError, RegistryError
from sporeprint.models.encoder_fit import column_transforms, fit_encoder
from sporeprint.models.scorers import (
    SEAL,
    TOLERANCE,
    LinearScorer,
    OnnxScorer,
    Scorer,
    XGBoostScorer,
    load_scorer,
    scorer_from_estimator,
)

Matrix = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

WIDTH = 7


def table(rows: int, seed: int) -> tuple[Matrix, npt.NDArray[np.int8]]:
    """Two-decimal numbers, small integers and 0/1 columns, with a class that depends on them and on chance."""
    rng = np.random.default_rng(seed)
    numbers = np.round(rng.lognormal(1.5, 0.7, (rows, 3)), 2)
    X = np.column_stack([numbers, rng.integers(-1, 6, (rows, 2)), rng.random((rows, 2)) < 0.3]).astype(np.float32)
    log_odds = 0.4 * X[:, 0] - 0.6 * X[:, 1] + np.where(X[:, 3] > 2, X[:, 2], -0.5) + 2 * X[:, 5] + rng.normal(size=rows)
    return X, (log_odds > 0).astype(np.int8)


TRAIN, LABELS = table(700, 1)
UNSEEN, _ = table(900, 2)


def booster(**params: Any) -> Any:
    wanted = {"objective": "binary:logistic", "max_depth": 4, "learning_rate": 0.5, "seed": 3, "nthread": 1, "verbosity": 0, **params}
    stop = xgboost.DMatrix(*table(300, 4))
    data = xgboost.DMatrix(TRAIN, LABELS)
    return xgboost.train(wanted, data, 60, evals=[(stop, "stop")], early_stopping_rounds=4, verbose_eval=False)


ESTIMATORS: dict[str, Callable[[], Any]] = {
    "logistic_regression": lambda: LogisticRegression(solver="newton-cholesky"),
    "discriminant": LinearDiscriminantAnalysis,
    "tree": lambda: DecisionTreeClassifier(random_state=0),
    "forest": lambda: RandomForestClassifier(n_estimators=40, random_state=0),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=30, random_state=0),
    "hist_boosting": lambda: HistGradientBoostingClassifier(max_iter=30, random_state=0),
    "gaussian_nb": GaussianNB,
    "bernoulli_nb": BernoulliNB,
    "neighbors": KNeighborsClassifier,
    "network": lambda: MLPClassifier((8,), random_state=0, solver="lbfgs", max_iter=2000),
    "pipeline": lambda: make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=20, random_state=0)),
    "stack": lambda: StackingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier(max_depth=3, random_state=0))]),
}
#: What each becomes: the kind, and for a graph the type of its input.
BECOMES = {"xgboost": "xgboost", "logistic_regression": "linear", "discriminant": "linear"}


@dataclass(frozen=True)
class Case:
    """A fitted model, and the scores of the library that fitted it."""

    name: str
    scorer: Scorer
    reference: Callable[[Matrix], Scores]


@functools.cache
def make(name: str) -> Case:
    if name == "xgboost":
        fitted = booster()
        best = (0, fitted.best_iteration + 1)
        return Case(name, XGBoostScorer.of(fitted), lambda X: fitted.predict(xgboost.DMatrix(X), iteration_range=best).astype(np.float64))
    estimator = ESTIMATORS[name]().fit(TRAIN.astype(np.float64), LABELS)
    scorer = scorer_from_estimator(estimator, WIDTH, UNSEEN[:300])
    return Case(name, scorer, lambda X: np.asarray(estimator.predict_proba(X.astype(np.float64))[:, 1], dtype=np.float64))


NAMES = ["xgboost", *ESTIMATORS]


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest) -> Case:
    return make(request.param)


# --- one contract for every kind -----------------------------------------------------------------------------------------


def test_scores_are_the_fitting_librarys_own(case: Case) -> None:
    rows = np.vstack([TRAIN, UNSEEN, np.random.default_rng(5).normal(0, 30, (500, WIDTH)).astype(np.float32)])
    assert np.abs(case.scorer.score(rows) - case.reference(rows)).max() <= TOLERANCE


def test_scores_are_probabilities_that_differ(case: Case) -> None:
    found = case.scorer.score(UNSEEN)
    assert found.dtype == np.float64
    assert found.shape == (len(UNSEEN),)
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert len(np.unique(found)) > 1


def test_kind_and_width(case: Case) -> None:
    assert case.scorer.kind == BECOMES.get(case.name, "onnx")
    assert case.scorer.n_features == WIDTH


def test_no_rows(case: Case) -> None:
    found = case.scorer.score(UNSEEN[:0])
    assert found.shape == (0,)
    assert found.dtype == np.float64


def test_a_row_has_the_same_score_alone_as_among_others(case: Case) -> None:
    together = case.scorer.score(UNSEEN[:40])
    alone = [case.scorer.score(UNSEEN[index : index + 1])[0] for index in range(40)]
    assert np.abs(together - alone).max() < 1e-7


def test_more_rows_than_a_block(case: Case) -> None:
    rows = np.tile(UNSEEN, (3, 1))
    assert np.abs(case.scorer.score(rows) - np.tile(case.scorer.score(UNSEEN), 3)).max() < 1e-7


@pytest.mark.parametrize("shape", [(4, WIDTH - 1), (4, WIDTH + 1), (WIDTH,), (2, 2, WIDTH), (0, 3)])
def test_another_width_is_refused(case: Case, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"expected a matrix \[n, {WIDTH}\].*got shape \[{', '.join(map(str, shape))}\]"):
        case.scorer.score(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize(
    "layout",
    [
        pytest.param(np.asfortranarray, id="columns first"),
        pytest.param(lambda X: np.repeat(X, 2, axis=0)[::2], id="every other row"),
        pytest.param(lambda X: np.hstack([X, X])[:, :WIDTH], id="part of a wider matrix"),
        pytest.param(lambda X: X[::-1][::-1], id="twice backwards"),
        pytest.param(lambda X: X.astype(np.float64), id="float64"),
    ],
)
def test_any_memory_layout(case: Case, layout: Callable[[Matrix], Matrix]) -> None:
    assert np.array_equal(case.scorer.score(layout(UNSEEN)), case.scorer.score(UNSEEN))


@pytest.mark.parametrize("kind", [np.int64, np.bool_, np.float16, object])
def test_another_type_is_refused(case: Case, kind: Any) -> None:
    with pytest.raises(ValueError, match=f"expected a matrix of float32, got {np.dtype(kind)}"):
        case.scorer.score(UNSEEN.astype(kind))


@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "-inf"), (1e200, "inf")])
def test_a_value_that_is_not_finite_is_refused(case: Case, value: float, shown: str) -> None:
    rows = UNSEEN[:9].astype(np.float64)
    rows[7, 2] = value
    with pytest.raises(ValueError, match=rf"row 7, column 2 of the matrix is {shown}; encode missing values"):
        case.scorer.score(rows.astype(np.float32) if abs(value) > 1e300 else rows)  # type: ignore[arg-type]  # float64 is accepted too


def test_files_read_back_as_the_same_scorer(case: Case) -> None:
    files = case.scorer.to_files()
    again = load_scorer(case.scorer.kind, files)
    assert again.to_files() == files
    assert np.array_equal(again.score(UNSEEN), case.scorer.score(UNSEEN))
    assert all(not data.startswith(b"\x80") for data in files.values()), "a pickle"


def test_threads_change_no_score(case: Case) -> None:
    two = load_scorer(case.scorer.kind, case.scorer.to_files(), threads=2)
    # Single-precision sums may be added up in another order.
    assert np.abs(two.score(UNSEEN) - case.scorer.score(UNSEEN)).max() < 5e-7


def test_an_altered_byte_is_refused_and_its_file_named(case: Case) -> None:
    rng = np.random.default_rng(8)
    files = case.scorer.to_files()
    for name in files.keys() - {SEAL}:
        for at in rng.integers(0, len(files[name]), 25).tolist():
            altered = bytearray(files[name])
            altered[at] ^= 1 << int(rng.integers(8))
            with pytest.raises(RegistryError, match=rf"{name} was altered: its sha256 is [0-9a-f]{{64}}, {SEAL} says [0-9a-f]{{64}}"):
                load_scorer(case.scorer.kind, {**files, name: bytes(altered)})


def test_a_truncated_file_is_refused_and_named(case: Case) -> None:
    files = case.scorer.to_files()
    for name in files.keys() - {SEAL}:
        for part in (b"", files[name][:100], files[name][:-1]):
            with pytest.raises(RegistryError, match=f"{name} was altered"):
                load_scorer(case.scorer.kind, {**files, name: part})


def test_a_missing_file_is_named(case: Case) -> None:
    files = case.scorer.to_files()
    for name in files:
        with pytest.raises(RegistryError, match=f"{name} is missing"):
            load_scorer(case.scorer.kind, {other: data for other, data in files.items() if other != name})


def test_a_file_too_many_is_named(case: Case) -> None:
    with pytest.raises(RegistryError, match=r"more\.bin is not named in scorer\.json"):
        load_scorer(case.scorer.kind, {**case.scorer.to_files(), "more.bin": b"x"})


# --- files ---------------------------------------------------------------------------------------------------------------


def digests() -> dict[str, str]:
    found = {}
    for name in NAMES:
        files = make(name).scorer.to_files()
        found[name] = hashlib.sha256(b"".join(name.encode() + data for name, data in sorted(files.items()))).hexdigest()
    return found


@pytest.mark.slow
def test_files_are_the_same_bytes_each_time_and_in_another_process() -> None:
    # With another seed for the hashes of strings: the order of a set must not reach a file.
    environ = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, __file__], env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == digests()


def sealed(kind: str, files: Mapping[str, bytes], changes: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    return {SEAL: json.dumps({"format": 1, "kind": kind, "n_features": 1, "sha256": digests, **(changes or {})}).encode(), **files}


def test_a_booster_of_an_earlier_release_is_refused_with_what_makes_it_anew() -> None:
    with pytest.raises(RegistryError, match=r"model\.ubj is of an earlier release.*train it again with: sporeprint etl"):
        load_scorer("xgboost", sealed("xgboost", {"model.ubj": b"{L"}))


@pytest.mark.parametrize(
    ("kind", "name", "data", "message"),
    [
        ("xgboost", "model.json", b"", "is no XGBoost model"),
        ("xgboost", "model.json", b"no model at all", "is no XGBoost model"),
        ("onnx", "model.onnx", b"", "is no ONNX model"),
        ("onnx", "model.onnx", b"no model at all", "is no ONNX model"),
        ("linear", "linear.json", b"", "is no linear model"),
        ("linear", "linear.json", b"[1, 2]", "is no linear model"),
        ("linear", "linear.json", b'{"coefficients": [1.0]}', "is no linear model.*intercept"),
        ("linear", "linear.json", b'{"coefficients": [NaN], "intercept": 0}', "is no linear model: .*finite numbers"),
        ("linear", "linear.json", b'{"coefficients": [[1.0]], "intercept": 0}', "is no linear model"),
        ("linear", "linear.json", b'{"coefficients": ["x"], "intercept": 0}', "is no linear model"),
    ],
)
def test_a_file_that_was_never_a_model_is_named(kind: str, name: str, data: bytes, message: str) -> None:
    with pytest.raises(RegistryError, match=rf"{name} {message}"):
        load_scorer(kind, sealed(kind, {name: data}))


GOOD = {"linear.json": b'{"coefficients": [0.5], "intercept": -1}'}


def test_a_good_file_with_a_good_seal_loads() -> None:
    assert load_scorer("linear", sealed("linear", GOOD)).score(np.array([[2.0]], dtype=np.float32)) == [0.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_features": 3}, r"scorer\.json says 3 features, the model has 1"),
        ({"kind": "onnx"}, "of format 1 and kind 'onnx'; expected format 1 and kind 'linear'"),
        ({"format": 2}, "of format 2"),
        ({"n_features": None}, r"scorer\.json is not readable"),
        ({"sha256": 4}, r"scorer\.json is not readable"),
    ],
)
def test_a_seal_that_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        load_scorer("linear", sealed("linear", GOOD, changes))


def test_a_seal_that_is_no_json_is_refused() -> None:
    with pytest.raises(RegistryError, match=r"scorer\.json is not readable"):
        load_scorer("linear", {SEAL: b"\xff{", **GOOD})


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RegistryError, match=r"unknown kind of scorer 'xgbost' \(did you mean 'xgboost'\?\); .* linear, onnx, xgboost"):
        load_scorer("xgbost", {})


# --- xgboost -------------------------------------------------------------------------------------------------------------


def test_rounds_after_the_best_are_left_out() -> None:
    fitted = booster()
    scorer = XGBoostScorer.of(fitted)
    assert fitted.num_boosted_rounds() > fitted.best_iteration + 1
    assert scorer.booster.num_boosted_rounds() == fitted.best_iteration + 1
    assert XGBoostScorer.of(fitted[: fitted.best_iteration + 1]).to_files() == scorer.to_files()


def test_the_fitted_booster_stays_as_it_is() -> None:
    fitted = booster()
    before = fitted.save_config(), fitted.attributes(), bytes(fitted.save_raw("ubj"))
    XGBoostScorer.of(fitted, threads=2)
    assert (fitted.save_config(), fitted.attributes(), bytes(fitted.save_raw("ubj"))) == before


def test_threads_are_set_and_are_no_part_of_the_files() -> None:
    fitted = booster()
    one, two = XGBoostScorer.of(fitted, threads=1), XGBoostScorer.of(fitted, threads=2)
    used = [json.loads(scorer.booster.save_config())["learner"]["generic_param"]["nthread"] for scorer in (one, two)]
    assert used == ["1", "2"]
    assert one.to_files() == two.to_files()


def test_notes_on_a_booster_are_no_part_of_the_model_and_stay_on_it() -> None:
    plain = xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(TRAIN, LABELS), 3)
    noted = plain.copy()
    noted.set_attr(note="trained on a Monday")
    assert XGBoostScorer.of(noted).to_files() == XGBoostScorer.of(plain).to_files()
    assert noted.attributes() == {"note": "trained on a Monday"}


@pytest.mark.parametrize("objective", ["binary:hinge", "binary:logitraw", "reg:squarederror"])
def test_an_objective_without_probabilities_is_not_servable(objective: str) -> None:
    with pytest.raises(NotServableError, match=f"objective '{objective}' gives no probability.*use binary:logistic"):
        XGBoostScorer.of(booster(objective=objective))


# --- linear --------------------------------------------------------------------------------------------------------------

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(finite, min_size=1, max_size=5), finite)
def test_every_float64_survives_the_file(coefficients: list[float], intercept: float) -> None:
    scorer = LinearScorer(np.array(coefficients), intercept)
    again = load_scorer("linear", scorer.to_files())
    assert isinstance(again, LinearScorer)
    assert again.coefficients.tobytes() == scorer.coefficients.tobytes()
    assert np.float64(again.intercept).tobytes() == np.float64(intercept).tobytes()


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_the_logistic_function_neither_overflows_nor_loses_digits(z: float) -> None:
    up, down = (LinearScorer(np.array([sign]), 0.0).score(np.array([[z]], dtype=np.float32))[0] for sign in (1.0, -1.0))
    assert up == pytest.approx(float(expit(z)), rel=1e-14, abs=0)
    assert up + down == pytest.approx(1.0, abs=1e-15)


# --- scikit-learn --------------------------------------------------------------------------------------------------------


def edges(thresholds: list[tuple[int, float]]) -> Matrix:
    """Rows with a value exactly at, just below and just above each threshold, the rest as in some real row."""
    rows = []
    for index, (feature, threshold) in enumerate(thresholds):
        near = np.float32(threshold)
        for value in (near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))):
            row = UNSEEN[index % len(UNSEEN)].copy()
            row[feature] = value
            rows.append(row)
    return np.array(rows, dtype=np.float32)


def of_tree(tree: Any) -> list[tuple[int, float]]:
    return [(int(f), float(t)) for f, t in zip(tree.feature, tree.threshold, strict=True) if f >= 0]


def of_hist(estimator: Any) -> list[tuple[int, float]]:
    nodes = np.concatenate([tree.nodes for (tree,) in estimator._predictors])
    nodes = nodes[nodes["is_leaf"] == 0]
    return list(zip(nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist(), strict=True))


@pytest.mark.parametrize("name", ["tree", "forest", "boosting", "hist_boosting"])
@pytest.mark.parametrize("fitted_on", [np.float32, np.float64])
def test_rows_at_a_trees_thresholds_take_the_same_branch(name: str, fitted_on: Any) -> None:
    """Thresholds are float64, halfway between values or at one; a graph that rounds them sends such rows astray."""
    # Numbers with two decimals as float64, which float32 cannot hold: thresholds fall between the two.
    X = np.round(TRAIN.astype(np.float64), 2).astype(fitted_on)
    estimator = ESTIMATORS[name]().fit(X, LABELS)
    if name == "hist_boosting":
        thresholds = of_hist(estimator)
    else:
        trees = [estimator] if name == "tree" else np.ravel(estimator.estimators_)
        thresholds = [pair for tree in trees for pair in of_tree(tree.tree_)]
    rows = edges(thresholds)
    assert len(rows) > 90
    found = scorer_from_estimator(estimator, WIDTH, UNSEEN).score(rows)
    assert np.abs(found - estimator.predict_proba(rows)[:, 1]).max() <= TOLERANCE


@pytest.fixture(scope="module")
def real_rows(real_data: Path, config_file: Path) -> tuple[settings.Settings, Codes, npt.NDArray[np.int8]]:
    """The configuration, all rows of the real table, and their classes."""
    config = settings.load_settings(config_file, environ={})
    frame = pl.read_csv(real_data, separator=config.source.csv.separator if config.source.csv.separator != "auto" else ";")
    y = (frame[config.dataset.target.column] == config.dataset.target.positive).to_numpy().astype(np.int8)
    return config, Codes.of(frame, config.dataset), y


@pytest.mark.parametrize("name", ["tree", "forest", "hist_boosting", "xgboost", "logistic_regression"])
def test_real_rows_get_the_estimators_scores(name: str, real_rows: tuple[settings.Settings, Codes, npt.NDArray[np.int8]]) -> None:
    """Numbers of the real table have two decimals: values at thresholds are the rule there."""
    config, codes, y = real_rows
    some = np.random.default_rng(0).permutation(len(y))[:5000]
    model = config.models["decision_tree" if name != "logistic_regression" else "logistic_regression"]
    encoder = fit_encoder(codes.take(some), y[some], column_transforms(config.transform, model, config.dataset))
    X = encoder.matrix(codes)
    if name == "xgboost":
        fitted = xgboost.train({"objective": "binary:logistic", "nthread": 2}, xgboost.DMatrix(X[some], y[some]), 30)
        found, wanted = XGBoostScorer.of(fitted).score(X), fitted.predict(xgboost.DMatrix(X))
    else:
        estimator = ESTIMATORS[name]().fit(X[some].astype(np.float64), y[some])
        found = scorer_from_estimator(estimator, X.shape[1], X[some], threads=2).score(X)
        wanted = estimator.predict_proba(X.astype(np.float64))[:, 1]
    assert np.abs(found - wanted).max() <= TOLERANCE


def test_votes_that_add_up_to_more_than_1_are_cut_off() -> None:
    """Ten times a tenth, in single precision."""
    X = np.repeat([[0.0], [1.0]], 50, axis=0)
    estimator = ExtraTreesClassifier(n_estimators=10, random_state=0).fit(X, np.repeat([0, 1], 50))
    scorer = scorer_from_estimator(estimator, 1, X.astype(np.float32))
    assert isinstance(scorer, OnnxScorer)
    assert scorer.session.run(None, {"X": X.astype(scorer.dtype)})[0].max() > 1
    assert scorer.score(X.astype(np.float32)).max() == 1


def test_a_graph_uses_the_threads_it_is_given() -> None:
    scorer = scorer_from_estimator(GaussianNB().fit(TRAIN, LABELS), WIDTH, UNSEEN, threads=2)
    assert isinstance(scorer, OnnxScorer)
    assert scorer.session.get_session_options().intra_op_num_threads == 2


@pytest.mark.parametrize("estimator", [LogisticRegression(), DecisionTreeClassifier(max_depth=3)], ids=["linear", "onnx"])
@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint8, np.float64, np.bool_])
def test_labels_of_any_type_mean_the_same(estimator: Any, kind: Any) -> None:
    estimator.fit(TRAIN.astype(np.float64), LABELS.astype(kind))
    found = scorer_from_estimator(estimator, WIDTH, UNSEEN).score(UNSEEN)
    assert np.abs(found - estimator.predict_proba(UNSEEN.astype(np.float64))[:, 1]).max() <= TOLERANCE


class Biased(LogisticRegression):  # type: ignore[misc]  # scikit-learn ships no types
    """Says something else than its coefficients."""

    def predict_proba(self, X: Any) -> Any:
        return super().predict_proba(X)[:, ::-1]


class NoProbability(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Nothing that anybody could convert."""

    def fit(self, X: Any, y: Any) -> "NoProbability":
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> Any:
        return np.full((len(X), 2), 0.5)


DISTANCE = KNeighborsClassifier(weights="distance")


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (RidgeClassifier(), "RidgeClassifier cannot be served; it has no predict_proba"),
        (DummyClassifier(), "DummyClassifier cannot be served; ONNX in double precision: no conversion: .*DummyClassifier"),
        (NoProbability(), "NoProbability cannot be served; .*no conversion"),
        (
            DISTANCE,
            r"KNeighborsClassifier cannot be served; .*differ from predict_proba by up to [\d.]+ \(allowed: 1e-06\), in \d+ of 600 rows",
        ),
        (Biased(), r"Biased cannot be served; .*(no conversion|differ from predict_proba)"),
        (
            HistGradientBoostingClassifier(categorical_features=[3]),
            "HistGradientBoostingClassifier cannot be served; .*categorical_features is set",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else "",
)
def test_what_cannot_be_served_is_named_with_the_reason(estimator: Any, message: str) -> None:
    # Distances of zero are where the converted neighbours go wrong, so the sample holds training rows.
    X = np.abs(TRAIN)
    estimator.fit(X.astype(np.float64), LABELS)
    with pytest.raises(NotServableError, match=message):
        scorer_from_estimator(estimator, WIDTH, X[:600])


@pytest.mark.parametrize(
    ("labels", "shown"), [(LABELS + 1, r"\[1, 2\]"), (np.where(LABELS, "p", "e"), r"\['e', 'p'\]"), (LABELS * 0, r"\[0\]")]
)
def test_other_labels_than_0_and_1_are_not_servable(labels: Any, shown: str) -> None:
    with pytest.raises(NotServableError, match=f"fitted on the classes {shown}, not on 0 and 1"):
        scorer_from_estimator(DecisionTreeClassifier().fit(TRAIN, labels), WIDTH, UNSEEN)


def test_three_classes_are_not_servable() -> None:
    estimator = HistGradientBoostingClassifier(max_iter=3).fit(TRAIN, np.arange(len(TRAIN)) % 3)
    with pytest.raises(NotServableError, match=r"fitted on the classes \[0, 1, 2\]"):
        scorer_from_estimator(estimator, WIDTH, UNSEEN)


def test_a_sample_is_needed() -> None:
    estimator = GaussianNB().fit(TRAIN, LABELS)
    with pytest.raises(ValueError, match="the sample has no rows"):
        scorer_from_estimator(estimator, WIDTH, UNSEEN[:0])
    with pytest.raises(ValueError, match=rf"expected a matrix \[n, {WIDTH}\]"):
        scorer_from_estimator(estimator, WIDTH, UNSEEN[:, :3])


def test_the_estimator_stays_as_it_is() -> None:
    estimator = KNeighborsClassifier().fit(TRAIN, LABELS)
    scorer_from_estimator(estimator, WIDTH, UNSEEN)
    assert estimator.classes_.dtype == np.int8


if __name__ == "__main__":
    sys.stdout.write(json.dumps(digests()))

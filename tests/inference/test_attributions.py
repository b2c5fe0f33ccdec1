"""Why a model scores a row so: contributions that add up, Shapley values by brute force, and words that people use."""

import itertools
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import xgboost
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier

from sporeprint.inference.attributions import (
    EXPLAINER,
    TREES,
    Attribution,
    Explainer,
    as_booster,
    explainer_of,
    top_attributions,
    value_in_words,
)
from sporeprint.models.encoder import Matrix
from sporeprint.models.encoder_fit import column_transforms, fit_encoder
from sporeprint.models.scorers import LinearScorer, XGBoostScorer, scorer_from_estimator
from sporeprint.settings import ModelSettings, TransformSettings
from support import NUMERIC, OPEN, codes, dataset, nominal

WIDTH = 4
Float64 = npt.NDArray[np.float64]


def table(rows: int, seed: int) -> tuple[Matrix, npt.NDArray[np.int8]]:
    """A matrix of numbers, many of them equal, and labels that depend on them."""
    draw = np.random.default_rng(seed)
    X = np.column_stack([draw.integers(-2, 3, rows), draw.normal(size=rows).round(1), draw.random(rows) < 0.3, draw.integers(0, 9, rows)])
    z = X[:, 0] - 2 * X[:, 2] + X[:, 1] * X[:, 0] + 0.2 * X[:, 3] - 0.5
    return X.astype(np.float32), (draw.random(rows) * (1 + np.exp(-2 * z)) < 1).astype(np.int8)


X, Y = table(500, 1)
FRESH, _ = table(300, 2)
TREE_MODELS = {
    "tree": DecisionTreeClassifier(random_state=1),
    "weighted tree": DecisionTreeClassifier(max_depth=4, class_weight="balanced", criterion="entropy", random_state=1),
    "stump": DecisionTreeClassifier(max_depth=1),
    "forest": RandomForestClassifier(12, max_depth=6, random_state=1),
    "extra trees": ExtraTreesClassifier(12, min_samples_leaf=2, random_state=1),
}
FITTED = {name: model.fit(X, Y) for name, model in TREE_MODELS.items()}


def boosted(**params: Any) -> Any:
    chosen = {"objective": "binary:logistic", "max_depth": 3, "seed": 1, "nthread": 1, **params}
    return xgboost.train(chosen, xgboost.DMatrix(X, Y, nthread=1), 12)


def trees_of(model: Any) -> list[Any]:
    return [model.tree_] if hasattr(model, "tree_") else [tree.tree_ for tree in model.estimators_]


def at_the_splits(model: Any) -> Matrix:
    """Rows with the values that the splits ask for, and their neighbours."""
    found: list[Matrix] = []
    for tree in trees_of(model):
        inner = np.flatnonzero(tree.children_left >= 0)
        for feature, threshold in zip(tree.feature[inner].tolist(), tree.threshold[inner].astype(np.float32).tolist(), strict=True):
            for value in (
                threshold,
                np.nextafter(np.float32(threshold), np.float32(9)),
                np.nextafter(np.float32(threshold), np.float32(-9)),
            ):
                row = X[len(found) % len(X)].copy()
                row[feature] = value
                found.append(row)
    return np.array(found, dtype=np.float32)


# --- trees of scikit-learn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TREE_MODELS)
def test_the_booster_scores_as_the_trees_do(name: str) -> None:
    model = FITTED[name]
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(as_booster(trees_of(model), WIDTH)))
    for rows in (X, FRESH, at_the_splits(model)):
        assert booster.predict(xgboost.DMatrix(rows, nthread=1)) == pytest.approx(model.predict_proba(rows)[:, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "between"),
    [
        (-1.0, 1.0, [0.0, -0.0, 1e-45, -1e-45, 1e-38]),
        (3e38, 3.4e38, [3.2e38, 3.1e38]),
        (-3.4e38, 3.4e38, [0.0, 1e-45, -1e-45]),
        (16777216.0, 16777218.0, [16777217.0]),
        (0.1, 0.2, [0.15, 0.15000000596046448, 0.1499999910593033]),
    ],
)
def test_a_value_on_the_threshold_goes_the_same_way(low: float, high: float, between: list[float]) -> None:
    model = DecisionTreeClassifier().fit(np.array([[low], [high]], dtype=np.float32), [0, 1])
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(as_booster([model.tree_], 1)))
    rows = np.array([[value] for value in (low, high, *between)], dtype=np.float32)
    assert booster.predict(xgboost.DMatrix(rows, nthread=1)).tolist() == model.predict_proba(rows)[:, 1].tolist()


@hypothesis_settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 4), st.sampled_from([None, 1, 3]))
def test_any_tree_becomes_a_booster(seed: int, rows: int, features: int, depth: int | None) -> None:
    draw = np.random.default_rng(seed)
    values = (draw.normal(size=(rows, features)) * 10.0 ** draw.integers(-6, 7)).astype(np.float32)
    y = np.r_[0, 1, draw.integers(0, 2, rows)][:rows]
    if len(set(y.tolist())) < 2:
        return
    model = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(values, y)
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(as_booster([model.tree_], features)))
    found = booster.predict(xgboost.DMatrix(values, nthread=1))
    assert found == pytest.approx(model.predict_proba(values)[:, 1], abs=1e-6)


# --- Shapley values --------------------------------------------------------------------------------------------------


def expected(tree: Any, row: Matrix, known: frozenset[int], node: int = 0) -> float:
    """The tree's answer where only some features are known: at a split on another, the mean of both sides by their rows."""
    left, right = int(tree.children_left[node]), int(tree.children_right[node])
    if left < 0:
        share = tree.value[node, 0]
        return float(share[1] / share.sum())
    feature = int(tree.feature[node])
    if feature in known:
        return expected(tree, row, known, left if row[feature] <= tree.threshold[node] else right)
    weights = tree.weighted_n_node_samples
    sides = expected(tree, row, known, left) * weights[left] + expected(tree, row, known, right) * weights[right]
    return float(sides / weights[node])


def shapley(value: Any, features: int) -> list[float]:
    """By the definition: over all sets of the other features."""
    found = []
    for feature in range(features):
        others = [other for other in range(features) if other != feature]
        total = 0.0
        for size in range(features):
            weight = math.factorial(size) * math.factorial(features - size - 1) / math.factorial(features)
            for some in itertools.combinations(others, size):
                total += weight * (value(frozenset(some) | {feature}) - value(frozenset(some)))
        found.append(total)
    return found


@pytest.mark.parametrize("name", ["tree", "weighted tree", "stump", "forest"])
def test_contributions_to_a_tree_are_its_shapley_values(name: str) -> None:
    model = FITTED[name]
    trees = trees_of(model)
    rows = FRESH[:12] if len(trees) == 1 else FRESH[:3]
    scorer = scorer_from_estimator(model, WIDTH, X)
    explained = explainer_of(scorer, model, X).contributions(rows, scorer)
    assert explained is not None
    effects, base = explained
    assert base == pytest.approx(np.mean([expected(tree, X[0], frozenset()) for tree in trees]), abs=1e-5)
    for row, found in zip(rows, effects, strict=True):
        wanted = np.mean([shapley(lambda known, row=row, tree=tree: expected(tree, row, known), WIDTH) for tree in trees], axis=0)
        assert found == pytest.approx(wanted, abs=1e-5)


def expected_of_dump(node: dict[str, Any], row: Matrix, known: frozenset[int]) -> float:
    """The same of one of XGBoost's trees."""
    if "leaf" in node:
        return float(node["leaf"])
    children = {child["nodeid"]: child for child in node["children"]}
    feature = int(node["split"][1:])
    if feature in known:
        below = row[feature] < np.float32(node["split_condition"])
        return expected_of_dump(children[node["yes"] if below else node["no"]], row, known)
    sides = sum(expected_of_dump(child, row, known) * float(child["cover"]) for child in children.values())
    return sides / float(node["cover"])


def test_contributions_to_a_booster_are_its_shapley_values() -> None:
    scorer = XGBoostScorer.of(boosted())
    explained = Explainer("log odds", np.empty(0)).contributions(FRESH[:4], scorer)
    assert explained is not None
    trees = [json.loads(tree) for tree in scorer.booster.get_dump(dump_format="json", with_stats=True)]
    for row, found in zip(FRESH[:4], explained[0], strict=True):
        wanted = np.sum([shapley(lambda known, row=row, tree=tree: expected_of_dump(tree, row, known), WIDTH) for tree in trees], axis=0)
        assert found == pytest.approx(wanted, abs=1e-4)


def test_contributions_to_a_linear_score_are_its_shapley_values() -> None:
    # Features that are not known have their mean.
    scorer = LinearScorer(np.array([1.0, -2.0, 0.5, 0.0]), 0.3)
    explainer = explainer_of(scorer, None, X)
    explained = explainer.contributions(FRESH[:5], scorer)
    assert explained is not None
    means = X.astype(np.float64).mean(axis=0)

    def score(row: Matrix, known: frozenset[int]) -> float:
        return float(np.where([number in known for number in range(WIDTH)], row, means) @ scorer.coefficients + scorer.intercept)

    for row, found in zip(FRESH[:5], explained[0], strict=True):
        assert found == pytest.approx(shapley(lambda known, row=row: score(row, known), WIDTH), abs=1e-9)
    assert explained[1] == pytest.approx(score(X[0], frozenset()))


# --- adding up -------------------------------------------------------------------------------------------------------


def log_odds(p: Float64) -> Float64:
    return np.log(p) - np.log1p(-p)


@pytest.mark.parametrize(
    "params", [{}, {"base_score": 0.9}, {"booster": "dart", "rate_drop": 0.5}, {"max_depth": 1, "scale_pos_weight": 3}], ids=str
)
def test_contributions_and_base_add_up_to_the_log_odds_of_a_booster(params: dict[str, Any]) -> None:
    scorer = XGBoostScorer.of(boosted(**params))
    explainer = explainer_of(scorer, scorer.booster, X)
    explained = explainer.contributions(FRESH, scorer)
    assert explainer.unit == "log odds"
    assert explained is not None
    effects, base = explained
    assert effects.shape == FRESH.shape
    assert effects.sum(axis=1) + base == pytest.approx(log_odds(scorer.score(FRESH)), abs=1e-4)


def test_contributions_and_base_add_up_to_the_log_odds_of_a_linear_model() -> None:
    model = LogisticRegression().fit(X, Y)
    scorer = scorer_from_estimator(model, WIDTH, X)
    explainer = explainer_of(scorer, model, X)
    explained = explainer.contributions(FRESH, scorer)
    assert explainer.unit == "log odds"
    assert explained is not None
    assert explained[0].sum(axis=1) + explained[1] == pytest.approx(log_odds(scorer.score(FRESH)), abs=1e-9)
    assert explained[1] == pytest.approx(float(model.decision_function(X).mean()), abs=1e-5)


@pytest.mark.parametrize("name", TREE_MODELS)
def test_contributions_and_base_add_up_to_the_probability_of_a_tree(name: str) -> None:
    model = FITTED[name]
    scorer = scorer_from_estimator(model, WIDTH, X)
    explainer = explainer_of(scorer, model, X)
    explained = explainer.contributions(FRESH, scorer)
    assert explainer.unit == "probability"
    assert explained is not None
    assert explained[0].sum(axis=1) + explained[1] == pytest.approx(scorer.score(FRESH), abs=1e-4)


@pytest.mark.parametrize("name", ["forest", "linear", "booster"])
def test_a_row_alone_is_explained_as_in_the_table(name: str) -> None:
    model = {"forest": FITTED["forest"], "linear": LogisticRegression().fit(X, Y), "booster": None}[name]
    scorer = XGBoostScorer.of(boosted()) if model is None else scorer_from_estimator(model, WIDTH, X)
    explainer = explainer_of(scorer, model, X)
    whole = explainer.contributions(FRESH[:20], scorer)
    assert whole is not None
    for number in range(20):
        alone = explainer.contributions(FRESH[number : number + 1], scorer)
        assert alone is not None
        assert alone[0][0] == pytest.approx(whole[0][number], abs=1e-6)
        assert alone[1] == pytest.approx(whole[1], abs=1e-6)


@pytest.mark.parametrize("name", ["forest", "linear", "booster"])
def test_no_rows_have_no_contributions(name: str) -> None:
    model = {"forest": FITTED["forest"], "linear": LogisticRegression().fit(X, Y), "booster": None}[name]
    scorer = XGBoostScorer.of(boosted()) if model is None else scorer_from_estimator(model, WIDTH, X)
    explained = explainer_of(scorer, model, X).contributions(FRESH[:0], scorer)
    assert explained is not None
    assert explained[0].shape == (0, WIDTH)


@pytest.mark.parametrize("model", [GaussianNB(), GradientBoostingClassifier(n_estimators=3)], ids=lambda model: type(model).__name__)
def test_a_model_of_another_kind_is_not_explained(model: Any) -> None:
    model.fit(X, Y)
    scorer = scorer_from_estimator(model, WIDTH, X)
    explainer = explainer_of(scorer, model, X)
    assert explainer.unit is None
    assert explainer.contributions(FRESH, scorer) is None
    assert explainer_of(None, model, X).unit is None


def test_a_tree_without_a_scorer_is_explained_all_the_same() -> None:
    assert explainer_of(None, FITTED["tree"], X).unit == "probability"


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["forest", "linear", "booster", "none"])
def test_an_explainer_comes_back_from_its_files_as_it_was(name: str) -> None:
    model = {"forest": FITTED["forest"], "linear": LogisticRegression().fit(X, Y), "booster": None, "none": GaussianNB().fit(X, Y)}[name]
    scorer = XGBoostScorer.of(boosted()) if model is None else scorer_from_estimator(model, WIDTH, X)
    explainer = explainer_of(scorer, model, X)
    files = explainer.to_files()
    assert set(files) == ({EXPLAINER, TREES} if name == "forest" else {EXPLAINER})
    back = Explainer.from_files({**files, "other": b""})
    assert back.to_files() == files == explainer_of(scorer, model, X).to_files()
    found, wanted = back.contributions(FRESH, scorer), explainer.contributions(FRESH, scorer)
    if wanted is None:
        assert found is None
    else:
        assert found is not None
        assert found[0].tolist() == wanted[0].tolist()
        assert found[1] == wanted[1]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {EXPLAINER: b""},
        {EXPLAINER: b"[]"},
        {EXPLAINER: b"{}"},
        {EXPLAINER: b"\xff"},
        {EXPLAINER: b'{"format": 1, "unit": "probability", "means": [], "trees": true}'},
        {EXPLAINER: b'{"format": 1, "unit": "probability", "means": ["a"], "trees": false}'},
        {EXPLAINER: b'{"format": 2, "unit": "probability", "means": [], "trees": false}'},
        {EXPLAINER: b'{"format": 1, "unit": "percent", "means": [], "trees": false}'},
        {EXPLAINER: b'{"format": 1, "unit": ["percent"], "means": [], "trees": false}'},
    ],
    ids=str,
)
def test_what_is_no_explainer_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match=r"^explainer\.json is "):
        Explainer.from_files(files)


@pytest.mark.parametrize("data", [b"", b"damaged", b"{}"])
def test_trees_that_are_none_are_refused_before_they_are_parsed(data: bytes) -> None:
    # XGBoost's parser ends the process on much of what is no model.
    stated = Explainer("probability", np.empty(0), b"trees").to_files()
    with pytest.raises(ValueError, match=r"explainer"):
        Explainer.from_files({**stated, TREES: data})


# --- in words --------------------------------------------------------------------------------------------------------

SCHEMA = dataset(
    {
        "gill-color": {"kind": "nominal", "values": {"n": "brown", "b": "buff"}},
        "smell": OPEN,
        "height": {**NUMERIC, "unit": "cm"},
        "rings": NUMERIC,
    }
)


@pytest.mark.parametrize(
    ("value", "column", "words"),
    [
        ("n", "gill-color", "brown"),
        ("q", "gill-color", "q"),
        ("almond", "smell", "almond"),
        (5.25, "height", "5.25 cm"),
        (5, "height", "5 cm"),
        (0.0, "height", "0 cm"),
        (3.0, "rings", "3"),
        (None, "gill-color", "missing"),
        (None, "height", "missing"),
        (float("nan"), "height", "missing"),
    ],
)
def test_values_are_said_as_people_say_them(value: str | float | None, column: str, words: str) -> None:
    assert value_in_words(value, column, SCHEMA) == words


SOURCES = ("gill-color", "gill-color", "gill-color", "height", "smell", "rings")


def test_reasons_are_the_columns_that_moved_the_score_most() -> None:
    row: dict[str, str | float | None] = {"gill-color": "n", "height": 5.25, "smell": None}
    found = top_attributions(np.array([0.5, -0.25, 0.5, -0.8, 0.1, 0.0]), SOURCES, row, SCHEMA)
    assert found == (
        Attribution("height", 5.25, "height: 5.25 cm", -0.8),
        Attribution("gill-color", "n", "gill-color: brown", 0.75),
        Attribution("smell", None, "smell: missing", 0.1),
    )


def test_no_more_reasons_than_asked_for_and_none_that_did_nothing() -> None:
    effects = np.array([0.5, -0.5, 0.0, -0.8, 0.1, 0.3])
    assert [reason.column for reason in top_attributions(effects, SOURCES, {}, SCHEMA)] == ["height", "rings", "smell"]
    assert [reason.column for reason in top_attributions(effects, SOURCES, {}, SCHEMA, most=2)] == ["height", "rings"]
    assert top_attributions(np.zeros(6), SOURCES, {}, SCHEMA) == ()
    assert top_attributions(effects, SOURCES, {}, SCHEMA, most=0) == ()


def test_of_equally_strong_reasons_the_first_column_comes_first() -> None:
    found = top_attributions(np.array([0.5, 0.0, 0.0, -0.5, 0.5, 0.5]), SOURCES, {}, SCHEMA)
    assert [reason.column for reason in found] == ["gill-color", "height", "smell", "rings"]


@given(st.lists(st.floats(-5, 5), min_size=6, max_size=6))
def test_all_reasons_add_up_to_all_contributions(effects: list[float]) -> None:
    found = top_attributions(np.array(effects), SOURCES, {}, SCHEMA, most=10)
    assert sum(reason.effect for reason in found) == pytest.approx(sum(effects), abs=1e-9)
    assert [abs(reason.effect) for reason in found] == sorted((abs(reason.effect) for reason in found), reverse=True)


def test_from_a_row_to_its_reasons() -> None:
    # A linear model of one column, one-hot: all features of it are one reason.
    columns = {"gill-color": nominal("n", "b"), "height": {**NUMERIC, "unit": "cm"}}
    schema = dataset(columns)
    found = codes({"gill-color": ["n", "b"] * 20, "height": [float(n % 7) for n in range(40)]}, schema)
    y = (np.arange(40) % 2).astype(np.int8)
    encoder = fit_encoder(found, y, column_transforms(TransformSettings(), ModelSettings(estimator="xgboost"), schema))
    matrix = encoder.matrix(found)
    model = LogisticRegression().fit(matrix, y)
    scorer = scorer_from_estimator(model, matrix.shape[1], matrix)
    explained = explainer_of(scorer, model, matrix).contributions(matrix[:1], scorer)
    assert explained is not None
    first, *_ = top_attributions(explained[0][0], encoder.sources, {"gill-color": "n", "height": 0.0}, schema)
    assert (first.column, first.value, first.text) == ("gill-color", "n", "gill-color: n")
    assert first.effect < 0
    assert len(encoder.features) > 2

"""Why a model scores a row as it does: the contribution of each column to the score (SHAP values), in the user's words.

Trees: TreeSHAP (Lundberg et al. 2020), which XGBoost computes exactly for its own boosters; scikit-learn's trees and forests are
given to it as boosters of the same splits. Linear models: coefficient times the distance from the training rows' mean, the
Shapley value of a linear score. Anything else: sampled (`sampled_attributions`). The contributions and the base add up to the
score, before calibration.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from sporeprint.common.dates import date_text
from sporeprint.common.optional_dependencies import Lazy
from sporeprint.inference.sampled_attributions import Background, log_odds
from sporeprint.models.encoder import Matrix
from sporeprint.models.imported_encoding import Places, raw_input
from sporeprint.models.imported_model import InputSignature
from sporeprint.models.scorers import LinearScorer, Scorer, XGBoostScorer
from sporeprint.schema import DatasetSchema, Kind

Float64 = npt.NDArray[np.float64]
Row = Mapping[str, str | float | None]
Unit = Literal["log odds", "probability"]

#: What XGBoost calls the parent of a root.
ROOT = 2**31 - 1

#: How a booster begins.
JSON_START = b'{"learner":{'
EXPLAINER, TREES, SAMPLE = "explainer.json", "explainer.trees.json", "explainer.background.npz"


@dataclass(frozen=True)
class Attribution:
    """What one column did.

    Attributes:
        column: the dataset's column.
        value: its value in the row, as code or number; None where missing.
        text: both in words, with the unit: "gill-color: brown".
        effect: what it adds to the score towards the positive class.
    """

    column: str
    value: str | float | None
    text: str
    effect: float


@dataclass(frozen=True)
class Explainer:
    """What explains the scores of one model.

    Attributes:
        unit: of the effects: "log odds" or "probability"; None where the model cannot be explained.
        means: float64 [m], mean of each matrix column over the training rows, for linear models; else empty.
        trees: a booster in its JSON, with the splits of a scikit-learn tree or forest, or made elsewhere; else empty.
        places: where the features of a booster that was made elsewhere lie in the matrix.
        background: what other models are explained with.
    """

    unit: Unit | None
    means: Float64
    trees: bytes = b""
    places: Places | None = None
    background: Background | None = None

    def to_files(self) -> dict[str, bytes]:
        """File name -> bytes; equal values give equal bytes."""
        described: dict[str, Any] = {"format": 1, "unit": self.unit, "means": self.means.tolist(), "trees": bool(self.trees)}
        if self.places is not None:
            described["places"] = {"at": self.places.at, "missing": self.places.missing}
        files = {EXPLAINER: json.dumps(described, indent=1).encode(), **({TREES: self.trees} if self.trees else {})}
        return files if self.background is None else {**files, SAMPLE: self.background.to_bytes()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Self:
        """Read what `to_files` gave; other files are ignored.

        Raises:
            ValueError: if a file is missing or damaged.
        """
        try:
            raw = json.loads(files[EXPLAINER])
            version, has_trees = raw["format"], bool(raw["trees"])
            places = Places(tuple(raw["places"]["at"]), tuple(raw["places"]["missing"])) if "places" in raw else None
            background = Background.from_bytes(files[SAMPLE]) if SAMPLE in files else None
            trees = files[TREES] if has_trees else b""
            explainer = cls(raw["unit"], np.array(raw["means"], dtype=np.float64), trees, places, background)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{EXPLAINER} is missing or damaged: {error!r}") from error
        # XGBoost's parser ends the process on much of what is no model.
        if has_trees and not explainer.trees.startswith(JSON_START):
            raise ValueError(f"{TREES} is no XGBoost model: it does not begin like one")
        if version != 1 or explainer.unit not in (*get_args(Unit), None):
            raise ValueError(f"{EXPLAINER} is not of format 1: format {version!r}, unit {explainer.unit!r}")
        return explainer

    def contributions(self, X: Matrix, scorer: Scorer) -> tuple[Float64, float] | None:
        """The contribution of each matrix column to the scores of n rows.

        Args:
            X: float32 [n, m].
            scorer: the model's.

        Returns:
            float64 [n, m] and the base they start from, in `unit`; None where the model cannot be explained.
        """
        if self.unit is None:
            return None
        if not len(X):
            return np.empty(X.shape), 0.0
        if self.background is not None:
            unit = self.unit
            return self.background.contributions(X, lambda rows: log_odds(scorer.score(rows)) if unit == "log odds" else scorer.score(rows))
        if isinstance(scorer, LinearScorer):
            base = float(self.means @ scorer.coefficients + scorer.intercept)
            return (X.astype(np.float64) - self.means) * scorer.coefficients, base
        xgboost = Lazy("xgboost")
        if isinstance(scorer, XGBoostScorer):
            booster = scorer.booster
        else:
            booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
            booster.load_model(bytearray(self.trees))
        features = X if self.places is None else raw_input(X, InputSignature("X", "float", 2, len(self.places.at)), self.places)
        options = {"pred_contribs": True, "validate_features": False}
        shap_values = np.asarray(booster.predict(xgboost.DMatrix(features, nthread=1), **options), dtype=np.float64)
        effects, base = shap_values[:, :-1], float(shap_values[0, -1])
        if self.places is None:
            return effects, base
        of_columns = np.zeros(X.shape)
        np.add.at(of_columns.T, list(self.places.at), effects.T)
        return of_columns, base


#: Of a model that cannot be explained.
NO_EXPLANATION = Explainer(None, np.empty(0, dtype=np.float64))


def explainer_of(scorer: Scorer | None, estimator: Any, X: Matrix, sources: Sequence[str] = ()) -> Explainer:
    """What explains a fitted model.

    Args:
        scorer: the form that is served.
        estimator: what was fitted.
        X: float32 [n, m], the training rows.
        sources: the dataset's column of each of the m; without them, models are explained only where it is exact.
    """
    nothing = np.empty(0, dtype=np.float64)
    if isinstance(scorer, LinearScorer):
        return Explainer("log odds", X.mean(axis=0, dtype=np.float64))
    if isinstance(scorer, XGBoostScorer):
        return Explainer("log odds", nothing)
    if (trees := _trees_of(estimator)) is not None:
        return Explainer("probability", nothing, as_booster(trees, X.shape[1]))
    return NO_EXPLANATION if scorer is None or not sources else sampled_explainer("probability", X, sources)


def sampled_explainer(unit: Unit, X: Matrix, sources: Sequence[str]) -> Explainer:
    """What explains any model from the training rows [n, m], whose columns come from `sources`."""
    return Explainer(unit, np.empty(0, dtype=np.float64), background=Background.of(X, sources))


def imported_booster_explainer(model: bytes, places: Places) -> Explainer:
    """What explains a booster that was made elsewhere, in XGBoost's JSON."""
    return Explainer("log odds", np.empty(0, dtype=np.float64), model, places)


def _trees_of(estimator: Any) -> list[Any] | None:
    """The trees whose mean a scikit-learn estimator answers with; None where it is nothing of the kind."""
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    if isinstance(estimator, DecisionTreeClassifier):
        return [estimator.tree_]
    if isinstance(estimator, RandomForestClassifier | ExtraTreesClassifier):
        return [tree.tree_ for tree in estimator.estimators_]
    return None


def as_booster(trees: Sequence[Any], features: int) -> bytes:
    """scikit-learn's trees as an XGBoost booster in JSON, whose prediction is the mean of their P(positive)."""
    import xgboost

    model = {
        "version": [3, 0, 0],
        "learner": {
            "attributes": {},
            "feature_names": [],
            "feature_types": [],
            "gradient_booster": {
                "name": "gbtree",
                "model": {
                    "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(len(trees))},
                    "iteration_indptr": list(range(len(trees) + 1)),
                    "tree_info": [0] * len(trees),
                    "trees": [_tree(tree, number, len(trees), features) for number, tree in enumerate(trees)],
                },
            },
            "learner_model_param": {
                "base_score": "[0E0]",
                "boost_from_average": "0",
                "num_class": "0",
                "num_feature": str(features),
                "num_target": "1",
            },
            "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
        },
    }
    booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
    booster.load_model(bytearray(json.dumps(model).encode()))
    return bytes(booster.save_raw("json"))


def _tree(tree: Any, number: int, trees: int, features: int) -> dict[str, Any]:
    order = _siblings_together(tree.children_left, tree.children_right)
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    leaf = tree.children_left[order] < 0
    left, right = (np.where(leaf, -1, place[children[order]]) for children in (tree.children_left, tree.children_right))
    share = tree.value[order, 0, :]
    value = (share[:, 1] / share.sum(axis=1) / trees).astype(np.float32)
    # scikit-learn goes left up to and including its threshold, XGBoost below it; both compare float32.
    threshold = tree.threshold[order]
    reached = threshold.astype(np.float32)
    reached = np.where(reached > threshold, np.nextafter(reached, np.float32(-np.inf)), reached)
    parents = np.full(len(order), ROOT)
    inner = np.flatnonzero(~leaf)
    parents[left[inner]], parents[right[inner]] = inner, inner
    return {
        "id": number,
        "tree_param": {"num_deleted": "0", "num_feature": str(features), "num_nodes": str(len(order)), "size_leaf_vector": "1"},
        "left_children": left.tolist(),
        "right_children": right.tolist(),
        "parents": parents.tolist(),
        "split_indices": np.where(leaf, 0, tree.feature[order]).tolist(),
        "split_conditions": np.where(leaf, value, np.nextafter(reached, np.float32(np.inf))).astype(np.float64).tolist(),
        "split_type": [0] * len(order),
        "default_left": [0] * len(order),
        "categories": [],
        "categories_nodes": [],
        "categories_segments": [],
        "categories_sizes": [],
        "base_weights": value.astype(np.float64).tolist(),
        "loss_changes": [0.0] * len(order),
        "sum_hessian": tree.weighted_n_node_samples[order].tolist(),
    }


def _siblings_together(left: npt.NDArray[np.intp], right: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The nodes level by level: XGBoost finds a right child behind its left one."""
    order = [0]
    for node in order:  # grows as it goes
        if left[node] >= 0:
            order += [int(left[node]), int(right[node])]
    return np.array(order, dtype=np.intp)


def top_attributions(
    effects: Float64, sources: Sequence[str], row: Row, schema: DatasetSchema, *, most: int = 5
) -> tuple[Attribution, ...]:
    """The columns that moved a row's score most, the strongest first.

    Args:
        effects: float64 [m], see `Explainer.contributions`.
        sources: the dataset's column of each of the m.
        row: the row.
        schema: the contract, for the words.
        most: how many.
    """
    totals: dict[str, float] = dict.fromkeys(sources, 0.0)
    for source, effect in zip(sources, effects.tolist(), strict=True):
        totals[source] += effect
    strongest = sorted(totals, key=lambda name: -abs(totals[name]))[:most]
    return tuple(
        Attribution(name, row.get(name), f"{name}: {value_in_words(row.get(name), name, schema)}", totals[name])
        for name in strongest
        if totals[name]
    )


def value_in_words(value: str | float | None, column: str, schema: DatasetSchema) -> str:
    """A value as people say it: the code's word, the number with its unit, or "missing"."""
    if value is None or value != value:
        return "missing"
    if isinstance(value, str):
        return schema.word(column, value)
    if schema.columns[column].kind is Kind.DATE:
        return date_text(value) if schema.columns[column].since is None else f"{value:g} days"
    unit = schema.columns[column].unit
    return f"{value:g} {unit}" if unit else f"{value:g}"

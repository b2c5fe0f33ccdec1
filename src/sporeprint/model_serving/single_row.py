"""One row at a time, or a few: what gives their scores fastest, to the same numbers as the model's own scorer.

A boosted model's own library spends most of a single row's time on its entry (docs/decisions/0013). The same trees as one node of an ONNX
graph take a tenth of that. Whatever is chosen is held against the model's own scorer before it serves.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint import ubjson
from sporeprint.bundle import Bundle
from sporeprint.onnx_graph import OPSETS
from sporeprint.scorer import TOLERANCE, LinearScorer, OnnxScorer, Scorer, XGBoostScorer
from sporeprint.transform import Matrix

Scores = npt.NDArray[np.float64]
#: From a matrix of one row, float32 [1, m], to its score.
ScoreRow = Callable[[Matrix], float]
#: From a matrix of a few rows, float32 [n, m], to their scores, [n].
ScoreRows = Callable[[Matrix], Scores]
#: The graph's version, written down so that a newer library does not write what the runtime cannot read.
IR_VERSION = 10


@dataclass(frozen=True)
class SingleRow:
    """A way to score one row.

    Attributes:
        score: of one row.
        scores: of a few.
        engine: what it runs on: onnx, linear, or the scorer's own.
    """

    score: ScoreRow
    scores: ScoreRows
    engine: str


def single_row(bundle: Bundle) -> SingleRow:
    """The fastest way to score one row of a model that gives the model's own scores on its golden rows."""
    scorer, golden = bundle.scorer, bundle.golden
    found = _of(scorer)
    rows = [bundle.encoder.encode_row(row)[np.newaxis] for row in golden.rows]
    if found is not None and rows:
        served = np.array([[found.score(row) for row in rows], found.scores(np.vstack(rows))])
        if not np.abs(served - golden.scores).max() <= TOLERANCE:
            found = None
    return found or SingleRow(lambda row: float(scorer.score(row)[0]), scorer.score, scorer.kind)


def _of(scorer: Scorer) -> SingleRow | None:
    if isinstance(scorer, XGBoostScorer):
        graph = trees_to_onnx(scorer)
        return None if graph is None else SingleRow(*_margins(graph), "onnx")
    if isinstance(scorer, OnnxScorer):
        return SingleRow(_probability(scorer), scorer.score, "onnx")
    if isinstance(scorer, LinearScorer):
        return SingleRow(_linear(scorer), scorer.score, "linear")
    return None


def _sigmoid(z: float) -> float:
    """1 / (1 + exp(-z)) without overflow."""
    e = math.exp(-abs(z))
    return (1.0 if z >= 0 else e) / (1.0 + e)


def _linear(scorer: LinearScorer) -> ScoreRow:
    coefficients, intercept = scorer.coefficients, scorer.intercept
    return lambda row: _sigmoid(float(coefficients.dot(row[0])) + intercept)


def _probability(scorer: OnnxScorer) -> ScoreRow:
    run, dtype, names = scorer.session.run, scorer.dtype, ["positive"]
    return lambda row: min(max(float(run(names, {"X": row.astype(dtype, copy=False)})[0][0]), 0.0), 1.0)


def _margins(graph: bytes) -> tuple[ScoreRow, ScoreRows]:
    run, names = OnnxScorer.of(graph).session.run, ["margin"]

    def scores(rows: Matrix) -> Scores:
        z = run(names, {"X": rows})[0][:, 0].astype(np.float64)
        e = np.exp(-np.abs(z))
        return np.asarray(np.where(z >= 0, 1.0, e) / (1.0 + e))

    return lambda row: _sigmoid(float(run(names, {"X": row})[0][0, 0])), scores


def trees_to_onnx(scorer: XGBoostScorer) -> bytes | None:
    """The trees of a booster as a graph from X [n, m] to `margin` [n, 1], log odds; None where it has splits of another kind."""
    from onnx import TensorProto, helper

    learner = ubjson.loads(scorer.model)["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        return None
    trees = booster["model"]["trees"]
    if any(any(tree["split_type"]) for tree in trees):
        return None
    # A list in newer releases, which can hold one number for each target.
    base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    attributes: dict[str, Any] = {**_attributes(trees), "base_values": [math.log(base / (1.0 - base))]}
    node = helper.make_node(
        "TreeEnsembleRegressor", ["X"], ["margin"], domain="ai.onnx.ml", n_targets=1, post_transform="NONE", **attributes
    )
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, scorer.n_features])
    margin = helper.make_tensor_value_info("margin", TensorProto.FLOAT, [None, 1])
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(helper.make_graph([node], "trees", [x], [margin]), opset_imports=opsets, ir_version=IR_VERSION)
    data: bytes = model.SerializeToString()
    return data


def _attributes(trees: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The trees as the operator takes them: flat lists over all nodes."""
    found: dict[str, list[Any]] = {
        name: []
        for name in (
            *("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes"),
            *("nodes_truenodeids", "nodes_falsenodeids", "nodes_missing_value_tracks_true"),
            *("target_treeids", "target_nodeids", "target_ids", "target_weights"),
        )
    }
    for number, tree in enumerate(trees):
        left, right, values = tree["left_children"], tree["right_children"], tree["split_conditions"]
        size = len(left)
        leaf = [child == -1 for child in left]
        found["nodes_treeids"] += [number] * size
        found["nodes_nodeids"] += range(size)
        found["nodes_featureids"] += [0 if end else at for end, at in zip(leaf, tree["split_indices"], strict=True)]
        found["nodes_values"] += [0.0 if end else float(value) for end, value in zip(leaf, values, strict=True)]
        found["nodes_modes"] += ["LEAF" if end else "BRANCH_LT" for end in leaf]
        found["nodes_truenodeids"] += [0 if end else child for end, child in zip(leaf, left, strict=True)]
        found["nodes_falsenodeids"] += [0 if end else child for end, child in zip(leaf, right, strict=True)]
        found["nodes_missing_value_tracks_true"] += [int(way) for way in tree["default_left"]]
        ends = [at for at, end in enumerate(leaf) if end]
        found["target_treeids"] += [number] * len(ends)
        found["target_nodeids"] += ends
        found["target_ids"] += [0] * len(ends)
        found["target_weights"] += [float(values[at]) for at in ends]
    return found

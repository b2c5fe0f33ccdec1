"""The trees of an XGBoost booster as an ONNX graph, written when a model is fitted: a server only loads it.

ONNX Runtime scores one row ten times as fast as XGBoost does (docs/decisions/0013), and where XGBoost is not installed, any number of them.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sporeprint.models.onnx_export import OPSETS

#: The graph's version, written down so that a newer library does not write what the runtime cannot read.
IR_VERSION = 10


def trees_to_onnx(booster: Mapping[str, Any], n_features: int) -> bytes | None:
    """The trees of a booster as a graph from X [n, m] to `margin` [n, 1], log odds; None where it has splits of another kind.

    Args:
        booster: as XGBoost's JSON has it.
        n_features: m.
    """
    from onnx import TensorProto, helper

    learner = booster["learner"]
    gradient_booster = learner["gradient_booster"]
    if gradient_booster["name"] != "gbtree":
        return None
    trees = gradient_booster["model"]["trees"]
    if any(any(tree["split_type"]) for tree in trees):
        return None
    # A list in newer releases, which can hold one number for each target.
    base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["margin"],
        domain="ai.onnx.ml",
        n_targets=1,
        post_transform="NONE",
        base_values=[math.log(base / (1.0 - base))],
        **_attributes(trees),
    )
    taken = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, n_features])
    margin = helper.make_tensor_value_info("margin", TensorProto.FLOAT, [None, 1])
    opsets = [helper.make_opsetid(domain, version) for domain, version in OPSETS.items()]
    model = helper.make_model(helper.make_graph([node], "trees", [taken], [margin]), opset_imports=opsets, ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


def _attributes(trees: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The trees as the operator takes them: flat lists over all nodes."""
    sizes = [len(tree["left_children"]) for tree in trees]

    def of(name: str) -> Any:
        return np.array(list(itertools.chain.from_iterable(tree[name] for tree in trees)))

    left = of("left_children").astype(np.int64)
    leaf = left == -1
    values = of("split_conditions").astype("<f4")
    tree_of = np.repeat(np.arange(len(trees)), sizes)
    node_of = np.concatenate([np.arange(size) for size in sizes])
    return {
        "nodes_treeids": tree_of.tolist(),
        "nodes_nodeids": node_of.tolist(),
        "nodes_featureids": np.where(leaf, 0, of("split_indices")).tolist(),
        "nodes_values": np.where(leaf, np.float32(0), values).tolist(),
        "nodes_modes": ["LEAF" if end else "BRANCH_LT" for end in leaf.tolist()],
        "nodes_truenodeids": np.where(leaf, 0, left).tolist(),
        "nodes_falsenodeids": np.where(leaf, 0, of("right_children")).tolist(),
        "nodes_missing_value_tracks_true": of("default_left").astype(np.int64).tolist(),
        "target_treeids": tree_of[leaf].tolist(),
        "target_nodeids": node_of[leaf].tolist(),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights": values[leaf].tolist(),
    }

"""Tests of sporeprint.models.xgboost_onnx: the bytes mean what the library that makes such graphs would mean."""

import numpy as np
import onnx
import orjson
import xgboost

from sporeprint.models.scorers import XGBoostScorer
from sporeprint.models.xgboost_onnx import IR_VERSION, trees_to_onnx


def test_the_graph_is_one_that_onnx_accepts_and_would_write() -> None:
    random = np.random.default_rng(3)
    X = random.normal(size=(300, 200)).astype(np.float32)
    X[random.random(X.shape) < 0.1] = np.nan
    y = X[:, 0] + X[:, 150] > 0
    scorer = XGBoostScorer.of(xgboost.train({"objective": "binary:logistic", "nthread": 1}, xgboost.DMatrix(X, y), num_boost_round=20))
    graph = trees_to_onnx(orjson.loads(scorer.model), scorer.n_features)
    assert graph is not None
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert onnx.load_from_string(model.SerializeToString()) == model
    assert model.ir_version == IR_VERSION
    (node,) = model.graph.node
    values = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    assert len(values["nodes_modes"]) == len(values["nodes_values"]) == len(values["nodes_treeids"])
    assert max(values["nodes_featureids"]) > 127  # more than one byte
    assert set(values["nodes_modes"]) == {b"LEAF", b"BRANCH_LT"}
    assert model.graph.input[0].type.tensor_type.shape.dim[1].dim_value == 200
    onnx.helper.make_node("TreeEnsembleRegressor", ["X"], ["margin"], domain="ai.onnx.ml", **values)

"""Turns a fitted scikit-learn classifier into an ONNX graph: one input, the matrix; one output, P(positive)."""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint.errors import NotServableError

#: Versions of the ONNX standard that graphs are written in: fixed, so that a newer converter does not change the bytes.
OPSETS = {"": 18, "ai.onnx.ml": 3}

#: What converters raise on an estimator they do not know, or not with these parameters: they state no type of their own.
CONVERTER_ERRORS = (RuntimeError, ValueError, TypeError, AttributeError, NameError, LookupError, ArithmeticError, AssertionError)


def to_onnx(estimator: Any, n_features: int, dtype: npt.DTypeLike) -> bytes:
    """Convert a classifier of the labels 0 and 1 to a graph: input X [n, m] of this type, output `positive` [n].

    The bytes depend on the fitted classifier alone: no time, no random name.

    Args:
        estimator: the fitted classifier.
        n_features: m.
        dtype: float32 or float64.

    Raises:
        NotServableError: if there is no converter, or it fails.
    """
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    from sklearn.ensemble import HistGradientBoostingClassifier

    kind = DoubleTensorType if dtype == np.float64 else FloatTensorType
    estimator = _with_wide_classes(estimator)
    try:
        model = convert_sklearn(
            estimator,
            name="classifier",  # the default is a random name
            initial_types=[("X", kind([None, n_features]))],
            options={id(estimator): {"zipmap": False}},
            target_opset=OPSETS,
            custom_conversion_functions={HistGradientBoostingClassifier: _hist_gradient_boosting},
        )
    except CONVERTER_ERRORS as error:
        raise NotServableError(f"no conversion: {first_line(error)}") from error
    return _only_positive(model, np.asarray(estimator.classes_).tolist().index(1))


def first_line(error: Exception) -> str:
    """What an exception of another library says, without its stack trace or list of advice."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.lstrip().startswith("Stack trace")]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _with_wide_classes(estimator: Any) -> Any:
    """The classifier with its class labels as int64, the only integers that some of the graph's operators take."""
    if "classes_" not in vars(estimator):
        return estimator
    estimator = copy.copy(estimator)
    estimator.classes_ = np.asarray(estimator.classes_).astype(np.int64)
    return estimator


def _only_positive(model: Any, column: int) -> bytes:
    """Make P(positive) the graph's only output, and drop what says how and by which release it was written."""
    from onnx import TensorProto, helper

    probabilities = model.graph.output[1]
    model.graph.initializer.append(helper.make_tensor("positive_column", TensorProto.INT64, [], [column]))
    model.graph.node.append(helper.make_node("Gather", [probabilities.name, "positive_column"], ["positive"], axis=1))
    element = probabilities.type.tensor_type.elem_type
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("positive", element, [None]))
    model.producer_version = ""
    # The converter lists them in the order of a set, some of them twice.
    used = sorted({(entry.domain, entry.version) for entry in model.opset_import})
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in used)
    _rename(model.graph, {"": "", "X": "X", "positive": "positive"})
    return bytes(model.SerializeToString(deterministic=True))


def _rename(graph: Any, names: dict[str, str]) -> None:
    """Number everything by its place in the graph: the converter numbers by what it converted before in this process."""

    def named(name: str) -> str:
        return names.setdefault(name, f"v{len(names)}")

    graph.name = "classifier"
    for value in (*graph.input, *graph.initializer, *graph.output, *graph.value_info):
        value.name = named(value.name)
    for node in graph.node:
        node.name = named(f"node {node.name}")
        node.input[:] = [named(name) for name in node.input]
        node.output[:] = [named(name) for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs:
                _rename(inner, names)


def _hist_gradient_boosting(scope: Any, operator: Any, container: Any) -> None:
    """Histogram gradient boosting in double precision, as scikit-learn computes it.

    skl2onnx's own converter rounds thresholds to single precision, so that a row at one can take the other branch, and
    writes booleans that onnx no longer takes for integers.
    """
    from onnx import TensorProto

    model = operator.raw_operator
    if model.n_trees_per_iteration_ != 1:
        raise NotImplementedError("it has more than two classes")
    if model.is_categorical_ is not None:
        raise NotImplementedError("categorical_features is set; leave it out, the encoder has made numbers of the categories")
    label, probabilities = operator.outputs
    wide = type(probabilities.type).__name__ == "DoubleTensorType"

    def node(kind: str, inputs: list[str], out: str | None = None, **attributes: Any) -> str:
        out = out or scope.get_unique_variable_name(kind.lower())
        container.add_node(kind, inputs, out, name=scope.get_unique_operator_name(kind), **attributes)
        return out

    one = scope.get_unique_variable_name("one")
    container.add_initializer(one, TensorProto.DOUBLE, [], [1.0])
    X = node("Cast", [operator.inputs[0].full_name], to=TensorProto.DOUBLE)
    trees = _tree_attributes(model._predictors, float(np.ravel(model._baseline_prediction)[0]))
    logit = node("TreeEnsembleRegressor", [X], op_domain="ai.onnx.ml", op_version=3, **trees)
    positive = node("Sigmoid", [node("Cast", [logit], to=TensorProto.DOUBLE)])
    both = node("Concat", [node("Sub", [one, positive]), positive], axis=1)
    node("Cast", [both], probabilities.full_name, to=TensorProto.DOUBLE if wide else TensorProto.FLOAT)
    node("ArgMax", [both], label.full_name, axis=1, keepdims=0)


def _tree_attributes(predictors: Any, baseline: float) -> dict[str, Any]:
    """Attributes of ONNX's TreeEnsembleRegressor for the trees of histogram gradient boosting.

    Args:
        predictors: one list with one tree for every boosting round.
        baseline: log odds that all rows begin with.
    """
    from onnx import TensorProto, helper

    trees = [tree.nodes for (tree,) in predictors]
    nodes = np.concatenate(trees)
    tree_of = np.repeat(np.arange(len(trees)), [len(tree) for tree in trees])
    node_of = np.concatenate([np.arange(len(tree)) for tree in trees])
    leaf = nodes["is_leaf"].astype(bool)

    def integers(values: Any) -> list[int]:
        return [int(value) for value in values]

    def doubles(name: str, values: Any) -> Any:
        return helper.make_tensor(name, TensorProto.DOUBLE, [len(values)], [float(value) for value in values])

    return {
        "n_targets": 1,
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        "base_values_as_tensor": doubles("base_values", [baseline]),
        "nodes_treeids": integers(tree_of),
        "nodes_nodeids": integers(node_of),
        "nodes_modes": ["LEAF" if is_leaf else "BRANCH_LEQ" for is_leaf in leaf],
        "nodes_featureids": integers(np.where(leaf, 0, nodes["feature_idx"])),
        "nodes_values_as_tensor": doubles("nodes_values", np.where(leaf, 0.0, nodes["num_threshold"])),
        "nodes_truenodeids": integers(np.where(leaf, 0, nodes["left"])),
        "nodes_falsenodeids": integers(np.where(leaf, 0, nodes["right"])),
        "nodes_missing_value_tracks_true": integers(nodes["missing_go_to_left"] & ~leaf),
        "target_treeids": integers(tree_of[leaf]),
        "target_nodeids": integers(node_of[leaf]),
        "target_ids": [0] * int(leaf.sum()),
        "target_weights_as_tensor": doubles("target_weights", nodes["value"][leaf]),
    }

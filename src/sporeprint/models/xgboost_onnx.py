"""The trees of an XGBoost booster as an ONNX graph, written without a library: a model is a few nested fields of Protocol Buffers.

ONNX Runtime scores one row ten times as fast as XGBoost does (docs/decisions/0013), and where XGBoost is not installed, any number of them.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sporeprint.models import ubjson
from sporeprint.models.onnx_export import OPSETS

#: The graph's version, written down so that a newer library does not write what the runtime cannot read.
IR_VERSION = 10
#: Kinds of a field on the wire.
VARINT, BYTES = 0, 2
#: Kinds of an attribute's value.
INT, STRING, FLOATS, INTS, STRINGS = 2, 3, 6, 7, 8
#: Single precision, as the standard numbers it.
FLOAT = 1


def trees_to_onnx(model: bytes, n_features: int) -> bytes | None:
    """The trees of a booster as a graph from X [n, m] to `margin` [n, 1], log odds; None where it has splits of another kind.

    Args:
        model: the booster in UBJSON.
        n_features: m.
    """
    learner = ubjson.loads(model)["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        return None
    trees = booster["model"]["trees"]
    if any(any(tree["split_type"]) for tree in trees):
        return None
    # A list in newer releases, which can hold one number for each target.
    base = float(str(learner["learner_model_param"]["base_score"]).strip("[]"))
    attributes: dict[str, Any] = {
        "n_targets": 1,
        "post_transform": "NONE",
        "base_values": np.array([math.log(base / (1.0 - base))], dtype="<f4"),
        **_attributes(trees),
    }
    node = [
        *(_text(1, "X"), _text(2, "margin"), _text(4, "TreeEnsembleRegressor"), _text(7, "ai.onnx.ml")),
        *(_message(5, _attribute(name, value)) for name, value in attributes.items()),
    ]
    graph = [
        *(_message(1, node), _text(2, "trees")),
        *(_message(11, _table("X", n_features)), _message(12, _table("margin", 1))),
    ]
    opsets = [_message(8, [_text(1, domain), _number(2, version)]) for domain, version in OPSETS.items()]
    return b"".join([_number(1, IR_VERSION), _message(7, graph), *opsets])


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
        "nodes_treeids": tree_of,
        "nodes_nodeids": node_of,
        "nodes_featureids": np.where(leaf, 0, of("split_indices")),
        "nodes_values": np.where(leaf, np.float32(0), values),
        "nodes_modes": ["LEAF" if end else "BRANCH_LT" for end in leaf.tolist()],
        "nodes_truenodeids": np.where(leaf, 0, left),
        "nodes_falsenodeids": np.where(leaf, 0, of("right_children")),
        "nodes_missing_value_tracks_true": of("default_left").astype(np.int64),
        "target_treeids": tree_of[leaf],
        "target_nodeids": node_of[leaf],
        "target_ids": np.zeros(int(leaf.sum()), dtype=np.int64),
        "target_weights": values[leaf],
    }


def _attribute(name: str, value: Any) -> list[bytes]:
    match value:
        case int():
            kind, data = INT, _number(3, value)
        case str():
            kind, data = STRING, _text(4, value)
        case list():
            kind, data = STRINGS, b"".join(_text(9, each) for each in value)
        case _ if value.dtype.kind == "f":
            kind, data = FLOATS, _field(7, value.astype("<f4").tobytes())
        case _:
            kind, data = INTS, _field(8, b"".join(map(_varint, value.tolist())))
    return [_text(1, name), data, _number(20, kind)]


def _table(name: str, columns: int) -> list[bytes]:
    """A value of the graph: float32, any number of rows."""
    shape = [_message(1, []), _message(1, [_number(1, columns)])]
    return [_text(1, name), _message(2, [_message(1, [_number(1, FLOAT), _message(2, shape)])])]


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow. Not for negative numbers."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | VARINT) + _varint(value)


def _field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | BYTES) + _varint(len(data)) + data


def _text(field: int, text: str) -> bytes:
    return _field(field, text.encode())


def _message(field: int, parts: Iterable[bytes]) -> bytes:
    return _field(field, b"".join(parts))

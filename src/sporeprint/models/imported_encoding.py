"""How the columns of a table become what a model made elsewhere takes: its names are read, and an encoder and a graph written.

A name is a numeric column (`stem-width`); a nominal one (`cap-shape`), which is then passed as text; a value of one
(`cap-shape=x`, `cap-shape_x`, code or word), which is 1 where the row has it; or the absence of one (`cap-shape:missing`, `cap-shape_nan`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sporeprint.data.coded_table import Codes
from sporeprint.errors import NotServableError, UsageError, nearest
from sporeprint.models.encoder import Encoder, Encoding, Matrix, NominalEncoding, NumericEncoding
from sporeprint.models.imported_model import NUMBER_OF, ImportedModel, InputSignature
from sporeprint.models.onnx_export import OPSETS
from sporeprint.schema import DatasetSchema

#: Text that stands for a value the training rows do not have; the verdict on such a row is unknown, whatever the model says.
UNSEEN = "\ufffdunseen"
#: Before every name of the model's own graph.
PREFIX = "model/"
#: Oldest version of the file format that knows the operators that are added.
OLDEST_IR = 8
MISSING_NAMES = (":missing", "_nan", "_None", "=nan", "_missing")


@dataclass(frozen=True)
class Feature:
    """One number or text that a model takes.

    Attributes:
        column: the table's column.
        kind: its number, its text, whether it has a value, or whether it is missing.
        value: the value, as a code.
    """

    column: str
    kind: Literal["number", "text", "value", "missing"]
    value: str = ""


def feature_of(name: str, schema: DatasetSchema, *, text: bool) -> Feature:
    """What a model's name stands for.

    Raises:
        UsageError: nothing in the table, with what is near.
    """
    bare = name.rpartition("__")[2]  # scikit-learn's ColumnTransformer puts the transformer's name before it
    columns = {column.replace("-", "_"): column for column in schema.columns}  # names of tensors often have no hyphen
    for candidate in dict.fromkeys((name, bare)):
        column = columns.get(candidate.replace("-", "_"), "")
        if column in schema.numeric:
            return Feature(column, "number")
        if column in schema.nominal:
            if text:
                return Feature(column, "text")
            raise UsageError(
                f"feature {name!r} is the nominal column itself, and the model takes a number for it that the file does not explain; "
                f"give the model one feature a value ({column}=CODE), or the whole pipeline that takes the texts"
            )
        for plain, column in sorted(columns.items(), key=lambda item: -len(item[0])):
            rest = candidate[len(plain) :]
            if not rest or candidate[: len(plain)].replace("-", "_") != plain:
                continue
            if rest in MISSING_NAMES:
                return Feature(column, "missing")
            code = _code(rest[1:], column, schema) if rest[0] in "=_" and column in schema.nominal else None
            if code is not None:
                return Feature(column, "value", code)
    raise UsageError(
        f"feature {name!r} is nothing of the table{nearest(name, schema.columns)}; expected a column, or column=value of a nominal one"
    )


def _code(value: str, column: str, schema: DatasetSchema) -> str | None:
    values = schema.columns[column].values
    if values is None or value in values:
        return value
    return next((code for code, word in values.items() if word == value), None)


def features_of(model: ImportedModel, names: Sequence[str] | None, schema: DatasetSchema) -> list[list[Feature]]:
    """What each of a model's inputs takes, in order.

    Args:
        model: the model.
        names: names of its features in order, where somebody says them; they go before those in the file.
        schema: the table's contract.

    Raises:
        UsageError: a name is missing, stands twice, or is nothing of the table; or their number is another.
    """
    if not model.is_matrix:
        if names is not None:
            raise UsageError(f"it names its {len(model.inputs)} inputs itself; leave --features out")
        wide = next((item for item in model.inputs if item.width not in {1, None}), None)
        if wide is not None:
            raise UsageError(
                f"input {wide.name!r} takes {wide.width} values a row among other inputs; expected one matrix or a column an input"
            )
        return [[feature_of(item.name, schema, text=item.kind == "string")] for item in model.inputs]
    width, chosen = model.inputs[0].width, tuple(names or model.features)
    if not chosen:
        many = "a matrix" if width is None else f"{width} numbers a row"
        raise UsageError(f"it takes {many} and does not name them; name them in order with --features, as in stem-width,cap-shape=x")
    if width is not None and len(chosen) != width:
        raise UsageError(f"it takes {width} numbers a row, and {len(chosen)} features are named")
    if twice := next((name for name in chosen if chosen.count(name) > 1), None):
        raise UsageError(f"feature {twice!r} is named twice")
    return [[feature_of(name, schema, text=False) for name in chosen]]


def encoder_for(features: Sequence[Feature], train: Codes, schema: DatasetSchema, missing_number: float | None) -> Encoder:
    """An encoder that gives every number and text that the features need.

    Args:
        features: of all inputs.
        train: the training rows, whose values are those that were seen.
        schema: the table's contract.
        missing_number: what a missing number is read as; None: NaN, which the graph puts in.
    """
    one_hot = {feature.column for feature in features if feature.kind in {"value", "missing"}}
    text = {feature.column for feature in features if feature.kind == "text"}
    if both := sorted(one_hot & text):
        raise UsageError(f"column {both[0]!r} is taken as text and as a feature a value; one of them is possible")
    columns: list[Encoding] = []
    for name in schema.columns:
        if name in schema.numeric:
            columns.append(_numeric(name, train, missing_number))
            continue
        counts = np.bincount(train.nominal[name] + 1, minlength=len(train.vocabulary[name]) + 2)[2:]
        seen = [value for value, count in zip(train.vocabulary[name], counts.tolist(), strict=True) if count]
        if name in one_hot:
            own = [feature.value for feature in features if feature.column == name and feature.kind == "value"]
            rare = tuple(value for value in seen if value not in own)
            columns.append(NominalEncoding(name, True, tuple(dict.fromkeys(own)), (), 0.0, 0.0, rare))
        else:
            places = tuple(float(place) for place in range(len(seen)))
            columns.append(NominalEncoding(name, False, tuple(seen), places, float(len(seen)), float(len(seen) + 1)))
    return Encoder(tuple(columns))


def _numeric(name: str, train: Codes, missing_number: float | None) -> NumericEncoding:
    present = train.numeric[name][~np.isnan(train.numeric[name])]
    low, high = (float(present.min()), float(present.max())) if len(present) else (None, None)
    return NumericEncoding(name, 0.0, 1.0, missing_number or 0.0, missing_number is None, low, high)


@dataclass(frozen=True)
class Places:
    """Where an input's features lie in the encoder's matrix.

    Attributes:
        at: matrix column of each feature.
        missing: matrix column that says whether the number is missing; -1: none does.
        texts: for one text column the text of every number; else empty.
    """

    at: tuple[int, ...]
    missing: tuple[int, ...]
    texts: tuple[str, ...] = ()


def places_of(features: Sequence[Feature], encoder: Encoder, missing_text: str) -> Places:
    """Where the features of one input lie in the encoder's matrix."""
    offsets = {column.name: (at, column) for at, column in encoder.offsets}
    at: list[int] = []
    missing: list[int] = []
    texts: tuple[str, ...] = ()
    for feature in features:
        start, column = offsets[feature.column]
        if isinstance(column, NumericEncoding):
            if feature.kind == "missing" and not column.indicator:
                raise UsageError(f"feature {feature.column}:missing has no meaning where --missing-number replaces what is missing")
            at.append(start + (feature.kind == "missing"))
            missing.append(start + 1 if column.indicator and feature.kind == "number" else -1)
            continue
        missing.append(-1)
        if feature.kind == "text":
            texts = (*column.categories, missing_text, UNSEEN)
            at.append(start)
        else:
            at.append(start if feature.kind == "missing" else start + 1 + column.categories.index(feature.value))
    return Places(tuple(at), tuple(missing), texts)


def raw_input(X: Matrix, item: InputSignature, places: Places) -> npt.NDArray[Any]:
    """What one input takes for n encoded rows, without the graph: for the model's own library, to compare with."""
    values: npt.NDArray[Any] = X[:, list(places.at)].astype(np.float64)
    if places.texts:
        texts = np.array(places.texts, dtype=object)[values.astype(np.int64)]
        return texts if item.rank == 2 else texts[:, 0]
    flags = np.array(places.missing)
    absent = np.where(flags >= 0, X[:, np.maximum(flags, 0)], 0) > 0.5
    if item.kind in {"int64", "int32", "bool"} and absent.any():
        raise NotServableError(f"input {item.name!r} is of {item.kind}, which has no missing numbers; name one with --missing-number")
    values[absent] = np.nan
    values = values.astype({"float": np.float32, "double": np.float64, "int64": np.int64, "int32": np.int32, "bool": np.bool_}[item.kind])
    return values if item.rank == 2 else values[:, 0]


class _GraphParts:
    """Nodes and constants of what is put around a model's own graph."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, kind: int, sizes: Sequence[int], values: Sequence[Any]) -> str:
        """Add a constant; its name."""
        import onnx

        name = f"constant{len(self.constants)}"
        self.constants.append(onnx.helper.make_tensor(name, kind, sizes, values))
        return name

    def node(self, operator: str, *inputs: str, to: str | None = None, **attributes: Any) -> str:
        """Add a node with one output; the output's name."""
        import onnx

        out = to or f"step{len(self.nodes)}"
        if "to_type" in attributes:  # the attribute of Cast, whose name is that of the output here
            attributes["to"] = attributes.pop("to_type")
        self.nodes.append(onnx.helper.make_node(operator, inputs, [out], **attributes))
        return out


def _feed(parts: _GraphParts, item: InputSignature, places: Places) -> None:
    """Nodes from the encoder's matrix X to one input of the model."""
    from onnx import TensorProto

    count = len(places.at)
    last = parts.node("Gather", "X", parts.constant(TensorProto.INT64, [count], places.at), axis=1)
    if places.texts:
        texts = parts.constant(TensorProto.STRING, [len(places.texts)], [text.encode() for text in places.texts])
        last = parts.node("Gather", texts, parts.node("Cast", last, to_type=TensorProto.INT64))
    else:
        if max(places.missing) >= 0:
            flags = parts.constant(TensorProto.INT64, [count], [max(flag, 0) for flag in places.missing])
            mask = parts.constant(TensorProto.FLOAT, [count], [float(flag >= 0) for flag in places.missing])
            absent = parts.node("Mul", parts.node("Gather", "X", flags, axis=1), mask)
            half, nan = (parts.constant(TensorProto.FLOAT, [1], [value]) for value in (0.5, float("nan")))
            last = parts.node("Where", parts.node("Greater", absent, half), nan, last)
        last = parts.node("Cast", last, to_type=NUMBER_OF[item.kind])
    shape = [-1] if item.rank == 1 else [-1, count]
    parts.node("Reshape", last, parts.constant(TensorProto.INT64, [len(shape)], shape), to=f"{PREFIX}{item.name}")


def serving_graph(model: ImportedModel, places: Sequence[Places], n_features: int, width: int, column: int) -> bytes:
    """The model between the encoder's matrix and P(positive), as one graph: input X [n, m], output `positive` [n].

    Args:
        model: the model.
        places: of each of its inputs.
        n_features: m.
        width: columns of its probabilities.
        column: the one of the positive class.
    """
    import onnx
    from onnx import TensorProto, helper
    from onnx.compose import add_prefix

    proto, before, after = add_prefix(onnx.load_from_string(model.graph), PREFIX), _GraphParts(), _GraphParts()
    for item, place in zip(model.inputs, places, strict=True):
        _feed(before, item, place)
    after.constants = before.constants
    after.nodes.append(helper.make_node("Cast", [f"{PREFIX}{model.output}"], ["wide"], to=TensorProto.DOUBLE))
    table = after.node("Reshape", "wide", after.constant(TensorProto.INT64, [2], [-1, width]), to="classes")
    after.node("Gather", table, after.constant(TensorProto.INT64, [], [column]), to="positive", axis=1)
    nodes = [*before.nodes, *proto.graph.node, *after.nodes]
    del proto.graph.node[:], proto.graph.input[:], proto.graph.output[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.extend(before.constants)
    proto.graph.input.append(helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, n_features]))
    proto.graph.output.append(helper.make_tensor_value_info("positive", TensorProto.DOUBLE, [None]))
    if not any(not entry.domain for entry in proto.opset_import):
        proto.opset_import.append(helper.make_opsetid("", OPSETS[""]))
    proto.ir_version = max(proto.ir_version, OLDEST_IR)
    return bytes(proto.SerializeToString(deterministic=True))

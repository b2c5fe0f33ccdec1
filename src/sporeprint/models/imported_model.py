"""Models made elsewhere, as ONNX graphs: read from ONNX, XGBoost's JSON or UBJSON, or skops. Never from a pickle.

A file decides its own format. What its library may answer with the end of the process is read in a process of its own
(`sporeprint.pipelines.model_import`).
"""

import importlib
import inspect
import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import orjson

from sporeprint.common.optional_dependencies import Lazy
from sporeprint.errors import NotServableError, UsageError
from sporeprint.models.onnx_export import CONVERTER_ERRORS, OPSETS, first_line
from sporeprint.models.scorers import XGBoostScorer

Kind = Literal["float", "double", "int64", "int32", "bool", "string"]
Format = Literal["onnx", "xgboost", "skops"]

#: The types an input may have, by their number in ONNX.
KINDS: dict[int, Kind] = {1: "float", 11: "double", 7: "int64", 6: "int32", 9: "bool", 8: "string"}
NUMBER_OF = {kind: number for number, kind in KINDS.items()}

#: Oldest version of ONNX's own operators that a graph may use: what is put before and after it is written in these.
OLDEST_OPSET = 11
#: How pickles begin: one of protocol 2 and later, and what joblib compresses.
PICKLES = (b"\x80", b"\x1f\x8b", b"x\x01", b"x^", b"x\x9c", b"x\xda", b"BZh", b"\xfd7zXZ", b"\x93NUMPY")
NO_PICKLE = "it is a pickle, which can run any code when it is loaded; save the model with skops.io.dump, or as ONNX"


@dataclass(frozen=True)
class InputSignature:
    """One tensor that a model takes.

    Attributes:
        name: the tensor's.
        kind: type of its numbers or texts.
        rank: its dimensions, 1 or 2.
        width: numbers a row; None where the graph leaves it open.
    """

    name: str
    kind: Kind
    rank: int
    width: int | None


@dataclass(frozen=True)
class ImportedModel:
    """A model made elsewhere.

    Attributes:
        format: of its file.
        graph: the same as an ONNX graph with one output.
        inputs: what the graph takes: one matrix of numbers, or a tensor a column.
        output: name of the output, the probability of the positive class or of every class.
        labels: the class of each column of the output, as text; empty where the file does not say.
        features: names of the matrix columns; empty where the file has none.
        model: the booster in XGBoost's JSON; empty for the others.
    """

    format: Format
    graph: bytes
    inputs: tuple[InputSignature, ...]
    output: str
    labels: tuple[str, ...]
    features: tuple[str, ...] = ()
    model: bytes = b""

    @property
    def is_matrix(self) -> bool:
        """Whether it takes one matrix of numbers, not a tensor a column."""
        only = self.inputs[0]
        return len(self.inputs) == 1 and only.kind != "string" and only.rank == 2 and (only.width != 1 or bool(self.features))


def format_of(data: bytes) -> Format:
    """The format of a model's file, by its content.

    Raises:
        NotServableError: it is a pickle, or nothing that can be imported.
    """
    if data.startswith(PICKLES):
        raise NotServableError(NO_PICKLE)
    if data.startswith(b"PK"):
        try:
            names = zipfile.ZipFile(io.BytesIO(data)).namelist()
        except zipfile.BadZipFile as error:
            raise NotServableError(f"it is a damaged ZIP archive: {error}") from error
        if any(name.endswith((".pkl", ".pickle", ".joblib")) for name in names):
            raise NotServableError(NO_PICKLE)
        if "schema.json" in names:
            return "skops"
        raise NotServableError("it is a ZIP archive without the schema.json of skops; skops.io.dump writes one")
    if data.startswith(b"{") and b"learner" in data[:256]:
        return "xgboost"
    if data.startswith(b"\x08"):
        return "onnx"
    hint = "; it looks like XGBoost's old binary form: save it again as .json or .ubj" if data.startswith(b"binf") else ""
    raise NotServableError(f"it is no model that can be imported: expected ONNX, XGBoost's JSON or UBJSON, or skops{hint}")


def read_onnx(data: bytes) -> ImportedModel:
    """Read an ONNX graph.

    Raises:
        NotServableError: naming what it is or has that cannot be served.
    """
    import onnx
    import onnxruntime
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # comes with onnx

    try:
        proto = onnx.load_from_string(data)
    except DecodeError as error:
        raise NotServableError(f"it is no valid ONNX model: {first_line(error)}") from error
    if outside := next((tensor.name for tensor in proto.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL), None):
        raise NotServableError(f"tensor {outside!r} lies in another file; save the model with its tensors inside")
    if (opset := next((entry.version for entry in proto.opset_import if not entry.domain), OPSETS[""])) < OLDEST_OPSET:
        raise NotServableError(f"it uses opset {opset} of ONNX; {OLDEST_OPSET} or later can be imported, convert it with a newer converter")
    proto, output, labels = _only_probabilities(proto)
    held = {tensor.name for tensor in proto.graph.initializer}
    inputs = tuple(_input(value) for value in proto.graph.input if value.name not in held)
    graph = bytes(proto.SerializeToString(deterministic=True))
    try:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no base of their own
        raise NotServableError(f"ONNX Runtime does not load it: {first_line(error)}") from error
    features = tuple(name for entry in proto.metadata_props if entry.key == "feature_names" for name in entry.value.split(","))
    return ImportedModel("onnx", graph, inputs, output, labels, features)


def _input(value: Any) -> InputSignature:
    tensor = value.type.tensor_type
    sizes = [dimension.dim_value if dimension.HasField("dim_value") else None for dimension in tensor.shape.dim]
    kind = KINDS.get(tensor.elem_type) if value.type.HasField("tensor_type") else None
    if kind is None or len(sizes) not in {1, 2}:
        raise NotServableError(f"input {value.name!r} is no tensor [rows] or [rows, columns] of {', '.join(KINDS.values())}")
    return InputSignature(value.name, kind, len(sizes), 1 if len(sizes) == 1 else sizes[1])


def _only_probabilities(proto: Any) -> tuple[Any, str, tuple[str, ...]]:
    """The graph with its probabilities as the only output, their name, and the classes of their columns."""
    from onnx import TensorProto, helper

    maps = {node.output[0]: node for node in proto.graph.node if node.op_type == "ZipMap"}
    labels = _labels(proto)
    for node in maps.values():  # a list of dictionaries, made of the tensor of probabilities
        proto.graph.node.remove(node)
    floats = {TensorProto.FLOAT, TensorProto.DOUBLE}
    names = [maps[value.name].input[0] if value.name in maps else value.name for value in proto.graph.output
             if value.name in maps or value.type.tensor_type.elem_type in floats]  # fmt: skip
    likely = [name for name in names if "prob" in name.lower()] or names
    if len(likely) != 1:
        named = ", ".join(repr(value.name) for value in proto.graph.output)
        raise NotServableError(
            f"it gives no probabilities: of its outputs {named} exactly one must be a tensor of floats, or have 'prob' in its name"
        )
    output = likely[0]
    old = next((value for value in proto.graph.output if value.name == output), None)
    kind = TensorProto.FLOAT if old is None else old.type.tensor_type.elem_type
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_tensor_value_info(output, kind, None))
    return proto, output, labels


def _labels(proto: Any) -> tuple[str, ...]:
    """The classes that a classifier of the graph names, from the last node backwards."""
    for node in reversed(proto.graph.node):
        for attribute in node.attribute:
            if attribute.name == "classlabels_strings" and attribute.strings:
                return tuple(value.decode() for value in attribute.strings)
            if attribute.name in {"classlabels_int64s", "classlabels_ints"} and attribute.ints:
                return tuple(str(value) for value in attribute.ints)
    return ()


def read_xgboost(data: bytes) -> ImportedModel:
    """Read a booster in XGBoost's JSON or UBJSON. Its parser ends the process on much of what is no model.

    Raises:
        NotServableError: naming what it is or has that cannot be served.
    """
    xgboost = Lazy("xgboost")
    booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
    try:
        booster.load_model(bytearray(data))
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise NotServableError(f"it is no XGBoost model: {first_line(error)}") from error
    scorer = XGBoostScorer.of(booster)
    if scorer.graph is None:
        raise NotServableError("its trees split by categories, or are of dart; train it on numbers with booster=gbtree")
    graph = _with_sigmoid(scorer.graph)
    names = tuple(booster.feature_names or ())
    return ImportedModel("xgboost", graph, (InputSignature("X", "float", 2, scorer.n_features),), "positive", (), names, scorer.model)


def _with_sigmoid(graph: bytes) -> bytes:
    """A graph whose output is log odds, with the logistic function in double precision behind it."""
    import onnx

    proto = onnx.load_from_string(graph)
    proto.graph.node.append(onnx.helper.make_node("Cast", ["margin"], ["wide"], to=onnx.TensorProto.DOUBLE))
    proto.graph.node.append(onnx.helper.make_node("Sigmoid", ["wide"], ["positive"]))
    del proto.graph.output[:]
    proto.graph.output.append(onnx.helper.make_tensor_value_info("positive", onnx.TensorProto.DOUBLE, [None, 1]))
    return bytes(proto.SerializeToString(deterministic=True))


def read_skops(data: bytes) -> Any:
    """The scikit-learn classifier in a skops file, which holds nothing but types that skops trusts.

    Raises:
        MissingExtraError: skops is not installed.
        NotServableError: naming the types that are not trusted, or what is damaged.
    """
    skops = Lazy("skops.io")
    try:
        types = skops.get_untrusted_types(data=data)
        if untrusted := [name for name in types if not _is_harmless(name)]:
            raise NotServableError(
                f"it holds types that could run any code when they are loaded: {', '.join(untrusted)}; "
                "classes of scikit-learn and what skops trusts are taken"
            )
        estimator = skops.loads(data, trusted=types)
    # What skops, and the standard library's zip and JSON below it, raise of damaged files.
    except (ValueError, TypeError, KeyError, AttributeError, ImportError, zipfile.BadZipFile, NotImplementedError) as error:
        raise NotServableError(f"skops does not read it: {first_line(error)}") from error
    if not callable(getattr(estimator, "predict_proba", None)):
        raise NotServableError(f"{type(estimator).__name__} has no predict_proba, so it gives no probabilities")
    return estimator


def _is_harmless(name: str) -> bool:
    """Whether a type is scikit-learn's own: a class, whose code is what is installed here. A function could be any, as numpy.load."""
    if name == "numpy.dtype":
        return True
    module, _, attribute = name.rpartition(".")
    if module.partition(".")[0] != "sklearn":
        return False
    try:
        return inspect.isclass(getattr(importlib.import_module(module), attribute, None))
    except ImportError:
        return False


def sklearn_graphs(estimator: Any, names: Sequence[str], texts: frozenset[str]) -> Sequence[Callable[[], ImportedModel]]:
    """The forms of a scikit-learn classifier to try, best first: in double precision, and in single.

    Args:
        estimator: the classifier, or a pipeline that ends in one.
        names: what it takes, in order.
        texts: which of it is text; where nothing is, one matrix is taken.
    """
    return [lambda: _sklearn_graph(estimator, names, texts, "double"), lambda: _sklearn_graph(estimator, names, texts, "float")]


def _sklearn_graph(estimator: Any, names: Sequence[str], texts: frozenset[str], number: Kind) -> ImportedModel:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    numbers = DoubleTensorType if number == "double" else FloatTensorType
    if texts:
        types = [(name, (StringTensorType if name in texts else numbers)([None, 1])) for name in names]
    else:
        types = [("X", numbers([None, len(names)]))]
    try:
        proto = convert_sklearn(
            estimator, name="classifier", initial_types=types, options={id(last_step(estimator)): {"zipmap": False}}, target_opset=OPSETS
        )
    except CONVERTER_ERRORS as error:
        raise NotServableError(f"no conversion of {type(estimator).__name__}: {first_line(error)}") from error
    labels = tuple(map(str, np.asarray(estimator.classes_).tolist()))
    return replace(read_onnx(proto.SerializeToString()), format="skops", labels=labels, features=() if texts else tuple(names))


def last_step(estimator: Any) -> Any:
    """The classifier at the end of a pipeline, or the classifier itself."""
    return last_step(estimator.steps[-1][1]) if hasattr(estimator, "steps") else estimator


def positive_column(labels: Sequence[str], width: int, stated: str | None, positive: str, word: str) -> int:
    """Which column of the probabilities is of the positive class.

    Args:
        labels: the model's own classes; empty where it names none.
        width: columns of the probabilities.
        stated: the model's label of the positive class, where somebody says it.
        positive: code of the table's positive class.
        word: its word.

    Raises:
        NotServableError: there are more than two columns.
        UsageError: it cannot be known.
    """
    if width > 2 or len(labels) > 2:
        raise NotServableError(f"it tells {max(width, len(labels))} classes apart; two are possible")
    if width == 1:
        if stated is not None and labels and stated != labels[-1]:
            raise UsageError(f"it gives the probability of {labels[-1]!r} alone, not of {stated!r}")
        return 0
    if not labels:
        labels = ("0", "1")
    choices = [stated] if stated is not None else [positive, word, "1", "True"]
    for choice in choices:
        if choice in labels:
            return list(labels).index(choice)
    raise UsageError(f"which of its classes {', '.join(map(repr, labels))} is {word!r} cannot be known; say so with --positive-label")


def as_probabilities(raw: npt.NDArray[Any], rows: int) -> npt.NDArray[np.float64]:
    """What a model gave for n rows as [n, 1] or [n, 2].

    Raises:
        NotServableError: they are no probabilities, with the first row that shows it.
    """
    if raw.ndim not in {1, 2} or len(raw) != rows:
        raise NotServableError(f"it gives a tensor of shape {list(raw.shape)} for {rows} rows; expected [rows], [rows, 1] or [rows, 2]")
    values = np.asarray(raw, dtype=np.float64).reshape(rows, -1)
    slack = 1e-5  # a sum of single-precision votes can pass 1 by its last digits
    wrong = ~((values >= -slack) & (values <= 1 + slack)).all(axis=1)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        hint = "; a missing number reaches it as NaN, --missing-number names another" if np.isnan(values[at]).any() else ""
        raise NotServableError(
            f"its outputs are no probabilities: row {at} of the test rows has {values[at].tolist()}, expected 0 to 1; "
            f"so have {int(wrong.sum())} of {rows} rows{hint}"
        )
    if values.shape[1] == 2 and (wrong := np.abs(values.sum(axis=1) - 1) > 1e-3).any():
        at = int(np.flatnonzero(wrong)[0])
        raise NotServableError(
            f"its outputs are no probabilities: those of row {at} of the test rows, {values[at].tolist()}, do not add up to 1"
        )
    return values


def booster_reference(model: bytes, X: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """What XGBoost itself says of n rows, NaN where missing: float64 [n, 1]."""
    xgboost = Lazy("xgboost")
    booster = xgboost.Booster({"nthread": 1, "verbosity": 0})
    booster.load_model(bytearray(orjson.dumps(orjson.loads(model))))
    return np.asarray(booster.predict(xgboost.DMatrix(X, nthread=1), validate_features=False), dtype=np.float64)[:, np.newaxis]

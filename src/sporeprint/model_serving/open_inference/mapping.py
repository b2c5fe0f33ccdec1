"""Between the protocol's tensors and rows of a schema: one tensor a column, or one tensor of rows as JSON objects."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import orjson

from sporeprint.errors import nearest
from sporeprint.model_serving.open_inference.tensors import BYTES, InferDocument, InferRequest, RequestedOutput, Tensor, TensorError
from sporeprint.schema import DatasetSchema, Kind

#: Name of the tensor whose elements are whole rows. A table with a column of this name has no such tensor.
ROWS = "rows"
#: Parameter of a request: columns without a tensor were not observed. Otherwise each column needs a tensor.
PARTIAL = "partial"

#: Shapes of a plain tensor, its keys, and parameters that ask for nothing.
ONE: tuple[list[int], ...] = ([1], [1, 1])
PLAIN_KEYS = len(("name", "shape", "datatype", "data"))
NO_PARAMETERS: tuple[dict[str, str] | None, ...] = (None, {}, {"content_type": "str"})
#: Its datatype with the types of JSON values, of a numeric column and of another one.
NUMBER: tuple[str, frozenset[type]] = ("FP64", frozenset({float, int, type(None)}))
TEXT: tuple[str, frozenset[type]] = (BYTES, frozenset({str, type(None)}))

Row = dict[str, Any]


#: Output -> its datatype. The first five are given where none is named.
OUTPUTS: Mapping[str, str] = {
    "verdict": BYTES,
    "probability": "FP64",
    "prediction": BYTES,
    "novelty_p": "FP64",
    "prediction_id": BYTES,
    "reason": BYTES,
    "unknown": BYTES,
    "look_at": BYTES,
    "model": BYTES,
    "arm": BYTES,
}
#: Output -> its value for each of n rows.
Answers = Mapping[str, Sequence[Any]]
DEFAULT_OUTPUTS = tuple(RequestedOutput(name, None) for name in tuple(OUTPUTS)[:5])


def input_metadata(schema: DatasetSchema) -> list[dict[str, Any]]:
    """The inputs of a model, as the protocol describes them: one for each column."""
    return [
        {"name": name, "datatype": "FP64" if column.kind is Kind.NUMERIC else BYTES, "shape": [-1]}
        for name, column in schema.columns.items()
    ]


def output_metadata() -> list[dict[str, Any]]:
    """The outputs that may be named, as the protocol describes them."""
    return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in OUTPUTS.items()]


def check_outputs(request: InferRequest) -> tuple[RequestedOutput, ...]:
    """The outputs that are wanted, in their order.

    Raises:
        TensorError: naming one that does not exist or is named twice.
    """
    if not request.outputs:
        return DEFAULT_OUTPUTS
    for place, output in enumerate(request.outputs):
        if output.name not in OUTPUTS:
            raise TensorError(f"output {output.name!r} does not exist{nearest(output.name, OUTPUTS)}; there are: {', '.join(OUTPUTS)}")
        if output.name in {other.name for other in request.outputs[:place]}:
            raise TensorError(f"output {output.name!r} is named twice")
    return request.outputs


def to_columns(request: InferRequest, schema: DatasetSchema, most: int) -> dict[str, list[Any]] | list[Row]:
    """What a request holds: columns of equal length, or rows. Their values are not looked at yet; missing ones are None.

    Args:
        request: the tensors.
        schema: of the model.
        most: rows that are allowed.

    Returns:
        Column -> its values, where there is a tensor for each; or the rows of the one tensor that holds whole rows.

    Raises:
        TensorError: naming the tensor that does not fit.
    """
    if len(request.inputs) == 1 and request.inputs[0].name == ROWS and ROWS not in schema.columns:
        return _whole_rows(request.inputs[0], most)
    names = _columns(request.inputs, schema)
    partial = request.parameters.get(PARTIAL, False)
    if not isinstance(partial, bool):
        raise TensorError(f"parameter {PARTIAL!r}: expected true or false, got {partial!r}")
    if not partial and (absent := [name for name in schema.columns if name not in names]):
        raise TensorError(
            f"input {absent[0]!r} is missing{f', and {len(absent) - 1} more' if len(absent) > 1 else ''}; "
            f'send a tensor for each column, or the parameter "{PARTIAL}": true where columns were not observed'
        )
    count = _count(request.inputs[0], most)
    columns = {}
    for name, tensor in zip(names, request.inputs, strict=True):
        if (rows := _count(tensor, most)) != count:
            raise TensorError(f"input {tensor.name!r} has {rows} rows, {request.inputs[0].name!r} has {count}")
        columns[name] = _values(tensor, schema.columns[name].kind)
    return columns


@dataclass(frozen=True)
class PlainColumns:
    """The columns of a table, for requests with one plain value for each of them.

    Attributes:
        count: how many there are.
        by_name: name, with hyphens or with underscores -> the column, the datatype of its tensor and the types of its JSON values.
    """

    count: int
    by_name: Mapping[str, tuple[str, str, frozenset[type]]]

    @classmethod
    def of(cls, schema: DatasetSchema) -> Self:
        """The columns of a contract."""
        columns = {name: (name, *(NUMBER if column.kind is Kind.NUMERIC else TEXT)) for name, column in schema.columns.items()}
        return cls(len(columns), {name.replace("-", "_"): column for name, column in columns.items()} | columns)

    def row(self, document: InferDocument) -> Row | None:
        """The row of a request, which is read in a tenth of the time that its tensors take.

        Returns:
            None where anything is otherwise: then the tensors are read, and it is said what is wrong with them.
        """
        inputs, parameters = document.raw.get("inputs"), document.raw.get("parameters")
        if type(inputs) is not list or len(inputs) != self.count or document.rest or (parameters and PARTIAL in parameters):
            return None
        row: Row = {}
        try:
            for tensor in inputs:
                name, datatype, types = self.by_name[tensor["name"]]
                shape, (value,) = tensor["shape"], tensor["data"]
                is_one = shape in ONE and type(shape[0]) is type(shape[-1]) is int and type(tensor["data"]) is list
                if not is_one or tensor["datatype"] != datatype or type(value) not in types:
                    return None
                if len(tensor) > PLAIN_KEYS and tensor.get("parameters") not in NO_PARAMETERS:
                    return None
                row[name] = None if value == "" else value
        except (KeyError, TypeError, ValueError):
            return None
        return row if len(row) == self.count else None


def to_rows(columns: Mapping[str, Sequence[Any]]) -> list[Row]:
    """The rows of columns of equal length, as they would come in JSON."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def to_tensors(answers: Answers, outputs: Sequence[RequestedOutput], *, binary: bool) -> list[tuple[Tensor, bool]]:
    """The outputs of n rows, each with whether it is to be written as bytes. A missing text is empty."""
    tensors = []
    for output in outputs:
        values = ["" if value is None else value for value in answers[output.name]]
        tensor = Tensor(output.name, OUTPUTS[output.name], (len(values),), values)
        tensors.append((tensor, binary if output.binary is None else output.binary))
    return tensors


def _columns(inputs: Sequence[Tensor], schema: DatasetSchema) -> list[str]:
    """The column of each tensor, whose name may have '_' in place of '-'."""
    spellings = {spelling: name for name in schema.columns for spelling in (name.replace("-", "_"), name)}
    names: list[str] = []
    for tensor in inputs:
        name = spellings.get(tensor.name)
        if name is None:
            more = f", or one tensor {ROWS!r} of JSON objects" if ROWS not in schema.columns else ""
            raise TensorError(
                f"input {tensor.name!r} does not exist{nearest(tensor.name, schema.columns)}; there are: {', '.join(schema.columns)}{more}"
            )
        if name in names:
            raise TensorError(f"input {name!r} is given in both spellings")
        names.append(name)
    return names


def _count(tensor: Tensor, most: int) -> int:
    if len(tensor.shape) > 2 or (len(tensor.shape) == 2 and tensor.shape[1] != 1):
        raise TensorError(f"input {tensor.name!r}: shape {list(tensor.shape)}; expected [n] or [n, 1]")
    if tensor.shape[0] > most:
        raise TensorError(f"{tensor.shape[0]} rows; allowed are {most} in one request; POST /predict/batch takes more")
    return tensor.shape[0]


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value


def _values(tensor: Tensor, kind: Kind) -> list[Any]:
    """The values as JSON would have them: missing ones as None, codes as texts."""
    # A column without a single value has no type: pandas has one of NaN for it.
    if tensor.values and _is_missing(tensor.values[0]) and all(map(_is_missing, tensor.values)):
        return [None] * len(tensor.values)
    if kind is Kind.NUMERIC:
        if tensor.datatype in (BYTES, "BOOL"):
            raise TensorError(f"input {tensor.name!r}: datatype {tensor.datatype}; this column is numeric: FP64, FP32 or a whole number")
        return [None if value is None or value != value else float(value) for value in tensor.values]
    if kind is Kind.DATE and (tensor.datatype == "BOOL" or tensor.datatype.startswith("FP")):
        raise TensorError(f"input {tensor.name!r}: datatype {tensor.datatype}; this column is a date: BYTES, as '2024-03-05'")
    if tensor.datatype == BYTES:
        return [None if value == "" else value for value in tensor.values]
    if tensor.datatype.startswith("FP"):
        raise TensorError(
            f"input {tensor.name!r}: datatype {tensor.datatype}; this column is nominal: BYTES, or whole numbers that are codes"
        )
    if kind is Kind.DATE:  # whole numbers, for a format of digits alone
        return [None if value is None else int(value) for value in tensor.values]
    return [None if value is None else str(value) for value in tensor.values]


def _whole_rows(tensor: Tensor, most: int) -> list[Row]:
    if tensor.datatype != BYTES:
        raise TensorError(f"input {ROWS!r}: datatype {tensor.datatype}; expected BYTES, each a JSON object")
    _count(tensor, most)
    rows = []
    for number, text in enumerate(tensor.values):
        try:
            row = orjson.loads(text or "")
        except orjson.JSONDecodeError as error:
            raise TensorError(f"input {ROWS!r}: element {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise TensorError(f"input {ROWS!r}: element {number} is no JSON object: {json.dumps(row)[:60]}")
        rows.append(row)
    return rows

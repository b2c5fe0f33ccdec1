"""Tensors of the Open Inference Protocol v2: requests read and answers written, as JSON and with the binary tensor extension.

A body is a JSON document, then the raw bytes of the tensors that have `binary_data_size`, in the order of the inputs. Bytes are
little-endian and row-major; of BYTES each element is its length as uint32, then the bytes. By hand, because the published readers
belong to clients or to whole servers.
"""

import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import orjson

Parameters: TypeAlias = Mapping[str, Any]
#: The elements of a tensor in row-major order: numbers, truth values, texts, or None where JSON has null.
Values: TypeAlias = list[Any]

DATATYPES: Mapping[str, str] = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
BYTES = "BYTES"
#: Datatype -> the types of JSON values that it holds, whatever their value.
ALWAYS_FIT: Mapping[str, frozenset[type]] = {
    BYTES: frozenset({str, type(None)}),
    "BOOL": frozenset({bool, type(None)}),
    **dict.fromkeys(("FP16", "FP32", "FP64"), frozenset({float, int, type(None)})),
}
NOTHING: frozenset[type] = frozenset()
MOST_DIMENSIONS = 8
_LENGTH = struct.Struct("<I")


class TensorError(Exception):
    """A request that is not as the protocol has it; its text names the tensor and what is wrong."""


class Tensor(NamedTuple):
    """One tensor. A tuple, because a request has one for each column, and a frozen dataclass takes four times as long to make.

    Attributes:
        name: of the input or output.
        datatype: one of `DATATYPES` or BYTES.
        shape: its dimensions.
        values: the elements, as many as the product of the shape; of BYTES texts.
        parameters: as the caller sent them.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values
    parameters: Parameters = MappingProxyType({})


@dataclass(frozen=True)
class RequestedOutput:
    """An output that the caller names.

    Attributes:
        name: of the output.
        binary: whether its bytes are to follow the JSON; None: as the request says for all.
    """

    name: str
    binary: bool | None


@dataclass(frozen=True)
class InferRequest:
    """What is asked.

    Attributes:
        id: of the request, for the caller; None where it gave none.
        parameters: of the request.
        inputs: the tensors, no two of one name.
        outputs: those that are wanted, in their order; empty: the default ones.
        binary: whether outputs are binary where they do not say it themselves.
    """

    id: str | None
    parameters: Parameters
    inputs: tuple[Tensor, ...]
    outputs: tuple[RequestedOutput, ...]
    binary: bool


@dataclass(frozen=True)
class Limits:
    """What a request may hold: tensors, and elements of each."""

    tensors: int = 4096
    elements: int = 20_000_000


class InferDocument(NamedTuple):
    """The body of an inference request, parsed.

    Attributes:
        raw: its JSON.
        rest: the bytes behind it.
    """

    raw: Mapping[str, Any]
    rest: memoryview


def parse(body: bytes, header_length: int | None) -> InferDocument:
    """Parse the body of an inference request.

    Args:
        body: all of it, unpacked.
        header_length: bytes of its JSON (Inference-Header-Content-Length); None: all of it.

    Raises:
        TensorError: it is no JSON object, or has another length.
    """
    if header_length == 0:
        raise TensorError("Inference-Header-Content-Length is 0: a raw body is one tensor, and this model needs one for each column")
    if header_length is not None and not 0 < header_length <= len(body):
        raise TensorError(f"Inference-Header-Content-Length is {header_length}, the body has {len(body)} bytes")
    end = len(body) if header_length is None else header_length
    return InferDocument(_document(body[:end]), memoryview(body)[end:])


def read_request(document: InferDocument, limits: Limits) -> InferRequest:
    """Read an inference request with its tensors.

    Raises:
        TensorError: naming what is wrong.
    """
    inputs, outputs = _list(document.raw, "inputs"), _outputs(document.raw)
    if not inputs:
        raise TensorError("'inputs' is empty: at least one tensor is needed")
    if max(len(inputs), len(outputs)) > limits.tensors:
        raise TensorError(f"{max(len(inputs), len(outputs))} tensors; allowed are {limits.tensors}")
    request = read_options(document)
    binary = _Binary(document.rest)
    tensors = tuple(_input(each, binary, limits) for each in inputs)
    binary.finish()
    names = [tensor.name for tensor in tensors]
    if twice := next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None:
        raise TensorError(f"input {twice!r} is given twice")
    return replace(request, inputs=tensors)


def read_options(document: InferDocument) -> InferRequest:
    """Read all of an inference request but its tensors.

    Raises:
        TensorError: naming what is wrong.
    """
    raw = document.raw
    request_id = raw.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise TensorError(f"'id': expected a text, got {_shown(request_id)}")
    parameters = _parameters(raw, "the request")
    requested = tuple(_output(each) for each in _outputs(raw))
    return InferRequest(request_id, parameters, (), requested, _flag(parameters, "binary_data_output", "the request"))


def write_response(head: Mapping[str, Any], outputs: Sequence[tuple[Tensor, bool]]) -> tuple[bytes, int | None]:
    """Write an answer.

    Args:
        head: model_name, model_version, id, parameters.
        outputs: tensors, each with whether its bytes follow the JSON.

    Returns:
        The body, and the bytes of its JSON where binary tensors follow; None where it is all JSON.
    """
    described, chunks = [], []
    for tensor, binary in outputs:
        one: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        if binary:
            chunks.append(to_bytes(tensor))
            one["parameters"] = {"binary_data_size": len(chunks[-1])}
        else:
            one["data"] = tensor.values
        described.append(one)
    document = orjson.dumps({**head, "outputs": described})
    return (document + b"".join(chunks), len(document)) if chunks else (document, None)


def to_bytes(tensor: Tensor) -> bytes:
    """The elements as the binary extension has them."""
    if tensor.datatype == BYTES:
        texts = [value.encode() for value in tensor.values]
        return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
    return np.array(tensor.values, dtype=DATATYPES[tensor.datatype]).tobytes()


class _Binary:
    """The bytes behind the JSON, taken from the front."""

    def __init__(self, rest: memoryview) -> None:
        self._rest = rest

    def take(self, size: Any, name: str) -> memoryview:
        if isinstance(size, bool) or not isinstance(size, int) or size < 0:
            raise TensorError(f"input {name!r}: 'binary_data_size' is {_shown(size)}; expected a number of bytes, 0 or more")
        if size > len(self._rest):
            raise TensorError(f"input {name!r}: 'binary_data_size' is {size}, but only {len(self._rest)} bytes are left in the body")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def finish(self) -> None:
        if len(self._rest):
            left = len(self._rest)
            raise TensorError(f"{left} bytes are left over in the body; check 'binary_data_size' and Inference-Header-Content-Length")


def _document(text: bytes) -> Mapping[str, Any]:
    try:
        raw = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            raw = json.loads(text, parse_int=_whole)  # Triton's client writes missing numbers as NaN, which is no JSON
            orjson.dumps(raw)  # half a surrogate pair is no text: it could be neither kept nor sent back
        except (ValueError, TypeError, RecursionError) as error:
            raise TensorError(f"the body is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise TensorError("the body is not a JSON object")
    return raw


def _whole(text: str) -> int | float:
    """A whole number as the other parser has it: beyond 64 bits a float."""
    return int(text) if len(text) < 19 or -(2**63) <= int(text) < 2**64 else float(text)


def _outputs(raw: Mapping[str, Any]) -> list[Any]:
    return _list(raw, "outputs") if raw.get("outputs") is not None else []


def _list(raw: Mapping[str, Any], name: str) -> list[Any]:
    value = raw.get(name)
    if not isinstance(value, list):
        raise TensorError(f"'{name}': expected a list of tensors, got {_shown(value)}")
    return value


def _parameters(raw: Mapping[str, Any], of: str) -> Parameters:
    value = raw.get("parameters")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise TensorError(f"'parameters' of {of}: expected an object, got {_shown(value)}")
    return value


def _flag(parameters: Parameters, name: str, of: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise TensorError(f"'{name}' of {of}: expected true or false, got {_shown(value)}")
    return value


def _named(raw: Any, kind: str) -> tuple[Mapping[str, Any], str]:
    if not isinstance(raw, dict):
        raise TensorError(f"an {kind} is no object: {_shown(raw)}")
    name = raw.get("name")
    if not isinstance(name, str) or not name:
        raise TensorError(f"an {kind} has no name: {_shown(name)}")
    return raw, name


def _output(raw: Any) -> RequestedOutput:
    raw, name = _named(raw, "output")
    parameters = _parameters(raw, f"output {name!r}")
    _check_no_shared_memory(parameters, f"output {name!r}")
    if parameters.get("classification"):
        raise TensorError(f"output {name!r}: 'classification' is not supported; ask for 'probability'")
    binary = _flag(parameters, "binary_data", f"output {name!r}") if "binary_data" in parameters else None
    return RequestedOutput(name, binary)


def _check_no_shared_memory(parameters: Parameters, of: str) -> None:
    """Whoever asks for it would read what never was written there."""
    if "shared_memory_region" in parameters:
        raise TensorError(f"{of}: shared memory is not supported; send 'data', or 'binary_data_size' with bytes behind the JSON")


def _input(raw: Any, binary: _Binary, limits: Limits) -> Tensor:
    raw, name = _named(raw, "input")
    datatype, shape = raw.get("datatype"), _shape(raw.get("shape"), name)
    if not isinstance(datatype, str) or (datatype != BYTES and datatype not in DATATYPES):
        raise TensorError(f"input {name!r}: datatype {_shown(datatype)} is unknown; known: {', '.join((*DATATYPES, BYTES))}")
    count = math.prod(shape)
    if count > limits.elements:
        raise TensorError(f"input {name!r}: {count} elements; allowed are {limits.elements}")
    parameters = _parameters(raw, f"input {name!r}")
    _check_no_shared_memory(parameters, f"input {name!r}")
    if "binary_data_size" in parameters:
        if raw.get("data") is not None:
            raise TensorError(f"input {name!r} has both 'data' and 'binary_data_size'")
        values = _from_bytes(binary.take(parameters["binary_data_size"], name), datatype, count, name)
    else:
        values = _elements(raw.get("data"), shape, name)
        if len(values) != count:
            raise TensorError(f"input {name!r}: shape {list(shape)} has {count} elements, 'data' has {len(values)}")
        if not set(map(type, values)) <= ALWAYS_FIT.get(datatype, NOTHING):
            values = [_checked(value, datatype, name) for value in values]
    return Tensor(name, datatype, shape, values, parameters)


def _shape(value: Any, name: str) -> tuple[int, ...]:
    if isinstance(value, list) and 0 < len(value) <= MOST_DIMENSIONS and set(map(type, value)) == {int} and min(value) >= 0:
        return tuple(value)
    raise TensorError(f"input {name!r}: shape {_shown(value)}; expected 1 to {MOST_DIMENSIONS} whole numbers, 0 or more")


def _elements(data: Any, shape: tuple[int, ...], name: str) -> Values:
    """The elements of 'data', which is one list, or lists in lists as the shape has them."""
    if not isinstance(data, list):
        raise TensorError(f"input {name!r}: 'data' is {_shown(data)}; expected a list, or 'binary_data_size' with bytes behind the JSON")
    return list(_nested(data, shape, name)) if list in set(map(type, data)) else data


def _nested(data: Any, shape: tuple[int, ...], name: str) -> Iterator[Any]:
    if not shape and not isinstance(data, list):
        yield data
        return
    if not shape or not isinstance(data, list) or len(data) != shape[0]:
        expected = f"a list of {shape[0]}" if shape else "one element"
        raise TensorError(f"input {name!r}: the lists in 'data' are not as its shape: {_shown(data)} where {expected} should be")
    for each in data:
        yield from _nested(each, shape[1:], name)


def _from_bytes(raw: memoryview, datatype: str, count: int, name: str) -> Values:
    if datatype == BYTES:
        return _texts(bytes(raw), count, name)
    dtype = np.dtype(DATATYPES[datatype])
    if len(raw) != count * dtype.itemsize:
        size = count * dtype.itemsize
        raise TensorError(f"input {name!r}: {count} elements of {datatype} are {size} bytes, 'binary_data_size' is {len(raw)}")
    values: Values = np.frombuffer(raw, dtype=dtype).tolist()
    return values


def _texts(raw: bytes, count: int, name: str) -> Values:
    """The texts, one after the other. One loop without calls: a batch has tens of thousands."""
    texts: list[str] = []
    at, size = 0, len(raw)
    try:
        for _ in range(count):
            begin = at + 4
            at = begin + int.from_bytes(raw[at:begin], "little")
            if at > size or begin > size:
                raise TensorError(f"input {name!r}: element {len(texts)} of {count} lies beyond the end of its {size} bytes")
            texts.append(raw[begin:at].decode())
    except UnicodeDecodeError as error:
        raise TensorError(f"input {name!r}: a text is not UTF-8 ({error.reason})") from error
    if at != size:
        raise TensorError(f"input {name!r}: {size - at} bytes are left over behind its {count} elements")
    return texts


def _checked(value: Any, datatype: str, name: str) -> Any:
    """A JSON value of this datatype; null is a missing one."""
    match value:
        case None:
            return None
        case bool():
            fits = datatype == "BOOL"
        case str():
            fits = datatype == BYTES
        case int():
            fits = _holds(value, datatype)
        case float():
            fits = datatype.startswith("FP")
        case _:
            fits = False
    if not fits:
        raise TensorError(f"input {name!r}: {_shown(value)} is no {datatype}")
    return value


def _holds(value: int, datatype: str) -> bool:
    if datatype.startswith("FP"):
        return True
    if "INT" not in datatype:
        return False
    limits = np.iinfo(DATATYPES[datatype])
    return int(limits.min) <= value <= int(limits.max)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} ..."

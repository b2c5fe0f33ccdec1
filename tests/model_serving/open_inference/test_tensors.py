"""Tensors as bytes and as JSON: what is written reads back, and everything else is refused with the tensor's name."""

import contextlib
import json
import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.model_serving.open_inference.tensors import (
    BYTES,
    DATATYPES,
    InferRequest,
    Limits,
    Tensor,
    TensorError,
    parse,
    read_request,
    to_bytes,
    write_response,
)

LIMITS = Limits(tensors=8, elements=1000)


def request(*inputs: Any, **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def cap(**changes: Any) -> dict[str, Any]:
    return {"name": "cap-diameter", "datatype": "FP64", "shape": [2], "data": [1.5, 2], **changes}


def read(body: bytes, header_length: int | None = None) -> InferRequest:
    return read_request(parse(body, header_length), LIMITS)


def binary(*tensors: Tensor, sizes: dict[str, Any] | None = None, rest: bytes = b"") -> tuple[bytes, int]:
    chunks = [to_bytes(tensor) for tensor in tensors]
    head = request(
        *(
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": tensor.shape,
                "parameters": {"binary_data_size": (sizes or {}).get(tensor.name, len(chunk))},
            }
            for tensor, chunk in zip(tensors, chunks, strict=True)
        )
    )
    return head + b"".join(chunks) + rest, len(head)


def test_json_in_one_list_or_nested() -> None:
    rows = read(request(cap(), {"name": "a", "datatype": "BYTES", "shape": [2, 1], "data": [["x"], [None]]}, id="7"))
    assert rows.id == "7"
    assert [tensor.values for tensor in rows.inputs] == [[1.5, 2], ["x", None]]
    assert rows.inputs[1].shape == (2, 1)


def test_nan_that_tritons_client_writes_as_json() -> None:
    (tensor,) = read(b'{"inputs":[{"name":"a","datatype":"FP64","shape":[2],"data":[5.5,NaN]}]}').inputs
    assert tensor.values[0] == 5.5
    assert np.isnan(tensor.values[1])


@pytest.mark.parametrize("digits", [18, 19, 20, 25, 400])
@pytest.mark.parametrize("beside", ["1.5", "NaN"])
def test_whole_numbers_of_any_length_are_what_floats_make_of_them(digits: int, beside: str) -> None:
    body = '{"inputs":[{"name":"a","datatype":"FP64","shape":[2],"data":[' + "9" * digits + f",{beside}]}}]}}"
    assert float(read(body.encode()).inputs[0].values[0]) == float("9" * digits)


@given(
    st.lists(st.text(), max_size=5),
    st.lists(st.floats(width=64), max_size=5),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.lists(st.booleans(), max_size=5),
)
def test_binary_reads_back(texts: list[str], floats: list[float], whole: list[int], flags: list[bool]) -> None:
    tensors = [
        Tensor("t", BYTES, (len(texts),), texts),
        Tensor("f", "FP64", (len(floats),), floats),
        Tensor("i", "INT64", (len(whole), 1), whole),
        Tensor("b", "BOOL", (len(flags),), flags),
    ]
    again = read(*binary(*tensors)).inputs
    assert [tensor.values for tensor in again[::2]] == [texts, whole]
    np.testing.assert_array_equal(again[1].values, floats)
    assert again[3].values == flags
    assert [tensor.shape for tensor in again] == [tensor.shape for tensor in tensors]


@pytest.mark.parametrize("datatype", DATATYPES)
def test_every_datatype_is_little_endian_and_without_gaps(datatype: str) -> None:
    tensor = Tensor("a", datatype, (2,), [True, False] if datatype == "BOOL" else [1, 2])
    assert len(to_bytes(tensor)) == 2 * np.dtype(DATATYPES[datatype]).itemsize
    assert to_bytes(tensor)[0] == (1 if datatype[0] in "BUI" else 0)
    assert read(*binary(tensor)).inputs[0].values == tensor.values


def test_answers_in_json_and_bytes_together() -> None:
    outputs = [(Tensor("verdict", BYTES, (2, 1), ["edible", "unknown"]), True), (Tensor("probability", "FP64", (2,), [0.25, 1.0]), False)]
    body, length = write_response({"model_name": "mushroom"}, outputs)
    assert length is not None
    head = orjson.loads(body[:length])
    assert head["model_name"] == "mushroom"
    assert head["outputs"][0] == {"name": "verdict", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": 21}}
    assert head["outputs"][1]["data"] == [0.25, 1.0]
    assert body[length:] == struct.pack("<I", 6) + b"edible" + struct.pack("<I", 7) + b"unknown"
    assert write_response({}, outputs[1:])[1] is None


def test_outputs_and_flags() -> None:
    outputs = [{"name": "verdict", "parameters": {"binary_data": False}}, {"name": "p"}]
    asked = read(request(cap(), outputs=outputs, parameters={"binary_data_output": True}))
    assert [(output.name, output.binary) for output in asked.outputs] == [("verdict", False), ("p", None)]
    assert asked.binary


LONG = {"name": "t", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the body is not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"{}", "'inputs': expected a list of tensors, got None"),
        (request(), "'inputs' is empty"),
        (request(*[cap(name=str(n)) for n in range(9)]), "9 tensors; allowed are 8"),
        (request(cap(), cap()), "input 'cap-diameter' is given twice"),
        (request(3), "an input is no object: 3"),
        (request(cap(name="")), "an input has no name: ''"),
        (request(cap(datatype="TEXT")), "input 'cap-diameter': datatype 'TEXT' is unknown; known: BOOL, UINT8"),
        (request(cap(shape=2)), "input 'cap-diameter': shape 2; expected 1 to 8 whole numbers"),
        (request(cap(shape=[])), "shape \\[\\]"),
        (request(cap(shape=[-1])), "shape \\[-1\\]"),
        (request(cap(shape=[2.0])), r"shape \[2\.0\]"),
        (request(cap(shape=[1] * 9)), "expected 1 to 8"),
        (request(cap(shape=[10**9, 10**9])), "1000000000000000000 elements; allowed are 1000"),
        (request(cap(shape=[3])), "shape \\[3\\] has 3 elements, 'data' has 2"),
        (request(cap(data=None)), "'data' is None; expected a list, or 'binary_data_size'"),
        (request(cap(data="ab")), "'data' is 'ab'"),
        (
            b'{"inputs":[{"name":"a","datatype":"FP64","shape":[1],"data":' + b"[" * 20 + b"1" + b"]" * 20 + b"}]}",
            "where one element should be",
        ),
        (request(cap(shape=[1, 2], data=[[1.5], [2]])), "lists in 'data' are not as its shape: .* where a list of 1 should be"),
        (request(cap(shape=[2, 1], data=[[1.5], 2])), "not as its shape: 2 where a list of 1 should be"),
        (request(cap(shape=[1, 1], data=[[1.5], []])), "not as its shape"),
        (request(cap(datatype=["FP64"])), r"datatype \['FP64'\] is unknown"),
        (request(cap(datatype={})), "datatype {} is unknown"),
        (request(cap(parameters={"shared_memory_region": "a"})), "input 'cap-diameter': shared memory is not supported"),
        (request(cap(), outputs=[{"name": "p", "parameters": {"shared_memory_region": "a"}}]), "output 'p': shared memory is not"),
        (b'{"id":"\\ud800","inputs":[{"name":"a","datatype":"FP64","shape":[1],"data":[NaN]}]}', "the body is not JSON"),
        (b'{"inputs":[{"name":"a","datatype":"BYTES","shape":[1],"data":["\\udfff"]}]}', "the body is not JSON"),
        (request(cap(data=["x", 1])), "input 'cap-diameter': 'x' is no FP64"),
        (request(cap(data=[True, 1])), "True is no FP64"),
        (request(cap(datatype="BYTES")), "1.5 is no BYTES"),
        (request(cap(datatype="INT8", data=[1, 128])), "128 is no INT8"),
        (request(cap(datatype="INT8", data=[1, 1.5])), "1.5 is no INT8"),
        (request(cap(datatype="UINT8", data=[1, -1])), "-1 is no UINT8"),
        (request(cap(datatype="BOOL", data=[1, True])), "1 is no BOOL"),
        (request(cap(data=[{}, 1])), "{} is no FP64"),
        (request(cap(), id=3), "'id': expected a text, got 3"),
        (request(cap(), parameters=[]), "'parameters' of the request: expected an object"),
        (request(cap(), parameters={"binary_data_output": 1}), "'binary_data_output' of the request: expected true or false, got 1"),
        (request(cap(), outputs={}), "'outputs': expected a list"),
        (request(cap(), outputs=[{"name": "p", "parameters": {"classification": 2}}]), "output 'p': 'classification' is not supported"),
        (request(cap(parameters={"binary_data_size": 16})), "has both 'data' and 'binary_data_size'"),
    ],
)
def test_json_that_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(TensorError, match=message):
        read(body)


@pytest.mark.parametrize("size", [-1, 1.0, True, "8", None])
def test_sizes_that_are_none(size: Any) -> None:
    with pytest.raises(TensorError, match=r"input 'f': 'binary_data_size' is .*; expected a number of bytes"):
        read(*binary(Tensor("f", "FP64", (1,), [1.0]), sizes={"f": size}))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (struct.pack("<I", 2) + b"x", "element 0 of 1 lies beyond the end of its 5 bytes"),
        (struct.pack("<I", 2**32 - 1) + b"x", "element 0 of 1 lies beyond the end"),
        (b"abc\0\0", "element 0 of 1 lies beyond the end"),
        (struct.pack("<I", 0) + b"x", "1 bytes are left over behind its 1 elements"),
        (struct.pack("<I", 1) + b"\xff", "a text is not UTF-8"),
    ],
)
def test_lengths_of_texts_that_do_not_fit(raw: bytes, message: str) -> None:
    head = request(LONG)
    with pytest.raises(TensorError, match=message):
        read(head + raw, len(head))


def test_bytes_that_do_not_fit() -> None:
    numbers = Tensor("f", "FP64", (2,), [1.0, 2.0])
    with pytest.raises(TensorError, match="2 elements of FP64 are 16 bytes, 'binary_data_size' is 8"):
        read(*binary(numbers, sizes={"f": 8}, rest=b""))
    with pytest.raises(TensorError, match="'binary_data_size' is 17, but only 16 bytes are left"):
        read(*binary(numbers, sizes={"f": 17}))
    with pytest.raises(TensorError, match="3 bytes are left over in the body"):
        read(*binary(numbers, rest=b"abc"))
    body, length = binary(numbers)
    with pytest.raises(TensorError, match=f"Inference-Header-Content-Length is {len(body) + 1}, the body has {len(body)} bytes"):
        read(body, len(body) + 1)
    with pytest.raises(TensorError, match="a raw body is one tensor"):
        read(body, 0)
    assert read(body, length).inputs[0].values == [1.0, 2.0]


@given(st.binary(max_size=200), st.none() | st.integers(-5, 250))
def test_any_bytes_are_read_or_refused(body: bytes, header_length: int | None) -> None:
    with contextlib.suppress(TensorError):
        read(body, header_length)

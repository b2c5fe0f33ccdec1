"""Rows of one plain value a column: read at once, to what their tensors would be, or left to them."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.model_serving.open_inference.mapping import PlainColumns, to_columns, to_rows
from sporeprint.model_serving.open_inference.tensors import Limits, TensorError, parse, read_request
from support import NUMERIC, dataset, nominal

SCHEMA = dataset({"cap-shape": nominal("x", "f"), "veil_type": nominal("u"), "height": NUMERIC, "born": {"kind": "date"}})
LIMITS = Limits(tensors=8, elements=100)
INPUTS: list[dict[str, Any]] = [
    {"name": "cap-shape", "datatype": "BYTES", "shape": [1], "data": ["x"]},
    {"name": "veil_type", "datatype": "BYTES", "shape": [1], "data": ["u"]},
    {"name": "height", "datatype": "FP64", "shape": [1], "data": [3.5]},
    {"name": "born", "datatype": "BYTES", "shape": [1], "data": ["2024-03-05"]},
]
VALUES = st.sampled_from(["x", "", None, 0, 0.0, 7, 1e308, True, [1], {"a": 1}, "cap_shape", "cap-shape", "veil-type", "FP64", "BYTES"])
LISTS = st.lists(VALUES, max_size=2) | st.sampled_from(
    [[1], [True], [1, 1], [1.0], "x", {"x": 1}, [["x"]], {}, {"binary_data_size": 1}, {"shared_memory_region": "x"}]
)

PLAIN = PlainColumns.of(SCHEMA)


def document(inputs: Any, **more: Any) -> Any:
    return parse(json.dumps({"inputs": inputs, **more}).encode(), None)


def by_tensors(found: Any) -> list[dict[str, Any]]:
    columns = to_columns(read_request(found, LIMITS), SCHEMA, 10)
    assert isinstance(columns, dict)
    return to_rows(columns)


def test_a_plain_row_is_read_at_once() -> None:
    expected = {"cap-shape": "x", "veil_type": "u", "height": 3.5, "born": "2024-03-05"}
    assert PLAIN.row(document(INPUTS)) == expected
    other = [{**INPUTS[0], "name": "cap_shape"}, {**INPUTS[1], "shape": [1, 1], "parameters": {"content_type": "str"}}, *INPUTS[2:]]
    assert PLAIN.row(document(other)) == expected
    empty = [{**INPUTS[0], "data": [""]}, INPUTS[1], {**INPUTS[2], "data": [None]}, INPUTS[3]]
    assert PLAIN.row(document(empty)) == {**expected, "cap-shape": None, "height": None}


@given(st.integers(0, 3), st.sampled_from(["name", "datatype", "shape", "data", "parameters"]), VALUES | LISTS, st.booleans())
def test_it_is_what_its_tensors_would_be_or_left_to_them(at: int, key: str, value: Any, without: bool) -> None:
    inputs: Any = copy.deepcopy(INPUTS)
    inputs[at][key] = value
    if without:
        inputs[at].pop(key)
    found = document(inputs)
    if (row := PLAIN.row(found)) is not None:
        assert by_tensors(found) == [row]


@pytest.mark.parametrize(
    "inputs", [None, {}, "x", [], INPUTS[:3], [*INPUTS, INPUTS[0]], [*INPUTS[:3], INPUTS[0]], [*INPUTS[:3], "born"]], ids=repr
)
def test_what_is_no_plain_row_is_left_to_its_tensors(inputs: Any) -> None:
    found = document(inputs)
    assert PLAIN.row(found) is None
    with pytest.raises(TensorError):
        by_tensors(found)


def test_a_parameter_and_bytes_behind_the_text_are_left_to_the_tensors() -> None:
    assert PLAIN.row(document(INPUTS, parameters={"partial": 3})) is None
    text = json.dumps({"inputs": INPUTS}).encode()
    assert PLAIN.row(parse(text + b"more", len(text))) is None

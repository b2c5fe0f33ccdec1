"""Rows as requests give them: the look-ups against the rules they stand for, and everything that is no row."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint import settings
from sporeprint.errors import DataError
from sporeprint.inference.predictor import parse_row
from sporeprint.model_serving.http.problems import HttpProblemError
from sporeprint.model_serving.runtime.row_parser import VALUE_BYTES, RowParser, check_values, example, parse_json
from sporeprint.schema import DatasetSchema
from support import dataset

SCHEMA = dataset(
    {
        "cap-shape": {"kind": "nominal", "values": {"x": "convex", "f": "flat", "b": "x", "r": "Red", "e": "red"}},
        "cap-diameter": {"kind": "numeric", "unit": "cm", "min": 0, "max": 100},
        "note": {"kind": "nominal"},
        "age": {"kind": "numeric"},
    }
)
READER = RowParser.of(SCHEMA)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["x", "convex", "Convex", " f ", "", "  ", "b", "red", "Red", "RED", "r", "zz", "12", "1e3", "nan", "inf", "-5", "101"]
    ),
    st.text(max_size=5),
    st.lists(st.none(), max_size=2),
)
NAMES = st.sampled_from(["cap-shape", "cap_shape", "cap-diameter", "cap_diameter", "note", "age", "capshape", ""])


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_the_look_ups_say_what_the_rules_say(row: dict[str, Any]) -> None:
    try:
        expected = parse_row(row, SCHEMA)
    except (DataError, OverflowError):
        with pytest.raises(HttpProblemError):
            READER.row(row)
    else:
        assert READER.row(row) == expected


def test_the_example_can_be_read(raw_config: dict[str, Any]) -> None:
    schema = settings.parse(raw_config).dataset
    row = RowParser.of(schema).read(json.dumps(example(schema)).encode())
    assert set(row) == set(schema.columns)
    assert row["cap-shape"] in (schema.columns["cap-shape"].values or {})


def test_numbers_and_truth_values_are_codes_as_they_are_written() -> None:
    assert READER.read(b'{"cap-shape": true}')["cap-shape"] == "true"
    assert READER.read(b'{"cap-shape": 3}')["cap-shape"] == READER.read(b'{"cap-shape": "3"}')["cap-shape"] == "3"


def problem(body: bytes, reader: RowParser = READER) -> tuple[int, str]:
    with pytest.raises(HttpProblemError) as error:
        reader.read(body)
    return error.value.problem.status, error.value.problem.detail


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "not valid JSON"),
        (b"{", 400, "not valid JSON"),
        (b'{"age": NaN}', 400, "not valid JSON"),
        (b'{"age": Infinity}', 400, "not valid JSON"),
        (b'{"note": "\xff"}', 400, "not valid JSON"),
        (b'{"note": "\\ud800"}', 400, "not valid JSON"),
        (b"[]", 400, "expected a JSON object of features, as in {"),
        (b"3", 400, "got a number"),
        (b"null", 400, "got null"),
        (b'{"age": 1, "age": 2}', 400, "field 'age' is given twice"),
        (b'{"age": 1, "note": "a:b", "age": 2}', 400, "field 'age' is given twice"),
        (b'{"cap-shape": "x", "cap_shape": "x"}', 422, "field 'cap-shape' is given twice"),
        (b'{"cap-shap": "x"}', 422, "unknown field 'cap-shap' (did you mean 'cap-shape'?); known: cap-shape"),
        (b'{"cap-shape": [3]}', 422, "field 'cap-shape'"),
        (b'{"cap-diameter": "wide"}', 422, "field 'cap-diameter': expected a number of cm, got 'wide'"),
        (b'{"cap-diameter": true}', 422, "expected a number of cm, got True"),
        (b'{"cap-diameter": 101}', 422, "101 is out of range, allowed is 0.0 to 100.0 cm"),
        (b'{"age": "1e999"}', 422, "expected a number"),
        (b'{"age": ' + b"9" * 400 + b"}", 400, "number"),
        (b'{"note": {"a": 1}}', 422, "expected one value, a text or a number; got an object"),
        (b'{"note": "' + b"x" * 257 + b'"}', 422, "longer than 256"),
        (b'{"' + b"x" * 257 + b'": 1}', 422, "longer than 256"),
        (orjson.dumps({f"field {number}": 1 for number in range(5_000)}), 422, "5,000 fields are given, there are 4"),
        (b'{"note": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", 400, "not valid JSON"),
        (b'{"note": ' + b'{"a":' * 900 + b"1" + b"}" * 901, 422, "expected one value, a text or a number; got an object"),
    ],
)
def test_what_is_no_row_is_said(body: bytes, status: int, says: str) -> None:
    found = problem(body)
    assert found[0] == status
    assert says in found[1]


def test_a_colon_in_a_text_is_no_second_key() -> None:
    assert READER.read(b'{"note": "a:b::c"}') == {"note": "a:b::c"}


def test_a_required_field_is_asked_for() -> None:
    schema = DatasetSchema.model_validate({**SCHEMA.model_dump(), "columns": {"a": {"kind": "nominal", "required": True}}})
    assert problem(b"{}", RowParser.of(schema)) == (422, "field 'a' is required")
    assert problem(b'{"a": null}', RowParser.of(schema)) == (422, "field 'a' is required")


def test_values_are_counted_before_they_are_made() -> None:
    check_values(b'[{"a":1},{"a":2}]', 4 * VALUE_BYTES)
    with pytest.raises(HttpProblemError, match="up to 5 values, at most 4 may be"):
        check_values(b"[[],[],0]", 4 * VALUE_BYTES)


def test_a_key_given_twice_in_a_list_is_found() -> None:
    assert parse_json(b'[{"a": 1}, {"a": 2}]') == [{"a": 1}, {"a": 2}]
    with pytest.raises(HttpProblemError, match="'a' is given twice"):
        parse_json(b'[{"a": 1}, {"a": 2, "a": 3}]')
    with pytest.raises(HttpProblemError, match="'a' is given twice"):
        parse_json(b'{"rows": [{"a": 2, "a": 3}]}')

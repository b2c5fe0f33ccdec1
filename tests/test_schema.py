import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sporeprint.schema import RESERVED, Column, DatasetSchema, Groups, Kind, Target

SMALL: dict[str, Any] = {
    "name": "flowers",
    "target": {"column": "kind", "positive": "b", "values": {"a": "aster", "b": "begonia"}},
    "columns": {
        "petal-color": {"kind": "nominal", "values": {"r": "red", "w": "white"}},
        "height": {"kind": "numeric", "unit": "cm", "min": 0, "max": 300},
        "soil": {"kind": "nominal"},
        "width": {"kind": "numeric"},
    },
}


def small(**changed: Any) -> DatasetSchema:
    return DatasetSchema.model_validate({**SMALL, **changed})


def test_the_vocabulary_is_of_columns_whose_codes_are_declared_and_stand_for_no_missing_value() -> None:
    assert small().vocabulary == {"kind": ("a", "b"), "petal-color": ("r", "w")}
    other = {**SMALL["target"], "positive": "a"}
    assert small(target=other).vocabulary["kind"] == ("b", "a")
    assert small(missing=["w"]).vocabulary == {"kind": ("a", "b")}
    assert small(target={**SMALL["target"], "missing": ["a"]}).vocabulary == {"petal-color": ("r", "w")}


# --- column


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"kind": "numeric", "values": {"a": "b"}}, "a numeric column has no 'values'; give 'min' and 'max', or make it nominal"),
        ({"kind": "nominal", "min": 0}, "a nominal column has no 'min' or 'max'; give 'values', or make it numeric"),
        ({"kind": "nominal", "max": 0}, "a nominal column has no 'min' or 'max'; give 'values', or make it numeric"),
        ({"kind": "nominal", "values": {}}, "'values' is empty; list the allowed codes, or leave it out to accept every value"),
        ({"kind": "nominal", "values": {"": "b"}}, "'values' holds an empty code; an empty field is a missing value"),
        ({"kind": "nominal", "values": {"a ": "b"}}, "'values' holds 'a '; blanks around a value are trimmed before it is looked up"),
        ({"kind": "numeric", "min": 3, "max": 1}, "min 3.0 is above max 1.0"),
        ({"kind": "numeric", "min": float("nan")}, "min\n.*finite number"),
        ({"kind": "numeric", "max": float("inf")}, "max\n.*finite number"),
        ({"kind": "text"}, "kind\n.*'numeric', 'nominal' or 'date'"),
        ({"kind": "numeric", "colour": 1}, "colour\n.*not permitted"),
    ],
)
def test_column_that_contradicts_itself_is_refused(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Column.model_validate(given_)


def test_column_bounds_may_meet() -> None:
    column = Column.model_validate({"kind": "numeric", "min": 2, "max": 2})
    assert (column.kind, column.min, column.max, column.required) == (Kind.NUMERIC, 2.0, 2.0, False)


def test_column_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Column(kind=Kind.NUMERIC).min = 1.0  # type: ignore[misc]  # the point of the test


# --- target


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"positive": "c"}, r"positive 'c' is not one of the values \['a', 'b'\]"),
        ({"values": {"a": "aster", "b": "unknown"}}, "'unknown' is the answer for rows the model does not know"),
        ({"values": {"a": "same", "b": "same"}}, "both classes have the word 'same'"),
        ({"values": {"": "aster", "b": "begonia"}}, "'values' holds an empty code"),
        ({"values": {"a": "aster", " b": "begonia"}}, "'values' holds ' b'"),
        ({"values": {"b": "begonia"}}, "at least 2 items"),
        ({"values": {"a": "x", "b": "y", "c": "z"}}, "at most 2 items"),
    ],
)
def test_target_that_cannot_be_predicted_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Target.model_validate({**SMALL["target"], **changed})


@pytest.mark.parametrize(("positive", "negative"), [("a", "b"), ("b", "a")])
def test_negative_is_the_other_class(positive: str, negative: str) -> None:
    assert Target(column="kind", positive=positive, values={"a": "aster", "b": "begonia"}).negative == negative


# --- groups


@pytest.mark.parametrize("given_", [{}, {"block_rows": 3, "column": "plant"}])
def test_groups_are_declared_in_exactly_one_way(given_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give exactly one of 'block_rows' and 'column'"):
        Groups.model_validate(given_)


def test_groups_of_no_rows_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"block_rows\n.*greater than or equal to 1"):
        Groups(block_rows=0)


# --- the whole


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "My Flowers"}, "name\n.*should match pattern"),
        ({"columns": {}}, "columns\n.*at least 1 item"),
        ({"columns": {"kind": {"kind": "nominal"}}}, "'kind' is declared twice among features, target, group and cluster column"),
        ({"groups": {"column": "soil"}}, "'soil' is declared twice"),
        ({"groups": {"column": "kind"}}, "'kind' is declared twice"),
        ({"groups": {"column": "_part"}}, r"the column name '_part' is reserved \(reserved: _cluster, _group, _part, _row, _row_hash\)"),
        (
            {"columns": {"stem-width": {"kind": "numeric"}, "stem_width": {"kind": "numeric"}}},
            "'stem-width' and 'stem_width' differ only in '-' and '_', which requests may interchange",
        ),
        ({"extra_columns": "drop"}, "extra_columns\n.*'reject' or 'ignore'"),
    ],
)
def test_schema_that_is_ambiguous_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        small(**changed)


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_names_the_pipeline_adds_are_reserved(name: str) -> None:
    with pytest.raises(ValidationError, match=f"the column name '{name}' is reserved"):
        small(columns={name: {"kind": "numeric"}})


def test_columns_by_kind_keep_their_order() -> None:
    schema = small()
    assert schema.numeric == ("height", "width")
    assert schema.nominal == ("petal-color", "soil")


def test_table_columns_are_target_group_features() -> None:
    assert small().table_columns == ("kind", "petal-color", "height", "soil", "width")
    assert small(groups={"block_rows": 5}).table_columns == ("kind", "petal-color", "height", "soil", "width")
    assert small(groups={"column": "plant"}).table_columns == ("kind", "plant", "petal-color", "height", "soil", "width")


@pytest.mark.parametrize(("column", "code", "word"), [("petal-color", "r", "red"), ("petal-color", "z", "z"), ("soil", "wet", "wet")])
def test_word_is_the_declared_one_or_the_code(column: str, code: str, word: str) -> None:
    assert small().word(column, code) == word


@given(st.permutations(["kind", "values"]), st.permutations(["r", "w"]), st.permutations(sorted(SMALL)))
def test_fingerprint_does_not_know_the_order_of_keys(column_keys: list[str], codes: list[str], keys: list[str]) -> None:
    changed = json.loads(json.dumps({key: SMALL[key] for key in keys}))
    column = {"kind": "nominal", "values": {code: {"r": "red", "w": "white"}[code] for code in codes}}
    changed["columns"]["petal-color"] = {key: column[key] for key in column_keys}
    assert DatasetSchema.model_validate(changed).fingerprint() == small().fingerprint()


@pytest.mark.parametrize(
    "changed",
    [
        {"extra_columns": "ignore"},
        {"groups": {"block_rows": 2}},
        {"target": {**SMALL["target"], "positive": "a"}},
        {"columns": {**SMALL["columns"], "height": {"kind": "numeric", "max": 301}}},
    ],
)
def test_fingerprint_knows_every_change(changed: dict[str, Any]) -> None:
    assert small(**changed).fingerprint() != small().fingerprint()


def test_schema_survives_json() -> None:
    schema = small(groups={"column": "plant"})
    assert DatasetSchema.model_validate_json(schema.model_dump_json()) == schema

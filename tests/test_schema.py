import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sporeprint.schema import ANSWER_COLUMNS, RESERVED, Column, DatasetSchema, Groups, Kind, Target, set_apart

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


# --- names of answered rows


def named(*names: str, target: str = "kind") -> DatasetSchema:
    return small(columns={name: {"kind": "numeric"} for name in names}, target={**SMALL["target"], "column": target})


def test_columns_that_are_named_as_answers_have_names_of_their_own() -> None:
    assert small().own_names == {}
    assert small().answered == small()
    schema = named("height", "reason", "reason_", "prediction_id", target="verdict")
    assert schema.own_names == {"verdict": "verdict_", "reason": "reason__", "prediction_id": "prediction_id_"}
    assert schema.answered.table_columns == ("verdict_", "height", "reason__", "reason_", "prediction_id_")
    assert schema.answered.numeric == ("height", "reason__", "reason_", "prediction_id_")
    assert schema.answered.own_names == {}


def test_what_names_a_column_names_it_by_its_own_name() -> None:
    columns = {"problem": {"kind": "date"}, "unseen": {"kind": "date", "since": "problem"}, "outside": {"kind": "numeric"}}
    apart = {"says": "never", "when": {"outside": {"above": 1}, "problem": {"above": 0}}}
    schema = small(columns=columns, groups={"column": "reason"}, cluster="unknown", contradictions=[apart]).answered
    assert schema.columns["unseen_"].since == "problem_"
    assert (schema.groups and schema.groups.column, schema.cluster) == ("reason_", "unknown_")
    assert set(schema.contradictions[0].when) == {"outside_", "problem_"}


def test_a_table_is_answered_where_its_own_names_are_there() -> None:
    schema = named("height", "reason", "verdict")
    plain, answered = ("kind", "height", "reason", "verdict"), ("kind", "height", "reason_", "verdict_", "verdict", "reason")
    assert (schema.as_answered(plain), schema.as_table(plain)) == ({"reason": "reason_", "verdict": "verdict_"}, {})
    assert schema.as_answered(answered) == {}
    assert schema.as_table(answered) == {"reason_": "reason", "verdict_": "verdict", "reason": "reason_", "verdict": "verdict_"}
    assert schema.as_table(("reason_",)) == {"reason_": "reason"}


@given(st.lists(st.sampled_from(["reason", "reason_", "reason__", "verdict", "verdict_", "height", "more"]), unique=True), st.data())
def test_any_table_can_be_answered_again_and_again(names: list[str], data: st.DataObject) -> None:
    features = data.draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    schema = named("width", *features)
    there, added = ["width", *names], ["verdict", "reason"]
    for _ in range(3):
        renamed = schema.beside(there, added)
        columns = [*(renamed.get(name, name) for name in there), *added]
        assert len(set(columns)) == len(columns)
        back = schema.as_table(columns)
        read = [back.get(name, name) for name in columns]
        assert [read[there.index(name)] for name in features] == features
        there = read


@given(st.sets(st.sampled_from(sorted(ANSWER_COLUMNS)), min_size=1))
def test_a_contract_of_other_fields_takes_over_nothing_that_was_computed(names: set[str]) -> None:
    schema = named(*names)
    assert set(schema.own_names) == names
    assert schema.changed(columns={}, further=("reason",)).own_names == {"reason": "reason_"}


def test_names_that_are_set_apart_differ_from_each_other() -> None:
    assert set_apart(["a", "a_", "b"], {"a", "a_"}) == {"a": "a__", "a_": "a___"}
    assert set_apart(["a"], {"a"}, {"a_"}) == {"a": "a__"}

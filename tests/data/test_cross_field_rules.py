"""Rows that contradict themselves: what may be declared, and that one row and a table are looked at alike."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sporeprint import settings
from sporeprint.data.coded_table import Codes
from sporeprint.data.cross_field_rules import contradictory, of_row
from sporeprint.data.dataset import to_rows
from sporeprint.schema import Condition, Contradiction, DatasetSchema, Kind
from support import NUMERIC, OPEN, Labelled, codes, dataset, nominal, tables

COLUMNS = {"has-ring": nominal("t", "f"), "ring-type": nominal("c", "e", "f"), "height": NUMERIC, "width": NUMERIC, "smell": OPEN}


def with_contradictions(*found: dict[str, Any], columns: dict[str, dict[str, Any]] | None = None) -> DatasetSchema:
    schema = dataset(COLUMNS if columns is None else columns).model_dump()
    return DatasetSchema.model_validate({**schema, "contradictions": found})


RING = {"says": "no ring, but a type of ring", "when": {"has-ring": {"one_of": ["f"]}, "ring-type": {"none_of": ["f"]}}}
STEM = {"says": "high, but thin", "when": {"height": {"above": 10}, "width": {"below": 1, "above": 0}}}
SCHEMA = with_contradictions(RING, STEM)


def flags(columns: dict[str, list[Any]], schema: DatasetSchema = SCHEMA) -> dict[str, list[bool]]:
    count = len(next(iter(columns.values())))
    whole = {name: columns.get(name, [None] * count) for name in schema.columns}
    return {says: found.tolist() for says, found in contradictory(codes(whole, schema), schema).items()}


# --- tables and rows -------------------------------------------------------------------------------------------------


def test_a_row_holds_a_contradiction_where_all_of_it_holds() -> None:
    columns: dict[str, list[Any]] = {"has-ring": ["f", "f", "t", "t", "f"], "ring-type": ["c", "f", "c", "f", "e"]}
    assert flags(columns) == {"no ring, but a type of ring": [True, False, False, False, True]}
    assert of_row({"has-ring": "f", "ring-type": "c"}, SCHEMA) == ("no ring, but a type of ring",)
    assert of_row({"has-ring": "t", "ring-type": "c"}, SCHEMA) == ()


def test_numbers_are_compared_strictly_and_both_ends_count() -> None:
    columns: dict[str, list[Any]] = {"height": [10.0, 10.1, 11.0, 11.0, 11.0], "width": [0.5, 0.5, 1.0, 0.0, 0.001]}
    assert flags(columns) == {"high, but thin": [False, True, False, False, True]}
    assert of_row({"height": 11, "width": 0.5}, SCHEMA) == ("high, but thin",)


def test_a_missing_value_fulfils_no_condition() -> None:
    columns: dict[str, list[Any]] = {"has-ring": ["f", None, "f"], "ring-type": [None, "c", "c"], "height": [11.0, None, 11.0]}
    assert flags(columns) == {"no ring, but a type of ring": [False, False, True]}
    assert of_row({"has-ring": "f"}, SCHEMA) == ()
    assert of_row({"has-ring": "f", "ring-type": None}, SCHEMA) == ()
    assert of_row({"height": 11.0, "width": float("nan")}, SCHEMA) == ()
    assert of_row({}, SCHEMA) == ()


def test_a_value_that_nobody_declared_is_none_of_the_codes() -> None:
    assert flags({"has-ring": ["f", "?"], "ring-type": ["?", "c"]}) == {"no ring, but a type of ring": [True, False]}
    assert of_row({"has-ring": "f", "ring-type": "?"}, SCHEMA) == ("no ring, but a type of ring",)
    assert of_row({"has-ring": "?", "ring-type": "c"}, SCHEMA) == ()


def test_one_row_may_hold_several_in_the_order_of_their_declaration() -> None:
    row: dict[str, Any] = {"has-ring": "f", "ring-type": "c", "height": 11.0, "width": 0.5}
    assert of_row(row, SCHEMA) == ("no ring, but a type of ring", "high, but thin")
    assert list(flags({name: [value] for name, value in row.items()})) == ["no ring, but a type of ring", "high, but thin"]


def test_what_does_not_occur_is_not_listed() -> None:
    assert flags({"has-ring": ["t"], "ring-type": ["c"]}) == {}
    empty: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    assert flags(empty) == {}
    assert contradictory(codes({"n": [1.0]}, dataset({"n": NUMERIC})), dataset({"n": NUMERIC})) == {}


@st.composite
def contradicting(draw: st.DrawFn) -> Labelled:
    """A random table whose contract declares random contradictions."""
    table = draw(tables(unknown=True))
    schema = table.schema
    if len(schema.columns) < 2:
        return table
    found = []
    for number in range(draw(st.integers(1, 3))):
        names = draw(st.lists(st.sampled_from(list(schema.columns)), min_size=2, unique=True))
        when = {}
        for name in names:
            if name in schema.numeric:
                known = [value for value in table.codes.numeric[name].tolist() if value == value] or [0.0]
                condition = {
                    side: draw(st.sampled_from(known)) for side in draw(st.sampled_from([["above"], ["below"], ["above", "below"]]))
                }
            else:
                some = st.lists(st.sampled_from(table.codes.vocabulary[name]), min_size=1, unique=True)
                sides = draw(st.sampled_from([["one_of"], ["none_of"], ["one_of", "none_of"]]))
                condition = {side: draw(some) for side in sides}
            when[name] = condition
        found.append({"says": f"contradiction {number}", "when": when})
    return Labelled(DatasetSchema.model_validate({**schema.model_dump(), "contradictions": found}), table.codes, table.y)


@given(contradicting())
def test_a_row_alone_is_looked_at_as_in_the_table(table: Labelled) -> None:
    whole = contradictory(table.codes, table.schema)
    assert all(found.any() and found.dtype == np.bool_ and found.shape == (table.codes.rows,) for found in whole.values())
    # An unknown value has no text in the codes; any that is in no vocabulary will do.
    unknown = {name: (*values, "\0unknown") for name, values in table.codes.vocabulary.items()}
    placed = {name: np.where(values == -1, len(unknown[name]), values).astype(np.int16) for name, values in table.codes.nominal.items()}
    for number, row in enumerate(to_rows(Codes(unknown, placed, table.codes.numeric, table.codes.rows))):
        assert of_row(row, table.schema) == tuple(says for says, found in whole.items() if found[number])


def test_the_shipped_contradictions_occur_in_no_real_row(real_data: Any, config_file: Any) -> None:
    schema = settings.load_settings(config_file, environ={}).dataset
    assert len(schema.contradictions) >= 5
    assert contradictory(Codes.of(pl.read_csv(real_data, separator=";", infer_schema=False), schema), schema) == {}


# --- what may be declared --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (
            {"says": "x", "when": {"has-rng": {"one_of": ["f"]}, "ring-type": {"none_of": ["f"]}}},
            "contradiction 'x': column 'has-rng' is not one of the columns (did you mean 'has-ring'?)",
        ),
        (
            {"says": "x", "when": {"entirely else": {"one_of": ["f"]}, "ring-type": {"none_of": ["f"]}}},
            "contradiction 'x': column 'entirely else' is not one of the columns",
        ),
        (
            {"says": "x", "when": {"height": {"one_of": ["f"]}, "ring-type": {"none_of": ["f"]}}},
            "contradiction 'x': column 'height' is numeric; above and below go with it",
        ),
        (
            {"says": "x", "when": {"has-ring": {"above": 0}, "ring-type": {"none_of": ["f"]}}},
            "contradiction 'x': column 'has-ring' is nominal; one_of and none_of go with it",
        ),
        (
            {"says": "x", "when": {"has-ring": {"one_of": ["f"], "above": 1}, "ring-type": {"none_of": ["f"]}}},
            "contradiction 'x': column 'has-ring' is nominal; one_of and none_of go with it",
        ),
        (
            {"says": "x", "when": {"has-ring": {"one_of": ["f"]}, "ring-type": {"none_of": ["f", "q"]}}},
            "contradiction 'x': column 'ring-type' has no code 'q'; it has: c, e, f",
        ),
    ],
)
def test_a_contradiction_that_does_not_fit_the_table_is_refused(found: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        with_contradictions(RING, found)
    assert f"Value error, {message} [" in str(caught.value)


@pytest.mark.parametrize(
    "condition",
    [{}, {"one_of": []}, {"none_of": []}, {"above": float("nan")}, {"below": float("inf")}, {"above": "high"}, {"near": 3}],
    ids=str,
)
def test_a_condition_that_says_nothing_is_refused(condition: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Condition.model_validate(condition)


@pytest.mark.parametrize("condition", [{"one_of": None}, {"above": None, "below": None}], ids=str)
def test_a_condition_that_says_nothing_in_so_many_words_is_refused_too(condition: dict[str, Any]) -> None:
    # It would hold for every row with a value there.
    with pytest.raises(ValidationError):
        with_contradictions({"says": "x", "when": {"height": condition, "has-ring": {"one_of": ["f"]}}})
    with pytest.raises(ValidationError):
        with_contradictions({"says": "x", "when": {"has-ring": condition, "height": {"above": 1}}})


@pytest.mark.parametrize(
    "found",
    [
        {"says": "", "when": RING["when"]},
        {"when": RING["when"]},
        {"says": "x", "when": {}},
        {"says": "x", "when": {"has-ring": {"one_of": ["f"]}}},
        {"says": "x", "when": RING["when"], "because": "y"},
    ],
    ids=str,
)
def test_a_contradiction_needs_words_and_two_columns(found: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Contradiction.model_validate(found)


def test_a_column_whose_values_are_not_declared_takes_any_code() -> None:
    schema = with_contradictions({"says": "x", "when": {"smell": {"one_of": ["almond"]}, "height": {"above": 1}}})
    assert flags({"smell": ["almond", "anise", "almond"], "height": [2.0, 2.0, 1.0]}, schema) == {"x": [True, False, False]}


def test_conditions_know_their_kind_and_their_codes() -> None:
    assert Condition(one_of=("a",), none_of=None, above=None, below=None).kind is Kind.NOMINAL
    assert Condition(one_of=None, none_of=("a",), above=None, below=None).kind is Kind.NOMINAL
    assert Condition(one_of=None, none_of=None, above=0.0, below=None).kind is Kind.NUMERIC
    assert Condition(one_of=None, none_of=None, above=None, below=0.0).kind is Kind.NUMERIC
    assert Condition(one_of=("a",), none_of=None, above=0.0, below=None).kind is None
    assert Condition(one_of=("a", "b"), none_of=("c",), above=None, below=None).codes == ("a", "b", "c")
    assert Condition(one_of=None, none_of=None, above=1.0, below=None).codes == ()


def test_contradictions_are_part_of_the_contract() -> None:
    assert SCHEMA.fingerprint() != with_contradictions().fingerprint()
    assert DatasetSchema.model_validate(SCHEMA.model_dump()) == SCHEMA

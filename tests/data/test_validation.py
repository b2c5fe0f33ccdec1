"""Which rows are refused, by which rules, and what is said of them."""

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sporeprint.data.coded_table import LARGEST, coded_frame
from sporeprint.data.validation import broken_rules, check, feature_rules, sentence
from sporeprint.schema import DatasetSchema
from support import NUMERIC, OPEN, dataset, nominal

SCHEMA = dataset(
    {
        "size": {"kind": "numeric", "min": 0, "max": 10, "required": True},
        "weight": NUMERIC,
        "height": {"kind": "numeric", "min": -1.5},
        "width": {"kind": "numeric", "max": 5},
        "shape": nominal("x", "b", required=True),
        "color": nominal("r", "g"),
        "place": {**OPEN, "required": True},
        "note": OPEN,
    },
    groups={"name": "site", "column": "site"},
)
GOOD = {
    "class": "p",
    "site": "s1",
    "size": "1",
    "weight": "2",
    "height": "3",
    "width": "4",
    "shape": "x",
    "color": "r",
    "place": "wood",
    "note": "n",
}


def table(*changes: dict[str, str | None], schema: DatasetSchema = SCHEMA) -> pl.DataFrame:
    """Good rows, each with its changes, as they are read."""
    rows = [{"_row": 10 + number, **GOOD, **change} for number, change in enumerate(changes)]
    return pl.DataFrame(rows, schema={"_row": pl.Int64, **dict.fromkeys(schema.table_columns, pl.String)})


# --- one rule at a time ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "rule", "reason"),
    [
        ("class", None, "required:class", "class: missing, and it is required; to leave such rows out: validation.unlabelled: drop"),
        ("class", " ", "required:class", "class: missing, and it is required; to leave such rows out: validation.unlabelled: drop"),
        (
            "class",
            "edible",
            "allowed:class",
            "class: 'edible' is not one of e, p; in dataset.target.values, codes with one word are one class",
        ),
        ("site", None, "required:site", "site: missing, and it is required"),
        ("size", None, "required:size", "size: missing, and it is required"),
        ("size", "17.wrz", "number:size", "size: '17.wrz' is not a finite number"),
        ("size", "1,5", "number:size", "size: '1,5' is not a finite number; if ',' is its decimal sign: dataset.columns.size.decimal: ','"),
        ("weight", "-nan", "number:weight", "weight: '-nan' is not a finite number"),
        ("weight", "inf", "number:weight", "weight: 'inf' is not a finite number"),
        ("weight", "-1e400", "number:weight", "weight: '-1e400' is not a finite number"),
        ("weight", "1e39", "number:weight", "weight: '1e39' is beyond 3.4e+38, the largest number a model takes"),
        ("weight", " -3.5e38", "number:weight", "weight: ' -3.5e38' is beyond 3.4e+38, the largest number a model takes"),
        ("size", "-0.001", "range:size", "size: '-0.001' is out of range, allowed is at least 0 and at most 10"),
        ("size", "10.001", "range:size", "size: '10.001' is out of range, allowed is at least 0 and at most 10"),
        ("height", "-1.6", "range:height", "height: '-1.6' is out of range, allowed is at least -1.5"),
        ("width", "5.1", "range:width", "width: '5.1' is out of range, allowed is at most 5"),
        ("shape", "", "required:shape", "shape: missing, and it is required"),
        ("shape", "X", "allowed:shape", "shape: 'X' is not one of x, b"),
        ("color", "blue", "allowed:color", "color: 'blue' is not one of r, g"),
        ("place", None, "required:place", "place: missing, and it is required"),
        ("color", "r" * 61, "allowed:color", f"color: '{'r' * 57}...' is not one of r, g"),
    ],
)
def test_a_rule_says_which_row_broke_it_and_why(column: str, value: str | None, rule: str, reason: str) -> None:
    found = check(table({}, {column: value}, {}), SCHEMA)
    assert found.good.tolist() == [True, False, True]
    assert found.broken == {rule: 1}
    assert found.rejected["rules"].to_list() == [[rule]]
    assert found.rejected["reason"].to_list() == [reason]
    assert found.rejected["_row"].to_list() == [11]
    assert found.rejected[column].to_list() == [value]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("size", "0"), ("size", "10"), ("size", " 3 "), ("height", "-1.5"), ("height", "1e38"), ("width", "-1e38"), ("width", "5")),
        *(("weight", None), ("weight", ""), ("weight", repr(LARGEST)), ("weight", "-3.4e38"), ("height", None), ("color", None)),
        *(("color", " g"), ("place", "anything at all"), ("note", None), ("note", " "), ("class", " e ")),
    ],
)
def test_what_is_allowed_is_kept(column: str, value: str | None) -> None:
    found = check(table({column: value}), SCHEMA)
    assert found.good.tolist() == [True]
    assert found.broken == {}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e39])
def test_native_numbers_are_checked_like_texts(value: float) -> None:
    schema = dataset({"n": NUMERIC})
    found = check(pl.DataFrame({"_row": [0, 1, 2], "class": ["e", "p", "e"], "n": [1.0, value, None]}), schema)
    assert found.broken == {"number:n": 1}
    assert found.good.tolist() == [True, False, True]
    wanted = "beyond 3.4e+38, the largest number a model takes" if value == 1e39 else "not a finite number"
    assert found.rejected["reason"].to_list() == [f"n: {value!r} is {wanted}"]


def test_every_rule_a_row_broke_is_told() -> None:
    bad: dict[str, str | None] = {"class": "?", "site": None, "size": "-1", "weight": "x", "shape": None, "color": "b", "place": None}
    found = check(table(bad, {"size": "11"}, {"color": "b"}), SCHEMA)
    names = ["allowed:class", "range:size", "number:weight", "required:shape", "allowed:color", "required:place", "required:site"]
    assert found.rejected["rules"].to_list() == [names, ["range:size"], ["allowed:color"]]
    assert found.rejected["reason"][0] == (
        "class: '?' is not one of e, p; in dataset.target.values, codes with one word are one class; "
        "size: '-1' is out of range, allowed is at least 0 and at most 10; "
        "weight: 'x' is not a finite number; shape: missing, and it is required; color: 'b' is not one of r, g; "
        "place: missing, and it is required; site: missing, and it is required"
    )
    assert found.broken == {**dict.fromkeys(names, 1), "range:size": 2, "allowed:color": 2}


def test_a_colon_in_a_column_s_name_does_no_harm() -> None:
    schema = dataset({"a:b": nominal("x"), "0": NUMERIC})
    found = check(pl.DataFrame({"_row": [0], "class": ["e"], "a:b": ["y"], "0": ["z"]}), schema)
    assert found.rejected["reason"].to_list() == ["a:b: 'y' is not one of x; 0: 'z' is not a finite number"]


# --- what is left ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("reason",), ("text", "text_"), ("rules", "rules_", "rules__")])
def test_columns_that_are_named_as_those_of_rejected_rows_are_kept(names: tuple[str, ...]) -> None:
    frame = pl.DataFrame({"class": ["e", "p"], **{name: ["a", "zz"] for name in names}})
    (row,) = check(frame, dataset({name: nominal("a", "b") for name in names})).rejected.to_dicts()
    assert row["reason"] == "; ".join(f"{name}: 'zz' is not one of a, b" for name in names)
    assert list(row.values()).count("zz") == len(names)


def test_good_rows_are_coded_and_labelled() -> None:
    found = check(table({"class": "e", "color": None}, {"size": "x"}, {"weight": "7.5", "place": " field"}), SCHEMA)
    assert found.codes.rows == 2
    np.testing.assert_array_equal(found.y, np.array([0, 1], dtype=np.int8), strict=True)
    assert found.codes.nominal["color"].tolist() == [0, 1]
    assert found.codes.numeric["weight"].tolist() == [2.0, 7.5]
    assert found.codes.vocabulary["place"] == ("field", "wood")
    assert found.codes.nominal["place"].tolist() == [2, 1]
    assert list(found.codes.vocabulary) == ["shape", "color", "place", "note"]


def test_where_nothing_is_broken_the_rejected_rows_have_their_columns_all_the_same() -> None:
    rejected = check(table({}), SCHEMA).rejected
    assert rejected.height == 0
    assert rejected.schema == check(table({"class": None}), SCHEMA).rejected.schema
    assert rejected.schema["rules"] == pl.List(pl.String)


def test_an_empty_batch() -> None:
    found = check(table(), SCHEMA)
    assert (found.codes.rows, len(found.y), len(found.good), found.rejected.height) == (0, 0, 0, 0)
    assert found.broken == {}


def test_only_bad_rows() -> None:
    found = check(table({"class": None}, {"size": None}), SCHEMA)
    assert found.codes.rows == len(found.y) == 0
    assert found.good.tolist() == [False, False]
    assert found.rejected["_row"].to_list() == [10, 11]


def test_a_table_without_any_rule_of_its_own() -> None:
    schema = dataset({"note": OPEN})
    assert check(pl.DataFrame({"_row": [0], "class": ["e"], "note": ["?"]}), schema).good.tolist() == [True]


# --- where a model answers -------------------------------------------------------------------------------------------


def test_where_a_model_answers_a_value_outside_the_dictionary_is_no_reason_to_refuse() -> None:
    closed, opened = feature_rules(SCHEMA), feature_rules(SCHEMA, closed=False)
    assert set(closed) - set(opened) == {"allowed:shape", "allowed:color"}
    assert set(opened) == {
        *("number:size", "range:size", "required:size", "number:weight", "number:height", "range:height"),
        *("number:width", "range:width", "required:shape", "required:place"),
    }


def test_no_rule_no_flags() -> None:
    compact = coded_frame(pl.DataFrame({"note": ["a"]}), {"note": ("a",)}, [])
    assert broken_rules(compact, feature_rules(dataset({"note": OPEN}))) == {}


def test_only_rules_that_were_broken_have_flags() -> None:
    compact = coded_frame(table({}, {"size": "99"}), dict.fromkeys(SCHEMA.nominal, ()), SCHEMA.numeric)
    flags = broken_rules(compact, feature_rules(SCHEMA, closed=False))
    assert {name: where.tolist() for name, where in flags.items()} == {"range:size": [False, True]}


# --- properties ------------------------------------------------------------------------------------------------------

CELLS = {name: st.sampled_from(["1", "11", "-2", "x", "r", "", None, "inf", "e", "p", "wood"]) for name in SCHEMA.table_columns}


@settings(max_examples=20)
@given(st.lists(st.fixed_dictionaries(CELLS), max_size=5))
def test_a_row_is_judged_alone(rows: list[dict[str, str | None]]) -> None:
    whole = check(table(*rows), SCHEMA)
    single = [check(table(row), SCHEMA) for row in rows]
    assert whole.good.tolist() == [bool(found.good[0]) for found in single]
    assert whole.rejected["rules"].to_list() == [found.rejected["rules"][0].to_list() for found in single if found.rejected.height]
    assert whole.rejected["reason"].to_list() == [found.rejected["reason"][0] for found in single if found.rejected.height]
    totals: dict[str, int] = {}
    for found in single:
        for rule in found.broken:
            totals[rule] = totals.get(rule, 0) + 1
    assert whole.broken == totals


@settings(max_examples=40)
@given(st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=5))
def test_a_column_that_was_read_as_codes_is_judged_like_its_texts(rows: list[dict[str, str | None]]) -> None:
    texts = table(*rows)
    codes = [pl.col(name).cast(pl.Enum(values), strict=False) for name, values in SCHEMA.vocabulary.items()]
    alike = [column for column in texts.select(codes) if column.null_count() == texts[column.name].null_count()]
    found, wanted = check(texts.with_columns(alike), SCHEMA), check(texts, SCHEMA)
    assert found.good.tolist() == wanted.good.tolist()
    assert found.broken == wanted.broken
    assert found.rejected.rows() == wanted.rejected.rows()
    assert {name: codes.tolist() for name, codes in found.codes.nominal.items()} == {
        name: codes.tolist() for name, codes in wanted.codes.nominal.items()
    }


@settings(max_examples=60)
@given(st.dictionaries(st.sampled_from(sorted(SCHEMA.table_columns)), st.sampled_from(["1", "11", "x", "r", None, "e", "p"])))
def test_rows_are_good_where_a_plain_reading_says_so(change: dict[str, str | None]) -> None:
    row: dict[str, Any] = {**GOOD, **change}

    def number(name: str, low: float, high: float) -> bool:
        return row[name] is None or (row[name] in {"1", "2", "3", "4", "11"} and low <= float(row[name]) <= high)

    wanted = (
        (row["class"] in {"e", "p"} and row["site"] is not None and row["size"] is not None and row["place"] is not None)
        and (number("size", 0, 10) and number("weight", -1e9, 1e9) and number("height", -1.5, 1e9) and number("width", -1e9, 5))
        and (row["shape"] in {"x", "b"} and row["color"] in {"r", "g", None})
    )
    assert check(table(change), SCHEMA).good.tolist() == [wanted]


def test_a_sentence_without_bounds_below_or_above() -> None:
    assert sentence("range:height", -7.25, SCHEMA) == "height: -7.25 is out of range, allowed is at least -1.5"
    assert sentence("range:width", 6, SCHEMA) == "width: 6 is out of range, allowed is at most 5"


@given(st.text("0123456789.,' €%kg+-{}", min_size=1, max_size=12))
@example("1 2")
@example("12 kg")
def test_every_text_that_is_no_number_has_a_sentence(text: str) -> None:
    assert sentence("number:weight", text, SCHEMA).startswith(f"weight: {text!r} is ")


def test_a_point_where_commas_are_written_is_said() -> None:
    schema = dataset({"fee": {**NUMERIC, "decimal": ","}})
    expected = "fee: '49.18' is not written as the column's numbers are, with ',' as decimal sign"
    assert sentence("number:fee", "49.18", schema) == expected
    assert sentence("number:fee", "1e39", schema).endswith("is beyond 3.4e+38, the largest number a model takes")

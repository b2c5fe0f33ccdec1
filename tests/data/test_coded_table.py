"""Texts and native values as codes and numbers: what counts as a number, what is missing, what is unknown."""

import datetime as dt
import math
import re
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from sporeprint.data.coded_table import MISSING, MOST_VALUES, UNKNOWN, Codes, coded, coded_frame, recognised, vocabulary_of
from sporeprint.errors import DataError
from support import NUMERIC, OPEN, dataset, nominal

NOT_NUMBERS = [
    *("inf", "-inf", "+Infinity", "-nan", "1e400", "-1e400", "9" * 400, "1,5", "1.5.0", "1_000", "0x1", "1e5_0"),
    *("17.wrz", "e5", "1e", "1e+", ".", "+", "-", "--1", "1 2", "1\n2", "TRUE", "x", "٣", "\uff13", "1٣", "²"),
]


def numbers(values: list[Any], *, beside: str | None = None) -> list[float | None]:
    """The values as numbers, perhaps beside another column."""
    frame = pl.DataFrame({"x": values} | ({} if beside is None else {"other": [beside] * len(values)}), strict=False)
    return coded_frame(frame, {}, list(frame.columns))["x"].to_list()


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("3", 3.0), ("+3", 3.0), ("-3", -3.0), ("00012", 12.0), ("1.", 1.0), (".5", 0.5), ("-.5e-3", -0.0005), ("1E+5", 1e5)),
        *(
            (" 3 ", 3.0),
            ("3\n", 3.0),
            ("\t3", 3.0),
            ("3\u00a0", 3.0),
            ("1e-400", 0.0),
            ("-0", 0.0),
            ("1.7976931348623157e308", 1.7976931348623157e308),
        ),
    ],
)
@pytest.mark.parametrize("others", [["1"], ["1", None], ["1", "zz"], []])
def test_a_number_is_read(text: str, number: float, others: list[str]) -> None:
    assert numbers([text, *others])[0] == number


@pytest.mark.parametrize("text", NOT_NUMBERS)
@pytest.mark.parametrize("beside", [None, "1", "zz"])
def test_what_is_no_number_is_neither_a_finite_number_nor_missing(text: str, beside: str | None) -> None:
    found = numbers(["1.5", text, None], beside=beside)
    assert found[0] == 1.5
    assert found[1] is not None
    assert not math.isfinite(found[1])
    assert found[2] is None


@pytest.mark.parametrize("text", ["", " ", "\t \n", "\u00a0", None, "NA", " N/A ", "nan", "NaN", "null", "None", "<NA>", "#N/A"])
@pytest.mark.parametrize("beside", [None, "1", "zz"])
def test_white_space_and_the_words_of_programs_are_missing(text: str | None, beside: str | None) -> None:
    assert numbers(["2", text], beside=beside) == [2.0, None]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
@example([5e-324, -1.7976931348623157e308, 0.1, 123456789.123456789])
def test_every_finite_number_is_read_as_itself(values: list[float]) -> None:
    assert numbers([repr(value) for value in values]) == values


@given(st.lists(st.text("0123456789+-.eE_ \t,xinfa", max_size=8), min_size=1, max_size=20))
def test_a_text_is_a_number_where_the_definition_says_so(values: list[str]) -> None:
    definition = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
    for text, found in zip(values, numbers(values), strict=True):
        stripped = text.strip()
        if not stripped or stripped in {"na", "nan"}:
            assert found is None
        elif definition.fullmatch(stripped):
            assert found == float(stripped)
        else:
            assert found is not None
            assert not math.isfinite(found)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pl.Series([1, None, -(2**40)]), [1.0, None, -(2.0**40)]),
        (pl.Series([2**63], dtype=pl.UInt64), [2.0**63]),
        (pl.Series([0.1], dtype=pl.Float32), [float(np.float32(0.1))]),
        (pl.Series([True, False, None]), [math.nan, math.nan, None]),  # as in JSON
        (pl.Series(["1.50"]).cast(pl.Decimal(10, 2)), [1.5]),
        (pl.Series([" 7", "x"], dtype=pl.Categorical), [7.0, math.nan]),
        (pl.Series([dt.date(2020, 1, 17)]), [math.nan]),
        (pl.Series([dt.datetime(2020, 1, 17)]), [math.nan]),  # noqa: DTZ001 -- a table's times have no zone
        (pl.Series([dt.time(1)]), [math.nan]),
        (pl.Series([None, None]), [None, None]),
    ],
)
@pytest.mark.parametrize("other", ["1", "zz"])
def test_native_values_are_numbers_where_they_are_some(values: pl.Series, wanted: list[float | None], other: str) -> None:
    # A day is no number, though it is stored as one; and what a column holds does not hang on the column beside it.
    frame = pl.DataFrame({"x": values, "other": [other] * len(values)})
    found = coded_frame(frame, {}, ["x", "other"])["x"]
    assert found.dtype == pl.Float64
    np.testing.assert_array_equal(found.to_numpy(), np.array([math.nan if value is None else value for value in wanted]))
    assert found.is_null().to_list() == [value is None for value in wanted]


# --- nominal values --------------------------------------------------------------------------------------------------


def test_a_value_is_missing_unknown_or_has_its_place_as_code() -> None:
    frame = pl.DataFrame({"x": ["b", None, "a", "", "  ", "c", "A", " b "]})
    found = coded_frame(frame, {"x": ("b", "a")}, [])
    assert found["x"].to_list() == [1, MISSING, 2, MISSING, MISSING, UNKNOWN, UNKNOWN, 1]
    assert found.schema == {"x": pl.Int16}


def test_without_a_vocabulary_every_value_is_unknown() -> None:
    assert coded_frame(pl.DataFrame({"x": ["a", None, " "]}), {"x": ()}, [])["x"].to_list() == [UNKNOWN, MISSING, MISSING]


@pytest.mark.parametrize(
    ("values", "vocabulary", "wanted"),
    [
        (pl.Series([1, 2, None]), ("2", "1"), [2, 1, 0]),
        (pl.Series([True, False, None]), ("true", "false"), [1, 2, 0]),
        (pl.Series(["a", "b", None], dtype=pl.Categorical), ("b",), [-1, 1, 0]),
        (pl.Series(["a", " b", None], dtype=pl.Enum(["a", " b"])), ("b", "a"), [2, 1, 0]),
        (pl.Series([dt.date(2020, 1, 17)]), ("2020-01-17",), [1]),
        (pl.Series([None, None]), ("a",), [0, 0]),
    ],
)
def test_native_values_are_looked_up_as_text(values: pl.Series, vocabulary: tuple[str, ...], wanted: list[int]) -> None:
    assert coded_frame(pl.DataFrame({"x": values}), {"x": vocabulary}, [])["x"].to_list() == wanted


def test_only_the_columns_asked_for_come_back() -> None:
    frame = pl.DataFrame({"row": [1], "n": ["2"], "b": ["x"], "a": ["y"]})
    found = coded_frame(frame, {"a": ("y",), "b": ("y",)}, ["n"])
    assert found.to_dict(as_series=False) == {"a": [1], "b": [-1], "n": [2.0]}


# --- one definition, several ways ------------------------------------------------------------------------------------

CELL = st.one_of(st.none(), st.sampled_from(["", " ", "a", "b", " a", "b\t", "c", "1", " 1.5", "2 ", "1e400", "nan", "1,5", "-3"]))


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(0, 8))
    cells = st.lists(CELL, min_size=rows, max_size=rows)
    return pl.DataFrame({name: draw(cells) for name in ("a", "b", "n", "m")}, schema=dict.fromkeys(("a", "b", "n", "m"), pl.String))


def finite(frame: pl.DataFrame) -> pl.DataFrame:
    """What is no number in one form: the engines' own reading knows `inf`, ours does not, and both are refused."""
    floats = [name for name, kind in frame.schema.items() if kind == pl.Float64]
    return frame.with_columns(pl.when(pl.col(name).is_infinite()).then(math.nan).otherwise(name).alias(name) for name in floats)


VOCABULARY = {"a": ("b", "a"), "b": ("1",)}


@given(frames())
def test_trimming_where_needed_is_trimming_everywhere(frame: pl.DataFrame) -> None:
    everywhere = coded(nw.from_native(frame), VOCABULARY, ["n", "m"], trim=frame.columns).to_native()
    assert_frame_equal(finite(coded_frame(frame, VOCABULARY, ["n", "m"])), finite(everywhere))


@settings(max_examples=40)
@given(frames())
def test_what_was_recognised_has_the_same_codes_and_says_the_same(frame: pl.DataFrame) -> None:
    found = recognised(frame, VOCABULARY)
    assert found.select(pl.col("a", "b").cast(pl.String), "n", "m").equals(frame)
    for name, values in VOCABULARY.items():
        assert (found.schema[name] == pl.Enum(values)) == (set(frame[name].drop_nulls()) <= set(values))
    assert_frame_equal(coded_frame(found, VOCABULARY, ["n", "m"]), coded_frame(frame, VOCABULARY, ["n", "m"]))


@settings(max_examples=40)
@given(frames(), st.booleans())
def test_the_lazy_way_is_the_eager_way(frame: pl.DataFrame, trim: bool) -> None:
    trimmed = frame.columns if trim else []
    lazy = coded(nw.from_native(frame.lazy()), VOCABULARY, ["n", "m"], trim=trimmed).to_native()
    assert isinstance(lazy, pl.LazyFrame)
    assert_frame_equal(lazy.collect(), coded(nw.from_native(frame), VOCABULARY, ["n", "m"], trim=trimmed).to_native())


@settings(max_examples=40)
@given(frames(), st.randoms(use_true_random=False))
def test_a_row_does_not_hang_on_the_rows_around_it(frame: pl.DataFrame, random: Any) -> None:
    order = random.sample(range(frame.height), frame.height)
    left = coded_frame(frame[order], VOCABULARY, ["n", "m"])
    assert_frame_equal(finite(left), finite(coded_frame(frame, VOCABULARY, ["n", "m"]))[order])
    if frame.height:
        assert_frame_equal(finite(coded_frame(frame[:1], VOCABULARY, ["n", "m"])), finite(coded_frame(frame, VOCABULARY, ["n", "m"]))[:1])


# --- vocabularies ----------------------------------------------------------------------------------------------------


def test_declared_values_keep_their_order_and_others_are_found_and_sorted() -> None:
    schema = dataset({"shape": nominal("x", "b"), "place": OPEN, "size": NUMERIC})
    frame = pl.DataFrame({"shape": ["b", "q"], "place": [" wood", "field"], "size": ["1", "2"]})
    assert vocabulary_of(frame, schema) == {"shape": ("x", "b"), "place": ("field", "wood")}
    assert vocabulary_of(frame.clear(), schema) == {"shape": ("x", "b"), "place": ()}


def test_found_values_are_texts_whatever_their_type() -> None:
    schema = dataset({"a": OPEN, "b": OPEN, "c": OPEN})
    frame = pl.DataFrame({"a": [3, 20, None], "b": [True, None, False], "c": [None, None, None]})
    assert vocabulary_of(frame, schema) == {"a": ("20", "3"), "b": ("false", "true"), "c": ()}


@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1))
@example(["\x1ca", "\x1fa", "\x85", "\u200b", "\u3000b"])
def test_in_a_vocabulary_that_was_found_nothing_is_unknown(values: list[str | None]) -> None:
    schema = dataset({"x": OPEN})
    frame = pl.DataFrame({"x": values}, schema={"x": pl.String})
    found = Codes.of(frame, schema)
    assert UNKNOWN not in found.nominal["x"]
    assert "" not in found.vocabulary["x"]


def test_as_many_values_as_there_are_codes_are_allowed_and_no_more() -> None:
    schema = dataset({"id": OPEN})
    frame = pl.DataFrame({"id": [f"{number:05d}" for number in range(MOST_VALUES)]})
    assert Codes.of(frame, schema).nominal["id"].tolist() == list(range(1, MOST_VALUES + 1))
    more = pl.concat([frame, pl.DataFrame({"id": ["one more"]})])
    with pytest.raises(DataError, match=r"^id: 32,768 different values or more, at most 32,767 .* take it out of dataset\.columns"):
        Codes.of(more, schema)


# --- the table in memory ---------------------------------------------------------------------------------------------

SCHEMA = dataset({"n": NUMERIC, "a": nominal("x", "y")})
FRAME = pl.DataFrame({"a": ["x", None, "?", "y"], "n": ["1", "2.5", "", None], "class": ["e", "p", "e", "p"]})


def test_a_table_holds_arrays() -> None:
    found = Codes.of(FRAME, SCHEMA)
    assert found.rows == 4
    assert found.vocabulary == {"a": ("x", "y")}
    np.testing.assert_array_equal(found.nominal["a"], np.array([1, 0, -1, 2], dtype=np.int16), strict=True)
    np.testing.assert_array_equal(found.numeric["n"], np.array([1, 2.5, np.nan, np.nan]), strict=True)


def test_another_vocabulary_gives_other_codes() -> None:
    found = Codes.of(FRAME, SCHEMA, {"a": ("?", "y", "z")})
    assert found.nominal["a"].tolist() == [-1, 0, 1, 2]
    assert found.vocabulary == {"a": ("?", "y", "z")}


def test_an_empty_table() -> None:
    found = Codes.of(FRAME.clear(), SCHEMA)
    assert found.rows == 0
    assert (found.nominal["a"].dtype.name, found.numeric["n"].dtype.name) == ("int16", "float64")


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (np.array([3, 0, 0]), [2, 1, 1]),
        (np.array([], dtype=np.intp), []),
        (np.array([True, False, False, True]), [1, 2]),
        (slice(1, 3), [0, -1]),
        (slice(None, None, -2), [2, 0]),
        (slice(2, 99), [-1, 2]),
        (slice(9, 12), []),
    ],
)
def test_rows_are_taken_by_index_mask_or_slice(rows: Any, wanted: list[int]) -> None:
    found = Codes.of(FRAME, SCHEMA).take(rows)
    assert found.nominal["a"].tolist() == wanted
    assert found.rows == len(wanted) == len(found.numeric["n"])
    assert found.vocabulary == {"a": ("x", "y")}

"""How values are written: words for missing, decimal signs, units, and codes that are numbers; for frames and for single values."""

import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.data.written_values import normalised, parse_code, parse_number
from sporeprint.schema import Column, DatasetSchema
from support import NUMERIC, OPEN, dataset


def schema(**column: Any) -> DatasetSchema:
    return dataset({"x": {**NUMERIC, **column}, "c": OPEN})


def numbers(values: list[str | None], **column: Any) -> list[float | None]:
    """What is read of texts, as numbers; NaN where it is none."""
    frame = normalised(pl.DataFrame({"x": values}, schema={"x": pl.String}), schema(**column))
    return frame["x"].cast(pl.Float64, strict=False).to_list()


@pytest.mark.parametrize(
    ("column", "texts", "expected"),
    [
        ({"decimal": ","}, ["1,5", "2", "-0,25", None], [1.5, 2.0, -0.25, None]),
        ({"decimal": ","}, ["1.5"], [None]),  # a point is no sign of this column: no number
        ({"decimal": ",", "thousands": "."}, ["1.299,99", "12", "1.234.567", "0,5"], [1299.99, 12.0, 1234567.0, 0.5]),
        ({"thousands": ","}, ["2,334.41", "1,234,567", "12", "12,34"], [2334.41, 1234567.0, 12.0, None]),
        ({"thousands": "'"}, ["1'000"], [1000.0]),
        ({"strip": ["%"]}, ["23.3%", "5 %", "%"], [23.3, 5.0, None]),
        ({"strip": ["€", "EUR"]}, ["€1335.76", "990 EUR"], [1335.76, 990.0]),
        ({"strip": ["months"]}, [" 64 months", "7"], [64.0, 7.0]),
        ({"missing": ["?", "-"]}, ["?", "-", "-3", " ? "], [None, None, -3.0, None]),
        ({"missing": ["-999"]}, ["-999", "-999.0", "999"], [None, None, 999.0]),
    ],
)
def test_numbers_are_read_as_the_column_writes_them(column: dict[str, Any], texts: list[str | None], expected: list[float | None]) -> None:
    assert numbers(texts, **column) == expected
    # One by one, as a request is read.
    one = Column.model_validate({**NUMERIC, **column})
    for text, number in zip(texts, expected, strict=True):
        if text is None:
            continue
        if number is None and not (text.strip() in one.missing or text.strip() == "%" or text in ("-999", "-999.0")):
            with pytest.raises(ValueError, match="is not a finite number"):
                parse_number(text, one.missing, one)
        else:
            assert parse_number(text, one.missing, one) == number


def test_a_number_of_its_own_type_may_stand_for_missing() -> None:
    frame = pl.DataFrame({"x": [-999.0, 1.0, None]})
    assert normalised(frame, schema(missing=["-999"]))["x"].to_list() == [None, 1.0, None]
    assert normalised(frame, schema()).equals(frame)


@pytest.mark.parametrize(
    "values",
    [["1", "2", None], [1, 2, None], [1.0, 2.0, None], [1.0, 2.0, float("nan")], ["1.0", "2.00", None]],
)
def test_a_code_is_one_whatever_its_type(values: list[Any]) -> None:
    assert normalised(pl.DataFrame({"c": values}), schema())["c"].to_list() == ["1", "2", None]


def test_other_codes_stay_as_they_are() -> None:
    for values in (["a.0", "1.5", "10"], ["x", None]):
        frame = pl.DataFrame({"c": values})
        assert normalised(frame, schema()).equals(frame)
    assert normalised(pl.DataFrame({"c": [True, False, None]}), schema())["c"].to_list() == ["true", "false", None]
    dates = pl.DataFrame({"c": [dt.date(2026, 1, 2)]})
    assert normalised(dates, schema()).equals(dates)


def test_words_for_missing_are_of_all_columns_or_of_one() -> None:
    both = dataset({"c": {**OPEN, "missing": ["NA"]}, "d": OPEN}).model_copy(update={"missing": ("?",)})
    found = normalised(pl.DataFrame({"c": ["?", "NA", "x"], "d": ["?", "NA", "x"]}), both)
    assert found.to_dict(as_series=False) == {"c": [None, None, "x"], "d": [None, "NA", "x"]}


def test_several_codes_are_one_class() -> None:
    raw = dataset({"c": OPEN}).model_dump(exclude={"target"})
    target = {"column": "t", "positive": 1, "values": {0: "well", 1: "ill", "2": "ill", 3.0: "ill"}, "missing": ["?"]}
    found = DatasetSchema.model_validate({**raw, "target": target})
    assert (dict(found.target.values), found.target.positive, found.target.negative) == ({"0": "well", "1": "ill"}, "1", "0")
    assert normalised(pl.DataFrame({"t": ["0", "1", "2", "3.0", "?", "9"]}), found)["t"].to_list() == ["0", "1", "1", "1", None, "9"]


@given(st.one_of(st.text(max_size=8), st.integers(), st.floats(allow_nan=False), st.booleans()))
def test_a_code_that_was_read_is_read_as_itself(value: Any) -> None:
    code = parse_code(value, (), {}, {})
    assert code is None or parse_code(code, (), {}, {}) == code


def test_a_declared_code_wins() -> None:
    assert parse_code("1.0", (), {"1.0": "one", "1": "another"}, {}) == "1.0"
    assert parse_code(True, (), {"TRUE": "yes", "FALSE": "no"}, {}) == "TRUE"
    assert parse_code(" x ", ("x",), {}, {}) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [("NA", None), ("nan", None), ("NULL", None), ("<NA>", None), ("None", "None"), ("none", "none"), ("x", "x"), ("never", "never")],
)
def test_what_other_tools_write_for_missing_is_missing_where_no_value_is_called_so(text: str, code: str | None) -> None:
    made = dataset({"x": NUMERIC, "c": {**OPEN, "values": {"x": "convex", "f": "none"}}, "open": OPEN})
    assert parse_code(text, made.missing_words("c"), made.columns["c"].values or {}, {}) == code
    assert made.missing_words("open") == ()
    frame = normalised(pl.DataFrame({"x": [1.0], "c": [text], "open": ["NA"]}), made)
    assert (frame["c"][0], frame["open"][0]) == (code, "NA")

"""Tests of sporeprint.storage.prediction_record: bytes that say all of a record again, and values for the database."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal_support import full_record, record
from sporeprint.errors import DataError
from sporeprint.storage.oltp import tables
from sporeprint.storage.prediction_record import COLUMNS, MAX_BYTES, PredictionRecord, as_row

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.one_of(st.none(), st.booleans(), st.integers(-(2**100), 2**100), NUMBER, TEXT)


@given(features=st.dictionaries(TEXT, VALUE, max_size=6), unseen=st.lists(TEXT, max_size=3), probability=st.none() | NUMBER, verdict=TEXT)
def test_every_record_comes_back_as_it_was(features: Any, unseen: list[str], probability: float | None, verdict: str) -> None:
    one = record(features=features, unseen=tuple(unseen), probability=probability, verdict=verdict)
    back = PredictionRecord.from_bytes(one.to_bytes())
    assert back == one
    assert list(back.features) == list(one.features)
    assert [type(value) for value in back.features.values()] == [type(value) for value in one.features.values()]


def test_every_field_comes_back() -> None:
    one = full_record()
    assert all(getattr(one, name) != default for name, default in PredictionRecord._field_defaults.items())
    assert PredictionRecord.from_bytes(one.to_bytes()) == one


def test_a_number_of_any_length_comes_back() -> None:
    for one in (record(latency_us=2**70), record(version=-(2**64), probability=None), record(shadow={"a": 2**65, "b": None})):
        assert PredictionRecord.from_bytes(one.to_bytes()) == one


def test_a_megabyte_comes_back() -> None:
    one = record(features={"text": "'\"\\\0🍄" * 130_000})
    assert len(one.to_bytes()) > 1 << 20
    assert PredictionRecord.from_bytes(one.to_bytes()) == one


def test_the_columns_are_those_of_the_table() -> None:
    assert sorted(COLUMNS) == sorted(column.name for column in tables.prediction.c if column.name != "seq")
    assert set(PredictionRecord._fields) == set(COLUMNS) - {"recorded_us"}


def test_a_row_has_the_json_as_text() -> None:
    row = dict(zip(COLUMNS, as_row(full_record(3).to_bytes(), 77), strict=True))
    assert (row["recorded_us"], row["created_us"], row["arm"]) == (77, full_record(3).created_us, "b")
    assert json.loads(row["features"]) == full_record(3).features
    assert json.loads(row["shadow"]) == full_record(3).shadow
    assert json.loads(row["unseen"]) == list(full_record(3).unseen)


def test_no_shadow_is_null() -> None:
    row = dict(zip(COLUMNS, as_row(record().to_bytes(), 1), strict=True))
    assert (row["shadow"], row["unseen"], row["novelty_p"]) == (None, "[]", None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"probability": float("nan")}, "'id-00000000' cannot be kept: .*not JSON compliant"),
        ({"features": {"a": float("inf")}}, "cannot be kept: .*not JSON compliant"),
        ({"shadow": {"a": float("nan")}}, "cannot be kept: .*not JSON compliant"),
        ({"features": {"a": "\ud800"}}, "cannot be kept: .*surrogate"),
        ({"features": {"a": object()}}, "cannot be kept: .*object"),
        ({"prediction_id": ""}, "1 to 64 characters, not 0"),
        ({"prediction_id": "x" * 65}, "1 to 64 characters, not 65"),
        ({"features": {"a": "x" * MAX_BYTES}}, f"at most {MAX_BYTES:,} can be kept"),
    ],
)
def test_what_cannot_be_kept_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        record(**changes).to_bytes()


@pytest.mark.parametrize("data", [b"", b"\n\n\n", b"[1]\n[]\n{}\n", b"{}\n[]\n{}\n", b"\xff\n\n\n", record().to_bytes() + b"\n"])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="no record of an answer"):
        PredictionRecord.from_bytes(data)
    with pytest.raises(DataError, match="no record of an answer"):
        as_row(data, 1)


def test_a_record_of_a_later_format_is_refused() -> None:
    first, rest = record().to_bytes().split(b"\n", 1)
    later = first.replace(b"[1,", b"[2,", 1) + b"\n" + rest
    with pytest.raises(DataError, match="no record of an answer in format 1: it begins with"):
        PredictionRecord.from_bytes(later)


@pytest.mark.parametrize("field", ["created_us", "version", "latency_us"])
@pytest.mark.parametrize("number", [2**70, -(2**70), 2**63, 2**64 - 1])
def test_whole_numbers_stay_as_they_are_whatever_their_size(field: str, number: int) -> None:
    changed: dict[str, Any] = {field: number}
    data = record(1)._replace(**changed).to_bytes()
    assert dict(zip(COLUMNS, as_row(data, 1), strict=True))[field] == number
    assert getattr(PredictionRecord.from_bytes(data), field) == number

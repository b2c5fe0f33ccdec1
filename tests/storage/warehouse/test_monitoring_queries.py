"""What the monitor asks the warehouse: the same on both engines, and counts that are those of the rows themselves."""

import json
from itertools import islice
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from sporeprint.errors import StorageError
from sporeprint.monitoring.data_profile import ColumnSpec, NominalProfile, NumericProfile, Profile, profile
from sporeprint.monitoring.windows import HOUR_US, Window, parse_slice
from sporeprint.schema import DatasetSchema
from sporeprint.storage.oltp import tables
from sporeprint.storage.warehouse import aggregation, monitoring_queries, star_schema
from sporeprint.storage.warehouse.monitoring_queries import SHIFT, PredictionScope
from sporeprint.storage.warehouse.protocol import Warehouse
from sporeprint.storage.warehouse.sync import sync_warehouse
from support import NUMERIC, dataset
from warehouse_support import BEGIN_US, SCHEMA, Rows, outcome, predictions, write

FIRST_US = BEGIN_US - BEGIN_US % HOUR_US
LAST_US = FIRST_US + 24 * HOUR_US
CELL = PredictionScope("xgboost", 1)
KNOWN = {"smell": frozenset("äö")}


@pytest.fixture
def traffic(oltp: Engine, warehouse: Warehouse) -> Rows:
    rows = predictions(700)
    write(oltp, rows)
    true = [outcome(row["prediction_id"], "ep"[number % 3 == 0]) for number, row in enumerate(rows) if number % 2]
    for said in true:
        said["recorded_us"] = next(row["created_us"] for row in rows if row["prediction_id"] == said["prediction_id"]) + 5 * HOUR_US
    write(oltp, true, tables.outcome)
    sync_warehouse(oltp, warehouse, SCHEMA)
    return rows


def of_cell(traffic: Rows) -> Rows:
    found = [row for row in traffic if (row["model"], row["version"]) == ("xgboost", 1)]
    return sorted(found, key=lambda row: (row["created_us"], row["prediction_id"]), reverse=True)


def frame(rows: Rows) -> pl.DataFrame:
    given = [
        (row["features"], row["probability"], row["novelty_p"], row["verdict"], None, row["created_us"], row["prediction_id"])
        for row in rows
    ]
    return monitoring_queries.frame(given, SCHEMA)


def test_counts_are_those_of_the_rows(traffic: Rows, warehouse: Warehouse) -> None:
    with warehouse.reading() as reader:
        found, extra = monitoring_queries.profile_of_hours(reader, CELL, FIRST_US, LAST_US, SCHEMA, KNOWN)
    wanted = {name: ColumnSpec(column.kind, frozenset(column.values or ())) for name, column in SCHEMA.columns.items()}
    shares = {name: ColumnSpec(SCHEMA.columns["size"].kind) for name in ("probability", "novelty_p")}
    rows = frame(of_cell(traffic))
    exact = profile(rows, wanted).beside(profile(rows, shares))
    profile_of_hours = monitoring_queries.as_counted(exact, {"cap-shape": frozenset("bx"), **KNOWN})
    assert (found.rows, extra) == (exact.rows, ())
    for name, column in profile_of_hours.columns.items():
        other = found.columns[name]
        if isinstance(column, NumericProfile) and isinstance(other, NumericProfile):
            mine = column.histogram.coarser(other.histogram.shift)
            assert other.histogram.shift == (SHIFT if name == "size" else 0)
            assert np.array_equal(mine.keys, other.histogram.keys), name
            assert np.array_equal(mine.counts, other.histogram.counts), name
        elif isinstance(column, NominalProfile) and isinstance(other, NominalProfile):
            assert (other.counts, other.missing, other.other) == (column.counts, column.missing, column.other), name


@given(st.lists(st.floats(0, 1), min_size=1))
def test_shares_are_in_the_bins_of_the_warehouse(values: list[float]) -> None:
    rows = pl.DataFrame({"probability": values})
    exact = profile(rows, {"probability": ColumnSpec(SCHEMA.columns["size"].kind)})
    column = monitoring_queries.as_counted(exact, {}).columns["probability"]
    assert isinstance(column, NumericProfile)
    assert column.present == len(values)
    assert np.abs(np.sort(np.repeat(column.histogram.values, column.histogram.counts)) - np.sort(values)).max() <= 1 / 128 + 1e-12


def test_pages_hold_every_answer_once_the_newest_first(traffic: Rows, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = of_cell(traffic)
    for size in (1, 7, 50, 10_000):
        monkeypatch.setattr(monitoring_queries, "PAGE_ROWS", size)
        span = Window("x", rows[-1]["created_us"], rows[0]["created_us"])  # the newest is at its end, which is not part of it
        with warehouse.reading() as reader:
            by_hour: dict[int, int] = {}
            for hour, _, count in monitoring_queries.verdicts_by_hour(reader, CELL, FIRST_US, LAST_US):
                by_hour[hour] = by_hour.get(hour, 0) + count
            read = list(islice(monitoring_queries.pages(reader, CELL, span, by_hour, SCHEMA), 1000))
        assert [key for _, ids in read for key in ids] == [row["prediction_id"] for row in rows if row["created_us"] < span.end_us]
        assert max(table.height for table, _ in read) <= size
        assert {table.height for table, ids in read if table.height != len(ids)} == set()


def test_pages_of_answers_of_one_moment(oltp: Engine, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch's answers have one time."""
    rows = [{**row, "model": "xgboost", "version": 1, "created_us": BEGIN_US + number // 40} for number, row in enumerate(predictions(100))]
    write(oltp, rows)
    sync_warehouse(oltp, warehouse, SCHEMA)
    for size in (3, 20, 40, 41):
        monkeypatch.setattr(monitoring_queries, "PAGE_ROWS", size)
        with warehouse.reading() as reader:
            read = list(islice(monitoring_queries.pages(reader, CELL, Window("x", 0, LAST_US), {FIRST_US: 100}, SCHEMA), 1000))
        ids = [key for _, keys in read for key in keys]
        assert len(ids) == len(set(ids)) == 100, size


def test_outcomes_and_how_long_they_take(traffic: Rows, warehouse: Warehouse) -> None:
    with warehouse.reading() as reader:
        true = monitoring_queries.outcomes_by_hour(reader, CELL, FIRST_US, LAST_US)
        delays, ages = monitoring_queries.delays(reader, LAST_US, 100_000)
        some = monitoring_queries.delays(reader, LAST_US, 100)[0]
    known = {row["prediction_id"] for row in traffic[1::2]}
    assert sum(count for *_, count in true) == sum(row["prediction_id"] in known for row in of_cell(traffic))
    assert delays.sum() == ages.sum() == 350
    assert np.flatnonzero(delays).tolist() == [5]
    assert 50 <= some.sum() <= 200


def test_hours_are_spread_evenly() -> None:
    by_hour = {hour * HOUR_US: 10 + hour % 3 for hour in range(300)}
    assert monitoring_queries.spread(by_hour, 10_000) == sorted(by_hour)
    some = monitoring_queries.spread(by_hour, 500)
    assert abs(sum(by_hour[hour] for hour in some) - 500) <= 12
    assert np.abs(np.diff(some) / HOUR_US - 300 / len(some)).max() <= 2
    assert monitoring_queries.spread({5: 10**9}, 10) == [5]
    assert monitoring_queries.spread({}, 10) == []


@pytest.mark.parametrize(
    ("raw", "size", "shape"),
    [
        ('{"cap-shape":"x","size":1.5}', "1.5", "x"),
        ('{"cap_shape":" x ","size":"2"}', "2", "x"),
        ('{"cap-shape":null,"size":null}', None, None),
        ('{"cap-shape":"","size":{"a":1}}', '{"a": 1}', None),
        ("{}", None, None),
        ("null", None, None),
        ("not json", None, None),
    ],
)
def test_requests_are_taken_apart(raw: str, size: str | None, shape: str | None) -> None:
    found = monitoring_queries.frame([(raw, 0.5, None, "edible", None), ('{"size":3}', None, 0.5, "odd", "p")], SCHEMA)
    answer = {"probability": 0.5, "novelty_p": None, "verdict": "edible", "class": None}
    assert found.row(0, named=True) == {"cap-shape": shape, "size": size, "smell": None, **answer}
    assert found["size"][1] == "3"


def test_words_are_codes() -> None:
    word = next(word for code, word in (SCHEMA.columns["cap-shape"].values or {}).items() if code == "x")
    found = monitoring_queries.frame([(json.dumps({"cap-shape": word}), 0.5, 0.5, "edible", None)], SCHEMA)
    assert found["cap-shape"].to_list() == ["x"]


def test_slices_of_rows() -> None:
    table = pl.DataFrame({"cap-shape": ["x", "b", None, "x"], "size": ["1", "2.5", None, "five"], "smell": ["a", None, "b", "a"]})

    def matching_rows(*texts: str) -> list[bool]:
        return monitoring_queries.matching_rows(table, parse_slice(texts, SCHEMA)).to_list()

    assert matching_rows() == [True] * 4
    assert matching_rows("cap-shape=x") == [True, False, False, True]
    assert matching_rows("cap-shape=x", "cap-shape=") == [True, False, True, True]
    assert matching_rows("size=1..2") == [True, False, False, False]
    assert matching_rows("size=2..", "cap-shape=b") == [False, True, False, False]


def test_numbers_that_are_none_in_the_counts(warehouse: Warehouse) -> None:
    """A number that is none has no bin: it is invalid, whatever a bin says."""
    cell = {"hour_us": FIRST_US, "model": "xgboost", "version": 1, "test_id": "", "arm": ""}
    rows: list[dict[str, Any]] = [
        {**cell, "feature": "probability", "kind": "number", "value": "", "low": 0.5, "high": 0.515625, "answers": 3},
        {**cell, "feature": "probability", "kind": "missing", "value": "", "low": 0.0, "high": 0.0, "answers": 2},
        {**cell, "feature": "size", "kind": "missing", "value": "", "low": 0.0, "high": 0.0, "answers": 5},
        {**cell, "feature": "cap-shape", "kind": "number", "value": "", "low": 1.0, "high": 1.0625, "answers": 5},
        {**cell, "feature": "gone", "kind": "value", "value": "v", "low": 0.0, "high": 0.0, "answers": 5},
    ]
    with warehouse.loading() as load:
        load.add(star_schema.HOUR_FEATURES, aggregation.frame(star_schema.HOUR_FEATURES, rows))
        answers = {**cell, "verdict": "edible", "answers": 5, "latency_sum_us": 1, "latency_sum_us2": 1.0}
        load.add(star_schema.HOUR_ANSWERS, aggregation.frame(star_schema.HOUR_ANSWERS, [answers]))
    with warehouse.reading() as reader:
        found, extra = monitoring_queries.profile_of_hours(reader, CELL, FIRST_US, LAST_US, SCHEMA, {})
    assert extra == ("gone",)
    assert isinstance(found, Profile)
    probability, shape = found.columns["probability"], found.columns["cap-shape"]
    assert isinstance(probability, NumericProfile)
    assert (probability.present, probability.missing) == (3, 2)
    assert isinstance(shape, NumericProfile), "it was counted as a number when the contract said so"
    assert found.columns["size"].missing == 5


def test_text_is_text() -> None:
    assert monitoring_queries.text("it's") == "'it''s'"
    with pytest.raises(StorageError, match="backslash"):
        monitoring_queries.text("a\\")


def test_the_tables_own_columns_are_told_from_the_answers() -> None:
    schema = DatasetSchema.model_validate({**dataset({"probability": NUMERIC, "size": NUMERIC}).model_dump(), "cluster": "verdict"})
    rows = monitoring_queries.frame([('{"probability":7,"size":3}', 0.5, 0.25, "edible", "p")], schema)
    answers = {"probability": [0.5], "novelty_p": [0.25], "verdict": ["edible"]}
    assert rows.to_dict(as_series=False) == {"probability_": ["7"], "size": ["3"], **answers, "class": ["p"]}
    table = monitoring_queries.table_rows(rows, schema)
    assert table.to_dict(as_series=False) == {"class": ["p"], "probability": ["7"], "size": ["3"]}  # no answer is taken for the cluster

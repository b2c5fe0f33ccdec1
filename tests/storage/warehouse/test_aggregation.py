"""Tests of sporeprint.storage.warehouse.aggregation: what is counted, and that parts add up."""

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse.feature_counts import FeatureCounter
from sporeprint.storage.warehouse.sync import COLUMNS, PREDICTIONS
from support import NUMERIC, OPEN, dataset, nominal
from warehouse_support import BEGIN_US, predictions

SCHEMA = dataset({"cap-shape": nominal("b", "x"), "size": NUMERIC, "smell": OPEN})
WORDS = dataset({"cap-shape": {"kind": "nominal", "values": {"b": "bell", "x": "convex"}}})


def of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return aggregation.predictions(
        [[row.get(name, number) for name in COLUMNS[PREDICTIONS]] for number, row in enumerate(rows)], COLUMNS[PREDICTIONS]
    )


def one(features: str, *, unseen: str = "[]", schema: Any = SCHEMA) -> dict[str, tuple[str, str, float, float]]:
    """How one answer's features are counted."""
    found = of([{**predictions(1)[0], "features": features, "unseen": unseen}])
    cells = aggregation.cells(found)
    with FeatureCounter(list(schema.columns)) as given_features:
        counted = aggregation.features(given_features.count(found, cells), cells, schema)
    assert counted["answers"].to_list() == [1] * len(schema.columns)
    return {row[0]: row[1:] for row in counted.select("feature", "kind", "value", "low", "high").rows()}


@pytest.mark.parametrize(
    ("value", "counted"),
    [
        ("x", ("value", "x")),
        ("convex", ("value", "x")),
        (" bell ", ("value", "b")),
        ("", ("missing", "")),
        (None, ("missing", "")),
        ("round", ("unseen", "")),
        (3, ("unseen", "")),
        (["b"], ("unseen", "")),
    ],
)
def test_a_nominal_value_is_counted_by_its_code(value: object, counted: tuple[str, str]) -> None:
    assert one(json.dumps({"cap-shape": value}), schema=WORDS)["cap-shape"][:2] == counted


@pytest.mark.parametrize(
    ("value", "counted"),
    [
        (5.3, ("number", "", 5.25, 5.5)),
        ("5.3", ("number", "", 5.25, 5.5)),
        (0, ("number", "", 0.0, 0.0)),
        (-1, ("number", "", -1.0625, -1.0)),
        (None, ("missing", "", 0.0, 0.0)),
        ("", ("missing", "", 0.0, 0.0)),
        ("much", ("invalid", "", 0.0, 0.0)),
        ("nan", ("invalid", "", 0.0, 0.0)),
        ("inf", ("invalid", "", 0.0, 0.0)),
        (True, ("invalid", "", 0.0, 0.0)),
    ],
)
def test_a_number_is_counted_in_its_bin(value: object, counted: tuple[str, str, float, float]) -> None:
    assert one(json.dumps({"size": value}))["size"] == counted


def test_names_with_underscores_and_what_is_not_given() -> None:
    found = one('{"cap_shape": "b", "size": null}')
    assert found == {"cap-shape": ("value", "b", 0, 0), "size": ("missing", "", 0, 0), "smell": ("absent", "", 0, 0)}


def test_what_training_did_not_know_is_counted_together() -> None:
    assert one('{"smell": "fish"}')["smell"][:2] == ("value", "fish")
    assert one('{"smell": "fish"}', unseen='["smell"]')["smell"][:2] == ("unseen", "")
    assert one(json.dumps({"smell": "f" * 65}))["smell"][:2] == ("unseen", "")


def test_any_name_can_be_a_feature() -> None:
    names = ["a.b", "a/b~c", 'quo"te', "$", "[0]", "A", "a"]
    schema = dataset(dict.fromkeys(names, OPEN))
    assert {
        name: row[1] for name, row in one(json.dumps({name: f"v{place}" for place, name in enumerate(names)}), schema=schema).items()
    } == {name: f"v{place}" for place, name in enumerate(names)}


def test_hours_are_whole_and_days_are_utc() -> None:
    found = of(
        [{**predictions(1)[0], "created_us": BEGIN_US + 5_400_000_000 - 1}, {**predictions(1)[0], "created_us": BEGIN_US + 5_400_000_000}]
    )
    assert [row[1:] for row in aggregation.hours(found).rows()] == [("2026-01-30", 2026, 1, 30, 23, 5), ("2026-01-31", 2026, 1, 31, 0, 6)]


@given(st.integers(1, 39), st.integers(0, 5))
def test_parts_add_up_to_the_whole(cut: int, seed: int) -> None:
    whole = of(predictions(40, seed=seed, minutes=3))
    for table, count in ((star_schema.HOUR_ANSWERS, aggregation.answers), (star_schema.HOUR_LATENCY, aggregation.latency)):
        parts = aggregation.add_up(table, [count(whole[:cut]), count(whole[cut:])])
        assert parts.equals(aggregation.add_up(table, [count(whole)]))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3), st.sampled_from("ep")), max_size=12, unique_by=lambda item: item[:2]),
    st.integers(0, 11),
)
def test_outcomes_settled_in_two_steps_count_as_in_one(given_outcomes: list[tuple[str, int, str]], cut: int) -> None:
    found = of([{**predictions(1)[0], "prediction_id": name} for name in "ab"])
    rows = [(number, name, revision, code, "lab", 1, 2) for number, (name, revision, code) in enumerate(given_outcomes)]
    new = aggregation.outcomes(rows, ("seq", "prediction_id", "revision", "outcome", "source", "observed_us", "recorded_us"))
    nothing = aggregation.empty(star_schema.FACT_OUTCOME)
    first = aggregation.settle(nothing, new[:cut], found)
    there = first.outcomes
    second = aggregation.settle(there, new[cut:], found)
    both = (
        pl.concat([first.counts, second.counts])
        .group_by(star_schema.HOUR_OUTCOMES.key)
        .agg(pl.col("answers").sum())
        .filter(pl.col("answers") != 0)
    )
    once = aggregation.settle(nothing, new, found)
    assert sorted(both.rows()) == sorted(once.counts.rows())
    merged = pl.concat([there, second.outcomes]).unique(["prediction_id", "revision"], keep="last")
    assert sorted(merged.rows()) == sorted(once.outcomes.rows())

"""One observation as people give it, the answer to it, and why."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sporeprint import settings
from sporeprint.errors import DataError
from sporeprint.inference.model_bundle import Bundle
from sporeprint.inference.predictor import explain_row, parse_row, predict_row, unknown_reason
from sporeprint.registry.registry import Registry
from sporeprint.safety.anomalies import RowAnomalies
from sporeprint.schema import DatasetSchema


@pytest.fixture(scope="module")
def schema(config_file: Path) -> DatasetSchema:
    return settings.load_settings(config_file, environ={}).dataset


@pytest.fixture(scope="module")
def bundle(small_run: Path) -> Bundle:
    return Registry(small_run / "models/registry").load("xgboost/v1")


@pytest.fixture(scope="module")
def row(bundle: Bundle) -> dict[str, Any]:
    """A row the model knows well."""
    answers = [(predict_row(bundle, row), row) for row in bundle.golden.rows]
    return dict(max(answers, key=lambda pair: (pair[0].verdict != "unknown", pair[0].novelty_p))[1])


# --- as people give it -------------------------------------------------------------------------------------------------


def test_codes_and_words_hyphens_and_underscores(schema: DatasetSchema) -> None:
    given = {"cap-shape": "convex", "cap_surface": "g", "season": " Autumn ", "stem-width": "17.5", "cap_diameter": 3, "has-ring": ""}
    assert parse_row(given, schema) == {
        "cap-shape": "x",
        "cap-surface": "g",
        "season": "a",
        "stem-width": 17.5,
        "cap-diameter": 3.0,
        "has-ring": None,
    }


def test_a_code_wins_over_a_word(schema: DatasetSchema) -> None:
    # In this column "f" is a code, and "none" its word; in the other "none" is no code but a word.
    assert parse_row({"gill-spacing": "f"}, schema) == parse_row({"gill-spacing": "none"}, schema) == {"gill-spacing": "f"}


def test_a_value_nobody_knows_stays_what_it_is(schema: DatasetSchema) -> None:
    assert parse_row({"cap-shape": "browm"}, schema) == {"cap-shape": "browm"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cap-shap": "x"}, r"unknown field 'cap-shap' \(did you mean 'cap-shape'\?\); known: cap-diameter, "),
        ({"cap-shape": "x", "cap_shape": "x"}, "field 'cap-shape' is given twice"),
        ({"cap-shape": []}, r"field 'cap-shape': expected a text or a number, got \[\]"),
        ({"stem-width": "17.wrz"}, "field 'stem-width': expected a number of mm, got '17.wrz'"),
        ({"stem-width": True}, "field 'stem-width': expected a number of mm, got True"),
        ({"stem-width": math.nan}, "field 'stem-width': expected a number of mm, got nan"),
        ({"stem-width": "1e999"}, "field 'stem-width': expected a number of mm, got '1e999'"),
        ({"stem-width": [1]}, r"field 'stem-width': expected a number of mm, got \[1\]"),
        ({"stem-width": 501}, r"field 'stem-width': 501 is out of range, allowed is 0.0 to 500.0 mm"),
        ({"cap-shap": "x", "stem-width": "a"}, "unknown field .*; field 'stem-width': expected"),
    ],
)
def test_what_cannot_be_is_named(given: dict[str, Any], message: str, schema: DatasetSchema) -> None:
    with pytest.raises(DataError, match=message):
        parse_row(given, schema)


def test_a_required_field_is_missed(schema: DatasetSchema) -> None:
    columns = {**schema.columns, "season": schema.columns["season"].model_copy(update={"required": True})}
    with pytest.raises(DataError, match="field 'season' is required"):
        parse_row({"cap-shape": "x", "season": ""}, schema.model_copy(update={"columns": columns}))


# --- the answer ----------------------------------------------------------------------------------------------------------


def test_a_known_row_is_answered(bundle: Bundle, row: dict[str, Any]) -> None:
    found = predict_row(bundle, row)
    assert found.verdict in {"edible", "poisonous"}
    assert (found.reason, found.unseen, found.outside, found.contradictions) == (None, (), (), ())
    assert found.prediction == ("p" if found.probability > 0.5 else "e")
    assert found.threshold == bundle.safety.threshold.value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cap-shape": "blob"}, "never seen in training: cap-shape"),
        ({"stem-width": 499.0}, "outside the training rows' range: stem-width"),
        ({"has-ring": "f", "ring-type": "g"}, "no ring, but a type of ring"),
    ],
)
def test_a_strange_row_is_unknown_and_says_why(change: dict[str, Any], reason: str, bundle: Bundle, row: dict[str, Any]) -> None:
    found = predict_row(bundle, {**row, **change})
    assert found.verdict == "unknown"
    assert found.reason is not None
    assert reason in found.reason.split("; ")


def test_nothing_known_is_unknown(bundle: Bundle) -> None:
    assert predict_row(bundle, {}).verdict == "unknown"
    assert predict_row(bundle, dict.fromkeys(bundle.schema.columns)).verdict == "unknown"


def test_what_is_familiar_and_unknown_is_so_by_its_probability(bundle: Bundle) -> None:
    none, odd = RowAnomalies((), (), ()), RowAnomalies(("cap-shape",), (), ())
    rule = replace(bundle.safety, threshold=replace(bundle.safety.threshold, value=0.05))
    never = replace(rule, threshold=replace(rule.threshold, value=None))
    assert unknown_reason(never, 0.3, 0.5, none) == "no threshold controls the risk, so the negative class is never said"
    assert unknown_reason(rule, 0.3, 0.5, none) == "the probability is too high for one class and too low for the other"
    assert unknown_reason(rule, 0.01, 0.5, odd) == "the probability and the most similar training rows disagree"
    assert unknown_reason(rule, 0.01, 0.001234567, none) == "out of distribution (p = 0.001235)"


# --- why -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["xgboost", "decision_tree", "logistic_regression"])
def test_reasons_are_in_words_and_the_strongest_first(model: str, small_run: Path, row: dict[str, Any]) -> None:
    bundle = Registry(small_run / "models/registry").load(model)
    found = explain_row(bundle, row, most=3)
    assert found.prediction == predict_row(bundle, row)
    assert len(found.attributions) <= 3
    effects = [abs(reason.effect) for reason in found.attributions]
    assert effects == sorted(effects, reverse=True)
    for reason in found.attributions:
        assert reason.text.startswith(f"{reason.column}: ")
        assert reason.value == row[reason.column]
    assert found.unit == ("probability" if model == "decision_tree" else "log odds")


def test_all_reasons_add_up_to_the_score(bundle: Bundle, row: dict[str, Any]) -> None:
    found = explain_row(bundle, row, most=len(bundle.schema.columns))
    score = bundle.scorer.score(bundle.encoder.encode_row(row)[np.newaxis])[0]
    assert found.base + sum(reason.effect for reason in found.attributions) == pytest.approx(math.log(score / (1 - score)), abs=1e-4)


def test_the_nearest_component_of_what_it_is_most_like(bundle: Bundle, row: dict[str, Any]) -> None:
    found = explain_row(bundle, row)
    assert found.nearest is not None
    assert found.nearest_component == found.prediction.most_like
    again = explain_row(bundle, found.nearest.values)
    assert again.nearest is not None
    assert (again.nearest.distance, again.nearest.differing) == (0.0, ())
    assert found.to_dict()["prediction"]["verdict"] == found.prediction.verdict

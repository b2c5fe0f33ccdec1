"""`POST /identify`: a question, not a prediction: nothing is stored."""

from pathlib import Path
from typing import Any

import pytest

from serving_support import Client
from sporeprint.inference.identification import identify_row
from sporeprint.registry.registry import Registry


@pytest.fixture(scope="module")
def row(small_run: Path) -> dict[str, Any]:
    """What can be seen of a known thing."""
    bundle = Registry(small_run / "models/registry").load("xgboost/v1")
    return {name: value for name, value in bundle.golden.rows[0].items() if value is not None}


def test_a_question_is_answered_and_nothing_is_stored(client: Client, row: dict[str, Any], small_run: Path) -> None:
    few = dict(list(row.items())[:3])
    response = client.post("/identify", params={"model": "xgboost/v1"}, json=few)
    assert response.status_code == 200
    answer = response.json()
    assert (answer["model"], answer["version"], answer["observed"], answer["columns"]) == ("xgboost", 1, 3, 20)
    assert "prediction_id" not in answer
    expected = identify_row(Registry(small_run / "models/registry").load("xgboost/v1"), few)
    assert answer["verdict"] == expected.verdict
    assert [fit["group"] for fit in answer["fits"]] == [fit.group for fit in expected.fits]


def test_no_field_at_all_is_a_question(client: Client) -> None:
    answer = client.post("/identify", json={}).json()
    assert (answer["verdict"], answer["unknown"], answer["is_final"]) == ("unknown", "too_little_observed", False)
    assert answer["next_questions"][0]["answers"]


def test_what_cannot_be_told_is_not_asked_again(client: Client) -> None:
    first = client.post("/identify", json={}).json()["next_questions"][0]["column"]
    later = client.post("/identify", json={first: "not observed"}).json()["next_questions"]
    assert first not in [question["column"] for question in later]


def test_every_field_cannot_be_told(client: Client, small_run: Path) -> None:
    columns = Registry(small_run / "models/registry").load("xgboost/v1").schema.columns
    answer = client.post("/identify", json=dict.fromkeys(columns, "not observed")).json()
    assert (answer["verdict"], answer["is_final"], answer["next_questions"]) == ("unknown", True, [])


def test_an_empty_text_is_an_empty_cell_as_null_is(client: Client) -> None:
    answers = [client.post("/identify", json={"cap-shape": "x", "veil-type": empty}).json() for empty in ("", "  ", None)]
    assert answers[0] == answers[1] == answers[2]
    # In this table an empty cell is no observation.
    assert answers[0]["observed"] == client.post("/identify", json={"cap-shape": "x"}).json()["observed"] == 1


def test_a_contradiction_that_comes_with_the_fifth_answer(client: Client) -> None:
    row = {"cap-shape": "x", "cap-color": "n", "season": "a", "has-ring": "f"}
    assert client.post("/identify", json=row).json()["contradictions"] == []
    answer = client.post("/identify", json=row | {"ring-type": "g"}).json()
    assert (answer["verdict"], answer["unknown"], answer["is_final"]) == ("unknown", "out_of_distribution", True)
    assert answer["contradictions"] == ["no ring, but a type of ring"]
    single = client.post("/predict", json=row | {"ring-type": "g"}).json()
    assert (single["verdict"], single["unknown"]) == ("unknown", "out_of_distribution")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"cap-shap": "x"}, "unknown field 'cap-shap'"),
        ({"cap-shape": "x", "cap_shape": "x"}, "given twice"),
        ({"cap-shape": "x", "cap_shape": "not observed"}, "given twice"),
        ({"stem-height": "1,5"}, "expected a number of cm, got '1,5'"),
    ],
)
def test_what_cannot_be_understood_is_named(body: dict[str, Any], message: str, client: Client) -> None:
    response = client.post("/identify", json=body)
    assert response.status_code == 422
    assert message in response.json()["detail"]


def test_a_value_never_seen_is_told_at_once(client: Client) -> None:
    answer = client.post("/identify", json={"cap-shape": "konvex"}).json()
    assert "konvex" in answer["unseen"]["cap-shape"]
    assert "convex" in answer["unseen"]["cap-shape"]

"""Tests of sporeprint.model_serving.endpoints.outcomes: many outcomes at once, each with what became of it."""

import io
from typing import Any

import polars as pl
import pytest

from serving_support import Client


@pytest.fixture(scope="module")
def ids(client: Client) -> list[str]:
    """Answers, single ones and of a batch."""
    batch = client.post("/predict/batch", json=[{}] * 5).json()
    return [
        *(client.post("/predict", json={}).json()["prediction_id"] for _ in range(3)),
        *(row["prediction_id"] for row in batch["predictions"]),
    ]


def post(client: Client, rows: Any) -> dict[str, Any]:
    found = client.post("/predictions/outcomes", json=rows)
    assert found.status_code == 200, found.text
    return dict(found.json())


def counts(found: dict[str, Any]) -> tuple[int, int, int]:
    return found["created"], found["unchanged"], found["problems"]


def parquet(**columns: pl.Series) -> bytes:
    body = io.BytesIO()
    pl.DataFrame({"prediction_id": ["a"], "outcome": ["e"], **columns}).write_parquet(body)
    return body.getvalue()


def test_said_again_it_changes_nothing_said_differently_it_is_a_correction(client: Client, ids: list[str]) -> None:
    said = [{"prediction_id": each, "outcome": "p", "source": "lab"} for each in ids]
    assert counts(post(client, said)) == (8, 0, 0)
    assert counts(post(client, said)) == (0, 8, 0)
    found = post(client, [{**said[0], "outcome": "edible"}, {**said[0], "outcome": "e"}, said[0]])
    assert [(each["revision"], each["created"]) for each in found["results"]] == [(2, True), (2, False), (3, True)]
    assert client.get(f"/predictions/{ids[0]}").json()["outcome"]["revision"] == 3


def test_a_bad_one_does_not_harm_the_others(client: Client, ids: list[str]) -> None:
    good = {"prediction_id": ids[1], "outcome": "e", "source": "other"}
    bad = [3, {}, {**good, "outcome": "toxic"}, {**good, "prediction_id": "nobody"}, {**good, "sorce": "x"}, {**good, "observed": "now"}]
    found = post(client, [*bad, good])
    assert counts(found) == (1, 0, 6)
    assert [each["row"] for each in found["results"]] == list(range(7))
    assert found["results"][3]["problem"]["status"] == 404
    assert "did you mean 'source'" in found["results"][4]["problem"]["detail"]


def test_a_data_frame_with_dictionaries(client: Client, ids: list[str]) -> None:
    words = {"prediction_id": pl.Series(ids[:3], dtype=pl.Categorical), "outcome": pl.Series(["e"] * 3, dtype=pl.Categorical)}
    found = client.post("/predictions/outcomes", content=parquet(**words), headers={"content-type": "application/x-parquet"})
    assert found.json()["problems"] == 0


@pytest.mark.parametrize("kind", ["text/csv", "application/vnd.apache.parquet"])
def test_as_a_file(client: Client, ids: list[str], kind: str) -> None:
    frame = pl.DataFrame({"prediction_id": ids, "outcome": "e", "source": kind, "observed": "2026-01-31T12:00:00Z"})
    body = io.BytesIO()
    (frame.write_csv if kind == "text/csv" else frame.write_parquet)(body)
    for expected in ((8, 0, 0), (0, 8, 0)):
        found = client.post("/predictions/outcomes", content=body.getvalue(), headers={"content-type": kind})
        assert counts(found.json()) == expected


@pytest.mark.parametrize(
    ("body", "kind", "status", "says"),
    [
        (b"{}", "application/json", 400, "a JSON list of rows"),
        (b"id,outcome\na,e\n", "text/csv", 422, "no column 'prediction_id'"),
        (b"PAR1", "application/vnd.apache.parquet", 422, "read as parquet"),
        (
            parquet(observed=pl.Series([10**18]).cast(pl.Datetime("us"))),
            "application/x-parquet",
            422,
            "'observed' has a time outside the years",
        ),
        (parquet(more=pl.Series([2**62]).cast(pl.Datetime("ms"))), "application/x-parquet", 422, "'more' has a time outside the years"),
        (parquet(more=pl.Series([[1]])), "application/x-parquet", 422, "'more' holds List(Int64); expected one plain value a row"),
        (b"[]", "text/plain", 415, "text/plain"),
    ],
)
def test_what_cannot_be_read(client: Client, body: bytes, kind: str, status: int, says: str) -> None:
    found = client.post("/predictions/outcomes", content=body, headers={"content-type": kind})
    assert (found.status_code, says in found.json()["detail"]) == (status, True)

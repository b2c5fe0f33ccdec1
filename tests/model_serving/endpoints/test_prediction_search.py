"""Predictions searched over HTTP, one of them in words, and batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ab_support import until
from serving_support import Client
from sporeprint import settings
from sporeprint.inference.telling_columns import telling_columns
from sporeprint.model_serving.api import create_app
from sporeprint.registry.registry import Registry
from sporeprint.schema import DatasetSchema
from sporeprint.web.names import label_of

STRANGE = {"cap-shape": "x", "stem-height": 99.0}


@pytest.fixture(scope="module")
def rows(shared_root: Path) -> list[dict[str, Any]]:
    golden = Registry(shared_root / "models/registry").load("production").golden.rows
    return [{name: value for name, value in row.items() if value is not None} for row in golden[:12]]


@pytest.fixture(scope="module")
def client(_small: dict[str, Any], shared_root: Path) -> Iterator[Client]:
    with Client(create_app(settings.parse(_small), shared_root, worker="w")) as client:
        yield client


@pytest.fixture(scope="module")
def ids(client: Client, rows: list[dict[str, Any]]) -> list[str]:
    """Twelve rows and a strange one, all in the database; the first has an outcome that was corrected."""
    ids = [client.post("/predict", json=row).json()["prediction_id"] for row in (*rows, STRANGE)]
    until(lambda: len(listing(client)) >= len(ids), 30)
    for code in ("e", "p"):
        client.post(f"/predictions/{ids[0]}/outcome", json={"outcome": code, "source": "lab"})
    return ids


def listing(client: Client, **parameters: Any) -> list[dict[str, Any]]:
    answer = client.get("/predictions", params=parameters)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["predictions"])


def test_the_latest_come_first_in_pages(client: Client, ids: list[str]) -> None:
    first = client.get("/predictions", params={"limit": 5}).json()
    rest = client.get("/predictions", params={"limit": 100, "before": first["next"]}).json()
    assert [each["prediction_id"] for each in (*first["predictions"], *rest["predictions"])] == list(reversed(ids))
    assert (rest["next"], rest["scanned_to"]) == (None, None)


def test_a_line_names_what_the_model_goes_by(client: Client, ids: list[str], shared_root: Path, rows: list[dict[str, Any]]) -> None:
    bundle = Registry(shared_root / "models/registry").load("production")
    line = next(each for each in listing(client) if each["prediction_id"] == ids[3])
    expected = [label_of(name) for name in telling_columns(bundle) if name in rows[3]][:3]
    assert [each.partition(": ")[0] for each in line["says"]] == expected


def test_filters_are_the_databases(client: Client, ids: list[str]) -> None:
    assert [each["prediction_id"] for each in listing(client, outcome="corrected")] == [ids[0]]
    corrected = listing(client, outcome="corrected")[0]
    assert (corrected["outcome"], corrected["revision"]) == ("p", 2)
    assert len(listing(client, outcome="none")) == len(ids) - 1
    verdicts = {each["verdict"] for each in listing(client)}
    assert sum(len(listing(client, verdict=verdict)) for verdict in verdicts) == len(ids)
    assert listing(client, since="2100-01-01T00:00:00Z") == []
    assert len(listing(client, until="2100-01-01T00:00:00Z")) == len(ids)


@pytest.mark.parametrize(
    ("parameters", "status", "says"),
    [
        ({"since": "yesterday"}, 422, "field 'since': expected a time with its zone"),
        ({"before": "1"}, 400, "parameter 'before': expected `next` of the page before, got '1'"),
        ({"before": "x"}, 400, "before"),
        ({"outcome": "maybe"}, 400, "outcome"),
        ({"limit": 0}, 400, "limit"),
        ({"batch_id": "none"}, 404, "there is no batch 'none'"),
        ({"batch_id": "0" * 32, "unit_id": "u"}, 400, "parameter 'unit_id': rows of a batch are searched by verdict and unseen alone"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_what_cannot_be_searched(client: Client, parameters: dict[str, Any], status: int, says: str) -> None:
    answer = client.get("/predictions", params=parameters)
    assert (answer.status_code, says in answer.json()["detail"]) == (status, True), answer.text


def test_one_prediction_in_words_with_its_reasons_and_revisions(client: Client, ids: list[str]) -> None:
    plain = client.get(f"/predictions/{ids[0]}").json()
    assert plain["outcomes"] is plain["features_in_words"] is plain["explanation"] is None
    known = client.get(f"/predictions/{ids[0]}?explain=true").json()
    assert [(each["outcome"], each["revision"]) for each in known["outcomes"]] == [("e", 1), ("p", 2)]
    assert known["outcome"] == known["outcomes"][-1]
    assert known["explanation"]["nearest"] is not None
    strange = client.get(f"/predictions/{ids[-1]}?explain=true").json()
    words = {each["column"]: each for each in strange["features_in_words"]}
    assert (words["cap-shape"]["text"], words["cap-shape"]["outside"]) == ("convex", False)
    assert (words["stem-height"]["text"], words["stem-height"]["outside"]) == ("99 cm", True)


def test_where_the_version_is_gone_the_reasons_are_and_the_rest_stays(client: Client, ids: list[str], shared_root: Path) -> None:
    other = next(name for name in ("decision_tree", "logistic_regression") if name != client.get("/models").json()["serving"].split("/")[0])
    made = client.post(f"/predict?model={other}", json={"cap-shape": "x"}).json()["prediction_id"]
    client.app.state.service.loader._named.clear()
    folder = shared_root / f"models/registry/{other}/v1"
    folder.rename(folder.with_name("away"))
    try:
        known = client.get(f"/predictions/{made}?explain=true").json()
        page = client.get(f"/ui/predictions/{made}")
    finally:
        folder.with_name("away").rename(folder)
    assert known["explanation"] is None
    assert f"no model {other!r}" in known["explanation_unknown"]
    assert known["features_in_words"][0]["text"] == "convex"
    assert page.status_code == 200
    assert "is not here any more" in page.text


@pytest.fixture(scope="module")
def batch_id(client: Client, rows: list[dict[str, Any]]) -> str:
    return str(client.post("/predict/batch", json=[*rows, {"no-such": 1}]).json()["batch_id"])


def test_a_batch_is_listed_described_searched_and_had_as_a_file(client: Client, batch_id: str, rows: list[dict[str, Any]]) -> None:
    until(lambda: any(each["batch_id"] == batch_id for each in client.get("/batches").json()["batches"]), 30)
    known = client.get(f"/batches/{batch_id}").json()
    assert (known["rows"], known["problems"], known["form"]) == (len(rows) + 1, 1, "json")
    lines = listing(client, batch_id=batch_id)
    assert [each["prediction_id"] for each in lines] == [f"{batch_id}:{number}" for number in range(len(rows))]
    assert len(listing(client, batch_id=batch_id, verdict="unknown")) == sum(each["verdict"] == "unknown" for each in lines)
    assert client.get(f"/predictions/{lines[0]['prediction_id']}?explain=true").json()["batch_id"] == batch_id
    first = client.get("/predictions", params={"batch_id": batch_id, "limit": 5}).json()
    assert first["next"] == "5"
    for form in ("csv", "parquet", "json"):
        for path in (f"/batches/{batch_id}/file", f"/ui/batches/{batch_id}/file"):
            file = client.get(path, params={"format": form})
            assert file.status_code == 200
            assert file.headers["content-disposition"] == f"attachment; filename={batch_id}.{form}"
            assert file.headers["x-content-type-options"] == "nosniff" or path.startswith("/batches")
    csv = pl.read_csv(client.get(f"/batches/{batch_id}/file?format=csv").content)
    assert csv["verdict"].to_list()[: len(rows)] == [each["verdict"] for each in lines]
    assert client.get("/batches/none/file").status_code == 404
    assert client.get(f"/ui/batches/{batch_id}/file?format=exe").status_code == 422


def test_the_table_in_words(client: Client, shared_root: Path) -> None:
    schema: DatasetSchema = Registry(shared_root / "models/registry").load("production").schema
    told = client.get("/schema").json()
    assert [each["name"] for each in told["columns"]] == list(schema.columns)
    columns = {each["name"]: each for each in told["columns"]}
    assert columns["cap-shape"]["section"] == "Cap"
    assert {each["code"]: each["word"] for each in columns["cap-shape"]["values"]} == schema.columns["cap-shape"].values
    assert columns["stem-height"]["low"] < columns["stem-height"]["high"]
    assert told["positive"] == {"code": "p", "word": "poisonous"}
    assert client.get("/schema?model=none").status_code == 404

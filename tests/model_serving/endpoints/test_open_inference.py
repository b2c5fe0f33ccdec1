"""The Open Inference Protocol: the clients of Triton and KServe with their defaults, and what is refused."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from serving_support import Client, Server
from sporeprint.model_serving.open_inference.tensors import BYTES, Tensor, to_bytes
from sporeprint.settings import Settings

SCRIPT = Path(__file__).parents[2] / "helpers" / "oip_clients.py"
OUTPUTS = ["verdict", "probability", "prediction", "novelty_p", "prediction_id"]


@pytest.fixture
def rows(small_table: Path, small_settings: Settings) -> list[dict[str, Any]]:
    """Rows of the training table and one without values, as JSON."""
    frame = pl.read_csv(small_table, separator=";", n_rows=5)
    columns = small_settings.dataset.columns
    return [*frame.select(list(columns)).to_dicts(), dict.fromkeys(columns)]


def columnar(rows: list[dict[str, Any]], settings: Settings, **changes: Any) -> dict[str, Any]:
    """A request with a tensor for each column, its values in JSON."""
    numeric = settings.dataset.numeric
    inputs = [
        {"name": name, "datatype": "FP64" if name in numeric else "BYTES", "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name in settings.dataset.columns
    ]
    return {"inputs": inputs, **changes}


def infer(client: Client, body: Any, model: str = "mushroom", status: int = 200) -> Any:
    response = client.post(f"/v2/models/{model}/infer", content=body if isinstance(body, bytes) else json.dumps(body))
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def outputs(response: Any) -> dict[str, list[Any]]:
    return {output["name"]: output["data"] for output in response["outputs"]}


# --- real clients --------------------------------------------------------------------------------------------------------


def test_every_call_of_the_clients_of_triton_and_kserve(
    clients: Path, served: Callable[..., Server], rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    server = served()
    expected = [server.client.post("/predict", json=row).json() for row in rows]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    address = str(server.client.base_url).rstrip("/")
    asked = subprocess.run([clients, SCRIPT, address, tmp_path / "rows.json"], capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    report = json.loads(asked.stdout)
    verdicts, probabilities = ([answer[name] for answer in expected] for name in ("verdict", "probability"))
    assert report["live"]
    assert report["ready"]
    assert report["server"]["name"] == "sporeprint"
    assert report["model_ready"] == [True, True, False]
    assert {(entry["name"], entry["state"]) for entry in report["index"]} >= {("xgboost", "READY")}
    for way in ("binary", "json", "mixed", "gzip", "deflate", "accepts_gzip", "parameters", "rows", "async", "aio"):
        assert report[way]["verdict"] == verdicts, way
    for way in ("binary", "mixed", "gzip", "deflate", "parameters"):
        assert report[way]["probability"] == pytest.approx(probabilities, abs=1e-6), way
    assert report["binary"]["outputs"] == OUTPUTS
    assert report["mixed"]["outputs"] == ["probability", "verdict"]
    assert (report["version"]["model"], report["version"]["version"]) == ("xgboost", "1")
    assert report["parameters"]["id"] == "7"
    assert report["empty"] == []
    assert report["kserve"] == {"live": True, "ready": True, "model_ready": True, "binary": verdicts, "json": verdicts}
    others = report["others"]
    assert others.pop("load") is None
    assert {name: answer for name, answer in others.items() if answer.get("status") not in ("400", "404")} == {}
    assert others["lacking"]["refused"].startswith("input 'cap-diameter' is missing")


# --- answers -------------------------------------------------------------------------------------------------------------


def test_rows_answer_as_predict_does_and_are_kept(client: Client, rows: list[dict[str, Any]], small_settings: Settings) -> None:
    response = infer(client, columnar(rows, small_settings, id="mine"))
    assert (response["model_name"], response["id"]) == ("mushroom", "mine")
    given = outputs(response)
    assert list(given) == OUTPUTS
    expected = [client.post("/predict", json=row).json() for row in rows]
    for name in ("verdict", "prediction"):
        assert given[name] == [answer[name] for answer in expected]
    for name in ("probability", "novelty_p"):
        assert given[name] == pytest.approx([answer[name] for answer in expected], abs=1e-6)
    kept = client.get(f"/predictions/{given['prediction_id'][0]}").json()
    assert kept["verdict"] == given["verdict"][0]


def test_one_tensor_of_rows_in_words_and_both_spellings(client: Client) -> None:
    rows = [{"cap-shape": "convex"}, {"cap_shape": "x"}]
    body = {"inputs": [{"name": "rows", "datatype": "BYTES", "shape": [2], "data": [json.dumps(row) for row in rows]}]}
    given = outputs(infer(client, body))
    assert given["probability"][0] == given["probability"][1]


def test_columns_that_were_not_observed(client: Client, rows: list[dict[str, Any]], small_settings: Settings) -> None:
    body = columnar(rows, small_settings)
    body["inputs"] = body["inputs"][:3]
    assert "'cap-color' is missing, and 16 more" in infer(client, body, status=400)["error"]
    assert len(outputs(infer(client, {**body, "parameters": {"partial": True}}))["verdict"]) == len(rows)


def test_a_column_without_a_value_may_have_any_datatype(client: Client, rows: list[dict[str, Any]], small_settings: Settings) -> None:
    empty = [{**row, "cap-shape": None, "cap-diameter": None} for row in rows]
    body = columnar(empty, small_settings)
    expected = outputs(infer(client, body))["probability"]
    for each in body["inputs"]:
        if each["name"] in ("cap-shape", "cap-diameter"):
            each["datatype"] = "FP64" if each["datatype"] == "BYTES" else "BYTES"
    assert outputs(infer(client, body))["probability"] == expected
    body["inputs"][1]["data"] = [1.5, *[None] * (len(rows) - 1)]
    assert "'cap-shape': datatype FP64; this column is nominal" in infer(client, body, status=400)["error"]


def test_binary_outputs_follow_their_json(client: Client, rows: list[dict[str, Any]], small_settings: Settings) -> None:
    body = columnar(rows, small_settings, parameters={"binary_data_output": True}, outputs=[{"name": "verdict"}])
    response = client.post("/v2/models/mushroom/infer", json=body)
    length = int(response.headers["inference-header-content-length"])
    head = json.loads(response.content[:length])
    size = head["outputs"][0]["parameters"]["binary_data_size"]
    assert len(response.content) == length + size
    expected = outputs(infer(client, columnar(rows, small_settings)))["verdict"]
    assert response.content[length:] == to_bytes(Tensor("verdict", BYTES, (len(rows),), expected))


def test_a_version_is_pinned_and_never_replaced(client: Client, rows: list[dict[str, Any]], small_settings: Settings) -> None:
    body = columnar(rows, small_settings)
    response = infer(client, body, "decision_tree/versions/1")
    assert (response["model_version"], response["parameters"]["model"]) == ("1", "decision_tree/v1")
    assert "has no version" in infer(client, body, "decision_tree/versions/2", 404)["error"]
    assert "versions are numbers" in infer(client, body, "decision_tree/versions/x", 404)["error"]


def test_the_versions_in_the_metadata_of_the_name_of_the_table_can_be_asked(
    client: Client, rows: list[dict[str, Any]], small_settings: Settings
) -> None:
    (version,) = client.get("/v2/models/mushroom").json()["versions"]
    assert client.get(f"/v2/models/mushroom/versions/{version}/ready").json() == {"name": "mushroom", "ready": True}
    response = infer(client, columnar(rows, small_settings), f"mushroom/versions/{version}")
    assert response["parameters"]["model"] == infer(client, columnar(rows, small_settings))["parameters"]["model"]
    assert "has no version" in infer(client, columnar(rows, small_settings), "mushroom/versions/7", 404)["error"]


@pytest.mark.parametrize("version", ["0", "-1", "1.0", "9" * 5000, "%D9%A1", "%C2%B2", "vv1"])
def test_versions_that_are_no_numbers(client: Client, rows: list[dict[str, Any]], small_settings: Settings, version: str) -> None:
    assert "has no version" in infer(client, columnar(rows, small_settings), f"xgboost/versions/{version}", 404)["error"]
    assert client.get(f"/models/xgboost/v{version}").status_code == 404


def test_metadata_of_server_and_models(client: Client, small_settings: Settings) -> None:
    for address in ("/v2", "/v2/"):
        assert client.get(address).json()["name"] == "sporeprint"
    metadata = client.get("/v2/models/xgboost").json()
    assert metadata["versions"] == ["1"]
    assert [each["name"] for each in metadata["inputs"]] == list(small_settings.dataset.columns)
    assert {each["datatype"] for each in metadata["inputs"]} == {"BYTES", "FP64"}
    assert [each["name"] for each in metadata["outputs"]][:5] == OUTPUTS
    assert set(client.get("/v2/models").json()["models"]) >= {"mushroom", "xgboost", "decision_tree"}


# --- refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "cap-diametre"}, "input 'cap-diametre' does not exist (did you mean 'cap-diameter'?)"),
        ({"name": "cap-shape"}, "input 'cap-shape' is given twice"),
        ({"name": "cap_shape"}, "input 'cap-shape' is given in both spellings"),
        ({"datatype": "BYTES", "data": ["1"]}, "input 'cap-diameter': datatype BYTES; this column is numeric"),
        ({"shape": [2], "data": [1, 2]}, "input 'cap-shape' has 1 rows, 'cap-diameter' has 2"),
        ({"shape": [1, 1, 1]}, r"shape [1, 1, 1]; expected [n] or [n, 1]"),
        ({"shape": [1, 2], "data": [1, 2]}, r"shape [1, 2]; expected [n] or [n, 1]"),
        ({"data": [-5]}, "row 0: field 'cap-diameter': -5 is out of range"),
        ({"shape": [1], "data": [1, 2]}, "shape [1] has 1 elements, 'data' has 2"),
    ],
)
def test_tensors_that_do_not_fit(
    client: Client, rows: list[dict[str, Any]], small_settings: Settings, change: dict[str, Any], message: str
) -> None:
    body = columnar(rows[:1], small_settings)
    body["inputs"][0] |= change
    assert message in infer(client, body, status=400)["error"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outputs": [{"name": "verdicts"}]}, "output 'verdicts' does not exist (did you mean 'verdict'?)"),
        ({"outputs": [{"name": "verdict"}] * 2}, "output 'verdict' is named twice"),
        ({"parameters": {"unit": 3}}, "parameter 'unit': expected a text of 1 to 255 characters, got 3"),
        ({"parameters": {"partial": "yes"}}, "parameter 'partial': expected true or false, got 'yes'"),
    ],
)
def test_requests_that_do_not_fit(
    client: Client, rows: list[dict[str, Any]], small_settings: Settings, change: dict[str, Any], message: str
) -> None:
    assert message in infer(client, columnar(rows, small_settings, **change), status=400)["error"]


def test_errors_have_the_shape_of_the_protocol_everywhere_below_v2(client: Client) -> None:
    for method, address, status in (
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/nobody", 404),
        ("GET", "/v2/models/decision_tree%2Fv1/ready", 404),  # a name has no slash: a version is named behind /versions/
        ("POST", "/v2/models/decision_tree/v1/infer", 404),
        ("GET", "/v2/models/mushroom/infer", 405),
        ("POST", "/v2/models/mushroom/infer", 400),
        ("POST", "/v2/repository/models/xgboost/unload", 400),
    ):
        response = client.request(method, address)
        assert response.status_code == status, address
        assert response.headers["content-type"] == "application/json"
        assert set(response.json()) == {"error"}


def test_a_repository_without_uploads(client: Client) -> None:
    assert client.post("/v2/repository/models/xgboost/load", json={}).status_code == 200
    assert client.post("/v2/repository/models/xgboost/load", json={"parameters": []}).status_code == 400
    for name in ("config", "file:1/model.onnx", "FILE:1/model.onnx"):
        response = client.post("/v2/repository/models/xgboost/load", json={"parameters": {name: "x"}})
        assert response.status_code == 400
        assert "overrides are refused" in response.json()["error"]
    listed = client.post("/v2/repository/index", json={"ready": True}).json()
    assert {entry["state"] for entry in listed} == {"READY"}
    assert client.post("/v2/repository/index", json={"ready": 1}).status_code == 422


def test_a_damaged_version_is_listed_as_unavailable(started: Callable[..., Client], small_copy: Path) -> None:
    (small_copy / "models/registry/xgboost/v1/manifest.json").write_bytes(b"{}")
    client = started()
    states = {entry["name"]: entry["state"] for entry in client.post("/v2/repository/index").json()}
    assert states["xgboost"] == "UNAVAILABLE"
    assert states["decision_tree"] == "READY"


def test_too_many_rows(started: Callable[..., Client], rows: list[dict[str, Any]], small_settings: Settings) -> None:
    client = started(serving={"max_batch_rows": 3})
    error = infer(client, columnar(rows, small_settings), status=400)["error"]
    assert error.startswith(f"{len(rows)} rows; allowed are 3 in one request; POST /predict/batch takes more")


def test_the_openapi_document_leaves_the_protocol_to_its_own(client: Client) -> None:
    assert [path for path in client.get("/openapi.json").json()["paths"] if path.startswith("/v2")] == []

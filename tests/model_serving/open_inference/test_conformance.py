"""Every response below /v2 against the protocol's published OpenAPI documents, which MLServer makes its types from."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from serving_support import Client
from sporeprint.settings import Settings

GOLDEN = Path(__file__).parents[2] / "golden" / "open_inference"
DOCUMENTS = {name: json.loads((GOLDEN / f"{name}.json").read_text()) for name in ("dataplane", "model_repository")}
#: Extensions of MLServer that are no part of the protocol, and streams.
EXTENSIONS = ("infer_stream", "generate", "generate_stream")
OPERATIONS = [
    (document, path, method, operation)
    for document, content in DOCUMENTS.items()
    for path, methods in content["paths"].items()
    for method, operation in methods.items()
    if method in {"get", "post"} and path.rpartition("/")[2] not in EXTENSIONS
]

#: The documents have a type that JSON has not: bytes, beside a list.
Validator = jsonschema.validators.extend(
    jsonschema.Draft7Validator, type_checker=jsonschema.Draft7Validator.TYPE_CHECKER.redefine("bytes", lambda *_: False)
)


def conforms(value: Any, schema: dict[str, Any], document: str) -> None:
    Validator({**schema, "components": DOCUMENTS[document]["components"]}).validate(value)


def schema_of(operation: dict[str, Any], status: int) -> dict[str, Any] | None:
    content: dict[str, Any] = operation["responses"].get(str(status), {}).get("content", {})
    return next((media["schema"] for media in content.values()), None)


@pytest.fixture
def body(small_table: Path, small_settings: Settings) -> dict[str, Any]:
    frame = pl.read_csv(small_table, separator=";", n_rows=3)
    numeric = small_settings.dataset.numeric
    inputs = [
        {
            "name": name,
            "datatype": "FP64" if name in numeric else "BYTES",
            "shape": [3],
            "data": (frame[name] if name in numeric else frame[name].fill_null("")).to_list(),
        }
        for name in small_settings.dataset.columns
    ]
    return {"id": "7", "parameters": {"priority": 1}, "inputs": inputs, "outputs": [{"name": "verdict"}, {"name": "probability"}]}


@pytest.mark.parametrize(("document", "path", "method", "operation"), OPERATIONS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_response_is_as_published(
    client: Client, body: dict[str, Any], document: str, path: str, method: str, operation: dict[str, Any]
) -> None:
    for model, version, good in (("xgboost", "1", True), ("nobody", "1", False)):
        address = path.replace("{model_name}", model).replace("{model_version}", version)
        if address.endswith("/infer"):
            conforms(body, {"$ref": "#/components/schemas/InferenceRequest"}, document)
        response = client.request(method, address, json=body if address.endswith("/infer") else {} if method == "post" else None)
        named = "{" in path
        refused = address.endswith("/unload")
        expected = 404 if named and not good else 400 if refused else 200
        assert response.status_code == expected, response.text
        schema = schema_of(operation, response.status_code)
        if schema is not None:
            conforms(response.json(), schema, document)
        elif response.status_code != 200:
            assert set(response.json()) == {"error"}


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_request_of_the_published_kind_is_answered_or_refused_as_published(
    client: Client, body: dict[str, Any], data: st.DataObject
) -> None:
    """Requests that the document allows and the model need not: never another shape, never a fault of the server."""
    tensors = data.draw(st.permutations(body["inputs"]))
    place = data.draw(st.integers(0, len(tensors) - 1))
    change = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "datatype": st.sampled_from(["BOOL", "UINT8", "INT64", "FP16", "FP32", "FP64", "BYTES", "XP"]),
                "shape": st.lists(st.integers(-2, 5), max_size=3),
                "data": st.lists(
                    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=3)), max_size=5
                ),
                "name": st.text(max_size=8),
            },
        )
    )
    changed = {**tensors[place], **change}
    response = client.post("/v2/models/mushroom/infer", json={**body, "inputs": [*tensors[:place], changed, *tensors[place + 1 :]]})
    assert response.status_code in {200, 400}, response.text
    name = "InferenceResponse" if response.status_code == 200 else "InferenceErrorResponse"
    conforms(response.json(), {"$ref": f"#/components/schemas/{name}"}, "dataplane")

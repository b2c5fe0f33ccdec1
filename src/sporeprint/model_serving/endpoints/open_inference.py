"""`/v2`: the Open Inference Protocol, for the clients of KServe, Triton and MLServer. Each row is kept as over `/predict`.

The addresses answer without FastAPI, because clients send bodies of any content type, and errors have the protocol's shape. They are not
in the OpenAPI document: the protocol has one of its own. Models are named as in `GET /models`; the name of the table is what serves,
its A/B test included.
"""

import asyncio
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from sporeprint import __version__
from sporeprint.errors import RegistryError
from sporeprint.model_serving.endpoints.predict import new_id
from sporeprint.model_serving.endpoints.predict_batch import predict_frame
from sporeprint.model_serving.endpoints.routing import answered_by, router
from sporeprint.model_serving.endpoints.status import not_ready
from sporeprint.model_serving.http.encodings import unpack
from sporeprint.model_serving.http.problems import HttpProblemError, bad_parameter, not_found, not_valid, too_large
from sporeprint.model_serving.http.requests import Receive, Scope, Send, content_encoding, read_body, respond
from sporeprint.model_serving.open_inference.mapping import (
    Answers,
    Row,
    check_outputs,
    input_metadata,
    output_metadata,
    to_columns,
    to_rows,
    to_tensors,
)
from sporeprint.model_serving.open_inference.tensors import (
    InferRequest,
    Limits,
    Tensor,
    TensorError,
    parse,
    read_options,
    read_request,
    write_response,
)
from sporeprint.model_serving.runtime.ab_routing import MOST_UNIT, Route, unit_id_header
from sporeprint.model_serving.runtime.dynamic_batching import CompletedPrediction, PendingRequest
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.model_serving.runtime.row_parser import check_values
from sporeprint.model_serving.runtime.service import Service
from sporeprint.registry.registry import VERSION_NAME
from sporeprint.schema import Kind

routes = router()

EXTENSIONS = ("binary_tensor_data", "model_repository")
HEADER_LENGTH = b"inference-header-content-length"
#: Rows that are predicted one by one, each a record of its own; more are a batch, kept as a file.
FEW_ROWS = 128
#: Outputs that are fields of a prediction.
SCORES = ("verdict", "probability", "prediction", "novelty_p", "reason", "unknown")
#: Output -> its value for one prediction; `test` is no output, but a parameter of the response.
_VALUES: Mapping[str, Callable[[CompletedPrediction], Any]] = {
    **{name: operator.attrgetter(f"answer.{name}") for name in SCORES},
    "look_at": lambda each: ",".join(each.answer.look_at),
    "prediction_id": operator.attrgetter("record.prediction_id"),
    "model": lambda each: f"{each.record.model}/v{each.record.version}",
    "arm": operator.attrgetter("record.arm"),
    "test": operator.attrgetter("record.test_id"),
}
_ALWAYS = ("model", "test")
#: Name and version of the model, and the id of the last prediction, or of the batch.
Reference = tuple[str, int, str]
PREFIX = "/v2"


async def _respond(send: Send, value: Any, status: int = 200) -> None:
    await respond(send, status, orjson.dumps(value))


def _parameters(scope: Scope) -> Mapping[str, str]:
    return scope["path_params"]  # type: ignore[no-any-return]


# --- server and models ---------------------------------------------------------------------------------------------------


async def respond_live(service: Service, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 -- one signature for all
    """Say that the process answers."""
    await _respond(send, {"live": True})


async def respond_ready(service: Service, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Say whether predictions can be given."""
    ready = not_ready(service) is None
    await _respond(send, {"live": True, "ready": ready}, 200 if ready else 503)


async def respond_server(service: Service, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Describe the server."""
    await _respond(send, {"name": "sporeprint", "version": __version__, "extensions": EXTENSIONS})


async def respond_models(service: Service, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """List the names of the models."""
    names = await asyncio.to_thread(service.loader.registry.names)
    await _respond(send, {"models": [service.loader.current.bundle.schema.name, *names]})


async def respond_model(service: Service, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Describe a model: versions, inputs and outputs."""
    name = _parameters(scope)["model"]
    served = await _model(service, scope)
    versions = await asyncio.to_thread(service.loader.registry.versions, served.ref.name)
    metadata = {
        "name": name,
        "versions": [str(version) for version in versions],
        "platform": f"sporeprint_{served.bundle.scorer.kind}",
        "inputs": input_metadata(served.bundle.schema),
        "outputs": output_metadata(),
    }
    await _respond(send, metadata)


async def respond_model_ready(service: Service, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Say whether a model can be asked."""
    await _model(service, scope)
    ready = not_ready(service) is None
    await _respond(send, {"name": _parameters(scope)["model"], "ready": ready}, 200 if ready else 503)


async def _model(service: Service, scope: Scope) -> LoadedModel:
    """The version that an address names.

    Raises:
        HttpProblemError: if there is none.
    """
    name, version = _parameters(scope)["model"], _parameters(scope).get("version")
    if version is None and name == service.loader.current.bundle.schema.name:
        return service.loader.current
    if version is None:
        ref = name
    elif VERSION_NAME.fullmatch(number := f"v{version.removeprefix('v')}"):
        # The versions of the name of the table are those of the model that serves, as its metadata lists them.
        ref = f"{service.loader.current.ref.name if name == service.loader.current.bundle.schema.name else name}/{number}"
    else:
        raise HttpProblemError(not_found(f"model {name[:64]!r} has no version {version[:20]!r}; versions are numbers from 1 on"))
    try:
        return await service.loader.get(ref)
    except RegistryError as error:
        raise HttpProblemError(not_found(str(error))) from error


# --- repository ----------------------------------------------------------------------------------------------------------


async def respond_index(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """List every version."""
    options = await _json_body(service, scope, receive)
    ready_only = options.get("ready", False)
    if not isinstance(ready_only, bool):
        raise HttpProblemError(not_valid(f"'ready': expected true or false, got {ready_only!r}"))
    await _respond(send, await asyncio.to_thread(_index, service, ready_only=ready_only))


def _index(service: Service, *, ready_only: bool) -> list[dict[str, str]]:
    registry, entries = service.loader.registry, []
    for name in registry.names():
        for version in registry.versions(name):
            try:
                registry.show(f"{name}/v{version}")  # reads it and holds it against its digest
                entries.append({"name": name, "version": str(version), "state": "READY", "reason": ""})
            except RegistryError:
                reason = "damaged; sporeprint models verify says more"
                entries.append({"name": name, "version": str(version), "state": "UNAVAILABLE", "reason": reason})
    return [entry for entry in entries if entry["state"] == "READY"] if ready_only else entries


async def respond_load(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Load a version of the registry; models are never uploaded."""
    parameters = (await _json_body(service, scope, receive)).get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise HttpProblemError(bad_parameter(f"'parameters': expected an object, got {parameters!r:.60}"))
    if any(name.lower() == "config" or name.lower().startswith("file:") for name in parameters or ()):
        detail = "models come from the registry: 'config' and 'file:' overrides are refused; use sporeprint models import"
        raise HttpProblemError(bad_parameter(detail))
    await _model(service, scope)
    await _respond(send, {})


async def respond_unload(service: Service, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """Refuse: versions are unloaded by themselves."""
    await _model(service, scope)
    raise HttpProblemError(bad_parameter("models are unloaded by themselves when nobody asks for them; what serves by itself stays"))


async def _json_body(service: Service, scope: Scope, receive: Receive) -> Mapping[str, Any]:
    """A small body that may be empty, whatever its content type."""
    body = await read_body(receive, service.limits.max_body_kb << 10)
    if not body:
        return {}
    try:
        value = orjson.loads(unpack(content_encoding(dict(scope["headers"])), body, service.limits.max_body_kb << 10))
    except orjson.JSONDecodeError as error:
        raise HttpProblemError(bad_parameter(f"the body is not JSON: {error}")) from error
    if not isinstance(value, dict):
        raise HttpProblemError(bad_parameter("the body is not a JSON object"))
    return value


# --- inference -----------------------------------------------------------------------------------------------------------


async def respond_infer(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Predict the rows of a request."""
    limit, headers = service.limits.max_batch_mb << 20, dict(scope["headers"])
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length[:18]) > limit:
        raise HttpProblemError(too_large(limit))
    served = await _model(service, scope)
    body = unpack(content_encoding(headers), await read_body(receive, limit), limit)
    schema = served.bundle.schema
    try:
        header = _header_length(headers)
        check_values(body if header is None else body[:header], service.limits.upload_memory_mb << 20)
        document = parse(body, header)
        row = served.plain_columns.row(document)
        if row is None:
            request = read_request(document, Limits(tensors=2 * len(schema.columns), elements=limit))
            columns = to_columns(request, schema, service.limits.max_batch_rows)
        else:
            request, columns = read_options(document), [row]
        outputs = check_outputs(request)
        route, unit = await _route(service, scope, request)
        if isinstance(columns, dict) and route is None and len(columns) == len(schema.columns) and _height(columns) > FEW_ROWS:
            answers, last = await _predict_table(service, served, columns)
        else:
            answers, last = await _predict_rows(service, served, columns, route, unit, {output.name for output in outputs})
    except TensorError as error:
        raise HttpProblemError(bad_parameter(str(error))) from error
    scope["request_context"].answered(*last)
    tensors = to_tensors(answers, outputs, binary=request.binary)
    await _respond_infer(send, scope, request, served, answers, tensors)


def _height(columns: Mapping[str, Sequence[Any]]) -> int:
    return len(next(iter(columns.values()), ()))


def _header_length(headers: Mapping[bytes, bytes]) -> int | None:
    value = headers.get(HEADER_LENGTH)
    if value is None:
        return None
    if not value.isdigit() or len(value) > 18:
        raise TensorError(f"Inference-Header-Content-Length is {value[:30].decode('latin-1')!r}; expected a number of bytes")
    return int(value)


def _row(served: LoadedModel, number: int, raw: dict[str, Any]) -> Row:
    try:
        return served.reader.row(raw)
    except HttpProblemError as error:
        raise TensorError(f"row {number}: {error.problem.detail}") from error


async def _route(service: Service, scope: Scope, request: InferRequest) -> tuple[Route | None, str | None]:
    """The A/B test that a request takes part in, and the unit that keeps its arm. A named version takes part in none."""
    test, unit = request.parameters.get("ab_test"), request.parameters.get("unit")
    for name, value in (("ab_test", test), ("unit", unit)):
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= MOST_UNIT):
            raise TensorError(f"parameter {name!r}: expected a text of 1 to {MOST_UNIT} characters, got {value!r}")
    routed = "version" not in _parameters(scope) and _parameters(scope)["model"] == service.loader.current.bundle.schema.name
    if not routed:
        if test is not None:
            raise TensorError("parameter 'ab_test': a test chooses its model; ask for the model that has the name of the table")
        return None, None
    route = service.tests.default if test is None else await service.tests.find(test)
    return route, None if route is None else unit or unit_id_header(scope)


async def _predict_rows(
    service: Service,
    served: LoadedModel,
    columns: Mapping[str, Sequence[Any]] | list[Row],
    route: Route | None,
    unit: str | None,
    outputs: Collection[str],
) -> tuple[Answers, Reference]:
    """Predict row by row: each may take part in an A/B test, and is a record of its own."""
    raw = columns if isinstance(columns, list) else to_rows(columns)
    requests = [PendingRequest(_row(served, number, row), served, route, unit, new_id()) for number, row in enumerate(raw)]
    if len(requests) == 1:
        completed = [await service.batcher.predict(requests[0], is_idle=service.in_flight == 1)]
    else:
        completed = await service.batcher.predict_all(requests)
    for each in completed:
        service.metrics.count_prediction(each.served, each.answer, each.record.features)
        service.metrics.count_arm(each.record.test_id, each.record.arm)
    answers = {name: [value_of(each) for each in completed] for name, value_of in _VALUES.items() if name in outputs or name in _ALWAYS}
    if not completed:
        return answers, (served.ref.name, served.ref.version, "")
    record = completed[-1].record
    return answers, (record.model, record.version, record.prediction_id)


async def _predict_table(service: Service, served: LoadedModel, columns: Mapping[str, Sequence[Any]]) -> tuple[Answers, Reference]:
    """Predict many rows as one batch, which is kept as a file: five times as fast a row."""
    numeric = [name for name, column in served.bundle.schema.columns.items() if column.kind is Kind.NUMERIC]
    frame = pl.DataFrame(
        {name: columns[name] for name in served.bundle.schema.columns}, schema_overrides=dict.fromkeys(numeric, pl.Float64)
    )
    about, predictions = await predict_frame(service, served, frame.with_columns(pl.exclude(numeric).cast(pl.String)))
    if predictions["prediction"].null_count():
        row = int(predictions["prediction"].is_null().arg_max() or 0)
        raise TensorError(f"row {row}: {predictions['reason'][row]}")
    answers = {name: predictions[name].to_list() for name in (*SCORES, "look_at", "prediction_id")}
    return {**answers, "model": [served.ref.ref] * predictions.height, "arm": [None] * predictions.height, "test": [None]}, (
        about.model,
        about.version,
        about.batch_id,
    )


async def _respond_infer(
    send: Send, scope: Scope, request: InferRequest, served: LoadedModel, answers: Answers, outputs: list[tuple[Tensor, bool]]
) -> None:
    model = answers["model"][0] if answers["model"] else served.ref.ref
    head: dict[str, Any] = {"model_name": _parameters(scope)["model"], "model_version": model.rpartition("/v")[2]}
    if request.id is not None:
        head["id"] = request.id
    parameters: dict[str, Any] = {"model": model}
    if answers["test"] and answers["test"][0] is not None:
        parameters["ab_test"] = answers["test"][0]
    if served.simulated:
        parameters["simulated"] = True
    body, header_length = write_response({**head, "parameters": parameters}, outputs)
    if header_length is None:
        await respond(send, 200, body)
    else:
        await respond(send, 200, body, ((HEADER_LENGTH, str(header_length).encode()),), b"application/octet-stream")


# --- addresses -----------------------------------------------------------------------------------------------------------

_MODEL = PREFIX + "/models/{model}"
_VERSION = _MODEL + "/versions/{version}"


@routes.get(PREFIX + "/health/live", name="oip_live", include_in_schema=False)
@answered_by(respond_live)
async def live() -> None:
    """Open Inference Protocol: whether the process answers."""


@routes.get(PREFIX + "/health/ready", name="oip_ready", include_in_schema=False)
@answered_by(respond_ready)
async def ready() -> None:
    """Open Inference Protocol: whether predictions can be given."""


@routes.get(PREFIX, name="oip_server", include_in_schema=False)
@routes.get(PREFIX + "/", name="oip_server", include_in_schema=False)
@answered_by(respond_server)
async def server() -> None:
    """Open Inference Protocol: the server's metadata."""


@routes.get(PREFIX + "/models", name="oip_models", include_in_schema=False)
@answered_by(respond_models)
async def models() -> None:
    """Open Inference Protocol: the names of the models."""


@routes.get(_MODEL, name="oip_model", include_in_schema=False)
@answered_by(respond_model)
async def model_metadata(model: str) -> None:
    """Open Inference Protocol: a model's metadata."""


@routes.get(_VERSION, name="oip_model_version", include_in_schema=False)
@answered_by(respond_model)
async def version_metadata(model: str, version: str) -> None:
    """Open Inference Protocol: a version's metadata."""


@routes.get(_MODEL + "/ready", name="oip_model_ready", include_in_schema=False)
@answered_by(respond_model_ready)
async def model_ready(model: str) -> None:
    """Open Inference Protocol: whether a model can be asked."""


@routes.get(_VERSION + "/ready", name="oip_version_ready", include_in_schema=False)
@answered_by(respond_model_ready)
async def version_ready(model: str, version: str) -> None:
    """Open Inference Protocol: whether a version can be asked."""


@routes.post(_MODEL + "/infer", name="oip_infer", include_in_schema=False)
@answered_by(respond_infer)
async def infer(model: str) -> None:
    """Open Inference Protocol: predict the rows of a request, in JSON or with binary tensors."""


@routes.post(_VERSION + "/infer", name="oip_version_infer", include_in_schema=False)
@answered_by(respond_infer)
async def version_infer(model: str, version: str) -> None:
    """Open Inference Protocol: predict with one version."""


@routes.post(PREFIX + "/repository/index", name="oip_index", include_in_schema=False)
@answered_by(respond_index)
async def index() -> None:
    """Open Inference Protocol: every version and its state."""


@routes.post(PREFIX + "/repository/models/{model}/load", name="oip_load", include_in_schema=False)
@answered_by(respond_load)
async def load(model: str) -> None:
    """Open Inference Protocol: load a registered model. Uploads are refused."""


@routes.post(PREFIX + "/repository/models/{model}/unload", name="oip_unload", include_in_schema=False)
@answered_by(respond_unload)
async def unload(model: str) -> None:
    """Open Inference Protocol: refused; models are unloaded by themselves."""

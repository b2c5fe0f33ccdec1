"""`POST /predict`: one row is scored, its prediction is kept, then given."""

import hashlib
import os
import time
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Annotated, NamedTuple

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict

from sporeprint.inference.prediction import Prediction
from sporeprint.messages.base import trusted
from sporeprint.messages.predictions import PredictionExplanation, PredictResponse
from sporeprint.model_serving.endpoints.explanation import explain_prediction
from sporeprint.model_serving.endpoints.predictions import IdempotencyKey
from sporeprint.model_serving.endpoints.routing import UNREADABLE, answered_by, problems, router
from sporeprint.model_serving.http.encodings import unpack
from sporeprint.model_serving.http.problems import HttpProblemError, bad_parameter, too_large
from sporeprint.model_serving.http.requests import (
    Headers,
    Receive,
    RequestHead,
    Scope,
    Send,
    parse_bool,
    query,
    read_body,
    read_request_head,
    respond_json,
)
from sporeprint.model_serving.runtime.ab_routing import Route, unit_id_header
from sporeprint.model_serving.runtime.dynamic_batching import PendingRequest
from sporeprint.model_serving.runtime.keyed_predictions import predict_once
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.model_serving.runtime.row_parser import Row
from sporeprint.model_serving.runtime.service import Service
from sporeprint.storage.prediction_record import PredictionRecord

routes = router()

PARAMETERS = ("model", "explain", "ab_test")
REPLAYED: Headers = ((b"idempotency-replayed", b"true"),)

ModelQuery = Annotated[
    str | None,
    Query(
        description="The model that predicts: production, a model's name (its champion), or one version as name/v2.",
        json_schema_extra={"example": "production"},
    ),
]
AbTestQuery = Annotated[str | None, Query(description="Name of an A/B test.")]


class RowRequest(BaseModel):
    """One observation. In the document it has the columns of the model that serves; what is sent is read by its row parser."""

    model_config = ConfigDict(title="Row", extra="allow")


class PredictOptions(NamedTuple):
    """What query and headers of a request ask for.

    Attributes:
        served: the version that scores the row, unless an A/B test assigns another one.
        explain: whether the response explains the prediction.
        key: of an idempotent request.
        route: the A/B test it takes part in; None: none.
        unit: the unit that keeps its arm, if the request names one.
    """

    served: LoadedModel
    explain: bool
    key: str | None
    route: Route | None = None
    unit: str | None = None


async def _read_options(service: Service, scope: Scope, head: RequestHead) -> PredictOptions:
    options = query(scope, PARAMETERS)
    name, test = options.get("model"), options.get("ab_test")
    if name is not None and test is not None:
        raise HttpProblemError(bad_parameter("parameters 'model' and 'ab_test' exclude each other: a test chooses its model"))
    route = service.tests.default if test is None else await service.tests.find(test)
    explain = parse_bool("explain", options.get("explain"))
    # What is no unit is refused, whether a test runs or not.
    unit = unit_id_header(scope) if b"x-unit-id" in scope["request_context"].headers else None
    if name is None:
        return PredictOptions(service.loader.current, explain, head.key, route, None if route is None else unit)
    return PredictOptions(await service.loader.get(name), explain, head.key)


def new_id() -> str:
    """An id that no other has, and that sorts by time: microseconds and chance."""
    return f"{time.time_ns() // 1000:014x}{_random_hex()}"


class _RandomHex:
    """The system's chance, 18 hex digits at a time, fetched for many: a call of the kernel takes as long as a tenth of an answer."""

    def __init__(self) -> None:
        self._left: list[str] = []

    def __call__(self) -> str:
        if not self._left:
            fetched = os.urandom(9 * 256).hex()
            self._left = [fetched[begin : begin + 18] for begin in range(0, len(fetched), 18)]
        return self._left.pop()


_random_hex = _RandomHex()


def id_of_key(caller: str, key: str) -> str:
    """The id of the batch of an idempotent request: the same caller's same key names the same batch."""
    name = f"{caller}\n{key}"
    return f"k{hashlib.sha256(name.encode()).hexdigest()[:31]}"


# --- one row -------------------------------------------------------------------------------------------------------------


async def respond_predict(service: Service, scope: Scope, receive: Receive, send: Send) -> None:
    """Predict one row: without FastAPI, which would cost as much as the model does."""
    begin, created_us = perf_counter_ns(), time.time_ns() // 1000
    limit = service.limits.max_body_kb << 10
    head = read_request_head(scope["request_context"].headers, limit)
    options = await _read_options(service, scope, head)
    if (body := scope["request_context"].take_body()) is None:
        body = await read_body(receive, limit)
    elif len(body) > limit:
        raise HttpProblemError(too_large(limit))
    if head.encoding is not None:
        body = unpack(head.encoding, body, limit)
    parsing = perf_counter_ns()
    row = options.served.reader.read(body)
    parsed = perf_counter_ns() - parsing
    if options.key is not None:
        await _predict_once(service, scope, options, options.key, row, send)
        return
    request = PendingRequest(row, options.served, options.route, options.unit, new_id(), created_us, begin)
    served, answer, stages, record, at = await service.batcher.predict(request, is_idle=service.in_flight == 1)
    spent = (parsed, *stages, perf_counter_ns() - at)
    service.metrics.observe_prediction(served, answer, row, spent)
    service.metrics.count_arm(record.test_id, record.arm)
    scope["request_context"].answered(record.model, record.version, record.prediction_id)
    explanation = await explain_prediction(served, row) if options.explain else None
    response = _response(service, record, served, answer, explanation)
    await respond_json(send, response, ((b"server-timing", _timing(spent)),))


@routes.post("/predict", responses=problems(*UNREADABLE, 501))
@answered_by(respond_predict)
async def predict(
    row: RowRequest,
    model: ModelQuery = None,
    explain: Annotated[bool, Query(description="Whether the response explains the prediction.")] = False,
    ab_test: AbTestQuery = None,
    unit: Annotated[
        str | None,
        Header(
            alias="X-Unit-Id",
            description="The unit of an A/B test: it keeps its arm and counts once. Without it, the row is the unit.",
            json_schema_extra={"minLength": 1, "maxLength": 255},
        ),
    ] = None,
    key: IdempotencyKey = None,
) -> PredictResponse:
    """Predict one row."""
    # Only its signature is used, for the OpenAPI document.
    raise NotImplementedError("the request is answered by respond_predict")


async def _predict_once(service: Service, scope: Scope, options: PredictOptions, key: str, row: Row, send: Send) -> None:
    """Answer an idempotent request: with the prediction that its key had before, or else a new one."""
    request = PendingRequest(row, options.served, options.route, options.unit, new_id())
    record, served, is_replayed = await predict_once(service, scope["caller"].name, key, request)
    headers = REPLAYED if is_replayed else ()
    scope["request_context"].answered(record.model, record.version, record.prediction_id)
    explanation = await explain_prediction(served, row) if options.explain else None
    await respond_json(send, _response(service, record, served, served.why(row), explanation), headers)


def _response(
    service: Service,
    record: PredictionRecord,
    served: LoadedModel,
    answer: Prediction,
    explanation: PredictionExplanation | None,
) -> PredictResponse:
    target = served.bundle.schema.target
    return trusted(
        PredictResponse,
        prediction_id=record.prediction_id,
        verdict=record.verdict,
        reason=answer.reason,
        unknown=answer.unknown,
        look_at=answer.look_at,
        novelty_p=record.novelty_p,
        unseen=record.unseen,
        outside=answer.outside,
        prediction=record.prediction,
        probability=record.probability,
        probability_of=target.values[target.positive],
        threshold=record.threshold,
        model=record.model,
        version=record.version,
        simulated=served.simulated,
        ab_test=None if record.test_id is None else service.tests.describe(record),
        explanation=explanation,
    )


def _timing(spent: Sequence[int]) -> bytes:
    """The header Server-Timing; durations in milliseconds."""
    parse, encode, score, guard, log = spent
    return (
        f"parse;dur={parse / 1e6:.3f}, encode;dur={encode / 1e6:.3f}, score;dur={score / 1e6:.3f}, "
        f"guard;dur={guard / 1e6:.3f}, log;dur={log / 1e6:.3f}"
    ).encode()

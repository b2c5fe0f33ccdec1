"""`POST /predict`: a row, answered, kept, then given."""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from sporeprint.inference import predictor
from sporeprint.model_serving.http.problems import ProblemError, bad_parameter
from sporeprint.model_serving.http.requests import (
    Headers,
    Receive,
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

PARAMETERS = ("model", "explain", "ab_test")
REPLAYED: Headers = ((b"idempotency-replayed", b"true"),)


@dataclass(frozen=True)
class PredictOptions:
    """What the query and the headers ask for.

    Attributes:
        served: the model that is to answer.
        explain: whether reasons are wanted.
        key: of an idempotent request.
        route: the A/B test it takes part in; None: none.
        unit: what keeps the test's arm, where the request names it.
    """

    served: LoadedModel
    explain: bool
    key: str | None
    route: Route | None = None
    unit: str | None = None


async def _read_options(service: Service, scope: Scope, limit: int) -> PredictOptions:
    head = read_request_head(scope, limit)
    given = query(scope, PARAMETERS)
    name, test = given.get("model"), given.get("ab_test")
    if name is not None and test is not None:
        raise ProblemError(bad_parameter("parameters 'model' and 'ab_test' exclude each other: a test chooses its model"))
    route = service.tests.default if test is None else await service.tests.find(test)
    explain = parse_bool("explain", given.get("explain"))
    if name is None:
        return PredictOptions(service.loader.current, explain, head.key, route, None if route is None else unit_id_header(scope))
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


async def predict(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Answer one row."""
    begin, created_us = perf_counter_ns(), time.time_ns() // 1000
    limit = service.limits.max_body_kb << 10
    options = await _read_options(service, scope, limit)
    body = await read_body(receive, limit)
    parsing = perf_counter_ns()
    row = options.served.reader.read(body)
    parsed = perf_counter_ns() - parsing
    if options.key is not None:
        return await _predict_once(service, scope, options, options.key, row, send)
    request = PendingRequest(row, options.served, options.route, options.unit, new_id(), created_us, begin)
    served, answer, stages, record, at = await service.batcher.predict(request, is_idle=service.in_flight == 1)
    spent = (parsed, *stages, perf_counter_ns() - at)
    service.metrics.observe_prediction(served, answer, spent)
    scope["exchange"].answered(record.model, record.version, record.prediction_id)
    found = _response(service, record, served, answer.outside, answer.reason)
    if options.explain:
        found |= await _reasons(served, row)
    await respond_json(send, found, headers=((b"server-timing", _timing(spent)),))
    return 200


async def _predict_once(service: Service, scope: Scope, options: PredictOptions, key: str, row: Row, send: Send) -> int:
    """Answer an idempotent request: with the prediction that its key had before, or else a new one."""
    request = PendingRequest(row, options.served, options.route, options.unit, new_id())
    record, served, is_replayed = await predict_once(service, scope["caller"].name, key, request)
    headers = REPLAYED if is_replayed else ()
    scope["exchange"].answered(record.model, record.version, record.prediction_id)
    outside, reason = served.why(row, record.verdict, record.probability, record.novelty_p)
    found = _response(service, record, served, outside, reason)
    if options.explain:
        found |= await _reasons(served, row)
    await respond_json(send, found, headers=headers)
    return 200


def _response(
    service: Service, record: PredictionRecord, served: LoadedModel, outside: Sequence[str], reason: str | None
) -> dict[str, Any]:
    """An answer, as JSON values."""
    found: dict[str, Any] = {
        "prediction_id": record.prediction_id,
        "prediction": record.prediction,
        "probability": record.probability,
        "verdict": record.verdict,
        "novelty_p": record.novelty_p,
        "threshold": record.threshold,
        "model": record.model,
        "version": record.version,
        "unseen": record.unseen,
        "outside": outside,
        "reason": reason,
    }
    if record.test_id is not None:
        found["ab_test"] = service.tests.describe(record)
    if served.simulated:
        found["simulated"] = True
    return found


async def _reasons(served: LoadedModel, row: Row) -> dict[str, Any]:
    found = await asyncio.to_thread(predictor.explain_row, served.bundle, row)
    near = found.nearest
    return {
        "reasons": [{"column": reason.column, "effect": reason.effect, "says": reason.text} for reason in found.attributions],
        "unit": found.unit,
        "base": found.base,
        "contradictions": found.prediction.contradictions,
        "most_like": str(found.prediction.most_like),
        "nearest": None
        if near is None
        else {
            "row": near.row,
            "is": str(found.nearest_component),
            "distance": near.distance,
            "differing": near.differing,
            "values": near.values,
        },
    }


def _timing(spent: Sequence[int]) -> bytes:
    """The header Server-Timing; durations in milliseconds."""
    parse, encode, score, guard, log = spent
    return (
        f"parse;dur={parse / 1e6:.3f}, encode;dur={encode / 1e6:.3f}, score;dur={score / 1e6:.3f}, "
        f"guard;dur={guard / 1e6:.3f}, log;dur={log / 1e6:.3f}"
    ).encode()

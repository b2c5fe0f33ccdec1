"""`POST /predict`: a row, answered, kept, then given."""

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from sporeprint.errors import JournalError, StorageUnavailableError
from sporeprint.inference import predictor
from sporeprint.model_serving.http.problems import Problem, ProblemError, bad_parameter
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


def id_of_key(key: str) -> str:
    """The id of the answer to an idempotent request: whoever gives the same key asks for the same answer."""
    return f"k{hashlib.sha256(key.encode()).hexdigest()[:31]}"


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
        return await _predict_once(service, scope, options, id_of_key(options.key), row, send)
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


async def _predict_once(service: Service, scope: Scope, options: PredictOptions, prediction_id: str, row: Row, send: Send) -> int:
    """Answer an idempotent request: what was answered to its key before, or else anew."""
    async with service.lock(prediction_id):
        served, record = options.served, await _earlier(service, prediction_id)
        headers = REPLAYED if record else ()
        if record is None:
            request = PendingRequest(row, options.served, options.route, options.unit, prediction_id)
            served, answer, _, record, _ = await service.batcher.predict(request, is_idle=service.in_flight == 1)
            service.metrics.count_prediction(served, answer.verdict, answer.unseen)
        else:
            _check_same_row(record, row)
            # The version that answered, whichever serves now.
            served = await service.loader.get(f"{record.model}/v{record.version}")
    scope["exchange"].answered(record.model, record.version, record.prediction_id)
    outside, reason = served.why(row, record.verdict, record.novelty_p)
    found = _response(service, record, served, outside, reason)
    if options.explain:
        found |= await _reasons(served, row)
    await respond_json(send, found, headers=headers)
    return 200


async def _earlier(service: Service, prediction_id: str) -> PredictionRecord | None:
    """What was answered under this id before, as far as it can be known now."""
    try:
        return await service.database.find(prediction_id)
    except StorageUnavailableError as error:
        if isinstance(error, JournalError):
            raise
        # The same request has the same answer, unless the model moved; and of one id the database keeps the first answer.
        return None


def _check_same_row(record: PredictionRecord, row: Mapping[str, Any]) -> None:
    if _known(record.features) != _known(row):
        detail = "this Idempotency-Key was used for another row; use a new key for a new request"
        raise ProblemError(Problem(422, "key-used", "The key was used for another request", detail))


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


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

"""Predictions of requests with an Idempotency-Key: the first of a caller's key is the prediction of that key."""

import hashlib
from typing import NamedTuple

import orjson

from sporeprint.model_serving.http.problems import HttpProblemError, Problem
from sporeprint.model_serving.runtime.dynamic_batching import PendingRequest
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.model_serving.runtime.row_parser import Row
from sporeprint.model_serving.runtime.service import Service
from sporeprint.storage.prediction_record import PredictionRecord


class KeyedResult(NamedTuple):
    """The prediction of a key.

    Attributes:
        record: as it is kept.
        served: the version that made it.
        is_replayed: whether an earlier request made it.
    """

    record: PredictionRecord
    served: LoadedModel
    is_replayed: bool


async def predict_once(service: Service, caller: str, key: str, request: PendingRequest) -> KeyedResult:
    """Score a request, unless its caller's key has a prediction.

    A prediction is synced in the store that all workers share before it is journaled: of two requests at once, in whatever workers, the
    second gets the first one's, or a conflict if its row is another one. The database is not asked.

    Raises:
        HttpProblemError: 422, the key was used for another row.
        JournalError: the prediction is not kept; the same request again is harmless.
    """
    store, row_sha256 = service.database.idempotency, digest(request.row)
    async with service.lock(f"{caller}\n{key}"):  # two at once in this worker are scored once
        stored = store.find(caller, key)
        if is_new := stored is None:
            request.is_kept = False
            served, answer, _, record, _ = await service.batcher.predict(request, is_idle=service.in_flight == 1)
            stored = await store.put(caller, key, row_sha256, record.to_bytes())
        assert stored is not None  # noqa: S101 -- it is found, or put
        if stored.row_sha256 != row_sha256:
            detail = "this Idempotency-Key was used for another row; use a new key for a new request"
            raise HttpProblemError(Problem(422, "key-used", "The key was used for another request", detail))
        record = PredictionRecord.from_bytes(stored.record)
        if not stored.is_journaled:
            await service.database.write(record)
            store.mark_journaled(caller, key)
    if is_new and record.prediction_id == request.prediction_id:
        service.metrics.count_prediction(served, answer, record.features)
        service.metrics.count_arm(record.test_id, record.arm)
        return KeyedResult(record, served, is_replayed=False)
    # The version that made it, whichever serves now.
    return KeyedResult(record, await service.loader.get(f"{record.model}/v{record.version}"), is_replayed=True)


def digest(row: Row) -> bytes:
    """Equal for rows with equal values, in whatever order. An empty cell is a value; a column left out was not observed."""
    return hashlib.sha256(orjson.dumps(dict(row), option=orjson.OPT_SORT_KEYS)).digest()

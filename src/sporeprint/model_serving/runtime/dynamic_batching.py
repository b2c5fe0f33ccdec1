"""Dynamic batching: requests that are pending in the same turn of the event loop are scored in one call, and none waits for company.

An idle server scores a request at once. A busy one scores, at the end of the loop's turn, all requests that arrived in it. A request
returns when its record is on the disk.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, NamedTuple

from sporeprint.common.telemetry import record_batch, recorded_span
from sporeprint.inference.prediction import Prediction
from sporeprint.model_serving.runtime.ab_routing import NO_PARTICIPATION, Participation, Route
from sporeprint.model_serving.runtime.loaded_model import MIN_ROWS_TOGETHER, LoadedModel, StageTimes, TimedPrediction
from sporeprint.model_serving.runtime.row_parser import Row
from sporeprint.storage.journal.writer import Journal
from sporeprint.storage.prediction_record import PredictionRecord

#: Most rows scored in one turn of the loop: this bounds how long a request that arrives meanwhile waits.
MAX_ROWS = 128


class CompletedPrediction(NamedTuple):
    """A prediction whose record is kept.

    Attributes:
        served: the version that scored the row.
        answer: its prediction.
        stages: nanoseconds of each stage.
        record: what the journal keeps.
        at: when it was scored, nanoseconds of the monotonic clock.
    """

    served: LoadedModel
    answer: Prediction
    stages: StageTimes
    record: PredictionRecord
    at: int


@dataclass(slots=True, eq=False)
class PendingRequest:
    """A row that waits to be scored.

    Attributes:
        row: the row, in the schema's names and codes.
        served: the version that scores it, unless an A/B test assigns another one.
        route: the A/B test it takes part in; None: none.
        unit: the unit that keeps its arm, if the request names one.
        prediction_id: id of the prediction.
        created_us: when the request arrived, microseconds since 1970.
        begin: the same, nanoseconds of the monotonic clock.
        is_kept: whether the journal keeps it; False: the caller sees to that.
        completed: the prediction, once there is one.
        span: of the request, where it is recorded.
    """

    row: Row
    served: LoadedModel
    route: Route | None
    unit: str | None
    prediction_id: str
    created_us: int = field(default_factory=lambda: time.time_ns() // 1000)
    begin: int = field(default_factory=perf_counter_ns)
    is_kept: bool = True
    completed: CompletedPrediction | None = None
    span: Any = field(default_factory=recorded_span)


class DynamicBatcher:
    """The pending requests of one event loop."""

    def __init__(self, journal: Journal, worker: str) -> None:
        self._journal, self._worker = journal, worker
        self._pending: list[tuple[PendingRequest, asyncio.Future[None]]] = []

    async def predict(self, request: PendingRequest, *, is_idle: bool) -> CompletedPrediction:
        """Score a request; returns when the record is on the disk, if it is to be kept.

        Args:
            request: the row and who scores it.
            is_idle: no other request is in flight: score at once instead of at the end of the loop's turn.

        Raises:
            DataError: if the record cannot be kept.
            JournalError: if it is not on the disk, or not for certain.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._pending.append((request, future))
        if is_idle:
            self._flush()
        elif len(self._pending) == 1:
            loop.call_soon(self._flush)
        await future
        assert request.completed is not None  # noqa: S101 -- it is set before the future is
        return request.completed

    async def predict_all(self, requests: Sequence[PendingRequest]) -> list[CompletedPrediction]:
        """Score the rows of one request; returns when all their records are on the disk. Others get their turn in between.

        Raises:
            DataError: if a record cannot be kept.
            JournalError: if one is not on the disk, or not for certain. The others of the request are kept all the same.
        """
        loop, futures, completed = asyncio.get_running_loop(), [], []
        for begin in range(0, len(requests), MAX_ROWS):
            batch = requests[begin : begin + MAX_ROWS]
            for request, result in zip(batch, predict_pending(batch, self._worker), strict=True):
                if isinstance(result, Exception):
                    raise result
                request.completed = result
                completed.append(result)
                futures.append(loop.create_future())
                self._journal.submit(result.record, futures[-1])
            await asyncio.sleep(0)
        await asyncio.gather(*futures)
        return completed

    def _flush(self) -> None:
        batch, self._pending = self._pending[:MAX_ROWS], self._pending[MAX_ROWS:]
        if self._pending:
            asyncio.get_running_loop().call_soon(self._flush)
        # A request that timed out no longer waits.
        batch = [(request, future) for request, future in batch if not future.done()]
        try:
            results = predict_pending([request for request, _ in batch], self._worker)
        except Exception as error:  # noqa: BLE001 -- it goes to the requests
            for _, future in batch:
                future.set_exception(error)
            return
        for (request, future), result in zip(batch, results, strict=True):
            if isinstance(result, Exception):
                future.set_exception(result)
                continue
            request.completed = result
            if not request.is_kept:
                future.set_result(None)
                continue
            try:
                self._journal.submit(result.record, future)
            except Exception as error:  # noqa: BLE001 -- it goes to the request
                future.set_exception(error)


def predict_pending(requests: Sequence[PendingRequest], worker: str) -> list[CompletedPrediction | Exception]:
    """Score requests; many whose versions share preprocessing are scored in one call. A request that fails has its exception here.

    Args:
        requests: n requests.
        worker: name of this process.
    """
    began_ns, began = time.time_ns(), perf_counter_ns()
    scored = {} if len(requests) < MIN_ROWS_TOGETHER else _score_together(requests)
    if spans := list(dict.fromkeys(request.span for request in requests if request.span is not None)):
        record_batch(spans, began_ns, len(requests))
    return [_complete(request, scored.get(number, {}), began, worker) for number, request in enumerate(requests)]


def _unit(request: PendingRequest) -> str:
    return request.prediction_id if request.route is None else request.route.unit(request.unit, request.row, request.prediction_id)


def _score_together(requests: Sequence[PendingRequest]) -> dict[int, dict[int, TimedPrediction]]:
    """What is answered to requests, by their numbers and the id of each version that is asked."""
    groups: defaultdict[str, list[tuple[int, LoadedModel]]] = defaultdict(list)
    for number, request in enumerate(requests):
        for served in (request.served,) if request.route is None else request.route.versions_for(_unit(request)):
            groups[served.preprocessing_key].append((number, served))
    scored: defaultdict[int, dict[int, TimedPrediction]] = defaultdict(dict)
    for group in groups.values():
        with contextlib.suppress(Exception):  # scored one by one, later, the row at fault is the only one that fails
            together = group[0][1].answers([requests[number].row for number, _ in group], [served for _, served in group])
            for (number, served), each in zip(group, together, strict=True):
                scored[number][id(served)] = each
    return scored


def _complete(request: PendingRequest, scored: Mapping[int, TimedPrediction], began: int, worker: str) -> CompletedPrediction | Exception:
    try:
        if request.route is None:
            served, part = request.served, NO_PARTICIPATION
            answer, stages = scored.get(id(served)) or served.answer(request.row)
        else:

            def ask(served: LoadedModel) -> TimedPrediction:
                return scored.get(id(served)) or served.answer(request.row)

            served, answer, stages, part = request.route.answer(_unit(request), request.served, ask)
    except Exception as error:  # noqa: BLE001 -- it goes to the request
        return error
    # The time of the others' rows is left out, so that the latencies of two versions can be compared.
    spent = began - request.begin + sum(stages)
    record = _record(request, served, answer, part, max(spent, 0) // 1000, worker)
    return CompletedPrediction(served, answer, stages, record, perf_counter_ns())


def _record(
    request: PendingRequest, served: LoadedModel, answer: Prediction, part: Participation, latency_us: int, worker: str
) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=request.prediction_id,
        created_us=request.created_us,
        model=served.ref.name,
        version=served.ref.version,
        prediction=answer.prediction,
        verdict=answer.verdict,
        features=request.row,
        latency_us=latency_us,
        worker=worker,
        probability=answer.probability,
        novelty_p=answer.novelty_p,
        threshold=answer.threshold,
        unseen=answer.unseen,
        test_id=part.test_id,
        arm=part.arm,
        unit_id=part.unit_id,
        shadow=part.shadow,
    )

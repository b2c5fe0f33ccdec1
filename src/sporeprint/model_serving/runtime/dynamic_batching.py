"""Rows that wait at the same time are answered together (adaptive batching), without any of them waiting for company.

A request puts its question here and waits for its record to be on the disk. What the loop was ready to ask in one turn is answered at the
end of that turn; alone, it is answered at once. So an idle server answers as fast as it can, and a busy one asks the model once for many.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import NamedTuple

from sporeprint.inference.predictor import Answer
from sporeprint.model_serving.runtime.ab_routing import NO_PARTICIPATION, Participation, Route
from sporeprint.model_serving.runtime.loaded_model import Answered, Served, Stages
from sporeprint.model_serving.runtime.row_parser import Row
from sporeprint.storage.journal.writer import Journal
from sporeprint.storage.prediction_record import PredictionRecord

#: Rows that are answered in one turn of the loop: what a request that arrives meanwhile waits for.
MOST = 128


class Given(NamedTuple):
    """What was answered.

    Attributes:
        served: who answers.
        answer: what.
        stages: how long it took.
        record: what is kept of it.
        at: when, by the clock that only goes forward, nanoseconds.
    """

    served: Served
    answer: Answer
    stages: Stages
    record: PredictionRecord
    at: int


@dataclass(slots=True, eq=False)
class Question:
    """A row, and who is asked.

    Attributes:
        row: what is asked.
        served: who answers, unless the test has another one do it.
        route: the A/B test it takes part in; None: none.
        unit: what keeps the test's arm, where the request names it.
        prediction_id: id of the answer.
        created_us: when it was asked.
        begin: the same, by the clock that only goes forward, nanoseconds.
        given: the answer, once there is one.
    """

    row: Row
    served: Served
    route: Route | None
    unit: str | None
    prediction_id: str
    created_us: int = field(default_factory=lambda: time.time_ns() // 1000)
    begin: int = field(default_factory=perf_counter_ns)
    given: Given | None = None


class Microbatch:
    """What waits in one loop to be answered."""

    def __init__(self, journal: Journal, worker: str) -> None:
        self._journal, self._worker = journal, worker
        self._waiting: list[tuple[Question, asyncio.Future[None]]] = []

    async def ask(self, question: Question, *, alone: bool) -> Given:
        """Return an answer when it is on the disk.

        Args:
            question: what is asked.
            alone: whether nobody else asks now.

        Raises:
            DataError: if the answer cannot be kept.
            JournalError: if it is not on the disk, or not for certain.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((question, future))
        if alone:
            self._answer()
        elif len(self._waiting) == 1:
            loop.call_soon(self._answer)
        await future
        assert question.given is not None  # noqa: S101 -- it was answered before it was kept
        return question.given

    def _answer(self) -> None:
        asked, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._answer)
        # Whoever was told that it takes too long does not wait any more.
        asked = [(question, future) for question, future in asked if not future.done()]
        try:
            given = answered([question for question, _ in asked], self._worker)
        except Exception as error:  # noqa: BLE001 -- it goes to whoever asked
            for _, future in asked:
                future.set_exception(error)
            return
        for (question, future), each in zip(asked, given, strict=True):
            if isinstance(each, Exception):
                future.set_exception(each)
                continue
            question.given = each
            try:
                self._journal.submit(each.record, future)
            except Exception as error:  # noqa: BLE001 -- it goes to whoever asked
                future.set_exception(error)


def answered(questions: Sequence[Question], worker: str) -> list[Given | Exception]:
    """Answer questions, those to one model and its kin together; in place of an answer that failed stands why.

    Args:
        questions: what is asked.
        worker: name of this process.
    """
    begin = perf_counter_ns()
    units = [
        question.prediction_id if question.route is None else question.route.unit(question.unit, question.row, question.prediction_id)
        for question in questions
    ]
    wanted: defaultdict[str, list[tuple[int, Served]]] = defaultdict(list)
    for number, (question, unit) in enumerate(zip(questions, units, strict=True)):
        for served in (question.served,) if question.route is None else question.route.versions_for(unit):
            wanted[served.kin].append((number, served))
    found: dict[tuple[int, int], Answered] = {}
    for asked in wanted.values():
        with contextlib.suppress(Exception):  # asked one by one, below, they show whose row it is
            together = asked[0][1].answers([questions[number].row for number, _ in asked], [served for _, served in asked])
            found |= {(id(served), number): each for (number, served), each in zip(asked, together, strict=True)}
    shared = perf_counter_ns() - begin
    return [
        _given(question, unit, number, found, shared, worker) for number, (question, unit) in enumerate(zip(questions, units, strict=True))
    ]


def _given(
    question: Question, unit: str, number: int, found: dict[tuple[int, int], Answered], shared: int, worker: str
) -> Given | Exception:
    def ask(served: Served) -> Answered:
        return found.get((id(served), number)) or served.answer(question.row)

    try:
        if question.route is None:
            served, (answer, stages), part = question.served, ask(question.served), NO_PARTICIPATION
        else:
            served, answer, stages, part = question.route.answer(unit, question.served, ask)
    except Exception as error:  # noqa: BLE001 -- it goes to whoever asked
        return error
    at = perf_counter_ns()
    # What the others' rows took is not this answer's: two models are compared by it.
    spent = at - question.begin - shared + sum(stages)
    return Given(served, answer, stages, _record(question, served, answer, part, max(spent, 0) // 1000, worker), at)


def _record(question: Question, served: Served, answer: Answer, part: Participation, latency_us: int, worker: str) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=question.prediction_id,
        created_us=question.created_us,
        model=served.ref.name,
        version=served.ref.version,
        prediction=answer.prediction,
        verdict=answer.verdict,
        features=question.row,
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

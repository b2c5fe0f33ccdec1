"""`POST /predict` and `POST /predict/batch`: a row or many, answered, kept, then given."""

import asyncio
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter_ns
from typing import Any

import polars as pl

from sporeprint import answer as answering
from sporeprint.answer import Answer
from sporeprint.errors import JournalError, StorageUnavailableError
from sporeprint.model_serving.problems import Problem, ProblemError, not_found, not_json, not_valid, overloaded
from sporeprint.model_serving.requests import Headers, Receive, Scope, Send, query, read_body, read_head, respond_json, truth
from sporeprint.model_serving.served import Served
from sporeprint.model_serving.service import Service
from sporeprint.model_serving.shapes import Row, load
from sporeprint.predict import score_frame
from sporeprint.schema import DatasetSchema
from sporeprint.storage.prediction import PredictionRecord

PARAMETERS = ("model", "explain", "ab_test")
REPLAYED: Headers = ((b"idempotency-replayed", b"true"),)


@dataclass(frozen=True)
class Asked:
    """What the query and the headers ask for.

    Attributes:
        served: the model that is to answer.
        explain: whether reasons are wanted.
        key: of an idempotent request.
    """

    served: Served
    explain: bool
    key: str | None


async def _asked(service: Service, scope: Scope, limit: int) -> Asked:
    head = read_head(scope, limit)
    given = query(scope, PARAMETERS)
    if "ab_test" in given:
        raise ProblemError(not_found(f"there is no A/B test {given['ab_test'][:40]!r}"))
    name = given.get("model")
    served = service.loader.current if name is None else await service.loader.named(name)
    return Asked(served, truth("explain", given.get("explain")), head.key)


def new_id() -> str:
    """An id that no other has, and that sorts by time: microseconds and chance."""
    return f"{time.time_ns() // 1000:014x}{os.urandom(9).hex()}"


def id_of_key(key: str) -> str:
    """The id of the answer to an idempotent request: whoever gives the same key asks for the same answer."""
    return f"k{hashlib.sha256(key.encode()).hexdigest()[:31]}"


# --- one row -------------------------------------------------------------------------------------------------------------


async def predict(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Answer one row."""
    begin, created_us = perf_counter_ns(), time.time_ns() // 1000
    limit = service.limits.max_body_kb << 10
    asked = await _asked(service, scope, limit)
    body = await read_body(receive, limit)
    parsing = perf_counter_ns()
    row = asked.served.reader.read(body)
    parsed = perf_counter_ns() - parsing
    if asked.key is not None:
        return await _predict_once(service, asked, id_of_key(asked.key), row, send)
    # From here to the record nothing is waited for: the answer is one model's.
    answer, stages = asked.served.answer(row)
    record = _record(service, asked.served, answer, row, new_id(), created_us, begin)
    logging = perf_counter_ns()
    await service.database.write(record)
    spent = (parsed, *stages, perf_counter_ns() - logging)
    service.metrics.answered(asked.served, answer, spent)
    found = _said(record, asked.served, answer.outside, answer.reason)
    if asked.explain:
        found |= await _reasons(asked.served, row)
    await respond_json(send, found, headers=((b"server-timing", _timing(spent)),))
    return 200


async def _predict_once(service: Service, asked: Asked, prediction_id: str, row: Row, send: Send) -> int:
    """Answer an idempotent request: what was answered to its key before, or else anew."""
    async with service.lock(prediction_id):
        served, record = asked.served, await _earlier(service, prediction_id)
        headers = REPLAYED if record else ()
        if record is None:
            begin, created_us = perf_counter_ns(), time.time_ns() // 1000
            answer, _ = served.answer(row)
            record = _record(service, served, answer, row, prediction_id, created_us, begin)
            await service.database.write(record)
            service.metrics.said(served, answer.verdict, answer.unseen)
        else:
            _same_question(record, row)
            # The version that answered, whichever serves now.
            served = await service.loader.named(f"{record.model}/v{record.version}")
    outside, reason = served.why(row, record.verdict, record.novelty_p)
    found = _said(record, served, outside, reason)
    if asked.explain:
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
        # The same question has the same answer, unless the model moved; and of one id the database keeps the first answer.
        return None


def _same_question(record: PredictionRecord, row: Mapping[str, Any]) -> None:
    if _known(record.features) != _known(row):
        detail = "this Idempotency-Key was used for another row; use a new key for a new question"
        raise ProblemError(Problem(422, "key-used", "The key was used for another request", detail))


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}


def _record(
    service: Service, served: Served, answer: Answer, row: Row, prediction_id: str, created_us: int, begin: int
) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=prediction_id,
        created_us=created_us,
        model=served.ref.name,
        version=served.ref.version,
        prediction=answer.prediction,
        verdict=answer.verdict,
        features=row,
        latency_us=(perf_counter_ns() - begin) // 1000,
        worker=service.worker,
        probability=answer.probability,
        novelty_p=answer.novelty_p,
        threshold=answer.threshold,
        unseen=answer.unseen,
    )


def _said(record: PredictionRecord, served: Served, outside: Sequence[str], reason: str | None) -> dict[str, Any]:
    """An answer, as JSON values."""
    found = {
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
    if served.simulated:
        found["simulated"] = True
    return found


async def _reasons(served: Served, row: Row) -> dict[str, Any]:
    found = await asyncio.to_thread(answering.explain, served.bundle, row)
    near = found.nearest
    return {
        "reasons": [{"column": reason.column, "effect": reason.effect, "says": reason.says} for reason in found.reasons],
        "unit": found.unit,
        "base": found.base,
        "contradictions": found.answer.contradictions,
        "most_like": str(found.answer.most_like),
        "nearest": None
        if near is None
        else {
            "row": near.row,
            "is": str(found.nearest_is),
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


# --- many rows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parsed:
    """A batch that was read.

    Attributes:
        rows: number in the batch -> row.
        problems: number in the batch -> why it cannot be answered.
    """

    rows: Mapping[int, Row]
    problems: Mapping[int, Problem]


async def predict_batch(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Answer many rows; a row that cannot be understood has a problem in its place and does not harm the others."""
    if service.batches >= service.limits.max_batches:
        raise ProblemError(overloaded("too many batches are worked on; try again soon"))
    service.batches += 1
    try:
        return await _predict_batch(service, scope, receive, send)
    finally:
        service.batches -= 1


async def _predict_batch(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    begin, created_us = perf_counter_ns(), time.time_ns() // 1000
    limit = service.limits.max_batch_mb << 20
    asked = await _asked(service, scope, limit)
    if asked.explain:
        raise ProblemError(not_found("a batch is not explained; ask for the rows that matter at POST /predict?explain=true"))
    body = await read_body(receive, limit)
    parsed = await asyncio.to_thread(_parse, body, asked.served, service.limits.max_batch_rows)
    batch_id = new_id() if asked.key is None else id_of_key(asked.key)
    async with service.lock(batch_id):
        served = asked.served
        headers: Headers = ()
        if asked.key is not None and parsed.rows:
            number, row = next(iter(parsed.rows.items()))
            if (earlier := await _earlier(service, f"{batch_id}:{number}")) is not None:
                _same_question(earlier, row)
                # The same version gives the same answers; what is there already is not written twice.
                served, headers = await service.loader.named(f"{earlier.model}/v{earlier.version}"), REPLAYED
        records, said = await asyncio.to_thread(_answer_batch, served, parsed, batch_id)
        latency_us = (perf_counter_ns() - begin) // 1000
        if not headers:
            await service.database.write_all(
                [replace(record, created_us=created_us, latency_us=latency_us, worker=service.worker) for record in records]
            )
    for record in records:
        service.metrics.said(served, record.verdict, record.unseen)
    found = {
        "batch_id": batch_id,
        "model": served.ref.name,
        "version": served.ref.version,
        "threshold": served.safety.threshold.value,
        "rows": len(said),
        "problems": len(parsed.problems),
        "answers": said,
        **({"simulated": True} if served.simulated else {}),
    }
    await respond_json(send, found, headers=headers)
    return 200


def _parse(body: bytes, served: Served, most: int) -> Parsed:
    given = load(body)
    if isinstance(given, dict) and set(given) == {"rows"}:
        given = given["rows"]
    if not isinstance(given, list):
        raise ProblemError(not_json('expected a JSON list of rows, or {"rows": [...]}'))
    if len(given) > most:
        detail = f"{len(given):,} rows are given, at most {most:,} may be"
        raise ProblemError(Problem(413, "too-many-rows", "The batch is too large", detail))
    rows: dict[int, Row] = {}
    problems: dict[int, Problem] = {}
    for number, row in enumerate(given):
        try:
            if not isinstance(row, dict):
                problems[number] = not_valid("expected a JSON object of features")
            else:
                rows[number] = served.reader.row(row)
        except ProblemError as error:
            problems[number] = error.problem
    return Parsed(rows, problems)


def _answer_batch(served: Served, parsed: Parsed, batch_id: str) -> tuple[list[PredictionRecord], list[dict[str, Any]]]:
    """The records of the rows that can be answered, and what is said of every row."""
    said: dict[int, dict[str, Any]] = {number: {"row": number, "problem": item.to_dict()} for number, item in parsed.problems.items()}
    records = []
    if parsed.rows:
        scored = score_frame(_frame(list(parsed.rows.values()), served.bundle.schema), served.bundle)
        for (number, row), values in zip(parsed.rows.items(), scored.iter_rows(named=True), strict=True):
            record = _record_of_batch(served, row, values, batch_id, number)
            records.append(record)
            said[number] = {
                "row": number,
                "prediction_id": record.prediction_id,
                "prediction": record.prediction,
                "probability": record.probability,
                "verdict": record.verdict,
                "novelty_p": record.novelty_p,
                "unseen": record.unseen,
                "outside": _names(values["outside"]),
                "reason": values["reason"],
            }
    return records, [said[number] for number in sorted(said)]


def _record_of_batch(served: Served, row: Row, values: Mapping[str, Any], batch_id: str, number: int) -> PredictionRecord:
    return PredictionRecord(
        prediction_id=f"{batch_id}:{number}",
        created_us=0,
        model=served.ref.name,
        version=served.ref.version,
        prediction=values["prediction"],
        verdict=values["verdict"],
        features=row,
        latency_us=0,
        worker="",
        probability=values["probability"],
        novelty_p=values["novelty_p"],
        threshold=served.safety.threshold.value,
        unseen=_names(values["unseen"]),
        batch_id=batch_id,
    )


def _names(text: str | None) -> tuple[str, ...]:
    return () if text is None else tuple(text.split(","))


def _frame(rows: Sequence[Row], schema: DatasetSchema) -> pl.DataFrame:
    columns = {name: [row.get(name) for row in rows] for name in schema.columns}
    return pl.DataFrame(columns, schema={name: pl.Float64 if name in schema.numeric else pl.String for name in columns})

"""`/predictions/{prediction_id}`: a prediction as it is kept, and its outcome."""

import asyncio
import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Header, Path, Query, Response

from sporeprint.common.timestamps import iso_utc
from sporeprint.data.written_values import parse_code
from sporeprint.errors import JournalError, MissingExtraError, RegistryError, StorageError, StorageUnavailableError
from sporeprint.inference.identification import words_of
from sporeprint.messages.outcomes import OutcomeRequest, OutcomeResponse, OutcomeRevision
from sporeprint.messages.predictions import StoredFeature, StoredPrediction
from sporeprint.model_serving.endpoints.explanation import explain_prediction
from sporeprint.model_serving.endpoints.routing import UNREADABLE, CallerDep, ServiceDep, problems, router
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_found, not_valid, of
from sporeprint.model_serving.http.requests import idempotency_key
from sporeprint.model_serving.runtime.service import Service
from sporeprint.schema import DatasetSchema
from sporeprint.storage.oltp.outcomes import KeyReusedError, Outcome
from sporeprint.storage.prediction_record import MAX_ID, PredictionRecord

routes = router()

#: Who reports an outcome, where the request does not say it.
SOURCE = "api"
#: Years in which an outcome can have been observed: what lies outside could not be read back.
YEARS = range(1971, 2300)

PredictionId = Annotated[str, Path(description="As it was answered.", max_length=1000)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key gives the same answer, however often it is sent: 1 to 255 visible ASCII characters.",
        json_schema_extra={"minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    ),
]


@routes.get("/predictions/{prediction_id}", responses=problems(404))
async def prediction(
    prediction_id: PredictionId,
    service: ServiceDep,
    explain: Annotated[bool, Query(description="Whether it comes in words, with its reasons and every revision of its outcome.")] = False,
) -> StoredPrediction:
    """A prediction as it is stored, and its outcome."""
    record = await _find(service, prediction_id)
    revisions: tuple[Outcome, ...] = ()
    unknown = None
    try:
        revisions = await service.database.outcome_revisions(record.prediction_id)
    except (StorageUnavailableError, StorageError) as error:
        if isinstance(error, JournalError):
            raise
        unknown = "the database does not answer now"
    same = ("prediction_id", "prediction", "probability", "verdict", "novelty_p", "threshold", "model", "version", "unseen", "features")
    more: Any = {name: getattr(record, name) for name in (*same, "batch_id", "test_id", "arm", "unit_id", "shadow")}
    outcomes = tuple(OutcomeRevision(**revision(each)) for each in revisions)
    if explain:
        more |= await _explained(service, record)
        more["outcomes"] = None if unknown else outcomes
    return StoredPrediction(
        **more,
        created=iso_utc(record.created_us, "milliseconds"),
        outcome=outcomes[-1] if outcomes else None,
        outcome_unknown=unknown,
    )


async def _explained(service: Service, record: PredictionRecord) -> dict[str, Any]:
    """The row in words, and why it was predicted, by the version that did; that may be gone, or damaged."""
    schema, outside = service.loader.current.bundle.schema, frozenset[str]()
    explanation, unknown = None, None
    try:
        served = await service.loader.get(f"{record.model}/v{record.version}")
        schema, row = served.bundle.schema, served.reader.row(dict(record.features))
        outside = frozenset((await asyncio.to_thread(served.why, row)).outside)
        explanation = await explain_prediction(served, row)
    except (RegistryError, HttpProblemError, MissingExtraError, ModuleNotFoundError) as error:
        unknown = of(error, service.root).detail
    features = tuple(
        StoredFeature(column=name, text=in_words(value, name, schema), unseen=name in record.unseen, outside=name in outside)
        for name, value in record.features.items()
    )
    return {"features_in_words": features, "explanation": explanation, "explanation_unknown": unknown}


def in_words(value: Any, column: str, schema: DatasetSchema) -> str:
    """A value as people say it; of a column that the table does not have, or of another kind than it has, as it is."""
    is_number = column in schema.columns and schema.columns[column].is_number
    fits = value is None or (isinstance(value, int | float) and not isinstance(value, bool) if is_number else isinstance(value, str))
    return words_of(value, column, schema) if column in schema.columns and fits else str(value)


@routes.post(
    "/predictions/{prediction_id}/outcome",
    responses={**problems(*UNREADABLE), 201: {"description": "A further revision", "model": OutcomeResponse}},
)
async def outcome(
    prediction_id: PredictionId,
    request: OutcomeRequest,
    service: ServiceDep,
    caller: CallerDep,
    response: Response,
    key: IdempotencyKey = None,
) -> OutcomeResponse:
    """Report the ground truth of a prediction; reported differently, it is a correction."""
    key = idempotency_key({} if key is None else {b"idempotency-key": key.encode("latin-1", "replace")})
    code = code_of(request.outcome, service.loader.current.bundle.schema)
    source, observed_us = source_of(request.source), observed_at(request.observed)
    record = await _find(service, prediction_id)
    # A key is its caller's: two callers may use the same one.
    own = None if key is None else hashlib.sha256(f"{caller.name}\n{key}".encode()).hexdigest()
    try:
        done = await service.database.record_outcome(record.prediction_id, code, source=source, observed_us=observed_us, key=own)
    except KeyReusedError:
        detail = "this Idempotency-Key was used for another outcome; use a new key for a new outcome"
        raise HttpProblemError(Problem(422, "key-used", "The key was used for another request", detail)) from None
    response.status_code = 201 if done.created else 200
    return OutcomeResponse(**revision(done.outcome), created=done.created)


async def _find(service: Service, prediction_id: str) -> PredictionRecord:
    missing = HttpProblemError(not_found(f"there is no prediction {prediction_id[:MAX_ID]!r}; GET /predictions lists them"))
    if len(prediction_id) > MAX_ID or not prediction_id.isascii():
        raise missing
    record = await service.database.find(prediction_id)
    if record is None:
        raise missing
    return record


def code_of(outcome: str, schema: DatasetSchema) -> str:
    """A class as code, from its code or word. Raises: HttpProblemError."""
    values = schema.target.values
    text = parse_code(outcome, (), values, schema.target.aliases) or ""
    codes = {word.lower(): code for code, word in values.items()}
    if (code := text if text in values else codes.get(text.lower())) is not None:
        return code
    listed = ", ".join(f"{code} ({word})" for code, word in values.items())
    raise HttpProblemError(not_valid(f"field 'outcome': expected one of {listed}; got {outcome[:40]!r}"))


def source_of(source: str | None) -> str:
    """Who reports it. Raises: HttpProblemError."""
    if source is None:
        return SOURCE
    if not source.strip():
        raise HttpProblemError(not_valid("field 'source': expected a text that is not blank"))
    return source.strip()


def observed_at(text: str | None) -> int | None:
    """When it was observed, microseconds since 1970 UTC. Raises: HttpProblemError."""
    return time_us(text, "observed")


def time_us(text: str | None, field: str) -> int | None:
    """A time that a field of a request names, microseconds since 1970 UTC. Raises: HttpProblemError."""
    if text is None:
        return None
    shown = f"got {text[:40]!r}"
    problem = not_valid(f"field {field!r}: expected a time with its zone, as in 2026-01-31T12:00:00Z; {shown}")
    try:
        observed = datetime.fromisoformat(text if text.isprintable() else "")
        if observed.tzinfo is None:
            raise HttpProblemError(problem)
        in_utc = observed.astimezone(UTC)
    except OverflowError:
        raise HttpProblemError(_out_of_range(field, shown)) from None
    except ValueError:
        raise HttpProblemError(problem) from None
    if in_utc.year not in YEARS:
        raise HttpProblemError(_out_of_range(field, shown))
    since = in_utc - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _out_of_range(field: str, shown: str) -> Problem:
    return not_valid(f"field {field!r}: expected a time from {YEARS.start} to {YEARS.stop - 1}; {shown}")


def revision(outcome: Outcome) -> dict[str, Any]:
    """The fields of a revision as they are sent."""
    return {
        "prediction_id": outcome.prediction_id,
        "outcome": outcome.outcome,
        "revision": outcome.revision,
        "source": outcome.source,
        "observed": iso_utc(outcome.observed_us, "milliseconds"),
        "recorded": iso_utc(outcome.recorded_us, "milliseconds"),
    }

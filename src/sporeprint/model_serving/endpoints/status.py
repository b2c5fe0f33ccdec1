"""What can be asked of the service itself, of earlier answers and of the models; and what turned out to be true."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from sporeprint import __version__
from sporeprint.data.written_values import parse_code
from sporeprint.errors import JournalError, StorageError, StorageUnavailableError, nearest
from sporeprint.model_serving.endpoints import docs_page as api_page
from sporeprint.model_serving.endpoints import openapi
from sporeprint.model_serving.http.problems import ProblemError, not_found, not_json, not_valid
from sporeprint.model_serving.http.requests import (
    Receive,
    Scope,
    Send,
    query,
    read_body,
    read_request_head,
    respond,
    respond_json,
    respond_page,
)
from sporeprint.model_serving.runtime import metrics
from sporeprint.model_serving.runtime.row_parser import parse_json
from sporeprint.model_serving.runtime.service import Service
from sporeprint.schema import DatasetSchema
from sporeprint.storage.oltp.outcomes import Outcome
from sporeprint.storage.prediction_record import MAX_ID, PredictionRecord

#: Who says what an outcome is, where the request does not say it.
SOURCE = "api"
FIELDS = ("outcome", "source", "observed")
#: Most characters of a source, and the years in which an outcome can have been observed.
MOST_SOURCE = 255
FIRST_YEAR = 1970


async def index(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Say what this is, and where to go on."""
    query(scope, ())
    links = {"predict": "/predict", "batch": "/predict/batch", "models": "/models", "health": "/health", "metrics": "/metrics"}
    links["ab_tests"] = "/ab-tests"
    found = {
        "service": "sporeprint",
        "release": __version__,
        "serving": service.loader.current.ref.ref,
        "documentation": "/docs",
        "openapi": "/openapi.json",
        "links": links,
    }
    await respond_json(send, found)
    return 200


async def document(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Describe the API to programs. Made when it is asked for: the contract is that of the model that serves then."""
    query(scope, ())
    await respond_json(send, openapi.document(service.loader.current.bundle.schema))
    return 200


async def docs(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Describe the API to people."""
    query(scope, ())
    served = service.loader.current
    schema, keys = served.bundle.schema, service.access.needs_keys
    page = api_page.page(openapi.document(schema), schema, keys=keys, simulated=served.simulated)
    await respond_page(send, page, api_page.POLICY)
    return 200


# --- health --------------------------------------------------------------------------------------------------------------


async def live(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Say that the process answers."""
    query(scope, ())
    await respond_json(send, {"status": "live"})
    return 200


async def ready(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Say whether answers can be given: there is a model, and the journal takes them."""
    query(scope, ())
    failing = _journal_fails(service)
    await respond_json(send, {"status": "not ready" if failing else "ready"}, 503 if failing else 200)
    return 503 if failing else 200


async def health(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Say how model, journal and database are. Nothing that is wrong is passed over; 503 where no answers can be given."""
    query(scope, ())
    journal, shipper = service.database.stats()
    away = await service.database.unavailable_reason()
    failure = service.loader.failure
    failing = _journal_fails(service)
    model: dict[str, Any] = {"status": "degraded" if failure else "ok", **service.loader.current.describe()}
    if failure:
        model["problem"] = f"what {service.loader.name} stands for cannot be loaded; see the log, and: sporeprint models verify"
        model["since"] = _time(int(failure.since * 1e6))
    found = {
        "status": "failing" if failing else "degraded" if failure or away or shipper.pause_s else "ok",
        "worker": service.worker,
        "in_flight": service.in_flight,
        "model": model,
        "journal": {
            "status": "failing" if failing else "ok",
            "depth": journal.depth,
            "age_s": round(journal.age_s, 3),
            "waiting": journal.waiting,
            "failures": journal.failures,
            "refused": journal.refused,
        },
        "database": {"status": "away" if away or shipper.pause_s else "ok", "shipped": shipper.shipped, "failures": shipper.failures},
    }
    await respond_json(send, found, 503 if failing else 200)
    return 503 if failing else 200


def _journal_fails(service: Service) -> bool:
    """Whether the journal would turn the next answer away."""
    journal, limits = service.database.journal.stats(), service.database.journal_limits
    return journal.depth >= limits.max_records or journal.bytes >= limits.max_mb << 20 or journal.waiting >= limits.waiting_records


async def show_metrics(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Show the counters to Prometheus."""
    query(scope, ())
    service.look()
    await respond(send, 200, service.metrics.to_bytes(), media_type=metrics.MEDIA_TYPE.encode())
    return 200


# --- models --------------------------------------------------------------------------------------------------------------


async def models(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """List the registered versions and what stands for them."""
    query(scope, ())
    await respond_json(send, await asyncio.to_thread(_listed, service))
    return 200


def _listed(service: Service) -> dict[str, Any]:
    registry = service.loader.registry
    pins = {alias: pin.ref for alias, pin in registry.aliases().pins.items()}
    found = []
    for name in registry.names():
        refs = [f"{name}/v{number}" for number in registry.versions(name)]
        found.append({"name": name, "champion": pins.get(name, refs[0]), "versions": refs})
    return {"production": pins.get("production"), "serving": service.loader.current.ref.ref, "models": found}


# --- answers and outcomes ------------------------------------------------------------------------------------------------


def _id_in(scope: Scope) -> str:
    prediction_id = str(scope["path_params"]["prediction_id"])
    if len(prediction_id) > MAX_ID or not prediction_id.isascii():
        raise ProblemError(not_found(f"there is no prediction {prediction_id[:MAX_ID]!r}"))
    return prediction_id


async def _found(service: Service, prediction_id: str) -> PredictionRecord:
    record = await service.database.find(prediction_id)
    if record is None:
        raise ProblemError(not_found(f"there is no prediction {prediction_id!r}"))
    return record


async def prediction(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Show an answer that was given, and its outcome where one is known."""
    query(scope, ())
    record = await _found(service, _id_in(scope))
    outcome: dict[str, Any] = {}
    try:
        last = await service.database.latest_outcome(record.prediction_id)
        outcome["outcome"] = None if last is None else _outcome(last)
    except (StorageUnavailableError, StorageError) as error:
        if isinstance(error, JournalError):
            raise
        outcome["outcome_unknown"] = "the database does not answer now"
    found = {
        "prediction_id": record.prediction_id,
        "created": _time(record.created_us),
        "prediction": record.prediction,
        "probability": record.probability,
        "verdict": record.verdict,
        "novelty_p": record.novelty_p,
        "threshold": record.threshold,
        "model": record.model,
        "version": record.version,
        "unseen": record.unseen,
        "features": record.features,
        "batch_id": record.batch_id,
        "test_id": record.test_id,
        "arm": record.arm,
        "unit_id": record.unit_id,
        "shadow": record.shadow,
        **outcome,
    }
    await respond_json(send, found)
    return 200


async def outcome(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Take what turned out to be true of a prediction; said again it changes nothing, said differently it is a correction."""
    query(scope, ())
    limit = service.limits.max_body_kb << 10
    head = read_request_head(scope, limit)
    given = parse_json(await read_body(receive, limit))
    if not isinstance(given, dict):
        raise ProblemError(not_json('expected a JSON object, as in {"outcome": ...}'))
    if unknown := [name for name in given if name not in FIELDS]:
        near = nearest(unknown[0][:40], FIELDS)
        raise ProblemError(not_valid(f"unknown field {unknown[0][:40]!r}{near}; known: {', '.join(FIELDS)}"))
    code = code_of(given.get("outcome"), service.loader.current.bundle.schema)
    source, observed_us = source_of(given.get("source")), observed_at(given.get("observed"))
    record = await _found(service, _id_in(scope))
    done = await service.database.record_outcome(record.prediction_id, code, source=source, observed_us=observed_us, key=head.key)
    await respond_json(send, {**_outcome(done.outcome), "created": done.created}, 201 if done.created else 200)
    return 201 if done.created else 200


def code_of(given: Any, schema: DatasetSchema) -> str:
    """A class as code, from its code or word."""
    values = schema.target.values
    codes = {word.lower(): code for code, word in values.items()}
    if isinstance(given, str | int | float):
        text = parse_code(given, (), values, schema.target.aliases) or ""
        if text in values:
            return text
        if (code := codes.get(text.lower())) is not None:
            return code
    listed = ", ".join(f"{code} ({word})" for code, word in values.items())
    raise ProblemError(not_valid(f"field 'outcome': expected one of {listed}; got {str(given)[:40]!r}"))


def source_of(given: Any) -> str:
    """Who says so. Raises: ProblemError."""
    if given is None:
        return SOURCE
    if not isinstance(given, str) or not 0 < len(given.strip()) <= MOST_SOURCE:
        raise ProblemError(not_valid(f"field 'source': expected a text of 1 to {MOST_SOURCE} characters"))
    return given.strip()


def observed_at(given: Any) -> int | None:
    """When it was seen, microseconds since 1970 UTC. Raises: ProblemError."""
    if given is None:
        return None
    problem = not_valid(f"field 'observed': expected a time with its zone, as in 2026-01-31T12:00:00Z; got {str(given)[:40]!r}")
    try:
        found = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise ProblemError(problem) from None
    if found.tzinfo is None or found.year <= FIRST_YEAR:
        raise ProblemError(problem)
    since = found - datetime.fromtimestamp(0, UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _outcome(found: Outcome) -> dict[str, Any]:
    return {
        "prediction_id": found.prediction_id,
        "outcome": found.outcome,
        "revision": found.revision,
        "source": found.source,
        "observed": _time(found.observed_us),
        "recorded": _time(found.recorded_us),
    }


def _time(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

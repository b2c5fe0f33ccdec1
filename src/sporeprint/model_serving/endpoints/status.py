"""`/health`, `/metrics` and `/`: what the service is and how it is."""

from time import time
from typing import Any

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from sporeprint import __version__
from sporeprint.common.timestamps import iso_utc
from sporeprint.messages.service import (
    ActivityHour,
    ActivityResponse,
    DatabaseHealth,
    HealthResponse,
    JournalHealth,
    ModelHealth,
    ServiceIndex,
    StatusResponse,
)
from sporeprint.model_serving.endpoints.routing import ServiceDep, router
from sporeprint.model_serving.runtime.metrics import MEDIA_TYPE
from sporeprint.model_serving.runtime.service import Service
from sporeprint.safety.verdict import verdict_words

routes = router()


def _or_503(model: Any) -> dict[int | str, dict[str, Any]]:
    """A status that says the same as the body does, beside the problem document."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {503: {"description": "It cannot serve, or a problem document (RFC 9457)", "content": {**content, **problem}}}


@routes.get("/", response_model=ServiceIndex)
async def index(request: Request, service: ServiceDep) -> ServiceIndex | RedirectResponse:
    """What this is. A browser is sent to the pages for people."""
    if service.limits.ui and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"{request.scope.get('root_path', '')}/ui/", 303)
    links = {name: f"/{name}" for name in ("predict", "models", "health", "metrics")}
    return ServiceIndex(
        service="sporeprint",
        release=__version__,
        serving=service.loader.current.ref.ref,
        documentation="/docs",
        openapi="/openapi.json",
        links={**links, "batch": "/predict/batch", "ab_tests": "/ab-tests"},
    )


@routes.get("/health/live")
async def live() -> StatusResponse:
    """Whether the process answers."""
    return StatusResponse(status="live")


@routes.get("/health/ready", responses=_or_503(StatusResponse))
async def ready(service: ServiceDep, response: Response) -> StatusResponse:
    """Whether predictions can be given."""
    reason = not_ready(service)
    if reason is None:
        return StatusResponse(status="ready")
    response.status_code = 503
    return StatusResponse(status="not ready", reason=reason)


def not_ready(service: Service) -> str | None:
    """Why every request would be turned away; None if it would not."""
    if _journal_fails(service):
        return "predictions cannot be kept: the journal does not take them"
    if service.database.idempotency.is_failing:
        return "predictions of requests with an Idempotency-Key cannot be written"
    if not service.access.knows_keys:
        return "the API keys could not be read yet"
    return None


@routes.get("/health", responses=_or_503(HealthResponse))
async def health(service: ServiceDep, response: Response) -> HealthResponse:
    """Model, journal and database."""
    journal, shipper = service.database.stats()
    is_away = await service.database.unavailable_reason() is not None or bool(shipper.pause_s)
    failure, is_failing = service.loader.failure, not_ready(service) is not None
    model: dict[str, Any] = {"status": "degraded" if failure else "ok", **service.loader.current.describe()}
    model["notes"] = tuple(model["notes"])
    if failure:
        model["problem"] = f"what {service.loader.name} stands for cannot be loaded; see the log, and: sporeprint models verify"
        model["since"] = iso_utc(int(failure.since * 1e6), "milliseconds")
    response.status_code = 503 if is_failing else 200
    return HealthResponse(
        status="failing" if is_failing else "degraded" if failure or is_away else "ok",
        worker=service.worker,
        in_flight=service.in_flight,
        model=ModelHealth(**model),
        journal=JournalHealth(
            status="failing" if _journal_fails(service) else "ok",
            depth=journal.depth,
            age_s=round(journal.age_s, 3),
            waiting=journal.waiting,
            failures=journal.failures,
            refused=journal.refused,
            orphans=await service.database.orphans(),
            damaged=service.database.damaged(),
        ),
        database=DatabaseHealth(status="away" if is_away else "ok", shipped=shipper.shipped, failures=shipper.failures),
    )


def _journal_fails(service: Service) -> bool:
    """Whether the journal would turn the next prediction away."""
    journal, limits = service.database.journal.stats(), service.database.journal_limits
    return (
        journal.is_failing
        or journal.depth >= limits.max_records
        or journal.bytes >= limits.max_mb << 20
        or journal.waiting >= limits.waiting_records
    )


@routes.get("/activity")
async def activity(service: ServiceDep) -> ActivityResponse:
    """How much was answered in the last 24 hours, hour by hour."""
    recent, unknown = service.recent, verdict_words(service.settings.dataset)[-1]
    recent.add(time(), service.metrics.answers())
    hours = tuple(
        ActivityHour(
            begin=iso_utc(each.begin_s * 1_000_000), answers=sum(each.by_verdict.values()), unknown=each.by_verdict.get(unknown, 0)
        )
        for each in recent.hours(time())
    )
    since = None if recent.since_s is None else iso_utc(round(recent.since_s * 1e6))
    return ActivityResponse(
        since=since, answers=sum(each.answers for each in hours), unknown=sum(each.unknown for each in hours), hours=hours
    )


@routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
async def metrics(service: ServiceDep) -> Response:
    """For Prometheus."""
    service.look()
    return Response(service.metrics.to_bytes(), media_type=MEDIA_TYPE)

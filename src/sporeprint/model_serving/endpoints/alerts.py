"""`/alerts`: what the monitor raised, what happened to it, and that somebody knows."""

from typing import Annotated

from fastapi import Path, Query

from sporeprint.common.timestamps import iso_utc, now_us
from sporeprint.errors import UsageError
from sporeprint.messages.alerts import AcknowledgementRequest, AlertDelivery, AlertHistoryEvent, AlertList, AlertResponse, AlertSummary
from sporeprint.model_serving.endpoints.routing import UNREADABLE, CallerDep, ServiceDep, problems, router
from sporeprint.model_serving.http.authentication import actor
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_found
from sporeprint.model_serving.runtime.service import Service
from sporeprint.storage.oltp import alerts
from sporeprint.storage.oltp.alerts import RECOVERED, Alert

routes = router()

AlertId = Annotated[str, Path(description="Id of an alert.", max_length=64)]
#: Messages about an alert in one answer.
MOST_DELIVERIES = 100


@routes.get("/alerts", name="alerts")
async def list_alerts(
    service: ServiceDep,
    over: Annotated[bool, Query(description="Those that are over, too, the latest first.")] = False,
    limit: Annotated[int, Query(description="At most so many.", ge=1, le=alerts.MOST)] = alerts.MOST,
) -> AlertList:
    """The alerts that are on, the worst first; or all of them."""

    def read() -> AlertList:
        result = alerts.list_alerts(service.database.engine, over=over, limit=limit)
        streams = alerts.streams(service.database.engine, result)
        return AlertList(alerts=tuple(_summary(each, streams.get(each.fingerprint, each.monitor)) for each in result))

    return await service.database.executor.run(read)


@routes.get("/alerts/{alert_id}", name="alert", responses=problems(404))
async def show_alert(alert_id: AlertId, service: ServiceDep) -> AlertResponse:
    """An alert with its history."""
    return await service.database.executor.run(_described, service, alert_id)


@routes.post("/alerts/{alert_id}/acknowledge", name="acknowledge", responses=problems(*UNREADABLE, 409))
async def acknowledge_alert(
    alert_id: AlertId, service: ServiceDep, caller: CallerDep, request: AcknowledgementRequest | None = None
) -> AlertResponse:
    """Say that somebody knows: there is no further notification until it has recovered."""
    note = "" if request is None else request.note

    def write() -> AlertResponse:
        before = _alert(service, alert_id)
        if before.status == RECOVERED:
            raise HttpProblemError(Problem(409, "conflict", "Something stands against it", f"the alert {alert_id} is over"))
        try:
            alerts.acknowledge(service.database.engine, alert_id, actor=actor(caller), note=note, now_us=now_us())
        except UsageError as error:  # it recovered meanwhile
            raise HttpProblemError(Problem(409, "conflict", "Something stands against it", str(error))) from None
        return _described(service, alert_id)

    return await service.database.executor.run(write)


def _alert(service: Service, alert_id: str) -> Alert:
    result = alerts.get(service.database.engine, alert_id)
    if result is None:
        raise HttpProblemError(not_found(f"there is no alert {alert_id[:80]!r}; GET /alerts?over=true lists them"))
    return result


def _described(service: Service, alert_id: str) -> AlertResponse:
    engine = service.database.engine
    result = _alert(service, alert_id)
    happened = alerts.events(engine, alert_id)
    messages = alerts.deliveries(engine, alert_id=alert_id, limit=MOST_DELIVERIES)
    return AlertResponse(
        alert=_summary(result, alerts.streams(engine, [result]).get(result.fingerprint, result.monitor)),
        evaluation_id=next((str(each["evaluation_id"]) for _, _, each in happened if each.get("evaluation_id")), None),
        events=tuple(AlertHistoryEvent(at=_iso(at), event=event, details=details) for at, event, details in happened),
        deliveries=tuple(
            AlertDelivery(
                channel=each.channel,
                kind=each.kind,
                created=_iso(each.created_us),
                status=each.status,
                attempts=each.attempts,
                error=each.last_error,
            )
            for each in messages
        ),
    )


def _summary(alert: Alert, monitor: str) -> AlertSummary:
    return AlertSummary(
        alert_id=alert.alert_id,
        severity=alert.severity.value,
        status=alert.status,  # type: ignore[arg-type]  # one of the three
        since=_iso(alert.first_us),
        last=_iso(alert.last_us),
        summary=alert.summary,
        monitor=monitor,
    )


def _iso(at_us: int) -> str:
    return iso_utc(at_us, "milliseconds")

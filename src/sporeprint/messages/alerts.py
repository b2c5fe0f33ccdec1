"""Alerts of the monitor: which are on, what happened to each, and who knows of it."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from sporeprint.messages.base import RequestMessage, response


@response
class AlertSummary:
    """An alert.

    Attributes:
        alert_id: its id.
        severity: how bad it is.
        status: raised; acknowledged: somebody knows; recovered: it is over.
        since: when the condition began, ISO 8601.
        last: when something last happened to it.
        summary: in a line.
        monitor: what it was raised for, in full.
    """

    alert_id: str
    severity: Literal["info", "warning", "critical"]
    status: Literal["raised", "acknowledged", "recovered"]
    since: str
    last: str
    summary: str
    monitor: str


@response
class AlertList:
    """Alerts.

    Attributes:
        alerts: those that are on, the worst first; or those that are over, the latest first.
    """

    alerts: tuple[AlertSummary, ...]


@response
class AlertHistoryEvent:
    """What happened to an alert.

    Attributes:
        at: when, ISO 8601.
        event: raised, reminded, acknowledged, delivered, not delivered, given up, suppressed, recovered, ended.
        details: further values: value, rule, channel, by, note, evaluation_id.
    """

    at: str
    event: str
    details: Mapping[str, Any]


@response
class AlertDelivery:
    """A message about an alert.

    Attributes:
        channel: where it goes.
        kind: what it tells: raised, reminded or recovered.
        created: when it was written, ISO 8601.
        status: waiting, delivered or given up.
        attempts: how often it was tried.
        error: why the last try failed; null: it did not.
    """

    channel: str
    kind: str
    created: str
    status: str
    attempts: int
    error: str | None


@response
class AlertResponse:
    """An alert with its history.

    Attributes:
        alert: the alert.
        evaluation_id: of the evaluation that raised it; null: not known.
        events: what happened to it, the oldest first.
        deliveries: messages about it, the latest first.
    """

    alert: AlertSummary
    evaluation_id: str | None
    events: tuple[AlertHistoryEvent, ...]
    deliveries: tuple[AlertDelivery, ...]


class AcknowledgementRequest(RequestMessage):
    """That somebody knows of an alert.

    Attributes:
        note: what others should know.
    """

    note: Annotated[str, Field(max_length=2_000)] = ""

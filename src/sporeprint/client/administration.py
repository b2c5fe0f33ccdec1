"""What the client asks of the service as its operator: alerts, evaluations, runs, settings, keys, and who changed what."""

from typing import Any, TypeVar
from urllib.parse import quote

from sporeprint.client.protocol import JSON, Call, Request
from sporeprint.messages.alerts import AcknowledgementRequest, AlertList, AlertResponse
from sporeprint.messages.base import RequestMessage
from sporeprint.messages.keys import (
    ApiKeyDescription,
    ApiKeyList,
    ApiKeyRequest,
    AuditList,
    CallerResponse,
    NewApiKey,
    RoleName,
    SettingList,
)
from sporeprint.messages.monitoring import EvaluationList, EvaluationResponse, MonitoringStreamList
from sporeprint.messages.runs import RejectedRowList, RunList, RunResponse

Message = TypeVar("Message")


def _get(path: str, message: type[Message], **parameters: Any) -> Call[Message]:
    values = {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in parameters.items() if value is not None
    }
    reply = yield Request("GET", path, values)
    return reply.read(message)


def _post(path: str, body: RequestMessage, message: type[Message]) -> Call[Message]:
    reply = yield Request("POST", path, {}, {"Content-Type": JSON}, body.model_dump_json(exclude_none=True).encode())
    return reply.read(message)


def _below(path: str, name: str) -> str:
    return f"{path}/{quote(name, safe='')}"


def me() -> Call[CallerResponse]:
    """Ask who calls, and what the key may do."""
    return (yield from _get("/me", CallerResponse))


def alerts(*, over: bool = False) -> Call[AlertList]:
    """Look at the alerts that are on, the worst first; with `over` at all of them, the latest first."""
    return (yield from _get("/alerts", AlertList, over=over))


def alert(alert_id: str) -> Call[AlertResponse]:
    """Look at an alert, what happened to it, and its messages."""
    return (yield from _get(_below("/alerts", alert_id), AlertResponse))


def acknowledge(alert_id: str, *, note: str = "") -> Call[AlertResponse]:
    """Say that somebody knows of an alert: there is no further notification until it has recovered.

    Args:
        alert_id: of the alert.
        note: what others should know.

    Raises:
        ConflictError: if it is over.
    """
    body = AcknowledgementRequest.model_construct(note=note)  # the service says what is wrong with it
    return (yield from _post(f"{_below('/alerts', alert_id)}/acknowledge", body, AlertResponse))


def streams() -> Call[MonitoringStreamList]:
    """Look at what the monitor evaluates, the newest first."""
    return (yield from _get("/monitoring/streams", MonitoringStreamList))


def evaluations(*, stream: str | None = None, since: str | None = None, limit: int | None = None) -> Call[EvaluationList]:
    """Look at evaluations of the monitor, the newest first.

    Args:
        stream: only of this one, by its id.
        since: only from this time on, ISO 8601 with its zone.
        limit: at most so many.
    """
    return (yield from _get("/monitoring/evaluations", EvaluationList, stream=stream, since=since, limit=limit))


def evaluation(evaluation_id: str) -> Call[EvaluationResponse]:
    """Look at an evaluation in full."""
    return (yield from _get(_below("/monitoring/evaluations", evaluation_id), EvaluationResponse))


def runs(*, command: str | None = None, status: str | None = None, limit: int | None = None, before: str | None = None) -> Call[RunList]:
    """Look at runs of the pipeline, the latest first.

    Args:
        command: only of this one: etl, train, monitor, ...
        status: only running, done or failed ones.
        limit: at most so many.
        before: `next` of the page before.
    """
    return (yield from _get("/runs", RunList, command=command, status=status, limit=limit, before=before))


def run(run_id: str) -> Call[RunResponse]:
    """Look at a run: its steps, what it checked and measured."""
    return (yield from _get(_below("/runs", run_id), RunResponse))


def rejected(
    run_id: str, *, rule: str | None = None, column: str | None = None, limit: int | None = None, after: int | None = None
) -> Call[RejectedRowList]:
    """Look at rows that a run rejected.

    Args:
        run_id: of the run.
        rule: only rows that broke it, as in range:stem-width.
        column: only rows that broke a rule of it.
        limit: at most so many.
        after: `next` of the page before.
    """
    path = f"{_below('/runs', run_id)}/rejected"
    return (yield from _get(path, RejectedRowList, rule=rule, column=column, limit=limit, after=after))


def settings() -> Call[SettingList]:
    """Look at the configuration of the server; secrets are dots."""
    return (yield from _get("/settings", SettingList))


def audit(
    *,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    since: str | None = None,
    limit: int | None = None,
    before: str | None = None,
) -> Call[AuditList]:
    """Look at who changed what, the latest first.

    Args:
        subject: only what was done to this.
        actor: only what this one did.
        action: only this, as key.created, or all of key.
        since: only from this time on, ISO 8601 with its zone.
        limit: at most so many.
        before: `next` of the page before.
    """
    values = {"subject": subject, "actor": actor, "action": action, "since": since, "limit": limit, "before": before}
    return (yield from _get("/audit", AuditList, **values))


def keys(*, revoked: bool = False) -> Call[ApiKeyList]:
    """Look at the API keys, without their secrets."""
    return (yield from _get("/keys", ApiKeyList, revoked=revoked))


def create_key(name: str, roles: tuple[RoleName, ...], *, expires_days: int | None = None) -> Call[NewApiKey]:
    """Make an API key. Its secret is shown this once.

    Args:
        name: who gets it.
        roles: what it may do: predict, label, read, operate, admin.
        expires_days: days until it is no longer taken; left out: never.

    Raises:
        ConflictError: if there is a key of that name (also this one, whose answer was lost: revoke it and make another), or the
            server's account of the database may make none.
    """
    body = ApiKeyRequest.model_construct(name=name, roles=roles, expires_days=expires_days)
    return (yield from _post("/keys", body, NewApiKey))


def revoke_key(name: str) -> Call[ApiKeyDescription]:
    """Revoke an API key: the service refuses it within two seconds."""
    reply = yield Request("DELETE", _below("/keys", name))
    return reply.read(ApiKeyDescription)

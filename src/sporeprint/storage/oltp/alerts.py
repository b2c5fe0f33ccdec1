"""Alerts in the OLTP database: where each rule stands, what happened, and which messages wait for their channels.

Where a rule stands is a note that two monitors cannot both change: of two that raise the same alert at once, one does, and its messages are
written in the same transaction. So no notification is lost or doubled because a process was killed or there are two.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Engine, case, func, insert, select, update

from sporeprint.errors import StorageUnavailableError, UsageError
from sporeprint.monitoring.alert_rules import AlertChange, AlertRule, RuleState, Severity, step
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import audit_log, checkpoints
from sporeprint.storage.oltp.audit_log import Change
from sporeprint.storage.oltp.checkpoints import LostError
from sporeprint.storage.oltp.tables import alert, alert_delivery, alert_event

RAISED, ACKNOWLEDGED, RECOVERED = "raised", "acknowledged", "recovered"
WAITING, DELIVERED, GIVEN_UP = "waiting", "delivered", "given up"
#: Changes after which an alert is over, and changes that nobody is notified of: an alert that was muted by the cool-down ends silently.
OVER, SILENT = (AlertChange.RECOVERED, AlertChange.ENDED), (AlertChange.SUPPRESSED, AlertChange.ENDED)
#: Alerts in one answer.
MOST = 200
SECOND_US = 1_000_000
#: How often an acknowledgement is begun anew because a monitor changed the same alert.
TRIES = 10


@dataclass(frozen=True)
class Alert:
    """An alert.

    Attributes:
        alert_id: unique for all time.
        fingerprint: of the rule and what it was raised for.
        monitor: what it was raised for, shortened.
        severity: how bad it is.
        status: raised, acknowledged or recovered.
        first_us: when the condition began, microseconds since 1970.
        last_us: when something last happened to it.
        summary: in a line.
    """

    alert_id: str
    fingerprint: str
    monitor: str
    severity: Severity
    status: str
    first_us: int
    last_us: int
    summary: str


@dataclass(frozen=True)
class AlertEvent:
    """What happened to an alert, for a notification."""

    kind: AlertChange
    alert: Alert


@dataclass(frozen=True)
class Message:
    """A notification that is due, and its channel."""

    channel: str
    title: str
    body: str


@dataclass(frozen=True)
class Delivery:
    """A message on its way.

    Attributes:
        seq: its number.
        alert_id: what it is about.
        channel: where it goes.
        kind: what it tells.
        title: of the message.
        body: of the message.
        created_us: when it was written.
        due_us: when to try next.
        attempts: how often it was tried.
        status: waiting, delivered or given up.
        last_error: why the last try failed.
    """

    seq: int
    alert_id: str
    channel: str
    kind: str
    title: str
    body: str
    created_us: int
    due_us: int
    attempts: int
    status: str
    last_error: str | None


def fingerprint(rule: str, stream: str) -> str:
    """What tells an alert from others: the rule, and what it looked at."""
    return hashlib.sha256(f"{rule}\n{stream}".encode()).hexdigest()[:40]


# --- what happens --------------------------------------------------------------------------------------------------------


def update_rule(
    engine: Engine,
    rule: AlertRule,
    stream: str,
    value: float | None,
    summary: str,
    *,
    now_us: int,
    messages: Callable[[AlertEvent], Sequence[Message]],
    evaluation_id: str | None = None,
) -> AlertEvent | None:
    """Bring a rule to where it stands after a further number, and write what that leads to, with its messages, in one transaction.

    Args:
        engine: of the OLTP database.
        rule: the rule.
        stream: what it looks at.
        value: the number; None: it could not be computed.
        summary: what would be said of it, in a line.
        now_us: when.
        messages: whom to tell what.
        evaluation_id: of the evaluation that the number is of, if it is in the database.

    Returns:
        What happened; None: nothing that is new, or another process was first.

    Raises:
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    name = _note(rule.name, stream)
    try:
        with writing(engine) as connection:
            number, raw = checkpoints.read(connection, name)
            before = RuleState() if raw is None else RuleState.from_dict(raw["standing"])
            after, kind = step(rule, before, value, now_us / SECOND_US)
            if after == before:
                return None
            details = {"rule": rule.name, "value": after.value, "summary": summary, "evaluation_id": evaluation_id}
            event = None if kind is None else _happened(connection, rule, stream, before, after, kind, details, now_us)
            if event is not None and kind not in OVER:
                after = replace(after, alert_id=event.alert.alert_id)
            checkpoints.write(connection, name, number, {"rule": rule.name, "stream": stream, "standing": after.to_dict()})
            if event is None or kind in SILENT:
                return None
            _write_messages(connection, event, messages(event), now_us)
            return event
    except LostError:  # another monitor has seen the same
        return None


def _note(rule: str, stream: str) -> str:
    return f"alert:{fingerprint(rule, stream)}"


def _happened(
    connection: Connection,
    rule: AlertRule,
    stream: str,
    before: RuleState,
    after: RuleState,
    kind: AlertChange,
    details: dict[str, Any],
    now_us: int,
) -> AlertEvent:
    first_us = round((after.since_s if after.since_s is not None else before.since_s or now_us / SECOND_US) * SECOND_US)
    alert_id = before.alert_id or f"a{now_us:014x}{secrets.token_hex(6)}"
    status, summary = RECOVERED if kind in OVER else RAISED, str(details["summary"])
    alert_row = Alert(alert_id, fingerprint(rule.name, stream), stream[:64], rule.severity, status, first_us, now_us, summary)
    if before.alert_id is None:
        values = {**alert_row.__dict__, "severity": rule.severity.value}
        # One alert of a rule and stream is on at a time; earlier versions left some on whose end was not notified.
        same = alert.c.fingerprint == alert_row.fingerprint, alert.c.status != RECOVERED
        connection.execute(update(alert).where(*same).values(status=RECOVERED, last_us=now_us))
        connection.execute(insert(alert).values(**values))
    else:
        changed = {"last_us": now_us, **({"status": RECOVERED} if kind in OVER else {"summary": summary})}
        connection.execute(update(alert).where(alert.c.alert_id == alert_id).values(**changed))
    _event(connection, alert_id, now_us, kind.value, {name: value for name, value in details.items() if value is not None})
    return AlertEvent(kind, alert_row)


def _event(connection: Connection, alert_id: str, at_us: int, event: str, details: Mapping[str, Any]) -> None:
    text = json.dumps(details, ensure_ascii=False)
    connection.execute(insert(alert_event).values(alert_id=alert_id, at_us=at_us, event=event, details=text))


def _write_messages(connection: Connection, event: AlertEvent, messages: Sequence[Message], now_us: int) -> None:
    rows = [
        {
            "alert_id": event.alert.alert_id,
            "channel": message.channel,
            "kind": event.kind.value,
            "title": message.title,
            "body": message.body,
            "created_us": now_us,
            "due_us": now_us,
            "attempts": 0,
            "status": WAITING,
        }
        for message in messages
    ]
    if rows:
        connection.execute(insert(alert_delivery), rows)


def acknowledge(engine: Engine, alert_id: str | None, *, actor: str, note: str, now_us: int) -> tuple[Alert, ...]:
    """Note that somebody knows of an alert, or of all that are on: there is no further notification until it has recovered.

    Raises:
        UsageError: if there is no such alert, or it is over.
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    for _ in range(TRIES):
        try:
            with writing(engine) as connection:
                return _acknowledged(connection, alert_id, actor, note, now_us)
        except LostError:  # a monitor has looked meanwhile
            continue
    raise StorageUnavailableError("monitors change the alerts faster than they can be acknowledged; try again")


def _acknowledged(connection: Connection, alert_id: str | None, actor: str, note: str, now_us: int) -> tuple[Alert, ...]:
    alerts_on = _alerts(connection, alert.c.status.in_((RAISED, ACKNOWLEDGED)) if alert_id is None else alert.c.alert_id == alert_id)
    if alert_id is not None and not alerts_on:
        raise UsageError(f"there is no alert {alert_id[:80]!r}; see: sporeprint alerts list --all")
    if alert_id is not None and alerts_on[0].status == RECOVERED:
        raise UsageError(f"the alert {alert_id} is over; there is nothing to acknowledge")
    known = []
    for each in alerts_on:
        # One that recovered since it was read must not be on again for ever.
        mine = alert.c.alert_id == each.alert_id, alert.c.status != RECOVERED
        if connection.execute(update(alert).where(*mine).values(status=ACKNOWLEDGED, last_us=now_us)).rowcount:
            _event(connection, each.alert_id, now_us, ACKNOWLEDGED, {"by": actor, "note": note})
            audit_log.add(connection, Change(now_us, actor, "alert.acknowledged", each.alert_id, {"note": note}))
            _silence(connection, each)
            known.append(replace(each, status=ACKNOWLEDGED, last_us=now_us))
    return tuple(known)


def _silence(connection: Connection, alert_row: Alert) -> None:
    name = f"alert:{alert_row.fingerprint}"
    number, raw = checkpoints.read(connection, name)
    if raw is not None and raw["standing"]["alert_id"] == alert_row.alert_id:
        checkpoints.write(connection, name, number, {**raw, "standing": {**raw["standing"], "acknowledged": True}})


# --- what is known -------------------------------------------------------------------------------------------------------


def list_alerts(engine: Engine, *, over: bool = False, limit: int = MOST) -> tuple[Alert, ...]:
    """Alerts that are on, the worst first; or all, the latest first. Raises: as `update_rule`."""
    with reading(engine) as connection:
        return _alerts(connection, None if over else alert.c.status != RECOVERED, limit=limit, worst=not over)


def count_on(engine: Engine) -> int:
    """How many alerts are on. Raises: as `update_rule`."""
    with reading(engine) as connection:
        return connection.execute(select(func.count()).where(alert.c.status != RECOVERED)).scalar_one()


def events(engine: Engine, alert_id: str) -> list[tuple[int, str, Mapping[str, Any]]]:
    """What happened to an alert, oldest first: when, what, details. Raises: as `update_rule`."""
    query = select(alert_event.c.at_us, alert_event.c.event, alert_event.c.details).where(alert_event.c.alert_id == alert_id)
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(alert_event.c.seq)).all()
    return [(at_us, event, json.loads(details)) for at_us, event, details in rows]


def get(engine: Engine, alert_id: str) -> Alert | None:
    """An alert; None: there is none. Raises: as `update_rule`."""
    with reading(engine) as connection:
        return next(iter(_alerts(connection, alert.c.alert_id == alert_id)), None)


def streams(engine: Engine, alerts: Sequence[Alert]) -> dict[str, str]:
    """Fingerprint -> what the alerts were raised for, in full: an alert itself has it shortened. Raises: as `update_rule`."""
    known = {}
    with reading(engine) as connection:
        for each in {item.fingerprint for item in alerts}:
            _, raw = checkpoints.read(connection, f"alert:{each}")
            if raw is not None:
                known[each] = str(raw["stream"])
    return known


def _alerts(connection: Connection, condition: Any, *, limit: int = MOST, worst: bool = False) -> tuple[Alert, ...]:
    query = select(*(alert.c[name] for name in Alert.__dataclass_fields__)).limit(limit)
    if condition is not None:
        query = query.where(condition)
    if worst:
        query = query.order_by(case({each.value: each.rank for each in Severity}, value=alert.c.severity).desc())
    rows = connection.execute(query.order_by(alert.c.first_us.desc(), alert.c.alert_id.desc())).mappings()
    return tuple(Alert(**{**row, "severity": Severity(row["severity"])}) for row in rows)


# --- messages ------------------------------------------------------------------------------------------------------------


def deliveries(engine: Engine, *, status: str | None = None, alert_id: str | None = None, limit: int = MOST) -> tuple[Delivery, ...]:
    """Messages, the latest first. Raises: as `update_rule`."""
    query = select(alert_delivery).order_by(alert_delivery.c.seq.desc()).limit(limit)
    if status is not None:
        query = query.where(alert_delivery.c.status == status)
    if alert_id is not None:
        query = query.where(alert_delivery.c.alert_id == alert_id)
    with reading(engine) as connection:
        return tuple(Delivery(**row) for row in connection.execute(query).mappings())


def claim_due(engine: Engine, *, now_us: int, until_us: int, limit: int = 50) -> tuple[Delivery, ...]:
    """Messages that are due. Nobody else gets them until a time, by when their fate should be written.

    Raises: as `update_rule`.
    """
    due = (alert_delivery.c.status == WAITING, alert_delivery.c.due_us <= now_us)
    with writing(engine) as connection:
        rows = connection.execute(select(alert_delivery).where(*due).order_by(alert_delivery.c.seq).limit(limit)).mappings().all()
        taken = []
        for row in rows:
            mine = alert_delivery.c.seq == row["seq"], alert_delivery.c.due_us == row["due_us"], alert_delivery.c.status == WAITING
            if connection.execute(update(alert_delivery).where(*mine).values(due_us=until_us)).rowcount:
                taken.append(Delivery(**row))
        return tuple(taken)


def record_attempt(engine: Engine, delivery: Delivery, error: str | None, *, now_us: int, again_us: int | None) -> None:
    """Write down what became of a try.

    Args:
        engine: of the OLTP database.
        delivery: the message.
        error: why it failed; None: it was delivered.
        now_us: when.
        again_us: when to try again; None: no more.
    """
    status = DELIVERED if error is None else GIVEN_UP if again_us is None else WAITING
    values = {"status": status, "attempts": delivery.attempts + 1, "last_error": error, "due_us": again_us or now_us}
    with writing(engine) as connection:
        connection.execute(update(alert_delivery).where(alert_delivery.c.seq == delivery.seq).values(**values))
        details = {"channel": delivery.channel, "attempt": delivery.attempts + 1, "kind": delivery.kind, "error": error}
        event = "delivered" if error is None else "not delivered" if again_us is not None else "given up"
        _event(connection, delivery.alert_id, now_us, event, details)

"""Who changed what: rows that are only ever added."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp.tables import audit

#: Changes in one answer.
MOST = 200
_COLUMNS = (audit.c.at_us, audit.c.actor, audit.c.action, audit.c.subject, audit.c.details)


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        at_us: when, microseconds since 1970 UTC.
        actor: who, as in key:ci or cli:ada.
        action: what was done, as in key.created.
        subject: to what.
        details: further values; no secrets.
    """

    at_us: int
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]


def add(connection: Connection, change: Change) -> None:
    """Write a change down, in the transaction that makes it."""
    connection.execute(
        insert(audit).values(
            at_us=change.at_us,
            actor=change.actor[:128],
            action=change.action,
            subject=change.subject[:255],
            details=json.dumps(change.details, ensure_ascii=False),
        )
    )


def note(engine: Engine, change: Change) -> None:
    """Write down a change that was made elsewhere.

    Raises:
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    with writing(engine) as connection:
        add(connection, change)


def listed(
    engine: Engine,
    *,
    subject: str | None = None,
    actor: str | None = None,
    action: str | None = None,
    since_us: int | None = None,
    limit: int = MOST,
    before: int | None = None,
) -> tuple[tuple[int, Change], ...]:
    """Changes with their numbers, the latest first.

    Args:
        engine: of the OLTP database.
        subject: only of this one.
        actor: only by this one.
        action: only this, or what begins with it, as key in key.created.
        since_us: only from this time on.
        limit: at most so many.
        before: number of a change; only those before it.

    Raises:
        StorageUnavailableError, StorageError: as `note`.
    """
    query = select(audit.c.seq, *_COLUMNS).order_by(audit.c.seq.desc()).limit(limit)
    for column, value in ((audit.c.subject, subject), (audit.c.actor, actor)):
        if value is not None:
            query = query.where(column == value)
    if action is not None:
        query = query.where((audit.c.action == action) | audit.c.action.startswith(f"{action}.", autoescape=True))
    if since_us is not None:
        query = query.where(audit.c.at_us >= since_us)
    if before is not None:
        query = query.where(audit.c.seq < before)
    with reading(engine) as connection:
        return tuple((row.seq, _change(row)) for row in connection.execute(query))


def changes(engine: Engine, subject: str) -> tuple[Change, ...]:
    """What was done to something, oldest first. Raises: as `note`."""
    with reading(engine) as connection:
        rows = connection.execute(select(*_COLUMNS).where(audit.c.subject == subject).order_by(audit.c.seq)).all()
    return tuple(map(_change, rows))


def _change(row: Any) -> Change:
    return Change(row.at_us, row.actor, row.action, row.subject, json.loads(row.details))

"""Who changed what: rows that are only ever added."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp.tables import audit


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


def changes(engine: Engine, subject: str) -> tuple[Change, ...]:
    """What was done to something, oldest first. Raises: as `note`."""
    columns = (audit.c.at_us, audit.c.actor, audit.c.action, audit.c.subject, audit.c.details)
    with reading(engine) as connection:
        rows = connection.execute(select(*columns).where(audit.c.subject == subject).order_by(audit.c.seq)).all()
    return tuple(Change(row.at_us, row.actor, row.action, row.subject, json.loads(row.details)) for row in rows)

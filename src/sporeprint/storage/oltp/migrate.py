"""The schema's revisions: which one a database has, up, down, and a refusal where it is not the one this version works with.

SQLite rolls a killed migration back. MariaDB cannot: there every step of a revision can be repeated, and the table `migration_state`
says from where to where a migration was on its way. `upgrade` and `downgrade` finish that one first, whichever direction it had.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, Engine, inspect, text

from sporeprint.errors import BusyError, StorageError, UsageError, nearest
from sporeprint.storage.engine import database_errors, reading, writing
from sporeprint.storage.oltp import tables
from sporeprint.storage.urls import SQLITE, redacted

MIGRATIONS = Path(__file__).parents[1] / "migrations"
#: Before the first revision.
BASE = "base"
#: Seconds to wait for another process that changes the same schema.
WAIT_S = 10
#: Holds one row as long as a migration is on its way, and is not there otherwise.
STATE = "migration_state"


State = Literal["empty", "current", "behind", "ahead", "foreign", "unfinished"]


@dataclass(frozen=True)
class Revision:
    """One step of the schema's history."""

    id: str
    summary: str


@dataclass(frozen=True)
class Status:
    """Where a database stands.

    Attributes:
        database: its address, without secrets.
        state: whether this version works with it; unfinished: a migration was killed.
        current: the revision it has; None before the first.
        expected: the revision this version works with.
        pending: what `upgrade` would do, oldest first.
        unfinished: the killed migration, as (direction, target revision).
    """

    database: str
    state: State
    current: str | None
    expected: str
    pending: tuple[Revision, ...]
    unfinished: tuple[str, str] | None = None


@cache
def revisions() -> tuple[Revision, ...]:
    """The schema's history, oldest first; read from the files' names and first lines, because Alembic takes a tenth of a second to load."""
    return tuple(_revision(path) for path in sorted((MIGRATIONS / "versions").glob("r[0-9]*.py")))


def _revision(path: Path) -> Revision:
    summary = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return Revision(path.name[1:5], summary.rstrip("."))


def status(engine: Engine) -> Status:
    """Where a database stands. Changes nothing.

    Raises:
        StorageError, StorageUnavailableError: it cannot be asked.
    """
    if engine.url.get_backend_name() == SQLITE and not Path(engine.url.database or "").exists():  # connecting would make one
        known = revisions()
        return Status(redacted(engine.url), "empty", None, known[-1].id, known)
    with reading(engine) as connection:
        return _status(connection)


def check(engine: Engine) -> None:
    """Refuse a database whose schema is not the one this version works with. Every process does so at its start.

    Raises:
        StorageError: with the command that mends it.
    """
    schema = status(engine)
    if schema.state == "foreign":
        raise _foreign(schema)
    if schema.state == "ahead":
        raise StorageError(_ahead(schema))
    if schema.unfinished is not None:
        direction, target = schema.unfinished
        raise StorageError(f"{schema.database}: a migration ({direction} to {target}) did not finish; run: sporeprint db upgrade")
    if schema.state != "current":
        has = "no tables yet" if schema.state == "empty" else f"schema {schema.current}"
        raise StorageError(f"{schema.database} has {has}, this version works with {schema.expected}; run: sporeprint db upgrade")


def prepare(engine: Engine) -> None:
    """`check`, but make the tables of an SQLite file that has none yet: the embedded database needs no command of its own.

    Raises:
        StorageError: see `check`.
    """
    if engine.url.get_backend_name() == SQLITE and status(engine).state == "empty":
        upgrade(engine)
    check(engine)


def upgrade(engine: Engine, to: str | None = None) -> Status:
    """Bring a database to a revision, by default the one this version works with. A killed migration is finished first.

    Raises:
        StorageError: the database is not this program's, or newer than this version.
        UsageError: there is no such revision, or it is an earlier one.
        BusyError: another process is changing the schema.
    """
    target = _known(to) if to else _head()
    with database_errors(engine.url), _alone(engine) as connection:
        schema = _finished(connection)
        if target not in {schema.current, *(revision.id for revision in schema.pending)}:
            raise UsageError(f"{schema.database} has schema {schema.current}, which is later; see: sporeprint db downgrade {target}")
        if target != schema.current:
            _migrate(connection, "upgrade", target)
    return status(engine)


def downgrade(engine: Engine, to: str) -> Status:
    """Take a database back to an earlier revision, or to `base`. What later revisions added goes, with what is in it.

    Raises:
        StorageError, BusyError: see `upgrade`.
        UsageError: there is no such revision, or it is a later one.
    """
    target = _known(to, BASE)
    with database_errors(engine.url), _alone(engine) as connection:
        schema = _finished(connection)
        if target in {revision.id for revision in schema.pending}:
            raise UsageError(f"{schema.database} has schema {schema.current}, which is earlier; see: sporeprint db upgrade {target}")
        if target != (schema.current or BASE):
            _migrate(connection, "downgrade", target)
    return status(engine)


def removed_by(current: str | None, to: str) -> tuple[Revision, ...]:
    """What a downgrade would take away, latest first.

    Raises:
        UsageError: there is no such revision.
    """
    target, known = _known(to, BASE), revisions()
    first = 0 if target == BASE else [revision.id for revision in known].index(target) + 1
    last = [revision.id for revision in known].index(current) + 1 if current else 0
    return tuple(reversed(known[first:last]))


def _status(connection: Connection) -> Status:
    table_names, known = set(inspect(connection).get_table_names()), revisions()
    ids = [revision.id for revision in known]
    current = connection.scalar(text("SELECT version_num FROM alembic_version")) if "alembic_version" in table_names else None
    # A first upgrade that was killed on MariaDB leaves some of the tables and no revision: its own, it may go on.
    left = table_names - {"alembic_version", STATE}
    unfinished = _unfinished(connection) if STATE in table_names else None
    if current is None and left - set(tables.metadata.tables):
        state: State = "foreign"
    elif unfinished is not None:
        state = "unfinished"
    elif current is None:
        state = "behind" if left else "empty"
    elif current not in ids:
        state = "ahead"
    else:
        state = "current" if current == ids[-1] else "behind"
    pending = () if state in {"ahead", "foreign"} else known[ids.index(current) + 1 if current else 0 :]
    return Status(redacted(connection.engine.url), state, current, ids[-1], pending, unfinished)


def _movable(connection: Connection) -> Status:
    schema = _status(connection)
    if schema.state == "foreign":
        raise _foreign(schema)
    if schema.state == "ahead":
        raise StorageError(_ahead(schema))
    return schema


def _finished(connection: Connection) -> Status:
    """The status after a killed migration was finished."""
    status = _movable(connection)
    if status.unfinished is None:
        return status
    _migrate(connection, *status.unfinished)
    return _movable(connection)


def _migrate(connection: Connection, direction: str, target: str) -> None:
    """Take the revisions up or down to a target. Where each step is committed by itself, what is on its way is written down first."""
    recorded = connection.dialect.name != SQLITE
    if recorded:
        connection.execute(text(f"CREATE TABLE IF NOT EXISTS {STATE} (direction VARCHAR(16) NOT NULL, target VARCHAR(32) NOT NULL)"))
        connection.execute(text(f"DELETE FROM {STATE}"))  # noqa: S608 -- a constant
        connection.execute(text(f"INSERT INTO {STATE} VALUES (:direction, :target)"), {"direction": direction, "target": target})  # noqa: S608
        # Its first step commits this row with it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    getattr(command, direction)(config, target)
    if recorded:
        connection.execute(text(f"DROP TABLE {STATE}"))


def _unfinished(connection: Connection) -> tuple[str, str] | None:
    row = connection.execute(text(f"SELECT direction, target FROM {STATE}")).first()  # noqa: S608 -- a constant
    return None if row is None else (row.direction, row.target)


def _ahead(schema: Status) -> str:
    return (
        f"{schema.database} has schema {schema.current}, which this version does not know (it works with {schema.expected}); install the "
        f"newer sporeprint, or with that one run: sporeprint db downgrade {schema.expected}"
    )


def _foreign(schema: Status) -> StorageError:
    return StorageError(
        f"{schema.database} holds tables of another program; give sporeprint a database of its own (SPOREPRINT_OLTP_URL or storage.oltp), "
        "then run: sporeprint db upgrade"
    )


def _known(revision: str, *further: str) -> str:
    allowed = [*(known.id for known in revisions()), *further]
    if revision not in allowed:
        raise UsageError(f"no such revision: {revision!r}{nearest(revision, allowed)}; there are {', '.join(allowed)}")
    return revision


def _head() -> str:
    return revisions()[-1].id


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """A transaction of the one process that changes the schema. MariaDB ends it with every step, SQLite with the last."""
    if engine.url.get_backend_name() == SQLITE:  # one file, one writer
        with writing(engine) as connection:
            yield connection
        return
    lock = f"sporeprint schema {engine.url.database}"[:64]
    with engine.connect() as holder:
        if not holder.execute(text("SELECT GET_LOCK(:lock, :seconds)"), {"lock": lock, "seconds": WAIT_S}).scalar():
            raise BusyError(f"another process is changing the schema of {redacted(engine.url)}; wait for it and run the command again")
        try:
            with writing(engine) as connection:
                yield connection
        finally:
            holder.execute(text("SELECT RELEASE_LOCK(:lock)"), {"lock": lock})

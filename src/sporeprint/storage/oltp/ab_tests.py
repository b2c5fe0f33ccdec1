"""A/B tests in the OLTP database: made once, looked up, and ended once. Nothing here changes a rule, a split or a version.

A name is never used again, and the two versions are pinned by the digests of their manifests: what a test says can be read for ever.
"""

import json
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, exc, func, insert, select, update

from sporeprint.ab_testing.design import Design
from sporeprint.errors import UsageError, nearest
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import audit_log, checkpoints, tables
from sporeprint.storage.oltp.audit_log import Change
from sporeprint.storage.oltp.tables import ab_event, ab_test

RUNNING, CONCLUDED = "running", "concluded"
#: Tests in one answer.
MOST = 1_000
#: Tests that run at a time: each is looked at every few seconds, and its versions are in the memory of every worker.
MOST_RUNNING = 100


class NoSuchTestError(UsageError):
    """There is no A/B test of that name or id."""


class AbTestConflictError(UsageError):
    """Another test, or what became of this one, stands against it."""


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """A registered version.

    Attributes:
        model: its name.
        version: N of v<N>.
        sha256: of its manifest.
    """

    model: str
    version: int
    sha256: str

    @property
    def ref(self) -> str:
        """As it is named everywhere: xgboost/v2."""
        return f"{self.model}/v{self.version}"


@dataclass(frozen=True, slots=True)
class AbTest:
    """A test.

    Attributes:
        test_id: unique for all time.
        design: what was fixed before its first unit.
        a: the version that stays unless the other wins.
        b: the other version.
        salt: of the assignment.
        independent: whether it may run beside others that have the same kind of unit.
        default_route: whether requests that name neither a test nor a model take part.
        created_us: when it was made, microseconds since 1970 UTC.
        first: table -> the highest number in it when the test was made: nothing of the test is below.
        status: running or concluded.
        concluded_us: when it ended.
        verdict: what it came to: a, b, equivalent, inconclusive or invalid.
    """

    test_id: str
    design: Design
    a: PinnedVersion
    b: PinnedVersion
    salt: str
    independent: bool
    default_route: bool
    created_us: int
    first: Mapping[str, int]
    status: str = RUNNING
    concluded_us: int | None = None
    verdict: str | None = None

    @property
    def name(self) -> str:
        """Of the test."""
        return self.design.name

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self.status == RUNNING


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a test.

    Attributes:
        at_us: when, microseconds since 1970 UTC.
        actor: who.
        event: what.
        details: further values.
    """

    at_us: int
    actor: str
    event: str
    details: Mapping[str, Any]


def create(
    engine: Engine,
    design: Design,
    a: PinnedVersion,
    b: PinnedVersion,
    *,
    now_us: int,
    actor: str,
    independent: bool = False,
    default_route: bool = False,
) -> AbTest:
    """Make a test. It runs from now on.

    Raises:
        ConflictError: if the name was ever used, or a running test stands in the way.
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    test_id = f"t{now_us:014x}{secrets.token_hex(6)}"
    with writing(engine) as connection:
        # Two that are made at once must see each other.
        checkpoints.alone(connection, "create")
        _free(connection, design, independent=independent, default_route=default_route)
        first = {
            table.name: connection.execute(select(func.max(table.c.seq))).scalar() or 0 for table in (tables.prediction, tables.outcome)
        }
        ab_test_row = AbTest(test_id, design, a, b, secrets.token_hex(16), independent, default_route, now_us, first)
        rule = {"design": design.to_dict(), "independent": independent, "default_route": default_route, "first": first}
        try:
            with connection.begin_nested():
                connection.execute(
                    insert(ab_test).values(
                        test_id=test_id,
                        name=design.name,
                        created_us=now_us,
                        mode=design.mode.value,
                        status=RUNNING,
                        model_a=a.model,
                        version_a=a.version,
                        sha256_a=a.sha256,
                        model_b=b.model,
                        version_b=b.version,
                        sha256_b=b.sha256,
                        traffic_split=design.traffic_split,
                        salt=ab_test_row.salt,
                        rule=json.dumps(rule, ensure_ascii=False),
                    )
                )
        except exc.IntegrityError:
            raise AbTestConflictError(f"the name {design.name!r} is taken: a test's name is never used again; choose another one") from None
        details = {"name": design.name, "model_a": a.ref, "model_b": b.ref}
        _note(connection, test_id, Event(now_us, actor, "created", details))
        audit_log.add(connection, Change(now_us, actor, "ab_test.created", test_id, details))
    return ab_test_row


def _free(connection: Connection, design: Design, *, independent: bool, default_route: bool) -> None:
    others = _select(connection, ab_test.c.status == RUNNING, limit=MOST_RUNNING)
    if len(others) >= MOST_RUNNING:
        raise AbTestConflictError(f"{MOST_RUNNING} A/B tests run, which is as many as may; conclude one first")
    for other in others:
        if default_route and other.default_route:
            raise AbTestConflictError(
                f"the test {other.name!r} is the default route already; conclude it first, or leave default_route out"
            )
        if not independent and other.design.unit == design.unit:
            raise AbTestConflictError(
                f"the running test {other.name!r} has the same unit ({design.unit}): the two could disturb each other. Conclude it first, "
                "choose another unit, or say independent=true if what one changes has nothing to do with the other"
            )


def get(engine: Engine, name: str) -> AbTest:
    """A test by its id or name.

    Raises:
        NoSuchTestError: if there is none.
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    with reading(engine) as connection:
        rows = _select(connection, (ab_test.c.test_id == name) | (ab_test.c.name == name), limit=2)
        if not rows:
            there = connection.execute(select(ab_test.c.name).order_by(ab_test.c.created_us.desc()).limit(10)).scalars().all()
            listed_names = f"; the latest: {', '.join(there)}" if there else "; there are none yet: make one first"
            raise NoSuchTestError(f"there is no A/B test {name[:130]!r}{nearest(name[:130], there)}{listed_names}")
    # An id has a form that a name may have too; then the id counts.
    return next((test for test in rows if test.test_id == name), rows[0])


def listed(engine: Engine, *, status: str | None = None, limit: int = 100, before: str | None = None) -> tuple[AbTest, ...]:
    """Tests, the latest first.

    Args:
        engine: of the OLTP database.
        status: only those that run, or that are concluded.
        limit: at most so many.
        before: id of a test; only those that were made before it.

    Raises:
        UsageError: if a value is not allowed.
    """
    if status not in (None, RUNNING, CONCLUDED):
        raise UsageError(f"status is {str(status)[:40]!r}; allowed: {RUNNING}, {CONCLUDED}")
    if not 1 <= limit <= MOST:
        raise UsageError(f"limit is {limit}; allowed: 1 to {MOST}")
    # Most tests are concluded: SQLite would take the index of the status for `=`, and sort them all.
    conditions = [] if status is None else [ab_test.c.status == RUNNING if status == RUNNING else ab_test.c.status != RUNNING]
    if before is not None:
        if not re.fullmatch("t[0-9a-f]{26}", before):
            raise UsageError(f"before is {before[:40]!r}: expected the id of a test, which `next` of the page before is")
        # Ids begin with the time.
        conditions.append(ab_test.c.test_id < before)
    with reading(engine) as connection:
        return _select(connection, *conditions, limit=limit)


def running(engine: Engine) -> tuple[AbTest, ...]:
    """The tests that run, the latest first. Raises: as `get`."""
    with reading(engine) as connection:
        return _select(connection, ab_test.c.status == RUNNING, limit=MOST_RUNNING)


def running_ids(engine: Engine) -> tuple[str, ...]:
    """The ids of the tests that run, the latest first. Raises: as `get`."""
    query = select(ab_test.c.test_id).where(ab_test.c.status == RUNNING).order_by(ab_test.c.test_id.desc())
    with reading(engine) as connection:
        return tuple(connection.execute(query).scalars().all())


def conclude(
    engine: Engine, test: AbTest, verdict: str, *, now_us: int, actor: str, details: Mapping[str, Any], event: str = "concluded"
) -> AbTest:
    """End a test, once: of two that try, one does.

    Raises:
        ConflictError: if it has ended already.
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    with writing(engine) as connection:
        statement = update(ab_test).where(ab_test.c.test_id == test.test_id, ab_test.c.status == RUNNING)
        done = connection.execute(statement.values(status=CONCLUDED, concluded_us=now_us, verdict=verdict))
        if done.rowcount != 1:
            stored_verdict = connection.execute(select(ab_test.c.verdict).where(ab_test.c.test_id == test.test_id)).scalar()
            raise AbTestConflictError(
                f"the test {test.name!r} is concluded already, its verdict is {stored_verdict!r}; a verdict is not changed"
            )
        _note(connection, test.test_id, Event(now_us, actor, event, {"verdict": verdict, **details}))
        audit_log.add(
            connection, Change(now_us, actor, f"ab_test.{event}", test.test_id, {"name": test.name, "verdict": verdict, **details})
        )
        return _select(connection, ab_test.c.test_id == test.test_id)[0]


def add_event(engine: Engine, test_id: str, event: Event, *, audited: bool = False) -> None:
    """Write down what happened to a test. Raises: StorageUnavailableError, StorageError."""
    with writing(engine) as connection:
        _note(connection, test_id, event)
        if audited:
            audit_log.add(connection, Change(event.at_us, event.actor, f"ab_test.{event.event}", test_id, event.details))


def events(engine: Engine, test_id: str, since_us: int = -1) -> tuple[Event, ...]:
    """What happened to a test after a time, oldest first. Raises: as `note`."""
    columns = (ab_event.c.at_us, ab_event.c.actor, ab_event.c.event, ab_event.c.details)
    with reading(engine) as connection:
        rows = connection.execute(
            select(*columns).where(ab_event.c.test_id == test_id, ab_event.c.at_us > since_us).order_by(ab_event.c.seq)
        ).all()
    return tuple(Event(row.at_us, row.actor, row.event, json.loads(row.details)) for row in rows)


def without_event(engine: Engine, verdict: str, named: Collection[str], *, limit: int = 20) -> tuple[AbTest, ...]:
    """Concluded tests of a verdict to which none of the named events has happened, the latest first. Raises: as `note`."""
    happened = select(ab_event.c.test_id).where(ab_event.c.test_id == ab_test.c.test_id, ab_event.c.event.in_(named)).exists()
    with reading(engine) as connection:
        return _select(connection, ab_test.c.status == CONCLUDED, ab_test.c.verdict == verdict, ~happened, limit=limit)


def _note(connection: Connection, test_id: str, event: Event) -> None:
    connection.execute(
        insert(ab_event).values(
            test_id=test_id,
            at_us=event.at_us,
            actor=event.actor[:128],
            event=event.event,
            details=json.dumps(event.details, ensure_ascii=False),
        )
    )


def _select(connection: Connection, *conditions: Any, limit: int = MOST) -> tuple[AbTest, ...]:
    rows = connection.execute(select(ab_test).where(*conditions).order_by(ab_test.c.test_id.desc()).limit(limit)).all()
    return tuple(map(_test, rows))


def _test(row: Any) -> AbTest:
    rule = json.loads(row.rule)
    return AbTest(
        test_id=row.test_id,
        design=Design.from_stored(rule["design"]),
        a=PinnedVersion(row.model_a, row.version_a, row.sha256_a),
        b=PinnedVersion(row.model_b, row.version_b, row.sha256_b),
        salt=row.salt,
        independent=rule["independent"],
        default_route=rule["default_route"],
        created_us=row.created_us,
        first=rule["first"],
        status=row.status,
        concluded_us=row.concluded_us,
        verdict=row.verdict,
    )

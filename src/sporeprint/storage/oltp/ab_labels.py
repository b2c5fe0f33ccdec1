"""The queue of a shadow test's disagreements that wait for a label: items are leased, so that two people never have the same one.

The order does not depend on the answers, and an item is shown without them: otherwise the labels would depend on them, too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, Select, and_, exists, func, insert, or_, select, update

from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import checkpoints
from sporeprint.storage.oltp.ab_tests import AbTest, AbTestConflictError, NoSuchTestError
from sporeprint.storage.oltp.tables import ab_lease, ab_unit, outcome, prediction

#: How long an item is its holder's, microseconds.
LEASE_US = 600 * 1_000_000
#: The label of an item that nobody can tell; it has no outcome.
CANNOT_TELL = "cannot_tell"
_LOCK = "labels"


@dataclass(frozen=True, slots=True)
class LabelAnswers:
    """What the versions answered, for whoever has labelled the item.

    Attributes:
        answer_a: 0 negative, 1 positive, 2 unknown.
        answer_b: the same of the other version.
    """

    answer_a: int
    answer_b: int


@dataclass(frozen=True, slots=True)
class LeasedLabel:
    """An item to label.

    Attributes:
        prediction_id: what is labelled.
        features: the row; None where the prediction was deleted.
        created_us: time of the request, microseconds since 1970 UTC; None likewise.
        until_us: until when it is its holder's.
        label: its holder's label: a class code or `cannot_tell`; None: none yet.
        answers: what the versions answered; None before the label.
    """

    prediction_id: str
    features: Mapping[str, Any] | None
    created_us: int | None
    until_us: int
    label: str | None
    answers: LabelAnswers | None


def lease(engine: Engine, test: AbTest, holder: str, *, count: int, now_us: int) -> tuple[LeasedLabel, ...]:
    """Items for a holder: first those it has already, then the latest that nobody has.

    Args:
        engine: of the OLTP database.
        test: a shadow test.
        holder: who will label them.
        count: at most so many.
        now_us: what time it is.

    Raises:
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    with writing(engine) as connection:
        checkpoints.alone(connection, _LOCK)
        own = and_(ab_lease.c.holder == holder, ab_lease.c.until_us > now_us, ab_lease.c.label.is_(None))
        free = or_(ab_lease.c.holder.is_(None), and_(ab_lease.c.until_us <= now_us, ab_lease.c.label.is_(None)))
        ids = _ids(connection, test, own, count)
        ids += _ids(connection, test, free, count - len(ids)) if len(ids) < count else []
        for prediction_id in ids:
            _hold(connection, test.test_id, prediction_id, holder, now_us)
        return tuple(_item(row) for row in connection.execute(_items(test.test_id, ids)))


def held(engine: Engine, test: AbTest, prediction_id: str, holder: str) -> LeasedLabel:
    """An item that a holder has or has labelled, to see it again.

    Raises:
        NoSuchTestError: it has none of that id.
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    with reading(engine) as connection:
        row = connection.execute(_items(test.test_id, [prediction_id]).where(ab_lease.c.holder == holder)).first()
    if row is None:
        raise NoSuchTestError(f"{prediction_id[:70]!r} is no item of the test {test.name!r} that you have or have labelled")
    return _item(row)


def claim(engine: Engine, test: AbTest, prediction_id: str, holder: str, *, label: str, now_us: int) -> LabelAnswers:
    """Make sure that a holder may label an item now, and keep it from others meanwhile.

    Args:
        engine: of the OLTP database.
        test: a shadow test.
        prediction_id: the item.
        holder: who labels it.
        label: class code or `cannot_tell`.
        now_us: what time it is.

    Raises:
        NoSuchTestError: it is no item of the test.
        AbTestConflictError: somebody else has it or has labelled it, or an outcome would be taken back.
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    with writing(engine) as connection:
        checkpoints.alone(connection, _LOCK)
        seq = connection.execute(select(prediction.c.seq).where(prediction.c.prediction_id == prediction_id)).scalar()
        unit = and_(ab_unit.c.test_id == test.test_id, _is_unit(seq))
        item = connection.execute(select(ab_unit.c.answer, ab_unit.c.shadow_answer, ab_unit.c.awaits_label).where(unit)).first()
        row = connection.execute(select(ab_lease).where(_is(test.test_id, prediction_id))).first()
        if item is None or not (item.awaits_label or row):
            raise NoSuchTestError(f"{prediction_id[:70]!r} is no item of the test {test.name!r} that waits for a label")
        known = connection.execute(
            select(outcome.c.outcome).where(outcome.c.prediction_id == prediction_id).order_by(outcome.c.revision.desc()).limit(1)
        ).scalar()
        _check(row, known, holder, label, now_us)
        _hold(connection, test.test_id, prediction_id, holder, now_us)
    return LabelAnswers(item.answer, item.shadow_answer)


def settle(engine: Engine, test_id: str, prediction_id: str, *, label: str, note: str | None, now_us: int) -> None:
    """Keep what an item was labelled, after `claim`. Raises: as `lease`."""
    values = {"label": label, "labelled_us": now_us, "until_us": now_us, "note": note}
    with writing(engine) as connection:
        connection.execute(update(ab_lease).where(_is(test_id, prediction_id)).values(**values))


def waiting(engine: Engine, test_id: str) -> int:
    """How many items wait for a label: also those that somebody has in hand. Raises: as `lease`."""
    query = select(func.count()).select_from(_queue()).where(ab_unit.c.test_id == test_id, _waits(), ab_lease.c.label.is_(None))
    with reading(engine) as connection:
        return int(connection.execute(query).scalar() or 0)


def _check(row: Row[Any] | None, known: str | None, holder: str, label: str, now_us: int) -> None:
    """Whether a holder may label an item with this lease and this outcome so far."""
    if row is not None and row.holder != holder and (row.label is not None or row.until_us > now_us):
        what = "has labelled this item" if row.label is not None else "has this item in hand"
        raise AbTestConflictError(f"somebody else {what}: your label was not stored")
    is_correction = row is not None and row.label is not None
    if known is not None and not is_correction and known != label:
        raise AbTestConflictError("the outcome of this item was reported elsewhere meanwhile: your label was not stored")
    if known is not None and label == CANNOT_TELL:
        raise AbTestConflictError("an outcome is corrected by another one, and not taken back: choose a class")


def _waits() -> ColumnElement[bool]:
    """Whether a unit waits for a label; of an outcome that is not counted yet, the table of outcomes says it."""
    known = exists().where(outcome.c.prediction_id == ab_unit.c.prediction_id)
    return and_(ab_unit.c.awaits_label == 1, ~known)


def _is_unit(seq: Any) -> ColumnElement[bool]:
    """Whether a unit is that of a prediction's number; as an index finds it."""
    return and_(ab_unit.c.awaits_label.in_((0, 1)), ab_unit.c.prediction_seq == seq)


def _queue() -> Any:
    same = and_(ab_lease.c.test_id == ab_unit.c.test_id, ab_lease.c.prediction_id == ab_unit.c.prediction_id)
    return ab_unit.outerjoin(ab_lease, same)


def _ids(connection: Connection, test: AbTest, condition: ColumnElement[bool], count: int) -> list[str]:
    query = select(ab_unit.c.prediction_id).select_from(_queue()).where(ab_unit.c.test_id == test.test_id, _waits(), condition)
    return list(connection.execute(query.order_by(ab_unit.c.prediction_seq.desc()).limit(count)).scalars())


def _items(test_id: str, ids: list[str]) -> Select[Any]:
    leased = (ab_lease.c[name] for name in ("prediction_id", "until_us", "label"))
    columns = (*leased, prediction.c.features, prediction.c.created_us, ab_unit.c.answer, ab_unit.c.shadow_answer)
    joined = ab_lease.outerjoin(prediction, prediction.c.prediction_id == ab_lease.c.prediction_id)
    joined = joined.outerjoin(ab_unit, and_(ab_unit.c.test_id == test_id, _is_unit(prediction.c.seq)))
    query = select(*columns).select_from(joined).where(ab_lease.c.test_id == test_id, ab_lease.c.prediction_id.in_(ids))
    return query.order_by(prediction.c.seq.desc())


def _item(row: Row[Any]) -> LeasedLabel:
    features = None if row.features is None else json.loads(row.features)
    answers = None if row.label is None or row.answer is None else LabelAnswers(row.answer, row.shadow_answer)
    return LeasedLabel(row.prediction_id, features, row.created_us, row.until_us, row.label, answers)


def _is(test_id: str, prediction_id: str) -> ColumnElement[bool]:
    return and_(ab_lease.c.test_id == test_id, ab_lease.c.prediction_id == prediction_id)


def _hold(connection: Connection, test_id: str, prediction_id: str, holder: str, now_us: int) -> None:
    values = {"holder": holder, "until_us": now_us + LEASE_US}
    if not connection.execute(update(ab_lease).where(_is(test_id, prediction_id)).values(**values)).rowcount:
        connection.execute(insert(ab_lease).values(test_id=test_id, prediction_id=prediction_id, **values))

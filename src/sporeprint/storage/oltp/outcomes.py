"""Outcomes of predictions: append-only revisions, the last of which counts."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, exc, insert, select

from sporeprint.errors import StorageUnavailableError, UsageError
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp.tables import outcome

#: How often to try where others write revisions of the same prediction.
TRIES = 20
#: Outcomes in one transaction.
AT_ONCE = 1_000


@dataclass(frozen=True)
class Outcome:
    """One revision.

    Attributes:
        prediction_id: what it is about.
        revision: 1, 2, ...
        outcome: class code.
        source: who says so.
        observed_us: when it was seen, microseconds since 1970 UTC.
        recorded_us: when it was written.
    """

    prediction_id: str
    revision: int
    outcome: str
    source: str
    observed_us: int
    recorded_us: int


@dataclass(frozen=True)
class OutcomeResult:
    """What became of an outcome.

    Attributes:
        outcome: the revision that holds it.
        created: whether it is new; False if it was said before.
    """

    outcome: Outcome
    created: bool


class KeyReusedError(UsageError):
    """An idempotency key was used for another outcome."""


_COLUMNS = tuple(outcome.c[name] for name in Outcome.__dataclass_fields__)


def latest(engine: Engine, prediction_id: str) -> Outcome | None:
    """The outcome that counts; None where there is none.

    Raises:
        StorageError: see `engine.errors`.
    """
    with reading(engine) as connection:
        return _latest(connection, prediction_id)


def revisions(engine: Engine, prediction_id: str) -> tuple[Outcome, ...]:
    """Every revision, the first one first; the last one counts.

    Raises:
        StorageError: see `engine.errors`.
    """
    query = select(*_COLUMNS).where(outcome.c.prediction_id == prediction_id).order_by(outcome.c.revision)
    with reading(engine) as connection:
        return tuple(Outcome(**row) for row in connection.execute(query).mappings())


def record(
    engine: Engine, prediction_id: str, code: str, *, source: str, observed_us: int | None, now_us: int, key: str | None = None
) -> OutcomeResult:
    """Write an outcome, as a further revision where it differs from the last one.

    Args:
        engine: of the OLTP database.
        prediction_id: what it is about.
        code: class code.
        source: who says so.
        observed_us: when it was seen; now, if left out.
        now_us: what time it is.
        key: what makes two calls the same: the second changes nothing.

    Raises:
        KeyReusedError: if the key was used for another outcome.
        StorageUnavailableError: if the database does not answer now, or others kept writing. Trying again is harmless.
        StorageError: if it cannot.
    """
    statement = {"prediction_id": prediction_id, "outcome": code, "source": source}
    for _ in range(TRIES):
        with writing(engine) as connection:
            if key is not None and (used := _one(connection, select(*_COLUMNS).where(outcome.c.idempotency_key == key))):
                return _same(used, statement, key)
            last = _latest(connection, prediction_id)
            if last is not None and (last.outcome, last.source) == (code, source) and observed_us in (None, last.observed_us):
                return OutcomeResult(last, created=False)
            revision = 1 if last is None else last.revision + 1
            values: dict[str, Any] = {
                **statement,
                "revision": revision,
                "observed_us": now_us if observed_us is None else observed_us,
                "recorded_us": now_us,
            }
            try:
                with connection.begin_nested():
                    connection.execute(insert(outcome).values(**values, idempotency_key=key))
            except exc.IntegrityError:  # somebody else wrote this revision, or used this key, at the same moment
                continue
            return OutcomeResult(Outcome(**values), created=True)
    raise StorageUnavailableError(f"others kept writing outcomes of {prediction_id!r}; try again")


@dataclass(frozen=True, slots=True)
class OutcomeStatement:
    """An outcome that somebody states: see `record`."""

    prediction_id: str
    code: str
    source: str
    observed_us: int | None


def record_all(engine: Engine, statements: Sequence[OutcomeStatement], *, now_us: int) -> list[OutcomeResult]:
    """Write many outcomes, each as `record` would, one after the other; a part of them in each transaction.

    Raises:
        StorageUnavailableError: if the database does not answer now, or others kept writing. Trying again is harmless.
        StorageError: if it cannot.
    """
    done: list[OutcomeResult] = []
    for begin in range(0, len(statements), AT_ONCE):
        done += _record_part(engine, statements[begin : begin + AT_ONCE], now_us)
    return done


def _record_part(engine: Engine, statements: Sequence[OutcomeStatement], now_us: int) -> list[OutcomeResult]:
    for _ in range(TRIES):
        with writing(engine) as connection:
            done = _revisions(_latest_of(connection, {each.prediction_id for each in statements}), statements, now_us)
            new = [asdict(each.outcome) for each in done if each.created]
            try:
                with connection.begin_nested():
                    if new:
                        connection.execute(insert(outcome), new)
            except exc.IntegrityError:  # somebody else wrote one of these revisions at the same moment
                continue
            return done
    raise StorageUnavailableError("others kept writing the same outcomes; try again")


def _revisions(last: dict[str, Outcome], statements: Sequence[OutcomeStatement], now_us: int) -> list[OutcomeResult]:
    """What becomes of each; `last` is kept up to date on the way."""
    done = []
    for each in statements:
        before = last.get(each.prediction_id)
        if before and (before.outcome, before.source) == (each.code, each.source) and each.observed_us in (None, before.observed_us):
            done.append(OutcomeResult(before, created=False))
            continue
        observed_us = now_us if each.observed_us is None else each.observed_us
        revision = 1 if before is None else before.revision + 1
        last[each.prediction_id] = made = Outcome(each.prediction_id, revision, each.code, each.source, observed_us, now_us)
        done.append(OutcomeResult(made, created=True))
    return done


def _latest_of(connection: Connection, ids: Iterable[str]) -> dict[str, Outcome]:
    query = select(*_COLUMNS).where(outcome.c.prediction_id.in_(sorted(ids))).order_by(outcome.c.revision)
    return {row["prediction_id"]: Outcome(**row) for row in connection.execute(query).mappings()}


def _same(used: Outcome, statement: dict[str, Any], key: str) -> OutcomeResult:
    if any(getattr(used, name) != value for name, value in statement.items()):
        raise KeyReusedError(f"the key {key[:40]!r} was used for another outcome; use a new key for a new outcome")
    return OutcomeResult(used, created=False)


def _latest(connection: Connection, prediction_id: str) -> Outcome | None:
    query = select(*_COLUMNS).where(outcome.c.prediction_id == prediction_id).order_by(outcome.c.revision.desc()).limit(1)
    return _one(connection, query)


def _one(connection: Connection, query: "Select[Any]") -> Outcome | None:
    row: RowMapping | None = connection.execute(query).mappings().one_or_none()
    return None if row is None else Outcome(**row)

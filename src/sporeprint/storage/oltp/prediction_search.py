"""Searches single predictions, the latest first, in bounded time: each call reads a bounded number of rows, and says how far it came.

A filter that few rows pass could read the whole table. So a call first looks up, in the index alone, where its last row is, and then reads
no further than that; the next call goes on from there (keyset paging on time and number).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson
from sqlalchemy import Column, Connection, Engine, RowMapping, Select, and_, exists, false, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from sporeprint.storage.engine import reading
from sporeprint.storage.oltp.tables import outcome, prediction

#: Rows that one call reads at most.
SCAN_ROWS = 20_000
OutcomeFilter = Literal["none", "right", "wrong", "corrected"]
#: Stands for any column where one with a value that was never seen is searched.
ANY = "*"
#: Filters that are a column's value.
_EQUAL = ("verdict", "model", "version", "test_id", "arm", "unit_id")
_COLUMNS = (
    *("prediction_id", "seq", "created_us", "model", "version", "verdict", "novelty_p", "unseen", "features", "test_id", "arm", "unit_id"),
)


@dataclass(frozen=True)
class SearchFilter:
    """What a prediction must be; None: anything.

    Attributes:
        since_us: made from then on, microseconds since 1970 UTC.
        until_us: made before then.
        verdict: what was answered: a class's word, or unknown.
        model: name of the model.
        version: N of v<N>.
        outcome: none was reported, it agrees with the verdict, it does not, or it was corrected.
        unseen: a column whose value was never seen in training; * for any.
        test_id: of an A/B test.
        arm: a or b.
        unit_id: of the unit.
    """

    since_us: int | None = None
    until_us: int | None = None
    verdict: str | None = None
    model: str | None = None
    version: int | None = None
    outcome: OutcomeFilter | None = None
    unseen: str | None = None
    test_id: str | None = None
    arm: str | None = None
    unit_id: str | None = None


@dataclass(frozen=True, order=True)
class Position:
    """A place in the order of the predictions."""

    created_us: int
    seq: int


@dataclass(frozen=True)
class PredictionRow:
    """A prediction that passes the filter.

    Attributes:
        position: its place.
        prediction_id: its id.
        model: name of the model.
        version: N of v<N>.
        verdict: what was answered.
        novelty_p: the guard's p-value.
        unseen: columns with a value that was never seen.
        features: the row.
        test_id: of its A/B test.
        arm: a or b.
        unit_id: of the unit.
        outcome: code of the class that it turned out to be; None where nobody reported one.
        revision: of that outcome; 0 where nobody reported one.
    """

    position: Position
    prediction_id: str
    model: str
    version: int
    verdict: str
    novelty_p: float | None
    unseen: tuple[str, ...]
    features: Mapping[str, Any]
    test_id: str | None
    arm: str | None
    unit_id: str | None
    outcome: str | None = None
    revision: int = 0


@dataclass(frozen=True)
class SearchPage:
    """What one call read.

    Attributes:
        rows: those that pass, the latest first.
        scanned_to: the last place that was read, where older ones were not; None: there are none.
    """

    rows: Sequence[PredictionRow] = field(default_factory=tuple)
    scanned_to: Position | None = None


def search(engine: Engine, chosen: SearchFilter, codes: Mapping[str, str], *, limit: int, before: Position | None = None) -> SearchPage:
    """Predictions that pass a filter, the latest first.

    Args:
        engine: of the OLTP database.
        chosen: the filter.
        codes: verdict -> code of the class that it says, for what is right.
        limit: at most so many.
        before: only those that come after this place.

    Raises:
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    keyed = [*_between(chosen, before), *([prediction.c.test_id == chosen.test_id] if chosen.test_id else [])]
    order = (prediction.c.created_us.desc(), prediction.c.seq.desc())
    with reading(engine) as connection:
        bound = _place(connection, select(prediction.c.created_us, prediction.c.seq).where(*keyed).order_by(*order), SCAN_ROWS)
        within = [] if bound is None else [_at_or_after(bound)]
        query = select(*(prediction.c[name] for name in _COLUMNS)).where(*keyed, *within, *_conditions(chosen, codes))
        rows = connection.execute(query.order_by(*order).limit(limit)).mappings().all()
        outcomes = _outcomes(connection, [row["prediction_id"] for row in rows])
    hits = tuple(_row(row, outcomes.get(row["prediction_id"])) for row in rows)
    return SearchPage(hits, hits[-1].position if len(hits) == limit else bound)


def _place(connection: Connection, query: "Select[Any]", rows: int) -> Position | None:
    """Where the last of so many rows is; None where there are no more than these."""
    places = connection.execute(query.offset(rows - 1).limit(2)).all()
    return Position(*places[0]) if len(places) == 2 else None


def _between(chosen: SearchFilter, before: Position | None) -> list[ColumnElement[bool]]:
    created, seq = prediction.c.created_us, prediction.c.seq
    conditions: list[ColumnElement[bool]] = []
    if chosen.since_us is not None:
        conditions.append(created >= chosen.since_us)
    if chosen.until_us is not None:
        conditions.append(created < chosen.until_us)
    if before is not None:  # the first part alone lets the index begin there
        conditions += [created <= before.created_us, or_(created < before.created_us, seq < before.seq)]
    return conditions


def _at_or_after(place: Position) -> ColumnElement[bool]:
    created, seq = prediction.c.created_us, prediction.c.seq
    return and_(created >= place.created_us, or_(created > place.created_us, seq >= place.seq))


def _conditions(chosen: SearchFilter, codes: Mapping[str, str]) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    for name in _EQUAL:
        column: Column[Any] = prediction.c[name]
        if (value := getattr(chosen, name)) is not None:
            conditions.append(column == value)
    if chosen.unseen == ANY:
        conditions.append(prediction.c.unseen != "[]")
    elif chosen.unseen is not None:
        conditions.append(func.instr(prediction.c.unseen, orjson.dumps(chosen.unseen).decode()) > 0)
    if chosen.outcome is not None:
        conditions.append(_with_outcome(chosen.outcome, codes))
    return conditions


def _with_outcome(kind: OutcomeFilter, codes: Mapping[str, str]) -> ColumnElement[bool]:
    same = outcome.c.prediction_id == prediction.c.prediction_id
    if kind == "none":
        return ~exists().where(same)
    if kind == "corrected":
        return exists().where(same, outcome.c.revision == 2)
    later = outcome.alias("later")
    is_last = ~exists().where(later.c.prediction_id == outcome.c.prediction_id, later.c.revision > outcome.c.revision)
    agrees = [
        and_(prediction.c.verdict == verdict, outcome.c.outcome == code if kind == "right" else outcome.c.outcome != code)
        for verdict, code in codes.items()
    ]
    return exists().where(same, is_last, or_(false(), *agrees))


def _outcomes(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, int]]:
    """The latest outcome of each, with its revision."""
    columns = (outcome.c.prediction_id, outcome.c.outcome, outcome.c.revision)
    rows = connection.execute(select(*columns).where(outcome.c.prediction_id.in_(ids)).order_by(outcome.c.revision)).all()
    return {prediction_id: (code, revision) for prediction_id, code, revision in rows}


def _row(row: RowMapping, known: tuple[str, int] | None) -> PredictionRow:
    code, revision = known or (None, 0)
    same = ("prediction_id", "model", "version", "verdict", "novelty_p", "test_id", "arm", "unit_id")
    return PredictionRow(
        position=Position(row["created_us"], row["seq"]),
        **{name: row[name] for name in same},
        unseen=tuple(orjson.loads(row["unseen"])),
        features=orjson.loads(row["features"]),
        outcome=code,
        revision=revision,
    )

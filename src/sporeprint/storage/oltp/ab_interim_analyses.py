"""Stores the interim analyses of A/B tests. Their number grows with the logarithm of the units."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, Select, func, insert, select, update

from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import checkpoints
from sporeprint.storage.oltp.tables import ab_interim_analysis

_COLUMNS = ab_interim_analysis.c
#: An interim analysis is kept where so many times as many units or labels are there as in the one before.
GROWTH = 1.02


@dataclass(frozen=True, slots=True)
class InterimAnalysis:
    """An interim analysis of a test.

    Attributes:
        at_us: when, microseconds since 1970 UTC.
        units: counted until then.
        labels: counted until then.
        figures: JSON values: totals, analysis, decision.
    """

    at_us: int
    units: int
    labels: int
    figures: Mapping[str, Any]


def add(engine: Engine, test_id: str, analysis: InterimAnalysis) -> None:
    """Store an interim analysis, if more is new in it than the time.

    It replaces the last one where that differs little from the one before it.

    Raises:
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    text = json.dumps(analysis.figures, allow_nan=False)
    values = {"at_us": analysis.at_us, "units": analysis.units, "labels": analysis.labels, "figures": text}
    with writing(engine) as connection:
        checkpoints.alone(connection, "interim analyses")
        query = select(_COLUMNS.seq, _COLUMNS.units, _COLUMNS.labels, _COLUMNS.figures).where(_COLUMNS.test_id == test_id)
        last = connection.execute(query.order_by(_COLUMNS.seq.desc()).limit(2)).all()
        if last and _timeless(json.loads(last[0].figures)) == _timeless(json.loads(text)):
            return
        if len(last) == 2 and not _differs(*last):
            connection.execute(update(ab_interim_analysis).where(_COLUMNS.seq == last[0].seq).values(**values))
        else:
            connection.execute(insert(ab_interim_analysis).values(test_id=test_id, **values))


def _timeless(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if name != "elapsed_s"}


def _differs(row: Any, before: Any) -> bool:
    """Whether an interim analysis has more data than the one before it, or another decision."""
    if row.units > before.units * GROWTH or row.labels > before.labels * GROWTH:
        return True
    now, then = (json.loads(each.figures)["decision"] for each in (row, before))
    return any(now[name] != then[name] for name in ("verdict", "reason"))


def all_of(engine: Engine, test_id: str, since_us: int = -1) -> tuple[InterimAnalysis, ...]:
    """The stored interim analyses of a test after a time, oldest first. Raises: as `add`."""
    query = _select(test_id).where(_COLUMNS.at_us > since_us)
    with reading(engine) as connection:
        return tuple(map(_from_row, connection.execute(query.order_by(_COLUMNS.seq)).all()))


def last(engine: Engine, test_id: str) -> InterimAnalysis | None:
    """The last one; None if there is none. Raises: as `add`."""
    with reading(engine) as connection:
        row = connection.execute(_select(test_id).order_by(_COLUMNS.seq.desc()).limit(1)).first()
    return None if row is None else _from_row(row)


def last_of(engine: Engine, test_ids: Sequence[str]) -> dict[str, InterimAnalysis]:
    """The last one of each test that has one, by the test's id. Raises: as `add`."""
    newest = select(func.max(_COLUMNS.seq)).where(_COLUMNS.test_id.in_(test_ids)).group_by(_COLUMNS.test_id)
    with reading(engine) as connection:
        numbers = list(connection.execute(newest).scalars())
        rows = connection.execute(select(ab_interim_analysis).where(_COLUMNS.seq.in_(numbers))).all()
    return {row.test_id: _from_row(row) for row in rows}


def _select(test_id: str) -> Select[Any]:
    return select(_COLUMNS.at_us, _COLUMNS.units, _COLUMNS.labels, _COLUMNS.figures).where(_COLUMNS.test_id == test_id)


def _from_row(row: Row[Any]) -> InterimAnalysis:
    return InterimAnalysis(row.at_us, row.units, row.labels, json.loads(row.figures))

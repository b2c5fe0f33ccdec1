"""The requests of a shadow test on which the versions disagree and whose outcome is not known yet."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, select

from sporeprint.storage.engine import reading
from sporeprint.storage.oltp.ab_tests import AbTest
from sporeprint.storage.oltp.tables import ab_unit, prediction


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A request of a shadow test that a label is wanted for.

    Attributes:
        number: to page by.
        prediction_id: to report the outcome of.
        unit_id: of the request.
        answer_a: 0 negative, 1 positive, 2 unknown.
        answer_b: the same of the other version.
        features: of the request; None where the prediction is no longer kept.
        created_us: time of the request, microseconds since 1970 UTC; None likewise.
    """

    number: int
    prediction_id: str
    unit_id: str
    answer_a: int
    answer_b: int
    features: Mapping[str, Any] | None
    created_us: int | None


def disagreements(engine: Engine, test: AbTest, *, limit: int = 100, before: int | None = None) -> tuple[Disagreement, ...]:
    """The disagreements that await a label, the latest first: what was just asked about can still be inspected.

    The order must not depend on the answers. Otherwise the labels would, and an error rate among them would say nothing.

    Args:
        engine: of the OLTP database.
        test: a shadow test.
        limit: at most so many.
        before: only those with a lower number.

    Raises:
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    conditions = [ab_unit.c.test_id == test.test_id, ab_unit.c.awaits_label == 1]
    if before is not None:
        conditions.append(ab_unit.c.prediction_seq < before)
    columns = (ab_unit.c[name] for name in ("prediction_seq", "prediction_id", "unit_id", "answer", "shadow_answer"))
    query = select(*columns, prediction.c.features, prediction.c.created_us)
    query = query.select_from(ab_unit.outerjoin(prediction, prediction.c.prediction_id == ab_unit.c.prediction_id))
    with reading(engine) as connection:
        rows = connection.execute(query.where(*conditions).order_by(ab_unit.c.prediction_seq.desc()).limit(limit)).all()
    return tuple(Disagreement(*row[:5], None if row[5] is None else json.loads(row[5]), row[6]) for row in rows)


def awaiting_label(engine: Engine, test_id: str) -> int:
    """How many disagreements await a label. Raises: as `disagreements`."""
    with reading(engine) as connection:
        query = select(func.count()).where(ab_unit.c.test_id == test_id, ab_unit.c.awaits_label == 1)
        return int(connection.execute(query).scalar() or 0)

"""Reads single answers from the OLTP database."""

import json
from collections.abc import Iterable

from sqlalchemy import Engine, select

from sporeprint.storage.engine import reading
from sporeprint.storage.oltp.tables import prediction
from sporeprint.storage.prediction_record import PLAIN, PredictionRecord

#: Ids in one question.
AT_ONCE = 1_000


def find(engine: Engine, prediction_id: str) -> PredictionRecord | None:
    """An answer that was shipped; None where there is none. The journals may hold it still.

    Raises:
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    columns = [prediction.c[name] for name in (*PLAIN, "unseen", "features", "shadow")]
    with reading(engine) as connection:
        row = connection.execute(select(*columns).where(prediction.c.prediction_id == prediction_id)).mappings().one_or_none()
    if row is None:
        return None
    return PredictionRecord(
        **{name: row[name] for name in PLAIN},
        unseen=tuple(json.loads(row["unseen"])),
        features=json.loads(row["features"]),
        shadow=None if row["shadow"] is None else json.loads(row["shadow"]),
    )


def there(engine: Engine, ids: Iterable[str]) -> set[str]:
    """Those of the ids that the database has.

    Raises:
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    ordered, present = sorted(ids), set[str]()
    with reading(engine) as connection:
        for begin in range(0, len(ordered), AT_ONCE):
            query = select(prediction.c.prediction_id).where(prediction.c.prediction_id.in_(ordered[begin : begin + AT_ONCE]))
            present.update(connection.execute(query).scalars())
    return present


def recent_latencies(engine: Engine, model: str, version: int, since_us: int, *, limit: int = 10_000) -> tuple[int, ...]:
    """Latencies of the latest answers of a version, ascending, microseconds.

    Args:
        engine: of the OLTP database.
        model: name of the model.
        version: N of v<N>.
        since_us: only answers given from then on, microseconds since 1970 UTC.
        limit: at most so many answers.

    Raises:
        StorageUnavailableError, StorageError: see `find`.
    """
    query = select(prediction.c.latency_us).where(
        prediction.c.model == model, prediction.c.version == version, prediction.c.created_us >= since_us, prediction.c.batch_id.is_(None)
    )
    with reading(engine) as connection:
        return tuple(sorted(connection.execute(query.order_by(prediction.c.created_us.desc()).limit(limit)).scalars()))

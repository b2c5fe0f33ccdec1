"""Batches in the OLTP database: one row for each artefact, which comes there by itself, and single answers of them."""

import hashlib
import json
import logging
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Self

import polars as pl
from sqlalchemy import Engine, delete, exc, insert, select

from sporeprint.errors import SporeprintError, StorageError
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp.batch_file import ROW_ID, BatchInfo, BatchStore, frames, input_columns, row_of
from sporeprint.storage.oltp.prunable_rows import WarehouseProgress, was_read
from sporeprint.storage.oltp.tables import batch, outcome
from sporeprint.storage.prediction_record import PredictionRecord

log = logging.getLogger(__name__)

#: How often to look for batches of processes that have ended, seconds; and the first pause after a failure.
LOOK_S, FIRST_PAUSE_S = 5.0, 0.1
#: How long to wait for the last look, seconds.
SILENT_S = 5.0


def register(engine: Engine, store: BatchStore) -> int:
    """Write the rows of batches that the database does not know of, and say how many were new.

    Raises:
        StorageUnavailableError: the database does not answer now; the same again is harmless.
        StorageError: it cannot.
    """
    new = 0
    for batch_id in store.pending():
        store.finish(batch_id)
        path = store.path(batch_id)
        try:
            about = BatchInfo.of(path)
            values = _values(about, store, _sha256(store, batch_id), path.stat().st_size)
        except FileNotFoundError:  # another process was faster, or it was pruned
            continue
        except StorageError:  # the others go on
            log.exception("batch %s cannot be registered", batch_id)
            continue
        new += _insert(engine, values)
        store.known(batch_id)
    return new


def _insert(engine: Engine, values: Mapping[str, Any]) -> int:
    with writing(engine) as connection:
        if connection.execute(select(batch.c.batch_id).where(batch.c.batch_id == values["batch_id"])).first():
            return 0
        try:
            with connection.begin_nested():
                connection.execute(insert(batch).values(**values))
        except exc.IntegrityError:  # another process, at the same moment
            return 0
    return 1


def _values(about: BatchInfo, store: BatchStore, sha256: str, size: int) -> dict[str, Any]:
    return {
        "batch_id": about.batch_id,
        "created_us": about.created_us,
        "model": about.model,
        "version": about.version,
        "rows": about.rows,
        "verdicts": json.dumps(dict(about.verdicts), sort_keys=True),
        "artefact": store.name(about.batch_id),
        "sha256": sha256,
        "bytes": size,
    }


def _sha256(store: BatchStore, batch_id: str) -> str:
    with store.path(batch_id).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find(store: BatchStore, prediction_id: str) -> PredictionRecord | None:
    """An answer of a batch; None where this is no id of one, or the row has no answer.

    Raises:
        StorageError: the artefact is damaged.
    """
    if (named := ROW_ID.fullmatch(prediction_id)) is None:
        return None
    try:
        path = store.path(named[1])
        about = BatchInfo.of(path)
        row = row_of(path, int(named[2]))
    except FileNotFoundError:
        return None
    if row is None or row["prediction"] is None:
        return None
    return PredictionRecord(
        prediction_id=prediction_id,
        created_us=about.created_us,
        model=about.model,
        version=about.version,
        prediction=row["prediction"],
        verdict=row["verdict"],
        features={name: _plain(row[held]) for name, held in input_columns(list(row), about).items()},
        latency_us=share(about),
        worker=about.worker,
        probability=row["probability"],
        novelty_p=row["novelty_p"],
        threshold=about.threshold,
        unseen=names(row["unseen"]),
        batch_id=about.batch_id,
    )


def _plain(value: Any) -> str | int | float | bool | None:
    """A value as JSON has it."""
    return value if isinstance(value, str | int | float | None) else str(value)


def there(store: BatchStore, ids: Iterable[str]) -> set[str]:
    """Those of the ids that are of an answer in a batch.

    Raises:
        StorageError: an artefact is damaged.
    """
    rows: dict[str, list[int]] = {}
    for named in filter(None, map(ROW_ID.fullmatch, ids)):
        rows.setdefault(named[1], []).append(int(named[2]))
    present: set[str] = set()
    for batch_id, numbers in rows.items():
        try:
            answered = pl.concat([part["prediction"].is_not_null() for part in frames(store.path(batch_id), ["prediction"])])
        except FileNotFoundError:
            continue
        present |= {f"{batch_id}:{row}" for row in numbers if row < len(answered) and answered[row]}
    return present


def share(about: BatchInfo) -> int:
    """What one answer of a batch took: its part of the whole, microseconds."""
    return max(1, about.latency_us // max(1, about.rows))


def names(text: str | None) -> tuple[str, ...]:
    """Names that are separated by commas."""
    return () if text is None else tuple(text.split(","))


def forget(
    engine: Engine, store: BatchStore, *, before_us: int, dry_run: bool = False, warehouse: WarehouseProgress | None = None
) -> tuple[int, int]:
    """Remove batches that were made before a time, with their artefacts and outcomes: how many, and how many rows they had.

    Raises:
        StorageUnavailableError: the database does not answer; what was removed until then is gone, the rest untouched.
        StorageError: it refuses.
    """
    query = select(batch.c.batch_id, batch.c.rows).where(batch.c.created_us < before_us)
    if warehouse is not None:  # what it has not read stays
        query = query.where(was_read(batch.c.seq, warehouse.batches))
    with reading(engine) as connection:
        old = connection.execute(query).all()
    if not dry_run:
        for batch_id, _ in old:
            # The row last: whoever is killed in between finds it again.
            store.path(batch_id).unlink(missing_ok=True)
            with writing(engine) as connection:
                # From ':' to what follows it: a range, which the index finds.
                within = outcome.c.prediction_id.between(f"{batch_id}:", f"{batch_id}:~")
                connection.execute(delete(outcome).where(within))
                connection.execute(delete(batch).where(batch.c.batch_id == batch_id))
    return len(old), sum(int(rows) for _, rows in old)


class Registrar:
    """Registers batches as they come, in a thread of its own; ever more slowly while the database is away."""

    def __init__(self, engine: Engine, store: BatchStore, max_pause_s: float) -> None:
        self._engine, self._store, self._max_pause_s = engine, store, max_pause_s
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)

    def start(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def wake(self) -> None:
        """There is a new one."""
        self._wake.set()

    def stop(self) -> None:
        """Look once more, and end. What then is left waits in its folder."""
        self._stop.set()
        self._wake.set()
        self._thread.join(SILENT_S)

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.is_set():
            self._wake.wait(LOOK_S)
            self._wake.clear()
            if self._stop.wait(pause):
                break
            pause = self._turn(pause)
            if pause:
                self._wake.set()
        self._turn(pause)

    def _turn(self, pause: float) -> float:
        try:
            register(self._engine, self._store)
        except (SporeprintError, OSError) as error:
            if not pause:
                log.warning("batches wait for the database: %s", error)
            return min(self._max_pause_s, 2 * pause or FIRST_PAUSE_S)
        return 0.0

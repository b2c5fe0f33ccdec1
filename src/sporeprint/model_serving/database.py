"""Keeps answers before they are given, finds them again, and takes what turned out to be true.

The journal of this process takes the answers; a thread ships them to the database. The database may be away: only outcomes, and answers
that were shipped, need it.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sqlalchemy import Engine

from sporeprint.errors import StorageError, StorageUnavailableError
from sporeprint.settings import JournalSettings, StorageSettings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.journal.file import find
from sporeprint.storage.journal.shipper import Shipper, ShipperStats
from sporeprint.storage.journal.writer import Journal, JournalStats
from sporeprint.storage.oltp import batch_index, migrate, outcomes, predictions
from sporeprint.storage.oltp.batch_file import BatchStore
from sporeprint.storage.oltp.batch_index import Registrar
from sporeprint.storage.oltp.outcomes import Outcome, OutcomeResult, OutcomeStatement
from sporeprint.storage.prediction_record import PredictionRecord

log = logging.getLogger(__name__)

#: Seconds to wait for the journal of a process of the same name that is ending.
WAIT_S = 10.0


class Database:
    """Journal, shipper and database of one process."""

    def __init__(
        self,
        engine: Engine,
        journal: Journal,
        shipper: Shipper,
        folder: Path,
        limits: JournalSettings,
        store: BatchStore,
        registrar: Registrar,
    ) -> None:
        self.engine, self.journal, self.shipper, self.folder, self.journal_limits = engine, journal, shipper, folder, limits
        self.store, self.registrar = store, registrar

    @classmethod
    def open(cls, settings: StorageSettings, root: Path, worker: str) -> Self:
        """Take the journal of a worker, and begin to ship.

        Args:
            settings: where journal and database are.
            root: the work directory.
            worker: name of this process, no other's.

        Raises:
            StorageError: if the database has other tables than this version works with, or the journal cannot be opened.
            ConfigError: if the database's address is none.
        """
        engine = connect(urls.oltp(settings, root))
        with contextlib.ExitStack() as stack:
            stack.callback(engine.dispose)
            try:
                migrate.prepare(engine)
            except StorageUnavailableError as error:  # answers are kept until it is back
                log.warning("%s", error)
            folder = root / settings.journal.folder
            journal = Journal.open(folder, worker, settings.journal, wait_s=WAIT_S)
            stack.pop_all()
        store = BatchStore(root, settings.batches.folder)
        store.sweep()
        registrar = Registrar(engine, store, settings.journal.max_pause_s).start()
        shipper = Shipper(engine, folder, settings.journal, own=journal).start()
        return cls(engine, journal, shipper, folder, settings.journal, store, registrar)

    def close(self) -> None:
        """Write and ship what waits, as far as the database takes it at once."""
        self.registrar.stop()
        self.shipper.stop()
        self.journal.close()
        self.engine.dispose()

    async def write(self, record: PredictionRecord) -> None:
        """Return when an answer is on the disk.

        Raises:
            JournalError: if it is not, or not for certain.
        """
        await self.journal.write(record)

    async def find(self, prediction_id: str) -> PredictionRecord | None:
        """An answer that was given, by whatever process; None where there is none.

        Raises:
            StorageUnavailableError: if no journal holds it and the database does not answer now.
            StorageError: if journals or database cannot be read.
        """
        return await asyncio.to_thread(self._find, prediction_id)

    def _find(self, prediction_id: str) -> PredictionRecord | None:
        if own := self.journal.get(prediction_id):
            return own
        # An answer leaves its journal only when the database has it.
        if data := find(self.folder, prediction_id):
            return PredictionRecord.from_bytes(data)
        if of_batch := batch_index.find(self.store, prediction_id):
            return of_batch
        return predictions.find(self.engine, prediction_id)

    async def latest_outcome(self, prediction_id: str) -> Outcome | None:
        """What is known to be true of a prediction. Raises: StorageError."""
        return await asyncio.to_thread(outcomes.latest, self.engine, prediction_id)

    async def record_outcome(
        self, prediction_id: str, code: str, *, source: str, observed_us: int | None, key: str | None
    ) -> OutcomeResult:
        """Write what turned out to be true. See `outcomes.record` for arguments and errors."""
        return await asyncio.to_thread(
            outcomes.record,
            self.engine,
            prediction_id,
            code,
            source=source,
            observed_us=observed_us,
            now_us=time.time_ns() // 1000,
            key=key,
        )

    def record_outcomes(self, said: Sequence[OutcomeStatement]) -> list[OutcomeResult | None]:
        """Write what turned out to be true of many predictions; None for what is not known to have been predicted.

        Raises:
            StorageUnavailableError: if the database does not answer now. Trying again is harmless.
            StorageError: if it cannot.
        """
        there = self._existing({each.prediction_id for each in said})
        done = iter(outcomes.record_all(self.engine, [each for each in said if each.prediction_id in there], now_us=time.time_ns() // 1000))
        return [next(done) if each.prediction_id in there else None for each in said]

    def _existing(self, ids: set[str]) -> set[str]:
        """Those of the ids that stand for an answer."""
        found = batch_index.there(self.store, ids)
        found |= predictions.there(self.engine, ids - found)
        return found | {each for each in ids - found if self._find(each)}

    def stats(self) -> tuple[JournalStats, ShipperStats]:
        """How much waits, and why."""
        return self.journal.stats(), self.shipper.stats()

    def unavailable_reason(self) -> str | None:
        """Why the database cannot be used now; None where it can."""
        try:
            migrate.check(self.engine)
        except (StorageError, StorageUnavailableError) as error:
            return type(error).__name__
        return None

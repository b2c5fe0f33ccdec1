"""Keeps predictions before they are given, finds them again, and takes their outcomes.

The journal of this process takes the predictions; a thread ships them to the database. The database may be away, refusing or silent: only
outcomes, and predictions that were shipped, need it, and they wait for it in threads of its own.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from sporeprint.common.timestamps import HOUR_US, now_us
from sporeprint.errors import StorageError, StorageUnavailableError
from sporeprint.settings import JournalSettings, StorageSettings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.executor import DatabaseExecutor, Patience, SilentDatabaseError, in_thread, within
from sporeprint.storage.idempotency import IdempotencyStore
from sporeprint.storage.journal.file import find
from sporeprint.storage.journal.salvage import damaged_journals, orphan_journals
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
#: Seconds after which the database counts as silent: for the driver, at the start, and for who asks how it is.
ANSWER_S, START_S, HEALTH_S = 12, 2.0, 2.0
#: The same for an SQLite file at the start: longer than another process may hold its lock.
FILE_S = 60.0


class DatabaseStart:
    """The first look at the database: begun, so that what else a start needs is done meanwhile."""

    def __init__(self, settings: StorageSettings, root: Path) -> None:
        self.engine = connect(urls.oltp(settings, root), answer_s=ANSWER_S)
        self._begun = time.monotonic()
        self._prepared = in_thread(functools.partial(migrate.prepare, self.engine))

    def finish(self) -> None:
        """Wait until its tables were made and looked at: of a server for what is left of `START_S`; a file on this machine is never silent.

        Raises:
            StorageError: if it has other tables than this version works with.
            StorageUnavailableError: if it does not answer.
        """
        is_file = self.engine.url.get_backend_name() == urls.SQLITE
        within(FILE_S if is_file else START_S, self._prepared, since=self._begun)


class Database:
    """Journal, shipper and database of one process."""

    def __init__(
        self,
        executor: DatabaseExecutor,
        journal: Journal,
        shipper: Shipper,
        folder: Path,
        limits: JournalSettings,
        store: BatchStore,
        registrar: Registrar,
        idempotency: IdempotencyStore,
    ) -> None:
        self.executor, self.engine = executor, executor.engine
        self.journal, self.shipper, self.folder, self.journal_limits = journal, shipper, folder, limits
        self.store, self.registrar, self.idempotency = store, registrar, idempotency

    @classmethod
    def open(cls, settings: StorageSettings, root: Path, worker: str, start: "DatabaseStart | None" = None) -> Self:
        """Take the journal of a worker, and begin to ship.

        Args:
            settings: where journal and database are.
            root: the work directory.
            worker: name of this process, no other's.
            start: of the database, where it was begun earlier.

        Raises:
            StorageError: if the database has other tables than this version works with, or the journal cannot be opened.
            ConfigError: if the database's address is none.
        """
        start = start or DatabaseStart(settings, root)
        engine = start.engine
        with contextlib.ExitStack() as stack:
            stack.callback(engine.dispose)
            executor = DatabaseExecutor(engine)
            stack.callback(executor.close)
            try:
                start.finish()
            except SilentDatabaseError as error:  # predictions are kept until it is back
                executor.trip(error)
            except StorageUnavailableError as error:
                log.warning("%s", error)
            keys = IdempotencyStore.open(root / settings.idempotency.path, settings.idempotency.keep_hours * HOUR_US)
            stack.callback(keys.close)
            folder = root / settings.journal.folder
            journal = Journal.open(folder, worker, settings.journal, wait_s=WAIT_S)
            stack.pop_all()
        store = BatchStore(root, settings.batches.folder)
        store.sweep()
        registrar = Registrar(engine, store, settings.journal.max_pause_s).start()
        shipper = Shipper(engine, folder, settings.journal, own=journal).start()
        return cls(executor, journal, shipper, folder, settings.journal, store, registrar, keys)

    def close(self) -> None:
        """Write and ship what waits, as far as the database takes it at once."""
        self.executor.close()
        self.registrar.stop()
        self.shipper.stop()
        self.journal.close()
        self.idempotency.close()
        self.engine.dispose()

    async def write(self, record: PredictionRecord) -> None:
        """Return when an answer is on the disk.

        Raises:
            JournalError: if it is not, or not for certain.
        """
        await self.journal.write(record)

    async def find(self, prediction_id: str) -> PredictionRecord | None:
        """A prediction that was given, by whatever process; None where there is none.

        Raises:
            StorageUnavailableError: if no journal holds it and the database does not answer now.
            StorageError: if journals or database cannot be read.
        """
        # It leaves its journal only when the database has it.
        local = await asyncio.to_thread(self._find_here, prediction_id)
        return local or await self.executor.run(predictions.find, self.engine, prediction_id)

    def _find_here(self, prediction_id: str) -> PredictionRecord | None:
        if own := self.journal.get(prediction_id):
            return own
        if data := find(self.folder, prediction_id):
            return PredictionRecord.from_bytes(data)
        return batch_index.find(self.store, prediction_id)

    async def outcome_revisions(self, prediction_id: str) -> tuple[Outcome, ...]:
        """The ground truth of a prediction, as far as it is known: every revision, the first one first. Raises: StorageError."""
        return await self.executor.run(outcomes.revisions, self.engine, prediction_id)

    async def record_outcome(
        self, prediction_id: str, code: str, *, source: str, observed_us: int | None, key: str | None
    ) -> OutcomeResult:
        """Write an outcome. See `outcomes.record` for arguments and errors."""
        return await self.executor.run(
            outcomes.record, self.engine, prediction_id, code, source=source, observed_us=observed_us, now_us=now_us(), key=key
        )

    def record_outcomes(self, statements: Sequence[OutcomeStatement]) -> list[OutcomeResult | None]:
        """Write the outcomes of many predictions; None for what is not known to have been predicted.

        Raises:
            StorageUnavailableError: if the database does not answer now. Trying again is harmless.
            StorageError: if it cannot.
        """
        results: list[OutcomeResult | None] = []
        for begin in range(0, len(statements), outcomes.AT_ONCE):
            part = statements[begin : begin + outcomes.AT_ONCE]
            with Patience():
                known = self._known({statement.prediction_id for statement in part})
                recorded = [statement for statement in part if statement.prediction_id in known]
                done = iter(self.executor.call(outcomes.record_all, self.engine, recorded, now_us=now_us()))
            results += [next(done) if statement.prediction_id in known else None for statement in part]
        return results

    def _known(self, ids: set[str]) -> set[str]:
        """Those of the ids that stand for a prediction."""
        known = batch_index.there(self.store, ids)
        known |= self.executor.call(predictions.there, self.engine, ids - known)
        known |= {each for each in ids - known if self._find_here(each)}
        # One that was shipped between the two is in neither.
        left = ids - known
        return known | self.executor.call(predictions.there, self.engine, left) if left else known

    def stats(self) -> tuple[JournalStats, ShipperStats]:
        """How much waits, and why."""
        return self.journal.stats(), self.shipper.stats()

    async def unavailable_reason(self) -> str | None:
        """Why the database cannot be used now; None where it can."""
        try:
            await self.executor.run_within(HEALTH_S, functools.partial(migrate.check, self.engine))
        except (StorageError, StorageUnavailableError) as error:
            return type(error).__name__
        return None

    async def orphans(self) -> dict[str, int | None]:
        """Journals of ended workers that hold records, and how many. See `orphan_journals`."""
        return await asyncio.to_thread(orphan_journals, self.folder)

    def damaged(self) -> tuple[str, ...]:
        """Damaged journals that were kept."""
        return damaged_journals(self.folder)

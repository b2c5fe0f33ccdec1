"""What every endpoint has to do with: the model, the database, the counters and the limits of one process."""

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import weakref
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter_ns, time

from threadpoolctl import threadpool_limits

from sporeprint.common.workdir import Workdir
from sporeprint.model_serving.database import Database, DatabaseStart
from sporeprint.model_serving.http.access_log import STDERR, AccessLog, request_ids_in_log
from sporeprint.model_serving.http.authentication import Authenticator, bootstrap_key
from sporeprint.model_serving.http.background_task import background_task
from sporeprint.model_serving.http.deadlines import Deadlines
from sporeprint.model_serving.http.request_context import RequestContext
from sporeprint.model_serving.http.requests import Pace
from sporeprint.model_serving.model_loader import ModelLoader
from sporeprint.model_serving.runtime.ab_evaluation import BackgroundEvaluation
from sporeprint.model_serving.runtime.ab_planning import Planner
from sporeprint.model_serving.runtime.ab_routing import Routes
from sporeprint.model_serving.runtime.dynamic_batching import DynamicBatcher
from sporeprint.model_serving.runtime.metrics import Metrics
from sporeprint.model_serving.runtime.metrics_export import exporting
from sporeprint.model_serving.runtime.promotion_process import promote_in_a_process
from sporeprint.model_serving.runtime.recent_answers import RecentAnswers
from sporeprint.model_serving.runtime.upload_process import DecodeLimits, UploadDecoder
from sporeprint.pipelines.ab_test_lifecycle import ExperimentService
from sporeprint.registry.version_summary import VersionSummaries
from sporeprint.settings import ServingSettings, Settings

log = logging.getLogger(__name__)

#: Seconds between two looks at what the other workers are to know.
REFRESH_S = 1.0
#: Of so many looks, one counts the answers of the hour.
RECENT_EVERY = 60


@dataclass
class Service:
    """The state of one process.

    Attributes:
        settings: all of them.
        root: the work directory.
        worker: name of the process.
        access: who may call.
        loader: of the model.
        database: of the answers.
        metrics: of everything.
        tests: which version answers in an A/B test.
        experiments: for what is done to A/B tests.
        access_log: of the requests; None: none is wanted.
        in_flight: requests that are worked on.
        batches: batches among them that are received or scored.
        outcome_uploads: uploads of outcomes that are received or recorded.
        keys: idempotent requests that are worked on, by the id of their answer.
        recent: answers by hour.
        deadlines: of the requests that are worked on.
    """

    settings: Settings
    root: Path
    worker: str
    access: Authenticator
    loader: ModelLoader
    database: Database
    metrics: Metrics
    tests: Routes
    experiments: ExperimentService
    access_log: AccessLog | None = None
    in_flight: int = 0
    batches: int = 0
    outcome_uploads: int = 0
    keys: weakref.WeakValueDictionary[str, asyncio.Lock] = field(default_factory=weakref.WeakValueDictionary)
    recent: RecentAnswers = field(default_factory=RecentAnswers)
    deadlines: Deadlines = field(default_factory=Deadlines)

    @functools.cached_property
    def summaries(self) -> VersionSummaries:
        """What is known of every registered version."""
        return VersionSummaries(self.loader.registry)

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls,
        settings: Settings,
        root: Path,
        model: str,
        worker: str,
        *,
        exposed: bool = False,
        paths: Mapping[str, str] | None = None,
        counts: Path | None = None,
    ) -> AsyncIterator["Service"]:
        """A service as long as the context lasts; what was answered in it is on the disk afterwards.

        Args:
            settings: all of them.
            root: the work directory.
            model: what serves.
            worker: name of the process.
            exposed: whether other machines can reach it.
            paths: endpoint -> its address, as the access log names it.
            counts: folder of the numbers of all workers; None: this one is alone.

        Raises:
            ConfigError: if the first key of a container is none.
            RegistryError: if there is no such model, or it is damaged.
            StorageError: if database or journal cannot be used.
        """
        bootstrap, limits = bootstrap_key(os.environ), settings.serving
        start = DatabaseStart(settings.storage, root)  # a database that is silent is waited for while the model is loaded
        try:
            loader = ModelLoader(Workdir(root).registry, model)
        except BaseException:
            start.engine.dispose()
            raise
        database = Database.open(settings.storage, root, worker, start)
        try:
            metrics = Metrics(counts, Workdir(root).monitoring / "latest.json")
            access = Authenticator(
                *(database.engine, root),
                run=database.executor.run,
                exposed=exposed,
                rate=limits.rate_limit_per_s,
                burst=limits.rate_burst,
                bootstrap=bootstrap,
            )
            tests = Routes(database.engine, loader, worker, run=database.executor.run)
            experiments = ExperimentService(settings, root, database.engine, functools.partial(promote_in_a_process, settings, root))
            in_background = functools.partial(database.executor.run_within, None)
            evaluating = BackgroundEvaluation(experiments, worker, lambda: tests.any, run=in_background)
            access_log = _access_log(limits, root, worker, paths or {})
            with (
                contextlib.closing(metrics),
                exporting(metrics.own_numbers, worker),
                access_log.writing() if access_log else contextlib.nullcontext(),
                request_ids_in_log(),
                # Of a few rows, further threads of BLAS would only wait for each other, at full speed.
                threadpool_limits(1, "blas"),
            ):
                async with loader.watching(), access.watching(), tests.watching(), evaluating.running():
                    service = cls(settings, root, worker, access, loader, database, metrics, tests, experiments, access_log)
                    async with service._watching():
                        yield service
                    service.decoder.close()
        finally:
            await asyncio.to_thread(database.close)

    def finished(self, exchange: RequestContext) -> None:
        """Count a request that has ended, and write it down."""
        self.metrics.observe_request(exchange.endpoint, exchange.status, perf_counter_ns() - exchange.begin)
        if self.access_log is not None:
            self.access_log.add(exchange)

    def look(self) -> None:
        """Write down for the other workers how this one is."""
        dropped = 0 if self.access_log is None else self.access_log.dropped
        self.metrics.update_gauges(self.loader, self.database, in_flight=self.in_flight, dropped=dropped)

    @contextlib.asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        async with background_task(self._watch(), "metrics"):
            yield

    async def _watch(self) -> None:
        for number in itertools.count():
            try:
                self.look()
                if number % RECENT_EVERY == 0:
                    self.recent.add(time(), self.metrics.answers())
            except Exception:  # whatever it was: the numbers would never be new again
                log.exception("how this worker is could not be written down")
            await asyncio.sleep(REFRESH_S)

    @property
    def limits(self) -> ServingSettings:
        """What is taken at a time."""
        return self.settings.serving

    @cached_property
    def batcher(self) -> DynamicBatcher:
        """The dynamic batches."""
        return DynamicBatcher(self.database.journal, self.worker)

    @cached_property
    def decoder(self) -> UploadDecoder:
        """Decodes uploaded files, in processes of its own."""
        limits = self.limits
        return UploadDecoder(
            DecodeLimits(
                memory_bytes=limits.upload_memory_mb << 20,
                decoded_bytes=limits.max_decoded_mb << 20,
                rows=limits.max_upload_rows,
                columns=limits.max_upload_columns,
                seconds=limits.batch_deadline_s,
            )
        )

    @cached_property
    def planner(self) -> Planner:
        """Plans of A/B tests."""
        return Planner()

    @property
    def pace(self) -> Pace:
        """How slowly the body of an upload may arrive."""
        return Pace(self.limits.receive_s, self.limits.min_receive_kb_s * 1024)

    @cached_property
    def recording(self) -> asyncio.Semaphore:
        """Room for the uploads of outcomes that are read at a time."""
        return asyncio.Semaphore(self.limits.max_batches)

    @cached_property
    def scoring(self) -> asyncio.Semaphore:
        """Room for the batches that are scored at a time."""
        return asyncio.Semaphore(self.limits.max_batches)

    def lock(self, prediction_id: str) -> asyncio.Lock:
        """One lock for all requests at work with the same id."""
        return self.keys.setdefault(prediction_id, asyncio.Lock())


def _access_log(limits: ServingSettings, root: Path, worker: str, paths: Mapping[str, str]) -> AccessLog | None:
    if limits.access_log == "none":
        return None
    path = None if limits.access_log_path == STDERR else Workdir(root).at(limits.access_log_path)
    return AccessLog(path, worker, paths, max_bytes=limits.access_log_mb << 20)

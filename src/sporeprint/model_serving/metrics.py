"""What Prometheus reads: requests, times by stage, verdicts, values never seen, and how much waits to be shipped."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from time import time

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sporeprint.answer import Answer
from sporeprint.model_serving.database import Database
from sporeprint.model_serving.model_loader import Loader
from sporeprint.model_serving.served import Served

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STAGES = ("parse", "encode", "score", "guard", "log")
#: Seconds. Most stages take microseconds; what waits for a disk, milliseconds.
BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0)
BUCKETS_NS = tuple(round(bound * 1e9) for bound in BUCKETS)


class Stages(Collector):
    """How often a stage took how long. Only one thread counts, so that nobody has to wait for a lock."""

    def __init__(self) -> None:
        self._counts = [[0] * (len(BUCKETS) + 1) for _ in STAGES]
        self._sums = [0] * len(STAGES)

    def observe(self, nanoseconds: Sequence[int]) -> None:
        """Count one answer's stages, in their order."""
        for number, each in enumerate(nanoseconds):
            self._counts[number][bisect_left(BUCKETS_NS, each)] += 1
            self._sums[number] += each

    def describe(self) -> list[Metric]:
        """The name alone."""
        return [self._family()]

    def collect(self) -> Iterator[Metric]:
        """The values."""
        found = self._family()
        for stage, counts, total in zip(STAGES, self._counts, self._sums, strict=True):
            bounds = (*(str(bound) for bound in BUCKETS), "+Inf")
            found.add_metric([stage], list(zip(bounds, accumulate(counts), strict=True)), total / 1e9)
        yield found

    @staticmethod
    def _family() -> HistogramMetricFamily:
        return HistogramMetricFamily("sporeprint_stage_seconds", "Time of one answer's stages", labels=["stage"])


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["model", "version", "verdict"]
        self._verdicts = Counter("sporeprint_answers", "Answers given", labels, registry=self.registry)
        self._unseen = Counter("sporeprint_unseen_values", "Values never seen in training", ["feature"], registry=self.registry)
        self._requests = Counter("sporeprint_requests", "Requests", ["endpoint", "status"], registry=self.registry)
        self._stages = Stages()
        self.registry.register(self._stages)
        # Children are looked up once: the look-up costs more than the counting.
        self._of_verdict: dict[tuple[str, int, str], Counter] = {}
        self._of_request: dict[tuple[str, int], Counter] = {}

    def answered(self, served: Served, answer: Answer, nanoseconds: tuple[int, ...]) -> None:
        """Count one answer.

        Args:
            served: who gave it.
            answer: what was said.
            nanoseconds: of each stage, as in `STAGES`.
        """
        self.said(served, answer.verdict, answer.unseen)
        self._stages.observe(nanoseconds)

    def said(self, served: Served, verdict: str, unseen: tuple[str, ...]) -> None:
        """Count a verdict and the values that were new to it."""
        key = (served.ref.name, served.ref.version, verdict)
        counter = self._of_verdict.get(key)
        if counter is None:
            counter = self._of_verdict[key] = self._verdicts.labels(key[0], str(key[1]), verdict)
        counter.inc()
        for name in unseen:
            self._unseen.labels(name).inc()

    def said_many(self, model: str, version: int, verdicts: Mapping[str, int], unseen: Mapping[str, int]) -> None:
        """Count the verdicts of a batch, and the values that were new to it."""
        for verdict, rows in verdicts.items():
            self._verdicts.labels(model, str(version), verdict).inc(rows)
        for name, rows in unseen.items():
            self._unseen.labels(name).inc(rows)

    def requested(self, endpoint: str, status: int) -> None:
        """Count a request."""
        counter = self._of_request.get((endpoint, status))
        if counter is None:
            counter = self._of_request[endpoint, status] = self._requests.labels(endpoint, str(status))
        counter.inc()

    def watch(self, loader: Loader, database: Database) -> None:
        """Show the state of these too."""
        self.registry.register(_State(loader, database))

    def to_bytes(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)


class _State(Collector):
    """What is looked at when it is asked for."""

    def __init__(self, loader: Loader, database: Database) -> None:
        self._loader, self._database = loader, database

    def describe(self) -> list[Metric]:
        """Nothing: so that registering asks for no values yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The values."""
        journal, shipper = self._database.stats()
        for name, says, value in (
            ("journal_depth", "Answers that the database does not have yet", journal.depth),
            ("journal_bytes", "Size of the journal in use", journal.bytes),
            ("journal_age_seconds", "Age of the oldest answer that the database does not have", journal.age_s),
            ("journal_waiting", "Answers that are not on the disk yet", journal.waiting),
            ("journal_refused", "Answers that the database does not take", journal.refused),
            ("journal_failures", "Writes to the journal that failed", journal.failures),
            ("shipper_shipped", "Answers that the database has said it has", shipper.shipped),
            ("shipper_failures", "Shipments that failed and are tried again", shipper.failures),
            ("model_swaps", "Times that another version began to serve", self._loader.swaps),
            ("model_fault", "1 while another version should serve and cannot", int(self._loader.fault is not None)),
        ):
            yield GaugeMetricFamily(f"sporeprint_{name}", says, value=value)
        ref = self._loader.current.ref
        served = GaugeMetricFamily("sporeprint_model_info", "The version that serves", labels=["model", "version"])
        served.add_metric([ref.name, str(ref.version)], 1, timestamp=None)
        yield served
        if (fault := self._loader.fault) is not None:
            yield GaugeMetricFamily("sporeprint_model_fault_seconds", "How long it could not", value=time() - fault.since)

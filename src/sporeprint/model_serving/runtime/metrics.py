"""What Prometheus reads: requests, times, verdicts, values never seen, how much waits. Whichever worker is asked, it is of all of them."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from pathlib import Path
from time import time
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sporeprint.inference.prediction import Prediction
from sporeprint.model_serving.database import Database
from sporeprint.model_serving.model_loader import ModelLoader
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.model_serving.runtime.monitoring_gauges import AB_TESTS, ab_gauges, gauges
from sporeprint.model_serving.runtime.shared_counters import CounterSnapshot, Series, SharedCounters, read_all

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STAGES = ("parse", "encode", "score", "guard", "log")
#: Seconds. Most stages take microseconds; what waits for a disk, milliseconds; a batch, seconds.
BUCKETS = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0, 30.0)
BUCKETS_NS = tuple(round(bound * 1e9) for bound in BUCKETS)
#: Numbers of a histogram: one for each bucket, one for what is above, and the sum in nanoseconds.
SUM = len(BUCKETS) + 1
WIDTH = SUM + 1


class MetricKind(Enum):
    """What a metric is, and so what becomes of the workers' numbers: those of counters and histograms include the ones that are gone."""

    COUNTER = "added up"
    HISTOGRAM = "added up, in seconds"
    LIVE_SUM = "added up over the workers that live"
    LIVE_MAX = "the largest of the workers that live"


@dataclass(frozen=True)
class MetricDefinition:
    """One metric.

    Attributes:
        kind: what it is.
        help: in words.
        labels: names of its labels.
        unit: what a number in a file stands for; whole numbers are kept.
    """

    kind: MetricKind
    help: str
    labels: tuple[str, ...] = ()
    unit: float = 1.0


#: Kinds of cells without a value.
NOT_OBSERVED, EMPTY = "not_observed", "empty"
#: Sets of fields of requests whose counts are remembered.
MOST_ABSENT = 1_024
MILLISECONDS = 1e-3
FAMILIES: Mapping[str, MetricDefinition] = {
    "answers": MetricDefinition(MetricKind.COUNTER, "Answers given", ("model", "version", "verdict")),
    "ab_predictions": MetricDefinition(MetricKind.COUNTER, "Predictions given in A/B tests", ("test", "arm")),
    "unseen_values": MetricDefinition(MetricKind.COUNTER, "Values never seen in training", ("feature",)),
    "cells_without_value": MetricDefinition(
        MetricKind.COUNTER, "Answers without a value of the feature: it was not observed, or recorded as empty", ("feature", "kind")
    ),
    "requests": MetricDefinition(MetricKind.COUNTER, "Requests", ("endpoint", "status")),
    "rate_limited": MetricDefinition(MetricKind.COUNTER, "Requests turned away because their key had made too many"),
    "request_seconds": MetricDefinition(MetricKind.HISTOGRAM, "Time of a whole request, its sending included", ("endpoint",)),
    "stage_seconds": MetricDefinition(MetricKind.HISTOGRAM, "Time of one answer's stages", ("stage",)),
    "shipper_shipped": MetricDefinition(MetricKind.COUNTER, "Answers that the database has said it has"),
    "shipper_failures": MetricDefinition(MetricKind.COUNTER, "Shipments that failed and are tried again"),
    "journal_refused": MetricDefinition(MetricKind.COUNTER, "Answers that the database does not take"),
    "journal_failures": MetricDefinition(MetricKind.COUNTER, "Writes to the journal that failed"),
    "model_swaps": MetricDefinition(MetricKind.COUNTER, "Times that another version began to serve in a worker"),
    "access_log_dropped": MetricDefinition(MetricKind.COUNTER, "Requests that the access log does not have"),
    "workers": MetricDefinition(MetricKind.LIVE_SUM, "Processes that answer"),
    "in_flight": MetricDefinition(MetricKind.LIVE_SUM, "Requests that are worked on"),
    "journal_depth": MetricDefinition(MetricKind.LIVE_SUM, "Answers that the database does not have yet"),
    "journal_bytes": MetricDefinition(MetricKind.LIVE_SUM, "Size of the journals in use"),
    "journal_waiting": MetricDefinition(MetricKind.LIVE_SUM, "Answers that are not on the disk yet"),
    "journal_age_seconds": MetricDefinition(
        MetricKind.LIVE_MAX, "Age of the oldest answer that the database does not have", unit=MILLISECONDS
    ),
    "model_fault": MetricDefinition(MetricKind.LIVE_MAX, "1 while another version should serve and cannot"),
    "model_fault_seconds": MetricDefinition(MetricKind.LIVE_MAX, "How long it could not", unit=MILLISECONDS),
    "model_info": MetricDefinition(MetricKind.LIVE_SUM, "Workers in which the version serves", ("model", "version")),
}
GAUGES = frozenset(name for name, family in FAMILIES.items() if family.kind in (MetricKind.LIVE_SUM, MetricKind.LIVE_MAX))


class Metrics:
    """The counters of one process, and all that is known of the others. Only the thread of the event loop counts."""

    def __init__(self, folder: Path | None = None, monitored: Path | None = None) -> None:
        """Begin to count.

        Args:
            folder: of the server's numbers; None: nobody else is asked.
            monitored: file of the monitor's last evaluation; None: it is not looked at.
        """
        self._folder, self._monitored = folder, monitored
        self._counts = SharedCounters.private() if folder is None else SharedCounters.shared(folder)
        self._values = self._counts.values
        self._forget()
        self._stages = tuple(self._place("stage_seconds", (stage,), WIDTH) for stage in STAGES)
        self._limited = self._place("rate_limited")
        self._set("workers", 1)
        # Places are looked up once: the look-up costs more than the counting.
        self._of_verdict: dict[tuple[str, int, str], int] = {}
        self._of_request: dict[tuple[str, int], tuple[int, int]] = {}
        self._of_cell: dict[tuple[str, str], int] = {}
        self._of_absent: dict[tuple[str, ...], tuple[int, ...]] = {}
        self._seen: dict[str, int] = {}
        self._serving: tuple[str, str] | None = None

    def close(self) -> None:
        """Count no more."""
        self._forget()
        self._counts.close()

    def _forget(self) -> None:
        """Nothing is known of how the process is to which the file belonged."""
        for name, labels in self._counts.series():
            if name in GAUGES:
                self._set(name, 0, labels)

    # --- counting

    def observe_prediction(self, served: LoadedModel, answer: Prediction, row: Mapping[str, Any], nanoseconds: Sequence[int]) -> None:
        """Count one answer.

        Args:
            served: who gave it.
            answer: what was said.
            row: of what.
            nanoseconds: of each stage, as in `STAGES`.
        """
        self.count_prediction(served, answer, row)
        values = self._values
        for place, each in zip(self._stages, nanoseconds, strict=True):  # as `_observe`, five times an answer
            values[place + bisect_left(BUCKETS_NS, each)] += 1
            values[place + SUM] += each

    def count_prediction(self, served: LoadedModel, answer: Prediction, row: Mapping[str, Any]) -> None:
        """Count a verdict, the values that were new to it, and the cells without a value."""
        verdict = answer.verdict
        key = (served.ref.name, served.ref.version, verdict)
        place = self._of_verdict.get(key)
        if place is None:
            place = self._of_verdict[key] = self._place("answers", (key[0], str(key[1]), verdict))
        self._values[place] += 1
        for name in answer.unseen:
            self._values[self._place("unseen_values", (name,))] += 1
        for at in self._places_not_observed(served, row):
            self._values[at] += 1
        if None in row.values():
            for name, value in row.items():
                if value is None:
                    self._values[self._place_of_cell(EMPTY, name)] += 1

    def _places_not_observed(self, served: LoadedModel, row: Mapping[str, Any]) -> tuple[int, ...]:
        """The counts of the columns that a row does not have: most rows lack the same ones as one before."""
        columns = served.bundle.schema.columns
        if len(row) == len(columns):
            return ()
        key = (served.preprocessing_key, *row)
        if (places := self._of_absent.get(key)) is None:
            if len(self._of_absent) >= MOST_ABSENT:
                self._of_absent.clear()
            places = self._of_absent[key] = tuple(self._place_of_cell(NOT_OBSERVED, name) for name in columns if name not in row)
        return places

    def _place_of_cell(self, kind: str, column: str) -> int:
        place = self._of_cell.get((kind, column))
        if place is None:
            place = self._of_cell[kind, column] = self._place("cells_without_value", (column, kind))
        return place

    def count_arm(self, test_id: str | None, arm: str | None) -> None:
        """Count a prediction in its arm of an A/B test; none where it takes part in none."""
        if test_id is not None and arm is not None:
            self._values[self._place("ab_predictions", (test_id, arm))] += 1

    def count_batch(
        self, model: str, version: int, verdicts: Mapping[str, int], unseen: Mapping[str, int], cells: Mapping[tuple[str, str], int]
    ) -> None:
        """Count the verdicts of a batch, the values that were new to it, and the cells without a value, by kind and column."""
        for verdict, rows in verdicts.items():
            self._values[self._place("answers", (model, str(version), verdict))] += rows
        for name, rows in unseen.items():
            self._values[self._place("unseen_values", (name,))] += rows
        for (kind, name), rows in cells.items():
            self._values[self._place_of_cell(kind, name)] += rows

    def observe_request(self, endpoint: str, status: int, nanoseconds: int) -> None:
        """Count a request."""
        places = self._of_request.get((endpoint, status))
        if places is None:
            number, time_ = self._place("requests", (endpoint, str(status))), self._place("request_seconds", (endpoint,), WIDTH)
            places = self._of_request[endpoint, status] = number, time_
        self._values[places[0]] += 1
        self._observe(places[1], nanoseconds)
        if status == 429:
            self._values[self._limited] += 1

    def _observe(self, place: int, nanoseconds: int) -> None:
        self._values[place + bisect_left(BUCKETS_NS, nanoseconds)] += 1
        self._values[place + SUM] += nanoseconds

    # --- what is looked at from time to time

    def update_gauges(self, loader: ModelLoader, database: Database, *, in_flight: int, dropped: int) -> None:
        """Write down how everything is now.

        Args:
            loader: of the model.
            database: of the answers.
            in_flight: requests that are worked on.
            dropped: requests that the access log does not have.
        """
        journal, shipper = database.stats()
        failure = loader.failure
        for name, value in (
            ("in_flight", in_flight),
            ("journal_depth", journal.depth),
            ("journal_bytes", journal.bytes),
            ("journal_waiting", journal.waiting),
            ("journal_age_seconds", round(journal.age_s * 1e3)),
            ("model_fault", int(failure is not None)),
            ("model_fault_seconds", 0 if failure is None else round((time() - failure.since) * 1e3)),
        ):
            self._set(name, value)
        for name, value in (
            ("shipper_shipped", shipper.shipped),
            ("shipper_failures", shipper.failures),
            ("journal_refused", journal.refused),
            ("journal_failures", journal.failures),
            ("model_swaps", loader.swaps),
            ("access_log_dropped", dropped),
        ):
            # What this process adds to what was counted before it.
            self._values[self._place(name)] += max(0, value - self._seen.get(name, 0))
            self._seen[name] = max(value, self._seen.get(name, 0))
        serving = loader.current.ref.name, str(loader.current.ref.version)
        if serving != self._serving:
            if self._serving is not None:
                self._set("model_info", 0, self._serving)
            self._serving = serving
            self._set("model_info", 1, serving)

    def _set(self, name: str, value: int, labels: tuple[str, ...] = ()) -> None:
        self._values[self._place(name, labels)] = max(0, value)

    def _place(self, name: str, labels: tuple[str, ...] = (), width: int = 1) -> int:
        return self._counts.slot(name, labels, width)

    # --- showing

    def own_numbers(self) -> Mapping[Series, tuple[int, ...]]:
        """The numbers of this process alone."""
        return self._counts.read().numbers

    def to_bytes(self) -> bytes:
        """The numbers of all workers, as Prometheus reads them."""
        return generate_latest(_SharedCollector(self._all_numbers(), self._monitored))  # all it asks for is collect()

    def answers(self) -> dict[str, int]:
        """Verdict -> answers of all workers since the server began."""
        counts: dict[str, int] = {}
        for (name, labels), numbers in self._all_numbers().items():
            if name == "answers":
                counts[labels[-1]] = counts.get(labels[-1], 0) + numbers[0]
        return counts

    def _all_numbers(self) -> dict[Series, tuple[int, ...]]:
        return aggregate([self._counts.read()] if self._folder is None else read_all(self._folder, self._counts))


def aggregate(every: Iterable[CounterSnapshot]) -> dict[Series, tuple[int, ...]]:
    """The numbers of a server from those of its processes."""
    sums: dict[Series, tuple[int, ...]] = {}
    for counted in every:
        for series, numbers in counted.numbers.items():
            family = FAMILIES.get(series[0])
            if family is None or (series[0] in GAUGES and not counted.alive):
                continue
            before = sums.get(series, (0,) * len(numbers))
            if family.kind is MetricKind.LIVE_MAX:
                sums[series] = tuple(map(max, before, numbers))
            else:
                sums[series] = tuple(a + b for a, b in zip(before, numbers, strict=True))
    return sums


class _SharedCollector(Collector):
    def __init__(self, numbers: Mapping[Series, tuple[int, ...]], monitored: Path | None) -> None:
        self._numbers, self._monitored = numbers, monitored

    def collect(self) -> Iterator[Metric]:
        """The metrics in their order, and of each its series."""
        of: dict[str, list[tuple[tuple[str, ...], tuple[int, ...]]]] = {name: [] for name in FAMILIES}
        for (name, labels), numbers in sorted(self._numbers.items()):
            of[name].append((labels, numbers))
        for name, family in FAMILIES.items():
            yield _metric(name, family, of[name])
        if self._monitored is not None:
            yield from gauges(self._monitored)
            yield from ab_gauges(self._monitored.with_name(AB_TESTS))


def _metric(name: str, family: MetricDefinition, series: Iterable[tuple[tuple[str, ...], tuple[int, ...]]]) -> Metric:
    full = f"sporeprint_{name}"
    match family.kind:
        case MetricKind.HISTOGRAM:
            histogram = HistogramMetricFamily(full, family.help, labels=family.labels)
            bounds = (*(str(bound) for bound in BUCKETS), "+Inf")
            for labels, numbers in series:
                histogram.add_metric(labels, list(zip(bounds, accumulate(numbers[:SUM]), strict=True)), numbers[SUM] / 1e9)
            return histogram
        case MetricKind.COUNTER:
            counter = CounterMetricFamily(full, family.help, labels=family.labels)
            for labels, (number,) in series:
                counter.add_metric(labels, number)
            return counter
        case _:
            gauge = GaugeMetricFamily(full, family.help, labels=family.labels)
            for labels, (number,) in series:
                if number or not family.labels:
                    gauge.add_metric(labels, number * family.unit)
            return gauge

"""Pushes what /metrics shows to OpenTelemetry, where its environment variables ask for it. Requests cost no more by it."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from time import time_ns
from typing import Any

from sporeprint.common.telemetry import NAME, exporter_of, resource
from sporeprint.errors import ConfigError
from sporeprint.model_serving.runtime.metrics import BUCKETS, FAMILIES, SUM, MetricKind
from sporeprint.model_serving.runtime.shared_counters import Series

log = logging.getLogger(__name__)

Numbers = Mapping[Series, tuple[int, ...]]


def metrics_data(numbers: Numbers, instance: str, began_ns: int, now_ns: int) -> Any:
    """The numbers of one process, in the form of the SDK; cumulative since `began_ns`."""
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        Metric,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    metrics = []
    for name, family in FAMILIES.items():
        series = [
            (dict(zip(family.labels, labels, strict=True)), values) for (each, labels), values in sorted(numbers.items()) if each == name
        ]
        if not series:
            continue
        if family.kind is MetricKind.HISTOGRAM:
            points = [
                HistogramDataPoint(labels, began_ns, now_ns, sum(values[:SUM]), values[SUM] / 1e9, values[:SUM], BUCKETS, 0.0, 0.0)
                for labels, values in series
            ]
            data: Any = Histogram(points, AggregationTemporality.CUMULATIVE)
        else:
            counts = [NumberDataPoint(labels, began_ns, now_ns, values[0] * family.unit) for labels, values in series]
            data = Sum(counts, AggregationTemporality.CUMULATIVE, True) if family.kind is MetricKind.COUNTER else Gauge(counts)
        unit = "s" if name.endswith("seconds") else "By" if name.endswith("bytes") else "1"
        metrics.append(Metric(f"sporeprint_{name}", family.help, unit, data))
    scope = ScopeMetrics(InstrumentationScope(NAME), metrics, "")
    return MetricsData([ResourceMetrics(resource(instance), [scope], "")])


@contextlib.contextmanager
def exporting(read: Callable[[], Numbers], instance: str) -> Iterator[None]:
    """Export every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds (60,000) as long as the context lasts, and once at its end.

    Args:
        read: gives the numbers of this process.
        instance: its name.
    """
    kind = exporter_of("metrics")
    if kind == "none":
        yield
        return
    interval, ending, began_ns = _interval_s(), threading.Event(), time_ns()
    exporter = _exporter(kind)

    def run() -> None:
        while True:
            last = ending.wait(interval)
            try:
                exporter.export(metrics_data(read(), instance, began_ns, time_ns()))
            except Exception:  # whatever it was: without this thread nothing would be exported any more
                log.exception("the metrics could not be exported to OpenTelemetry")
            if last:
                return

    thread = threading.Thread(target=run, name="otel-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        exporter.shutdown()


def _interval_s() -> float:
    text = os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or "60000"
    if not text.isdigit() or int(text) == 0:
        raise ConfigError(f"OTEL_METRIC_EXPORT_INTERVAL={text}: expected milliseconds, as in 60000")
    return int(text) / 1000


def _exporter(kind: str) -> Any:
    if kind == "console":
        from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

        return ConsoleMetricExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    return OTLPMetricExporter()

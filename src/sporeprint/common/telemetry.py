"""OpenTelemetry: traces, metrics and logs, wherever its standard environment variables say. Off, nothing of it is imported.

On it is where `OTEL_EXPORTER_OTLP_ENDPOINT` (or that of one signal) or `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` or
`OTEL_LOGS_EXPORTER` is set, unless `OTEL_SDK_DISABLED` is true. Sampling, names, headers and intervals are the SDK's own variables.
"""

import contextlib
import logging
import os
import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Literal

from sporeprint.common.optional_dependencies import missing
from sporeprint.errors import ConfigError

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")
EXPORTERS = ("otlp", "console", "none")
PROTOCOL = "http/protobuf"
NAME = "sporeprint"

#: What makes spans in this process; None: tracing is off.
_tracer: Any = None
_providers: list[Any] = []
#: Whether a trace is recorded.
_sampler: Any = None
#: A trace that begins here is recorded where its number's last 64 bits are below it; None: the sampler decides by more than that.
_bound: int | None = None
_LAST_64_BITS = (1 << 64) - 1
#: The span of the request that this context works on, where it is recorded.
_RECORDED: ContextVar[Any] = ContextVar("_RECORDED", default=None)
#: The number of the trace that the next span of this thread begins.
_drawn = threading.local()
_handler: logging.Handler | None = None


def exporter_of(signal: Signal, environ: Mapping[str, str] = os.environ) -> str:
    """Where a signal goes: otlp, console or none.

    Raises:
        ConfigError: a variable names something else.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return "none"
    variable = f"OTEL_{signal.upper()}_EXPORTER"
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    name = environ.get(variable, "").strip().lower() or ("otlp" if any(environ.get(each) for each in endpoints) else "none")
    if name not in EXPORTERS:
        raise ConfigError(f"{variable}={name}: expected one of {', '.join(EXPORTERS)}")
    protocols = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((variable for variable in protocols if environ.get(variable)), None)
    if name == "otlp" and protocol is not None and environ[protocol] != PROTOCOL:
        raise ConfigError(f"{protocol}={environ[protocol]}: expected {PROTOCOL}, the only protocol that is installed here")
    return name


def requested() -> bool:
    """Whether the environment asks for any signal. Raises: ConfigError."""
    return [exporter_of(signal) for signal in SIGNALS] != ["none"] * len(SIGNALS)


def start(instance: str | None = None) -> None:
    """Begin to export what the environment asks for; again, or where it asks for nothing: nothing happens.

    Args:
        instance: name of this process among others of the service.

    Raises:
        ConfigError: a variable is wrong.
        MissingExtraError: OpenTelemetry is not installed.
    """
    global _tracer, _sampler, _bound
    if _providers or not requested():
        return
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise (missing(error) or error) from error
    if (kind := exporter_of("traces")) != "none":
        try:
            provider = TracerProvider(resource=resource(instance), id_generator=_ids())
        except ValueError as error:  # a sampler's number among others
            raise ConfigError(f"OpenTelemetry: {error}") from error
        provider.add_span_processor(BatchSpanProcessor(_span_exporter(kind)))
        _providers.append(provider)
        _tracer, _sampler, _bound = provider.get_tracer(NAME), provider.sampler, _bound_of(provider.sampler)
    if (kind := exporter_of("logs")) != "none":
        _start_logs(kind, instance)


def _bound_of(sampler: Any) -> int | None:
    """The bound of a sampler that goes by the number of a trace alone, where the trace begins here."""
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    root = getattr(sampler, "_root", sampler)  # of one that goes by the parent first; without the attribute the sampler is asked
    return root.bound if type(root) is TraceIdRatioBased else None


def _ids() -> Any:
    """Makes the numbers of traces and spans; that of a trace is the one the sampler saw, where it saw one."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            number: int = _drawn.__dict__.pop("trace_id", 0)
            return number or super().generate_trace_id()

    return Ids()


def resource(instance: str | None = None) -> Any:
    """What the signals are about; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before it."""
    from opentelemetry.sdk.resources import Resource

    own = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or NAME}
    return Resource.create({**own, **({} if instance is None else {"service.instance.id": instance})})


def _span_exporter(kind: str) -> Any:
    if kind == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stderr)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _start_logs(kind: str, instance: str | None) -> None:
    global _handler
    from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, ConsoleLogRecordExporter

    provider = LoggerProvider(resource=resource(instance))
    if kind == "console":
        exporter: Any = ConsoleLogRecordExporter(out=sys.stderr)
    else:
        from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

        exporter = OTLPLogExporter()
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
    _providers.append(provider)
    _handler = LoggingHandler(logger_provider=provider)
    logging.getLogger(NAME).addHandler(_handler)


def stop() -> None:
    """Export what is left, and end. A receiver that is away holds nothing up for long: the exporters have a deadline."""
    global _tracer, _handler
    if _handler is not None:
        logging.getLogger(NAME).removeHandler(_handler)
    for provider in _providers:
        provider.shutdown()
    _providers.clear()
    _tracer = _handler = None


def is_tracing() -> bool:
    """Whether spans are made."""
    return _tracer is not None


def _parent(traceparent: str | None) -> Any:
    """The context of a W3C `traceparent`; the current one where there is none. One that is malformed begins a new trace."""
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return None if traceparent is None else TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())


@contextlib.contextmanager
def span(name: str, attributes: Mapping[str, Any] | None = None, *, traceparent: str | None = None) -> Iterator[None]:
    """A span as long as the context lasts; an error is its status. Nothing where tracing is off."""
    if _tracer is None:
        yield
        return
    with _tracer.start_as_current_span(name, context=_parent(traceparent), attributes=attributes):
        yield


def traceparent() -> str | None:
    """The current span, for another process to go on with; None where there is none."""
    if _tracer is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")


class DroppedRequest:
    """A request that is not recorded: all that is left of its span is the trace's number. Most requests are, so it is made in no time."""

    __slots__ = ("trace_id",)

    def __init__(self, trace_id: int) -> None:
        self.trace_id = trace_id


def start_request(headers: Iterable[tuple[bytes, bytes]], method: str, began_ns: int) -> Any:
    """The span of a request, which is the current one from now on in this task; only to be called while tracing."""
    header = next((value for name, value in headers if name == b"traceparent"), None)
    number = random.getrandbits(128) or 1
    # What is dropped is so before anything else is made: most requests are, and a span costs as much as a tenth of a prediction.
    if header is None and _bound is not None and number & _LAST_64_BITS >= _bound:
        return DroppedRequest(number)
    from opentelemetry import context, trace

    attributes = {"http.request.method": method}  # what a sampler may look at
    # Nothing is the parent that another request may have left in this context.
    parent = context.Context() if header is None else _parent(header.decode("latin-1"))
    if header is None:
        if _bound is None and not _sampler.should_sample(parent, number, method, trace.SpanKind.SERVER, attributes).decision.is_sampled():
            return DroppedRequest(number)
        _drawn.trace_id = number
    request = _tracer.start_span(method, parent, trace.SpanKind.SERVER, attributes, start_time=began_ns)
    context.attach(trace.set_span_in_context(request))
    _RECORDED.set(request if request.is_recording() else None)
    return request


def trace_id(request: Any) -> str:
    """A span's trace, as 32 hexadecimal digits."""
    number = request.trace_id if isinstance(request, DroppedRequest) else request.get_span_context().trace_id
    return f"{number:032x}"


def end_request(request: Any, name: str, status: int, attributes: Callable[[], Mapping[str, Any]]) -> None:
    """End the span of a request that was not dropped. Its attributes are only made where it is recorded."""
    if request.is_recording():
        from opentelemetry.trace import StatusCode

        request.update_name(name)
        request.set_attributes({"http.response.status_code": status, **attributes()})
        if status >= 500:
            request.set_status(StatusCode.ERROR)
    request.end()


def recorded_span() -> Any:
    """The span of the request that this task works on, where it is recorded; else None."""
    return _RECORDED.get()


def record_batch(spans: Sequence[Any], began_ns: int, rows: int) -> None:
    """A span of rows that were scored together: a child of the first request that is recorded, linked with the others."""
    from opentelemetry.trace import Link, set_span_in_context

    links = [Link(each.get_span_context()) for each in spans[1:]]
    batch = _tracer.start_span(
        "batch", set_span_in_context(spans[0]), attributes={"sporeprint.rows": rows}, links=links, start_time=began_ns
    )
    batch.end()

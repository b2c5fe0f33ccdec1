"""OpenTelemetry: traces, metrics and logs, wherever its standard environment variables say. Off, nothing of it is imported.

On it is where `OTEL_EXPORTER_OTLP_ENDPOINT` (or that of one signal) or `OTEL_TRACES_EXPORTER`, `OTEL_METRICS_EXPORTER` or
`OTEL_LOGS_EXPORTER` is set, unless `OTEL_SDK_DISABLED` is true. Sampling, names, headers and intervals are the SDK's own variables.
"""

import contextlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from sporeprint.common.optional_dependencies import missing
from sporeprint.errors import ConfigError

Signal = Literal["traces", "metrics", "logs"]
SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")
EXPORTERS = ("otlp", "console", "none")
PROTOCOL = "http/protobuf"
NAME = "sporeprint"

#: What makes spans in this process; None: nobody asked for them.
_tracer: Any = None
_providers: list[Any] = []
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
    global _tracer
    if _providers or not requested():
        return
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise (missing(error) or error) from error
    if (kind := exporter_of("traces")) != "none":
        try:
            provider = TracerProvider(resource=resource(instance))
        except ValueError as error:  # a sampler's number among others
            raise ConfigError(f"OpenTelemetry: {error}") from error
        provider.add_span_processor(BatchSpanProcessor(_span_exporter(kind)))
        _providers.append(provider)
        _tracer = provider.get_tracer(NAME)
    if (kind := exporter_of("logs")) != "none":
        _start_logs(kind, instance)


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
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return None if traceparent is None else TraceContextTextMapPropagator().extract({"traceparent": traceparent})


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


def start_request(headers: Iterable[tuple[bytes, bytes]], method: str, began_ns: int) -> Any:
    """The span of a request, which is the current one from now on in this task; only to be called while tracing."""
    from opentelemetry import context, trace

    given = next((value for name, value in headers if name == b"traceparent"), None)
    parent = None if given is None else _parent(given.decode("latin-1"))
    # The kind and the method are known now; a sampler may look at them.
    request = _tracer.start_span(method, parent, trace.SpanKind.SERVER, {"http.request.method": method}, start_time=began_ns)
    context.attach(trace.set_span_in_context(request))
    return request


def trace_id(request: Any) -> str:
    """A span's trace, as 32 hexadecimal digits."""
    return f"{request.get_span_context().trace_id:032x}"


def end_request(request: Any, name: str, status: int, attributes: Mapping[str, Any]) -> None:
    """End the span of a request."""
    if request.is_recording():
        from opentelemetry.trace import StatusCode

        request.update_name(name)
        request.set_attributes({"http.response.status_code": status, **attributes})
        if status >= 500:
            request.set_status(StatusCode.ERROR)
    request.end()


def recorded_span() -> Any:
    """The current span, where it is recorded; else None."""
    if _tracer is None:
        return None
    from opentelemetry.trace import get_current_span

    current = get_current_span()
    return current if current.is_recording() else None


def record_batch(spans: Sequence[Any], began_ns: int, rows: int) -> None:
    """A span of rows that were scored together: a child of the first request that is recorded, linked with the others."""
    from opentelemetry.trace import Link, set_span_in_context

    links = [Link(each.get_span_context()) for each in spans[1:]]
    batch = _tracer.start_span(
        "batch", set_span_in_context(spans[0]), attributes={"sporeprint.rows": rows}, links=links, start_time=began_ns
    )
    batch.end()

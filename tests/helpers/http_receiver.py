"""A receiver of telemetry and lineage on the loopback interface, which keeps what was sent to it."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Receiver:
    """What was received.

    Attributes:
        url: its address.
        status: what it answers.
        bodies: path and body of each request.
    """

    url: str
    status: int = 200
    bodies: list[tuple[str, bytes]] = field(default_factory=list)

    def json(self) -> list[Any]:
        """The bodies, as JSON."""
        return [json.loads(body) for _, body in self.bodies]

    def spans(self) -> list[tuple[dict[str, Any], Any]]:
        """Every span of OpenTelemetry with the attributes of its resource."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        found = []
        for path, body in self.bodies:
            if path == "/v1/traces":
                for each in ExportTraceServiceRequest.FromString(body).resource_spans:
                    resource = attributes(each.resource.attributes)
                    found += [(resource, span) for scope in each.scope_spans for span in scope.spans]
        return found

    def metrics(self) -> dict[str, Any]:
        """The last state of every metric of OpenTelemetry."""
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        requests = [ExportMetricsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/metrics"]
        scopes = [scope for request in requests for each in request.resource_metrics for scope in each.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def logs(self) -> list[str]:
        """The texts of OpenTelemetry's logs."""
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        requests = [ExportLogsServiceRequest.FromString(body) for path, body in self.bodies if path == "/v1/logs"]
        scopes = [scope for request in requests for each in request.resource_logs for scope in each.scope_logs]
        return [record.body.string_value for scope in scopes for record in scope.log_records]


def attributes(pairs: Any) -> dict[str, Any]:
    """Attributes as a dict."""
    return {pair.key: getattr(pair.value, str(pair.value.WhichOneof("value"))) for pair in pairs}


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.bodies.append((self.path, gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body))
            self.send_response(receiver.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

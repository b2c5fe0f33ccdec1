"""OpenTelemetry of a running server, received over OTLP on the loopback interface."""

import contextvars
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from http_receiver import Receiver, attributes, receiving
from serving_support import Server
from sporeprint.common import telemetry
from sporeprint.errors import ConfigError
from sporeprint.registry.registry import Registry

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_METRIC_EXPORT_INTERVAL": "300", "OTEL_SERVICE_NAME": "mushrooms"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def test_requests_batches_promotions_and_their_errors_are_one_trace_each(
    served: Callable[..., Server], small_copy: Path, receiver: Receiver
) -> None:
    registry = Registry(small_copy / "models/registry")
    row = dict(registry.load("production").golden.rows[0])
    server = served(env={**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
    answer = server.client.post("/predict", json=row, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert answer.status_code == 200
    problem = server.client.post("/predict", json={"cap-shap": "x"}, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}).json()
    assert problem["trace_id"] == TRACE
    strange = server.client.post("/predict", json=row, headers={"traceparent": "00-nonsense"})
    assert strange.status_code == 200
    dropped = server.client.post("/predict", json=row, headers={"traceparent": f"00-{TRACE[::-1]}-{PARENT}-00"})
    assert dropped.status_code == 200
    assert server.client.post("/predict?model=nobody", json=row).json()["trace_id"] not in {TRACE, ""}
    moved = server.client.post("/models/decision_tree/promote", json={"version": 1}, timeout=60)
    assert moved.status_code == 200, moved.text
    missing = server.client.get("/nowhere").json()
    assert len(missing["trace_id"]) == 32
    assert server.stop() == 0

    spans = receiver.spans()
    assert {resource["service.name"] for resource, _ in spans} >= {"mushrooms"}
    ours = [span for _, span in spans if span.trace_id.hex() == TRACE]
    request = next(span for span in ours if attributes(span.attributes).get("sporeprint.prediction_id") == answer.json()["prediction_id"])
    found = attributes(request.attributes)
    assert (request.name, request.parent_span_id.hex(), found["http.route"]) == ("POST /predict", PARENT, "/predict")
    assert (found["http.response.status_code"], found["sporeprint.request_id"]) == (200, answer.headers["x-request-id"])
    batch = next(span for span in ours if span.name == "batch")
    assert (batch.parent_span_id, attributes(batch.attributes)) == (request.span_id, {"sporeprint.rows": 1})
    assert request.start_time_unix_nano <= batch.start_time_unix_nano <= batch.end_time_unix_nano <= request.end_time_unix_nano
    assert {attributes(span.attributes).get("http.response.status_code") for span in ours} == {200, 422, None}
    assert not [span for _, span in spans if span.trace_id.hex() == TRACE[::-1]]  # the caller does not record it, so nobody does
    promoted = next(span for _, span in spans if span.name == "POST /models/{name}/promote")
    inner = {span.name: span for _, span in spans if span.trace_id == promoted.trace_id}
    assert inner["run"].parent_span_id == promoted.span_id
    assert inner["promote"].parent_span_id == inner["run"].span_id

    lines = [json.loads(line) for line in (small_copy / "logs/access.jsonl").read_text().splitlines()]
    assert {line["trace_id"] for line in lines if line["prediction_id"] == answer.json()["prediction_id"]} == {TRACE}
    assert all(len(line["trace_id"]) == 32 for line in lines)


def test_metrics_and_logs_are_those_of_the_server(served: Callable[..., Server], small_copy: Path, receiver: Receiver) -> None:
    row = dict(Registry(small_copy / "models/registry").load("production").golden.rows[0])
    server = served(
        env={
            **QUICK,
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_TRACES_EXPORTER": "none",
        }
    )
    for _ in range(7):
        said = server.client.post("/predict", json=row).json()
    other = "decision_tree" if said["model"] != "decision_tree" else "logistic_regression"
    guard = small_copy / f"models/registry/{other}/v1/guard.npz"
    guard.chmod(0o644)
    guard.write_bytes(b"")
    damaged = server.client.post(f"/predict?model={other}", json=row)
    assert (damaged.status_code, "trace_id" in damaged.json()) == (503, False)
    shown = server.client.get("/metrics").text
    server.stop()
    metrics = receiver.metrics()
    (answers,) = metrics["sporeprint_answers"].sum.data_points
    assert attributes(answers.attributes) == {"model": said["model"], "version": "1", "verdict": said["verdict"]}
    assert (answers.as_int or answers.as_double) == 7
    seconds = {attributes(point.attributes)["endpoint"]: point for point in metrics["sporeprint_request_seconds"].histogram.data_points}
    assert (seconds["predict"].count, len(seconds["predict"].bucket_counts)) == (8, len(seconds["predict"].explicit_bounds) + 1)
    assert sum(seconds["predict"].bucket_counts) == 8
    assert metrics["sporeprint_workers"].gauge.data_points[0].as_double == 1
    assert set(metrics) <= {line.split()[2].removesuffix("_total") for line in shown.splitlines() if line.startswith("# TYPE")}
    assert any("cannot be loaded" in text or "damaged" in text or other in text for text in receiver.logs())
    assert receiver.spans() == []


def test_a_receiver_that_is_away_harms_no_request(served: Callable[..., Server], small_copy: Path) -> None:
    server = served(env={**QUICK, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"})
    row = dict(Registry(small_copy / "models/registry").load("production").golden.rows[0])
    assert {server.client.post("/predict", json=row).status_code for _ in range(20)} == {200}
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("environment", "match"),
    [
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER=jaeger: expected one of otlp, console, none"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: expected http/protobuf",
        ),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=match):
        telemetry.start()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    telemetry.start()
    assert not telemetry.is_tracing()


@pytest.mark.parametrize(
    ("sampler", "least", "most"), [("parentbased_traceidratio", 50, 200), ("traceidratio", 50, 200), ("parentbased_always_off", 0, 0)]
)
def test_only_the_sampled_share_of_the_requests_is_recorded(sampler: str, least: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"EXPORTER": "console", "SAMPLER": sampler, "SAMPLER_ARG": "0.1"}.items():
        monkeypatch.setenv(f"OTEL_TRACES_{name}", value)
    telemetry.start()
    try:

        def begin(headers: list[tuple[bytes, bytes]]) -> Any:
            return contextvars.Context().run(telemetry.start_request, headers, "POST", 1)

        made = [begin([]) for _ in range(1_000)]
        recorded = [one for one in made if not isinstance(one, telemetry.DroppedRequest)]
        assert least <= len(recorded) <= most
        assert all(one.is_recording() and int(telemetry.trace_id(one)[16:], 16) < 0.1 * 2**64 for one in recorded)
        assert len(set(map(telemetry.trace_id, made))) == 1_000
        followed = begin([(b"traceparent", b"00-" + b"5" * 32 + b"-" + b"6" * 16 + b"-01")])
        assert followed.is_recording() == (sampler != "traceidratio")
    finally:
        telemetry.stop()


def test_off_nothing_of_it_is_imported() -> None:
    """But the small interface, which FastAPI imports where it is installed."""
    code = (
        "import sys, sporeprint.model_serving.api, sporeprint.pipelines.etl\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter', 'openlineage'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

"""The numbers that Prometheus reads: of all workers whichever is asked, and never going down, whoever is killed."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from journal_support import until
from serving_support import NO_TLS, Server
from sporeprint.model_serving.runtime.metrics import BUCKETS, FAMILIES, STAGES, WIDTH, MetricKind, Metrics, aggregate
from sporeprint.model_serving.runtime.shared_counters import CounterSnapshot
from sporeprint.registry.registry import Registry

Serve = Callable[..., Server]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return sum(number for (own, given), number in found.items() if own == name and labels.items() <= dict(given).items())


@pytest.fixture
def row(small_copy: Path) -> dict[str, Any]:
    return dict(Registry(small_copy / "models/registry").load("production").golden.rows[0])


def get(server: Server, path: str) -> httpx.Response:
    """Over a connection of its own: any worker may answer."""
    return httpx.get(server.client.base_url.join(path), timeout=10, verify=NO_TLS)


def workers(server: Server) -> set[int]:
    return {int(get(server, "/health").json()["worker"].rpartition("-")[2]) for _ in range(10)}


def only_grows(before: Samples, after: Samples) -> bool:
    counted = {name for name, family in FAMILIES.items() if family.kind in (MetricKind.COUNTER, MetricKind.HISTOGRAM)}
    ends = ("_total", "_bucket", "_count", "_sum")
    grow = {f"sporeprint_{name}{end}" for name in counted for end in ends}
    return all(after.get(series, 0) >= number for series, number in before.items() if series[0] in grow)


def test_each_worker_says_what_all_have_done_and_a_kill_takes_nothing_back(served: Serve, row: dict[str, Any], small_copy: Path) -> None:
    server = served("--workers", "2")
    until(lambda: len(workers(server)) == 2, 60)
    url = server.client.base_url.join("/predict")
    for _ in range(60):
        assert httpx.post(url, json=row, timeout=10, verify=NO_TLS).status_code == 200
    for _ in range(5):
        assert httpx.post(url, json={"x": 1}, timeout=10, verify=NO_TLS).status_code == 422

    def sent(found: Samples) -> tuple[float, ...]:
        by_status = (value(found, "sporeprint_requests_total", endpoint="predict", status=status) for status in ("200", "422"))
        return *by_status, value(found, "sporeprint_answers_total"), value(found, "sporeprint_stage_seconds_count", stage="score")

    # What is counted last is counted when the client has its answer already.
    until(lambda: sent(samples(get(server, "/metrics").text)) == (60, 5, 60, 60), 10)
    for _ in range(10):
        found = samples(get(server, "/metrics").text)
        assert sent(found) == (60, 5, 60, 60)
        assert value(found, "sporeprint_request_seconds_count", endpoint="predict") == 65
        assert value(found, "sporeprint_request_seconds_bucket", endpoint="predict", le="+Inf") == 65
        assert value(found, "sporeprint_workers") == value(found, "sporeprint_model_info") == 2
    for pid in workers(server):
        before = samples(get(server, "/metrics").text)
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: pid not in (now := workers(server)) and len(now) == 2, 60)  # type: ignore[misc]
        until(lambda: value(samples(get(server, "/metrics").text), "sporeprint_workers") == 2, 10)
        after = samples(get(server, "/metrics").text)
        assert only_grows(before, after)
        assert sent(after) == (60, 5, 60, 60)
    assert len(list((small_copy / "data/serving").glob("*/*.counts"))) == 2  # who came next took over
    assert server.stop() == 0
    assert [path.name for path in (small_copy / "data/serving").iterdir()] == ["gate.lock"]


def test_what_a_killed_server_left_goes_and_the_next_counts_anew(served: Serve, row: dict[str, Any], small_copy: Path) -> None:
    server = served()
    server.client.post("/predict", json=row)
    server.process.kill()
    server.process.wait()
    assert len(list((small_copy / "data/serving").glob("*/*.counts"))) == 1
    server = served()
    assert len(list((small_copy / "data/serving").glob("*/*.counts"))) == 1
    assert value(samples(server.client.get("/metrics").text), "sporeprint_answers_total") == 0


def test_sums_and_what_is_of_the_living_only() -> None:
    histogram = (*range(WIDTH - 1), 10**9)
    alive = CounterSnapshot({("answers", ("m", "1", "e")): (3,), ("in_flight", ()): (2,), ("journal_age_seconds", ()): (5,)}, alive=True)
    other = CounterSnapshot(
        {("in_flight", ()): (1,), ("journal_age_seconds", ()): (9,), ("stage_seconds", ("log",)): histogram}, alive=True
    )
    gone = CounterSnapshot(
        {
            ("answers", ("m", "1", "e")): (4,),
            ("in_flight", ()): (7,),
            ("stage_seconds", ("log",)): histogram,
            ("of an older version", ()): (1,),
        },
        alive=False,
    )
    assert aggregate([alive, other, gone]) == {
        ("answers", ("m", "1", "e")): (7,),
        ("in_flight", ()): (3,),
        ("journal_age_seconds", ()): (9,),
        ("stage_seconds", ("log",)): tuple(2 * number for number in histogram),
    }


def test_times_fall_into_their_buckets() -> None:
    metrics = Metrics()
    for nanoseconds in (1, 10_000, 10_001, 31 * 10**9):
        metrics.observe_request("predict", 200, nanoseconds)
    metrics.observe_request("predict", 429, 2_000_000)
    found = samples(metrics.to_bytes().decode())
    for bound, expected in (("1e-05", 2), ("2.5e-05", 3), ("0.001", 3), ("0.0025", 4), ("30.0", 4), ("+Inf", 5)):
        assert value(found, "sporeprint_request_seconds_bucket", endpoint="predict", le=bound) == expected
    assert value(found, "sporeprint_request_seconds_sum", endpoint="predict") == pytest.approx(31.002020002)
    assert value(found, "sporeprint_rate_limited_total") == 1
    assert len([1 for name, _ in found if name == "sporeprint_stage_seconds_bucket"]) == len(STAGES) * (len(BUCKETS) + 1)
    metrics.close()

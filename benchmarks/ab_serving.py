"""What an A/B test costs the prediction API, and whether its counts are those of the requests that were answered.

    python benchmarks/ab_serving.py --workdir DIR routing        microseconds that a test adds to an answer
    python benchmarks/ab_serving.py --workdir DIR analysis       milliseconds to look at a test of 10 million units
    python benchmarks/ab_serving.py --workdir DIR throughput     requests a second, and CPU time of each, with and without a split test
    python benchmarks/ab_serving.py --workdir DIR kills          four workers, 100,000 requests, kill -9 of two: arms and counts

DIR is a work directory in which `sporeprint etl` has run; it is copied, and the copy changed. Needs wrk (Debian: apt install wrk) for
`throughput`. All figures are printed as JSON.
"""

import argparse
import contextlib
import functools
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/helpers"))
MODELS = {"model_a": "xgboost", "model_b": "decision_tree"}
LUA = """
local bodies = {}
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local next = 0
local path = os.getenv("ASKED")
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  next = next + 1
  wrk.headers["X-Unit-Id"] = "u" .. next
  return wrk.format(nil, path, nil, bodies[next % #bodies + 1])
end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("\\nFOUND %d %d %d\\n", summary.requests, summary.duration, e.connect + e.read + e.write + e.timeout + e.status))
end
"""


def rows(root: Path, count: int) -> list[dict[str, Any]]:
    """Rows of the table, without their class."""
    table = pl.read_parquet(root / "data/processed/test.parquet") if (root / "data/processed/test.parquet").exists() else None
    if table is None:
        table = pl.read_parquet(next((root / "data/processed").glob("*.parquet")))
    from sporeprint.settings import load_settings

    columns = [name for name in load_settings(ROOT / "config/config.yaml").dataset.columns if name in table.columns]
    found = table.select(columns).sample(min(count, table.height), seed=1, shuffle=True).to_dicts()
    return [{name: value for name, value in row.items() if value is not None} for row in found]


@contextlib.contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy without a database and without journals."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # workers of a killed server end a moment later
        place = Path(folder) / "work"
        for name in ("models", "data/model_input", "data/validation", "data/processed"):
            shutil.copytree(root / name, place / name)
        yield place


def routing(root: Path) -> dict[str, Any]:
    """The time of an answer with its route, against the same answer without."""
    from sporeprint.ab_testing.design import Design
    from sporeprint.common.workdir import Workdir
    from sporeprint.model_serving.runtime.ab_routing import Route, unit_id_header
    from sporeprint.model_serving.runtime.loaded_model import LoadedModel
    from sporeprint.registry.registry import Registry
    from sporeprint.storage.oltp.ab_tests import AbTest, PinnedVersion

    registry = Registry(Workdir(root).registry)
    served = LoadedModel.load(registry, registry.resolve("xgboost"))
    pinned = PinnedVersion(served.ref.name, served.ref.version, served.ref.manifest)
    design = Design("t", "xgboost/v1", "decision_tree/v1")
    # The same version in both arms: what is left is the routing.
    route = Route.of(AbTest("t", design, pinned, pinned, "salt", False, False, 0, {}), served, served)
    asked = rows(root, 1000)
    scopes = [{"headers": [(b"host", b"localhost"), (b"x-unit-id", f"u{number}".encode())]} for number in range(len(asked))]

    def plain() -> None:
        for row in asked:
            served.answer(row)

    def routed() -> None:
        for row, scope in zip(asked, scopes, strict=True):
            route.answer(route.unit(unit_id_header(scope), row, "id"), served, functools.partial(LoadedModel.answer, row=row))

    found: dict[str, list[float]] = {"plain": [], "routed": []}
    for _ in range(15):
        for name, work in (("plain", plain), ("routed", routed)):
            began = time.process_time_ns()
            work()
            found[name].append((time.process_time_ns() - began) / 1e3 / len(asked))
    middle = {name: statistics.median(values) for name, values in found.items()}
    return {"us_plain": middle["plain"], "us_routed": middle["routed"], "us_added": middle["routed"] - middle["plain"]}


def analysis(root: Path) -> dict[str, Any]:
    """The time of a look at a test with ten million units in its totals, reading and keeping included."""
    from sqlalchemy import insert

    from sporeprint import settings
    from sporeprint.pipelines.ab_test_lifecycle import experiment_service
    from sporeprint.storage.engine import writing
    from sporeprint.storage.oltp.tables import ab_total

    with copied(root) as place, experiment_service(settings.load_settings(ROOT / "config/config.yaml"), place) as experiments:
        found = {}
        for mode in ("split", "shadow"):
            given = {"name": mode, **MODELS, "mode": mode, "independent": True, "also": ["latency"], "latency_limit_ms": 10}
            test = experiments.create(given, actor="bench")
            sums = {"latency_us": 4e9, "latency_us2": 4e12, "shadow_latency_us": 0.0, "shadow_latency_us2": 0.0}
            cells = [
                {"test_id": test.test_id, "arm": arm, "answer": answer, "shadow_answer": other, "truth": truth, "units": units, **sums}
                for arm in ("ab" if mode == "split" else "a")
                for answer in range(3)
                for other in ([-1] if mode == "split" else range(3))
                for truth, units in ((-1, 1_500_000), (0, 300_000 if answer == 0 else 4_000), (1, 300_000 if answer == 1 else 4_000))
            ]
            with writing(experiments.engine) as connection:
                connection.execute(insert(ab_total), cells)
            times = []
            for _ in range(20):
                began = time.process_time()
                seen = experiments.analyse(test)
                times.append(1e3 * (time.process_time() - began))
            found[mode] = {"units": seen.interim_analysis.units, "ms": statistics.median(times), "ms_most": max(times)}
    return found


@contextlib.contextmanager
def server(place: Path, workers: int) -> Iterator[Any]:
    """A running server."""
    from serving_support import start_server

    found = start_server(place, ROOT / "config/config.yaml", "--workers", str(workers))
    try:
        yield found
    finally:
        found.end()


def children(pid: int) -> list[int]:
    """The workers of a server."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(child) for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def seconds(pids: list[int]) -> float:
    """CPU seconds of processes."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def throughput(root: Path, duration: int, connections: int) -> dict[str, Any]:
    """Requests a second and the server's CPU time for each, in turns without and with a split test, over the same two models."""
    found: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    with copied(root) as place, server(place, 1) as running:
        script, bodies = place / "load.lua", place / "bodies.jsonl"
        script.write_text(LUA, encoding="utf-8")
        bodies.write_text("\n".join(json.dumps(row) for row in rows(root, 4096)), encoding="utf-8")
        made = running.client.post("/ab-tests", json={"name": "load", **MODELS, "traffic_split": 0.5})
        assert made.status_code == 201, made.text
        for _ in range(5):
            for name, halves in (
                ("without", ("/predict?model=xgboost", "/predict?model=decision_tree")),
                ("with", ("/predict?ab_test=load",) * 2),
            ):
                pids = [running.process.pid, *children(running.process.pid)]
                before, requests, took, failed = seconds(pids), 0, 0.0, 0
                for path in halves:
                    command = ["wrk", "-t1", f"-c{connections}", f"-d{duration}s", "-s", str(script), str(running.client.base_url)]
                    env = {**os.environ, "BODIES": str(bodies), "ASKED": path}
                    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
                    numbers = [int(each) for each in said.partition("FOUND ")[2].split()]
                    requests, took, failed = requests + numbers[0], took + numbers[1] / 1e6, failed + numbers[2]
                each = {"requests_per_s": requests / took, "cpu_us": 1e6 * (seconds(pids) - before) / requests, "failed": failed}
                found[name].append(each)
                print(name, each, file=sys.stderr, flush=True)
    middle = {name: {key: statistics.median(each[key] for each in runs) for key in runs[0]} for name, runs in found.items()}
    ratio = middle["with"]["requests_per_s"] / middle["without"]["requests_per_s"]
    return {**middle, "ratio_of_requests": ratio, "ratio_of_cpu": middle["without"]["cpu_us"] / middle["with"]["cpu_us"]}


class Clients:
    """Clients that ask until every request is answered, whatever happens to the server."""

    def __init__(self, url: Any, arms: Any, asked: list[dict[str, Any]], requests: int) -> None:
        self._url, self._arms, self._asked, self._requests = url, arms, asked, requests
        self._lock = threading.Lock()
        self.answered: dict[str, str] = {}
        self.wrong: list[str] = []
        self.tried_again = 0

    def run(self, first: int, step: int) -> None:
        """Send every so many-th request."""
        with httpx.Client(base_url=self._url, timeout=30) as client:
            for number in range(first, self._requests, step):
                unit = f"u{number % (self._requests // 2)}"  # every unit asks twice
                arm = self._ask(client, number, unit)
                with self._lock:
                    if self.answered.setdefault(unit, arm) != arm or arm != self._arms.arm(unit):
                        self.wrong.append(unit)

    def _ask(self, client: httpx.Client, number: int, unit: str) -> str:
        headers = {"X-Unit-Id": unit, "Idempotency-Key": f"k{number}"}
        while True:
            with contextlib.suppress(httpx.TransportError):
                said = client.post("/predict?ab_test=kills", json=self._asked[number % len(self._asked)], headers=headers)
                if said.status_code == 200:
                    return str(said.json()["ab_test"]["arm"])
            self.tried_again += 1
            time.sleep(0.05)


def kills(root: Path, requests: int, clients: int = 8) -> dict[str, Any]:
    """Four workers, of which two are killed on the way: every unit has one arm, and the counts are those of the answers."""
    from sporeprint.ab_testing.assignment import Assignment

    with copied(root) as place, server(place, 4) as running:
        made = running.client.post("/ab-tests", json={"name": "kills", **MODELS}).json()
        asking = Clients(running.client.base_url, Assignment(made["salt"], 0.5), rows(root, 1000), requests)
        threads = [threading.Thread(target=asking.run, args=(first, clients)) for first in range(clients)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for share in (0.3, 0.6):
            while len(asking.answered) < share * requests / 2:
                time.sleep(0.05)
            os.kill(children(running.process.pid)[0], signal.SIGKILL)
        for thread in threads:
            thread.join()
        took, end = time.monotonic() - began, time.monotonic() + 120
        while (look := running.client.get("/ab-tests/kills").json()["interim_analysis"])["units"] < len(
            asking.answered
        ) and time.monotonic() < end:
            time.sleep(0.5)
        counted = {arm: sum(look["totals"][arm]["answers"]) for arm in "ab"}
    expected = {arm: sum(each == arm for each in asking.answered.values()) for arm in "ab"}
    return {
        "requests": requests,
        "seconds": took,
        "tried_again": asking.tried_again,
        "units": len(asking.answered),
        "units_with_two_arms": len(asking.wrong),
        "counted": counted,
        "answered": expected,
        "equal": counted == expected and not asking.wrong,
    }


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("routing", "analysis", "throughput", "kills"))
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=64, help="of wrk")
    parser.add_argument("--duration", type=int, default=8, help="seconds of each run of wrk")
    given = parser.parse_args()
    work = {
        "routing": lambda: routing(given.workdir),
        "analysis": lambda: analysis(given.workdir),
        "throughput": lambda: throughput(given.workdir, given.duration, given.connections),
        "kills": lambda: kills(given.workdir, given.requests),
    }
    print(json.dumps(work[given.what](), indent=1))


if __name__ == "__main__":
    main()

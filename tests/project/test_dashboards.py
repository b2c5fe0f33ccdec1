"""Dashboards and alert rules: every expression names metrics that there are, and a real Prometheus over a running server evaluates it."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from ruamel.yaml import YAML

from free_ports import free_port
from serving_support import start_server, write_config
from sporeprint.model_serving.runtime.metrics import FAMILIES, MetricKind

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy" / "observe"
DASHBOARDS = sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
RULES = YAML(typ="safe").load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
ENDINGS = {
    MetricKind.COUNTER: ("_total",),
    MetricKind.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricKind.LIVE_SUM: ("",),
    MetricKind.LIVE_MAX: ("",),
}


def expressions() -> list[str]:
    """Every Prometheus expression of the dashboards and of the rules."""
    panels = [panel for path in DASHBOARDS for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]]
    drawn = [target["expr"] for panel in panels for target in panel["targets"]]
    return drawn + [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]


def named(expression: str) -> set[str]:
    """The metrics of sporeprint in an expression."""
    return set(re.findall(r"\bsporeprint_[a-z0-9_]+", expression))


def of_the_server() -> set[str]:
    return {f"sporeprint_{name}{ending}" for name, family in FAMILIES.items() for ending in ENDINGS[family.kind]}


def test_the_files_are_as_their_script_writes_them() -> None:
    subprocess.run([sys.executable, DEPLOY / "grafana" / "make.py", "--check"], check=True)
    assert {path.stem for path in DASHBOARDS} == {"serving", "safety", "ab_tests", "monitoring"}


def test_every_metric_of_the_server_is_on_a_dashboard() -> None:
    drawn = set().union(*map(named, expressions()))
    families = {f"sporeprint_{name}" for name in FAMILIES}
    assert {name for name in families if not any(each.startswith(name) for each in drawn)} == set()


def test_every_rule_says_what_to_do() -> None:
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert rule["annotations"]["summary"], rule
            assert rule["annotations"]["action"], rule
            assert rule["labels"]["severity"] in {"page", "ticket"}, rule


@pytest.fixture(scope="module")
def queries(prometheus: str, small_run: Path, _small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The interface of a Prometheus that has read a running server twice."""
    folder = tmp_path_factory.mktemp("prometheus")
    root = Path(shutil.copytree(small_run, folder / "work"))
    (root / "monitoring").mkdir(exist_ok=True)
    server = start_server(root, write_config(_small, folder / "config.yaml"))
    try:
        address = server.client.base_url
        assert server.client.post("/predict", json={}).status_code == 200
        config: dict[str, Any] = YAML(typ="safe").load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        del config["scrape_configs"][0]["authorization"]  # there are no keys
        config["scrape_configs"][0]["static_configs"] = [{"targets": [f"{address.host}:{address.port}"]}]
        shutil.copy(DEPLOY / "prometheus" / "alerts.yml", folder)
        file, port = write_config(config, folder / "prometheus.yml"), free_port()
        options = [f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([prometheus, *options], stdout=subprocess.DEVNULL, stderr=log)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                _wait_until_read(client, process, folder / "log")
                yield client
        finally:
            process.terminate()
            process.wait(20)
    finally:
        server.end()


def _wait_until_read(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            if int(query(client, "count_over_time(sporeprint_workers[1m])")[0]["value"][1]) >= 2:
                return
        except (httpx.TransportError, ValueError, IndexError):
            pass  # it starts, or has read nothing yet
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def query(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def test_prometheus_evaluates_every_expression(queries: httpx.Client) -> None:
    for expression in expressions():
        query(queries, expression)


def test_every_named_metric_is_one_of_the_server_or_of_the_monitor(queries: httpx.Client) -> None:
    """Those of the server as Prometheus has read them; those of the monitor as its gauges are called."""
    read = {name for name in queries.get("/api/v1/label/__name__/values").json()["data"] if name.startswith("sporeprint_")}
    assert {name for name in of_the_server() if name.endswith("_bucket")} <= read
    source = (ROOT / "src/sporeprint/model_serving/runtime/monitoring_gauges.py").read_text(encoding="utf-8")
    for name in set().union(*map(named, expressions())) - of_the_server() - read:
        gauge = name.removeprefix("sporeprint_monitor_").removeprefix("sporeprint_ab_")
        assert f'"{gauge}"' in source or f'"{name}"' in source, name


def test_rules_are_loaded_and_healthy(queries: httpx.Client) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        rules = [rule for group in queries.get("/api/v1/rules").json()["data"]["groups"] for rule in group["rules"]]
        if all(rule["health"] != "unknown" for rule in rules):
            break
        time.sleep(0.2)
    assert len(rules) == sum(len(group["rules"]) for group in RULES["groups"])
    assert {rule["health"] for rule in rules} == {"ok"}
    assert {rule["name"] for rule in rules if rule["state"] == "firing"} == set()

"""OpenLineage and traces of a run and of its steps one by one, received on the loopback interface."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from http_receiver import Receiver, attributes, receiving
from serving_support import write_config
from sporeprint import settings
from sporeprint.errors import ConfigError, DataError
from sporeprint.pipelines.evaluate import run_evaluate
from sporeprint.pipelines.extract import run_extract
from sporeprint.pipelines.load import run_load
from sporeprint.pipelines.register import run_register
from sporeprint.pipelines.train import run_train
from sporeprint.pipelines.transform import run_transform


@pytest.fixture(autouse=True)
def _environment_as_before() -> Iterator[None]:
    """OpenLineage's client writes its variables in their other spelling into the environment."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def environment(receiver: Receiver) -> dict[str, str]:
    return {"OPENLINEAGE_URL": receiver.url, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "TRACEPARENT": f"00-{'ab' * 16}-{'cd' * 8}-01"}


def names(tables: list[dict[str, Any]], root: Path) -> list[str]:
    return [table["name"].replace(f"{root}/", "") for table in tables]


def test_a_step_after_the_other_as_a_dag_runs_them(
    small_config: dict[str, Any], small_table: Path, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "fungi")
    monkeypatch.setenv("OPENLINEAGE_PARENT_ID", "airflow/mushroom_etl.train/01941f29-7c00-7087-8940-40e512c257bd")
    small_config["models"] = {"decision_tree": small_config["models"]["decision_tree"]}
    chosen, root = settings.parse(small_config), tmp_path / "work"
    run_extract(chosen, root, source=str(small_table))
    run_transform(chosen, root)
    run_load(chosen, root)
    run_train(chosen, root)
    run_evaluate(chosen, root)
    run_register(chosen, root)
    events = receiver.json()
    assert {event["run"]["facets"]["parent"]["run"]["runId"] for event in events} == {"01941f29-7c00-7087-8940-40e512c257bd"}
    assert {event["run"]["facets"]["parent"]["job"]["name"] for event in events} == {"mushroom_etl.train"}
    assert {event["job"]["namespace"] for event in events} == {"fungi"}
    ends = {event["job"]["name"].removeprefix("mushroom."): event for event in events if event["eventType"] == "COMPLETE"}
    assert list(ends) == ["extract", "transform", "load", "train", "evaluate", "register"]
    starts = {event["run"]["runId"] for event in events if event["eventType"] == "START"}
    assert {event["run"]["runId"] for event in ends.values()} == starts
    splits = ["data/model_input/train.parquet", "data/model_input/validation.parquet", "data/model_input/test.parquet"]
    assert names(ends["extract"]["inputs"], root) == [str(small_table)]
    assert names(ends["transform"]["inputs"], root) == names(ends["extract"]["outputs"] or ends["extract"]["inputs"], root)
    assert names(ends["load"]["outputs"], root) == splits
    assert names(ends["train"]["inputs"], root) == splits[:2]
    assert names(ends["train"]["outputs"], root) == ["models/candidates/decision_tree"]
    assert names(ends["evaluate"]["inputs"], root) == ["models/candidates/decision_tree", splits[2]]
    model, served = ends["register"]["outputs"]
    assert (names([model], root), model["facets"]["version"]["datasetVersion"]) == (["models/registry/decision_tree"], "v1")
    assert served["facets"]["version"]["datasetVersion"] == "decision_tree/v1"
    rows = sum(table["outputFacets"]["outputStatistics"]["rowCount"] for table in ends["load"]["outputs"])
    assert 0 < rows <= 1800
    fields = {field["name"]: field["type"] for field in ends["load"]["outputs"][0]["facets"]["schema"]["fields"]}
    assert (fields["stem-width"], fields["cap-shape"], fields["class"]) == ("double", "string", "string")


def test_a_step_that_fails_says_so(
    small_config: dict[str, Any], tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    (tmp_path / "empty.csv").write_text("class;cap-shape\n")
    with pytest.raises(DataError):
        run_extract(settings.parse(small_config), tmp_path / "work", source=str(tmp_path / "empty.csv"))
    last = receiver.json()[-1]
    assert last["eventType"] == "FAIL"
    assert last["run"]["facets"]["errorMessage"]["message"]


def test_a_file_instead_of_a_receiver(
    small_config: dict[str, Any], small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "file")
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__LOG_FILE_PATH", str(tmp_path / "events.jsonl"))
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__APPEND", "true")
    run_extract(settings.parse(small_config), tmp_path / "work", source=str(small_table))
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]


def test_a_receiver_that_fails_is_a_warning(
    small_config: dict[str, Any],
    small_table: Path,
    tmp_path: Path,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.status = 400
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    run_extract(settings.parse(small_config), tmp_path / "work", source=str(small_table))
    assert "is not reported to OpenLineage" in caplog.text
    assert len(receiver.bodies) == 1  # the rest of the run is not held up by it


def test_a_transport_that_is_none(small_config: dict[str, Any], small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "pigeon")
    with pytest.raises(ConfigError, match="OpenLineage"):
        run_extract(settings.parse(small_config), tmp_path / "work", source=str(small_table))


def test_the_command_traces_its_steps_below_its_caller(
    small_config: dict[str, Any], small_table: Path, tmp_path: Path, receiver: Receiver, environment: dict[str, str]
) -> None:
    config = write_config(small_config, tmp_path / "config.yaml")
    command = [
        sys.executable,
        "-m",
        "sporeprint",
        "extract",
        "--source",
        str(small_table),
        "--workdir",
        str(tmp_path / "work"),
        "--config",
        str(config),
        "--json",
    ]
    subprocess.run(command, env={**os.environ, **environment}, check=True, capture_output=True)
    spans = {span.name: span for _, span in receiver.spans()}
    assert set(spans) == {"run", "extract"}
    assert (spans["run"].trace_id.hex(), spans["run"].parent_span_id.hex()) == ("ab" * 16, "cd" * 8)
    assert spans["extract"].parent_span_id == spans["run"].span_id
    assert attributes(spans["extract"].attributes)["sporeprint.run_id"]
    assert [json.loads(body)["eventType"] for path, body in receiver.bodies if path.startswith("/api")] == ["START", "COMPLETE"]

"""Gauges of the monitor's last evaluation: from its file, whatever became of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from evaluation_support import DRAW, evaluation, with_column
from serving_support import Server
from sporeprint.model_serving.runtime.metrics import Metrics
from sporeprint.monitoring.data_profile import of_numbers


def scraped(path: Path) -> dict[tuple[str, str], float]:
    metrics = Metrics(None, path)
    text = metrics.to_bytes().decode()
    metrics.close()
    return {
        (sample.name.removeprefix("sporeprint_monitor_"), next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("sporeprint_monitor_")
    }


def test_the_last_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "latest.json"
    assert scraped(path) == {}
    made = evaluation(with_column(size=of_numbers(DRAW.normal(1, 1, size=2000))), answered=(1, 2, 1))
    path.write_text(json.dumps(made.to_dict()), encoding="utf-8")
    found = scraped(path)
    assert found["readable", ""] == 1
    assert found["drift_effect", "size"] == made.drift.columns[0].size
    assert (found["alarms", ""], found["not_computed", ""], found["unknown_share", ""]) == (1, 0, 0.25)
    assert [found["status", name] for name in ("alarm", "no alarm", "not computed")] == [1, 0, 0]
    assert found["evaluated_timestamp_seconds", ""] == 1e9
    assert ("accuracy_realised", "") not in found


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"at": 5}', '{"at": "x", "alarms": []}'])
def test_a_damaged_file_says_so_and_nothing_else(tmp_path: Path, text: str) -> None:
    path = tmp_path / "latest.json"
    path.write_text(text, encoding="utf-8")
    assert scraped(path) == {("readable", ""): 0}


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "latest.json").mkdir()
    assert scraped(tmp_path / "latest.json") == {("readable", ""): 0}


def test_a_server_shows_them(served: Callable[..., Server], small_copy: Path) -> None:
    server = served()
    assert "sporeprint_monitor" not in server.client.get("/metrics").text
    path = small_copy / "models/metrics/monitoring/latest.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(evaluation(answered=(1, 2, 1)).to_dict()), encoding="utf-8")
    assert 'sporeprint_monitor_status{status="no alarm"} 1.0' in server.client.get("/metrics").text

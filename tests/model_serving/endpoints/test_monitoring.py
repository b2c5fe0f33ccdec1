"""What the monitor wrote to the database, over HTTP: also of a monitor that shares nothing but the database."""

import shutil
from collections.abc import Callable
from pathlib import Path

from serving_support import Client
from sporeprint.pipelines.monitoring import monitor
from sporeprint.settings import Settings
from watch_support import STREAM, add_evaluations


def test_an_evaluation_of_the_monitor_is_found_where_its_files_are_not(
    started: Callable[..., Client], small_settings: Settings, small_copy: Path, small_table: Path
) -> None:
    client = started()
    assert client.get("/monitoring/streams").json() == {"streams": []}
    made = monitor(small_settings, small_copy, small_table)
    shutil.rmtree(small_copy / "models/metrics/monitoring")
    (listed,) = client.get("/monitoring/evaluations").json()["evaluations"]
    assert listed["evaluation_id"] == made.evaluation_id
    assert listed["status"] == made.evaluation.status.value
    assert [each["column"] for each in listed["columns"]] == [item.column for item in made.evaluation.ranking]
    assert listed["accuracy"]["value"] > 0.5
    whole = client.get(f"/monitoring/evaluations/{made.evaluation_id}").json()
    assert (whole["stream"], whole["summary"], whole["has_report"]) == (made.evaluation.stream, listed, True)
    assert whole["details"]["drift"] == made.to_dict()["drift"]
    assert set(whole["details"]["overlays"]) == set(made.evaluation.overlays)
    report = client.get(f"/monitoring/evaluations/{made.evaluation_id}/report")
    assert report.headers["content-security-policy"].startswith("default-src 'none'")
    assert "<h1" in report.text
    run = client.get(f"/runs/{made.evaluation_id}").json()["run"]
    assert (run["command"], run["status"], run["exit_code"], run["rows"]) == ("monitor", "done", made.exit_code, 1800)


def test_streams_and_times_are_filters(started: Callable[..., Client]) -> None:
    client = started()
    add_evaluations(client.app.state.service.database.engine, 7)
    (stream,) = client.get("/monitoring/streams").json()["streams"]
    assert (stream["stream"], stream["evaluations"], stream["last"]) == (STREAM, 7, "2026-11-08T00:00:00.000Z")
    listed = client.get(f"/monitoring/evaluations?stream={stream['stream_id']}&limit=2").json()["evaluations"]
    assert [each["at"][:10] for each in listed] == ["2026-11-08", "2026-11-07"]
    assert len(client.get("/monitoring/evaluations?since=2026-11-05T00:00:00Z").json()["evaluations"]) == 4
    assert client.get("/monitoring/evaluations?stream=none").json() == {"evaluations": []}
    old = client.get("/monitoring/evaluations/run-001").json()
    assert (old["details"], old["has_report"]) == (None, False)
    assert client.get("/monitoring/evaluations/run-001/report").status_code == 404
    assert client.get("/monitoring/evaluations/none").status_code == 404
    for wrong in ("since=yesterday", "since=2026-11-05", "limit=91", "limit=x", "what=1"):
        assert client.get(f"/monitoring/evaluations?{wrong}").status_code == 400, wrong

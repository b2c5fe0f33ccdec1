"""Runs over HTTP, and the rows that they rejected."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving_support import Client
from sporeprint.errors import DataError
from sporeprint.pipelines.etl import run_etl
from sporeprint.settings import Settings
from watch_support import add_runs


def test_a_run_of_the_pipeline_is_there_with_steps_and_figures(started: Callable[..., Client]) -> None:
    client = started()
    (run,) = client.get("/runs").json()["runs"]
    assert (run["command"], run["status"], run["exit_code"], run["rows"], run["rejected"]) == ("etl", "done", 0, 1800, 0)
    assert run["seconds"] > 0
    whole = client.get(f"/runs/{run['run_id']}").json()
    assert [each["step"] for each in whole["steps"]][:4] == ["extract", "transform", "load", "train"]
    assert sum(whole["details"]["splits"].values()) == 1800
    assert {each["model"] for each in whole["metrics"]} == {"decision_tree", "logistic_regression", "xgboost"}
    assert any(each["metric"] == "accuracy" and each["low"] <= each["value"] <= each["high"] for each in whole["metrics"])
    assert client.get(f"/runs/{run['run_id']}/rejected").json() == {"rows": [], "count": 0, "next": None}


def test_rejected_rows_say_which_cell_is_broken(
    started: Callable[..., Client], small_settings: Settings, small_copy: Path, small_table: Path, tmp_path: Path
) -> None:
    lines = small_table.read_text().splitlines()
    for number in range(1, 61):
        cells = lines[number].split(";")
        cells[1] = f"{number}.wrz<b>"
        lines[number] = ";".join(cells)
    (tmp_path / "broken.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match="rejected"):
        run_etl(small_settings, small_copy, source=str(tmp_path / "broken.csv"))
    client = started()
    failed, _ = client.get("/runs").json()["runs"]
    assert (failed["status"], failed["exit_code"], failed["rejected"], failed["rows"]) == ("failed", 4, 60, 1800)
    assert "60 of 1,800 rows are rejected" in failed["error"]
    assert str(small_copy) not in failed["error"]
    whole = client.get(f"/runs/{failed['run_id']}").json()
    ((rule, count),) = whole["by_rule"].items()
    assert (rule.partition(":")[0], count, whole["max_rejected_share"]) == ("number", 60, 0.01)
    first = client.get(f"/runs/{failed['run_id']}/rejected").json()
    assert (len(first["rows"]), first["count"]) == (50, 60)
    row = first["rows"][0]
    assert row["values"][rule.partition(":")[2]] == "1.wrz<b>"
    assert "is not a finite number" in row["reason"]
    rest = client.get(f"/runs/{failed['run_id']}/rejected", params={"after": first["next"], "rule": rule}).json()
    assert (len(rest["rows"]), rest["next"]) == (10, None)
    file = client.get(f"/runs/{failed['run_id']}/rejected/file", params={"rule": rule})
    assert file.headers["content-disposition"] == f"attachment; filename=rejected-{failed['run_id']}.csv"
    assert file.text.count("\n") == 61
    assert f",{rule}," in file.text.splitlines()[1]
    assert client.get("/runs/none/rejected/file").status_code == 404
    (small_copy / f"data/validation/rejected/{failed['run_id']}.parquet").unlink()
    assert client.get(f"/runs/{failed['run_id']}/rejected/file").status_code == 404
    gone = client.get(f"/runs/{failed['run_id']}/rejected")
    assert gone.status_code == 404
    assert "not on this machine" in gone.json()["detail"]


def test_pages_and_filters(started: Callable[..., Client]) -> None:
    client = started()
    add_runs(client.app.state.service.database.engine, 3)
    first = client.get("/runs?command=etl&limit=2").json()
    second = client.get("/runs", params={"command": "etl", "limit": 2, "before": first["next"]}).json()
    assert len({each["run_id"] for each in (*first["runs"], *second["runs"])}) == 4
    assert [each["status"] for each in client.get("/runs?status=failed").json()["runs"]] == ["failed"]
    assert client.get("/runs?status=odd").status_code == 400
    assert client.get("/runs/none").status_code == 404
    assert client.get("/runs/none/rejected").status_code == 404

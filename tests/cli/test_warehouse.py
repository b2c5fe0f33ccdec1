"""Tests of sporeprint.cli.warehouse: the commands, as they are typed."""

import json
from pathlib import Path

import pytest

from sporeprint import settings
from sporeprint.cli import app as cli
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import tables
from sporeprint.storage.oltp.migrate import upgrade
from warehouse_support import outcome, predictions, write


@pytest.fixture
def work(tmp_path: Path, config_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory with answers in its database."""
    monkeypatch.setenv("SPOREPRINT_CONFIG", str(config_file))
    monkeypatch.setenv("SPOREPRINT_WORKDIR", str(tmp_path))
    engine = connect(urls.oltp(settings.load_settings(config_file, environ={}).storage, tmp_path, {}))
    upgrade(engine)
    rows = predictions(40)
    write(engine, rows)
    write(engine, [outcome(rows[0]["prediction_id"], "p"), outcome("nobody", "p")], tables.outcome)
    engine.dispose()
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert cli.run(["warehouse", *arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.out + captured.err


def test_sync_report_query(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = json.loads(ran(capsys, "sync", "--json"))
    assert (done["predictions"], done["outcomes"], done["waiting"]) == (40, 2, True)
    assert "outcomes whose prediction has not come" in ran(capsys, "sync")
    assert sum(row["answers"] for row in json.loads(ran(capsys, "report", "--days", "0", "--json"))["volume"]) == 40
    said = ran(capsys, "report", "--days", "0", "--out", str(work / "page.html"))
    assert "By model and arm" in said
    assert "page.html" in said
    assert (work / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "true edible" not in said
    found = json.loads(ran(capsys, "query", "SELECT prediction_id FROM fact_prediction", "--rows", "3", "--json"))
    assert (found["columns"], len(found["rows"]), found["more"]) == (["prediction_id"], 3, True)
    assert "there are more rows; --rows 10 shows up to 10" in ran(capsys, "query", "SELECT seq FROM fact_prediction", "--rows", "1")


def test_values_that_json_does_not_have(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(ran(capsys, "query", "SELECT 'nan'::DOUBLE, DATE '2026-01-31', NULL, [1, 2]", "--json"))
    assert found["rows"] == [["nan", "2026-01-31", None, [1, 2]]]


@pytest.mark.parametrize("sql", ["", "DROP TABLE dim_model", "SELECT 1; SELECT 2", "SELECT nothing"])
def test_a_statement_that_cannot_be_run(work: Path, capsys: pytest.CaptureFixture[str], sql: str) -> None:
    assert "error:" in ran(capsys, "query", sql, code=2)


def test_an_empty_warehouse_has_a_report(tmp_path: Path, config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = ran(capsys, "report", "--workdir", str(tmp_path), "--config", str(config_file))
    assert "sporeprint warehouse sync brings them" in said


def test_sync_makes_the_embedded_database(tmp_path: Path, config_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(ran(capsys, "sync", "--json", "--workdir", str(tmp_path), "--config", str(config_file)))["read"] == 0

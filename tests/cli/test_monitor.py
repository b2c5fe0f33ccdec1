"""`sporeprint monitor`, as it is called: exit codes and JSON, of files and of what a service answered; and watching until it is stopped."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from monitor_support import Service, answered, outcomes, service
from serving_support import write_config
from sporeprint.cli import app as cli
from sporeprint.storage.oltp import tables
from warehouse_support import write
from warm_start import Warm

MINUTE_US = 60_000_000


def test_exit_codes_and_json(
    small_table: Path, config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = small_table.read_text(encoding="utf-8").splitlines()
    reference, same, other = (tmp_path / f"{name}.csv" for name in ("reference", "same", "other"))
    shutil.copy(small_table, reference)
    same.write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n", encoding="utf-8")
    other.write_text("\n".join(lines[:200]) + "\n", encoding="utf-8")
    for current, code in ((same, 0), (other, 10)):
        told = ["monitor", "--config", config_file, "--current", current, "--reference", reference, "--json", "--workdir", tmp_path]
        assert cli.run([str(word) for word in told]) == code
        said = json.loads(capsys.readouterr().out)
        assert said["exit_code"] == code
        assert (tmp_path / said["written"][-1]).is_file()
    assert cli.run(["monitor", "--config", str(config_file), "--current", str(tmp_path / "none.csv"), "--reference", str(reference)]) == 4


@pytest.fixture
def here(
    small_copy: Path, small_config: dict[str, Any], small_table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """A service that answered for three hours, until just now; not synced."""
    monkeypatch.setenv("SPOREPRINT_WORKDIR", str(small_copy))
    monkeypatch.setenv("SPOREPRINT_CONFIG", str(write_config(small_config, tmp_path / "config.yaml")))
    frame = pl.read_csv(small_table, separator=";", infer_schema=False).sample(180, seed=0)
    with service(small_copy, small_config) as found:
        write(found.engine, answered(small_copy, frame, first_us=time.time_ns() // 1000 - 180 * MINUTE_US, step_us=MINUTE_US))
        yield found


def test_what_the_service_answered(here: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["monitor", "--json", "--last", "2h"]) == 11
    assert "sporeprint warehouse sync" in json.loads(capsys.readouterr().out)["not_computed"][0]
    code = cli.run(["monitor", "--sync", "--rows", "150", "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["exit_code"] == code
    assert said["drift"]["rows"][1] == 150
    assert cli.run(["monitor", "--rows", "150", "--where", "season=a"]) in {0, 10, 11}
    assert "Performance" in capsys.readouterr().out


@pytest.fixture
def young(small_copy: Path, small_config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """A service that has answered nothing yet."""
    monkeypatch.setenv("SPOREPRINT_WORKDIR", str(small_copy))
    monkeypatch.setenv("SPOREPRINT_CONFIG", str(write_config(small_config, tmp_path / "config.yaml")))
    with service(small_copy, small_config) as found:
        yield found


def ask(here: Service, table: Path, rows: int, *, minutes_ago: int) -> None:
    """Answers, six seconds apart; of the first one the outcome."""
    frame = pl.read_csv(table, separator=";", infer_schema=False).sample(rows, seed=0)
    said = answered(here.root, frame, first_us=time.time_ns() // 1000 - minutes_ago * MINUTE_US, step_us=MINUTE_US // 10)
    write(here.engine, said)
    write(here.engine, outcomes(said, frame["class"].head(1), delay_us=1), tables.outcome)


@pytest.mark.parametrize(("rows", "minutes_ago"), [(2, 10), (2, 90), (10, 90), (50, 90)])
def test_too_few_rows_of_a_young_service_are_no_fault(
    young: Service, small_table: Path, capsys: pytest.CaptureFixture[str], rows: int, minutes_ago: int
) -> None:
    ask(young, small_table, rows, minutes_ago=minutes_ago)
    for words in (["--last", "24h"], ["--rows", "1000"], ["--last", "24h", "--where", "season=a"]):
        assert cli.run(["monitor", "--sync", "--json", *words]) == 0, words
        said = json.loads(capsys.readouterr().out)
        assert (said["alarms"], said["not_computed"]) == ([], [])
        few = [note for note in said["notes"] if "too few to compare anything yet" in note or "nothing to compare yet" in note]
        assert bool(few) == (said["drift"]["rows"][1] < 30), words
    assert cli.run(["alerts", "list", "--all", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"alerts": [], "not_delivered": []}


def test_a_service_that_fell_silent_is_another_thing(young: Service, small_table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(young, small_table, 2, minutes_ago=30 * 60)
    ask(young, small_table, 3, minutes_ago=90)
    assert cli.run(["monitor", "--sync", "--json", "--last", "24h"]) == 11
    assert "3 rows; at least 30 are needed" in capsys.readouterr().out


def test_a_database_that_cannot_be_synced_is_not_fine(here: Service, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["monitor", "--sync", "--rows", "100", "-q"]) in {0, 10, 11}
    capsys.readouterr()
    here.engine.dispose()
    (here.root / "data/sporeprint.db").write_text("no database", encoding="utf-8")
    assert cli.run(["monitor", "--sync", "--rows", "100", "--json"]) in {10, 11}
    said = json.loads(capsys.readouterr().out)
    assert any(reason.startswith("sync: ") and "damaged" in reason for reason in said["not_computed"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--current", "x.csv", "--last", "1h"], "--last is about what the service answered"),
        (["--reference", "x.csv"], "--reference belongs to --current"),
        (["--every", "1h"], "--every belongs to --watch"),
        (["--watch", "--from", "2026-01-01T00:00Z"], "--from is one window"),
        (["--from", "2026-01-01T00:00"], "without a time zone"),
        (["--last", "1h", "--rows", "5"], "give one"),
        (["--watch", "--last", "1h", "--rows", "5"], "give one"),
        (["--watch", "--every", "soon"], "--every is 'soon'"),
    ],
)
def test_what_makes_no_sense(words: list[str], said: str, config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["monitor", "--config", str(config_file), "--workdir", str(tmp_path), *words]) == 2
    assert said in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_watching_goes_on_through_what_fails_and_ends_when_it_is_told(here: Service, number: signal.Signals) -> None:
    manifest = here.root / "data/warehouse/manifest.json"
    latest = here.root / "models/metrics/monitoring/latest.json"
    command = [sys.executable, "-m", "sporeprint", "monitor", "--watch", "--every", "1s", "--rows", "100", "-q"]
    process = Warm(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        _until(lambda: latest.exists() and "sporeprint warehouse" not in latest.read_text() and manifest.exists())
        assert json.loads(latest.read_text())["drift"]["rows"][1] == 100
        good = manifest.read_bytes()
        manifest.write_text("{")
        _until(lambda: json.loads(latest.read_text())["status"] == "not computed" and "is damaged" in latest.read_text())
        manifest.write_bytes(good)
        _until(lambda: "is damaged" not in latest.read_text())
        registry = here.root / "models/registry"
        registry.rename(registry.with_name("away"))
        _until(lambda: json.loads(latest.read_text())["status"] == "not computed" and "no version is in production" in latest.read_text())
        registry.with_name("away").rename(registry)
        _until(lambda: "no version is in production" not in latest.read_text())
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, err) == (0, "")
    assert out.count("NOT ALL WAS COMPUTED") >= 1
    assert "stopped after evaluations" in out


def _until(met: Any, seconds: float = 60) -> None:
    stop = threading.Event()
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until
        stop.wait(0.05)

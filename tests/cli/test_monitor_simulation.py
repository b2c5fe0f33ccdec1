"""`sporeprint simulate-monitor`: a table, a picture, and options that cannot be."""

import json
from pathlib import Path

import pytest

from sporeprint.cli.app import run

SMALL = [
    "simulate-monitor",
    "--rows",
    "60",
    "--reference-rows",
    "300",
    "--features",
    "2",
    "--days",
    "2",
    "--months",
    "1",
    "--history",
    "30",
]


def test_months_are_counted_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "months.svg"
    assert run([*SMALL, "--shift", "3", "--out", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["days_learned"]["alarm_within_2_days"] == said["days_alike"]["alarm_within_2_days"] == 1.0
    assert out.read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize(("days", "heads"), [("1", ["within 1 day"]), ("7", ["within 2 days", "within 7 days"])])
def test_the_table_has_the_spans_that_a_month_has(days: str, heads: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, "--days", days]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "alarms a month" in line)
    assert [part.strip() for part in line.split("  ") if "within" in part] == heads


@pytest.mark.parametrize(
    ("option", "message"), [("--rows", "--rows is 3; expected at least 30"), ("--months", "--months is 0; expected at least 1")]
)
def test_what_cannot_be_is_refused(option: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*SMALL, option, message.split(" is ")[1].partition(";")[0]]) == 2
    assert message in capsys.readouterr().err

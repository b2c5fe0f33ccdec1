"""`sporeprint simulate-threshold`: the two ways of counting side by side, and what is out of range refused."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sporeprint.cli import app as cli
from sporeprint.errors import UsageError

ARGUMENTS = ["simulate-threshold", "--rows", "500", "--copies", "5", "--alpha", "0.05", "--runs", "100"]


def test_both_counts_side_by_side(tmp_path: Path) -> None:
    found = CliRunner().invoke(cli.app, ARGUMENTS)
    assert found.exit_code == 0, found.output
    assert "every unit once, as etl does" in found.output
    out = tmp_path / "broken.svg"
    values = json.loads(CliRunner().invoke(cli.app, [*ARGUMENTS, "--out", str(out), "--json"]).stdout)
    assert out.read_text(encoding="utf-8").startswith("<svg")
    assert values["broken_by_units"] < 15 < values["broken_by_rows"]


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(UsageError, match=r"^--copies: expected a number from 1 to 10, got 20$"):
        CliRunner().invoke(cli.app, ["simulate-threshold", "--rows", "10", "--copies", "20"], catch_exceptions=False)
    with pytest.raises(UsageError, match=r"^--alpha: expected a number above 0 and below 0.5, got 0.9$"):
        CliRunner().invoke(cli.app, ["simulate-threshold", "--alpha", "0.9"], catch_exceptions=False)

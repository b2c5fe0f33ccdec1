"""`sporeprint init`, and `etl` of a table without a configuration."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sporeprint.cli import app as cli
from table_cases import csv, loans

Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Called:
    """The program in this process: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return call


def test_init_writes_a_configuration_and_says_what_it_saw(called: Called, tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_text(csv(loans()), encoding="utf-8")
    code, out, _ = called("init", "loans.csv")
    assert code == 0
    assert "late: 0 (not late), 1 (late); positive 1" in " ".join(out.split())
    assert called("config", "check")[0] == 0
    before = (tmp_path / "config/config.yaml").read_bytes()
    code, _, err = called("init", "loans.csv")
    assert (code, "config.yaml exists, and is not replaced" in " ".join(err.split())) == (2, True)
    assert (tmp_path / "config/config.yaml").read_bytes() == before
    code, out, _ = called("init", "loans.csv", "--out", "other.yaml", "--json")
    assert (code, json.loads(out)["target"]["column"], (tmp_path / "other.yaml").exists()) == (0, "late", True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.csv",), "no such file"),
        (("loans.csv", "--target", "lat"), "no column 'lat' (did you mean 'late'?)"),
        (("loans.csv", "--target", "city"), "say which of them are the positive class"),
        (("loans.csv", "--target", "city", "--positive", "Oslo"), "'Oslo' is no value of 'city'"),
    ],
)
def test_what_cannot_be_known_ends_without_a_file(arguments: tuple[str, ...], message: str, called: Called, tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_text(csv(loans()), encoding="utf-8")
    code, _, err = called("init", *arguments, "--yes")
    assert code != 0
    assert message in " ".join(err.split())
    assert "Traceback" not in err
    assert not (tmp_path / "config").exists()


def test_etl_of_a_table_without_a_configuration(called: Called, tmp_path: Path) -> None:
    (tmp_path / "loans.csv").write_text(csv(loans()), encoding="utf-8")
    code, out, err = called("etl", "--source", "loans.csv", "--target", "late", "--json", "--set", "runtime.threads=1")
    assert code == 0, err
    assert json.loads(out)["production"] in ("xgboost/v1", "logistic_regression/v1")
    code, _, err = called("etl", "--source", "loans.csv", "--target", "late")
    assert (code, "leave --target out to use it" in " ".join(err.split())) == (2, True)
    code, _, err = called("etl", "--target", "late")
    assert (code, "--target belongs to --source" in " ".join(err.split())) == (2, True)

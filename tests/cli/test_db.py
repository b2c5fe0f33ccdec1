"""`sporeprint db` on real databases, through the command line."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, insert

from mariadb_server import ADMIN, ADMIN_PASSWORD, MariaDB
from sporeprint.cli import app as cli
from sporeprint.common.timestamps import DAY_US
from sporeprint.storage.engine import connect, writing
from sporeprint.storage.oltp import migrate
from sporeprint.storage.oltp.tables import prediction

Called = Callable[..., tuple[int, Any, str]]
HEAD = migrate.revisions()[-1].id


@pytest.fixture(params=["sqlite", "mariadb"])
def called(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_file: Path
) -> Called:
    """`sporeprint db ... --json` in this process, on each kind of database: exit code, what it printed, stderr."""
    if request.param == "mariadb":
        server: MariaDB = request.getfixturevalue("mariadb")
        monkeypatch.setenv("SPOREPRINT_OLTP_URL", f"mysql+pymysql://{ADMIN}@127.0.0.1:{server.port}/{server.create_database()}")
        (tmp_path / "password").write_text(f"{ADMIN_PASSWORD}\n")
        monkeypatch.setenv("SPOREPRINT_OLTP_PASSWORD_FILE", str(tmp_path / "password"))

    def call(*arguments: str) -> tuple[int, Any, str]:
        code = cli.run(["db", *arguments, "--json", "--workdir", str(tmp_path), "--config", str(config_file)])
        out, err = capsys.readouterr()
        assert ADMIN_PASSWORD not in out + err
        return code, json.loads(out), err

    return call


def test_status_upgrade_downgrade(called: Called) -> None:
    code, found, _ = called("status")
    assert (code, found["state"], found["revision"], found["expected"]) == (0, "empty", None, HEAD)
    assert [each["revision"] for each in found["pending"]][-1] == HEAD
    code, found, _ = called("upgrade")
    assert (code, found["state"], found["revision"], found["pending"]) == (0, "current", HEAD, [])
    code, found, _ = called("downgrade", "0001", "--yes")
    assert (code, found["state"], found["revision"]) == (0, "behind", "0001")
    code, found, _ = called("upgrade", "0002")
    assert (code, found["revision"]) == (0, "0002")


def test_a_downgrade_says_what_goes_and_wants_a_yes(called: Called) -> None:
    called("upgrade")
    code, found, _ = called("downgrade", "0001")
    assert code == 2
    assert f"this deletes tables and columns with all that is in them ({HEAD}, " in found["error"]["message"]
    assert "0005, What A/B tests have come to" in found["error"]["message"]
    assert "make a backup, then add --yes" in found["error"]["message"]
    assert called("status")[1]["revision"] == HEAD


def test_a_revision_that_is_not_there(called: Called) -> None:
    code, found, _ = called("upgrade", "1")
    assert code == 2
    assert "no such revision: '1'" in found["error"]["message"]


def test_prune_wants_a_schema(called: Called) -> None:
    code, found, _ = called("prune", "--older-than", "90d")
    assert code == 6
    assert "run: sporeprint db upgrade" in found["error"]["message"]


def test_prune(called: Called, tmp_path: Path) -> None:
    database = called("upgrade")[1]["database"]
    row = {
        "model": "m",
        "version": 1,
        "prediction": "e",
        "verdict": "edible",
        "unseen": "[]",
        "features": "{}",
        "latency_us": 9,
        "worker": "w",
    }
    now = time.time_ns() // 1000
    engine = connect(address(database))
    with writing(engine) as connection:
        made = [{**row, "prediction_id": str(age), "created_us": now - age * DAY_US, "recorded_us": now} for age in (1, 60, 100, 200)]
        connection.execute(insert(prediction), made)
    engine.dispose()
    code, found, _ = called("prune", "--older-than", "14w", "--dry-run", "--unsynced")
    assert (code, found["predictions"], found["dry_run"]) == (0, 2, True)
    code, found, _ = called("prune", "--older-than", "14w")
    assert (code, found["predictions"], found["kept_for_the_warehouse"]) == (0, 0, 2), "no warehouse has read them"
    code, found, _ = called("prune", "--older-than", "14w", "--unsynced")
    assert (code, found["predictions"], found["dry_run"]) == (0, 2, False)
    code, found, _ = called("prune", "--older-than", "24h")
    assert (code, "storage.prune.min_days: 30" in found["error"]["message"]) == (2, True)
    code, found, _ = called("prune", "--older-than", "24h", "--set", "storage.prune.min_days=1", "--unsynced")
    assert (code, found["predictions"]) == (0, 2)


def address(shown: str) -> URL:
    """An address, from as it is shown."""
    if not shown.startswith("mysql"):
        return URL.create("sqlite", database=shown)
    from sqlalchemy import make_url

    return make_url(shown).set(password=ADMIN_PASSWORD)


@pytest.mark.parametrize("age", ["90", "90 d", "-90d", "9e9d", "d", "3m", "1000000000d"])
def test_what_is_no_age_is_refused(age: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["db", "prune", f"--older-than={age}"]) == 2
    assert f"{age!r} is no age; write it as in 90d, 12w or 36h" in capsys.readouterr().err


def test_a_server_that_is_not_there_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_file: Path
) -> None:
    monkeypatch.setenv("SPOREPRINT_OLTP_URL", "mysql+pymysql://user:sw0rdfish@127.0.0.1:1/d")
    assert cli.run(["db", "status", "--workdir", str(tmp_path), "--config", str(config_file)]) == 75
    said = capsys.readouterr().err
    assert "mysql+pymysql://user:***@127.0.0.1:1/d cannot answer now" in said
    assert "sw0rdfish" not in said


def test_no_password_even_in_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config_file: Path
) -> None:
    monkeypatch.setenv("SPOREPRINT_OLTP_URL", "mysql+pymysql://user:sw0rdfish@127.0.0.1:1/d")
    assert cli.run(["db", "upgrade", "--verbose", "--workdir", str(tmp_path), "--config", str(config_file)]) == 75
    found = capsys.readouterr()
    assert "Traceback" in found.err
    assert "sw0rdfish" not in found.err + found.out


def test_people_read_where_it_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str], config_file: Path) -> None:
    assert cli.run(["db", "upgrade", "--workdir", str(tmp_path), "--config", str(config_file)]) == 0
    said = capsys.readouterr().out
    assert "Schema changed" in said
    assert "up to date" in said


@pytest.mark.parametrize(
    "asked", ["--set=storage.oltp=mysql+pymysql://user:sw0rdfish@h/d", "--set=storage.olap=mysql+pymysql://user:sw0rdfish@h/d"]
)
def test_a_password_on_the_command_line_is_refused(
    asked: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], config_file: Path
) -> None:
    assert cli.run(["db", "status", asked, "--workdir", str(tmp_path), "--config", str(config_file)]) == 3
    found = capsys.readouterr()
    assert "a password stands in the address" in found.err
    assert "sw0rdfish" not in found.err + found.out

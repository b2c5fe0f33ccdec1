"""Runs in the database: one row whatever becomes of a run, and no run that stops because its database is away."""

import logging
from pathlib import Path
from typing import Any

import pytest

from sporeprint import settings
from sporeprint.errors import DataError
from sporeprint.pipelines.run_context import open_run
from sporeprint.pipelines.run_record import MOST_TEXT, RunRecord
from sporeprint.settings import Settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import pipeline_runs
from sporeprint.storage.oltp.pipeline_runs import DONE, FAILED, RUNNING, PipelineRun


@pytest.fixture
def small(small_config: dict[str, Any]) -> Settings:
    return settings.parse(small_config)


def known(small: Settings, root: Path) -> tuple[PipelineRun, ...]:
    engine = connect(urls.oltp(small.storage, root))
    try:
        return pipeline_runs.listed(engine)
    finally:
        engine.dispose()


def test_a_run_is_there_while_it_goes_on_and_afterwards(small: Settings, tmp_path: Path) -> None:
    with open_run(small, tmp_path, None, "train") as run:
        (begun,) = known(small, tmp_path)
        assert (begun.run_id, begun.command, begun.status, begun.finished_us) == (run.run_id, "train", RUNNING, None)
        with run.log.step("fit"):
            pass
        run.record.details["trained"] = {"a": 1.0}
    (done,) = known(small, tmp_path)
    assert (done.status, done.exit_code, done.details["trained"]) == (DONE, 0, {"a": 1.0})
    assert [step["step"] for step in done.details["steps"]] == ["fit"]
    assert done.finished_us is not None
    assert done.finished_us >= done.started_us
    assert str(tmp_path) not in str(done.details)


ERRORS = [(DataError("no rows in ROOT/x.csv"), 4), (ValueError("odd"), 1), (KeyboardInterrupt(), 130), (DataError("x" * 9_000), 4)]


@pytest.mark.parametrize(("error", "code"), ERRORS)
def test_a_run_that_fails_says_why_and_its_error_goes_through(small: Settings, tmp_path: Path, error: BaseException, code: int) -> None:
    error.args = tuple(str(each).replace("ROOT", str(tmp_path)) for each in error.args)
    with pytest.raises(type(error)), open_run(small, tmp_path, None, "load"):
        raise error
    (failed,) = known(small, tmp_path)
    assert (failed.status, failed.exit_code) == (FAILED, code)
    assert 0 < len(failed.details["error"]) <= MOST_TEXT
    assert str(tmp_path) not in failed.details["error"]


def test_a_database_that_is_away_stops_no_run_and_is_told_once(
    small_config: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    small_config["storage"]["oltp"] = "mysql+pymysql://nobody@127.0.0.1:1/none"
    small = settings.parse(small_config)
    with caplog.at_level(logging.WARNING, "sporeprint"), open_run(small, tmp_path, None, "load") as run:
        pass
    (told,) = [each.message for each in caplog.records]
    assert told.startswith(f"the run {run.run_id} is not in the database, but in logs/: ")


def test_what_was_measured_is_rows(small: Settings, tmp_path: Path) -> None:
    record = RunRecord(small, tmp_path, "r", "evaluate")
    seen = {"rows": 9, "accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}, "kappa": 0.25, "text": "x"}
    record.add_metrics({"run_id": "r", "created": "2026-01-01T00:00:00+00:00", "simulated": False, "models": {"a": {"seen": seen}}})
    assert [(each.model, each.part, each.metric, each.value, each.low, each.rows) for each in record.metrics if each.metric != "rows"] == [
        ("a", "seen", "accuracy", 0.5, 0.4, 9),
        ("a", "seen", "kappa", 0.25, None, 9),
    ]

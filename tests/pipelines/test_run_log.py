"""Every step of a run timed and kept, and its error let through."""

import json
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sporeprint.common.progress import Progress, SilentProgress, SilentSteps
from sporeprint.errors import DataError, StorageError
from sporeprint.pipelines.run_log import RunLog


def entries(log: RunLog) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (log.folder / f"{log.run_id}.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog("run-1", tmp_path / "logs", SilentSteps())


def test_a_step_that_is_done_is_kept(log: RunLog) -> None:
    with log.step("extract"):
        pass
    with log.step("transform"):
        pass
    assert [(entry["step"], entry["outcome"], entry["run_id"]) for entry in entries(log)] == [
        ("extract", "done", "run-1"),
        ("transform", "done", "run-1"),
    ]
    assert [taken.step for taken in log.times] == ["extract", "transform"]
    assert set(entries(log)[0]) == {"time", "run_id", "outcome", "step", "wall_s", "cpu_s", "peak_mib"}
    assert abs(datetime.now(UTC) - datetime.fromisoformat(entries(log)[0]["time"])).total_seconds() < 60


def test_wall_and_processor_time_are_told_apart(log: RunLog) -> None:
    with log.step("wait"):
        time.sleep(0.5)
    with log.step("work"):
        until = time.process_time() + 0.05
        while time.process_time() < until:
            pass
    waited, worked = log.times
    assert waited.wall_s >= 0.5
    assert waited.cpu_s < 0.5  # not 0: the garbage of thousands of tests may be collected meanwhile
    assert worked.cpu_s >= 0.05
    assert worked.peak_mib >= waited.peak_mib > 1


def test_a_step_that_fails_is_kept_and_its_error_goes_through(log: RunLog) -> None:
    with pytest.raises(DataError, match="no rows"), log.step("transform"):
        raise DataError("no rows")
    assert [(entry["step"], entry["outcome"]) for entry in entries(log)] == [("transform", "failed")]
    assert len(log.times) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_whatever_ends_a_step_goes_through(log: RunLog, error: type[BaseException]) -> None:
    with pytest.raises(error), log.step("train"):
        raise error
    assert entries(log)[0]["outcome"] == "failed"


class Noting:
    """Steps that note how they are entered and left."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        self.seen.append(f"enter {name}")
        try:
            yield SilentProgress()
        except DataError as error:
            self.seen.append(f"failed {name}: {error}")
            raise
        self.seen.append(f"left {name}")


def test_a_step_is_shown_while_it_runs(tmp_path: Path) -> None:
    steps = Noting()
    log = RunLog("run-1", tmp_path, steps)
    with log.step("extract") as progress:
        assert steps.seen == ["enter extract"]
        progress.advance(3)
    with pytest.raises(DataError), log.step("load"):
        raise DataError("nothing is staged")
    assert steps.seen == ["enter extract", "left extract", "enter load", "failed load: nothing is staged"]


def test_two_runs_have_a_file_each_and_a_resumed_run_goes_on_in_its_own(tmp_path: Path) -> None:
    for run_id in ("run-1", "run-2", "run-1"):
        with RunLog(run_id, tmp_path, SilentSteps()).step("extract"):
            pass
    assert {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in tmp_path.iterdir()} == {
        "run-1.jsonl": 2,
        "run-2.jsonl": 1,
    }


def test_the_log_of_the_program_says_it_too(log: RunLog, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="sporeprint"), log.step("extract"):
        pass
    assert [record.getMessage().partition(" in ")[0] for record in caplog.records] == ["extract done"]


# --- where nothing can be written ------------------------------------------------------------------------------------


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be", encoding="utf-8")
    log = RunLog("run-1", tmp_path / "logs", SilentSteps())
    with pytest.raises(StorageError, match=r"^cannot write the log folder .*logs: File exists$"), log.step("extract"):
        pass
    assert [taken.step for taken in log.times] == ["extract"]


def test_a_log_that_cannot_be_written_does_not_hide_why_the_step_failed(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where a folder should be", encoding="utf-8")
    log = RunLog("run-1", tmp_path / "logs", SilentSteps())
    with pytest.raises(DataError, match="no rows"), log.step("transform"):
        raise DataError("no rows")

"""Every step leaves a line, whether it ended well or not."""

import json
from pathlib import Path

import pytest

from sporeprint.errors import DataError, StorageError
from sporeprint.runlog import RunLog
from sporeprint.table import SilentSteps


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "run.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_line_for_each_step_with_its_time_and_memory(tmp_path: Path) -> None:
    log = RunLog("run", tmp_path / "logs", SilentSteps())
    for name in ("extract", "transform"):
        with log.step(name) as progress:
            progress.advance(1)
    found = lines(tmp_path / "logs")
    assert [(line["step"], line["outcome"], line["run_id"]) for line in found] == [("extract", "done", "run"), ("transform", "done", "run")]
    assert all(float(str(line["wall_s"])) >= 0 and float(str(line["peak_mib"])) > 1 for line in found)
    assert [time.step for time in log.times] == ["extract", "transform"]


def test_a_step_that_fails_is_logged_and_its_error_goes_on(tmp_path: Path) -> None:
    log = RunLog("run", tmp_path / "logs", SilentSteps())
    with pytest.raises(DataError, match="no rows"), log.step("transform"):
        raise DataError("no rows")
    assert [line["outcome"] for line in lines(tmp_path / "logs")] == ["failed"]


def test_a_log_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be", encoding="utf-8")
    log = RunLog("run", tmp_path / "logs", SilentSteps())
    with pytest.raises(StorageError, match="cannot write the log folder"), log.step("extract"):
        pass

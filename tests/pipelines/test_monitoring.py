"""The monitor over files: a model's validation rows, or another table, against new rows; what it writes and remembers."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sporeprint import settings
from sporeprint.errors import RegistryError, UsageError
from sporeprint.pipelines.monitoring import monitor, watch, with_follow_up
from sporeprint.pipelines.monitoring_files import MonitoringRun

Run = Callable[..., MonitoringRun]
DAY = 86_400


@pytest.fixture
def frame(small_table: Path) -> pl.DataFrame:
    return pl.read_csv(small_table, separator=";", infer_schema=False).sample(600, seed=5)


@pytest.fixture
def run(small_copy: Path, small_config: dict[str, Any], tmp_path: Path) -> Run:
    def evaluate(table: pl.DataFrame | Path, *, day: float = 1, root: Path = small_copy, **given: Any) -> MonitoringRun:
        if isinstance(table, pl.DataFrame):
            path = tmp_path / "current.csv"
            table.write_csv(path, separator=";")
            table = path
        now = datetime.fromtimestamp(1.7e9 + day * DAY, UTC)
        return monitor(settings.parse(small_config), root, table, now=lambda: now, **given)

    return evaluate


def test_rows_like_those_the_model_was_validated_on(run: Run, frame: pl.DataFrame, small_copy: Path) -> None:
    found = run(frame)
    evaluation = found.evaluation
    assert evaluation.alarms == ()
    validated = pl.read_parquet(small_copy / "data/model_input/validation.parquet").filter(pl.col("_part").cast(pl.String) == "threshold")
    assert evaluation.drift.rows == (validated.height, 600)
    assert evaluation.performance is not None
    assert evaluation.performance.labelled == 600
    assert evaluation.expected is not None
    assert abs(evaluation.expected.likelier.value - evaluation.performance.likelier.value) < 0.05
    assert {"probability", "novelty_p", "verdict"} <= {column.column for column in evaluation.drift.columns}
    assert sum(item.importance or 0 for item in evaluation.ranking) == pytest.approx(1)
    folder = small_copy / "models/metrics/monitoring"
    assert {path.name for path in folder.iterdir()} == {
        *("latest.html", "latest.json", "state.json", "importance.json"),
        *(Path(name).with_suffix(ending).name for name in found.written[:1] for ending in (".html", ".json")),
    }
    assert json.loads((folder / "latest.json").read_text())["status"] == evaluation.status.value
    assert (folder / "latest.html").stat().st_size < 2_000_000


def test_a_shift_is_an_alarm_until_it_is_gone(run: Run, frame: pl.DataFrame) -> None:
    run(frame, day=0)
    moved = frame.with_columns((pl.col("stem-height").cast(pl.Float64) * 1.6).cast(pl.String))
    first, second = run(moved, day=1), run(moved.reverse(), day=2)
    assert first.exit_code == second.exit_code == 10
    alarm = next(finding for finding in second.evaluation.judgement.alarms if finding.column == "stem-height")
    assert alarm.evaluations == 2
    assert alarm.since_s == 1.7e9 + DAY
    back = run(frame, day=3)
    assert any("stem-height: values: the alarm is off again" in note for note in back.evaluation.notes)
    assert any("evaluated before" in note for note in back.evaluation.notes)


def test_outcomes_of_a_window_count_once(run: Run, frame: pl.DataFrame, small_copy: Path) -> None:
    run(frame, day=0)
    once = (small_copy / "models/metrics/monitoring/state.json").read_text()
    run(frame, day=0)
    stream = json.loads(once).popitem()[1]
    assert json.loads((small_copy / "models/metrics/monitoring/state.json").read_text()).popitem()[1]["outcomes"] == stream["outcomes"]


def test_two_tables_without_a_model(run: Run, frame: pl.DataFrame, tmp_path: Path) -> None:
    reference = tmp_path / "reference.parquet"
    frame.write_parquet(reference)
    fresh = frame.with_columns(pl.when(pl.int_range(pl.len()) < 60).then(pl.lit("zz")).otherwise(pl.col("season")).alias("season"))
    found = run(fresh, root=tmp_path / "nowhere", reference=reference)
    assert found.exit_code == 10
    assert any("of the values are new: 'zz'" in alarm for alarm in found.evaluation.alarms)
    assert found.evaluation.model is None
    with pytest.raises(RegistryError, match="name a table with --reference"):
        run(frame, root=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="the same file"):
        run(reference, reference=reference)


def test_answers_that_the_file_has_are_taken(run: Run, frame: pl.DataFrame) -> None:
    answered = frame.with_columns(probability=pl.lit("0.999"), verdict=pl.lit("poisonous"), novelty_p=pl.lit("nan"))
    evaluation = run(answered).evaluation
    assert evaluation.expected is not None
    assert evaluation.expected.accuracy.value == pytest.approx(0.999)
    assert any("verdict" in alarm for alarm in evaluation.alarms)
    assert any(text.startswith("novelty_p, values: the current table has no value") for text in evaluation.not_computed)


def test_bad_tables_are_said_and_the_rest_is_computed(run: Run, frame: pl.DataFrame) -> None:
    lacking = run(frame.drop("cap-shape", "class"))
    assert lacking.exit_code == 11
    assert any(text.startswith("answers: the model needs cap-shape") for text in lacking.evaluation.not_computed)
    assert any(column.checks for column in lacking.evaluation.drift.columns)
    assert lacking.evaluation.performance is None
    empty = run(frame.clear())
    assert (empty.exit_code, empty.evaluation.not_computed[0]) == (11, "the current table has no rows")
    assert run(frame.head(1)).exit_code == 11
    broken = run(frame.with_columns(pl.lit("inf").alias("stem-width"), pl.lit("?").alias("class")))
    assert broken.exit_code == 10
    assert any("600 outcomes are neither class" in note for note in broken.evaluation.notes)
    assert any("600 rows without a probability" in note for note in broken.evaluation.notes)
    one = run(frame.filter(pl.col("class") == "p"))
    assert any("all outcomes are of one class" in text for text in one.evaluation.not_computed)


def test_a_folder_that_cannot_be_written_is_said_and_the_rest_is_shown(run: Run, frame: pl.DataFrame, small_copy: Path) -> None:
    (small_copy / "models/metrics/monitoring").write_text("in the way")
    found = run(frame)
    assert found.unwritten is not None
    assert found.exit_code == (6 if found.evaluation.exit_code == 0 else found.evaluation.exit_code)
    assert any("NOT WRITTEN" in row for table in found.tables() for row in table.rows)


def test_a_damaged_memory_is_said(run: Run, frame: pl.DataFrame, small_copy: Path) -> None:
    run(frame)
    (small_copy / "models/metrics/monitoring/state.json").write_text("{")
    found = run(frame, day=2)
    assert any("this one begins anew" in note for note in found.evaluation.notes)


def test_what_a_model_uses_is_found_once(run: Run, frame: pl.DataFrame, small_copy: Path) -> None:
    first = run(frame).evaluation.ranking
    path = small_copy / "models/metrics/monitoring/importance.json"
    kept = json.loads(path.read_text())
    key = next(iter(kept))
    assert kept[key] == pytest.approx({item.column: item.importance for item in first if item.importance is not None})
    path.write_text(json.dumps({key: dict.fromkeys(kept[key], 0.05)}))
    assert {item.importance for item in run(frame.head(300)).evaluation.ranking} == {0.05, None}
    for damaged in ("{", "[]", '{"a": 1}'):
        path.write_text(damaged)
        assert run(frame.head(300)).evaluation.ranking[0].weight >= 0
        assert json.loads(path.read_text())[key] == kept[key]


def test_old_reports_go(run: Run, frame: pl.DataFrame, small_copy: Path, small_config: dict[str, Any]) -> None:
    small_config["monitoring"] = {"keep_reports": 1}
    for day in range(3):
        run(frame, day=day)
    assert len(list((small_copy / "models/metrics/monitoring").glob("report_*"))) == 2


def test_what_follows_is_said_and_costs_no_evaluation(run: Run, frame: pl.DataFrame) -> None:
    made = run(frame)

    def broken(_: MonitoringRun) -> list[str]:
        raise ZeroDivisionError

    assert with_follow_up(made, lambda _: ["told somebody"]).to_dict()["actions"] == ["told somebody"]
    assert with_follow_up(made, broken).actions == ("FAILED: ZeroDivisionError()",)
    shown: list[MonitoringRun] = []
    pauses = iter([True, True, False])
    assert watch(lambda: made, lambda: next(pauses), follow_up=broken, show=shown.append) == 3
    assert [item.actions for item in shown] == [("FAILED: ZeroDivisionError()",)] * 3


def test_a_clock_in_the_future_is_said(run: Run, frame: pl.DataFrame) -> None:
    run(frame, day=1000)
    assert any("a clock was wrong" in note for note in run(frame.head(500), day=1).evaluation.notes)

"""Runs in both databases: begun, ended once however often it is written, and those that were killed."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from sporeprint.storage.oltp import pipeline_runs
from sporeprint.storage.oltp.pipeline_runs import DONE, FAILED, RUNNING, PipelineRun, RunMetric
from sporeprint.storage.oltp.tables import metadata

METRICS = (RunMetric("a", "seen", "accuracy", 0.9, 0.8, 0.95, 100), RunMetric("a", "seen", "roc_auc", None, rows=100))


@pytest.fixture
def engine(empty: Engine) -> Engine:
    metadata.create_all(empty)
    return empty


def run(number: int, **values: object) -> PipelineRun:
    about = PipelineRun(f"2026-{number}", "etl", number * 10, details={"place": "here", "source": "\N{MUSHROOM}"})
    return replace(about, **values)  # type: ignore[arg-type]


def done(number: int) -> PipelineRun:
    return run(number, status=DONE, finished_us=number * 10 + 5, exit_code=0, rows=7, data_sha256="f" * 64)


def test_from_begin_to_end_and_again(engine: Engine) -> None:
    pipeline_runs.begin(engine, run(1))
    assert pipeline_runs.get(engine, "2026-1") == run(1)
    for _ in range(2):  # a commit whose connection was lost is tried again
        pipeline_runs.finish(engine, done(1), METRICS)
        pipeline_runs.begin(engine, run(1))
    assert pipeline_runs.listed(engine) == (done(1),)
    assert pipeline_runs.metrics(engine, "2026-1") == METRICS


def test_one_whose_begin_could_not_be_written(engine: Engine) -> None:
    pipeline_runs.finish(engine, done(2), ())
    assert pipeline_runs.get(engine, "2026-2") == done(2)
    assert (pipeline_runs.get(engine, "none"), pipeline_runs.metrics(engine, "none")) == (None, ())


def test_a_run_that_was_killed_does_not_go_on_for_ever(engine: Engine) -> None:
    elsewhere = run(1, details={"place": "there"})
    for each in (elsewhere, run(2), run(3, details={})):
        pipeline_runs.begin(engine, each)
    pipeline_runs.begin(engine, run(4))
    known = {each.run_id: (each.status, each.details.get("error", "")[:22]) for each in pipeline_runs.listed(engine)}
    assert known == {
        "2026-4": (RUNNING, ""),
        "2026-3": (RUNNING, ""),
        "2026-2": (FAILED, "it ended without a wor"),
        "2026-1": (RUNNING, ""),
    }


def test_pages_and_filters(engine: Engine) -> None:
    for number in range(1, 6):
        pipeline_runs.finish(engine, replace(done(number), command="etl" if number % 2 else "monitor"), ())
    assert [each.run_id for each in pipeline_runs.listed(engine, limit=2)] == ["2026-5", "2026-4"]
    assert [each.run_id for each in pipeline_runs.listed(engine, limit=2, before="2026-4")] == ["2026-3", "2026-2"]
    assert [each.run_id for each in pipeline_runs.listed(engine, command="monitor")] == ["2026-4", "2026-2"]
    assert pipeline_runs.listed(engine, status=FAILED) == ()

"""The background job: one process at a time, and the next one goes on."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sporeprint import settings
from sporeprint.common.locks import run_lock
from sporeprint.errors import StorageUnavailableError
from sporeprint.model_serving.runtime.ab_evaluation import LEASE, BackgroundEvaluation
from sporeprint.model_serving.runtime.metrics import Metrics
from sporeprint.pipelines.ab_test_lifecycle import ExperimentService, experiment_service
from sporeprint.registry.registry import Registry
from sporeprint.storage.oltp import ab_interim_analyses, checkpoints


@pytest.fixture
def experiments(small_config: dict[str, Any], small_copy: Path) -> Iterator[ExperimentService]:
    with experiment_service(settings.parse({**small_config, "ab_testing": {"evaluate_every_s": 0.1}}), small_copy) as found:
        yield found


def test_only_one_process_looks(experiments: ExperimentService) -> None:
    test = experiments.create({"name": "t", "model_a": "xgboost", "model_b": "decision_tree"}, actor="ada")
    assert checkpoints.lease(experiments.engine, LEASE, "other", now_us=0, until_us=1 << 60)
    BackgroundEvaluation(experiments, "w", lambda: True).evaluate()
    assert ab_interim_analyses.last(experiments.engine, test.test_id) is None
    checkpoints.release(experiments.engine, LEASE, "other")
    BackgroundEvaluation(experiments, "w", lambda: True).evaluate()
    assert ab_interim_analyses.last(experiments.engine, test.test_id) is not None


def test_metrics_show_the_last_evaluation_of_running_tests(experiments: ExperimentService, small_copy: Path) -> None:
    path = small_copy / "models/metrics/monitoring/latest.json"

    def scraped() -> dict[str, float]:
        metrics = Metrics(None, path)
        text = metrics.to_bytes().decode()
        metrics.close()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("sporeprint_ab_")}

    assert scraped() == {}
    test = experiments.create({"name": "t", "model_a": "xgboost", "model_b": "decision_tree"}, actor="ada")
    BackgroundEvaluation(experiments, "w", lambda: True).evaluate()
    shown = scraped()
    assert {name: shown[f'sporeprint_ab_{name}{{test="{test.test_id}"}}'] for name in ("units", "labels", "log_e", "mismatch_log_e")} == {
        "units": 0,
        "labels": 0,
        "log_e": 0,
        "mismatch_log_e": 0,
    }
    experiments.conclude("t", winner="A", actor="ada", reason="tried")
    BackgroundEvaluation(experiments, "w", lambda: True).evaluate()
    assert scraped() == {}
    path.with_name("ab_tests.json").write_text('[{"test": "t"}]')
    assert scraped() == {}


def test_it_looks_only_while_a_test_runs(experiments: ExperimentService) -> None:
    asked: list[int] = []

    async def work() -> None:
        enough = asyncio.Event()

        def any_runs() -> bool:
            asked.append(1)
            if len(asked) == 3:
                enough.set()
            return False

        async with BackgroundEvaluation(experiments, "w", any_runs).running():
            await enough.wait()

    asyncio.run(work())
    with experiments.engine.connect() as connection:
        number, _ = checkpoints.read(connection, LEASE)
    assert number == 1  # once, for what an earlier process may have left


def test_a_winner_is_promoted_though_its_test_began_and_ended_between_two_looks(small_config: dict[str, Any], small_copy: Path) -> None:
    registry, looks = Registry(small_copy / "models/registry"), [0]
    registry.set_production("xgboost", reason="test", now=datetime.now(UTC))

    def any_runs() -> bool:
        looks[0] += 1
        return False

    async def work(experiments: ExperimentService) -> None:
        async with BackgroundEvaluation(experiments, "w", any_runs).running():
            await until_async(lambda: looks[0] > 2)  # nothing is left of an earlier process
            with run_lock(small_copy):  # another run moves aliases: the promotion has to wait
                experiments.create({"name": "t", "model_a": "xgboost", "model_b": "decision_tree"}, actor="ada")
                experiments.conclude("t", winner="B", actor="ada", reason="tried")
                assert experiments.has_pending_promotion()
            await until_async(lambda: not experiments.has_pending_promotion())

    chosen = settings.parse({**small_config, "ab_testing": {"evaluate_every_s": 0.1}, "gate": {"margin": 0.99}})
    with experiment_service(chosen, small_copy) as experiments:
        asyncio.run(work(experiments))
    assert registry.production() == registry.resolve("decision_tree/v1")


async def until_async(look: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def test_what_goes_wrong_is_logged_and_tried_again(experiments: ExperimentService, caplog: pytest.LogCaptureFixture) -> None:
    experiments.engine.dispose()
    database = experiments.root / "data/sporeprint.db"
    database.rename(database.with_suffix(".away"))
    with caplog.at_level(logging.WARNING):
        BackgroundEvaluation(experiments, "w", lambda: True).evaluate()
    assert "cannot be evaluated" in caplog.text


def test_a_circuit_that_is_open_for_a_while_does_not_end_it(experiments: ExperimentService) -> None:
    asked: list[int] = []

    async def work() -> None:
        enough = asyncio.Event()

        async def run(_: Any) -> bool:
            asked.append(1)
            if len(asked) < 3:
                raise StorageUnavailableError("it has not answered for 5 s")
            enough.set()
            return False

        async with BackgroundEvaluation(experiments, "w", lambda: True, run=run).running():
            await asyncio.wait_for(enough.wait(), 20)

    asyncio.run(work())
    assert len(asked) >= 3

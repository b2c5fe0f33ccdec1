"""The background job: one process at a time, and the next one goes on."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sporeprint import settings
from sporeprint.model_serving.runtime.ab_evaluation import LEASE, Evaluating
from sporeprint.pipelines import ab_test_lifecycle as experiments
from sporeprint.pipelines.ab_test_lifecycle import Lab
from sporeprint.storage.oltp import ab_unit_counts, checkpoints


@pytest.fixture
def lab(small_config: dict[str, Any], small_copy: Path) -> Iterator[Lab]:
    with experiments.opened(settings.parse({**small_config, "ab_testing": {"look_s": 0.1}}), small_copy) as found:
        yield found


def test_only_one_process_looks(lab: Lab) -> None:
    test = experiments.create(lab, {"name": "t", "model_a": "xgboost", "model_b": "decision_tree"}, actor="ada")
    assert checkpoints.lease(lab.engine, LEASE, "other", now_us=0, until_us=1 << 60)
    Evaluating(lab, "w", lambda: True).look()
    assert ab_unit_counts.last_look(lab.engine, test.test_id) is None
    checkpoints.release(lab.engine, LEASE, "other")
    Evaluating(lab, "w", lambda: True).look()
    assert ab_unit_counts.last_look(lab.engine, test.test_id) is not None


def test_it_looks_only_while_a_test_runs(lab: Lab) -> None:
    asked: list[int] = []

    async def work() -> None:
        enough = asyncio.Event()

        def any_runs() -> bool:
            asked.append(1)
            if len(asked) == 3:
                enough.set()
            return False

        async with Evaluating(lab, "w", any_runs).watching():
            await enough.wait()

    asyncio.run(work())
    with lab.engine.connect() as connection:
        number, _ = checkpoints.read(connection, LEASE)
    assert number == 1  # once, for what an earlier process may have left


def test_what_goes_wrong_is_logged_and_tried_again(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    lab.engine.dispose()
    database = lab.root / "data/sporeprint.db"
    database.rename(database.with_suffix(".away"))
    with caplog.at_level(logging.WARNING):
        Evaluating(lab, "w", lambda: True).look()
    assert "cannot be looked at" in caplog.text

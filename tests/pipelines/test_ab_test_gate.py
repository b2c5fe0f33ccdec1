"""Tests of sporeprint.pipelines.ab_test_gate: who answers any request has passed the gate, or has served before."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sporeprint import settings
from sporeprint.common.workdir import Workdir
from sporeprint.errors import RefusedError
from sporeprint.pipelines import ab_test_gate
from sporeprint.pipelines.ab_test_gate import check_arms
from sporeprint.registry.registry import Registry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
A, B = "xgboost/v1", "logistic_regression/v1"


@pytest.fixture
def work(small_copy: Path) -> Path:
    """Another version than A and B was never in production."""
    aliases = Registry(Workdir(small_copy).registry)
    aliases.set_production("xgboost", reason="test", now=NOW)
    return small_copy


@pytest.fixture
def without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    def started(*_: Any, **__: Any) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(ab_test_gate, "run_in_child", started)


def served(work: Path) -> set[str]:
    return {change.to for change in Registry(Workdir(work).registry).history("production")}


def test_a_version_that_is_much_worse_is_refused_with_what_it_lacks(small_config: dict[str, Any], work: Path) -> None:
    assert B not in served(work)
    strict = settings.parse({**small_config, "gate": {"margin": 0}})
    with pytest.raises(RefusedError, match=f"on the default route .*{B} does not pass the gate: .*without default_route may have it"):
        check_arms(strict, work, [A, B])


def test_a_version_that_is_within_the_margin_may_answer(small_config: dict[str, Any], work: Path) -> None:
    assert B not in served(work)
    check_arms(settings.parse({**small_config, "gate": {"margin": 0.99}}), work, [A, B])


@pytest.mark.usefixtures("without_a_process")
def test_who_has_served_before_may_serve_again(small_config: dict[str, Any], work: Path) -> None:
    registry = Registry(Workdir(work).registry)
    registry.set_production(B, reason="test", now=NOW)
    registry.set_production("xgboost", reason="test", now=NOW)
    check_arms(settings.parse({**small_config, "gate": {"margin": 0}}), work, [A, B])


@pytest.mark.usefixtures("without_a_process")
def test_where_nothing_is_in_production_there_is_nothing_to_hold_it_against(small_config: dict[str, Any], tmp_path: Path) -> None:
    check_arms(settings.parse({**small_config, "gate": {"margin": 0}}), tmp_path, [A, B])

"""From outcomes to a challenger in a shadow test, over a small run with a real registry, database and warehouse."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from monitor_support import DAY_US, Service, answered, outcomes, service
from sporeprint import settings
from sporeprint.common.locks import run_lock
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataSummary
from sporeprint.errors import BusyError, DataError, RegistryError
from sporeprint.pipelines import alerting as alerts
from sporeprint.pipelines import retraining as retrain
from sporeprint.pipelines.ab_test_lifecycle import experiment_service
from sporeprint.settings import Settings
from sporeprint.storage.oltp import ab_tests, audit_log

NOW_US = time.time_ns() // 1000


@pytest.fixture
def config(small_config: dict[str, Any]) -> dict[str, Any]:
    """A gate that lets everything pass, and few rows are enough."""
    return {**small_config, "gate": {"margin": 0.99}, "retrain": {"least_rows": 50, "cool_down_hours": 1}}


@pytest.fixture
def served(small_copy: Path, config: dict[str, Any]) -> Iterator[Service]:
    with service(small_copy, config) as found:
        yield found


def say(served: Service, small_table: Path, rows: int) -> pl.DataFrame:
    """Answers to rows that are like those of the table and none of them, all of whose outcomes are known."""
    frame = pl.read_csv(small_table, separator=";", infer_schema=False).head(rows)
    moved = frame.with_columns((pl.col("cap-diameter").cast(pl.Float64) + 0.25).cast(pl.String))
    said = answered(served.root, moved, first_us=NOW_US - DAY_US, step_us=1_000_000)
    served.say(said, outcomes(said, moved["class"]))
    return moved


def test_what_came_true_makes_a_challenger_in_the_shadow_of_production(served: Service, small_table: Path) -> None:
    before = served.settings, DataSummary.from_json(Workdir(served.root).data_record.read_text())
    say(served, small_table, 120)
    with experiment_service(served.settings, served.root) as experiments:
        production = experiments.registry.production()
        assert production is not None
        done = retrain.retrain(served.settings, served.root, actor="ada")
        name = production.ref.partition("/")[0]
        assert (done.production, done.challenger) == (production.ref, f"{name}/v2")
        assert done.source is not None
        assert "and 120 answers with an outcome (of 120) of the warehouse" in done.source
        assert experiments.registry.production() == production
        assert experiments.registry.champion(name).ref == production.ref
        (test,) = ab_tests.running(experiments.engine)
        assert (test.name, test.a.ref, test.b.ref, test.design.mode.value) == (done.test, production.ref, f"{name}/v2", "shadow")
        assert test.default_route
        after = DataSummary.from_json(Workdir(served.root).data_record.read_text())
        assert (after.rows, after.rejected) == (before[1].rows + 120, 0)
        # They would fill two blocks, and be of one class each; still nobody knows their species.
        assert (after.groups.available, after.groups.reason) == (False, "rows that follow the table are in no species block of 60 rows")
        (change,) = [each for each in audit_log.changes(experiments.engine, f"{name}/v2") if each.action == "retrained"]
        assert (change.actor, change.details["test"]) == ("ada", test.name)
        # A further one would stand in its way.
        again = retrain.retrain(served.settings, served.root, actor="ada")
        assert (again.challenger, again.test) == (None, test.name)
        assert "runs already; nothing was changed" in again.reason


def test_too_few_outcomes_change_nothing(served: Service, small_table: Path, published: Any) -> None:
    say(served, small_table, 49)
    with experiment_service(served.settings, served.root) as experiments:
        before = published(served.root)
        done = retrain.retrain(served.settings, served.root, actor="ada")
        assert (done.challenger, done.test) == (None, None)
        assert "the warehouse has 49 answers with an outcome (of 49 answers), and retrain.least_rows asks for 50" in done.reason
        assert done.exit_code == DataError.exit_code
        assert {name: found for name, found in published(served.root).items() if "retrain" not in name and "sporeprint.db" not in name} == {
            name: found for name, found in before.items() if "sporeprint.db" not in name
        }
        assert ab_tests.running(experiments.engine) == ()


def test_nothing_to_challenge(small_config: dict[str, Any], tmp_path: Path) -> None:
    with service(tmp_path, small_config) as empty, pytest.raises(RegistryError, match="nothing is in production"):
        retrain.retrain(empty.settings, empty.root, actor="ada")


def test_one_at_a_time(served: Service) -> None:
    with run_lock(Workdir(served.root).retraining), pytest.raises(BusyError, match="another run"):
        retrain.retrain(served.settings, served.root, actor="ada")


def test_a_rule_starts_it_once_and_it_goes_on_alone(served: Service) -> None:
    """The process gets the settings as they are here, finds too little, and says so."""
    said = retrain.start(served.settings, served.root, "accuracy fell")
    log = Workdir(served.root).logs / "retrain.log"
    assert said == f"retraining was started; what becomes of it: {log}"
    assert "less than 1 hours ago" in retrain.start(served.settings, served.root, "accuracy fell")
    end = time.monotonic() + 60
    while not log.read_bytes().endswith(b"\n"):
        assert time.monotonic() < end
        time.sleep(0.05)
    found = json.loads(log.read_text())
    assert "holds no answers yet" in found["error"]
    (change,) = audit_log.changes(served.engine, "retrain")
    assert (change.action, change.details) == ("retrain.started", {"reason": "accuracy fell"})


def test_after_the_cool_down_it_starts_again(served: Service) -> None:
    started = []

    def spawn(_: Settings, root: Path) -> Path:
        started.append(root)
        return root / "log"

    at = [retrain.start(served.settings, served.root, "x", now_us=now, spawn=spawn) for now in (0, 3_599_999_999, 3_600_000_000)]
    assert started == [served.root, served.root]
    assert ["was started;" in said for said in at] == [True, False, True]


def test_of_monitors_that_see_the_same_one_starts_it(served: Service) -> None:
    started = []

    def spawn(_: Settings, root: Path) -> Path:
        started.append(root)
        return root

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: retrain.start(served.settings, served.root, "x", spawn=spawn), range(8)))
    assert len(started) == 1
    assert sum("was started;" in line for line in said) == 1


def test_what_cannot_be_started_is_said(served: Service) -> None:
    (served.root / "logs" / "retrain.log").mkdir(parents=True)
    assert "retrain FAILED: [Errno 21] Is a directory" in retrain.act(served.settings, served.root, "retrain", "x")


def test_a_rule_of_the_alerts_starts_it(served: Service) -> None:
    """The whole way: a number of an evaluation, a rule, the database, the process."""
    rules = {"few right": {"metric": "accuracy", "below": 0.9, "action": "retrain"}}
    chosen = settings.parse({**served.settings.model_dump(mode="json"), "alerts": {"rules": rules}})
    found = {"accuracy": {"value": 0.5}}
    evaluation = {"stream": "s", "current": "c", "reference": "r", "model": "m", "alarms": [], "not_computed": [], "performance": found}
    started = []

    def act(action: str, reason: str) -> str:
        started.append(reason)
        return retrain.start(chosen, served.root, reason, spawn=lambda _, root: root / "log")

    lines = alerts.handle(chosen, served.root, evaluation, act=act)
    assert any("retraining was started" in line for line in lines)
    assert not any("retraining" in line for line in alerts.handle(chosen, served.root, evaluation, act=act))
    (change,) = audit_log.changes(served.engine, "retrain")
    assert change.details["reason"] == started[0]
    assert "few right" in started[0]

"""A/B tests from the first call to the last, over a small run with real models, a real gate and a real registry."""

import json
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from sporeprint import settings
from sporeprint.ab_testing.assignment import ROW_PREFIX, Assignment
from sporeprint.common.locks import run_lock
from sporeprint.errors import DataError, RegistryError, UsageError
from sporeprint.pipelines import ab_test_views
from sporeprint.pipelines.ab_test_lifecycle import ExperimentService, experiment_service
from sporeprint.reports import ab_test_report
from sporeprint.settings import Settings
from sporeprint.storage.engine import writing
from sporeprint.storage.oltp import ab_interim_analyses, ab_tests, ab_unit_counts, audit_log, outcomes
from sporeprint.storage.oltp.ab_tests import AbTest, AbTestConflictError
from sporeprint.storage.oltp.tables import prediction

GIVEN = {"name": "first", "model_a": "models/xgboost.joblib", "model_b": "logistic_regression"}


@pytest.fixture
def generous(small_config: dict[str, Any]) -> Settings:
    """A gate that lets everything pass."""
    return settings.parse({**small_config, "gate": {"margin": 0.99}})


@pytest.fixture
def experiments(generous: Settings, small_copy: Path) -> Iterator[ExperimentService]:
    with experiment_service(generous, small_copy) as found:
        found.registry.set_production("xgboost", reason="test", now=datetime.now(UTC))
        yield found


def create(experiments: ExperimentService, **given: Any) -> AbTest:
    return experiments.create({**GIVEN, **given}, actor="ada")


def row(test: AbTest, unit: str, arm: str, verdict: str) -> dict[str, Any]:
    """A prediction, as it is shipped."""
    return {
        "prediction_id": f"{test.test_id}-{unit}",
        "created_us": 1,
        "model": "m",
        "version": 1,
        "prediction": "p",
        "verdict": verdict,
        "unseen": "[]",
        "features": "{}",
        "test_id": test.test_id,
        "arm": arm,
        "unit_id": unit,
        "latency_us": 1000,
        "worker": "w",
        "recorded_us": 1,
    }


def traffic(experiments: ExperimentService, test: AbTest, units: int, wrong: dict[str, float], *, labels: bool = True) -> None:
    """Units with answers of which a share is wrong in each arm: of the first ones in every thousand."""
    target = experiments.settings.dataset.target
    positive, negative = target.values[target.positive], target.values[target.negative]
    arms, number = Assignment(test.salt, test.design.traffic_split), {"a": 0, "b": 0}
    rows, truths = [], []
    for unit in range(units):
        arm = arms.arm(f"u{unit}")
        number[arm] += 1
        errs = (number[arm] * wrong[arm]) % 1 + wrong[arm] >= 1
        rows.append(row(test, f"u{unit}", arm, negative if errs else positive))
        truths.append(outcomes.OutcomeStatement(f"{test.test_id}-u{unit}", target.positive, "lab", None))
    with writing(experiments.engine) as connection:
        connection.execute(insert(prediction), rows)
    if labels:
        outcomes.record_all(experiments.engine, truths, now_us=1)


def names(experiments: ExperimentService, test: AbTest) -> list[str]:
    return [event.event for event in ab_tests.events(experiments.engine, test.test_id)]


# --- making --------------------------------------------------------------------------------------------------------------


def test_four_fields_suffice_and_versions_are_pinned(experiments: ExperimentService) -> None:
    test = create(experiments, model_b="models/registry/logistic_regression/v1/logistic_regression.joblib", traffic_split=0.25)
    assert (test.a.ref, test.b.ref) == ("xgboost/v1", "logistic_regression/v1")
    assert test.a.sha256 == experiments.registry.resolve("xgboost/v1").manifest
    assert (test.design.traffic_split, test.design.unit, test.design.alpha) == (0.25, "header", 0.05)
    assert [one.metric.value for one in test.design.guardrails] == ["false_negative"]
    shadow = create(experiments, name="second", mode="shadow")
    assert shadow.design.unit == "prediction"


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"traffic_split": 0}, UsageError, "traffic_split is 0: .* above 0 and below 1"),
        ({"traffic_split": 1}, UsageError, "traffic_split is 1"),
        ({"traffic_split": float("nan")}, UsageError, "traffic_split is nan"),
        ({"traffic_split": "half"}, UsageError, "traffic_split is 'half'"),
        ({"model_b": "xgboost/v1"}, UsageError, "are both xgboost/v1"),
        ({"model_b": 7}, UsageError, "model_b is 7"),
        ({"model_b": "nope"}, RegistryError, "no model 'nope'"),
        ({"name": "a/b"}, UsageError, "name is 'a/b': allowed are"),
        ({"name": "\N{MUSHROOM}"}, UsageError, "allowed are letters"),
        ({"name": "x" * 300}, UsageError, "1 to 128 of them"),
        ({"unit": "field:nope"}, UsageError, "no such column"),
        ({"metric": "acuracy"}, UsageError, "did you mean 'accuracy'"),
        ({"independent": "yes"}, UsageError, "allowed: true, false"),
        ({"nope": 1}, UsageError, "'nope' is no field"),
        ({"guardrails": 3}, UsageError, "guardrails is 3"),
        ({"costs": "many"}, UsageError, "costs"),
    ],
)
def test_what_cannot_be(experiments: ExperimentService, given: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        create(experiments, **given)
    assert ab_tests.listed(experiments.engine) == ()


def test_a_model_for_another_table(experiments: ExperimentService) -> None:
    columns = {
        name: column
        for name, column in experiments.settings.dataset.columns.items()
        if name != next(iter(experiments.settings.dataset.columns))
    }
    other = experiments.settings.model_copy(update={"dataset": experiments.settings.dataset.model_copy(update={"columns": columns})})
    with pytest.raises(DataError, match="xgboost/v1 has another schema"):
        create(replace(experiments, settings=other))


def answered(experiments: ExperimentService, latencies_us: Sequence[int], age_us: int = 0) -> None:
    """Answers of xgboost/v1 outside any test, with these latencies."""
    columns = {"test_id": None, "arm": None, "unit_id": None, "created_us": experiments.clock() - age_us}
    with writing(experiments.engine) as connection:
        connection.execute(
            insert(prediction),
            [
                {
                    **columns,
                    "prediction_id": f"h{number}",
                    "model": "xgboost",
                    "version": 1,
                    "prediction": "e",
                    "verdict": "edible",
                    "unseen": "[]",
                    "features": "{}",
                    "latency_us": latency_us,
                    "worker": "w",
                    "recorded_us": 1,
                }
                for number, latency_us in enumerate(latencies_us)
            ],
        )


def test_the_limit_of_slow_answers_is_the_last_weeks_by_default(experiments: ExperimentService) -> None:
    with pytest.raises(UsageError, match=r"latency_limit_ms is missing: .* xgboost/v1 has given 0 answers \(at least 100 are needed\)"):
        create(experiments, metric="latency")
    assert create(experiments, name="given", metric="latency", latency_limit_ms=7, independent=True).design.latency_limit_ms == 7
    experiments.conclude("given", winner=None, actor="ada")
    answered(experiments, range(1_000, 201_000, 1_000))
    test = create(experiments, name="usual", metric="latency", independent=True)
    assert test.design.latency_limit_ms == pytest.approx(181)
    for limit, share in ((500, "none"), (0.5, "all")):
        with pytest.raises(UsageError, match=f"latency_limit_ms is {limit:g}: {share} of the last 200 answers of xgboost/v1 took longer"):
            create(experiments, name="odd", metric="latency", latency_limit_ms=limit, independent=True)


def test_answers_of_long_ago_are_no_history(experiments: ExperimentService) -> None:
    answered(experiments, [1_000] * 200, age_us=8 * 86_400 * 1_000_000)
    with pytest.raises(UsageError, match="has given 0 answers"):
        create(experiments, metric="latency")


def test_a_horizon_that_is_too_short_is_refused_with_the_least(experiments: ExperimentService) -> None:
    with pytest.raises(UsageError, match=r"max_units is 11: this test cannot name a winner by then, whatever happens; at least 13 units"):
        create(experiments, max_units=11, min_units=0)
    assert create(experiments, max_units=13, min_units=0).running


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"margin": 1}, "margin is 1: no versions differ by so much in accuracy; it has to be below 1"),
        ({"equivalence": 2}, "equivalence is 2: no versions differ by so much"),
        ({"metric": "expected_cost", "margin": 1000}, "margin is 1000: .* in expected_cost; it has to be below 1000"),
        ({"guardrails": [{"metric": "failures", "margin": 1.5}]}, "margin of the guardrail failures is 1.5: "),
    ],
)
def test_a_margin_that_nothing_can_reach_is_refused(experiments: ExperimentService, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        create(experiments, **fields)


# --- interim analyses and conclusion -------------------------------------------------------------------------------------


def test_a_winner_is_found_and_served_and_taken_back(experiments: ExperimentService) -> None:
    test = create(experiments, auto_conclude=True, guardrails=[])
    assert experiments.evaluate(actor="job")[0].decision.verdict.value == "continue"
    traffic(experiments, test, 400, {"a": 0.4, "b": 0.0})
    done = experiments.evaluate(actor="job")[0]
    assert (done.test.status, done.test.verdict, done.interim_analysis.units, done.interim_analysis.labels) == ("concluded", "b", 400, 400)
    assert names(experiments, test) == ["created", "concluded", "promoted"]
    assert experiments.registry.production() == experiments.registry.resolve("logistic_regression/v1")
    assert experiments.registry.history("production")[-1].by == "ab-test:first"
    assert experiments.evaluate(actor="job") == ()
    assert experiments.rollback("first", reason="no", actor="ada") == "xgboost/v1"
    with pytest.raises(AbTestConflictError, match="no promotion to take back"):
        experiments.rollback("first", reason="no", actor="ada")
    assert [change.action for change in audit_log.changes(experiments.engine, test.test_id)] == [
        f"ab_test.{event}" for event in ("created", "concluded", "promoted", "rolled_back")
    ]


def test_no_rollback_of_what_something_else_replaced(experiments: ExperimentService) -> None:
    create(experiments)
    experiments.conclude("first", winner="B", actor="ada", reason="tried")
    experiments.registry.set_production("decision_tree", reason="test", now=datetime.now(UTC))
    with pytest.raises(AbTestConflictError, match="decision_tree/v1 is served by now"):
        experiments.rollback("first", reason="no", actor="ada")


def test_a_broken_guardrail_ends_it_at_once(experiments: ExperimentService) -> None:
    test = create(experiments, min_units=100_000, metric="latency", latency_limit_ms=5, costs={"unknown_as_false_negative": 0})
    traffic(experiments, test, 600, {"a": 0.0, "b": 0.5})
    done = experiments.evaluate(actor="job")[0]
    assert (done.test.verdict, done.decision.reason.value) == ("a", "guardrail")
    assert names(experiments, test) == ["created", "stopped"]
    assert experiments.registry.production() == experiments.registry.resolve("xgboost/v1")


def test_without_auto_conclude_a_person_ends_it(experiments: ExperimentService) -> None:
    test = create(experiments)
    traffic(experiments, test, 400, {"a": 0.4, "b": 0.0})
    assert experiments.evaluate(actor="job")[0].test.running
    ended = experiments.conclude("first", winner=None, actor="ada")
    assert ended.verdict == "b"
    assert ab_tests.events(experiments.engine, test.test_id)[1].details["forced"] is False


def test_no_difference_and_no_winner(experiments: ExperimentService) -> None:
    test = create(experiments)
    traffic(experiments, test, 300, {"a": 0.1, "b": 0.1})
    assert experiments.conclude("first", winner=None, actor="ada").verdict == "inconclusive"
    assert names(experiments, test) == ["created", "concluded"]
    with pytest.raises(AbTestConflictError, match="concluded already, its verdict is 'inconclusive'"):
        experiments.conclude("first", winner="B", actor="ada", reason="tried")


def test_what_cannot_be_concluded(experiments: ExperimentService) -> None:
    create(experiments)
    with pytest.raises(UsageError, match="winner is 'C'; allowed: A, B"):
        experiments.conclude("first", winner="C", actor="ada", reason="tried")
    with pytest.raises(UsageError, match="there is no A/B test 'other'"):
        experiments.conclude("other", winner="A", actor="ada", reason="tried")


def test_against_the_rule_only_with_a_reason(experiments: ExperimentService) -> None:
    test = create(experiments)
    for reason in (None, "", "  "):
        with pytest.raises(UsageError, match="reason is missing: A is not what the test's rule says"):
            experiments.conclude("first", winner="A", actor="ada", reason=reason)
    experiments.conclude("first", winner="A", actor="ada", reason=" B costs too much ")
    details = ab_tests.events(experiments.engine, test.test_id)[1].details
    assert (details["forced"], details["why"]) == (True, "B costs too much")


def test_the_rules_own_winner_is_not_forced(experiments: ExperimentService) -> None:
    test = create(experiments)
    traffic(experiments, test, 400, {"a": 0.4, "b": 0.0})
    experiments.conclude("first", winner="B", actor="ada")
    assert ab_tests.events(experiments.engine, test.test_id)[1].details["forced"] is False


def test_the_gate_has_the_last_word(experiments: ExperimentService, small_config: dict[str, Any], small_copy: Path) -> None:
    strict = settings.parse({**small_config, "gate": {"parity": 1e-12}})
    with experiment_service(strict, small_copy) as experiments:
        test = create(experiments, model_b="decision_tree")
        experiments.registry.set_production("xgboost", reason="test", now=datetime.now(UTC))
        lost = small_copy / "data/validation"
        lost.rename(small_copy / "gone")
        ended = experiments.conclude("first", winner="B", actor="ada", reason="tried")
        assert (ended.status, ended.verdict) == ("concluded", "b")
        assert names(experiments, test) == ["created", "concluded", "promotion_refused"]
        assert experiments.registry.production() == experiments.registry.resolve("xgboost/v1")


def test_concluded_while_another_run_holds_the_work_directory(experiments: ExperimentService) -> None:
    test = create(experiments)
    with run_lock(experiments.root):
        assert experiments.conclude("first", winner="B", actor="ada", reason="tried").verdict == "b"
        assert names(experiments, test) == ["created", "concluded"]
        assert experiments.registry.production() == experiments.registry.resolve("xgboost/v1")
    experiments.evaluate(actor="job")
    assert names(experiments, test) == ["created", "concluded", "promoted"]
    assert experiments.registry.production() == experiments.registry.resolve("logistic_regression/v1")


def test_of_many_that_conclude_at_once_one_does(experiments: ExperimentService) -> None:
    test, done = create(experiments), []

    def one() -> None:
        try:
            experiments.conclude("first", winner="A", actor="ada", reason="tried")
            done.append("done")
        except AbTestConflictError:
            done.append("refused")

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == ["done", "refused", "refused", "refused"]
    assert names(experiments, test).count("concluded") == 1


def test_a_version_that_was_exchanged_is_not_promoted(experiments: ExperimentService) -> None:
    test = create(experiments)
    manifest = experiments.registry.root / "logistic_regression/v1/manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8") + " ", encoding="utf-8")
    experiments.conclude("first", winner="B", actor="ada", reason="tried")
    assert names(experiments, test)[-1] == "promotion_refused"
    assert experiments.registry.production() == experiments.registry.resolve("xgboost/v1")


# --- telling -------------------------------------------------------------------------------------------------------------


def test_all_that_is_known_is_json(experiments: ExperimentService) -> None:
    test = create(experiments, also=["unknown_share", "latency"], latency_limit_ms=5)
    traffic(experiments, test, 60, {"a": 0.1, "b": 0.1})
    experiments.evaluate(actor="job")
    view = ab_test_views.describe(experiments.engine, experiments.refresh("first"), experiments.settings)
    assert json.loads(json.dumps(view, allow_nan=False))["interim_analysis"] == view["interim_analysis"]
    assert view["interim_analyses"][-1]["units_a"] + view["interim_analyses"][-1]["units_b"] == view["interim_analysis"]["units"] == 60
    assert view["design"]["name"] == "first"
    assert view["unnamed_units"] == 0
    units = [row(test, f"{ROW_PREFIX}{number:032x}", "a", experiments.settings.dataset.target.positive) for number in range(3)]
    with writing(experiments.engine) as connection:
        connection.execute(insert(prediction), units)
    experiments.evaluate(actor="job")
    view = ab_test_views.describe(experiments.engine, experiments.refresh("first"), experiments.settings)
    assert (view["unnamed_units"], view["interim_analysis"]["units"]) == (3, 63)
    assert dict(ab_test_report.facts(view))["units without a name"] == "3, each row one of its own"
    assert experiments.is_simulated("nope/v1") is False


def test_a_restart_forgets_no_look(experiments: ExperimentService) -> None:
    """What earlier looks have shown counts on: evidence never shrinks."""
    test = create(experiments, guardrails=[])
    traffic(experiments, test, 200, {"a": 0.4, "b": 0.0})
    first = experiments.evaluate(actor="job")[0].interim_analysis.figures["running"]["log_e"]
    for unit in range(0, 200, 2):  # corrections: everything was right
        target = experiments.settings.dataset.target
        outcomes.record(experiments.engine, f"{test.test_id}-u{unit}", target.negative, source="lab", observed_us=None, now_us=2)
    again = experiments.evaluate(actor="job")[0].interim_analysis.figures
    assert again["primary"]["log_e"] < first
    assert again["running"]["log_e"] == first
    assert len(ab_interim_analyses.all_of(experiments.engine, test.test_id)) == 2


def test_of_equal_versions_hardly_ever_one_wins(experiments: ExperimentService) -> None:
    """A/A through database, counting and looks, with a look after every 50 units: 12 tests with at most 5 % false winners each."""
    chance, target = random.Random(5), experiments.settings.dataset.target
    words = {True: target.values[target.negative], False: target.values[target.positive]}
    tests = [create(experiments, name=f"aa{number}", independent=True, guardrails=[], min_units=0) for number in range(12)]
    ended: set[str] = set()
    for begin in range(0, 300, 50):
        for test in tests:
            arms = Assignment(test.salt, 0.5)
            units = [f"u{number}" for number in range(begin, begin + 50)]
            with writing(experiments.engine) as connection:
                connection.execute(insert(prediction), [row(test, unit, arms.arm(unit), words[chance.random() < 0.2]) for unit in units])
            outcomes.record_all(
                experiments.engine, [outcomes.OutcomeStatement(f"{test.test_id}-{unit}", "p", "lab", None) for unit in units], now_us=1
            )
        ended |= {seen.test.name for seen in experiments.evaluate(actor="job") if seen.decision.verdict.value in ("a", "b")}
    # More than 3 of 12 at 5 % each: once in 500 seeds, if the promise only just held.
    assert len(ended) <= 3
    assert all(ab_unit_counts.totals(experiments.engine, test).labels == 300 for test in tests)

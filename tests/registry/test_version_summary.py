"""What is known of every version without loading one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from registry_support import further_version
from sporeprint.registry.registry import Registry
from sporeprint.registry.version_summary import RULES, VersionSummaries


@pytest.fixture
def registry(small_copy: Path) -> Registry:
    return Registry(small_copy / "models/registry")


def test_it_says_what_the_metrics_say(registry: Registry) -> None:
    summary = VersionSummaries(registry).of("xgboost", 1)
    metrics = json.loads(registry.read("xgboost/v1", "metrics.json"))
    seen, unseen = summary.parts
    assert seen.metrics["mcc"].low == metrics["seen"]["mcc"]["low"]
    assert set(seen.metrics) == {"accuracy", "precision", "recall", "f1", "mcc", "roc_auc", "pr_auc", "brier", "log_loss", "ece"}
    for part, key in ((seen, "seen"), (unseen, "unseen_species")):
        counts = metrics["answers"][key]
        assert part.verdicts is not None
        assert part.verdicts.positives == counts["poisonous"]
        assert part.verdicts.false_negatives == counts["false_edible"]
        assert (part.verdicts.rows, part.verdicts.answered, part.verdicts.correct) == (
            counts["rows"],
            counts["answered"],
            counts["correct"],
        )
    assert seen.unavailable is None


def test_a_part_that_was_not_evaluated_says_why(registry: Registry) -> None:
    ref = further_version(registry, "xgboost/v1", metrics={"seen": {"available": False, "reason": "no rows"}})
    seen, unseen = VersionSummaries(registry).of("xgboost", int(ref[-1])).parts
    assert (seen.metrics, seen.verdicts, seen.unavailable) == ({}, None, "no rows")
    assert unseen.unavailable == "it was not evaluated"


def test_a_version_is_read_once_and_a_damaged_one_until_it_is_mended(registry: Registry) -> None:
    summaries = VersionSummaries(registry)
    assert summaries.of("xgboost", 1) is summaries.of("xgboost", 1)
    path = registry.root / "decision_tree/v1/metrics.json"
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content + b" ")
    damaged = summaries.of("decision_tree", 1)
    assert damaged.problem is not None
    assert "metrics.json was altered" in damaged.problem
    assert damaged.parts == ()
    path.write_bytes(content)
    assert summaries.of("decision_tree", 1).problem is None


def test_a_version_that_is_gone_is_a_problem_and_no_error(registry: Registry) -> None:
    problem = VersionSummaries(registry).of("xgboost", 9).problem
    assert problem == "manifest.json cannot be read: No such file or directory"


def test_the_rules_of_a_few_versions_are_remembered(registry: Registry) -> None:
    summaries = VersionSummaries(registry)
    summary = summaries.of("xgboost", 1)
    assert summaries.rule(summary) is summaries.rule(summary)
    assert summaries.rule(summary).threshold == registry.load("xgboost/v1").safety.threshold
    for number in range(RULES):
        summaries.rule(replace(summary, digest=str(number)))
    assert len(summaries._rules) == RULES

"""Two versions side by side."""

from pathlib import Path

import pytest

from registry_support import further_version
from sporeprint.registry.registry import Registry
from sporeprint.registry.version_comparison import compare_metrics, compare_values
from sporeprint.registry.version_summary import VersionSummaries, VersionSummary

Pair = tuple[VersionSummary, VersionSummary]


def card(accuracy: float, loss: float) -> dict[str, object]:
    return {
        name: {"value": value, "low": value - 0.01, "high": value + 0.01} for name, value in (("accuracy", accuracy), ("log_loss", loss))
    }


@pytest.fixture
def pair(small_copy: Path) -> Pair:
    registry = Registry(small_copy / "models/registry")
    for number, scores in enumerate(((0.9, 0.3), (0.95, 0.2)), 1):
        further_version(
            registry, "xgboost/v1", number, metrics={"seen": card(*scores)}, model={"params": {"max_depth": 5 + number}, "a": 1}
        )
    summaries = VersionSummaries(registry)
    return summaries.of("xgboost", 2), summaries.of("xgboost", 3)


def test_a_gain_is_a_smaller_loss_or_a_larger_score(pair: Pair) -> None:
    accuracy, loss = compare_metrics(*pair)
    assert accuracy.difference is not None
    assert (accuracy.difference.value, accuracy.better) == (0.05, "b")
    assert accuracy.difference.low == pytest.approx(0.05 - 0.01 * 2**0.5)
    assert loss.difference is not None
    assert (loss.difference.value, loss.better) == (-0.1, "b")
    assert [each.better for each in compare_metrics(*reversed(pair))] == ["a", "a"]
    assert [each.better for each in compare_metrics(pair[0], pair[0])] == [None, None]


def test_values_say_whether_they_differ(pair: Pair, small_copy: Path) -> None:
    rule = Registry(small_copy / "models/registry").load("xgboost/v1").safety
    values = {(each.section, each.name): each for each in compare_values(*pair, (rule, rule))}
    depth, same = values["parameters", "params.max_depth"], values["parameters", "a"]
    assert (depth.a, depth.b, depth.differs) == (6, 7, True)
    assert not same.differs
    assert values["data", "data fingerprint"].differs
    assert not values["guard", "components"].differs

"""What is kept of an evaluation, and the lines it makes."""

import numpy as np
import pytest

from evaluation_support import DRAW, OLD, evaluation, with_column
from sporeprint.monitoring.data_profile import Profile, of_numbers
from sporeprint.monitoring.drift import drift
from sporeprint.monitoring.evaluation import WindowPerformance
from sporeprint.monitoring.realized_performance import Tally, realized_performance
from sporeprint.monitoring.trends import (
    LENGTH,
    MOST_POINTS,
    History,
    MetricPoint,
    metric_values,
    name_of,
    trends,
    with_outcomes_since,
)
from sporeprint.stats.intervals import proportion


def test_what_is_kept() -> None:
    tally = Tally.of(np.full(100, 0.2), np.zeros(100, dtype=np.int8), np.zeros(100, dtype=np.int8))
    real = realized_performance(tally, alpha=0.1, delta=0.05)
    made = evaluation(with_column(size=of_numbers(DRAW.normal(1, 1, size=2000))), performance=real, answered=(10, 20, 70))
    found = {item.metric: item for item in metric_values(made)}
    assert found["exit_code"].value == 10
    assert (found["drift:size"].value, found["alarm:size"].value, found["alarm:shape"].value) == (made.drift.columns[0].size, 1, 0)
    assert [found[f"share_{what}"].value for what in ("negative", "positive", "unknown")] == [0.1, 0.2, 0.7]
    assert (found["accuracy_realised"].value, found["accuracy_realised"].rows) == (1, 100)
    assert found["false_negatives_so_far"].high == real.false_negatives.high
    assert "accuracy_estimated" not in found


def test_what_was_not_computed_is_not_kept() -> None:
    empty = evaluation(type(OLD)(0, OLD.columns), drift=drift(OLD, Profile(0, OLD.columns)))
    assert {item.metric for item in metric_values(empty)} == {"exit_code", "alarms", "not_computed"}


def test_names_are_short_and_differ() -> None:
    names = [name_of("drift:", "x" * 100 + end) for end in ("", "a", "b")]
    assert len(set(names)) == 3
    assert max(map(len, names)) <= LENGTH
    assert name_of("drift:", "size") == "drift:size"


def history(count: int) -> History:
    return {
        "drift:size": [MetricPoint(1e9 + 3600 * place, place / count) for place in range(count)],
        "accuracy_realised": [MetricPoint(1e9 + 3600 * place, 0.9, 0.8, 0.95) for place in reversed(range(count))],
        "false_negatives": [MetricPoint(1e9, 0.0, 0.0, 0.1), MetricPoint(1e9, 0.0, 0.0, 0.1)],
    }


@pytest.mark.parametrize("count", [2, 5, 500])
def test_lines_are_the_newest_numbers_by_time(count: int) -> None:
    made = {trend.title.partition(" ")[0]: trend for trend in trends(history(count), ["size", "shape"], words=("e", "p"), alpha=0.001)}
    assert set(made) == {"Drift", "Right,", "“e”"}
    for trend in made.values():
        for line in trend.lines:
            times = [point.at_s for point in line.points]
            assert len(times) == (2 if trend.limit else min(count, MOST_POINTS))
            assert times == sorted(times)
    assert made["“e”"].limit == 0.001
    assert [line.label for line in made["Right,"].lines] == ["with outcomes"]
    assert not made["Drift"].is_share


def test_what_is_known_later_takes_the_place_of_what_was_known() -> None:
    def period(end_s: float, right: int) -> WindowPerformance:
        nothing = proportion(0, 0, 0.95)
        return WindowPerformance(end_s - 3600, end_s, True, "", 100, nothing, 50, 50, proportion(right, 50, 0.95), nothing)

    before = history(3)
    found = with_outcomes_since(before, [period(1e9 + 3600, 20), period(1e9 + 7 * 3600, 10)])
    values = {point.at_s: point.value for point in found["accuracy_realised"]}
    assert values == {1e9: 0.9, 1e9 + 3600: 0.4, 1e9 + 2 * 3600: 0.9, 1e9 + 7 * 3600: 0.2}
    assert list(found["false_negatives"]) == [before["false_negatives"][1]]
    assert found["drift:size"] == before["drift:size"]


def test_one_evaluation_makes_no_line() -> None:
    assert trends({**history(1), "false_negatives": []}, ["size"], words=("e", "p"), alpha=0.001) == []

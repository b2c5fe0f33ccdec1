"""The numbers of an evaluation that are stored, and what they were over time."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sporeprint.monitoring.evaluation import Evaluation, WindowPerformance
from sporeprint.stats.intervals import Estimate

#: Most characters of a metric's name in the warehouse.
LENGTH = 64
#: Before a column's name.
DRIFT, ALARM = "drift:", "alarm:"
#: Evaluations on a picture.
MOST_POINTS = 120
#: Columns that have a line.
MOST_COLUMNS = 5


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A number of an evaluation.

    Attributes:
        metric: its name.
        value: the number.
        low: lower end of its interval; None where it has none.
        high: upper end.
        rows: rows it is made from; None where that says nothing.
    """

    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """A number, and when.

    Attributes:
        at_s: in seconds since 1970.
        value: the number.
        low: lower end of its interval; None where it has none.
        high: upper end.
    """

    at_s: float
    value: float
    low: float | None = None
    high: float | None = None


#: A metric -> its numbers, by time.
History = Mapping[str, Sequence[MetricPoint]]


@dataclass(frozen=True, slots=True)
class TrendLine:
    """A number over time.

    Attributes:
        label: what it is.
        points: by time.
        is_expected: whether it is estimated before outcomes are known.
    """

    label: str
    points: tuple[MetricPoint, ...]
    is_expected: bool = False


@dataclass(frozen=True, slots=True)
class Trend:
    """Numbers over time that belong on one picture.

    Attributes:
        title: what they are.
        lines: each of them.
        is_share: whether they are shares of a whole.
        limit: what is promised; None where nothing is.
    """

    title: str
    lines: tuple[TrendLine, ...]
    is_share: bool = False
    limit: float | None = None


def name_of(kind: str, column: str) -> str:
    """The name of a metric of a column: no longer than names may be, and no other column's."""
    name = f"{kind}{column}"
    if len(name) <= LENGTH:
        return name
    return f"{name[: LENGTH - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def metric_values(evaluation: Evaluation) -> Iterator[MetricValue]:
    """The numbers of an evaluation that are stored. What could not be computed has none."""
    yield MetricValue("exit_code", evaluation.exit_code)
    yield MetricValue("alarms", len(evaluation.alarms))
    yield MetricValue("not_computed", len(evaluation.not_computed))
    alarmed = {finding.column for finding in evaluation.judgement.alarms}
    for column in evaluation.drift.columns:
        if column.size is not None:
            yield MetricValue(name_of(DRIFT, column.column), column.size, rows=evaluation.drift.rows[1])
            yield MetricValue(name_of(ALARM, column.column), int(column.column in alarmed))
    answers = sum(evaluation.answered)
    if answers:
        for what, count in zip(("negative", "positive", "unknown"), evaluation.answered, strict=True):
            yield MetricValue(f"share_{what}", count / answers, rows=answers)
    if (soon := evaluation.expected) is not None:
        yield from _estimates({"accuracy_estimated": soon.accuracy, "likelier_estimated": soon.likelier}, soon.rows)
    if (mix := evaluation.expected_by_component) is not None:
        yield from _estimates({"accuracy_by_component": mix.accuracy, "likelier_by_component": mix.likelier}, mix.rows)
    if (real := evaluation.performance) is not None:
        estimates = {"accuracy_realised": real.accuracy, "likelier_realised": real.likelier, "calibration_gap": real.gap}
        yield from _estimates(estimates, real.rows)
        yield from _estimates({"false_negatives_so_far": real.false_negatives}, None)
        yield MetricValue("mature", int(evaluation.mature))
    if evaluation.window_history:
        yield from _estimates({"false_negatives": evaluation.window_history[-1].false_negatives}, evaluation.window_history[-1].rows)


def with_outcomes_since(history: History, window_history: Sequence[WindowPerformance]) -> History:
    """The history, updated with the outcomes that arrived after each window was evaluated."""
    updated = dict(history)
    for metric, of in (("accuracy_realised", "accuracy"), ("false_negatives", "false_negatives")):
        points = {point.at_s: point for point in history.get(metric, ())}
        for period in window_history:
            estimate: Estimate = getattr(period, of)
            if not math.isnan(estimate.value):
                points[period.end_s] = MetricPoint(period.end_s, estimate.value, estimate.low, estimate.high)
        updated[metric] = list(points.values())
    return updated


def _estimates(estimates: Mapping[str, Estimate], rows: int | None) -> Iterator[MetricValue]:
    for metric, estimate in estimates.items():
        if not math.isnan(estimate.value):
            yield MetricValue(metric, estimate.value, estimate.low, estimate.high, rows)


def trends(history: History, columns: Sequence[str], *, words: tuple[str, str], alpha: float) -> list[Trend]:
    """The pictures of a history.

    Args:
        history: metric -> its numbers.
        columns: the columns that matter most, in their order.
        words: of the negative and the positive class.
        alpha: what is promised of the negative answers.
    """
    drifted = [(column, name_of(DRIFT, column)) for column in columns if len(history.get(name_of(DRIFT, column), ())) > 1]
    shares = [(words[0], "share_negative"), (words[1], "share_positive"), ("unknown", "share_unknown")]
    wrong = [("of the window", "false_negatives"), ("so far", "false_negatives_so_far")]
    right = [
        ("with outcomes", "accuracy_realised"),
        ("expected by component", "accuracy_by_component"),
        ("expected by probability", "accuracy_estimated"),
    ]
    every = [
        Trend("Drift by column (Jensen-Shannon distance)", _lines(history, drifted[:MOST_COLUMNS])),
        Trend("Share of the answers", _lines(history, shares), is_share=True),
        Trend(f"“{words[0]}” that are {words[1]}", _lines(history, wrong), is_share=True, limit=alpha),
        Trend("Right, where a class was said", _lines(history, right), is_share=True),
        Trend("Alarms", _lines(history, [("alarms", "alarms")])),
    ]
    return [trend for trend in every if trend.lines]


def _lines(history: History, chosen: Sequence[tuple[str, str]]) -> tuple[TrendLine, ...]:
    """The numbers that have at least two points, the newest of them."""
    series = ((label, sorted(history.get(metric, ()), key=lambda point: point.at_s)[-MOST_POINTS:]) for label, metric in chosen)
    return tuple(TrendLine(label, tuple(points), label.startswith("expected")) for label, points in series if len(points) > 1)

"""The numbers of an evaluation that are kept, and what they were over time, as lines of a picture."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sporeprint.monitoring.evaluation import Evaluation, WindowPerformance
from sporeprint.stats.intervals import Estimate

#: Most characters of a metric's name in the warehouse.
LENGTH = 64
#: Before a column's name.
DRIFT, ALARM = "drift:", "alarm:"
#: Evaluations on a picture.
MOST_POINTS = 120
#: Of a picture, in units of its own.
WIDTH, HEIGHT = 320.0, 110.0
#: Columns that have a line.
MOST_COLUMNS = 8


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
    """A line of a picture.

    Attributes:
        label: what it is.
        points: its corners, as SVG has them: "x,y x,y".
        marks: x, y and words of every number.
        band: the interval around it, as a polygon; empty where it has none.
        last: the last number, in words.
        style: number of its colour.
    """

    label: str
    points: str
    marks: tuple[tuple[float, float, str], ...]
    band: str
    last: str
    style: int


@dataclass(frozen=True, slots=True)
class Trend:
    """A picture of numbers over time.

    Attributes:
        title: what it shows.
        first: time of its left end.
        last: time of its right end.
        low: number at its bottom.
        high: number at its top.
        lines: its lines.
        limit: height of what is promised; None where nothing is.
    """

    title: str
    first: str
    last: str
    low: str
    high: str
    lines: tuple[TrendLine, ...]
    limit: float | None = None


def name_of(kind: str, column: str) -> str:
    """The name of a metric of a column: no longer than names may be, and no other column's."""
    name = f"{kind}{column}"
    if len(name) <= LENGTH:
        return name
    return f"{name[: LENGTH - 9]}~{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def metric_values(evaluation: Evaluation) -> Iterator[MetricValue]:
    """The numbers of an evaluation that are kept. What could not be computed has none."""
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
        yield from _estimates(estimates, real.labelled)
        yield from _estimates({"false_negatives_so_far": real.false_negatives}, None)
        yield MetricValue("mature", int(evaluation.mature))
    if evaluation.window_history:
        yield from _estimates({"false_negatives": evaluation.window_history[-1].false_negatives}, evaluation.window_history[-1].labelled)


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
    chosen: list[tuple[str, list[tuple[str, str]], float | None]] = [
        ("Drift by column (Jensen-Shannon distance)", drifted[:MOST_COLUMNS], None),
        ("Share of the answers", [(words[0], "share_negative"), (words[1], "share_positive"), ("unknown", "share_unknown")], None),
        (f"“{words[0]}” that are {words[1]}", [("of the window", "false_negatives"), ("so far", "false_negatives_so_far")], alpha),
        (
            "Right, where a class was said",
            [
                ("with outcomes", "accuracy_realised"),
                ("expected by component", "accuracy_by_component"),
                ("expected by probability", "accuracy_estimated"),
            ],
            None,
        ),
        ("Alarms", [("alarms", "alarms")], None),
    ]
    drawn = (_trend(title, [(label, history.get(metric, ())) for label, metric in lines], limit) for title, lines, limit in chosen)
    return [trend for trend in drawn if trend is not None]


def _trend(title: str, series: Sequence[tuple[str, Sequence[MetricPoint]]], limit: float | None) -> Trend | None:
    """A picture; None where no line has two points."""
    cut = [(label, sorted(points, key=lambda point: point.at_s)[-MOST_POINTS:]) for label, points in series]
    cut = [(label, points) for label, points in cut if len(points) > 1]
    if not cut:
        return None
    every = [point for _, points in cut for point in points]
    first, last = min(point.at_s for point in every), max(point.at_s for point in every)
    numbers = [number for point in every for number in (point.value, point.low, point.high) if number is not None]
    numbers += [] if limit is None else [limit]
    low, high = min(numbers), max(numbers)
    if 0 <= low < 0.5 * high:
        low = 0.0
    room = (high - low) or 1.0

    def x(at_s: float) -> float:
        return WIDTH * (at_s - first) / ((last - first) or 1.0)

    def y(value: float) -> float:
        return HEIGHT * (1 - (value - low) / room)

    lines = []
    for place, (label, points) in enumerate(cut):
        marks = tuple((x(point.at_s), y(point.value), f"{label}, {_minute(point.at_s)}: {point.value:.4g}") for point in points)
        ends = [(x(point.at_s), y(point.high), y(point.low)) for point in points if point.low is not None and point.high is not None]
        around = [(at, top) for at, top, _ in ends] + [(at, bottom) for at, _, bottom in reversed(ends)]
        line = " ".join(f"{at:.1f},{height:.1f}" for at, height, _ in marks)
        band = " ".join(f"{at:.1f},{height:.1f}" for at, height in around) if len(ends) > 1 else ""
        lines.append(TrendLine(label, line, marks, band, f"{points[-1].value:.4g}", place))
    return Trend(title, _minute(first), _minute(last), f"{low:.3g}", f"{high:.3g}", tuple(lines), None if limit is None else y(limit))


def _minute(at_s: float) -> str:
    return f"{datetime.fromtimestamp(int(at_s), UTC):%Y-%m-%d %H:%M}"

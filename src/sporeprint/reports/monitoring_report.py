"""An evaluation as one HTML file that needs no network. Its charts are drawn in it: its size does not grow with the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sporeprint.common.counts import number_of
from sporeprint.common.text_table import Table
from sporeprint.monitoring.drift_importance import RankedColumn
from sporeprint.monitoring.evaluation import Evaluation, EvaluationStatus, Overlay, percent
from sporeprint.monitoring.trends import Trend
from sporeprint.reports import page
from sporeprint.web.charts import Axis, Chart, Dot, Line, Mark, Point, Row, RowPart, lines_chart, rows_chart

#: Distributions, slices, and lines of a list on a page; what is more of a list is folded.
MOST_OVERLAYS, MOST_SLICES, MOST_LINES = 24, 20, 5


@dataclass(frozen=True)
class Earlier:
    """An earlier evaluation.

    Attributes:
        at: when.
        status: what it came to.
        current: what was evaluated.
        alarms: how many.
        file: its page, in the same folder.
    """

    at: str
    status: str
    current: str
    alarms: int
    file: str


def overlay_charts(evaluation: Evaluation) -> list[Chart]:
    """The distributions of the columns whose change matters most."""
    sentences: dict[str, list[str]] = {}
    for finding in evaluation.judgement.findings:
        if finding.significant:
            sentences.setdefault(finding.column, []).append(evaluation.describe(finding).partition(": ")[2])
    shown = [item for item in evaluation.ranking if item.column in evaluation.overlays][:MOST_OVERLAYS]
    return [
        overlay_chart(f"column-{place}", item, evaluation.overlays[item.column], "; ".join(sentences.get(item.column, [])))
        for place, item in enumerate(shown)
    ]


def overlay_chart(name: str, column: RankedColumn, overlay: Overlay, change: str) -> Chart:
    """Two distributions: bars are the reference's shares, dots the current ones."""
    role = "warn" if column.alarm else "ink"
    rows = [
        Row(label, [RowPart(old, "pale")], [Dot(new, role=role)], text=f"{old:.0%} \N{RIGHTWARDS ARROW} {new:.0%}")
        for label, old, new in zip(overlay.labels, overlay.reference, overlay.current, strict=True)
    ]
    title = f"{column.column}: alarm" if column.alarm else column.column
    finding = f"{column.column}: {change or 'no change that is more than chance'}."
    return rows_chart(name, title, finding, rows, axis=Axis("share", from_zero=True), note=change, is_small=True)


def trend_chart(name: str, trend: Trend) -> Chart:
    """Numbers over time."""
    y = Axis("share") if trend.is_share else Axis(from_zero=True)
    lines = [
        Line(line.label, [Point(each.at_s, each.value, each.low, each.high) for each in line.points], is_dashed=line.is_expected)
        for line in trend.lines
    ]
    marks = [] if trend.limit is None else [Mark(trend.limit, f"promised: at most {percent(trend.limit)}")]
    finding = f"{trend.title}, at last: {'; '.join(f'{line.label} {y.text(line.points[-1].value)}' for line in lines)}."
    return lines_chart(name, trend.title, finding, lines, y=y, marks=marks)


def advice(evaluation: Evaluation) -> list[str]:
    """What to do about it, in sentences."""
    lines = []
    checks = {finding.check.about for finding in evaluation.judgement.alarms}
    if "new values" in checks:
        lines.append(
            "New values: find out whether they are right. If they are, add them to the contract and train again; the model answers unknown."
        )
    if "missing" in checks:
        lines.append("Missing values: look at where the rows come from; a broken source is repaired there, not in the model.")
    if "values" in checks:
        lines.append("Changed values: compare with the outcomes, if there are any. Where answers got worse, train on newer rows.")
    if evaluation.performance is not None and evaluation.performance.promise.value == "broken":
        lines.append(
            f"The answer “{evaluation.words[0]}” is wrong more often than promised: stop relying on it until the model is replaced."
        )
    if evaluation.not_computed:
        lines.append("What was not computed is not known to be fine: a larger window, or the missing columns, would tell.")
    return lines


def since(evaluation: Evaluation) -> str:
    """Since when the oldest alarm is on."""
    times = [finding.since_s for finding in evaluation.judgement.alarms if finding.since_s is not None]
    return datetime.fromtimestamp(min(times), UTC).isoformat() if times else ""


def render(evaluation: Evaluation, history: Sequence[Earlier], trends: Sequence[Trend] = ()) -> str:
    """The page.

    Args:
        evaluation: what it shows.
        history: earlier evaluations.
        trends: numbers of earlier evaluations of the same kind, and of this one.
    """
    tables: list[Table] = [evaluation.column_table()] if evaluation.drift.columns and not evaluation.drift.problems else []
    if evaluation.expected is not None or evaluation.performance is not None:
        tables.append(evaluation.performance_table())
    if evaluation.window_history:
        tables.append(evaluation.window_table())
    if evaluation.slices is not None and evaluation.slices.drops:
        tables.append(evaluation.slice_table(MOST_SLICES))
    columns = len({finding.column for finding in evaluation.judgement.alarms})
    where = f" in {number_of(columns, 'column')}" if columns else ""
    head = {
        EvaluationStatus.ALARM: f"{number_of(len(evaluation.alarms), 'alarm')}{where}.",
        EvaluationStatus.NOT_COMPUTED: "No alarm, but not all could be computed.",
        EvaluationStatus.FINE: "No alarm; everything was computed.",
    }[evaluation.status]
    return page.render(
        "monitoring.html.j2",
        simulated=evaluation.simulated,
        evaluation=evaluation,
        head=head,
        since=since(evaluation),
        advice=advice(evaluation),
        alarms=evaluation.alarms_by_column,
        most=MOST_LINES,
        overlays=overlay_charts(evaluation),
        tables=tables,
        history=history,
        trends=[trend_chart(f"trend-{place}", trend) for place, trend in enumerate(trends)],
        false_alarms=percent(evaluation.policy.alpha),
        days=f"{evaluation.policy.period_s / 86_400:g}",
        level=f"{evaluation.judgement.level:.2g}",
    )

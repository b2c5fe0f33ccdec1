"""`/ui/monitoring`: what changed, feature by feature and evaluation by evaluation, how good the answers were, and each evaluation."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sporeprint.messages.monitoring import ColumnChange, EvaluationSummary, MetricRange
from sporeprint.model_serving.endpoints.monitoring import list_evaluations, list_streams, report_evaluation, show_evaluation
from sporeprint.model_serving.ui.evaluation_lines import ColumnLine, column_lines, overlays, worst_slices
from sporeprint.model_serving.ui.page_endpoint import Document, Page, PageRequest, PageResponse
from sporeprint.safety.verdict import verdict_words
from sporeprint.web.charts import Axis, Chart, HeatCell, HeatColumn, HeatMap, Line, Mark, Point, lines_chart
from sporeprint.web.names import label_of
from sporeprint.web.pages import MONTHS, moment, share
from sporeprint.web.words import Words

#: Rows and columns of the heat map.
MOST_ROWS, MOST_COLUMNS = 20, 60


async def show_monitoring(request: PageRequest) -> PageResponse:
    """One stream over time."""
    streams = (await list_streams(request.service)).streams
    filters = request.query.get("stream", "")
    chosen = next((each for each in streams if each.stream_id == filters), streams[0] if streams else None)
    result = () if chosen is None else (await list_evaluations(request.service, stream=chosen.stream_id, limit=MOST_COLUMNS)).evaluations
    negative, positive, _ = map(request.words.of_table, verdict_words(request.service.settings.dataset))
    values: dict[str, Any] = {
        "streams": streams,
        "chosen": chosen,
        "evaluations": result,
        "last": result[0] if result else None,
        "lines": _alarm_lines(result[0]) if result else [],
    }
    if result:
        oldest_first = result[::-1]
        values |= {
            "heat": _heat_map(oldest_first, request.base, request.words),
            "charts_over_time": _over_time(oldest_first, (negative, positive), request.words),
        }
    return PageResponse("monitoring.html.j2", values)


async def show_one(request: PageRequest) -> PageResponse:
    """One evaluation."""
    result = await show_evaluation(request.path["evaluation_id"], request.service)
    schema = request.service.settings.dataset
    negative, positive, _ = map(request.words.of_table, verdict_words(schema))
    details: Mapping[str, Any] = result.details or {}
    lines = column_lines(details, schema, request.words) or [ColumnLine(*each) for each in _alarm_lines(result.summary)]
    values = {
        "result": result,
        "summary": result.summary,
        "lines": lines,
        "overlays": overlays(details, lines),
        "slices": worst_slices(details, schema),
        "negative": negative,
        "positive": positive,
    }
    return PageResponse("evaluation.html.j2", values)


async def show_report(request: PageRequest) -> Document:
    """The report that was written then, as it was."""
    result = await report_evaluation(request.path["evaluation_id"], request.service)
    return Document(
        bytes(result.body), "text/html; charset=utf-8", ((b"content-security-policy", result.headers["content-security-policy"].encode()),)
    )


def _alarm_lines(summary: EvaluationSummary) -> list[tuple[str, tuple[str, ...]]]:
    """Alarms by column, what matters most first; those of no column stand for themselves."""
    lines: dict[str, list[str]] = {}
    for text in summary.alarms:
        column, colon, what = text.partition(": ")
        known = colon and any(each.column == column for each in summary.columns)
        lines.setdefault(label_of(column) if known else "", []).append(what if known else text)
    return [(label, tuple(texts)) for label, texts in lines.items()]


# --- over time -----------------------------------------------------------------------------------------------------------


def _at(each: EvaluationSummary) -> datetime:
    return datetime.fromisoformat(each.at)


def _heat_map(evaluations: Sequence[EvaluationSummary], base: str, words: Words) -> HeatMap:
    """Columns of the table by evaluations: those that matter most in the newest one first."""
    names = list(dict.fromkeys(column.column for each in reversed(evaluations) for column in each.columns))[:MOST_ROWS]
    by_name = [{column.column: column for column in each.columns} for each in evaluations]
    columns = [HeatColumn(label, moment(each.at), f"{base}monitoring/{each.evaluation_id}") for label, each in _labelled(evaluations)]
    rows = [(words.of_table(label_of(name)), [_cell(known.get(name), words) for known in by_name]) for name in names]
    return HeatMap(words("How much each column has changed"), words("Column"), columns, rows, words("no evaluation"))


def _labelled(evaluations: Sequence[EvaluationSummary]) -> Iterator[tuple[str, EvaluationSummary]]:
    """Each evaluation with the day of its month; the month where it begins, the time where there are several a day."""
    before = None
    for each in evaluations:
        at = _at(each)
        if before is not None and before.date() == at.date():
            label = f"{at:%H:%M}"
        else:
            label = f"{at.day} {MONTHS[at.month - 1]}" if before is None or before.month != at.month else str(at.day)
        before = at
        yield label, each


def _cell(column: ColumnChange | None, words: Words) -> HeatCell | None:
    if column is None:
        return None
    if column.size is None or not column.floor:
        return HeatCell(words("not computed: {why}", why=column.not_computed or "-"))
    times = column.size / column.floor
    numbers = {"size": f"{column.size:.3g}", "times": f"{times:.2g}", "floor": f"{column.floor:g}"}
    says = words("{size}, {times} times the {floor} that matters", **numbers)
    return HeatCell(f"{says}: {words('ALARM')}" if column.alarm else says, times, column.alarm)


def _over_time(evaluations: Sequence[EvaluationSummary], classes: tuple[str, str], words: Words) -> list[Chart]:
    """Accuracy with what was expected, wrong negative answers with what is promised, and what was answered."""
    negative, positive = classes
    charts = []
    if any(each.accuracy or each.expected for each in evaluations):
        lines = [
            Line(words("with outcomes"), _points(evaluations, lambda each: each.accuracy if each.mature else None), "s1"),
            Line(
                words("outcomes still to come"),
                _points(evaluations, lambda each: None if each.mature else each.accuracy),
                "s4",
                is_dashed=True,
            ),
            Line(words("expected"), _points(evaluations, lambda each: each.expected), "soft", is_dashed=True),
        ]
        charts.append(_chart("accuracy", words("Share of right answers"), lines, words))
    if any(each.false_negatives for each in evaluations):
        wrong = [Line(words("wrong"), _points(evaluations, lambda each: each.false_negatives), "warn")]
        title = words("Answers “{negative}” that were {positive}", negative=negative, positive=positive)
        alpha = evaluations[-1].alpha
        charts.append(_chart("wrong", title, wrong, words, (Mark(alpha, words("promised: at most {share}", share=share(alpha))),)))
    answered = [
        Line(
            word,
            [
                Point(_at(each).timestamp(), each.answered.get(name, 0) / total)
                for each in evaluations
                if (total := sum(each.answered.values()))
            ],
            role,
        )
        for name, word, role in (("negative", negative, "good"), ("positive", positive, "warn"), ("unknown", words("unknown"), "soft"))
    ]
    if any(line.points for line in answered):
        charts.append(_chart("answers", words("What was answered"), answered, words))
    return charts


def _points(evaluations: Iterable[EvaluationSummary], of: Any) -> list[Point]:
    result: list[tuple[EvaluationSummary, MetricRange | None]] = [(each, of(each)) for each in evaluations]
    return [Point(_at(each).timestamp(), known.value, known.low, known.high) for each, known in result if known is not None]


def _chart(name: str, title: str, lines: Sequence[Line], words: Words, marks: Sequence[Mark] = ()) -> Chart:
    known = [line for line in lines if line.points]
    finding = "; ".join(f"{line.label}: {share(line.points[-1].value)}" for line in known)
    return lines_chart(name, title, finding, known, y=Axis("share"), marks=marks, numbers=words("The numbers"))


MONITORING_PAGES: tuple[Page, ...] = (
    ("ui_monitoring", "GET", "/monitoring", show_monitoring),
    ("ui_evaluation", "GET", "/monitoring/{evaluation_id}", show_one),
    ("ui_evaluation_report", "GET", "/monitoring/{evaluation_id}/report", show_report),
)

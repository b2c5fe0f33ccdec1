"""An evaluation as one HTML file that needs no network. Its pictures are boxes, drawn in it: its size does not grow with the data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sporeprint.common.text_table import Table
from sporeprint.monitoring.evaluation import Evaluation, EvaluationStatus, Overlay, percent
from sporeprint.monitoring.trends import Trend

#: Pictures, and slices, on a page.
MOST_PICTURES, MOST_SLICES = 24, 20
#: Of a picture, in units of its own.
WIDTH, HEIGHT = 320.0, 110.0
#: Of lines over time: told apart by people who do not see red or green, on white and on black.
COLOURS = ("#2f7dd1", "#d1641c", "#1f9d77", "#a05bc0")


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


@dataclass(frozen=True)
class Bar:
    """A bin of a picture: where it is, how high the two bars are, and its text.

    Attributes:
        x: left end.
        width: of the bin.
        reference: height of the reference's bar.
        current: height of the current one.
        label: in words.
    """

    x: float
    width: float
    reference: float
    current: float
    label: str


@dataclass(frozen=True)
class Picture:
    """Two distributions on top of each other.

    Attributes:
        column: whose.
        alarm: whether it raised an alarm.
        label: what changed, in words; empty if nothing did.
        first: label of the first bin.
        last: label of the last bin.
        bars: the bins.
    """

    column: str
    alarm: bool
    label: str
    first: str
    last: str
    bars: tuple[Bar, ...]


def picture(column: str, overlay: Overlay, alarm: bool, label: str) -> Picture:
    """Place the bars."""
    highest = max((*overlay.reference, *overlay.current), default=0.0) or 1.0
    width = WIDTH / max(1, len(overlay.labels))
    bars = tuple(
        Bar(place * width, width, old / highest * HEIGHT, new / highest * HEIGHT, f"{label}: {percent(new)}, was {percent(old)}")
        for place, (label, old, new) in enumerate(zip(overlay.labels, overlay.reference, overlay.current, strict=True))
    )
    return Picture(column, alarm, label, overlay.labels[0], overlay.labels[-1], bars)


def pictures(evaluation: Evaluation) -> list[Picture]:
    """The columns whose change matters most."""
    sentences: dict[str, list[str]] = {}
    for finding in evaluation.judgement.findings:
        if finding.significant:
            sentences.setdefault(finding.column, []).append(evaluation.describe(finding).partition(": ")[2])
    shown = [item for item in evaluation.ranking if item.column in evaluation.overlays][:MOST_PICTURES]
    return [picture(item.column, evaluation.overlays[item.column], item.alarm, "; ".join(sentences.get(item.column, []))) for item in shown]


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
    return datetime.fromtimestamp(min(times), UTC).isoformat(timespec="minutes") if times else ""


def render(evaluation: Evaluation, history: Sequence[Earlier], trends: Sequence[Trend] = ()) -> str:
    """The page.

    Args:
        evaluation: what it shows.
        history: earlier evaluations.
        trends: numbers of earlier evaluations of the same kind, and of this one.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("sporeprint.reports")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    tables: list[Table] = [evaluation.column_table()] if evaluation.drift.columns and not evaluation.drift.problems else []
    if evaluation.expected is not None or evaluation.performance is not None:
        tables.append(evaluation.performance_table())
    if evaluation.window_history:
        tables.append(evaluation.window_table())
    if evaluation.slices is not None and evaluation.slices.drops:
        tables.append(evaluation.slice_table(MOST_SLICES))
    head = {
        EvaluationStatus.ALARM: f"{len(evaluation.alarms)} alarm{'s' if len(evaluation.alarms) > 1 else ''}.",
        EvaluationStatus.NOT_COMPUTED: "No alarm, but not all could be computed.",
        EvaluationStatus.FINE: "No alarm; everything was computed.",
    }[evaluation.status]
    return environment.get_template("monitoring.html.j2").render(
        simulated=evaluation.simulated,
        evaluation=evaluation,
        head=head,
        since=since(evaluation),
        advice=advice(evaluation),
        pictures=pictures(evaluation),
        tables=tables,
        history=history,
        trends=trends,
        colours=COLOURS,
        width=WIDTH,
        height=HEIGHT,
        false_alarms=percent(evaluation.policy.alpha),
        days=f"{evaluation.policy.period_s / 86_400:g}",
        level=f"{evaluation.judgement.level:.2g}",
    )

"""The charts of an evaluation, by the names of their files. A model has one colour in all of them; unseen is dashed or hollow."""

import math
from collections.abc import Callable, Mapping, Sequence

from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.partial_scorecard import PartialCounts
from sporeprint.evaluation.safety_scorecard import GuardEvaluation, PredictionCounts
from sporeprint.evaluation.scorecard import Curve, ModelEvaluation, ScoreCard, Unavailable
from sporeprint.reports.class_words import ClassWords, shortened
from sporeprint.reports.numbers import decimal, percent
from sporeprint.stats.intervals import Estimate, clopper_pearson
from sporeprint.web.charts import Axis, Chart, Dot, Line, Point, Row, RowPart, lines_chart, rows_chart
from sporeprint.web.charts.figure import SERIES
from sporeprint.web.names import spaced

#: Metrics of the chart that sets seen against unseen: name, and what it says.
COMPARED = {
    "accuracy": ("accuracy", "share of right answers"),
    "roc_auc": ("ROC AUC", "how well the classes are separated"),
    "mcc": ("MCC", "0 is guessing, 1 is always right"),
}
#: Columns in a chart of feature importance.
MOST_FEATURES = 15
#: Height of a chart whose axes both go from 0 to 1.
SQUARE = 230.0
#: Level of the interval around an observed share.
CONFIDENCE = 0.95
STAMP = "SIMULATED DATA"


def palette(models: Sequence[str]) -> dict[str, str]:
    """The colour of each model, a class of the style sheet, by its place; more models than colours share them."""
    return {name: SERIES[place % len(SERIES)] for place, name in enumerate(models)}


def unseen_cards(evaluations: Mapping[str, ModelEvaluation]) -> dict[str, ScoreCard]:
    """The models that could be measured on unseen groups."""
    return {name: evaluation.unseen for name, evaluation in evaluations.items() if not isinstance(evaluation.unseen, Unavailable)}


def evaluation_charts(context: ReportContext) -> dict[str, Chart]:
    """Every chart that the evaluations allow.

    Returns:
        name of the file, without its ending -> chart: `seen_against_unseen`, `roc`, `pr`, `reliability_seen`, `answers`; where they could
        be measured `reliability_unseen`, `guard`, `partial_answered`, `partial_missed`; and `importance_<model>`.
    """
    words, stamp = ClassWords.of(context.schema), STAMP if context.simulated else ""
    evaluations, unseen = context.evaluations, unseen_cards(context.evaluations)
    seen = {name: evaluation.seen for name, evaluation in evaluations.items()}
    charts = {
        "seen_against_unseen": gap_chart(evaluations, words, stamp),
        "roc": roc_chart(evaluations, words, stamp),
        "pr": pr_chart(evaluations, words, stamp),
        "reliability_seen": reliability_chart("reliability-seen", seen, words, words.seen, stamp),
        "answers": answers_chart(evaluations, words, stamp),
    }
    if unseen:
        charts["reliability_unseen"] = reliability_chart("reliability-unseen", unseen, words, words.unseen, stamp)
    if not isinstance(context.guard, Unavailable):
        charts["guard"] = guard_chart(context.guard, words, stamp)
    if context.partial:
        charts |= {f"partial_{kind}": chart for kind, chart in partial_charts(context.partial, words, stamp).items()}
    for place, (name, role) in enumerate(palette(list(evaluations)).items()):
        if shares := context.importances.get(name):
            charts[f"importance_{name}"] = importance_chart(f"importance-{place}", name, shares, words, role, stamp)
    return charts


def gap_chart(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, stamp: str = "") -> Chart:
    """For every metric and model: seen, unseen, their intervals, and the way between them."""
    unseen, rows = unseen_cards(evaluations), []
    for metric in (metric for metric in COMPARED if all(metric in each.seen.metrics for each in evaluations.values())):
        rows.append(Row(": ".join(COMPARED[metric])))
        card = next(iter(unseen.values()), next(iter(evaluations.values())).seen)
        share = card.positives / max(card.rows, 1)
        guess = {"accuracy": max(share, 1 - share), "roc_auc": 0.5, "mcc": 0.0}[metric]
        for name, role in palette(list(evaluations)).items():
            dots = [_dot(evaluations[name].seen.metrics[metric], role)]
            dots += [_dot(unseen[name].metrics[metric], role, is_hollow=True)] if name in unseen else []
            text = " / ".join(decimal(dot.value, 3) for dot in dots)
            rows.append(Row(shortened(name), dots=dots, limit=guess, text=text))
    low = min((end for row in rows for end in row.ends), default=0.0)
    note = f"Filled: {words.seen}. Hollow: {words.unseen}{'' if unseen else ' (not available)'}. Red marks: guessing."
    return rows_chart(
        "gap",
        f"{words.seen.capitalize()} against {words.unseen}",
        f"Each model's metrics on {words.seen} and on {words.unseen}. Accuracy of {_values(evaluations, words, 'accuracy')}.",
        rows,
        axis=Axis(low=min(0.0, low), high=1.0),
        note=note,
        stamp=stamp,
    )


def _dot(estimate: Estimate, role: str, *, is_hollow: bool = False) -> Dot:
    return Dot(estimate.value, estimate.low, estimate.high, role, is_hollow)


def _values(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, metric: str) -> str:
    """A metric of all models, in words."""
    parts, unseen = [], unseen_cards(evaluations)
    for name, evaluation in evaluations.items():
        after = f", {words.unseen} {decimal(unseen[name].metrics[metric].value)}" if name in unseen else ""
        parts.append(f"{spaced(name)}: {words.seen} {decimal(evaluation.seen.metrics[metric].value)}{after}")
    return "; ".join(parts)


def roc_chart(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, stamp: str = "") -> Chart:
    """ROC curves of all models: seen solid, unseen dashed."""
    lines = _curves(evaluations, lambda card: card.roc, "roc_auc", is_stepped=False)
    lines.append(Line("guessing 0.5", [Point(at, at) for at in (0.0, 0.5, 1.0)], "soft", is_dashed=True, has_dots=False))
    title, finding = (
        f"ROC: {words.positive} detected, against false alarms",
        f"ROC curves. Area of {_values(evaluations, words, 'roc_auc')}.",
    )
    axes = f"share of {words.negative} called {words.positive}", f"share of {words.positive} called {words.positive}"
    return _square("roc", title, finding, lines, axes, "The nearer to the upper left corner the better. Numbers: area.", stamp)


def pr_chart(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, stamp: str = "") -> Chart:
    """Precision over recall of all models: seen solid, unseen dashed."""
    # Precision is not linear between two points of recall (Davis and Goadrich, 2006): each one holds back to the one before.
    lines = _curves(evaluations, lambda card: card.pr, "pr_auc", is_stepped=True)
    card = next(iter(evaluations.values())).seen
    share = card.positives / max(card.rows, 1)
    lines.append(
        Line(f"calling all {words.positive}", [Point(at, share) for at in (0.0, 0.5, 1.0)], "soft", is_dashed=True, has_dots=False)
    )
    finding = f"Precision over recall. Area of {_values(evaluations, words, 'pr_auc')}."
    axes = f"recall: share of {words.positive} detected", f"precision: {words.positive} among those called so"
    return _square("pr", "Precision and recall", finding, lines, axes, "Numbers: area.", stamp)


def _square(name: str, title: str, finding: str, lines: Sequence[Line], axes: tuple[str, str], note: str, stamp: str) -> Chart:
    x, y = (Axis(label=label, low=0.0, high=1.0) for label in axes)
    return lines_chart(name, title, finding, lines, x=x, y=y, note=note, stamp=stamp, height=SQUARE, is_small=True, has_table=False)


def _curves(evaluations: Mapping[str, ModelEvaluation], curve: Callable[[ScoreCard], Curve], area: str, *, is_stepped: bool) -> list[Line]:
    unseen, lines = unseen_cards(evaluations), []
    for name, role in palette(list(evaluations)).items():
        cards = {"seen": evaluations[name].seen, **({"unseen": unseen[name]} if name in unseen else {})}
        for side, card in cards.items():
            points, value = curve(card), card.metrics[area].value if area in card.metrics else math.nan
            label = f"{shortened(name)}, {side} {decimal(value, 3)}"
            lines.append(Line(label, [Point(*at) for at in zip(points.x, points.y, strict=True)], role, side == "unseen", is_stepped))
    return lines


def reliability_chart(name: str, cards: Mapping[str, ScoreCard], words: ClassWords, where: str, stamp: str = "") -> Chart:
    """Observed share over the stated probability, with the interval that the number of rows allows."""
    lines = [Line("as stated", [Point(at, at) for at in (0.0, 0.5, 1.0)], "soft", is_dashed=True, has_dots=False)]
    for model, role in palette(list(cards)).items():
        bins = cards[model].reliability
        points = []
        for score, share, count in zip(bins.mean_score, bins.observed, bins.count, strict=True):
            points.append(Point(score, share, *clopper_pearson(round(share * count), count, CONFIDENCE)))
        lines.append(Line(f"{shortened(model)}, ECE {decimal(cards[model].metrics['ece'].value, 3)}", points, role))
    title = f"Are the probabilities true on {where}?"
    finding = (
        f"Observed share over stated probability, on {where}. ECE of {'; '.join(line.label.replace(', ECE', '') for line in lines[1:])}."
    )
    axes = f"stated probability of {words.positive}", f"share that is {words.positive}"
    return _square(name, title, finding, lines, axes, f"Shaded: {CONFIDENCE:.0%} intervals, wide where rows are few.", stamp)


def importance_chart(chart: str, name: str, shares: Mapping[str, float], words: ClassWords, role: str, stamp: str = "") -> Chart:
    """The columns that a model uses most, as shares of all it uses."""
    top = sorted(shares.items(), key=lambda item: -item[1])[:MOST_FEATURES]
    rows = [Row(shortened(words.columns.get(column, column)), [RowPart(share, role)], text=percent(share)) for column, share in top]
    finding = f"What {spaced(name)} uses most: {', '.join(f'{row.label} {row.text}' for row in rows[:5])}."
    heads = "column", "share of use"
    return rows_chart(chart, f"What {shortened(name)} uses", finding, rows, axis=SHARE, heads=heads, stamp=stamp, is_small=True)


SHARE = Axis("share", from_zero=True)
#: Colours of false negatives, other wrong answers, right answers, unknown.
ANSWER_ROLES = ("warn", "s5", "good", "pale")


def answers_chart(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, stamp: str = "") -> Chart:
    """What becomes of the rows: wrong in the way that must not happen, wrong, right, unknown."""
    missed, rows = f"{words.positive} called {words.negative}", []
    for name, evaluation in evaluations.items():
        for side, counts in (("seen", evaluation.safety.seen), ("unseen", evaluation.safety.unseen)):
            if counts is not None:
                parts = [RowPart(share, role) for share, role in zip(_answer_shares(counts), ANSWER_ROLES, strict=True)]
                rows.append(Row(f"{shortened(name)}, {side}", parts, text=f"{counts.false_negative:,} missed"))
    finding = f"Of all rows, {missed}: {'; '.join(f'{row.label} {row.text}' for row in rows)}."
    key = tuple(zip(ANSWER_ROLES, (missed, "other wrong answer", "right answer", "unknown"), strict=True))
    return rows_chart("answers-chart", "What is answered", finding, rows, axis=Axis("share", low=0.0, high=1.0), key=key, stamp=stamp)


def _answer_shares(counts: PredictionCounts) -> tuple[float, float, float, float]:
    rows = max(counts.rows, 1)
    wrong = counts.answered - counts.correct - counts.false_negative
    return counts.false_negative / rows, wrong / rows, counts.correct / rows, 1 - counts.answered / rows


def guard_chart(guard: GuardEvaluation, words: ClassWords, stamp: str = "") -> Chart:
    """How many rows of unknown groups are answered, and how many of these wrongly, as fewer of the known rows are left unanswered."""
    curve = sorted((1 - coverage, answered, missed) for coverage, answered, missed in guard.curve)
    lines = [
        Line(f"answered, of {words.unseen}", [Point(at, answered) for at, answered, _ in curve]),
        Line(f"of them {words.positive} called {words.negative}", [Point(at, missed) for at, _, missed in curve], "warn"),
    ]
    at, answered, missed = curve[0] if curve else (0.0, 0, 0)
    return lines_chart(
        "guard",
        f"The guard alone, on {words.unseen}",
        f"With {at:.1%} of {words.seen} left unanswered, {answered:,} rows of {words.unseen} are answered, {missed:,} of them wrongly.",
        lines,
        x=Axis("log", label=f"share of {words.seen} that is left unanswered"),
        y=Axis(label="rows", from_zero=True),
        note="The fewer rows like the training rows are left unanswered, the more of those unlike them pass too.",
        stamp=stamp,
        has_table=False,
    )


def partial_charts(partial: Sequence[PartialCounts], words: ClassWords, stamp: str = "") -> dict[str, Chart]:
    """By number of fields: the share of rows of known groups that are answered; and the share of positive rows called negative."""
    answered, missed = [], []
    for how in ("asked", "random"):
        items, is_dashed = [item for item in partial if item.how == how], how == "random"
        points = [Point(item.columns, item.seen.answered / max(item.seen.rows, 1)) for item in items]
        answered.append(Line(f"fields {how}", points, "s1", is_dashed))
        for side, role in (("seen", "s5"), ("unseen", "warn")):
            counts = [(item.columns, item.seen if side == "seen" else item.unseen) for item in items]
            points = [Point(number, each.false_negative / max(each.positives, 1)) for number, each in counts if each is not None]
            missed.append(Line(f"{getattr(words, side)}, {how}", points, role, is_dashed))
    x = Axis(label="fields")
    last = partial[-1]
    with_most = f"{last.seen.answered:,} of {last.seen.rows:,} rows of {words.seen} are answered with {last.columns} fields."
    wrong = "; ".join(f"{line.label}: {percent(max((point.value for point in line.points), default=0.0))} at most" for line in missed)
    called = f"{words.positive} called {words.negative}"

    def chart(kind: str, title: str, finding: str, lines: Sequence[Line], y: Axis) -> Chart:
        return lines_chart(f"partial-{kind}", title, finding, lines, x=x, y=y, stamp=stamp, is_small=True, has_table=False)

    return {
        "answered": chart("answered", f"Answered, of {words.seen}", with_most, answered, Axis("share", low=0.0, high=1.0)),
        "missed": chart("missed", f"Share of {called}", f"{called}: {wrong}.", missed, SHARE),
    }

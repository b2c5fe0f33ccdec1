"""What a person opens: the page about the models, the page about the rows, and the same numbers for programs.

Pure: value objects in, text out. A page is one file, pictures and style inside; it needs no network and no script.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.model_comparison import ModelComparison
from sporeprint.evaluation.scorecard import LOSSES, GroupErrors, ModelEvaluation, ScoreCard, Unavailable
from sporeprint.reports.class_words import ClassWords
from sporeprint.reports.evaluation_charts import evaluation_charts, palette, unseen_cards
from sporeprint.reports.numbers import percent
from sporeprint.reports.page import render
from sporeprint.reports.safety_section import answers_dict, in_short, missed_key, promise_in_words, safety_view
from sporeprint.schema import DatasetSchema
from sporeprint.stats.intervals import Estimate
from sporeprint.web.names import plural, spaced

#: What the metrics are called, and what they say, in the order of `evaluate.METRICS`. {p} and {n} are the classes' words.
METRIC_WORDS = {
    "accuracy": ("accuracy", "share of answers that are right"),
    "precision": ("precision", "of those called {p}, the share that is"),
    "recall": ("recall", "of the {p}, the share that is called so"),
    "f1": ("F1", "precision and recall in one number, their harmonic mean"),
    "mcc": ("MCC", "agreement of answer and truth: 1 is perfect, 0 is guessing"),
    "roc_auc": ("ROC AUC", "how often a row that is {p} scores above one that is {n}; 0.5 is a coin"),
    "pr_auc": ("PR AUC", "precision averaged over all values of recall"),
    "brier": ("Brier", "squared error of the probabilities; less is better"),
    "log_loss": ("log loss", "surprise at the truth, in nats; less is better"),
    "ece": ("ECE", "how far probabilities are from what happens; less is better"),
}
#: Metrics that people read as percentages.
SHARES = frozenset({"accuracy", "precision", "recall"})
#: Groups in the table of the hardest, and in how many steps of error share all of them are counted.
HARDEST, STEPS = 15, 5
#: Characters of a rejected row's value on the page: one field may hold megabytes.
LONGEST_VALUE = 120


@dataclass(frozen=True, slots=True)
class ValidationSummary:
    """The checks of a run's rows.

    Attributes:
        rows: rows in the source.
        good: rows that broke no rule.
        rejected: rows that did.
        malformed: rejected rows that could not be split into fields.
        duplicates: good rows that are copies of an earlier one.
        by_rule: rule -> rows that broke it.
        examples: a few rejected rows: `row`, `rules`, `reason`, `text` of a malformed one, and their values by column.
        missing: column -> share of the good rows without a value.
        groups: whether the declared groups hold, in a sentence.
        simulated: whether the rows were invented.
        source: where they come from.
        sha256: of the source.
        run_id: the run.
    """

    rows: int
    good: int
    rejected: int
    malformed: int
    duplicates: int
    by_rule: dict[str, int]
    examples: tuple[dict[str, Any], ...]
    missing: dict[str, float]
    groups: str
    simulated: bool
    source: str
    sha256: str
    run_id: str


# --- for programs ----------------------------------------------------------------------------------------------------


def metrics_dict(context: ReportContext) -> dict[str, Any]:
    """What models/metrics/metrics.json holds: JSON values, an undefined number as None.

    Positives that were called negative are counted under `false_` and the negative class's word: `false_edible`.
    """
    missed = missed_key(context.schema)
    return {
        "run_id": context.run_id,
        "created": context.created,
        "simulated": context.simulated,
        "data": {key: context.data[key] for key in ("source", "sha256", "rows", "rejected", "duplicates")},
        "production": _served(context),
        "rule": context.rule,
        "models": {
            name: {
                "version": context.versions.get(name),
                "fit_seconds": context.fit_seconds.get(name),
                "seen": _card_dict(evaluation.seen, missed),
                "unseen": _card_dict(evaluation.unseen, missed),
                "answers": answers_dict(context, name),
            }
            for name, evaluation in context.evaluations.items()
        },
        "comparisons": [_finite(asdict(item)) for item in context.comparisons],
    }


def _served(context: ReportContext) -> str | None:
    return context.production if context.production not in {"", "none"} else None


def _card_dict(card: ScoreCard | Unavailable, missed: str) -> dict[str, Any]:
    if isinstance(card, Unavailable):
        return {"available": False, "reason": card.reason}
    estimates = {name: _finite(asdict(estimate)) for name, estimate in card.metrics.items()}
    counts = {"rows": card.rows, "units": card.units, "positives": card.positives}
    return {"available": True, **estimates, **counts, "confusion": asdict(card.confusion), missed: card.confusion.fn}


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """The same values, those that JSON cannot hold as None."""
    return {
        key: _finite(value) if isinstance(value, dict) else None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


# --- the page about the models ---------------------------------------------------------------------------------------


def render_evaluation(context: ReportContext) -> str:
    """The page about the models, as HTML.

    Raises:
        ValueError: if no model was evaluated.
    """
    if not context.evaluations:
        raise ValueError("evaluations: expected at least one model, got none")
    words, unseen = ClassWords.of(context.schema), unseen_cards(context.evaluations)
    lead = _lead(context)
    evaluation = context.evaluations[lead]
    return render(
        "evaluation.html.j2",
        simulated=context.simulated,
        context=context,
        words=words,
        group=_group_word(context.schema),
        groups=plural(_group_word(context.schema)),
        lead=lead,
        served=_served(context),
        headline=_headline(evaluation, words, spaced(lead)),
        verdict=_verdict(evaluation, words),
        sides=_sides(evaluation, words, context.counted),
        guess=_guess(evaluation, words),
        unavailable=evaluation.unseen.reason if isinstance(evaluation.unseen, Unavailable) else None,
        colours=palette(list(context.evaluations)),
        metrics=_metric_rows(context, words, unseen),
        mistakes=_mistake_rows(context, unseen),
        comparisons=[_comparison(item, context.confidence) for item in context.comparisons],
        charts=evaluation_charts(context),
        methods={item.on: item.method for item in context.comparisons},
        most_used={
            name: _most_used(shares, words) for name, shares in context.importances.items() if shares and name in context.evaluations
        },
        spread=_spread(evaluation.by_group),
        hardest=_hardest(evaluation, context.group_names, words),
        careful=in_short(evaluation.safety, words),
        safety=safety_view(context, lead),
        promise=promise_in_words(context.thresholds[lead], words, context.guard_settings.coverage, group=_group_word(context.schema)),
        level=f"{context.confidence * 100:g}\N{NO-BREAK SPACE}%",
    )


def _lead(context: ReportContext) -> str:
    """The model that the page is about: the one that is served, or the one with the best MCC on seen rows."""
    name = context.production.partition("/")[0]
    if name in context.evaluations:
        return name
    values = {name: evaluation.seen.metrics["mcc"].value for name, evaluation in context.evaluations.items()}
    return max(values, key=lambda name: -math.inf if math.isnan(values[name]) else values[name])


def _group_word(schema: DatasetSchema) -> str:
    return schema.groups.name if schema.groups is not None else "group"


def _headline(evaluation: ModelEvaluation, words: ClassWords, name: str) -> tuple[str, str]:
    """What the random split says, and what it is worth."""
    seen = f"A random split says {name} is right {percent(evaluation.seen.metrics['accuracy'].value)} of the time."
    if isinstance(evaluation.unseen, Unavailable):
        return seen, f"Nobody knows yet how it does on {words.unseen}."
    return seen, f"On {words.unseen} it is right {percent(evaluation.unseen.metrics['accuracy'].value)} of the time."


def _verdict(evaluation: ModelEvaluation, words: ClassWords) -> str:
    """What follows from the two numbers, by their intervals and by what one same answer to everything would give."""
    word, level = _guess(evaluation, words)
    same = f"always answering “{word}”, which is right {percent(level)} of the time"
    if isinstance(evaluation.unseen, Unavailable):
        return f"Compare it with {same}, and trust it for {words.seen} only."
    seen, unseen = evaluation.seen.metrics["accuracy"], evaluation.unseen.metrics["accuracy"]
    if unseen.low <= level:
        return f"On {words.unseen} it is not shown to do better than {same}: do not rely on its answers there."
    if unseen.high < seen.low:
        return f"On {words.unseen} it does better than {same}, and falls short of what the random split promises."
    return f"The two agree within their intervals: it carries over to {words.unseen}. Compare it with {same}."


def _guess(evaluation: ModelEvaluation, words: ClassWords) -> tuple[str, float]:
    """The commoner class, and how often always answering it is right."""
    card = evaluation.seen if isinstance(evaluation.unseen, Unavailable) else evaluation.unseen
    share = card.positives / card.rows
    return (words.positive, share) if share >= 0.5 else (words.negative, 1 - share)


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two halves of the page's first screen."""

    title: str
    how: str
    card: ScoreCard
    counted: str


def _sides(evaluation: ModelEvaluation, words: ClassWords, counted: str) -> list[Side]:
    sides = [Side(words.seen, "rows held out at random", evaluation.seen, counted)]
    if not isinstance(evaluation.unseen, Unavailable):
        groups = words.unseen.removeprefix("unseen ")
        sides.append(Side(words.unseen, f"whole {groups} held out", evaluation.unseen, groups))
    return sides


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric on one side: its cells in the order of the models, and which of them are best."""

    metric: str
    label: str
    meaning: str
    side: str
    cells: tuple[tuple[Estimate, bool], ...]
    share: bool


def _metric_rows(context: ReportContext, words: ClassWords, unseen: Mapping[str, ScoreCard]) -> list[list[MetricRow]]:
    """For every metric its rows: seen, and unseen where it could be measured for every model."""
    sides = {"seen": {name: evaluation.seen for name, evaluation in context.evaluations.items()}}
    if len(unseen) == len(context.evaluations):
        sides["unseen"] = dict(unseen)
    tables = []
    for metric in next(iter(context.evaluations.values())).seen.metrics:
        label, meaning = METRIC_WORDS.get(metric, (spaced(metric), ""))
        meaning = meaning.format(p=words.positive, n=words.negative) if "{" in meaning else meaning
        rows = [
            MetricRow(metric, label, meaning, side, _cells([card.metrics[metric] for card in cards.values()], metric), metric in SHARES)
            for side, cards in sides.items()
        ]
        tables.append(rows)
    return tables


def _cells(estimates: Sequence[Estimate], metric: str) -> tuple[tuple[Estimate, bool], ...]:
    defined = [estimate.value for estimate in estimates if not math.isnan(estimate.value)]
    best = (min if metric in LOSSES else max)(defined, default=math.nan)
    return tuple((estimate, len(estimates) > 1 and estimate.value == best) for estimate in estimates)


def _mistake_rows(context: ReportContext, unseen: Mapping[str, ScoreCard]) -> list[tuple[str, list[ScoreCard | None]]]:
    """For every model its cards, seen first; None where unseen could not be measured."""
    cards = [(name, [evaluation.seen, *([unseen.get(name)] if unseen else [])]) for name, evaluation in context.evaluations.items()]
    return [(name, list(evaluation)) for name, evaluation in cards]


def _comparison(item: ModelComparison, confidence: float) -> dict[str, Any]:
    """A comparison with what it says: the better model's name, or None where no difference was shown."""
    shown = not math.isnan(item.p_adjusted) and item.p_adjusted < 1 - confidence
    a_better = (item.difference.value > 0) != (item.metric in LOSSES)
    label = METRIC_WORDS.get(item.metric, (spaced(item.metric),))[0]
    return {"item": item, "label": label, "better": (item.a if a_better else item.b) if shown else None}


def _spread(groups: Iterable[GroupErrors]) -> list[tuple[str, int]]:
    """How many groups have which share of wrong answers: none, in equal steps between, all."""
    labels = ["none", *(f"{100 * at // STEPS}\N{EN DASH}{100 * (at + 1) // STEPS} %" for at in range(STEPS)), "all"]
    counts = dict.fromkeys(labels, 0)
    for group in groups:
        place = 0 if group.errors == 0 else STEPS + 1 if group.errors == group.rows else 1 + group.errors * STEPS // group.rows
        counts[labels[place]] += 1
    return list(counts.items()) if sum(counts.values()) else []


def _hardest(groups: ModelEvaluation, names: Sequence[str] | None, words: ClassWords) -> list[dict[str, Any]]:
    """The groups with the largest share of wrong answers when they were held out; among equals, first those that matter most."""
    wrong = [group for group in groups.by_group if group.errors]
    ordered = sorted(wrong, key=lambda item: (-item.errors / item.rows, -item.false_negative, -item.rows, item.group))
    group_names = names or ()
    return [
        {
            "name": group_names[item.group] if 0 <= item.group < len(group_names) else f"number {item.group}",
            "is": {item.rows: words.positive, 0: words.negative}.get(item.positives, "mixed"),
            "item": item,
        }
        for item in ordered[:HARDEST]
    ]


def _most_used(shares: Mapping[str, float], words: ClassWords) -> str:
    """The three columns that come first, in words."""
    first = [words.columns.get(column, column) for column, _ in sorted(shares.items(), key=lambda item: -item[1])[:3]]
    return " and ".join([", ".join(first[:-1]), first[-1]] if len(first) > 1 else first)


# --- the page about the rows -----------------------------------------------------------------------------------------


def render_validation(summary: ValidationSummary) -> str:
    """The page about the rows, as HTML."""
    return render(
        "validation.html.j2",
        simulated=summary.simulated,
        summary=summary,
        by_rule=sorted(summary.by_rule.items(), key=lambda item: -item[1]),
        examples=[_example(row) for row in summary.examples],
        missing=sorted(summary.missing.items(), key=lambda item: (-item[1], item[0])),
    )


def _example(row: Mapping[str, Any]) -> dict[str, Any]:
    """A rejected row for the page: the values that broke a rule, and apart from them all others."""
    rules = list(row.get("rules") or ())
    blamed = {rule.partition(":")[2] for rule in rules}
    values = {key: _clipped(value) for key, value in row.items() if key not in {"_row", "rules", "reason", "text"} and value is not None}
    return {
        "row": row.get("_row"),
        "rules": rules,
        "reason": _clipped(row.get("reason") or "", LONGEST_VALUE * 5),
        "text": _clipped(row.get("text") or "", LONGEST_VALUE * 2),
        "blamed": blamed,
        "values": values,
    }


def _clipped(value: object, longest: int = LONGEST_VALUE) -> str:
    text = str(value)
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"

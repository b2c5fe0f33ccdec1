"""The model card: what a version is, how good it is, and what it must not be used for, as Markdown beside its files.

After Mitchell et al. (2019), *Model cards for model reporting*, in the order in which people ask.
"""

from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.safety_scorecard import ModelSafety, total
from sporeprint.evaluation.scorecard import ScoreCard, Unavailable
from sporeprint.reports.class_words import ClassWords
from sporeprint.reports.safety_section import promise_in_words

_SHOWN = ("accuracy", "precision", "recall", "f1", "mcc", "roc_auc", "pr_auc", "brier", "log_loss", "ece")


def render_card(context: ReportContext, name: str) -> str:
    """Write the card of one model of a run."""
    evaluation, target = context.evaluations[name], context.schema.target
    positive, negative = target.values[target.positive], target.values[target.negative]
    group = context.schema.groups.name if context.schema.groups is not None else "group"
    lines = [f"# {name} for {context.schema.name}", ""]
    if context.simulated:
        lines += ["**SIMULATED DATA.** Trained on invented rows: it says nothing of real ones.", ""]
    lines += [
        f"Answers whether a row of {context.schema.name} is {positive} (the positive class) or {negative}. "
        f"Trained by run {context.run_id} on {context.data['source']} (sha256 {context.data['sha256'][:12]}).",
        "",
        "## How good it is",
        "",
        *_metrics(f"On rows of a {group} it has seen", evaluation.seen, positive, negative, context.counted),
        *_metrics(f"On rows of a {group} it has never seen", evaluation.unseen, positive, negative, "groups"),
        "## What it answers",
        "",
        promise_in_words(context.thresholds[name], ClassWords.of(context.schema), context.guard_settings.coverage, group=group),
        "",
        *[f"**Note.** {note}\n" for note in context.notes.get(name, ())],
        *_answers(evaluation.safety, context, group),
        "## What it is not for",
        "",
        f"- Rows of a {group} that is not in the training data: its probability is worth there what the second table says. Its answer is "
        "then “unknown”, nearly always.",
        f"- Deciding alone where a {positive} row called {negative} does harm.",
        "- Rows collected in another way than the training rows were: none of these numbers is about them.",
        "",
    ]
    return "\n".join(lines)


def _answers(safety: ModelSafety, context: ReportContext, group: str) -> list[str]:
    words = ClassWords.of(context.schema)
    ignoring = total(safety.ignoring_missing) if safety.ignoring_missing else None
    sides = [
        (f"{group} it has seen", safety.seen),
        (f"{group} it has never seen", safety.unseen),
        (f"{group} it has never seen, where empty cells carry no information", ignoring),
    ]
    rows = [
        f"| {side} | {counts.answered:,} of {counts.rows:,} | {counts.correct:,} | {counts.false_negative:,} of {counts.positives:,} |"
        for side, counts in sides
        if counts is not None
    ]
    header = f"| rows of a | answered | right | {words.positive} called {words.negative} |"
    return [header, "|---|---|---|---|", *rows, ""]


def _metrics(title: str, card: ScoreCard | Unavailable, positive: str, negative: str, counted: str) -> list[str]:
    if isinstance(card, Unavailable):
        return [f"### {title}", "", f"Not available: {card.reason}.", ""]
    rows = [f"| {metric} | {e.value:.4f} | {e.low:.4f} to {e.high:.4f} |" for metric, e in card.metrics.items() if metric in _SHOWN]
    missed = f"{card.confusion.fn:,} of {card.positives:,} {positive} rows were called {negative}."
    title = f"### {title} ({card.rows:,} rows; intervals count {card.units:,} {counted})"
    return [title, "", "| metric | value | interval |", "|---|---|---|", *rows, "", missed, ""]

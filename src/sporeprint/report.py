"""What a person opens: the page about the models, the page about the rows, and the same numbers for programs.

Pure: value objects in, text out. A page is one file, pictures and style inside; it needs no network and no script.
"""

import base64
import math
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sporeprint.evaluate import Comparison, GroupErrors, ModelEvaluation, ScoreCard, Unavailable
from sporeprint.plots import Words
from sporeprint.schema import DatasetSchema
from sporeprint.stats.intervals import Estimate

#: Metrics on the page, with what they are called there and whether less is better.
SHOWN = {
    "roc_auc": ("ROC AUC", False),
    "accuracy": ("accuracy", False),
    "precision": ("precision", False),
    "recall": ("recall", False),
    "f1": ("F1", False),
    "mcc": ("MCC", False),
    "pr_auc": ("PR AUC", False),
    "brier": ("Brier", True),
    "log_loss": ("log loss", True),
    "ece": ("ECE", True),
}

#: Groups on the page of those that were hardest.
HARDEST = 10

_CAPTIONS = {
    "seen_against_unseen.png": "The gap is the point: what each model is worth on groups it has seen, and on groups it has not.",
    "roc.png": "Solid: groups it has seen. Dashed: groups it has never seen; the diagonal is guessing.",
    "pr.png": "How many alarms are right, for every share of positives found.",
    "confusion.png": "Who is taken for whom.",
    "reliability_seen.png": "On the diagonal a score of 0.8 is right eight times in ten.",
    "reliability_unseen.png": "On groups it has never seen a sure score says little.",
}


@dataclass(frozen=True)
class ReportContext:
    """Everything that is said of a run's models.

    Attributes:
        run_id: the run.
        created: ISO 8601, UTC.
        simulated: whether the rows were invented.
        schema: the contract, for words.
        data: source, sha256, rows, rejected, duplicates, by_rule, splits, classes, groups.
        evaluations: by model.
        comparisons: of the models, pair by pair.
        production: the version that is served; empty before anything was registered.
        rule: why that one.
        versions: model -> its version, as in v2; a model that was not registered has none.
        importances: model -> dataset column -> share.
        fit_seconds: model -> seconds.
        images: file name -> PNG.
        steps: step -> seconds.
        group_names: names of the groups in block order; None where nobody knows them.
    """

    run_id: str
    created: str
    simulated: bool
    schema: DatasetSchema
    data: dict[str, Any]
    evaluations: dict[str, ModelEvaluation]
    comparisons: tuple[Comparison, ...]
    production: str
    rule: str
    versions: dict[str, str]
    importances: dict[str, dict[str, float]]
    fit_seconds: dict[str, float]
    images: dict[str, bytes]
    steps: dict[str, float]
    group_names: tuple[str, ...] | None


@dataclass(frozen=True)
class ValidationSummary:
    """Everything that is said of a run's rows.

    Attributes:
        rows: rows in the source.
        good: rows that broke no rule.
        rejected: rows that did.
        malformed: rejected rows that could not be split into fields.
        duplicates: good rows that are copies of an earlier one.
        by_rule: rule -> rows that broke it.
        examples: a few rejected rows: `row`, `rules`, `reason`, and their values.
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
    """What models/metrics/metrics.json holds: JSON values, an undefined number as None."""
    words = Words.of(context.schema)
    data = {key: context.data[key] for key in ("source", "sha256", "rows", "rejected", "duplicates")}
    return {
        "run_id": context.run_id,
        "created": context.created,
        "simulated": context.simulated,
        "data": data,
        "production": context.production or None,
        "rule": context.rule,
        "models": {
            name: {
                "version": context.versions.get(name),
                "fit_seconds": context.fit_seconds[name],
                "seen": _card_dict(found.seen, words),
                "unseen": _card_dict(found.unseen, words),
            }
            for name, found in context.evaluations.items()
        },
        "comparisons": [_comparison_dict(item) for item in context.comparisons],
    }


def _card_dict(card: ScoreCard | Unavailable, words: Words) -> dict[str, Any]:
    if isinstance(card, Unavailable):
        return {"available": False, "reason": card.reason}
    return {
        "available": True,
        "rows": card.rows,
        "positives": card.positives,
        **{name: _estimate_dict(found) for name, found in card.metrics.items()},
        "confusion": {"tn": card.confusion.tn, "fp": card.confusion.fp, "fn": card.confusion.fn, "tp": card.confusion.tp},
        # For mushrooms: false_edible, positives that were called negative.
        f"false_{words.negative.replace(' ', '_')}": card.confusion.fn,
    }


def _estimate_dict(found: Estimate) -> dict[str, float | None]:
    return {"value": _number(found.value), "low": _number(found.low), "high": _number(found.high)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _comparison_dict(item: Comparison) -> dict[str, Any]:
    return {
        "a": item.a,
        "b": item.b,
        "on": item.on,
        "metric": item.metric,
        "difference": _estimate_dict(item.difference),
        "p_value": _number(item.p_value),
        "p_adjusted": _number(item.p_adjusted),
        "method": item.method,
    }


# --- for people ------------------------------------------------------------------------------------------------------


def render_evaluation(context: ReportContext) -> str:
    """The page about the models, as HTML."""
    words = Words.of(context.schema)
    unseen = {name: found.unseen for name, found in context.evaluations.items() if isinstance(found.unseen, ScoreCard)}
    reasons = [found.unseen.reason for found in context.evaluations.values() if isinstance(found.unseen, Unavailable)]
    best = context.production.partition("/")[0] or max(
        context.evaluations, key=lambda name: context.evaluations[name].seen.metrics["mcc"].value
    )
    return (
        _environment()
        .get_template("evaluation.html.j2")
        .render(
            context=context,
            words=words,
            headline=_headline(best, context.evaluations[best], words),
            best=best,
            unseen=unseen,
            unavailable=reasons[0] if reasons else None,
            shown=SHOWN,
            images={name: base64.b64encode(data).decode() for name, data in context.images.items()},
            captions=_CAPTIONS,
            hardest=_hardest(context.evaluations[best], context.group_names),
            total_seconds=sum(context.steps.values()),
        )
    )


def _headline(name: str, found: ModelEvaluation, words: Words) -> str:
    seen = found.seen.metrics["roc_auc"].value
    said = f"On {words.seen} {name} tells {words.positive} from {words.negative} with an AUC of {seen:.3f}"
    if isinstance(found.unseen, Unavailable):
        return f"{said}; what it is worth on {words.unseen} could not be measured."
    unseen = found.unseen.metrics["roc_auc"].value
    if unseen < 0.5 + 0.5 * (seen - 0.5):
        return f"{said}. On {words.unseen} it has {unseen:.3f}, where 0.5 is guessing: there, do not trust it."
    return f"{said}, on {words.unseen} {unseen:.3f}."


def _hardest(found: ModelEvaluation, names: tuple[str, ...] | None) -> list[tuple[str, GroupErrors]]:
    """The groups with most errors when they were held out."""
    ordered = sorted(found.by_group, key=lambda item: (-item.errors / item.rows, -item.rows, item.group))[:HARDEST]
    known = names or ()
    return [(known[item.group] if 0 <= item.group < len(known) else f"number {item.group}", item) for item in ordered]


def render_validation(summary: ValidationSummary) -> str:
    """The page about the rows, as HTML."""
    most = max(summary.by_rule.values(), default=1)
    return _environment().get_template("validation.html.j2").render(summary=summary, most=most)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sporeprint"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["estimate"] = _estimate
    environment.filters["percent"] = _percent
    environment.filters["p"] = _p
    return environment


def _estimate(found: Estimate) -> str:
    """A value for the page: four digits, and never a rounded 1."""
    if math.isnan(found.value):
        return "not defined"
    return "> 0.9999" if 0.99995 <= found.value < 1 else f"{found.value:.4f}"


def _percent(share: float) -> str:
    return "< 0.1 %" if 0 < share < 0.001 else f"{share:.1%}".replace("%", " %")


def _p(value: float) -> str:
    return "not defined" if math.isnan(value) else "< 0.0001" if value < 0.0001 else f"{value:.4f}"

"""The safety of the verdicts: in counts for programs, and in rows of tables for people."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.partial_scorecard import PartialCounts
from sporeprint.evaluation.safety_scorecard import (
    ConfusedGroups,
    GroupBound,
    GroupCounts,
    GuardEvaluation,
    ModelSafety,
    PredictionCounts,
    PromiseCheck,
    group_bound,
    total,
)
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.reports.class_words import ClassWords
from sporeprint.safety.risk_control import Threshold
from sporeprint.schema import DatasetSchema
from sporeprint.settings import GuardSettings
from sporeprint.stats.intervals import Estimate, proportion


def slug(word: str) -> str:
    """A class's word as part of a key: lower case, everything else than letters and digits as one `_`."""
    return re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_")


def missed_key(schema: DatasetSchema) -> str:
    """The key under which positives that were answered with the negative class are counted: `false_edible`."""
    return f"false_{slug(ClassWords.of(schema).negative)}"


# --- for programs ----------------------------------------------------------------------------------------------------


def safety_dict(context: ReportContext) -> dict[str, Any]:
    """What models/metrics/safety.json holds: counts, so that nobody has to guess a denominator.

    Positives answered with the negative class, and all positives, are counted under the classes' words: `false_edible`, `poisonous`.
    """
    missed = missed_key(context.schema)

    def by_group(counts: Sequence[GroupCounts]) -> list[dict[str, Any]]:
        names, schema = context.group_names, context.schema
        return [{"group": item.group, "name": _name(item.group, names), **_counts(item.counts, schema)} for item in counts]

    def pairs(confused: Sequence[ConfusedGroups]) -> list[dict[str, Any]]:
        return [
            {
                "group": _name(item.group, context.group_names),
                "taken_for": _name(item.taken_for, context.group_names),
                "rows": item.rows,
                "answered": item.answered,
                missed: item.false_negative,
            }
            for item in confused
        ]

    def guard(evaluation: GuardEvaluation | Unavailable) -> dict[str, Any]:
        if isinstance(evaluation, Unavailable):
            return {"available": False, "reason": evaluation.reason}
        return {
            "available": True,
            "left_out": evaluation.how,
            "novelty_auc": evaluation.novelty_auc,
            "at_coverage": {f"{at:g}": _counts(item, context.schema) for at, item in evaluation.at_coverage.items()},
            "curve": [{"coverage": at, "answered": answered, missed: wrong} for at, answered, wrong in evaluation.curve],
            "pairs": pairs(evaluation.pairs),
            "by_group": by_group(evaluation.by_group),
        }

    def ignoring(groups: Sequence[GroupCounts]) -> dict[str, Any] | None:
        counts = _counts(total(groups), context.schema)
        return {**counts, "by_group": by_group(groups), "by_group_bound": _bound(groups)} if groups else None

    def model(name: str, safety: ModelSafety) -> dict[str, Any]:
        promise = [{key: getattr(item, key) for key in PromiseCheck.__slots__} for item in safety.promise]
        return {
            **answers_dict(context, name),
            "by_group": by_group(safety.by_group),
            "by_group_bound": _bound(safety.by_group),
            "ignoring_missing": ignoring(safety.ignoring_missing),
            "promise": promise,
        }

    return {
        "run_id": context.run_id,
        "simulated": context.simulated,
        "coverage": context.guard_settings.coverage,
        "guard": guard(context.guard),
        "partial": [
            {
                "how": item.how,
                "columns": item.columns,
                "seen": _counts(item.seen, context.schema),
                "unseen": None if item.unseen is None else _counts(item.unseen, context.schema),
                "wrong_groups": item.wrong_groups,
                "groups": item.groups,
                "groups_at_most": item.groups_at_most,
            }
            for item in context.partial
        ],
        "models": {name: model(name, evaluation.safety) for name, evaluation in context.evaluations.items()},
    }


def answers_dict(context: ReportContext, name: str) -> dict[str, Any]:
    """A model's threshold, and its answers on known and on unknown groups, as JSON values."""
    model_safety, threshold = context.evaluations[name].safety, context.thresholds[name]
    unseen: dict[str, Any] = {"available": False}
    if model_safety.unseen is not None:
        unseen = {"available": True, **_counts(model_safety.unseen, context.schema), "folds": model_safety.folds}
    return {
        "threshold": {
            key: getattr(threshold, key)
            for key in ("value", "alpha", "missed", "delta", "answered", "wrong", "positives", "rows", "units", "reason")
        },
        "positive_from": context.guard_settings.positive_from,
        "notes": list(context.notes.get(name, ())),
        "seen": _counts(model_safety.seen, context.schema),
        "seen_answered_independent": round(model_safety.independent, 1),
        f"unseen_{_groups_word(context.schema)}": unseen,
    }


def _counts(counts: PredictionCounts, schema: DatasetSchema) -> dict[str, int]:
    words = ClassWords.of(schema)
    return {
        "rows": counts.rows,
        "answered": counts.answered,
        "correct": counts.correct,
        missed_key(schema): counts.false_negative,
        f"answered_{slug(words.negative)}": counts.negative,
        slug(words.positive): counts.positives,
    }


def _bound(groups: Sequence[GroupCounts]) -> dict[str, Any]:
    bound = group_bound(groups)
    return {"positive_groups": bound.groups, "wrong": bound.wrong, "at_most": bound.at_most, "answered_groups": len(bound.answered)}


def _groups_word(schema: DatasetSchema) -> str:
    return slug(ClassWords.of(schema).unseen.removeprefix("unseen "))


def _name(group: int, names: Sequence[str] | None) -> str:
    return names[group] if names is not None and 0 <= group < len(names) else f"number {group}"


# --- for people ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One model's answers on one side of the page.

    Attributes:
        model: its name.
        side: "seen" or "unseen".
        counts: the answers.
        coverage: share of rows that got one.
        accuracy: share of the answers that are right; NaN without answers. The interval, of known groups alone, counts different rows, or
            declared clusters.
    """

    model: str
    side: str
    counts: PredictionCounts
    coverage: float
    accuracy: Estimate


def answer_rows(context: ReportContext) -> list[AnswerRow]:
    """For every model its answers on known groups, and on unknown ones where these could be measured."""
    rows = []
    for name, evaluation in context.evaluations.items():
        safety = evaluation.safety
        rows.append(_row(name, "seen", safety.seen, safety.independent, context.confidence))
        if safety.unseen is not None:
            # Rows of one group are answered alike: how many groups those are, the section says.
            rows.append(_row(name, "unseen", safety.unseen, 0.0, context.confidence))
    return rows


def _row(name: str, side: str, counts: PredictionCounts, independent: float, confidence: float) -> AnswerRow:
    right = counts.correct / counts.answered if counts.answered else math.nan
    accuracy = proportion(right * independent, independent, confidence) if independent else Estimate(right, math.nan, math.nan)
    return AnswerRow(name, side, counts, counts.answered / counts.rows if counts.rows else math.nan, accuracy)


def promise_in_words(threshold: Threshold, words: ClassWords, coverage: float, *, group: str) -> str:
    """What a threshold promises, and under which assumption, in plain words."""
    about_guard = f"Rows out of distribution get the verdict “unknown”; {percent(coverage)} of rows like them are not."
    if threshold.value is None:
        return (
            f"It never answers “{words.negative}”: no threshold was shown to keep wrong “{words.negative}” answers below "
            f"{percent(threshold.alpha)} with {percent(1 - threshold.delta)} confidence ({threshold.reason}). {about_guard}"
        )
    return (
        f"Of its “{words.negative}” answers at most {percent(threshold.alpha)} are {words.positive}, with "
        f"{percent(1 - threshold.delta)} confidence: on {threshold.answered:,} rows that nothing was fitted on, {threshold.wrong:,} were "
        f"(Learn then Test, Angelopoulos et al. 2021). This holds for rows that come about as those did, not for a {group} nobody has "
        f"seen, nor for rows collected in another way. {about_guard}"
    )


def in_short(safety: ModelSafety, words: ClassWords) -> str:
    """What the guard makes of rows of unknown groups, in a sentence; nothing where that could not be measured."""
    unseen, groups = safety.unseen, words.unseen.removeprefix("unseen ")
    if unseen is None:
        return ""
    what = (
        f"So it answers “unknown” to {unseen.rows - unseen.answered:,} of their {unseen.rows:,} rows; of the {unseen.positives:,} that are "
        f"{words.positive}, {unseen.false_negative:,} {'was' if unseen.false_negative == 1 else 'were'} answered with “{words.negative}”."
    )
    bound = group_bound(safety.by_group)
    if not bound.groups:
        return what
    return (
        f"{what} Counted in {groups}, which is what says something of the next one: {bound.wrong} of {bound.groups} {words.positive} "
        f"{groups}, so at most {bound.at_most:.1%} of such {groups} with 95 % confidence."
    )


def percent(share: float) -> str:
    """A share of a promise: 0.1 %, 95 %."""
    return f"{share * 100:g}\N{NO-BREAK SPACE}%"


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """What verdicts on groups that a model did not know say of the next one.

    Attributes:
        counts: in rows.
        bound: in groups.
        answered: the first groups that any answer is from, by name.
    """

    counts: PredictionCounts
    bound: GroupBound
    answered: tuple[tuple[str, PredictionCounts], ...]

    @classmethod
    def of(cls, groups: Sequence[GroupCounts], names: Sequence[str] | None) -> "GroupSummary | None":
        """None without groups."""
        if not groups:
            return None
        bound = group_bound(groups)
        return cls(total(groups), bound, tuple((_name(item.group, names), item.counts) for item in bound.answered[:15]))


@dataclass(frozen=True, slots=True)
class SafetyView:
    """What the page's section about answers shows."""

    rows: tuple[AnswerRow, ...]
    thresholds: dict[str, Threshold]
    settings: GuardSettings
    guard: GuardEvaluation | Unavailable
    at: tuple[tuple[float, PredictionCounts], ...]
    pairs: tuple[tuple[str, str, ConfusedGroups], ...]
    wrong_groups: tuple[tuple[str, PredictionCounts], ...]
    promises: dict[str, tuple[PromiseCheck, ...]]
    unknown_groups: GroupSummary | None
    ignoring_missing: GroupSummary | None
    partial: tuple[PartialCounts, ...]


def safety_view(context: ReportContext, lead: str) -> SafetyView:
    """The section's content; `lead` is the model that the page is about."""
    guard, safety = context.guard, context.evaluations[lead].safety
    named = [(_name(item.group, context.group_names), item.counts) for item in safety.by_group if item.counts.answered]
    ordered = sorted(named, key=lambda item: (-item[1].false_negative, item[1].correct - item[1].answered, -item[1].answered))
    return SafetyView(
        rows=tuple(answer_rows(context)),
        thresholds=context.thresholds,
        settings=context.guard_settings,
        guard=guard,
        at=() if isinstance(guard, Unavailable) else tuple(guard.at_coverage.items()),
        pairs=()
        if isinstance(guard, Unavailable)
        else tuple((_name(pair.group, context.group_names), _name(pair.taken_for, context.group_names), pair) for pair in guard.pairs),
        wrong_groups=tuple(ordered[:15]),
        promises={name: item.safety.promise for name, item in context.evaluations.items() if item.safety.promise},
        unknown_groups=GroupSummary.of(safety.by_group, context.group_names),
        ignoring_missing=GroupSummary.of(safety.ignoring_missing, context.group_names),
        partial=context.partial,
    )

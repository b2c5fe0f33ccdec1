"""Measures the candidates on rows of seen and of unseen groups, and gathers what the report says."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.engine import Engine
from sporeprint.common.progress import Progress
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.row_sample import smallest
from sporeprint.data.training_data import ModelInput
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.group_cross_validation import HeldOutPredictions, predict_held_out
from sporeprint.evaluation.group_folds import group_folds
from sporeprint.evaluation.model_comparison import ModelComparison, compare_models, compare_models_on_groups
from sporeprint.evaluation.partial_scorecard import PartialCounts, evaluate_partial
from sporeprint.evaluation.safety_scorecard import (
    GuardEvaluation,
    ModelSafety,
    PromiseCheck,
    count_by_group,
    count_predictions,
    guard_evaluation,
    leave_one_group_out,
    simulate_promise,
)
from sporeprint.evaluation.scorecard import ModelEvaluation, ScoreCard, Unavailable, errors_by_group, score_groups, score_rows
from sporeprint.models.training import SAMPLED
from sporeprint.safety.decision_rule import unit_representatives
from sporeprint.safety.novelty_guard import Guard
from sporeprint.safety.promise_notes import promise_notes
from sporeprint.safety.verdict import UNKNOWN, is_familiar
from sporeprint.settings import Settings
from sporeprint.stats.effective_size import effective_size

#: Libraries whose versions the report and the manifests state.
LIBRARIES = ("numpy", "onnxruntime", "polars", "pyarrow", "scikit-learn", "xgboost-cpu")


@dataclass(frozen=True)
class CrossValidation:
    """Answers to every row by models and guards that never saw its group, or why there are none.

    Attributes:
        rows: the rows; None where there is nothing.
        answers: what is said of them; None where there is nothing.
        folds: how many folds the groups were held out in.
        reason: why there is nothing.
    """

    rows: Observations | None
    answers: HeldOutPredictions | None
    folds: int
    reason: str

    @classmethod
    def nothing(cls, reason: str) -> Self:
        """No answers, and why."""
        return cls(None, None, 0, reason)


def cross_validate(
    settings: Settings, data: ModelInput, progress: Progress, *, full: bool = False, engine: Engine | None = None
) -> CrossValidation:
    """Answer all rows with their group held out: fold by fold, or, if `full`, one group at a time; a cluster takes a task for each."""
    # Of samples by hash the rows with the smallest hashes are a sample of all: each part gives its share.
    rows = smallest(concat([data.train, data.validation, data.test]), settings.runtime.most_rows)
    if not data.record.groups.available or rows.group is None or rows.part is None:
        return CrossValidation.nothing(data.record.groups.reason)
    folds = len(np.unique(rows.group)) if full else settings.evaluation.folds
    fold = group_folds(rows.group, rows.y, folds=folds, seed=settings.runtime.seed)
    if isinstance(fold, Unavailable):
        return CrossValidation.nothing(fold.reason)
    if full:  # one group a fold, whatever its class
        fold = np.unique(rows.group, return_inverse=True)[1].astype(np.int64)
    if not _both_classes_left(rows.y, fold, rows.part == list(settings.split.shares).index("train")):
        return CrossValidation.nothing("where a fold is held out, the training rows that are left are of one class")
    count = int(fold.max()) + 1
    progress.total(count * len(settings.models))

    def each_fit(name: str) -> None:
        progress.text(name)
        progress.advance(1)

    answers = predict_held_out(rows, fold, settings, threads=settings.threads, each_fit=each_fit, engine=engine)
    return CrossValidation(rows, answers, count, "")


def _both_classes_left(y: npt.NDArray[np.int8], fold: npt.NDArray[np.int64], learn: npt.NDArray[np.bool_]) -> bool:
    """Whether the rows to learn from hold both classes, whichever fold is held out."""
    counts = np.bincount(2 * fold[learn] + y[learn], minlength=2 * (int(fold.max()) + 1)).reshape(-1, 2)
    return bool((counts.sum(axis=0) - counts > 0).all())


def score_seen(settings: Settings, data: ModelInput, candidate: Candidate) -> ScoreCard:
    """Measure a candidate on the test rows: other rows of groups it has seen."""
    return score_rows(data.test.y, candidate.probabilities, data.test.unit, **_interval_options(settings))


def count_seen(settings: Settings, data: ModelInput, candidate: Candidate) -> ModelSafety:
    """Count a candidate's answers to the test rows."""
    verdict = candidate.safety.predictions(data.test.codes, candidate.scores, candidate.encoder, settings.dataset).verdict
    unit = np.unique(data.test.unit[verdict != UNKNOWN], return_inverse=True)[1]
    return ModelSafety(count_predictions(data.test.y, verdict), effective_size(unit))


def evaluate_candidates(
    settings: Settings,
    data: ModelInput,
    candidates: Sequence[Candidate],
    held_out: CrossValidation,
    progress: Progress,
    *,
    full: bool = False,
) -> dict[str, ModelEvaluation]:
    """Measure every candidate on rows of seen and of unseen groups; if `full`, hold the promise behind its threshold to its word."""
    measured = {}
    for candidate in candidates:
        progress.text(f"{candidate.name}: intervals")
        on_seen = score_seen(settings, data, candidate)
        progress.advance(1)
        promise = check_promise(settings, data, candidate) if full and candidate.scorer is not None else ()
        safety = replace(count_seen(settings, data, candidate), promise=promise)
        measured[candidate.name] = _with_unseen(settings, held_out, candidate.name, on_seen, safety)
        progress.advance(1)
    return measured


def _with_unseen(
    settings: Settings,
    held_out: CrossValidation,
    name: str,
    on_seen: ScoreCard,
    safety: ModelSafety,
) -> ModelEvaluation:
    rows, answers = held_out.rows, held_out.answers
    if rows is None or answers is None or rows.group is None:
        return ModelEvaluation(on_seen, Unavailable(held_out.reason), (), safety)
    model = answers.models[name]
    safety = replace(
        safety,
        unseen=count_predictions(rows.y, model.verdict),
        folds=held_out.folds,
        by_group=count_by_group(rows.y, model.verdict, rows.group),
        ignoring_missing=count_by_group(rows.y, answers.ignoring_missing, rows.group),
    )
    card = score_groups(rows.y, model.probability, rows.group, **_interval_options(settings))
    return ModelEvaluation(on_seen, card, errors_by_group(rows.y, model.probability, rows.group), safety)


def check_promise(settings: Settings, data: ModelInput, candidate: Candidate) -> tuple[PromiseCheck, ...]:
    """How often the promise behind a candidate's threshold holds when its held-out rows are split at random."""
    calibrate, threshold = data.part(settings, "calibration"), data.part(settings, "threshold")
    rows, rule = concat([calibrate, threshold, data.test]), candidate.safety
    rows = rows.take(unit_representatives(rows))
    raw = candidate.score(rows.codes)
    predictions = rule.predictions(rows.codes, raw, candidate.encoder, settings.dataset)
    familiar = np.asarray(is_familiar(predictions.novelty.p, rule.coverage)) & ~predictions.anomalies.contradictory(len(rows.y))
    return simulate_promise(
        raw,
        rows.y,
        familiar & rule.component_negative[predictions.novelty.component],
        (len(unit_representatives(calibrate)), len(unit_representatives(threshold))),
        settings.guard,
        alphas=settings.evaluation.alphas,
        splits=settings.evaluation.splits,
        seed=settings.runtime.seed,
    )


def evaluate_guard(settings: Settings, data: ModelInput, fitted: Guard, held_out: CrossValidation) -> GuardEvaluation | Unavailable:
    """Measure the guard alone, on groups it does not know."""
    rows = held_out.rows
    if rows is None or held_out.answers is None or rows.group is None:
        return Unavailable(held_out.reason)
    calibrate = data.part(settings, "calibration")
    familiar_rows = concat([calibrate, data.part(settings, "threshold"), data.test])
    if (fitted.names >= 0).all():
        how = f"one {settings.dataset.groups.name if settings.dataset.groups else 'group'} at a time"
        left_out = leave_one_group_out(fitted, rows, calibrate)
    else:  # clusters have to be found anew without the group, as in the folds
        how, left_out = f"{held_out.folds} folds of whole groups", held_out.answers.guard
    typicality = fitted.novelty(familiar_rows.codes).typicality
    return guard_evaluation(how, left_out, rows.y, rows.group, typicality, settings.guard.coverage)


def compare_candidates(
    settings: Settings, data: ModelInput, candidates: Sequence[Candidate], held_out: CrossValidation
) -> tuple[ModelComparison, ...]:
    """Compare the candidates pair by pair, on the same rows."""
    if len(candidates) < 2:
        return ()
    confidence = settings.evaluation.confidence
    probabilities = {candidate.name: candidate.probabilities for candidate in candidates}
    on_seen = compare_models(data.test.y, probabilities, data.test.unit, confidence=confidence)
    rows, answers = held_out.rows, held_out.answers
    if rows is None or answers is None or rows.group is None:
        return on_seen
    scores = {name: model.probability for name, model in answers.models.items()}
    return on_seen + compare_models_on_groups(rows.y, scores, rows.group, **_interval_options(settings))


def _counted_units(settings: Settings) -> str:
    if settings.split.by == "groups":
        return "groups"
    return "different rows" if settings.dataset.cluster is None else f"different values of {settings.dataset.cluster}"


def _interval_options(settings: Settings) -> dict[str, Any]:
    return {
        "confidence": settings.evaluation.confidence,
        "replicates": settings.evaluation.replicates,
        "seed": settings.runtime.seed,
    }


def evaluate_partial_rows(
    settings: Settings, data: ModelInput, candidate: Candidate, held_out: CrossValidation
) -> tuple[PartialCounts, ...]:
    """Count a run's verdicts by how many columns were observed; empty for a candidate that cannot answer partial rows."""
    guard = candidate.safety.partial
    if guard is None:
        return ()
    cost = {name: column.cost for name, column in settings.dataset.columns.items()}
    return evaluate_partial(guard, cost, data.test, held_out.rows, coverage=candidate.safety.coverage, seed=settings.runtime.seed)


def report_context(
    settings: Settings,
    run_id: str,
    created: str,
    steps: Mapping[str, float],
    data: ModelInput,
    candidates: Sequence[Candidate],
    evaluations: Mapping[str, ModelEvaluation],
    comparisons: tuple[ModelComparison, ...],
    guard_found: GuardEvaluation | Unavailable,
    group_names: tuple[str, ...] | None,
) -> ReportContext:
    """Everything the report says, as a value: without pictures, and before anything is registered."""
    record = data.record
    return ReportContext(
        run_id=run_id,
        created=created,
        simulated=record.simulated,
        schema=settings.dataset,
        data={
            "source": record.provenance["source"],
            "sha256": record.provenance["sha256"],
            "rows": record.rows,
            "rejected": record.rejected,
            "duplicates": record.duplicates,
            "by_rule": dict(record.by_rule),
            "splits": dict(record.splits),
            "classes": dict(record.classes),
            "groups": asdict(record.groups),
        },
        evaluations=dict(evaluations),
        comparisons=comparisons,
        guard=guard_found,
        thresholds={candidate.name: candidate.safety.threshold for candidate in candidates},
        guard_settings=settings.guard,
        notes={
            candidate.name: (
                *promise_notes(candidate.safety, settings.dataset),
                *data.notes,
                *(note for note in candidate.notes if SAMPLED in note),
            )
            for candidate in candidates
        },
        production="",
        rule=f"best {settings.selection.metric} on {settings.selection.on} rows",
        versions={},
        importances={candidate.name: dict(candidate.importance) for candidate in candidates},
        fit_seconds={candidate.name: candidate.fit_seconds for candidate in candidates},
        steps=dict(steps),
        group_names=group_names,
        seed=settings.runtime.seed,
        confidence=settings.evaluation.confidence,
        counted=_counted_units(settings),
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
    )

"""Measures the candidates on rows of seen and of unseen groups, and gathers what the report says."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.files import Progress
from sporeprint.data.dataset import Observations, concat
from sporeprint.data.training_data import ModelInput
from sporeprint.evaluation import group_cross_validation as crossval
from sporeprint.evaluation import safety_scorecard as safety_evaluation
from sporeprint.evaluation import scorecard as evaluation
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.safety_scorecard import Answered, GuardEvaluation, ModelSafety, Promise
from sporeprint.evaluation.scorecard import Comparison, ModelEvaluation, ScoreCard, Unavailable
from sporeprint.safety.novelty_guard import Guard
from sporeprint.safety.verdict import is_familiar
from sporeprint.settings import Settings

#: Libraries whose versions the report and the manifests state.
LIBRARIES = ("numpy", "onnxruntime", "polars", "pyarrow", "scikit-learn", "xgboost-cpu")


@dataclass(frozen=True)
class HeldOut:
    """Answers to every row by models and guards that never saw its group, or why there are none.

    Attributes:
        rows: the rows; None where there is nothing.
        answers: what is said of them; None where there is nothing.
        folds: how many folds the groups were held out in.
        reason: why there is nothing.
    """

    rows: Observations | None
    answers: crossval.HeldOut | None
    folds: int
    reason: str

    @classmethod
    def nothing(cls, reason: str) -> Self:
        """No answers, and why."""
        return cls(None, None, 0, reason)


def cross_validate(settings: Settings, data: ModelInput, progress: Progress, *, full: bool = False) -> HeldOut:
    """Answer all rows with their group held out: fold by fold, or, if `full`, one group at a time."""
    rows = concat([data.train, data.validation, data.test])
    if not data.record.groups.available or rows.group is None or rows.part is None:
        return HeldOut.nothing(data.record.groups.reason)
    folds = len(np.unique(rows.group)) if full else settings.evaluation.folds
    fold = evaluation.group_folds(rows.group, rows.y, folds=folds, seed=settings.runtime.seed)
    if isinstance(fold, Unavailable):
        return HeldOut.nothing(fold.reason)
    if full:  # one group a fold, whatever its class
        fold = np.unique(rows.group, return_inverse=True)[1].astype(np.int64)
    if not _both_classes_left(rows.y, fold, rows.part == list(settings.split.shares).index("train")):
        return HeldOut.nothing("where a fold is held out, the training rows that are left are of one class")
    count = int(fold.max()) + 1
    progress.total(count * len(settings.models))

    def each_fit(name: str) -> None:
        progress.text(name)
        progress.advance(1)

    return HeldOut(rows, crossval.held_out(rows, fold, settings, threads=settings.threads, each_fit=each_fit), count, "")


def _both_classes_left(y: npt.NDArray[np.int8], fold: npt.NDArray[np.int64], learn: npt.NDArray[np.bool_]) -> bool:
    """Whether the rows to learn from hold both classes, whichever fold is held out."""
    counts = np.bincount(2 * fold[learn] + y[learn], minlength=2 * (int(fold.max()) + 1)).reshape(-1, 2)
    return bool((counts.sum(axis=0) - counts > 0).all())


def seen(settings: Settings, data: ModelInput, candidate: Candidate) -> ScoreCard:
    """Measure a candidate on the test rows: other rows of groups it has seen."""
    return evaluation.score(data.test.y, candidate.probabilities, **_how(settings))


def seen_answers(settings: Settings, data: ModelInput, candidate: Candidate) -> Answered:
    """Count a candidate's answers to the test rows."""
    found = candidate.safety.answers(data.test.codes, candidate.scores, candidate.encoder, settings.dataset)
    return safety_evaluation.count(data.test.y, found.verdict)


def evaluations(
    settings: Settings, data: ModelInput, found: Sequence[Candidate], held_out: HeldOut, progress: Progress, *, full: bool = False
) -> dict[str, ModelEvaluation]:
    """Measure every candidate on rows of seen and of unseen groups; if `full`, hold the promise behind its threshold to its word."""
    measured = {}
    for candidate in found:
        progress.text(f"{candidate.name}: intervals")
        on_seen = seen(settings, data, candidate)
        progress.advance(1)
        promise = promises(settings, data, candidate) if full and candidate.scorer is not None else ()
        measured[candidate.name] = _with_unseen(
            settings, held_out, candidate.name, on_seen, seen_answers(settings, data, candidate), promise
        )
        progress.advance(1)
    return measured


def _with_unseen(
    settings: Settings, held_out: HeldOut, name: str, on_seen: ScoreCard, answered: Answered, promise: tuple[Promise, ...]
) -> ModelEvaluation:
    rows, answers = held_out.rows, held_out.answers
    if rows is None or answers is None or rows.group is None:
        return ModelEvaluation(on_seen, Unavailable(held_out.reason), (), ModelSafety(answered, None, 0, (), promise))
    model = answers.models[name]
    safety = ModelSafety(
        answered,
        safety_evaluation.count(rows.y, model.verdict),
        held_out.folds,
        safety_evaluation.by_group(rows.y, model.verdict, rows.group),
        promise,
    )
    card = evaluation.score_clustered(rows.y, model.probability, rows.group, **_how(settings))
    return ModelEvaluation(on_seen, card, evaluation.errors_by_group(rows.y, model.probability, rows.group), safety)


def promises(settings: Settings, data: ModelInput, candidate: Candidate) -> tuple[Promise, ...]:
    """How often the promise behind a candidate's threshold holds when its held-out rows are split at random."""
    calibrate, threshold = data.part(settings, "calibration"), data.part(settings, "threshold")
    rows = concat([calibrate, threshold, data.test])
    raw = candidate.score(rows.codes)
    answers = candidate.safety.answers(rows.codes, raw, candidate.encoder, settings.dataset)
    familiar = np.asarray(is_familiar(answers.novelty.p, candidate.safety.coverage)) & ~answers.strange.any(len(rows.y))
    return safety_evaluation.promises(
        raw,
        rows.y,
        familiar,
        (len(calibrate.y), len(threshold.y)),
        settings.guard,
        alphas=settings.evaluation.alphas,
        splits=settings.evaluation.splits,
        seed=settings.runtime.seed,
    )


def guard(settings: Settings, data: ModelInput, fitted: Guard, held_out: HeldOut) -> GuardEvaluation | Unavailable:
    """Measure the guard alone, on groups it does not know."""
    rows = held_out.rows
    if rows is None or held_out.answers is None or rows.group is None:
        return Unavailable(held_out.reason)
    calibrate = data.part(settings, "calibration")
    known = concat([calibrate, data.part(settings, "threshold"), data.test])
    if (fitted.names >= 0).all():
        how = f"one {settings.dataset.groups.name if settings.dataset.groups else 'group'} at a time"
        left_out = safety_evaluation.leave_one_group_out(fitted, rows, calibrate)
    else:  # clusters have to be found anew without the group, as in the folds
        how, left_out = f"{held_out.folds} folds of whole groups", held_out.answers.guard
    typicality = fitted.novelty(known.codes).typicality
    return safety_evaluation.guard_evaluation(how, left_out, rows.y, rows.group, typicality, settings.guard.coverage)


def compare(settings: Settings, data: ModelInput, found: Sequence[Candidate], held_out: HeldOut) -> tuple[Comparison, ...]:
    """Compare the candidates pair by pair, on the same rows."""
    if len(found) < 2:
        return ()
    confidence = settings.evaluation.confidence
    on_seen = evaluation.compare(data.test.y, {candidate.name: candidate.probabilities for candidate in found}, confidence=confidence)
    rows, answers = held_out.rows, held_out.answers
    if rows is None or answers is None or rows.group is None:
        return on_seen
    scores = {name: model.probability for name, model in answers.models.items()}
    return on_seen + evaluation.compare_clustered(rows.y, scores, rows.group, **_how(settings))


def _how(settings: Settings) -> dict[str, Any]:
    return {
        "confidence": settings.evaluation.confidence,
        "replicates": settings.evaluation.replicates,
        "seed": settings.runtime.seed,
    }


def context_of(
    settings: Settings,
    run_id: str,
    created: str,
    steps: Mapping[str, float],
    data: ModelInput,
    found: Sequence[Candidate],
    evaluations: Mapping[str, ModelEvaluation],
    comparisons: tuple[Comparison, ...],
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
        thresholds={candidate.name: candidate.safety.threshold for candidate in found},
        guard_settings=settings.guard,
        production="",
        rule=f"best {settings.selection.metric} on {settings.selection.on} rows",
        versions={},
        importances={candidate.name: dict(candidate.importance) for candidate in found},
        fit_seconds={candidate.name: candidate.fit_seconds for candidate in found},
        images={},
        steps=dict(steps),
        group_names=group_names,
        seed=settings.runtime.seed,
        confidence=settings.evaluation.confidence,
        libraries={name: importlib.metadata.version(name) for name in LIBRARIES},
    )

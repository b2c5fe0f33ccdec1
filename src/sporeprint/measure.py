"""Measures the candidates on rows of seen and of unseen groups, and gathers what the report says."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint import crossval
from sporeprint import evaluate as evaluation
from sporeprint.candidates import Candidate
from sporeprint.evaluate import Comparison, GroupErrors, ModelEvaluation, ScoreCard, Unavailable
from sporeprint.files import Progress
from sporeprint.model_input import ModelInput
from sporeprint.observations import Observations, concat
from sporeprint.report import ReportContext
from sporeprint.settings import Settings

Scores = npt.NDArray[np.float64]

#: Libraries whose versions the report and the manifests state.
LIBRARIES = ("numpy", "onnxruntime", "polars", "pyarrow", "scikit-learn", "xgboost-cpu")


@dataclass(frozen=True)
class HeldOut:
    """Scores of every row by models that never saw its group, or why there are none."""

    rows: Observations | None
    scores: Mapping[str, Scores]
    reason: str


def cross_validate(settings: Settings, data: ModelInput, progress: Progress) -> HeldOut:
    """Score all rows with their group held out."""
    rows = concat([data.train, data.validation, data.test])
    if not data.record.groups.available or rows.group is None or rows.part is None:
        return HeldOut(None, {}, data.record.groups.reason)
    fold = evaluation.group_folds(rows.group, rows.y, folds=settings.evaluation.folds, seed=settings.runtime.seed)
    if isinstance(fold, Unavailable):
        return HeldOut(None, {}, fold.reason)
    parts = list(settings.split.shares)
    learn = rows.part == parts.index("train")
    if not _both_classes_left(rows.y, fold, learn):
        return HeldOut(None, {}, "where a fold is held out, the training rows that are left are of one class")
    progress.total((int(fold.max()) + 1) * len(settings.models))

    def each_fit(name: str) -> None:
        progress.text(name)
        progress.advance(1)

    scores = crossval.held_out_scores(
        rows,
        fold,
        learn,
        rows.part == parts.index("early_stop"),
        settings.models,
        settings.transform,
        settings.dataset,
        seed=settings.runtime.seed,
        threads=settings.threads,
        each_fit=each_fit,
    )
    return HeldOut(rows, scores, "")


def _both_classes_left(y: npt.NDArray[np.int8], fold: npt.NDArray[np.int64], learn: npt.NDArray[np.bool_]) -> bool:
    """Whether the rows to learn from hold both classes, whichever fold is held out."""
    counts = np.bincount(2 * fold[learn] + y[learn], minlength=2 * (int(fold.max()) + 1)).reshape(-1, 2)
    return bool((counts.sum(axis=0) - counts > 0).all())


def seen(settings: Settings, data: ModelInput, candidate: Candidate) -> ScoreCard:
    """Measure a candidate on the test rows: other rows of groups it has seen."""
    return evaluation.score(data.test.y, candidate.scores, **_how(settings))


def evaluations(
    settings: Settings, data: ModelInput, found: Sequence[Candidate], held_out: HeldOut, progress: Progress
) -> dict[str, ModelEvaluation]:
    """Measure every candidate on rows of seen and of unseen groups."""
    measured = {}
    for candidate in found:
        progress.text(f"{candidate.name}: intervals")
        on_seen = seen(settings, data, candidate)
        progress.advance(1)
        measured[candidate.name] = ModelEvaluation(on_seen, *_unseen(settings, held_out, candidate.name))
        progress.advance(1)
    return measured


def _unseen(settings: Settings, held_out: HeldOut, name: str) -> tuple[ScoreCard | Unavailable, tuple[GroupErrors, ...]]:
    rows = held_out.rows
    if rows is None or rows.group is None:
        return Unavailable(held_out.reason), ()
    scores = held_out.scores[name]
    card = evaluation.score_clustered(rows.y, scores, rows.group, **_how(settings))
    return card, evaluation.errors_by_group(rows.y, scores, rows.group)


def compare(settings: Settings, data: ModelInput, found: Sequence[Candidate], held_out: HeldOut) -> tuple[Comparison, ...]:
    """Compare the candidates pair by pair, on the same rows."""
    if len(found) < 2:
        return ()
    confidence = settings.evaluation.confidence
    on_seen = evaluation.compare(data.test.y, {candidate.name: candidate.scores for candidate in found}, confidence=confidence)
    rows = held_out.rows
    if rows is None or rows.group is None:
        return on_seen
    return on_seen + evaluation.compare_clustered(rows.y, held_out.scores, rows.group, **_how(settings))


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

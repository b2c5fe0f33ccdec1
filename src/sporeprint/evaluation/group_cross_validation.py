"""Answers for rows of groups that a model never saw: everything is fitted anew without them, fold by fold.

By the same recipe as the model that is released: fitted on the other groups' rows of the `train` part, stopped by those of
`early_stop`, calibrated and tested on those of `calibration` and `threshold`. So the two evaluations differ in nothing but the groups.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from sporeprint.common.engine import Engine
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.training_data import KnownRows
from sporeprint.evaluation.safety_scorecard import LeftOutNovelty
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder import Encoder
from sporeprint.models.encoder_fit import column_transforms, fit_and_encode
from sporeprint.models.training import FittedModel, fit_model
from sporeprint.safety.cells import Cells
from sporeprint.safety.decision_rule import fit_decision_rule, fit_guards
from sporeprint.safety.partial_guard import PartialGuard
from sporeprint.safety.partial_rule import decide_partial
from sporeprint.safety.verdict import UNKNOWN, VerdictLimits
from sporeprint.settings import Settings

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldOutModelPredictions:
    """What models of one kind, none of which saw a row's group, say of n rows.

    Attributes:
        probability: float64 [n], P(positive), calibrated.
        verdict: int8 [n].
        thresholds: for every fold the threshold, None where the negative class was never answered.
    """

    probability: Float64
    verdict: npt.NDArray[np.int8]
    thresholds: tuple[float | None, ...]


@dataclass(frozen=True)
class HeldOutPredictions:
    """What models and guards that never saw a row's group say of n rows.

    Attributes:
        models: by name.
        guard: what the guard says.
        ignoring_missing: int8 [n], verdicts where empty cells carry no information: none is an observation, and the classifier, which
            reads the pattern of empty cells, is not asked. So a row whose empty cells are like no training row's is answered, by any model.
    """

    models: dict[str, HeldOutModelPredictions]
    guard: LeftOutNovelty
    ignoring_missing: npt.NDArray[np.int8]


def predict_held_out(
    rows: Observations,
    fold: npt.NDArray[np.int64],
    settings: Settings,
    *,
    threads: int,
    each_fit: Callable[[str], None] = lambda _: None,
    engine: Engine | None = None,
) -> HeldOutPredictions:
    """Answer every row by models, and a guard, that were fitted without its fold.

    Args:
        rows: n rows with the part they belong to.
        fold: int [n], the fold of each row; whole groups share one.
        settings: models, encodings, guard, seed.
        threads: threads of a fit in this process.
        each_fit: called with the model's name after every fit.
        engine: where there are several nodes, a task for each fold, on one core; None: this process.
    """
    n, numbers = len(fold), np.unique(fold).tolist()
    folds: Iterator[HeldOutPredictions]
    if engine is None or engine.nodes == 1:
        folds = map(functools.partial(answer_fold, rows, fold, settings, threads, each_fit=each_fit), numbers)
    else:
        folds = _announced(engine.map(functools.partial(answer_fold, rows, fold, settings, 1), numbers), each_fit)
    answered = {name: (np.empty(n), np.full(n, UNKNOWN, dtype=np.int8), list[float | None]()) for name in settings.models}
    ignoring = np.full(n, UNKNOWN, dtype=np.int8)
    guarded = LeftOutNovelty(np.empty(n), np.empty(n), np.empty(n, dtype=np.bool_), np.empty(n, dtype=np.int64))
    for number, answers in zip(numbers, folds, strict=True):
        out = fold == number
        ignoring[out] = answers.ignoring_missing
        for each in fields(guarded):
            getattr(guarded, each.name)[out] = getattr(answers.guard, each.name)
        for name, (probability, verdict, thresholds) in answered.items():
            model = answers.models[name]
            probability[out], verdict[out] = model.probability, model.verdict
            thresholds += model.thresholds
    models = {
        name: HeldOutModelPredictions(probability, verdict, tuple(thresholds))
        for name, (probability, verdict, thresholds) in answered.items()
    }
    return HeldOutPredictions(models, guarded, ignoring)


def _announced(folds: Iterator[HeldOutPredictions], each_fit: Callable[[str], None]) -> Iterator[HeldOutPredictions]:
    for answers in folds:
        for name in answers.models:
            each_fit(name)
        yield answers


def answer_fold(
    rows: Observations,
    fold: npt.NDArray[np.int64],
    settings: Settings,
    threads: int,
    number: int,
    *,
    each_fit: Callable[[str], None] = lambda _: None,
) -> HeldOutPredictions:
    """Answer the rows of one fold by models, and a guard, that were fitted without them; see `predict_held_out`."""
    out = fold == number
    left, mine = _parts(rows, ~out, settings), rows.take(out)
    learn, stop, calibrate, test = left
    known, seed = _joined(rows, ~out, settings), settings.runtime.seed
    guard, partial = fit_guards(KnownRows.of(known), calibrate, test, settings.dataset, settings.guard, seed=seed, is_rehearsed=False)
    # The guards answer once for all models.
    cells = Cells.of_codes(mine.codes, partial.layout) if partial.is_always_asked else None
    evidence = None if cells is None else partial.likelihood.evidence(cells)
    novelty, novelties = guard.novelty(mine.codes), (guard.novelty(calibrate.codes), guard.novelty(test.codes))
    models = {}
    for name, model in settings.models.items():
        transforms = column_transforms(settings.transform, model, settings.dataset)
        encoder, matrix = fit_and_encode(learn.codes, learn.y, transforms, seed=settings.runtime.seed)
        fitted = fit_model(
            model,
            EncodedRows(matrix, learn.y),
            EncodedRows(encoder.matrix(stop.codes), stop.y),
            seed=settings.runtime.seed,
            threads=threads,
        )

        def score(codes: Codes, encoder: Encoder = encoder, fitted: FittedModel = fitted) -> Float64:
            return encoder.scored(codes, fitted.score)

        safe = fit_decision_rule(
            score, encoder, guard, calibrate, test, settings.dataset, settings.guard, novelties=novelties, partial=partial
        )
        predictions = safe.predictions(mine.codes, score(mine.codes), encoder, settings.dataset, novelty=novelty, evidence=evidence)
        models[name] = HeldOutModelPredictions(predictions.probability, predictions.verdict, (safe.threshold.value,))
        each_fit(name)
    left_out = LeftOutNovelty(
        novelty.p, novelty.typicality, guard.positive[novelty.component] > 0.5, guard.names[novelty.component].astype(np.int64, copy=False)
    )
    return HeldOutPredictions(models, left_out, _ignoring_missing(partial, mine.codes, settings))


def _ignoring_missing(guard: PartialGuard, codes: Codes, settings: Settings) -> npt.NDArray[np.int8]:
    cells = Cells.of_codes(codes, guard.layout, frozenset(settings.dataset.columns))
    limits = VerdictLimits(None, 1.0, settings.guard.coverage)
    return decide_partial(guard, cells, contradictory=np.zeros(codes.rows, dtype=np.bool_), limits=limits).verdict


def _parts(rows: Observations, left: npt.NDArray[np.bool_], settings: Settings) -> list[Observations]:
    """The rows of `train`, `early_stop`, `calibration` and `threshold` that are left."""
    return [_of(rows, left, [name], settings) for name in ("train", "early_stop", "calibration", "threshold")]


def _joined(rows: Observations, left: npt.NDArray[np.bool_], settings: Settings) -> Observations:
    """The rows that the guard knows: those a model is fitted on or stopped by."""
    return _of(rows, left, ["train", "early_stop"], settings)


def _of(rows: Observations, left: npt.NDArray[np.bool_], names: Sequence[str], settings: Settings) -> Observations:
    if rows.part is None:
        raise ValueError("the rows' parts are needed")
    order = list(settings.split.shares)
    return rows.take(np.flatnonzero(left & np.isin(rows.part, [order.index(name) for name in names])))

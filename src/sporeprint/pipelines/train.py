"""The train step: fits the configured models on the published training rows, as candidates for the registry."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sporeprint.common.progress import Progress, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.groups import GroupName, read_group_names
from sporeprint.data.training_data import KNOWN, ModelInput, read_input
from sporeprint.errors import ConfigError, NotServableError, nearest
from sporeprint.evaluation.candidate import Candidate
from sporeprint.inference.attributions import NO_EXPLANATION, Explainer, explainer_of
from sporeprint.models import training
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.encoder import SCORED_ROWS, Encoder, Matrix
from sporeprint.models.encoder_fit import column_transforms
from sporeprint.models.scorers import Scorer, Scores
from sporeprint.models.training_rows import fit_encoder_and_rows
from sporeprint.pipelines.candidate_files import write_candidate
from sporeprint.pipelines.engines import open_engine
from sporeprint.pipelines.results import TrainResult
from sporeprint.pipelines.run_context import RunContext, open_run
from sporeprint.safety.decision_rule import fit_decision_rule, fit_guards
from sporeprint.safety.nearest_neighbour import REFERENCE_FILE, ReferenceRows, reference_rows
from sporeprint.safety.novelty_guard import Guard
from sporeprint.safety.partial_guard import PartialGuard
from sporeprint.settings import ModelSettings, Settings

#: Progress units of a fit that reports none of its own.
WHOLE_FIT = 100


def run_train(settings: Settings, root: Path, *, models: Sequence[str] | None = None, steps: Steps | None = None) -> TrainResult:
    """Fit the models (all, or those named) on the published training rows, as candidates for the registry.

    Raises:
        ConfigError: a model is not in the configuration, or its estimator does not take its parameters.
        DataError: no data is loaded.
    """
    chosen = model_settings(settings, models)
    with open_run(settings, root, steps, "train") as run, open_engine(settings, run.workdir) as engine:
        data = read_input(settings, run.workdir, engine)
        run.record.add_data(data.record)
        return TrainResult(tuple(train(run, data, chosen)))


def model_settings(settings: Settings, names: Sequence[str] | None) -> dict[str, ModelSettings]:
    """The settings of the named models, or of all.

    Raises:
        ConfigError: a model is not in the configuration.
    """
    for name in names or ():
        if name not in settings.models:
            raise ConfigError(
                f"no model {name!r} in the configuration{nearest(name, settings.models)}; there are: {', '.join(settings.models)}"
            )
    return {name: settings.models[name] for name in names or settings.models}


def train(run: RunContext, data: ModelInput, chosen: Mapping[str, ModelSettings]) -> list[Candidate]:
    """Fit the chosen models and write them as candidates."""
    settings, workdir = run.settings, run.workdir
    fitted = []
    with run.log.step("train") as progress:
        # The last evaluation is not of the models that are trained now.
        workdir.evaluation_record.unlink(missing_ok=True)
        for note in data.notes:
            run.log.note(note)
        progress.total(sum(fit_units(model) for model in chosen.values()) + WHOLE_FIT)
        progress.text("guard")
        shared = shared_parts(settings, workdir, data)
        progress.advance(WHOLE_FIT)
        for name, model in chosen.items():
            progress.text(name)
            candidate = fit_candidate(settings, name, model, data, shared, progress)
            for note in candidate.notes:
                run.log.note(f"{name}: {note}")
            write_candidate(workdir.candidates, candidate)
            fitted.append(candidate)
    run.record.details["trained"] = {item.name: item.fit_seconds for item in fitted}
    return fitted


def fit_units(model: ModelSettings) -> int:
    """Progress units of a fit: boosting rounds for XGBoost, `WHOLE_FIT` for the others."""
    return model.rounds if model.estimator == "xgboost" else WHOLE_FIT


@dataclass(frozen=True)
class SharedParts:
    """What all models of a run share: the guards, the rows it keeps, and the names of the groups."""

    guard: Guard
    partial: PartialGuard
    known: ReferenceRows
    names: tuple[GroupName, ...]


def shared_parts(settings: Settings, workdir: Workdir, data: ModelInput) -> SharedParts:
    """Fit the guard on training and early-stopping rows."""
    known = data.known(settings, KNOWN)
    calibrate, test = data.part(settings, "calibration"), data.part(settings, "threshold")
    fitted, partial = fit_guards(known, calibrate, test, settings.dataset, settings.guard, seed=settings.runtime.seed)
    return SharedParts(
        fitted, partial, reference_rows(known.batches, fitted, most=settings.guard.kept_rows), group_names(settings, workdir, data) or ()
    )


def group_names(settings: Settings, workdir: Workdir, data: ModelInput) -> tuple[GroupName, ...] | None:
    """Names of the groups in order, from the names file; None without one."""
    groups = settings.dataset.groups
    if groups is None or groups.names_file is None:
        return None
    return read_group_names(workdir.at(groups.names_file), groups, data.record.groups.count)


def fit_candidate(
    settings: Settings, name: str, model: ModelSettings, data: ModelInput, shared: SharedParts, progress: Progress
) -> Candidate:
    """Fit one model, convert it to its served form, and calibrate its verdict."""
    stop = data.part(settings, "early_stop")
    transforms = column_transforms(settings.transform, model, settings.dataset)
    encoder, rows = fit_encoder_and_rows(data.known(settings, ("train",)), transforms, seed=settings.runtime.seed)
    done = 0

    def each_round(rounds: int) -> None:
        nonlocal done
        done += rounds
        progress.advance(rounds)

    began = time.perf_counter()
    fitted = training.fit_model(
        model,
        rows,
        EncodedRows(encoder.matrix(stop.codes), stop.y),
        seed=settings.runtime.seed,
        threads=settings.threads,
        most_rows=settings.runtime.most_rows,
        each_round=each_round,
    )
    seconds = time.perf_counter() - began
    progress.advance(fit_units(model) - done)
    reference = encoder.scored(data.test.codes, fitted.score)
    scorer, reason = None, None
    try:
        scorer = training.to_scorer(fitted, encoder.matrix(data.test.codes.take(slice(SCORED_ROWS))), threads=settings.threads)
    except NotServableError as error:
        reason = str(error)
    sample = rows.sample(training.START_ROWS)
    return decided(
        settings,
        data,
        shared,
        name=name,
        encoder=encoder,
        scorer=scorer,
        score=fitted.score if scorer is None else scorer.score,
        reference=reference,
        fit_seconds=round(seconds, 3),
        notes=fitted.notes,
        described=model.model_dump(mode="json"),
        not_servable=reason,
        explainer=explainer_of(scorer, fitted.estimator, sample.X, encoder.sources),
        rounds=fitted.rounds,
        importance=training.importance(fitted, sample.X, encoder.sources),
    )


def decided(
    settings: Settings,
    data: ModelInput,
    shared: SharedParts,
    *,
    name: str,
    encoder: Encoder,
    scorer: Scorer | None,
    score: Callable[[Matrix], Scores],
    reference: Scores,
    fit_seconds: float,
    notes: tuple[str, ...],
    described: Mapping[str, Any],
    not_servable: str | None = None,
    explainer: Explainer = NO_EXPLANATION,
    rounds: int | None = None,
    importance: Mapping[str, float] = MappingProxyType({}),
) -> Candidate:
    """Calibrate the verdict of a model, fitted here or elsewhere, and gather everything as a candidate; see `Candidate`."""
    safe = fit_decision_rule(
        lambda codes: encoder.scored(codes, score),
        encoder,
        shared.guard,
        data.part(settings, "calibration"),
        data.part(settings, "threshold"),
        settings.dataset,
        settings.guard,
        shared.names,
        partial=shared.partial,
    )
    return Candidate(
        name=name,
        encoder=encoder,
        scorer=scorer,
        not_servable=not_servable,
        parts={**safe.to_files(), **explainer.to_files(), REFERENCE_FILE: shared.known.to_bytes()},
        scores=reference if scorer is None else encoder.scored(data.test.codes, score),
        reference=reference,
        fit_seconds=fit_seconds,
        rounds=rounds,
        importance=importance,
        notes=notes,
        settings=described,
        data_run=data.record.run_id,
    )

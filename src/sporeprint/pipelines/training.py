"""Joins the steps: each reads what the one before wrote below the work directory, so any of them can be run alone.

The only module that knows them all. It computes nothing itself.
"""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from threadpoolctl import threadpool_limits

from sporeprint.common.files import Progress, atomic_write
from sporeprint.common.locks import run_lock
from sporeprint.common.text_table import SilentSteps, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.data_summary import DataRecord
from sporeprint.data.dataset import concat
from sporeprint.data.groups import GroupName, read_group_names
from sporeprint.data.training_data import ModelInput, read_input
from sporeprint.errors import ConfigError, DataError, NotServableError, RefusedError
from sporeprint.errors import nearest as nearest_word
from sporeprint.evaluation import candidate as candidates
from sporeprint.evaluation import evaluator as measure
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.safety_scorecard import GuardEvaluation, ModelSafety
from sporeprint.evaluation.scorecard import Comparison, ModelEvaluation, Unavailable
from sporeprint.inference.attributions import explainer_of
from sporeprint.ingestion import extract as extracting
from sporeprint.ingestion.extract import RawTable
from sporeprint.models import encoder as encoding
from sporeprint.models import training
from sporeprint.pipelines import feedback as labelled
from sporeprint.pipelines import load as loading
from sporeprint.pipelines import promotion as release
from sporeprint.pipelines.promotion import Gate, Registration
from sporeprint.pipelines.results import (
    DataResult,
    EtlResult,
    EvaluateResult,
    ExtractResult,
    NewVersionResult,
    RegisterResult,
    TrainResult,
    ValidateResult,
)
from sporeprint.pipelines.run_log import RunLog
from sporeprint.pipelines.transform import prepare
from sporeprint.pipelines.transform import validate as checking
from sporeprint.registry.registry import Registry
from sporeprint.reports.evaluation_report import metrics_dict, render_evaluation
from sporeprint.reports.plots import draw_all
from sporeprint.reports.safety_section import safety_dict
from sporeprint.safety import decision_rule as safety
from sporeprint.safety import nearest_neighbour as nearest
from sporeprint.safety.nearest_neighbour import Known
from sporeprint.safety.novelty_guard import Guard
from sporeprint.settings import ModelSettings, Settings
from sporeprint.storage.warehouse import training_sink as warehousing

#: How an evaluation is kept between `evaluate` and `register`.
CONTEXT = TypeAdapter(ReportContext)

#: Progress of a fit that tells nothing of itself.
WHOLE_FIT = 100


def _now() -> datetime:
    return datetime.now(UTC)


def new_run_id() -> str:
    """A name for a run: when it began, and four random letters for those that begin in the same second."""
    return f"{_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


@contextmanager
def _run(root: Path, steps: Steps | None) -> Iterator[tuple[Workdir, RunLog]]:
    """Hold the work directory for a run, and name it."""
    workdir = Workdir(root)
    with run_lock(root):
        yield workdir, RunLog(new_run_id(), workdir.logs, steps or SilentSteps())


@dataclass(frozen=True)
class Outcomes:
    """Answers of the warehouse whose outcome is known are wanted, too.

    Attributes:
        since_us: only answers given from then on, microseconds since 1970 UTC; None: all.
    """

    since_us: int | None = None


# --- extract, transform, load ----------------------------------------------------------------------------------------


def extract(settings: Settings, root: Path, *, source: str | None = None, steps: Steps | None = None) -> ExtractResult:
    """Find, download or simulate the raw table, and note where it came from.

    Raises:
        SporeprintError: see `sporeprint.extract.extract`.
    """
    with _run(root, steps) as (workdir, log):
        return ExtractResult(_extract(settings, workdir, log, source))


def transform(settings: Settings, root: Path, *, steps: Steps | None = None) -> DataResult:
    """Check, clean and split what `extract` found, into the stage.

    Raises:
        DataError: see `sporeprint.prepare.prepare`.
    """
    with _run(root, steps) as (workdir, log):
        return DataResult(_transform(settings, workdir, log, _extracted(workdir)), published=False)


def validate(settings: Settings, root: Path, *, steps: Steps | None = None) -> ValidateResult:
    """Check what `extract` found; nothing is staged.

    Raises:
        DataError: see `sporeprint.prepare.validate`.
    """
    with _run(root, steps) as (workdir, log):
        raw = _extracted(workdir)
        with log.step("validate") as progress:
            return ValidateResult(checking(settings, workdir, raw, run_id=log.run_id, progress=progress))


def load(settings: Settings, root: Path, *, run: str | None = None, steps: Steps | None = None) -> DataResult:
    """Publish what `transform` staged.

    Args:
        settings: the configuration.
        root: the work directory.
        run: what has to be staged; where it is published already, nothing is done. None: whatever is staged.
        steps: what shows the steps.

    Raises:
        DataError: if nothing is staged, or another run.
    """
    with _run(root, steps) as (workdir, log):
        return DataResult(_load(settings, workdir, log, run), published=True)


def _extracted(workdir: Workdir) -> RawTable:
    if not workdir.extract_record.exists():
        raise DataError(f"nothing has been extracted in {workdir.root}; run sporeprint extract first")
    return RawTable.from_json(workdir.extract_record.read_text(encoding="utf-8"))


def _extract(settings: Settings, workdir: Workdir, log: RunLog, source: str | None, outcomes: Outcomes | None = None) -> RawTable:
    with log.step("extract") as progress:
        raw = extracting.extract(settings, workdir.root, source=source, progress=progress, now=_now)
    if outcomes is not None:
        with log.step("outcomes") as progress:
            raw = labelled.append(settings, workdir, raw, since_us=outcomes.since_us, progress=progress)
    atomic_write(workdir.extract_record, raw.to_json())
    return raw


def _transform(settings: Settings, workdir: Workdir, log: RunLog, raw: RawTable) -> DataRecord:
    with log.step("transform") as progress:
        return prepare(settings, workdir, raw, run_id=log.run_id, created=_now().isoformat(timespec="seconds"), progress=progress)


def _load(settings: Settings, workdir: Workdir, log: RunLog, run: str | None = None) -> DataRecord:
    with log.step("load"):
        record = _record(workdir.staging / "record.json")
        if run is not None and (record is None or record.run_id != run):
            published = _record(workdir.data_record)
            if published is not None and published.run_id == run:
                return published
            raise DataError(f"run {run} is neither staged in {workdir.staging} nor published; run sporeprint transform again")
        if record is None:
            raise DataError(f"nothing is staged in {workdir.staging}; run sporeprint transform first")
        with warehousing.opened(settings.storage, workdir.root) as warehouse:
            sinks = (warehousing.WarehouseSink(warehouse),)
            loading.load(workdir, settings.dataset.name, record.run_id, record.to_json(), sinks)
        return record


def _record(path: Path) -> DataRecord | None:
    return DataRecord.from_json(path.read_text(encoding="utf-8")) if path.exists() else None


# --- train -----------------------------------------------------------------------------------------------------------


def train(settings: Settings, root: Path, *, models: Sequence[str] | None = None, steps: Steps | None = None) -> TrainResult:
    """Fit the models (all, or those named) on the published training rows, as candidates for the registry.

    Raises:
        ConfigError: if a model is not in the configuration, or its estimator does not take its parameters.
        DataError: if no data is loaded.
    """
    with _run(root, steps) as (workdir, log):
        chosen = _chosen(settings, models)
        return TrainResult(tuple(_train(settings, workdir, log, read_input(settings, workdir), chosen)))


def _chosen(settings: Settings, names: Sequence[str] | None) -> dict[str, ModelSettings]:
    for name in names or ():
        if name not in settings.models:
            raise ConfigError(
                f"no model {name!r} in the configuration{nearest_word(name, settings.models)}; there are: {', '.join(settings.models)}"
            )
    return {name: settings.models[name] for name in names or settings.models}


def _train(settings: Settings, workdir: Workdir, log: RunLog, data: ModelInput, chosen: Mapping[str, ModelSettings]) -> list[Candidate]:
    fitted = []
    with log.step("train") as progress:
        # What was measured is not what is about to be trained.
        _context_file(workdir).unlink(missing_ok=True)
        progress.total(sum(_work(model) for model in chosen.values()) + WHOLE_FIT)
        progress.text("guard")
        shared = _shared(settings, workdir, data)
        progress.advance(WHOLE_FIT)
        for name, model in chosen.items():
            progress.text(name)
            candidate = _fit(settings, name, model, data, shared, progress)
            candidates.write(workdir.candidates, candidate)
            fitted.append(candidate)
    return fitted


def _work(model: ModelSettings) -> int:
    """How long a fit is, for a progress bar: XGBoost counts its rounds, the others tell nothing of themselves."""
    return model.rounds if model.estimator == "xgboost" else WHOLE_FIT


@dataclass(frozen=True)
class _Shared:
    """What the models of a run have in common: the guard, the rows it keeps, and the names of the groups."""

    guard: Guard
    known: Known
    names: tuple[GroupName, ...]


def _shared(settings: Settings, workdir: Workdir, data: ModelInput) -> _Shared:
    rows = concat([data.train, data.part(settings, "early_stop")])
    fitted = safety.fit_guard(rows, data.part(settings, "calibration"), settings.dataset, settings.guard, seed=settings.runtime.seed)
    return _Shared(fitted, nearest.keep(rows, fitted, most=settings.guard.kept_rows), _group_names(settings, workdir, data) or ())


def _fit(settings: Settings, name: str, model: ModelSettings, data: ModelInput, shared: _Shared, progress: Progress) -> Candidate:
    stop = data.part(settings, "early_stop")
    encoder = encoding.fit(data.train.codes, data.train.y, encoding.choices(settings.transform, model, settings.dataset))
    rows = training.Encoded(encoder.matrix(data.train.codes), data.train.y)
    done = 0

    def each_round(rounds: int) -> None:
        nonlocal done
        done += rounds
        progress.advance(rounds)

    began = time.perf_counter()
    fitted = training.fit(
        model,
        rows,
        training.Encoded(encoder.matrix(stop.codes), stop.y),
        seed=settings.runtime.seed,
        threads=settings.threads,
        each_round=each_round,
    )
    seconds = time.perf_counter() - began
    progress.advance(_work(model) - done)
    test = encoder.matrix(data.test.codes)
    reference = fitted.score(test)
    scorer, reason = None, None
    try:
        scorer = training.to_scorer(fitted, test, threads=settings.threads)
    except NotServableError as error:
        reason = str(error)
    served = fitted.score if scorer is None else scorer.score
    safe = safety.fit(
        lambda codes: served(encoder.matrix(codes)),
        encoder,
        shared.guard,
        data.part(settings, "calibration"),
        data.part(settings, "threshold"),
        settings.dataset,
        settings.guard,
        shared.names,
    )
    return Candidate(
        name=name,
        encoder=encoder,
        scorer=scorer,
        not_servable=reason,
        parts={**safe.to_files(), **explainer_of(scorer, fitted.estimator, rows.X).to_files(), nearest.FILE: shared.known.to_bytes()},
        scores=reference if scorer is None else served(test),
        reference=reference,
        fit_seconds=round(seconds, 3),
        rounds=fitted.rounds,
        importance=training.importance(fitted, rows.X, encoder.sources),
        notes=fitted.notes,
        settings=model.model_dump(mode="json"),
        data_run=data.record.run_id,
    )


# --- evaluate --------------------------------------------------------------------------------------------------------


def evaluate(settings: Settings, root: Path, *, full: bool = False, steps: Steps | None = None) -> EvaluateResult:
    """Measure the candidates on rows of seen and of unseen groups; write metrics, pictures and the report.

    Args:
        settings: the configuration.
        root: the work directory.
        full: hold the groups out one at a time, not in folds, and hold the promise behind each threshold to its word on random splits.
        steps: what shows the steps.

    Raises:
        DataError: if no data is loaded or a model is not trained.
    """
    with _run(root, steps) as (workdir, log):
        data = read_input(settings, workdir)
        found = candidates.read(workdir.candidates, list(settings.models), data.record.run_id)
        context = _draw(log, _evaluate(settings, workdir, log, data, found, full=full))
        _report(workdir, log, context)
        return EvaluateResult(context)


def _evaluate(
    settings: Settings, workdir: Workdir, log: RunLog, data: ModelInput, found: Sequence[Candidate], *, full: bool = False
) -> ReportContext:
    # Small sums: further BLAS threads would only wait for each other, at full speed.
    with log.step("cross-validate") as progress, threadpool_limits(1, "blas"):
        held_out = measure.cross_validate(settings, data, progress, full=full)
    with log.step("evaluate") as progress, threadpool_limits(1, "blas"):
        progress.total(2 * len(found) + 2)
        evaluations = measure.evaluations(settings, data, found, held_out, progress, full=full)
        comparisons = measure.compare(settings, data, found, held_out)
        progress.advance(1)
        progress.text("guard")
        guarded = measure.guard(settings, data, found[0].safety.guard, held_out)
        progress.advance(1)
    return _context(settings, workdir, log, data, found, evaluations, comparisons, guarded)


def _context(
    settings: Settings,
    workdir: Workdir,
    log: RunLog,
    data: ModelInput,
    found: Sequence[Candidate],
    evaluations: Mapping[str, ModelEvaluation],
    comparisons: tuple[Comparison, ...],
    guarded: GuardEvaluation | Unavailable,
) -> ReportContext:
    created, steps = _now().isoformat(timespec="seconds"), {step.step: step.wall_s for step in log.times}
    names = _group_names(settings, workdir, data)
    named = None if names is None else tuple(map(str, names))
    return measure.context_of(settings, log.run_id, created, steps, data, found, evaluations, comparisons, guarded, named)


def _group_names(settings: Settings, workdir: Workdir, data: ModelInput) -> tuple[GroupName, ...] | None:
    groups = settings.dataset.groups
    if groups is None or groups.names_file is None:
        return None
    return read_group_names(workdir.at(groups.names_file), groups, data.record.groups.count)


def _draw(log: RunLog, context: ReportContext) -> ReportContext:
    with log.step("plot"):
        images = draw_all(context.evaluations, context.guard, context.importances, context.schema, simulated=context.simulated)
        return replace(context, images=images)


def _report(workdir: Workdir, log: RunLog, context: ReportContext) -> None:
    """Write metrics, pictures and the page, and the whole context for a later `register`."""
    with log.step("report"):
        for name, image in context.images.items():
            atomic_write(workdir.metrics / name, image)
        atomic_write(workdir.metrics / "metrics.json", json.dumps(metrics_dict(context), indent=1, ensure_ascii=False, allow_nan=False))
        atomic_write(workdir.metrics / "safety.json", json.dumps(safety_dict(context), indent=1, ensure_ascii=False, allow_nan=False))
        atomic_write(workdir.metrics / "report.html", render_evaluation(context))
        atomic_write(_context_file(workdir), json.dumps(CONTEXT.dump_python(replace(context, images={}), mode="json")))


def _keep(settings: Settings, workdir: Workdir, context: ReportContext) -> None:
    """Write what was measured, and the versions that were made, into the warehouse."""
    with warehousing.opened(settings.storage, workdir.root) as warehouse:
        warehousing.keep_metrics(warehouse, metrics_dict(context))


def _context_file(workdir: Workdir) -> Path:
    return workdir.candidates / "evaluation.json"


def _read_context(workdir: Workdir, data: ModelInput, found: Sequence[Candidate]) -> ReportContext:
    """What `evaluate` found of the candidates."""
    path = _context_file(workdir)
    if not path.exists():
        raise DataError(f"the models in {workdir.candidates} have not been evaluated; run sporeprint evaluate")
    try:
        context = CONTEXT.validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path} is damaged or of another release; run sporeprint evaluate again") from error
    if context.data["sha256"] != data.record.provenance["sha256"]:
        raise DataError("the models were evaluated on another table than the one that is loaded; run sporeprint evaluate again")
    if missing := [candidate.name for candidate in found if candidate.name not in context.evaluations]:
        raise DataError(f"model {missing[0]!r} has not been evaluated with the others; run sporeprint evaluate again")
    return replace(context, images={image.name: image.read_bytes() for image in sorted(workdir.metrics.glob("*.png"))})


# --- register --------------------------------------------------------------------------------------------------------


def register(settings: Settings, root: Path, *, promote: bool = True, steps: Steps | None = None) -> RegisterResult:
    """Give the evaluated candidates a version each, and move the aliases through the gate.

    Args:
        settings: the configuration.
        root: the work directory.
        promote: whether the aliases move; a second call of the same evaluation can move them later.
        steps: what shows the steps.

    Raises:
        DataError: if there is nothing evaluated to register.
    """
    with _run(root, steps) as (workdir, log):
        data = read_input(settings, workdir)
        found = candidates.read(workdir.candidates, list(settings.models), data.record.run_id)
        context = _read_context(workdir, data, found)
        result, context = _register(settings, workdir, log, data, found, context, promote=promote)
        _report(workdir, log, context)
        _keep(settings, workdir, context)
        return result


def promote(
    settings: Settings, root: Path, ref: str, *, production: bool = True, reason: str, by: str = "promote", steps: Steps | None = None
) -> RegisterResult:
    """Make a registered version its model's champion, and the one that is served, if it passes the gate.

    Raises:
        RegistryError: if there is no such version.
        RefusedError: if the gate refuses it.
        DataError: if no data is loaded to hold it against the version it replaces.
    """
    with _run(root, steps) as (workdir, log), log.step("promote"):
        registry, data = Registry(workdir.registry), read_input(settings, workdir)
        found, served = registry.resolve(ref), registry.production()
        replaced = [registry.champion(found.name).ref, *([served.ref] if production and served is not None else [])]
        gates = [release.gate(settings, registry, data, found.ref, old) for old in dict.fromkeys(replaced) if old != found.ref]
        if refused := [reason for gate in gates if not gate.passed for reason in gate.reasons]:
            raise RefusedError(f"{found.ref} does not pass the gate: {'; '.join(refused)}")
        registry.promote(found.name, found.version, reason=reason, now=_now(), by=by)
        if production:
            served = registry.set_production(found.ref, reason=reason, now=_now(), by=by)
        said = tuple(reason for gate in gates for reason in gate.reasons)
        item = Registration(
            found.name, found.ref, created=False, champion=True, gate=Gate(True, said), reason="; ".join(said) or "it was already"
        )
        return RegisterResult((item,), None if served is None else served.ref, reason)


def _register(
    settings: Settings,
    workdir: Workdir,
    log: RunLog,
    data: ModelInput,
    found: Sequence[Candidate],
    context: ReportContext,
    *,
    promote: bool = True,
) -> tuple[RegisterResult, ReportContext]:
    registry = Registry(workdir.registry)
    with log.step("register"):
        metrics = metrics_dict(context)["models"]
        items = [
            release.register_candidate(settings, registry, data, candidate, metrics[candidate.name], context, _now(), promote=promote)
            for candidate in found
        ]
        if promote:
            production, reason = release.choose_production(settings, registry, data, items, context, _now())
        else:
            served = registry.production()
            production, reason = None if served is None else served.ref, "nothing was promoted"
    versions = {item.name: item.ref.partition("/")[2] for item in items if item.ref is not None}
    return RegisterResult(tuple(items), production, reason), replace(context, versions=versions, production=production or "none")


# --- everything ------------------------------------------------------------------------------------------------------


def etl(
    settings: Settings, root: Path, *, source: str | None = None, outcomes: Outcomes | None = None, steps: Steps | None = None
) -> EtlResult:
    """Run every step, from the table to the version that is served.

    Args:
        settings: the configuration.
        root: the work directory.
        source: a table in place of the configured one.
        outcomes: what of the warehouse follows it; None: nothing.
        steps: what shows the steps.

    Raises:
        SporeprintError: see each step. What was published before it failed stays as it was.
    """
    with _run(root, steps) as (workdir, log):
        raw = _extract(settings, workdir, log, source, outcomes)
        _transform(settings, workdir, log, raw)
        record = _load(settings, workdir, log)
        data = read_input(settings, workdir)
        found = _train(settings, workdir, log, data, _chosen(settings, None))
        context = _draw(log, _evaluate(settings, workdir, log, data, found))
        registered, context = _register(settings, workdir, log, data, found, context)
        _report(workdir, log, context)
        _keep(settings, workdir, context)
        report = str((workdir.metrics / "report.html").absolute())
        return EtlResult(log.run_id, DataResult(record, published=True), EvaluateResult(context), registered, tuple(log.times), report)


def new_version(settings: Settings, root: Path, model: str, *, steps: Steps | None = None) -> NewVersionResult:
    """Fit one model on the published rows, measure it on seen rows, and register it without promoting it.

    Raises:
        ConfigError: if the model is not in the configuration.
        RegistryError: if it cannot be served.
    """
    with _run(root, steps) as (workdir, log):
        return _new_version(settings, workdir, log, read_input(settings, workdir), model)


def _new_version(settings: Settings, workdir: Workdir, log: RunLog, data: ModelInput, model: str) -> NewVersionResult:
    chosen = _chosen(settings, [model])
    with log.step("train") as progress:
        progress.total(_work(chosen[model]))
        candidate = _fit(settings, model, chosen[model], data, _shared(settings, workdir, data), progress)
    with log.step("evaluate"):
        seen, answered = measure.seen(settings, data, candidate), measure.seen_answers(settings, data, candidate)
    with log.step("register"):
        unseen = Unavailable("a further version is measured on seen rows only; sporeprint etl measures both")
        found = {model: ModelEvaluation(seen, unseen, (), ModelSafety(answered, None, 0, ()))}
        context = _context(settings, workdir, log, data, [candidate], found, (), unseen)
        bundle = release.bundle_of(settings, data, candidate, metrics_dict(context)["models"][model], context)
        done = Registry(workdir.registry).register(bundle, now=_now(), by=log.run_id)
    return NewVersionResult(model, done.ref, done.created, seen)


def challenge(
    settings: Settings, root: Path, ref: str, *, outcomes: Outcomes, steps: Steps | None = None
) -> tuple[NewVersionResult, Gate, str]:
    """Make a version of the same model as another one, from the table of the last run and what came true; no alias moves.

    Args:
        settings: the configuration.
        root: the work directory.
        ref: the version that is challenged.
        outcomes: which answers of the warehouse follow the table.
        steps: what shows the steps.

    Returns:
        The new version, how it did at the gate against the other one, and what it was made from, in words.

    Raises:
        DataError: there are too few outcomes; nothing was changed.
        SporeprintError: see each step.
    """
    with _run(root, steps) as (workdir, log):
        raw = _extract(settings, workdir, log, _last_table(workdir), outcomes)
        _transform(settings, workdir, log, raw)
        _load(settings, workdir, log)
        data = read_input(settings, workdir)
        made = _new_version(settings, workdir, log, data, ref.partition("/")[0])
        with log.step("gate"):
            return made, release.gate(settings, Registry(workdir.registry), data, made.ref, ref), raw.provenance.source


def _last_table(workdir: Workdir) -> str | None:
    """The table of the last extract, which need not be the configured one; None where it is gone."""
    if not workdir.extract_record.exists():
        return None
    path = RawTable.from_json(workdir.extract_record.read_text(encoding="utf-8")).path
    return str(path) if path.exists() else None

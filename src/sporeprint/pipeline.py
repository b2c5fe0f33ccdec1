"""Joins the steps: each reads what the one before wrote below the work directory, so any of them can be run alone.

The only module that knows them all. It computes nothing itself.
"""

import importlib.metadata
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from sporeprint import __version__, candidates, crossval
from sporeprint import evaluate as evaluation
from sporeprint import load as loading
from sporeprint import train as training
from sporeprint import transform as encoding
from sporeprint.bundle import Bundle, Golden, check_parity, check_schema
from sporeprint.candidates import Candidate
from sporeprint.card import render_card
from sporeprint.errors import ConfigError, DataError, NotServableError, RegistryError, nearest
from sporeprint.evaluate import Comparison, GroupErrors, ModelEvaluation, ScoreCard, Unavailable
from sporeprint.extract import RawTable
from sporeprint.extract import extract as find_source
from sporeprint.files import Progress, atomic_write, run_lock
from sporeprint.observations import Observations, concat, to_rows
from sporeprint.plots import draw_all
from sporeprint.prepare import prepare
from sporeprint.record import DataRecord
from sporeprint.registry import Registry
from sporeprint.report import ReportContext, metrics_dict, render_evaluation
from sporeprint.runlog import RunLog, StepTime
from sporeprint.settings import ModelSettings, Settings
from sporeprint.table import SilentSteps, Steps, Table
from sporeprint.tables import read_table, run_id_of
from sporeprint.workdir import Workdir

#: Test rows stored with every version, on which the served scores are held against the pipeline's.
GOLDEN_ROWS = 64

#: How an evaluation is kept between `evaluate` and `register`.
CONTEXT = TypeAdapter(ReportContext)

#: Libraries whose versions a manifest states.
LIBRARIES = ("numpy", "onnxruntime", "polars", "pyarrow", "scikit-learn", "xgboost-cpu")


def _now() -> datetime:
    return datetime.now(UTC)


def new_run_id() -> str:
    """A name for a run: when it began, and four random letters for those that begin in the same second."""
    return f"{_now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


# --- extract, transform, load ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExtractResult:
    """What `extract` found."""

    raw: RawTable

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self.raw.provenance), "format": self.raw.format}

    def tables(self) -> list[Table]:
        """As people read it."""
        found = self.raw.provenance
        rows = (
            ("source", found.source),
            ("rows", "not counted yet" if found.rows is None else f"{found.rows:,}"),
            ("size", f"{found.bytes / 1e6:,.1f} MB"),
            ("sha256", found.sha256[:12]),
            ("simulated", "yes: INVENTED DATA" if found.simulated else "no"),
        )
        return [Table("Raw table", ("what", "value"), rows)]


@dataclass(frozen=True)
class DataResult:
    """What `transform` staged, or `load` published."""

    record: DataRecord
    published: bool

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**json.loads(self.record.to_json()), "published": self.published}

    def tables(self) -> list[Table]:
        """As people read it."""
        record = self.record
        rows = [
            ("rows", f"{record.rows:,}"),
            ("good", f"{record.good - record.dropped:,}"),
            ("rejected", f"{record.rejected:,}"),
            ("duplicates", f"{record.duplicates:,} ({'dropped' if record.dropped else 'kept, on one side of the split'})"),
            *((f"class {word}", f"{count:,}") for word, count in record.classes.items()),
            *((f"part {part}", f"{count:,}") for part, count in record.splits.items()),
            ("groups", record.groups.reason),
        ]
        found = [Table("Published" if self.published else "Staged", ("what", "value"), tuple(rows))]
        if record.by_rule:
            broken = tuple((rule, f"{count:,}") for rule, count in record.by_rule.items())
            found.append(Table("Rejected, by rule", ("rule", "rows"), broken))
        return found


def extract(settings: Settings, root: Path, *, source: str | None = None, steps: Steps | None = None) -> ExtractResult:
    """Find, download or simulate the raw table, and note where it came from.

    Raises:
        SporeprintError: see `sporeprint.extract.extract`.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    with run_lock(root):
        return ExtractResult(_extract(settings, workdir, log, source))


def transform(settings: Settings, root: Path, *, steps: Steps | None = None) -> DataResult:
    """Check, clean and split what `extract` found, into the stage.

    Raises:
        DataError: see `sporeprint.prepare.prepare`.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    with run_lock(root):
        if not workdir.extract_record.exists():
            raise DataError(f"nothing has been extracted in {root}; run sporeprint extract first")
        raw = RawTable.from_json(workdir.extract_record.read_text(encoding="utf-8"))
        return DataResult(_transform(settings, workdir, log, raw), published=False)


def load(settings: Settings, root: Path, *, steps: Steps | None = None) -> DataResult:
    """Publish what `transform` staged.

    Raises:
        DataError: if nothing is staged.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    with run_lock(root):
        return DataResult(_load(settings, workdir, log), published=True)


def _extract(settings: Settings, workdir: Workdir, log: RunLog, source: str | None) -> RawTable:
    with log.step("extract") as progress:
        raw = find_source(settings, workdir.root, source=source, progress=progress, now=_now)
        atomic_write(workdir.extract_record, raw.to_json())
        return raw


def _transform(settings: Settings, workdir: Workdir, log: RunLog, raw: RawTable) -> DataRecord:
    with log.step("transform") as progress:
        return prepare(settings, workdir, raw, run_id=log.run_id, created=_now().isoformat(timespec="seconds"), progress=progress)


def _load(settings: Settings, workdir: Workdir, log: RunLog) -> DataRecord:
    with log.step("load"):
        path = workdir.staging / "record.json"
        if not path.exists():
            raise DataError(f"nothing is staged in {workdir.staging}; run sporeprint transform first")
        record = DataRecord.from_json(path.read_text(encoding="utf-8"))
        loading.load(workdir, settings.dataset.name, record.run_id, record.to_json())
        return record


@dataclass(frozen=True)
class _Data:
    """The published tables of one run."""

    record: DataRecord
    train: Observations
    validation: Observations
    test: Observations

    def part(self, settings: Settings, name: str) -> Observations:
        """The rows of one part of `validation`."""
        number = list(settings.split.shares).index(name)
        return self.validation.take(self.validation.part == number)


def _read_data(settings: Settings, workdir: Workdir) -> _Data:
    if not workdir.data_record.exists():
        raise DataError(f"no data has been loaded in {workdir.root}; run sporeprint load first")
    record = DataRecord.from_json(workdir.data_record.read_text(encoding="utf-8"))
    paths = [workdir.model_input / f"{name}.parquet" for name in ("train", "validation", "test")]
    for path in paths:
        if (run := run_id_of(path)) != record.run_id:
            raise DataError(f"{path} is of run {run}, not of {record.run_id} like the rest; run sporeprint transform and sporeprint load again")
    train, validation, test = (read_table(path, settings.dataset, tuple(settings.split.shares)) for path in paths)
    return _Data(record, train, validation, test)


# --- train -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrainResult:
    """The models that were fitted."""

    candidates: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "models": {
                candidate.name: {
                    "fit_seconds": candidate.fit_seconds,
                    "rounds": candidate.rounds,
                    "servable": candidate.scorer is not None,
                    "not_servable": candidate.not_servable,
                    "notes": list(candidate.notes),
                }
                for candidate in self.candidates
            }
        }

    def tables(self) -> list[Table]:
        """As people read it."""
        rows = tuple(
            (
                candidate.name,
                f"{candidate.fit_seconds:.2f} s",
                "" if candidate.rounds is None else str(candidate.rounds),
                candidate.not_servable or "yes",
                "; ".join(candidate.notes),
            )
            for candidate in self.candidates
        )
        return [Table("Trained", ("model", "time", "rounds", "servable", "notes"), rows)]


def train(settings: Settings, root: Path, *, models: Sequence[str] | None = None, steps: Steps | None = None) -> TrainResult:
    """Fit the models (all, or those named) on the published training rows, as candidates for the registry.

    Raises:
        ConfigError: if a model is not in the configuration, or its estimator does not take its parameters.
        DataError: if no data is loaded.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    with run_lock(root):
        chosen = _chosen(settings, models)
        return TrainResult(tuple(_train(settings, workdir, log, _read_data(settings, workdir), chosen)))


def _chosen(settings: Settings, names: Sequence[str] | None) -> dict[str, ModelSettings]:
    for name in names or ():
        if name not in settings.models:
            raise ConfigError(f"no model {name!r} in the configuration{nearest(name, settings.models)}; there are: {', '.join(settings.models)}")
    return {name: settings.models[name] for name in names or settings.models}


def _train(settings: Settings, workdir: Workdir, log: RunLog, data: _Data, chosen: Mapping[str, ModelSettings]) -> list[Candidate]:
    fitted = []
    with log.step("train") as progress:
        progress.total(sum(model.rounds if model.estimator == "xgboost" else 100 for model in chosen.values()))
        for name, model in chosen.items():
            progress.text(name)
            candidate = _fit(settings, name, model, data, progress)
            candidates.write(workdir.candidates, candidate)
            fitted.append(candidate)
    return fitted


def _fit(settings: Settings, name: str, model: ModelSettings, data: _Data, progress: Progress) -> Candidate:
    stop = data.part(settings, "early_stop")
    encoder = encoding.fit(data.train.codes, data.train.y, encoding.choices(settings.transform, model, settings.dataset))
    rows = training.Encoded(encoder.matrix(data.train.codes), data.train.y)
    began = time.perf_counter()
    fitted = training.fit(
        model,
        rows,
        training.Encoded(encoder.matrix(stop.codes), stop.y),
        seed=settings.runtime.seed,
        threads=settings.threads,
        each_round=progress.advance,
    )
    seconds = time.perf_counter() - began
    if fitted.rounds is None:
        progress.advance(100)
    test = encoder.matrix(data.test.codes)
    scorer, reason = None, None
    try:
        scorer = training.to_scorer(fitted, test, threads=settings.threads)
    except NotServableError as error:
        reason = str(error)
    return Candidate(
        name=name,
        encoder=encoder,
        scorer=scorer,
        not_servable=reason,
        scores=fitted.score(test) if scorer is None else scorer.score(test),
        fit_seconds=round(seconds, 3),
        rounds=fitted.rounds,
        importance=training.importance(fitted, rows.X, encoder.sources),
        notes=fitted.notes,
        settings=model.model_dump(mode="json"),
        data_run=data.record.run_id,
    )


# --- evaluate --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EvaluateResult:
    """How good the candidates are."""

    context: ReportContext

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: what models/metrics/metrics.json holds."""
        return metrics_dict(self.context)

    def tables(self) -> list[Table]:
        """As people read it."""
        shown = ("accuracy", "recall", "mcc", "roc_auc", "log_loss")
        rows = []
        for name, found in self.context.evaluations.items():
            for on, card in (("seen", found.seen), ("unseen", found.unseen)):
                if isinstance(card, Unavailable):
                    rows.append((name, on, *("-" for _ in shown), "-"))
                else:
                    values = (f"{card.metrics[metric].value:.4f}" for metric in shown)
                    rows.append((name, on, *values, f"{card.confusion.fn:,} of {card.positives:,}"))
        target = self.context.schema.target
        missed = f"{target.values[target.positive]} called {target.values[target.negative]}"
        return [Table("Evaluated", ("model", "rows", *shown, missed), tuple(rows))]


def evaluate(settings: Settings, root: Path, *, steps: Steps | None = None) -> EvaluateResult:
    """Measure the candidates on rows of seen and of unseen groups; write metrics, pictures and the report.

    Raises:
        DataError: if no data is loaded or a model is not trained.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    with run_lock(root):
        data = _read_data(settings, workdir)
        found = candidates.read(workdir.candidates, list(settings.models), data.record.run_id)
        context = _draw(log, _evaluate(settings, log, data, found))
        _report(workdir, log, context)
        return EvaluateResult(context)


def _evaluate(settings: Settings, log: RunLog, data: _Data, found: Sequence[Candidate]) -> ReportContext:
    with log.step("cross-validate") as progress:
        held_out = _cross_validate(settings, data, progress)
    with log.step("evaluate") as progress:
        progress.total(2 * len(found) + 2)
        evaluations = _measure(settings, data, found, held_out, progress)
        comparisons = _compare(settings, data, found, held_out)
        progress.advance(2)
    return _context(settings, log, data, found, evaluations, comparisons)


def _draw(log: RunLog, context: ReportContext) -> ReportContext:
    with log.step("plot"):
        images = draw_all(context.evaluations, context.importances, context.schema, simulated=context.simulated)
        return replace(context, images=images)


def _report(workdir: Workdir, log: RunLog, context: ReportContext) -> None:
    """Write metrics, pictures and the page, and the whole context for a later `register`."""
    with log.step("report"):
        for name, image in context.images.items():
            atomic_write(workdir.metrics / name, image)
        atomic_write(workdir.metrics / "metrics.json", json.dumps(metrics_dict(context), indent=1, ensure_ascii=False, allow_nan=False))
        atomic_write(workdir.metrics / "report.html", render_evaluation(context))
        atomic_write(workdir.candidates / "evaluation.json", json.dumps(CONTEXT.dump_python(replace(context, images={}), mode="json")))


def _read_context(workdir: Workdir, data: _Data) -> ReportContext:
    """What `evaluate` found of the candidates."""
    path = workdir.candidates / "evaluation.json"
    if not path.exists():
        raise DataError(f"the models in {workdir.candidates} have not been evaluated; run sporeprint evaluate")
    context = CONTEXT.validate_json(path.read_bytes())
    if context.data["sha256"] != data.record.provenance["sha256"]:
        raise DataError("the models were evaluated on another table than the one that is loaded; run sporeprint evaluate again")
    return replace(context, images={image.name: image.read_bytes() for image in sorted(workdir.metrics.glob("*.png"))})


def _seen(settings: Settings, data: _Data, found: Sequence[Candidate], progress: Progress) -> dict[str, ScoreCard]:
    cards = {}
    for candidate in found:
        progress.text(f"{candidate.name}: intervals")
        cards[candidate.name] = evaluation.score(data.test.y, candidate.scores, **_how(settings))
        progress.advance(1)
    return cards


def _how(settings: Settings) -> dict[str, Any]:
    return {
        "confidence": settings.evaluation.confidence,
        "replicates": settings.evaluation.replicates,
        "seed": settings.runtime.seed,
    }


@dataclass(frozen=True)
class _HeldOut:
    """Scores of every row by models that never saw its group, or why there are none."""

    rows: Observations | None
    scores: Mapping[str, np.ndarray]
    reason: str


def _cross_validate(settings: Settings, data: _Data, progress: Progress) -> _HeldOut:
    """Score all rows with their group held out."""
    rows = concat([data.train, data.validation, data.test])
    if not data.record.groups.available or rows.group is None or rows.part is None:
        return _HeldOut(None, {}, data.record.groups.reason)
    fold = evaluation.group_folds(rows.group, rows.y, folds=settings.evaluation.folds, seed=settings.runtime.seed)
    if isinstance(fold, Unavailable):
        return _HeldOut(None, {}, fold.reason)
    progress.total(settings.evaluation.folds * len(settings.models))

    def each_fit(name: str) -> None:
        progress.text(name)
        progress.advance(1)

    parts = list(settings.split.shares)
    scores = crossval.held_out_scores(
        rows,
        fold,
        rows.part == parts.index("train"),
        rows.part == parts.index("early_stop"),
        settings.models,
        settings.transform,
        settings.dataset,
        seed=settings.runtime.seed,
        threads=settings.threads,
        each_fit=each_fit,
    )
    return _HeldOut(rows, scores, "")


def _measure(
    settings: Settings, data: _Data, found: Sequence[Candidate], held_out: _HeldOut, progress: Progress
) -> dict[str, ModelEvaluation]:
    evaluations = {}
    for candidate in found:
        progress.text(f"{candidate.name}: intervals")
        seen = evaluation.score(data.test.y, candidate.scores, **_how(settings))
        progress.advance(1)
        evaluations[candidate.name] = ModelEvaluation(seen, *_unseen(settings, held_out, candidate.name))
        progress.advance(1)
    return evaluations


def _unseen(settings: Settings, held_out: _HeldOut, name: str) -> tuple[ScoreCard | Unavailable, tuple[GroupErrors, ...]]:
    rows = held_out.rows
    if rows is None or rows.group is None:
        return Unavailable(held_out.reason), ()
    scores = held_out.scores[name]
    card = evaluation.score_clustered(rows.y, scores, rows.group, **_how(settings))
    return card, evaluation.errors_by_group(rows.y, scores, rows.group)


def _compare(settings: Settings, data: _Data, found: Sequence[Candidate], held_out: _HeldOut) -> tuple[Comparison, ...]:
    if len(found) < 2:
        return ()
    confidence = settings.evaluation.confidence
    seen = evaluation.compare(data.test.y, {candidate.name: candidate.scores for candidate in found}, confidence=confidence)
    rows = held_out.rows
    if rows is None or rows.group is None:
        return seen
    return seen + evaluation.compare_clustered(rows.y, held_out.scores, rows.group, **_how(settings))


def _context(
    settings: Settings,
    log: RunLog,
    data: _Data,
    found: Sequence[Candidate],
    evaluations: Mapping[str, ModelEvaluation],
    comparisons: tuple[Comparison, ...],
) -> ReportContext:
    """Everything the report says, as a value: without pictures, and before anything is registered."""
    record = data.record
    return ReportContext(
        run_id=log.run_id,
        created=_now().isoformat(timespec="seconds"),
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
        steps={step.step: step.wall_s for step in log.times},
        group_names=None,
    )


# --- register --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gate:
    """What a version had to show before an alias moved to it.

    Attributes:
        passed: whether it may.
        reasons: one sentence for every check.
    """

    passed: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Registration:
    """What became of one candidate.

    Attributes:
        name: the model.
        ref: its version, as in xgboost/v2; None if it cannot be served.
        created: whether the version is new.
        champion: whether it is its model's champion now.
        gate: how it did at the gate; None where there was nothing to decide.
        reason: why it is not servable, or not the champion.
    """

    name: str
    ref: str | None
    created: bool
    champion: bool
    gate: Gate | None
    reason: str


@dataclass(frozen=True)
class RegisterResult:
    """What became of all candidates, and which version is served."""

    registrations: tuple[Registration, ...]
    production: str | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"registered": [asdict(item) for item in self.registrations], "production": self.production, "reason": self.reason}

    def tables(self) -> list[Table]:
        """As people read it."""
        rows = tuple(
            (item.name, item.ref or "not servable", "new" if item.created else "unchanged", "yes" if item.champion else "no", item.reason)
            for item in self.registrations
        )
        return [
            Table("Registered", ("model", "version", "", "champion", "because"), rows),
            Table("Production", ("version", "because"), ((self.production or "none", self.reason),)),
        ]


def register(settings: Settings, root: Path, *, steps: Steps | None = None) -> RegisterResult:
    """Give the evaluated candidates a version each, and move the aliases through the gate.

    Raises:
        DataError: if there is nothing evaluated to register.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    with run_lock(root):
        data = _read_data(settings, workdir)
        found = candidates.read(workdir.candidates, list(settings.models), data.record.run_id)
        context = _read_context(workdir, data)
        result, context = _register(settings, workdir, log, data, found, context)
        _report(workdir, log, context)
        return result


def promote(settings: Settings, root: Path, ref: str, *, production: bool = True, reason: str, steps: Steps | None = None) -> RegisterResult:
    """Make a registered version its model's champion, and the one that is served, if it passes the gate.

    Raises:
        RegistryError: if there is no such version, or the gate refuses it.
        DataError: if no data is loaded to hold it against the version it replaces.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    registry = Registry(workdir.registry)
    with run_lock(root), log.step("promote"):
        found = registry.resolve(ref)
        data = _read_data(settings, workdir)
        replaced = [registry.champion(found.name).ref]
        served = registry.production()
        if production and served is not None:
            replaced.append(served.ref)
        gates = [_gate(settings, registry, data, found.ref, old) for old in dict.fromkeys(replaced) if old != found.ref]
        if refused := [reason for gate in gates if not gate.passed for reason in gate.reasons]:
            raise RegistryError(f"{found.ref} does not pass the gate: {'; '.join(refused)}")
        registry.promote(found.name, found.version, reason=reason, now=_now(), by="promote")
        if production:
            registry.set_production(found.ref, reason=reason, now=_now(), by="promote")
        gate = Gate(passed=True, reasons=tuple(reason for gate in gates for reason in gate.reasons))
        now = registry.production()
        item = Registration(found.name, found.ref, created=False, champion=True, gate=gate, reason="; ".join(gate.reasons) or "already it")
        return RegisterResult((item,), None if now is None else now.ref, reason)


def _register(
    settings: Settings, workdir: Workdir, log: RunLog, data: _Data, found: Sequence[Candidate], context: ReportContext
) -> tuple[RegisterResult, ReportContext]:
    registry = Registry(workdir.registry)
    with log.step("register"):
        metrics = metrics_dict(context)["models"]
        items = [_register_one(settings, registry, data, candidate, metrics[candidate.name], context) for candidate in found]
        production, reason = _choose_production(settings, registry, data, items, context)
    versions = {item.name: item.ref.partition("/")[2] for item in items if item.ref is not None}
    return RegisterResult(tuple(items), production, reason), replace(context, versions=versions, production=production or "none", rule=reason)


def _register_one(
    settings: Settings, registry: Registry, data: _Data, candidate: Candidate, metrics: Mapping[str, Any], context: ReportContext
) -> Registration:
    if candidate.scorer is None:
        return Registration(candidate.name, None, created=False, champion=False, gate=None, reason=str(candidate.not_servable))
    first = not registry.versions(candidate.name)
    done = registry.register(_bundle(settings, data, candidate, metrics, context), now=_now(), by=context.run_id)
    champion = registry.champion(candidate.name)
    if done.ref == champion.ref:
        reason = "first version" if first else "identical to the champion"
        return Registration(candidate.name, done.ref, created=done.created, champion=True, gate=None, reason=reason)
    gate = _gate(settings, registry, data, done.ref, champion.ref)
    if gate.passed:
        version = int(done.ref.rpartition("/v")[2])
        registry.promote(candidate.name, version, reason="; ".join(gate.reasons), now=_now(), by=context.run_id)
    return Registration(candidate.name, done.ref, done.created, champion=gate.passed, gate=gate, reason="; ".join(gate.reasons))


def _bundle(settings: Settings, data: _Data, candidate: Candidate, metrics: Mapping[str, Any], context: ReportContext) -> Bundle:
    if candidate.scorer is None:
        raise NotServableError(str(candidate.not_servable))
    chosen = np.unique(np.linspace(0, len(data.test.y) - 1, GOLDEN_ROWS).astype(int))
    golden = Golden(tuple(to_rows(data.test.codes.take(chosen))), tuple(candidate.scores[chosen].tolist()))
    pictures = ("seen_against_unseen.png", "confusion.png", f"importance_{candidate.name}.png")
    return Bundle(
        name=candidate.name,
        encoder=candidate.encoder,
        scorer=candidate.scorer,
        schema=settings.dataset,
        golden=golden,
        info={
            "created": context.created,
            "run_id": context.run_id,
            "data_run": candidate.data_run,
            "data_fingerprint": data.record.fingerprint,
            "simulated": data.record.simulated,
            "seed": settings.runtime.seed,
            "model": dict(candidate.settings),
            "rounds": candidate.rounds,
            "fit_seconds": candidate.fit_seconds,
            "notes": list(candidate.notes),
            "sporeprint": __version__,
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        },
        metrics=metrics,
        extras={
            "model_card.md": render_card(context, candidate.name).encode(),
            **{name: context.images[name] for name in pictures if name in context.images},
        },
    )


def _gate(settings: Settings, registry: Registry, data: _Data, challenger: str, champion: str) -> Gate:
    """Hold a version against the one it would replace, on the current test rows, both in the form that is served."""
    new, old = registry.load(challenger, threads=settings.threads), registry.load(champion, threads=settings.threads)
    parity = check_parity(new)
    if not parity <= settings.gate.parity:
        return Gate(False, (f"served scores differ from the pipeline's by {parity:.2g}, {settings.gate.parity:.2g} is allowed",))
    if differences := check_schema(settings.dataset, new.schema):
        return Gate(False, (f"made for another table: {'; '.join(differences)}",))
    if check_schema(settings.dataset, old.schema):
        return Gate(True, (f"{champion} is for another table, there is nothing to compare",))
    scores = {ref: bundle.scorer.score(bundle.encoder.matrix(data.test.codes)) for ref, bundle in ((challenger, new), (champion, old))}
    found = evaluation.compare(data.test.y, scores, confidence=settings.evaluation.confidence)[0]
    sign = 1 if found.a == challenger else -1
    lowest = found.difference.low if sign > 0 else -found.difference.high
    said = f"accuracy {sign * found.difference.value:+.4f} against {champion}, at least {lowest:+.4f}; {-settings.gate.margin:+.4f} is allowed"
    return Gate(lowest >= -settings.gate.margin, (said,))


def _choose_production(
    settings: Settings, registry: Registry, data: _Data, items: Sequence[Registration], context: ReportContext
) -> tuple[str | None, str]:
    """Serve the best of the champions by the stated rule, if it passes the gate against what is served now."""
    servable = {item.name: context.evaluations[item.name] for item in items if item.champion}
    served = registry.production()
    if not servable:
        return (None if served is None else served.ref), "no model of this run is servable and a champion"
    name = evaluation.best(servable, settings.selection)
    chosen = registry.champion(name).ref
    rule = f"best {settings.selection.metric} on {settings.selection.on} rows"
    if served is not None and served.ref != chosen:
        gate = _gate(settings, registry, data, chosen, served.ref)
        if not gate.passed:
            return served.ref, f"{chosen} has the {rule}, but does not pass the gate: {'; '.join(gate.reasons)}"
    registry.set_production(chosen, reason=rule, now=_now(), by=context.run_id)
    return chosen, rule


# --- everything ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class EtlResult:
    """A whole run."""

    run_id: str
    data: DataResult
    evaluated: EvaluateResult
    registered: RegisterResult
    steps: tuple[StepTime, ...]
    report: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "run_id": self.run_id,
            "simulated": self.data.record.simulated,
            "data": self.data.to_dict(),
            "metrics": self.evaluated.to_dict(),
            **self.registered.to_dict(),
            "steps": [asdict(step) for step in self.steps],
            "report": self.report,
        }

    def tables(self) -> list[Table]:
        """As people read it."""
        times = tuple((step.step, f"{step.wall_s:.2f} s", f"{step.cpu_s:.2f} s", f"{step.peak_mib:,.0f} MiB") for step in self.steps)
        title = "SIMULATED DATA: these numbers say nothing of real observations" if self.data.record.simulated else "Report"
        return [
            *self.data.tables(),
            Table("Steps", ("step", "time", "CPU", "peak memory"), times),
            *self.evaluated.tables(),
            *self.registered.tables(),
            Table(title, ("file",), ((self.report,),)),
        ]


def etl(settings: Settings, root: Path, *, source: str | None = None, steps: Steps | None = None) -> EtlResult:
    """Run every step, from the table to the version that is served.

    Raises:
        SporeprintError: see each step. What was published before it failed stays as it was.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    with run_lock(root):
        raw = _extract(settings, workdir, log, source)
        _transform(settings, workdir, log, raw)
        record = _load(settings, workdir, log)
        data = _read_data(settings, workdir)
        found = _train(settings, workdir, log, data, _chosen(settings, None))
        context = _draw(log, _evaluate(settings, log, data, found))
        registered, context = _register(settings, workdir, log, data, found, context)
        _report(workdir, log, context)
        report = workdir.shown(workdir.metrics / "report.html")
        return EtlResult(log.run_id, DataResult(record, published=True), EvaluateResult(context), registered, tuple(log.times), report)


@dataclass(frozen=True)
class NewVersionResult:
    """A further version of one model, not promoted."""

    name: str
    ref: str
    created: bool
    seen: ScoreCard

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        metrics = {name: asdict(estimate) for name, estimate in self.seen.metrics.items()}
        return {"name": self.name, "ref": self.ref, "created": self.created, "seen": metrics}

    def tables(self) -> list[Table]:
        """As people read it."""
        rows = tuple((name, f"{found.value:.4f}", f"{found.low:.4f} to {found.high:.4f}") for name, found in self.seen.metrics.items())
        return [Table(f"{self.ref} ({'new' if self.created else 'unchanged'}, not promoted)", ("metric, seen rows", "value", "interval"), rows)]


def new_version(settings: Settings, root: Path, model: str, *, steps: Steps | None = None) -> NewVersionResult:
    """Fit one model on the published rows, measure it on seen rows, and register it without promoting it.

    Raises:
        ConfigError: if the model is not in the configuration.
        RegistryError: if it cannot be served.
    """
    workdir = Workdir(root)
    log = RunLog(new_run_id(), workdir.logs, steps or SilentSteps())
    with run_lock(root):
        data = _read_data(settings, workdir)
        chosen = _chosen(settings, [model])
        with log.step("train") as progress:
            progress.total(chosen[model].rounds)
            candidate = _fit(settings, model, chosen[model], data, progress)
        with log.step("evaluate"):
            seen = evaluation.score(data.test.y, candidate.scores, **_how(settings))
        with log.step("register"):
            unseen = Unavailable("a further version is measured on seen rows only; sporeprint etl measures both")
            context = _context(settings, log, data, [candidate], {model: ModelEvaluation(seen, unseen, ())}, ())
            bundle = _bundle(settings, data, candidate, metrics_dict(context)["models"][model], context)
            done = Registry(workdir.registry).register(bundle, now=_now(), by=log.run_id)
        return NewVersionResult(model, done.ref, done.created, seen)

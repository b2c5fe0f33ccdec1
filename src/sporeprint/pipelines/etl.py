"""The whole pipeline: every step, from the table to the version in production, and the shorter ways to a new version."""

from pathlib import Path

from sporeprint.common.progress import Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.training_data import ModelInput, read_input
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluator import count_seen, score_seen
from sporeprint.evaluation.scorecard import ModelEvaluation, Unavailable
from sporeprint.pipelines.engines import open_engine
from sporeprint.pipelines.evaluate import evaluate, report_context, store_metrics, write_report
from sporeprint.pipelines.extract import Outcomes, extract, read_extract_record
from sporeprint.pipelines.load import load
from sporeprint.pipelines.promotion import Gate, bundle_of, gate
from sporeprint.pipelines.register import register
from sporeprint.pipelines.results import DataResult, EtlResult, EvaluateResult, NewVersionResult
from sporeprint.pipelines.run_context import RunContext, open_run, utc_now
from sporeprint.pipelines.train import fit_candidate, fit_units, model_settings, shared_parts, train
from sporeprint.pipelines.transform import transform
from sporeprint.registry.registry import Registry
from sporeprint.reports.evaluation_report import metrics_dict
from sporeprint.settings import Settings


def run_etl(
    settings: Settings,
    root: Path,
    *,
    source: str | None = None,
    outcomes: Outcomes | None = None,
    allow_simulated: bool = False,
    steps: Steps | None = None,
) -> EtlResult:
    """Run every step, from the table to the version in production.

    Args:
        settings: the configuration.
        root: the work directory.
        source: a table in place of the configured one.
        outcomes: labelled predictions of the warehouse to add to the table; None: none.
        allow_simulated: whether aliases may move to versions of simulated data.
        steps: shows the progress.

    Raises:
        SporeprintError: see each step. What was published before it failed stays as it was.

    >>> from pathlib import Path
    >>> from sporeprint import etl, load_settings, simulate_table
    >>> settings = load_settings(CONFIG, overrides=["evaluation.folds=3", "evaluation.replicates=100", "runtime.threads=1"])
    >>> table = simulate_table(settings.dataset, Path("table.csv"), rows=4000, groups=20, seed=1)
    >>> etl(settings, Path("work"), source="table.csv").to_dict()["simulated"]
    True
    """
    with open_run(settings, root, steps, "etl") as run:
        raw = extract(run, source, outcomes)
        with open_engine(settings, run.workdir) as engine:
            transform(run, raw, engine)
            summary = load(run)
            data = read_input(settings, run.workdir, engine)
            trained = train(run, data, model_settings(settings, None))
            evaluation = evaluate(run, data, trained, engine=engine)
        registered, context = register(run, data, trained, evaluation, allow_simulated=allow_simulated)
        write_report(run, context)
        store_metrics(run, context)
        report = str((run.workdir.metrics / "report.html").absolute())
        return EtlResult(run.run_id, DataResult(summary, published=True), EvaluateResult(context), registered, tuple(run.log.times), report)


def run_new_version(settings: Settings, root: Path, model: str, *, steps: Steps | None = None) -> NewVersionResult:
    """Fit one model on the published rows, measure it on test rows, and register it without promoting it.

    Raises:
        ConfigError: the model is not in the configuration.
        RegistryError: it cannot be served.
    """
    with open_run(settings, root, steps, "train") as run, open_engine(settings, run.workdir) as engine:
        data = read_input(settings, run.workdir, engine)
        run.record.add_data(data.record)
        return _new_version(run, data, model)


def _new_version(run: RunContext, data: ModelInput, model: str) -> NewVersionResult:
    settings = run.settings
    chosen = model_settings(settings, [model])[model]
    with run.log.step("train") as progress:
        progress.total(fit_units(chosen))
        candidate = fit_candidate(settings, model, chosen, data, shared_parts(settings, run.workdir, data), progress)
    return register_one(run, data, candidate)


def register_one(run: RunContext, data: ModelInput, candidate: Candidate) -> NewVersionResult:
    """Measure one candidate on test rows, and register it without promoting it."""
    settings, name = run.settings, candidate.name
    with run.log.step("evaluate"):
        seen, safety = score_seen(settings, data, candidate), count_seen(settings, data, candidate)
    with run.log.step("register"):
        unseen = Unavailable("a further version is measured on seen rows only; sporeprint etl measures both")
        evaluations = {name: ModelEvaluation(seen, unseen, (), safety)}
        context = report_context(run, data, [candidate], evaluations, (), unseen)
        run.record.add_metrics(metrics_dict(context))
        bundle = bundle_of(settings, data, candidate, metrics_dict(context)["models"][name], context)
        registered = Registry(run.workdir.registry).register(bundle, now=utc_now(), by=run.run_id)
    run.record.details["registered"] = [registered.ref]
    return NewVersionResult(name, registered.ref, registered.created, seen)


def run_challenge(
    settings: Settings, root: Path, ref: str, *, outcomes: Outcomes, steps: Steps | None = None
) -> tuple[NewVersionResult, Gate, str]:
    """Make a new version of the same model as `ref`, from the table of the last run and the labelled predictions; no alias moves.

    Args:
        settings: the configuration.
        root: the work directory.
        ref: the version that is challenged.
        outcomes: which labelled predictions of the warehouse are added to the table.
        steps: shows the progress.

    Returns:
        The new version, the result of the gate against `ref`, and the source of its rows in words.

    Raises:
        DataError: there are too few outcomes; nothing was changed.
        SporeprintError: see each step.
    """
    with open_run(settings, root, steps, "retrain") as run:
        raw = extract(run, _last_table(run.workdir), outcomes)
        with open_engine(settings, run.workdir) as engine:
            transform(run, raw, engine)
            load(run)
            data = read_input(settings, run.workdir, engine)
            version = _new_version(run, data, ref.partition("/")[0])
        with run.log.step("gate"):
            return version, gate(settings, Registry(run.workdir.registry), data, version.ref, ref), raw.provenance.source


def _last_table(workdir: Workdir) -> str | None:
    """The table of the last extract step, which need not be the configured one; None where it is gone."""
    if not workdir.extract_record.exists():
        return None
    raw = read_extract_record(workdir)
    return str(raw.path) if raw.is_there else None

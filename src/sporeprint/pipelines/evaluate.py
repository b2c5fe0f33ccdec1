"""The evaluate step: measures the candidates on in-distribution and held-out groups; writes metrics, pictures and the report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from threadpoolctl import threadpool_limits

from sporeprint.common.engine import Engine
from sporeprint.common.files import atomic_write
from sporeprint.common.progress import Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.training_data import ModelInput, read_input
from sporeprint.errors import DataError
from sporeprint.evaluation import evaluator
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.model_comparison import ModelComparison
from sporeprint.evaluation.safety_scorecard import GuardEvaluation
from sporeprint.evaluation.scorecard import ModelEvaluation, Unavailable
from sporeprint.pipelines.candidate_files import read_candidates
from sporeprint.pipelines.engines import open_engine
from sporeprint.pipelines.results import EvaluateResult
from sporeprint.pipelines.run_context import RunContext, open_run, utc_now
from sporeprint.pipelines.train import group_names
from sporeprint.reports.evaluation_charts import evaluation_charts
from sporeprint.reports.evaluation_report import metrics_dict, render_evaluation
from sporeprint.reports.safety_section import safety_dict
from sporeprint.settings import Settings
from sporeprint.storage.warehouse.training_sink import keep_metrics, opened
from sporeprint.web.charts import svg_file

#: How an evaluation is stored between `evaluate` and `register`.
CONTEXT = TypeAdapter(ReportContext)


def run_evaluate(settings: Settings, root: Path, *, full: bool = False, steps: Steps | None = None) -> EvaluateResult:
    """Run this step alone.

    Args:
        settings: the configuration.
        root: the work directory.
        full: hold the groups out one at a time, not in folds, and test the promise behind each threshold on random splits.
        steps: shows the progress.

    Raises:
        DataError: no data is loaded or a model is not trained.
    """
    with open_run(settings, root, steps, "evaluate") as run, open_engine(settings, run.workdir) as engine:
        data = read_input(settings, run.workdir)
        run.record.add_data(data.record)
        trained = read_candidates(run.workdir.candidates, list(settings.models), data.record.run_id)
        context = evaluate(run, data, trained, full=full, engine=engine)
        write_report(run, context)
        return EvaluateResult(context)


def evaluate(
    run: RunContext, data: ModelInput, trained: Sequence[Candidate], *, full: bool = False, engine: Engine | None = None
) -> ReportContext:
    """Measure and compare the candidates; an engine's tasks fit the folds of a cross-validation."""
    settings, log = run.settings, run.log
    # Small sums: further BLAS threads would only wait for each other, at full speed.
    with log.step("cross-validate") as progress, threadpool_limits(1, "blas"):
        held_out = evaluator.cross_validate(settings, data, progress, full=full, engine=engine)
    with log.step("evaluate") as progress, threadpool_limits(1, "blas"):
        progress.total(2 * len(trained) + 2)
        evaluations = evaluator.evaluate_candidates(settings, data, trained, held_out, progress, full=full)
        comparisons = evaluator.compare_candidates(settings, data, trained, held_out)
        progress.advance(1)
        progress.text("guard")
        guarded = evaluator.evaluate_guard(settings, data, trained[0].safety.guard, held_out)
        progress.advance(1)
        partial = evaluator.evaluate_partial_rows(settings, data, trained[0], held_out)
    return replace(report_context(run, data, trained, evaluations, comparisons, guarded), partial=partial)


def report_context(
    run: RunContext,
    data: ModelInput,
    trained: Sequence[Candidate],
    evaluations: Mapping[str, ModelEvaluation],
    comparisons: tuple[ModelComparison, ...],
    guarded: GuardEvaluation | Unavailable,
) -> ReportContext:
    """What the reports and the model cards need of an evaluation."""
    created, steps = utc_now().isoformat(timespec="seconds"), {step.step: step.wall_s for step in run.log.times}
    names = group_names(run.settings, run.workdir, data)
    named = None if names is None else tuple(map(str, names))
    return evaluator.report_context(run.settings, run.run_id, created, steps, data, trained, evaluations, comparisons, guarded, named)


def write_report(run: RunContext, context: ReportContext) -> None:
    """Write metrics, pictures and the page, and the whole context for a later `register`."""
    workdir = run.workdir
    run.record.add_metrics(metrics_dict(context))
    with run.log.step("report"):
        for name, chart in evaluation_charts(context).items():
            atomic_write(workdir.metrics / f"{name}.svg", svg_file(chart))
        atomic_write(workdir.metrics / "metrics.json", json.dumps(metrics_dict(context), indent=1, ensure_ascii=False, allow_nan=False))
        atomic_write(workdir.metrics / "safety.json", json.dumps(safety_dict(context), indent=1, ensure_ascii=False, allow_nan=False))
        atomic_write(workdir.metrics / "report.html", render_evaluation(context))
        atomic_write(workdir.evaluation_record, json.dumps(CONTEXT.dump_python(context, mode="json")))


def store_metrics(run: RunContext, context: ReportContext) -> None:
    """Write the metrics, and the versions they belong to, to the warehouse."""
    with opened(run.settings.storage, run.workdir.root) as warehouse:
        keep_metrics(warehouse, metrics_dict(context))


def read_report_context(workdir: Workdir, data: ModelInput, trained: Sequence[Candidate]) -> ReportContext:
    """The last evaluation of the candidates.

    Raises:
        DataError: there is none, or it is of other models or another table.
    """
    path = workdir.evaluation_record
    if not path.exists():
        raise DataError(f"the models in {workdir.candidates} have not been evaluated; run sporeprint evaluate")
    try:
        context = CONTEXT.validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path} is damaged or of another release; run sporeprint evaluate again") from error
    if context.data["sha256"] != data.record.provenance["sha256"]:
        raise DataError("the models were evaluated on another table than the one that is loaded; run sporeprint evaluate again")
    if missing := [candidate.name for candidate in trained if candidate.name not in context.evaluations]:
        raise DataError(f"model {missing[0]!r} has not been evaluated with the others; run sporeprint evaluate again")
    return context

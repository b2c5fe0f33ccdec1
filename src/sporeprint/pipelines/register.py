"""The register step: gives the evaluated candidates a version each, and moves the aliases through the gate."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sporeprint.common.progress import Steps
from sporeprint.data.training_data import ModelInput, read_input
from sporeprint.errors import RefusedError
from sporeprint.evaluation.candidate import Candidate
from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.pipelines.candidate_files import read_candidates
from sporeprint.pipelines.data_notes import performance_notes
from sporeprint.pipelines.evaluate import read_report_context, store_metrics, write_report
from sporeprint.pipelines.promotion import Gate, Registration, choose_production, gate, register_candidate, replaced
from sporeprint.pipelines.results import RegisterResult
from sporeprint.pipelines.run_context import RunContext, open_run, utc_now
from sporeprint.registry.registry import Registry
from sporeprint.reports.evaluation_report import metrics_dict
from sporeprint.settings import Settings


def run_register(
    settings: Settings, root: Path, *, promote: bool = True, allow_simulated: bool = False, steps: Steps | None = None
) -> RegisterResult:
    """Run this step alone.

    Args:
        settings: the configuration.
        root: the work directory.
        promote: whether the aliases move; a second call of the same evaluation can move them later.
        allow_simulated: whether they may move to versions of simulated data.
        steps: shows the progress.

    Raises:
        DataError: no evaluated candidate.
    """
    with open_run(settings, root, steps, "register") as run:
        data = read_input(settings, run.workdir)
        run.record.add_data(data.record)
        trained = read_candidates(run.workdir.candidates, list(settings.models), data.record.run_id)
        context = read_report_context(run.workdir, data, trained)
        result, context = register(run, data, trained, context, promote=promote, allow_simulated=allow_simulated)
        write_report(run, context)
        store_metrics(run, context)
        return result


def register(
    run: RunContext,
    data: ModelInput,
    trained: Sequence[Candidate],
    context: ReportContext,
    *,
    promote: bool = True,
    allow_simulated: bool = False,
) -> tuple[RegisterResult, ReportContext]:
    """Register the candidates; move the aliases where `promote`. The result, and the context with the versions' names."""
    settings = run.settings
    registry = Registry(run.workdir.registry)
    with run.log.step("register"):
        metrics = metrics_dict(context)["models"]
        items = [
            register_candidate(
                settings,
                registry,
                data,
                candidate,
                metrics[candidate.name],
                context,
                utc_now(),
                promote=promote,
                allow_simulated=allow_simulated,
            )
            for candidate in trained
        ]
        if promote:
            production, reason = choose_production(settings, registry, data, items, context, utc_now(), allow_simulated=allow_simulated)
        else:
            served = registry.production()
            production, reason = None if served is None else served.ref, "nothing was promoted"
    versions = {item.name: item.ref.partition("/")[2] for item in items if item.ref is not None}
    run.record.details |= {"registered": [item.ref for item in items if item.ref], "production": production, "reason": reason}
    notes = performance_notes(context, production)
    return RegisterResult(tuple(items), production, reason, notes), replace(context, versions=versions, production=production or "none")


def run_promote(
    settings: Settings,
    root: Path,
    ref: str,
    *,
    production: bool = True,
    reason: str,
    by: str = "promote",
    allow_simulated: bool = False,
    steps: Steps | None = None,
) -> RegisterResult:
    """Make a registered version its model's champion, and the one that is served, if it passes the gate.

    Raises:
        RegistryError: if there is no such version.
        RefusedError: if the gate refuses it, or it was trained on simulated data and that is not allowed.
        DataError: if no data is loaded to hold it against the version it replaces.
    """
    with open_run(settings, root, steps, "promote") as run, run.log.step("promote"):
        registry, data = Registry(run.workdir.registry), read_input(settings, run.workdir)
        version, served = registry.resolve(ref), registry.production()
        gates = [gate(settings, registry, data, version.ref, old) for old in replaced(registry, version, production=production)]
        if failures := [text for result in gates if not result.passed for text in result.reasons]:
            raise RefusedError(f"{version.ref} does not pass the gate: {'; '.join(failures)}")
        registry.promote(version.name, version.version, reason=reason, now=utc_now(), by=by, allow_simulated=allow_simulated)
        if production:
            served = registry.set_production(version.ref, reason=reason, now=utc_now(), by=by, allow_simulated=allow_simulated)
        reasons = tuple(text for result in gates for text in result.reasons)
        item = Registration(
            version.name, version.ref, created=False, champion=True, gate=Gate(True, reasons), reason="; ".join(reasons) or "it was already"
        )
        return RegisterResult((item,), None if served is None else served.ref, reason)

"""One evaluation, or one after the other: a table against the rows a model was validated on, or another table. Writes the reports."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sporeprint.common.counts import counted, number_of
from sporeprint.common.files import atomic_write, is_same_file
from sporeprint.common.progress import SilentSteps, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.coded_table import Codes
from sporeprint.data.parquet_store import read_table, run_id_of
from sporeprint.errors import DataError, RegistryError, SporeprintError, UsageError
from sporeprint.inference.attributions import Explainer
from sporeprint.inference.model_bundle import Bundle
from sporeprint.ingestion.object_store import is_store, local_path
from sporeprint.ingestion.partial_table import Observed, observe
from sporeprint.ingestion.plain_table import local_files, plain_table
from sporeprint.monitoring.alarm_control import DAY_S, AlarmPolicy, Judgement, judge
from sporeprint.monitoring.between_windows import EarlierWindows, drift_between_windows
from sporeprint.monitoring.drift import DriftReport
from sporeprint.monitoring.drift_importance import rank
from sporeprint.monitoring.evaluation import Evaluation, WindowPerformance, overlays
from sporeprint.monitoring.performance_estimation import ComponentEstimate, estimate_performance
from sporeprint.monitoring.realized_performance import Performance, realized_performance
from sporeprint.monitoring.slice_analysis import SliceAnalysis
from sporeprint.monitoring.stream_state import StreamState
from sporeprint.monitoring.table_statistics import TableStatistics
from sporeprint.monitoring.trends import Trend
from sporeprint.pipelines import monitoring_files
from sporeprint.pipelines.engines import open_engine
from sporeprint.pipelines.evaluation_record import keep
from sporeprint.pipelines.monitoring_files import MonitoringRun
from sporeprint.pipelines.run_context import new_run_id
from sporeprint.pipelines.run_record import RunRecord, recorded
from sporeprint.pipelines.table_counting import CountTask, count_files, measure, validated
from sporeprint.registry.registry import Registry
from sporeprint.safety.verdict import NEGATIVE, verdict_words
from sporeprint.settings import Settings

#: Rows that say what a model uses.
EXPLAINED = 2_000
#: Models whose feature importance is cached, and the file that holds it.
CACHED, IMPORTANCE = 64, "importance.json"

Clock = Callable[[], datetime]


#: What is done about an evaluation; its lines come into the output.
FollowUp = Callable[[MonitoringRun], Sequence[str]]


def nothing(_: MonitoringRun) -> Sequence[str]:
    """Do nothing about an evaluation."""
    return ()


def with_follow_up(monitored: MonitoringRun, follow_up: FollowUp) -> MonitoringRun:
    """Do what is to be done about an evaluation. Where that fails it is said: an evaluation is not lost by it."""
    try:
        return replace(monitored, actions=(*monitored.actions, *follow_up(monitored)))
    except Exception as error:  # noqa: BLE001 -- whatever it was, the evaluation was made, and the next one has to be
        return replace(monitored, actions=(*monitored.actions, f"FAILED: {error!r}"))


def watch(
    evaluate: Callable[[], MonitoringRun], pause: Callable[[], bool], *, follow_up: FollowUp, show: Callable[[MonitoringRun], None]
) -> int:
    """Evaluate again and again.

    Args:
        evaluate: makes one evaluation; one that could not be made is one that says so.
        pause: waits for the next; False ends it.
        follow_up: what is done about each.
        show: shows each.

    Returns:
        how many were made.
    """
    made = 0
    while True:
        show(with_follow_up(evaluate(), follow_up))
        made += 1
        if not pause():
            return made


def monitor(
    settings: Settings,
    root: Path,
    current: str | Path,
    *,
    reference: str | Path | None = None,
    model: str | None = None,
    now: Clock = lambda: datetime.now(UTC),
    steps: Steps | None = None,
) -> MonitoringRun:
    """Evaluate a table.

    Args:
        settings: the configuration.
        root: the work directory.
        current: the table, as `plain_table` takes it, with an outcome in the target's column or without.
        reference: another table that it is held against; None: the rows that the model was validated on.
        model: whose answers are looked at; None: what is in production, if anything is.
        now: the clock.
        steps: where the run says where it is.

    Raises:
        DataError: a table cannot be read at all.
        RegistryError: there is no such model, or it is damaged; or neither a model nor a reference.
        UsageError: both tables are the same file.
    """
    with recorded(record := RunRecord(settings, root, new_run_id(), "monitor"), is_alone=False):
        return _of_table(record, current, reference, model, now, steps or SilentSteps())


def _of_table(
    record: RunRecord, current: str | Path, reference: str | Path | None, model: str | None, now: Clock, shown: Steps
) -> MonitoringRun:
    settings, workdir = record.settings, Workdir(record.root)
    if reference is not None and is_same_file(reference, current):
        raise UsageError(f"--current and --reference are the same file, {current}; it cannot differ from itself")
    with shown.step("read") as progress:
        bundle, ref = model_of(workdir, model, needed=reference is None)
        schema = settings.dataset if bundle is None else bundle.schema
        folder, csv = workdir.extract_record.parent, settings.source.csv

        def counted(table: str) -> tuple[Observed, TableStatistics]:
            files = () if is_store(table) else local_files(local_path(table))
            if len(files) > 1:
                with open_engine(settings, workdir) as engine:
                    tasks = [CountTask(file.absolute(), record.root.absolute(), ref, schema, csv) for file in files]
                    return count_files(tasks, engine, progress)
            with plain_table(table, folder) as path:
                observed = observe(path, schema, csv)
                return observed, measure(observed, schema, bundle, settings.threads, progress)

        there, new = counted(str(current))
        notes = _oddities("the current table", there)
        if reference is None and bundle is not None:
            old, held, more = validated(settings, workdir, bundle, str(ref))
        else:
            other, old = counted(str(reference))
            held, more = str(reference), _oddities("the reference", other)
    stream, window = f"{ref or 'no model'} against {held}", there.sha256[:16]
    lacking = f"the model needs {', '.join(there.absent)}, which the current table does not have"
    subject = ComparisonInput(
        stream=stream,
        window=window,
        old=old,
        new=new,
        reference=held,
        current=str(current),
        failed={"answers": lacking} if bundle is not None and there.absent else {},
        notes=(*notes, *more),
    )
    return evaluated(record, subject, bundle, ref, now().timestamp())


@dataclass(frozen=True)
class ComparisonInput:
    """What is evaluated.

    Attributes:
        stream: what budget of false alarms it has, with all that is evaluated under this name.
        window: its rows, by a name that no other rows have.
        old: the reference, counted.
        new: the current rows, counted.
        reference: the reference in words.
        current: the current rows in words.
        failed: what could not be computed -> why.
        notes: what is odd.
        earlier: the windows before the current one; None where these are not read.
        by_component: expected performance by component; None where it was not estimated.
        started: False where there was no time for enough rows yet: that is no fault.
        timed: what is only known of a window of the service; None for a file.
    """

    stream: str
    window: str
    old: TableStatistics
    new: TableStatistics
    reference: str
    current: str
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    earlier: EarlierWindows | None = None
    by_component: ComponentEstimate | None = None
    started: bool = True
    timed: "WindowContext | None" = None


@dataclass(frozen=True)
class WindowContext:
    """What is known of a window of the service beside its rows.

    Attributes:
        about: what was asked for, as JSON values.
        performance: how good the answers were; None without outcomes.
        window_history: the same of the windows of equal length before it, and of itself, the last.
        slices: slice analysis; None if it was not done.
        keep: keeps the numbers of an evaluation, and gives those of the ones before it as trends, and why that failed.
    """

    about: Mapping[str, Any]
    performance: Performance | None
    window_history: tuple[WindowPerformance, ...]
    slices: SliceAnalysis | None
    keep: Callable[[Evaluation], tuple[Sequence[Trend], str | None]]


def model_of(workdir: Workdir, model: str | None, *, needed: bool) -> tuple[Bundle | None, str | None]:
    """The version that is looked at, and its name; None for what is in production, if nothing is and nothing needs to be.

    Raises:
        RegistryError: there is no such model, or it is damaged.
    """
    registry = Registry(workdir.registry)
    try:
        version = registry.resolve(model or "production")
        return registry.load(version.ref), version.ref
    except RegistryError as error:
        if model is not None:
            raise
        if needed:
            raise RegistryError(f"{error}\nwithout a model there is nothing to compare with; name a table with --reference") from error
        return None, None


def _oddities(which: str, table: Observed) -> list[str]:
    notes = []
    if table.extra:
        more = f" and {len(table.extra) - 5} more" if len(table.extra) > 5 else ""
        notes.append(f"{which} has columns that are not looked at: {', '.join(name[:40] for name in table.extra[:5])}{more}")
    return notes


# --- judging -----------------------------------------------------------------------------------------------------------


def policy(settings: Settings) -> AlarmPolicy:
    """What an alarm is, by the configuration."""
    chosen = settings.monitoring
    return AlarmPolicy(
        alpha=chosen.false_alarms,
        period_s=chosen.period_days * DAY_S,
        every_s=chosen.every_hours * 3600,
        shift=chosen.least_shift,
        shares=chosen.least_shares,
        new=chosen.least_new,
        missing=chosen.least_missing,
    )


def evaluated(record: RunRecord, subject: ComparisonInput, bundle: Bundle | None, ref: str | None, at_s: float) -> MonitoringRun:
    """Judge what was counted, and write the reports."""
    settings, workdir, notes = record.settings, Workdir(record.root), list(subject.notes)
    remembered = monitoring_files.stream_state(workdir, subject.stream, notes)
    evaluation, remembered = _judged(settings, workdir, replace(subject, notes=tuple(notes)), remembered, bundle, ref, at_s)
    trends, unkept = ((), None) if subject.timed is None else subject.timed.keep(evaluation)
    made = monitoring_files.write(workdir, evaluation, settings.monitoring.keep_reports, (subject.stream, remembered), trends, unkept)
    return keep(record, made)


def _judged(
    settings: Settings,
    workdir: Workdir,
    subject: ComparisonInput,
    remembered: StreamState,
    bundle: Bundle | None,
    ref: str | None,
    at_s: float,
) -> tuple[Evaluation, StreamState]:
    old, new, timed = subject.old, subject.new, subject.timed
    contract = settings.dataset if bundle is None else bundle.schema
    schema = contract.answered
    changed, covered = _changed(settings, subject, remembered)
    judgement, state = judge(changed, remembered.state, policy(settings), at_s=at_s, window=subject.window)
    remembered = replace(remembered, state=state)
    if timed is not None:
        real = timed.performance
    elif (real := _realised(settings, new, remembered.earlier(subject.window))) is not None:
        outcomes = new.tally.counts[NEGATIVE].sum(axis=0)
        remembered = remembered.with_outcomes(subject.window, int(outcomes.sum()), int(outcomes[1]))
    importance = None if bundle is None else _importance(settings, workdir, bundle)
    if importance is not None:
        importance = {contract.own_names.get(name, name): share for name, share in importance.items()}
    has_answers = bool(new.scores.rows or new.tally.answered.sum())
    value_words = {name: column.values or {} for name, column in schema.columns.items()}
    evaluation = Evaluation(
        at_s=at_s,
        reference=subject.reference,
        current=f"{subject.current} ({number_of(new.profile.rows, 'row')})",
        model=ref,
        simulated=bundle is not None and bool(bundle.info.get("simulated")),
        drift=changed,
        judgement=judgement,
        policy=policy(settings),
        ranking=rank(changed, judgement, importance),
        overlays=overlays(old.profile, new.profile, value_words),
        value_words=value_words,
        expected=estimate_performance(new.scores) if has_answers and subject.started else None,
        expected_by_component=subject.by_component if subject.started else None,
        performance=real,
        alpha=settings.guard.alpha,
        words=verdict_words(schema)[:2],
        failed=subject.failed,
        notes=(*subject.notes, *covered, *judgement.notes, *_counted_notes(new, judgement, real)),
        stream=subject.stream,
        window={} if timed is None else timed.about,
        answered=tuple(new.tally.answered.tolist()),
        window_history=() if timed is None else timed.window_history,
        slices=None if timed is None else timed.slices,
    )
    return evaluation, remembered


def _changed(settings: Settings, subject: ComparisonInput, remembered: StreamState) -> tuple[DriftReport, tuple[str, ...]]:
    """What changed, and what is to be said about that."""
    old, new, least = subject.old.profile, subject.new.profile, settings.monitoring.least_rows
    if not subject.started:
        few = f"{number_of(new.rows, 'row')} since the first answer, at least {least} are needed: too few to compare anything yet"
        none = "no whole hour has passed since the first answer: there is nothing to compare yet"
        return DriftReport((old.rows, new.rows), ()), (few if new.rows else none,)
    since = {name: alarm.since_s for name, alarm in remembered.state.raised.items()}
    report, note = drift_between_windows(old, new, subject.earlier, alarms=since, least_rows=least)
    return report, () if note is None else (note,)


def _realised(settings: Settings, new: TableStatistics, earlier: tuple[int, int]) -> Performance | None:
    if not new.tally.labelled + new.tally.invalid:
        return None
    return realized_performance(new.tally, alpha=settings.guard.alpha, delta=settings.guard.delta, earlier=earlier)


def _counted_notes(new: TableStatistics, judgement: Judgement, real: Performance | None) -> Iterator[str]:
    if new.profile.unreadable:
        yield f"{number_of(new.profile.unreadable, 'row')} could not be split into fields: left out"
    if new.refused:
        yield f"{number_of(new.refused, 'row')} without a probability: against a rule of the contract, or none was given"
    if new.strangers:
        yield counted(new.strangers, "outcome is", "outcomes are") + " neither class: left out"
    yield from () if real is None else real.notes
    for finding in judgement.small:
        yield (
            f"{finding.column}, {finding.check.about}: more than chance, but {finding.check.measure} {finding.check.effect:.3g} "
            f"is below the {finding.floor:g} that matters"
        )
    for name in judgement.recovered:
        yield f"{name}: the alarm is off again"


def _importance(settings: Settings, workdir: Workdir, bundle: Bundle) -> Mapping[str, float] | None:
    """Each column's share in what moves the scores of validation rows; None where the model, or the rows, do not say."""
    path = workdir.model_input / "validation.parquet"
    try:
        key, cached = f"{bundle.identity()} {run_id_of(path)}", _kept_importance(workdir)
        if key in cached:
            return cached[key]
        shares = _explained(read_table(path, bundle.schema, tuple(settings.split.shares)).codes.take(slice(0, EXPLAINED)), bundle)
    except DataError:
        return None
    if shares is not None:
        with contextlib.suppress(SporeprintError, OSError):  # it takes a second longer the next time, and nothing else
            atomic_write(workdir.monitoring / IMPORTANCE, json.dumps(dict([*cached.items(), (key, shares)][-CACHED:]), indent=1))
    return shares


def _kept_importance(workdir: Workdir) -> dict[str, dict[str, float]]:
    """What was found of versions that were looked at before."""
    try:
        stored = json.loads((workdir.monitoring / IMPORTANCE).read_text(encoding="utf-8"))
        return {str(key): {str(name): float(value) for name, value in shares.items()} for key, shares in stored.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _explained(codes: Codes, bundle: Bundle) -> dict[str, float] | None:
    moved = Explainer.from_files(bundle.parts).contributions(bundle.encoder.matrix(codes), bundle.scorer)
    if moved is None:
        return None
    strength = np.abs(moved[0]).mean(axis=0)
    totals = dict.fromkeys(bundle.schema.columns, 0.0)
    for column, value in zip(bundle.encoder.sources, strength.tolist(), strict=True):
        totals[column] += value
    total = sum(totals.values())
    return {column: value / total for column, value in totals.items()} if total > 0 else None

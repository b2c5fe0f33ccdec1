"""One evaluation of what a service answered: a window of the warehouse against the rows a model was validated on, or an earlier window."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sporeprint.common.counts import counted
from sporeprint.common.progress import SilentSteps, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.errors import DataError, RegistryError, RetryableError, StorageError, UsageError
from sporeprint.monitoring import slice_analysis, trends
from sporeprint.monitoring.alarm_control import Judgement
from sporeprint.monitoring.data_profile import Profile
from sporeprint.monitoring.drift import DriftReport
from sporeprint.monitoring.evaluation import Evaluation, minute
from sporeprint.monitoring.table_statistics import TableStatistics
from sporeprint.monitoring.windows import HOUR_US, SECOND_US, Slice, Window, WindowRequest, parse_duration, parse_slice, requested_window
from sporeprint.pipelines import monitoring, monitoring_files, table_counting, window_data
from sporeprint.pipelines.component_performance import estimate_by_component
from sporeprint.pipelines.evaluation_record import keep
from sporeprint.pipelines.monitoring import Clock, ComparisonInput, WindowContext
from sporeprint.pipelines.monitoring_files import MonitoringRun
from sporeprint.pipelines.run_context import new_run_id
from sporeprint.pipelines.run_record import RunRecord, recorded
from sporeprint.pipelines.window_data import WindowData, WindowQuery
from sporeprint.registry.registry import Registry
from sporeprint.safety.decision_rule import unit_representatives
from sporeprint.safety.verdict import HALF, verdict_words
from sporeprint.settings import Settings
from sporeprint.storage.warehouse import aggregation, monitoring_queries, star_schema
from sporeprint.storage.warehouse.monitoring_queries import PredictionScope
from sporeprint.storage.warehouse.protocol import Reader, Warehouse
from sporeprint.storage.warehouse.sync import BATCHES, PREDICTIONS

#: Before the name of an evaluation in the warehouse, and the part that its metrics are of.
RUN, PART = "monitor-", "monitor "


def evaluate(
    settings: Settings,
    root: Path,
    warehouse: Warehouse,
    request: WindowRequest,
    *,
    model: str | None = None,
    now: Clock = lambda: datetime.now(UTC),
    failed: Mapping[str, str] | None = None,
    steps: Steps | None = None,
) -> MonitoringRun:
    """Evaluate a window of the warehouse. What the warehouse does not say is what could not be computed.

    Args:
        settings: the configuration.
        root: the work directory.
        warehouse: what was answered.
        request: time span, arm and filters.
        model: whose answers; None: what is in production, or what the arm of a test has.
        now: the clock.
        failed: what could not be done before -> why.
        steps: where the run says where it is.

    Raises:
        UsageError: what was asked for makes no sense.
        RegistryError: there is no such model, or it is damaged.
        DataError: the rows it was validated on are gone.
    """
    with recorded(record := RunRecord(settings, root, new_run_id(), "monitor"), is_alone=False):
        return _of_window(record, warehouse, request, model, now(), failed, steps or SilentSteps())


def _of_window(
    record: RunRecord,
    warehouse: Warehouse,
    request: WindowRequest,
    model: str | None,
    at: datetime,
    failed: Mapping[str, str] | None,
    shown: Steps,
) -> MonitoringRun:
    settings, workdir = record.settings, Workdir(record.root)
    now_us = round(at.timestamp() * SECOND_US)
    window = requested_window(
        request, now_us, parse_duration(f"{max(1, round(settings.monitoring.every_hours))}h", "monitoring.every_hours")
    )
    with shown.step("read"):
        try:
            with warehouse.reading() as reader:
                _refuse_empty(warehouse)
                query = _window_query(workdir, reader, request, model, window, now_us)
                subject = _comparison_input(settings, workdir, reader, warehouse, query, failed or {})
        except (StorageError, RetryableError) as error:
            return _failed(record, str(error), current=window.description, model=model, at=at, failed=failed)
    return monitoring.evaluated(record, subject, query.bundle, query.ref, at.timestamp())


def failed_run(settings: Settings, root: Path, reason: str, *, current: str, model: str | None = None) -> MonitoringRun:
    """An evaluation that says why there is none. It replaces the latest one: what is not known is not fine."""
    with recorded(record := RunRecord(settings, root, new_run_id(), "monitor"), is_alone=False):
        return _failed(record, reason, current=current, model=model, at=datetime.now(UTC), failed=None)


def _failed(
    record: RunRecord, reason: str, *, current: str, model: str | None, at: datetime, failed: Mapping[str, str] | None
) -> MonitoringRun:
    settings = record.settings
    evaluation = Evaluation(
        at_s=at.timestamp(),
        reference="nothing",
        current=current,
        model=model,
        simulated=False,
        drift=DriftReport((0, 0), (), (reason,)),
        judgement=Judgement(0.0, ()),
        policy=monitoring.policy(settings),
        ranking=(),
        overlays={},
        expected=None,
        performance=None,
        alpha=settings.guard.alpha,
        words=verdict_words(settings.dataset)[:2],
        failed=failed or {},
    )
    return keep(record, monitoring_files.write(Workdir(record.root), evaluation, settings.monitoring.keep_reports))


def _refuse_empty(warehouse: Warehouse) -> None:
    if warehouse.get_note(PREDICTIONS) is None and warehouse.get_note(BATCHES) is None:
        raise StorageError(f"{warehouse.shown} holds no answers yet; run: sporeprint warehouse sync, or sporeprint monitor --sync")


def _window_query(workdir: Workdir, reader: Reader, request: WindowRequest, model: str | None, window: Window, now_us: int) -> WindowQuery:
    test_id = None
    if (request.test is None) != (request.arm is None):
        raise UsageError("--arm and --test belong together: --test NAME --arm A")
    if request.test is not None:
        known = monitoring_queries.tests(reader)
        if request.test not in known:
            raise UsageError(f"no A/B test {request.test!r} in the warehouse; there are {', '.join(sorted(known)) or 'none'}")
        test, arm = known[request.test], str(request.arm)
        pinned = f"{test[f'model_{arm}']}/v{test[f'version_{arm}']}"
        if model is not None and Registry(workdir.registry).resolve(model).ref != pinned:
            raise UsageError(f"--model is {model}, but arm {arm} of {request.test} is {pinned}; leave --model out")
        model, test_id = pinned, str(test["test_id"])
    bundle, ref = monitoring.model_of(workdir, model, needed=True)
    if bundle is None or ref is None:  # never: it is needed
        raise RegistryError("no model")
    name, _, version = ref.rpartition("/v")
    slice_ = parse_slice(request.where, bundle.schema)
    return WindowQuery(
        PredictionScope(name, int(version), test_id, request.arm if test_id else None), ref, bundle, window, slice_, request, now_us
    )


def _comparison_input(
    settings: Settings, workdir: Workdir, reader: Reader, warehouse: Warehouse, query: WindowQuery, failed: Mapping[str, str]
) -> ComparisonInput:
    counts = query.span.whole and not query.slice_
    old, held, rows, notes = _reference(settings, workdir, reader, query, counts=counts)
    current = window_data.counts(settings, reader, query, old) if counts else window_data.answers(settings, reader, query)
    if counts:
        old = replace(old, profile=_comparable(old.profile, query))
    slices = _slices(query, rows, current)
    notes = [*notes, *current.notes, *_dated(reader, query)]
    if not current.measured.profile.rows and 0 < query.now_us - query.span.end_us < HOUR_US:
        notes.append("the window ends with the last full hour; for the newest answers of all: sporeprint monitor --rows N")
    if slices is not None and slices.worst is not None:
        worst = slices.worst
        fell = f"worst slice: {worst.column} = {worst.value}: right {worst.now.value:.1%}, was {worst.before:.1%}"
        notes.append(f"{fell} ({slices.source})")
    stream = f"{query.ref} against {held}, {query.kind}"
    about = query.about()
    # The same window is the same evaluation, whatever came late: what is kept of it is replaced.
    which = current.name if query.span.rows is not None else f"{query.span.begin_us}-{query.span.end_us}"
    evaluation_id = RUN + hashlib.sha256(f"{stream}|{which}".encode()).hexdigest()[:24]
    part = _part(query.kind, stream)

    def keep(evaluation: Evaluation) -> tuple[Sequence[trends.Trend], str | None]:
        return _with_stored(warehouse, evaluation, evaluation_id, part, query)

    return ComparisonInput(
        stream=stream,
        window=current.name,
        old=old,
        new=current.measured,
        reference=held,
        current=query.description,
        failed=failed,
        notes=tuple(notes),
        earlier=current.earlier,
        by_component=None
        if rows is None or query.slice_
        else estimate_by_component(workdir, query.bundle, rows, current.sample, current.measured.scores.rows),
        started=current.started,
        timed=WindowContext({**about, "evaluation_id": evaluation_id}, current.performance, current.window_history, slices, keep),
    )


# --- the reference -------------------------------------------------------------------------------------------------------


def _reference(
    settings: Settings, workdir: Workdir, reader: Reader, query: WindowQuery, *, counts: bool
) -> tuple[TableStatistics, str, Observations | None, list[str]]:
    """What the window is held against: counted, in words; the labelled rows that slices are held against; and what is odd."""
    try:
        rows, notes = table_counting.validation_rows(settings, workdir, query.bundle, query.ref)
    except DataError as error:
        if query.request.reference_us is None:
            raise DataError(f"{error}; or name an earlier window with --reference-last") from error
        rows, notes = None, [f"slices not analysed: {error}"]
    if rows is not None and query.slice_:
        rows = rows.take(_of_slice(rows.codes, query.slice_))
    slice_ = f" with {query.slice_.description}" if query.slice_ else ""
    if query.request.reference_us is None:
        if rows is None:  # never: it was raised
            raise DataError("no reference")
        return (
            table_counting.statistics_of_rows(rows.codes, query.bundle),
            f"the {rows.codes.rows:,} rows{slice_} that {query.ref} was validated on",
            rows,
            notes,
        )
    if query.span.rows is not None:
        raise UsageError("--reference-last names a period before the window; a window by --rows has no begin")
    before = Window("before", query.span.begin_us - query.request.reference_us, query.span.begin_us)
    named = f"the {query.request.reference_us / HOUR_US:g} hours{slice_} before it"
    if counts:
        counted, _ = monitoring_queries.profile_of_hours(
            reader, query.cell, before.begin_us, before.end_us, query.schema.answered, window_data.vocabulary(query)
        )
        return TableStatistics(counted), named, rows, notes
    return window_data.read(reader, replace(query, span=before)).measured, named, rows, notes


def _of_slice(codes: Codes, slice_: Slice) -> npt.NDArray[np.bool_]:
    in_slice = np.ones(codes.rows, dtype=np.bool_)
    for condition in slice_.conditions:
        if condition.between is not None:
            low, high = condition.between
            in_slice &= (codes.numeric[condition.column] >= low) & (codes.numeric[condition.column] <= high)
        else:
            vocabulary = codes.vocabulary[condition.column]
            codes_of_values = [
                0 if value is None else vocabulary.index(value) + 1 for value in condition.values if value is None or value in vocabulary
            ]
            in_slice &= np.isin(codes.nominal[condition.column], codes_of_values)
    return in_slice


def _comparable(old: Profile, query: WindowQuery) -> Profile:
    return monitoring_queries.as_counted(old, window_data.vocabulary(query))


# --- slices, and what is kept ----------------------------------------------------------------------------------------------


def _slices(query: WindowQuery, rows: Observations | None, current: WindowData) -> slice_analysis.SliceAnalysis | None:
    """Slices compared with the rows the version was validated on; None without these, or without outcomes."""
    table, schema = current.labelled, query.schema
    if rows is None or table.is_empty():
        return None
    probability, _, y = window_data.arrays(table, schema)
    known = (y >= 0) & np.isfinite(probability)
    labelled_codes = Codes.of(monitoring_queries.table_rows(table, schema), schema, rows.codes.vocabulary).take(known)
    named = {name: column.values or {} for name, column in schema.columns.items()}
    different = rows.take(unit_representatives(rows))
    ends = slice_analysis.cuts(different.codes)
    right = (query.bundle.probability(different.codes) > HALF) == (different.y == 1)
    before = slice_analysis.count_slices(different.codes, right, ends, named)
    now = slice_analysis.count_slices(labelled_codes, (probability[known] > HALF) == (y[known] == 1), ends, named)
    source = f"answers from {minute(current.source.begin_s)} to {minute(current.source.end_s)}"
    return slice_analysis.analyse_slices(
        before, now, rows=labelled_codes.rows, source=f"{source}, {'mature' if current.source.mature else 'immature'}"
    )


def _dated(reader: Reader, query: WindowQuery) -> Iterator[str]:
    """What is odd about times."""
    if ahead := monitoring_queries.future_predictions(reader, query.cell, query.now_us):
        now = minute(query.now_us / SECOND_US)
        yield counted(ahead, "answer is", "answers are") + f" dated later than now, {now}: a clock is or was wrong; not looked at"
    newest = monitoring_queries.newest_hour(reader, query.now_us)
    if newest is not None and newest + 2 * HOUR_US <= query.span.end_us:
        hour = minute(newest / SECOND_US)
        yield f"the newest answer in the warehouse is of the hour that began at {hour}: later ones were not given, or not synced"


def _part(kind: str, stream: str) -> str:
    """What the numbers of a stream are kept under: no longer than a name may be, and no other stream's."""
    mark = hashlib.sha256(stream.encode()).hexdigest()[:8]
    return f"{PART}{kind}"[: trends.LENGTH - len(mark) - 1] + f"~{mark}"


def _with_stored(
    warehouse: Warehouse, evaluation: Evaluation, run_id: str, part: str, query: WindowQuery
) -> tuple[Sequence[trends.Trend], str | None]:
    """Keep the numbers of an evaluation; one of the same window takes its place. All of the stream, as pictures."""
    end_us = query.now_us if query.span.rows is not None else query.span.end_us
    same = {"run_id": run_id, "model": query.cell.model, "part": part, "created_us": end_us, "simulated": int(evaluation.simulated)}
    rows = (
        {**same, "metric": item.metric, "value": float(item.value), "low": item.low, "high": item.high, "rows_measured": item.rows}
        for item in trends.metric_values(evaluation)
    )
    try:
        with warehouse.loading() as load:
            load.put(star_schema.FACT_METRIC, aggregation.frame(star_schema.FACT_METRIC, rows))
        with warehouse.reading() as reader:
            stored = monitoring_queries.stored_metrics(reader, query.cell.model, part)
    except (StorageError, RetryableError) as error:
        return (), f"the numbers of this evaluation are not in the warehouse: {error}"
    history: dict[str, list[trends.MetricPoint]] = {}
    for metric, at_us, value, low, high in stored:
        history.setdefault(metric, []).append(trends.MetricPoint(at_us / SECOND_US, value, low, high))
    columns = [item.column for item in evaluation.ranking]
    known = evaluation.window_history if query.span.whole and not query.slice_ else ()
    return trends.trends(trends.with_outcomes_since(history, known), columns, words=evaluation.words, alpha=evaluation.alpha), None

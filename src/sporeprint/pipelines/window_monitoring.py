"""One evaluation of what a service answered: a window of the warehouse against the rows a model was validated on, or a stretch before."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.common.text_table import SilentSteps, Steps
from sporeprint.common.workdir import Workdir
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.errors import DataError, RegistryError, RetryableError, StorageError, UsageError
from sporeprint.inference.model_bundle import Bundle
from sporeprint.ingestion.partial_table import ANSWERS
from sporeprint.monitoring import slice_analysis as falls
from sporeprint.monitoring import trends
from sporeprint.monitoring.alarm_control import Judgement
from sporeprint.monitoring.data_profile import Nominal, Profile, Wanted, profile
from sporeprint.monitoring.drift import Drift
from sporeprint.monitoring.evaluation import Evaluation, Stretch, minute
from sporeprint.monitoring.label_delay import wait
from sporeprint.monitoring.realized_performance import Performance, Tally, Window, maturity, performance
from sporeprint.monitoring.windows import HOUR_US, SECOND_US, Asked, Slice, Span, duration, sliced, span
from sporeprint.pipelines import monitoring as monitor
from sporeprint.pipelines.monitoring import Clock, Measured, Monitored, Subject, Timed
from sporeprint.registry.registry import Registry
from sporeprint.safety.verdict import HALF, NEGATIVE, POSITIVE, UNKNOWN, words
from sporeprint.schema import DatasetSchema
from sporeprint.settings import Settings
from sporeprint.stats.bins import PER_UNIT
from sporeprint.stats.intervals import proportion
from sporeprint.storage.warehouse import aggregation, star_schema
from sporeprint.storage.warehouse import monitoring_queries as monitor_facts
from sporeprint.storage.warehouse.monitoring_queries import Cell
from sporeprint.storage.warehouse.protocol import Reader, Warehouse
from sporeprint.storage.warehouse.sync import BATCHES, PREDICTIONS

#: Answers that expected performance is made from, outcomes that slices are, and outcomes that say how long they take: samples of whole
#: hours where there are more.
SCORED, LABELLED, DELAYED = 200_000, 8_000, 200_000
#: Stretches of time, as long as the window, whose performance is shown.
STRETCHES = 14
CONFIDENCE = 0.95
#: Before the name of an evaluation in the warehouse, and the part that its metrics are of.
RUN, PART = "monitor-", "monitor "


@dataclass(frozen=True)
class Looked:
    """What is looked at.

    Attributes:
        cell: whose answers.
        ref: the version that gave them.
        bundle: the version.
        span: when they were given.
        some: which of them.
        asked: what was asked for.
        now_us: what time it is.
    """

    cell: Cell
    ref: str
    bundle: Bundle
    span: Span
    some: Slice
    asked: Asked
    now_us: int

    @property
    def schema(self) -> DatasetSchema:
        """The version's contract."""
        return self.bundle.schema

    @property
    def kind(self) -> str:
        """What its stream is called, beside the version: what is the same for all windows that follow each other."""
        arm = f", {self.asked.test} arm {self.cell.arm}" if self.cell.arm else ""
        return f"{self.span.kind}{arm}{f', {self.some.said}' if self.some else ''}"

    @property
    def said(self) -> str:
        """The window in words."""
        arm = f" in arm {self.cell.arm} of {self.asked.test}" if self.cell.arm else ""
        return f"{self.span.said} by {self.ref}{arm}{f', {self.some.said}' if self.some else ''}"

    def about(self) -> dict[str, Any]:
        """As JSON values."""
        where = [condition.said for condition in self.some.conditions]
        return {**self.span.to_dict(), "model": self.ref, "test": self.asked.test, "arm": self.cell.arm, "where": where}


@dataclass(frozen=True)
class Found:
    """What the warehouse holds of a window.

    Attributes:
        measured: its answers, counted.
        name: of its rows; no other rows have it.
        performance: how good they were; None without an outcome.
        stretches: the same over time, this window last.
        labelled: answers with an outcome, or some of them ...
        told: ... of this stretch, the newest whose outcomes are here, if there is one.
        notes: what is odd.
    """

    measured: Measured
    name: str
    performance: Performance | None
    stretches: tuple[Stretch, ...]
    labelled: pl.DataFrame
    told: Stretch
    notes: tuple[str, ...]


def evaluate(
    settings: Settings,
    root: Path,
    warehouse: Warehouse,
    asked: Asked,
    *,
    model: str | None = None,
    now: Clock = lambda: datetime.now(UTC),
    failed: Mapping[str, str] | None = None,
    steps: Steps | None = None,
) -> Monitored:
    """Evaluate a window of the warehouse. What the warehouse does not say is what could not be computed.

    Args:
        settings: the configuration.
        root: the work directory.
        warehouse: what was answered.
        asked: which of it.
        model: whose answers; None: what is in production, or what the arm of a test has.
        now: the clock.
        failed: what could not be done before -> why.
        steps: where the run says where it is.

    Raises:
        UsageError: what was asked for makes no sense.
        RegistryError: there is no such model, or it is damaged.
        DataError: the rows it was validated on are gone.
    """
    workdir, shown, at = Workdir(root), steps or SilentSteps(), now()
    now_us = round(at.timestamp() * SECOND_US)
    window = span(asked, now_us, duration(f"{max(1, round(settings.monitoring.every_hours))}h", "monitoring.every_hours"))
    with shown.step("read"):
        try:
            with warehouse.reading() as reader:
                _refuse_empty(warehouse)
                looked = _looked(workdir, reader, asked, model, window, now_us)
                subject = _subject(settings, workdir, reader, warehouse, looked, failed or {})
        except (StorageError, RetryableError) as error:
            return could_not(settings, root, str(error), current=window.said, model=model, now=lambda: at, failed=failed)
    return monitor.evaluated(settings, workdir, subject, looked.bundle, looked.ref, at.timestamp())


def could_not(
    settings: Settings,
    root: Path,
    reason: str,
    *,
    current: str,
    model: str | None = None,
    now: Clock = lambda: datetime.now(UTC),
    failed: Mapping[str, str] | None = None,
) -> Monitored:
    """An evaluation that says why there is none. It replaces the latest one: what is not known is not fine."""
    evaluation = Evaluation(
        at_s=now().timestamp(),
        reference="nothing",
        current=current,
        model=model,
        simulated=False,
        drift=Drift((0, 0), (), (reason,)),
        judgement=Judgement(0.0, ()),
        policy=monitor.policy(settings),
        ranking=(),
        overlays={},
        expected=None,
        performance=None,
        alpha=settings.guard.alpha,
        words=words(settings.dataset)[:2],
        failed=failed or {},
    )
    return monitor.written(Workdir(root), evaluation, settings.monitoring.keep_reports)


def _refuse_empty(warehouse: Warehouse) -> None:
    if warehouse.get_note(PREDICTIONS) is None and warehouse.get_note(BATCHES) is None:
        raise StorageError(f"{warehouse.shown} holds no answers yet; run: sporeprint warehouse sync, or sporeprint monitor --sync")


def _looked(workdir: Workdir, reader: Reader, asked: Asked, model: str | None, window: Span, now_us: int) -> Looked:
    test_id = None
    if (asked.test is None) != (asked.arm is None):
        raise UsageError("--arm and --test belong together: --test NAME --arm A")
    if asked.test is not None:
        known = monitor_facts.tests(reader)
        if asked.test not in known:
            raise UsageError(f"no A/B test {asked.test!r} in the warehouse; there are {', '.join(sorted(known)) or 'none'}")
        test, arm = known[asked.test], str(asked.arm)
        pinned = f"{test[f'model_{arm}']}/v{test[f'version_{arm}']}"
        if model is not None and Registry(workdir.registry).resolve(model).ref != pinned:
            raise UsageError(f"--model is {model}, but arm {arm} of {asked.test} is {pinned}; leave --model out")
        model, test_id = pinned, str(test["test_id"])
    bundle, ref = monitor.model_of(workdir, model, needed=True)
    if bundle is None or ref is None:  # never: it is needed
        raise RegistryError("no model")
    name, _, version = ref.rpartition("/v")
    some = sliced(asked.where, bundle.schema)
    return Looked(Cell(name, int(version), test_id, asked.arm if test_id else None), ref, bundle, window, some, asked, now_us)


def _subject(
    settings: Settings, workdir: Workdir, reader: Reader, warehouse: Warehouse, looked: Looked, failed: Mapping[str, str]
) -> Subject:
    counts = looked.span.whole and not looked.some
    old, held, rows, notes = _reference(settings, workdir, reader, looked, counts=counts)
    found = _counts(settings, reader, looked, old) if counts else _answers(settings, reader, looked)
    if counts:
        old = replace(old, profile=_comparable(old.profile, looked))
    slices = _fallen(looked, rows, found)
    notes = [*notes, *found.notes, *_dated(reader, looked)]
    if not found.measured.profile.rows and 0 < looked.now_us - looked.span.end_us < HOUR_US:
        notes.append("the window ends with the last full hour; for the newest answers of all: sporeprint monitor --rows N")
    if slices is not None and slices.worst is not None:
        worst = slices.worst
        fell = f"performance fell most where {worst.column} = {worst.value}: right {worst.now.value:.1%}, was {worst.before:.1%}"
        notes.append(f"{fell} ({slices.told})")
    stream = f"{looked.ref} against {held}, {looked.kind}"
    about = looked.about()
    # The same stretch of time is the same evaluation, whatever came late: what is kept of it is replaced.
    which = found.name if looked.span.rows is not None else f"{looked.span.begin_us}-{looked.span.end_us}"
    evaluation_id = RUN + hashlib.sha256(f"{stream}|{which}".encode()).hexdigest()[:24]
    part = _part(looked.kind, stream)

    def keep(evaluation: Evaluation) -> tuple[Sequence[trends.Trend], str | None]:
        return _kept(warehouse, evaluation, evaluation_id, part, looked)

    return Subject(
        stream=stream,
        window=found.name,
        old=old,
        new=found.measured,
        reference=held,
        current=looked.said,
        failed=failed,
        notes=tuple(notes),
        timed=Timed({**about, "evaluation_id": evaluation_id}, found.performance, found.stretches, slices, keep),
    )


# --- the reference -------------------------------------------------------------------------------------------------------


def _reference(
    settings: Settings, workdir: Workdir, reader: Reader, looked: Looked, *, counts: bool
) -> tuple[Measured, str, Observations | None, list[str]]:
    """What the window is held against: counted, in words; the labelled rows that slices are held against; and what is odd."""
    try:
        rows, notes = monitor.validation_rows(settings, workdir, looked.bundle, looked.ref)
    except DataError as error:
        if looked.asked.reference_us is None:
            raise DataError(f"{error}; or name an earlier stretch with --reference-last") from error
        rows, notes = None, [f"where performance fell is not known: {error}"]
    if rows is not None and looked.some:
        rows = rows.take(_of_slice(rows.codes, looked.some))
    some = f" with {looked.some.said}" if looked.some else ""
    if looked.asked.reference_us is None:
        if rows is None:  # never: it was raised
            raise DataError("no reference")
        return (
            monitor.of_rows(rows.codes, looked.bundle),
            f"the {rows.codes.rows:,} rows{some} that {looked.ref} was validated on",
            rows,
            notes,
        )
    if looked.span.rows is not None:
        raise UsageError("--reference-last names a stretch of time before the window; a window by --rows has no begin")
    before = Span("before", looked.span.begin_us - looked.asked.reference_us, looked.span.begin_us)
    named = f"the {looked.asked.reference_us / HOUR_US:g} hours{some} before it"
    if counts:
        found, _ = monitor_facts.counted(reader, looked.cell, before.begin_us, before.end_us, looked.schema, _vocabulary(looked))
        return Measured(found), named, rows, notes
    measured, _, _ = _read(reader, replace(looked, span=before))
    return measured, named, rows, notes


def _of_slice(codes: Codes, some: Slice) -> npt.NDArray[np.bool_]:
    found = np.ones(codes.rows, dtype=np.bool_)
    for condition in some.conditions:
        if condition.between is not None:
            low, high = condition.between
            found &= (codes.numeric[condition.column] >= low) & (codes.numeric[condition.column] <= high)
        else:
            vocabulary = codes.vocabulary[condition.column]
            wanted = [
                0 if value is None else vocabulary.index(value) + 1 for value in condition.values if value is None or value in vocabulary
            ]
            found &= np.isin(codes.nominal[condition.column], wanted)
    return found


def _vocabulary(looked: Looked) -> dict[str, frozenset[str]]:
    """The values of nominal columns that training saw: what else is given is counted together."""
    return dict(looked.bundle.encoder.known_values)


def _comparable(old: Profile, looked: Looked) -> Profile:
    return monitor_facts.as_counted(old, _vocabulary(looked))


# --- a window of whole hours, from counts --------------------------------------------------------------------------------


def _counts(settings: Settings, reader: Reader, looked: Looked, old: Measured) -> Found:
    cell, schema, window = looked.cell, looked.schema, looked.span
    numbers = {word: number for number, word in enumerate(words(schema))}
    first = window.begin_us - (STRETCHES - 1) * window.length_us
    said = monitor_facts.answered(reader, cell, first, window.end_us)
    true = monitor_facts.came_true(reader, cell, first, window.end_us)
    known = {name: column.known for name, column in old.profile.columns.items() if isinstance(column, Nominal)}
    counted, extra = monitor_facts.counted(reader, cell, window.begin_us, window.end_us, schema, {**known, **_vocabulary(looked)})
    answered = np.zeros(3, dtype=np.int64)
    by_hour: dict[int, int] = {}
    for hour, word, count in said:
        if hour >= window.begin_us:
            answered[numbers.get(word, UNKNOWN)] += count
            by_hour[hour] = by_hour.get(hour, 0) + count
    verdicts = {word: int(answered[number]) for word, number in numbers.items() if answered[number]}
    with_verdict = counted.beside(Profile(counted.rows, {"verdict": Nominal(verdicts, known=frozenset(numbers))}))
    outcomes: dict[int, int] = {}
    for hour, _, _, _, count in true:
        outcomes[hour] = outcomes.get(hour, 0) + count
    sampled = monitor_facts.spread(by_hour, SCORED)
    scores = monitor_facts.scores(reader, cell, sampled, schema)
    notes = [f"columns that are not looked at, because {looked.ref} does not know them: {', '.join(extra[:5])}"] if extra else []
    notes.append(f"{' and '.join(aggregation.SHARES)} are compared in {PER_UNIT} bins of equal width")
    if len(sampled) < len(by_hour):
        notes.append(f"expected performance is made from {scores.rows:,} answers, those of {len(sampled)} of {len(by_hour)} hours")
    own = {hour: count for hour, count in outcomes.items() if hour >= window.begin_us}
    table = monitor_facts.labelled(reader, cell, monitor_facts.spread(own, LABELLED), schema)
    if table.height < sum(own.values()):
        notes.append(f"ROC AUC and calibration are made from {table.height:,} of {sum(own.values()):,} outcomes")
    windows = [
        _tallied(window.begin_us - back * window.length_us, window.length_us, said, true, schema) for back in reversed(range(STRETCHES))
    ]
    total = windows[-1].tally
    waited, more = _waits(settings, reader, looked.now_us)
    stretches = _stretches(settings, tuple(windows), looked.now_us, waited)
    real = _realised(settings, reader, looked, _tally(table, schema), total, waited)
    if real is not None and not stretches[-1].mature:
        real, later = replace(real, not_computed={}), real.not_computed
        notes += [f"{what}: {why}; outcomes may still come" for what, why in later.items()]
    # Slices are those of a stretch whose outcomes are here, if there is any.
    told = next((item for item in reversed(stretches) if item.mature and item.labelled), stretches[-1])
    if told is not stretches[-1]:
        theirs = {hour: count for hour, count in outcomes.items() if told.begin_s <= hour / SECOND_US < told.end_s}
        older = monitor_facts.labelled(reader, cell, monitor_facts.spread(theirs, LABELLED), schema)
    else:
        older = table
    return Found(
        measured=Measured(with_verdict, scores, Tally(answered=answered)),
        name=f"{window.begin_us}-{window.end_us}-{counted.rows}",
        performance=real,
        stretches=_from_the_first(stretches),
        labelled=older,
        told=told,
        notes=(*notes, *more, *_immature(stretches[-1])),
    )


def _tallied(
    begin_us: int,
    length_us: int,
    said: Sequence[tuple[int, str, int]],
    true: Sequence[tuple[int, str, str, str, int]],
    schema: DatasetSchema,
) -> Window:
    numbers = {word: number for number, word in enumerate(words(schema))}
    classes = {schema.target.negative: 0, schema.target.positive: 1}
    answered, counts = np.zeros(3, dtype=np.int64), np.zeros((3, 2, 2), dtype=np.int64)
    for hour, word, count in said:
        if begin_us <= hour < begin_us + length_us:
            answered[numbers.get(word, UNKNOWN)] += count
    for hour, word, likelier, outcome, count in true:
        if begin_us <= hour < begin_us + length_us and likelier in classes and outcome in classes:
            counts[numbers.get(word, UNKNOWN), classes[likelier], classes[outcome]] += count
    return Window(begin_us / SECOND_US, (begin_us + length_us) / SECOND_US, Tally(answered=answered, counts=counts))


def _from_the_first(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Without the stretches before the first answer; the last one always."""
    first = next((place for place, stretch in enumerate(stretches) if stretch.answers), len(stretches) - 1)
    return tuple(stretches[first:])


# --- any other window, from the answers ----------------------------------------------------------------------------------


def _answers(settings: Settings, reader: Reader, looked: Looked) -> Found:
    measured, table, about = _read(reader, looked)
    first_us, last_us, name = about
    waited, notes = _waits(settings, reader, looked.now_us)
    window = Window(first_us / SECOND_US, max(last_us, first_us + 1) / SECOND_US, measured.tally)
    stretches = _stretches(settings, (window,), looked.now_us, waited)
    real = _realised(settings, reader, looked, measured.tally, measured.tally, waited)
    if real is not None and not stretches[-1].mature:
        real, later = replace(real, not_computed={}), real.not_computed
        notes += [f"{what}: {why}; outcomes may still come" for what, why in later.items()]
    if real is not None and looked.some:
        notes.append(f"the promise is about all answers of {looked.ref}, whatever the slice")
    if looked.span.rows is not None and not looked.some and measured.profile.rows < looked.span.rows:
        notes.append(f"there are {measured.profile.rows:,} answers, fewer than the {looked.span.rows:,} that were asked for")
    return Found(measured, name, real, stretches, table, stretches[-1], (*notes, *_immature(stretches[-1])))


def _read(reader: Reader, looked: Looked) -> tuple[Measured, pl.DataFrame, tuple[int, int, str]]:
    """The answers of a window, counted; some of those with an outcome; and begin, end and name of what was read."""
    schema, window = looked.schema, looked.span
    wanted = {name: Wanted(column.kind, frozenset(column.values or ())) for name, column in schema.columns.items()}
    by_hour: dict[int, int] = {}
    for hour, _, count in monitor_facts.answered(reader, looked.cell, window.begin_us - window.begin_us % HOUR_US, window.end_us):
        by_hour[hour] = by_hour.get(hour, 0) + count
    total = Measured(monitor.nothing_of(wanted, schema, set(ANSWERS)))
    known: list[pl.DataFrame] = []
    ends: list[tuple[int, str]] = []
    left = window.rows
    for page, ids in monitor_facts.pages(reader, looked.cell, window, by_hour, schema):
        fits = monitor_facts.chosen(page, looked.some)
        table = page.filter(fits) if left is None else page.filter(fits).head(left)
        if table.height:
            places = np.flatnonzero(fits.to_numpy())[: table.height]
            ends += [(int(table["created_us"][place]), ids[places[place]]) for place in (0, table.height - 1)]
            total += monitor.with_answers(profile(table, wanted), table, table, schema, set(ANSWERS))
        if sum(some.height for some in known) < LABELLED:
            known.append(table.filter(pl.col(schema.target.column).is_not_null()).drop("created_us"))
        left = None if left is None else left - table.height
        if left == 0:
            break
    found = pl.concat(known) if known else monitor_facts.frame([], schema)
    if not ends:
        return total, found, (window.begin_us or window.end_us, window.end_us, f"{window.begin_us}-{window.end_us}-0")
    if window.rows is None:
        return total, found, (window.begin_us, window.end_us, f"{window.begin_us}-{window.end_us}-{total.profile.rows}")
    return total, found, (ends[-1][0], ends[0][0] + 1, f"{ends[-1][1]}-{ends[0][1]}-{total.profile.rows}")


# --- performance ---------------------------------------------------------------------------------------------------------


def _waits(settings: Settings, reader: Reader, now_us: int) -> tuple[int | None, list[str]]:
    """Hours in which outcomes come, and what is to be said of it."""
    chosen = settings.monitoring
    if chosen.outcome_wait_hours is not None:
        return round(chosen.outcome_wait_hours), []
    delays, ages = monitor_facts.delays(reader, now_us, DELAYED)
    found = wait(delays, ages, chosen.mature_share)
    if found is None:
        came = int(delays.sum())
        return None, [f"how long outcomes take is not known yet: {came} came in the last 90 days"] if came else []
    return found, [f"{chosen.mature_share:.0%} of the outcomes came within {found:,} hours"]


def _stretches(settings: Settings, windows: tuple[Window, ...], now_us: int, waited: int | None) -> tuple[Stretch, ...]:
    chosen, stretches = settings.monitoring, []
    for window in windows:
        answers, said = window.tally.answered, window.tally.counts.sum(axis=1)
        right, told = int(said[NEGATIVE, 0] + said[POSITIVE, 1]), int(said[[NEGATIVE, POSITIVE]].sum())
        total, labelled = int(answers.sum()), window.tally.labelled
        wait_s = math.inf if waited is None else waited * 3600.0
        share = labelled / total if total else math.nan
        mature, why = maturity(window, share, now_us / SECOND_US, wait_s, chosen.mature_share)
        stretches.append(
            Stretch(
                begin_s=window.begin_s,
                end_s=window.end_s,
                mature=mature,
                why=why,
                answers=total,
                unknown=proportion(int(answers[UNKNOWN]), total, CONFIDENCE),
                labelled=labelled,
                accuracy=proportion(right, told, CONFIDENCE),
                false_negatives=proportion(int(said[NEGATIVE, 1]), int(said[NEGATIVE].sum()), CONFIDENCE),
            )
        )
    return tuple(stretches)


def _immature(stretch: Stretch) -> Iterator[str]:
    if stretch.labelled and not stretch.mature:
        yield f"the window is immature: {stretch.why}; its {stretch.labelled:,} outcomes are shown, and raise no alarm"


def _realised(settings: Settings, reader: Reader, looked: Looked, sample: Tally, whole: Tally, waited: int | None) -> Performance | None:
    """How good the answers were: shares from all outcomes, the rest from a sample of them, the promise from all that are mature.

    Args:
        settings: the configuration.
        reader: the warehouse.
        looked: the window.
        sample: answers with an outcome and their probabilities.
        whole: all answers of the window; without probabilities.
        waited: hours in which outcomes come; None if that is not known.
    """
    schema, alpha, delta = looked.schema, settings.guard.alpha, settings.guard.delta
    known, wrong = 0, 0
    if waited is not None:
        # Of an hour whose outcomes are still coming, those that are here may be other than the rest.
        until = min(looked.span.end_us, looked.now_us - (waited + 1) * HOUR_US)
        known, wrong = monitor_facts.negatives(reader, looked.cell, words(schema)[NEGATIVE], schema.target.positive, until)
    if not whole.labelled + whole.invalid and not known:
        return None
    promised = performance(Tally(), alpha=alpha, delta=delta, earlier=(known, wrong))
    shown = performance(replace(sample, answered=whole.answered), alpha=alpha, delta=delta)
    if whole.labelled > sample.labelled >= 1:
        said = whole.counts.sum(axis=1)
        right, told = int(said[NEGATIVE, 0] + said[POSITIVE, 1]), int(said[[NEGATIVE, POSITIVE]].sum())
        likelier = int(whole.counts[:, 0, 0].sum() + whole.counts[:, 1, 1].sum())
        shown = replace(
            shown,
            labelled=whole.labelled,
            accuracy=proportion(right, told, CONFIDENCE),
            likelier=proportion(likelier, whole.labelled, CONFIDENCE),
        )
    if not whole.labelled + whole.invalid:
        shown = replace(shown, not_computed={})
    return replace(shown, false_negatives=promised.false_negatives, log_e=promised.log_e, promise=promised.promise)


def _tally(table: pl.DataFrame, schema: DatasetSchema) -> Tally:
    probability, verdict, y = _arrays(table, schema)
    return Tally.of(probability, verdict, y)


def _arrays(table: pl.DataFrame, schema: DatasetSchema) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    numbers = {word: number for number, word in enumerate(words(schema))}
    verdict = table["verdict"].replace_strict(numbers, default=UNKNOWN, return_dtype=pl.Int8).to_numpy()
    classes = {schema.target.negative: 0, schema.target.positive: 1}
    y = table[schema.target.column].replace_strict(classes, default=-1, return_dtype=pl.Int8).fill_null(-1).to_numpy()
    return table["probability"].fill_null(float("nan")).to_numpy(), verdict, y


# --- slices, and what is kept ----------------------------------------------------------------------------------------------


def _fallen(looked: Looked, rows: Observations | None, found: Found) -> falls.Slices | None:
    """Where performance fell against the rows the version was validated on; None without these, or without outcomes."""
    table, schema = found.labelled, looked.schema
    if rows is None or table.is_empty():
        return None
    probability, _, y = _arrays(table, schema)
    known = (y >= 0) & np.isfinite(probability)
    given = Codes.of(table, schema, rows.codes.vocabulary).take(known)
    named = {name: column.values or {} for name, column in schema.columns.items()}
    ends = falls.cuts(rows.codes)
    before = falls.counted(rows.codes, (looked.bundle.probability(rows.codes) > HALF) == (rows.y == 1), ends, named)
    now = falls.counted(given, (probability[known] > HALF) == (y[known] == 1), ends, named)
    told = f"answers from {minute(found.told.begin_s)} to {minute(found.told.end_s)}"
    return falls.fallen(before, now, rows=given.rows, told=f"{told}, {'mature' if found.told.mature else 'immature'}")


def _dated(reader: Reader, looked: Looked) -> Iterator[str]:
    """What is odd about times."""
    if ahead := monitor_facts.later(reader, looked.cell, looked.now_us):
        now = minute(looked.now_us / SECOND_US)
        yield f"{ahead:,} answers are dated later than now, {now}: a clock is or was wrong; they are not looked at"
    newest = monitor_facts.newest_hour(reader, looked.now_us)
    if newest is not None and newest + 2 * HOUR_US <= looked.span.end_us:
        hour = minute(newest / SECOND_US)
        yield f"the newest answer in the warehouse is of the hour that began at {hour}: later ones were not given, or not synced"


def _part(kind: str, stream: str) -> str:
    """What the numbers of a stream are kept under: no longer than a name may be, and no other stream's."""
    mark = hashlib.sha256(stream.encode()).hexdigest()[:8]
    return f"{PART}{kind}"[: trends.LENGTH - len(mark) - 1] + f"~{mark}"


def _kept(
    warehouse: Warehouse, evaluation: Evaluation, run_id: str, part: str, looked: Looked
) -> tuple[Sequence[trends.Trend], str | None]:
    """Keep the numbers of an evaluation; one of the same window takes its place. All of the stream, as pictures."""
    end_us = looked.now_us if looked.span.rows is not None else looked.span.end_us
    same = {"run_id": run_id, "model": looked.cell.model, "part": part, "created_us": end_us, "simulated": int(evaluation.simulated)}
    rows = (
        {**same, "metric": item.metric, "value": float(item.value), "low": item.low, "high": item.high, "rows_measured": item.rows}
        for item in trends.kept(evaluation)
    )
    try:
        with warehouse.loading() as load:
            load.put(star_schema.FACT_METRIC, aggregation.frame(star_schema.FACT_METRIC, rows))
        with warehouse.reading() as reader:
            found = monitor_facts.kept(reader, looked.cell.model, part)
    except (StorageError, RetryableError) as error:
        return (), f"the numbers of this evaluation are not in the warehouse: {error}"
    history: dict[str, list[trends.Point]] = {}
    for metric, at_us, value, low, high in found:
        history.setdefault(metric, []).append(trends.Point(at_us / SECOND_US, value, low, high))
    columns = [item.column for item in evaluation.ranking]
    known = evaluation.stretches if looked.span.whole and not looked.some else ()
    return trends.trends(trends.updated(history, known), columns, words=evaluation.words, alpha=evaluation.alpha), None

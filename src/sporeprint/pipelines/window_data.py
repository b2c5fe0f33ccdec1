"""Reads a window from the warehouse: from counts by hour where these are enough, else from the answers."""

import math
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.common.counts import counted, number_of
from sporeprint.common.timestamps import DAY_US
from sporeprint.inference.model_bundle import Bundle
from sporeprint.ingestion.partial_table import ANSWERS
from sporeprint.monitoring.between_windows import MOST_WINDOWS, EarlierWindow, EarlierWindows, column_counts
from sporeprint.monitoring.data_profile import ColumnSpec, NominalProfile, Profile, profile
from sporeprint.monitoring.evaluation import WindowPerformance
from sporeprint.monitoring.label_delay import wait
from sporeprint.monitoring.performance_estimation import ScoreHistograms
from sporeprint.monitoring.realized_performance import OutcomeWindow, Performance, Tally, maturity, realized_performance
from sporeprint.monitoring.table_statistics import TableStatistics
from sporeprint.monitoring.windows import HOUR_US, SECOND_US, Slice, Window, WindowRequest
from sporeprint.pipelines import table_counting
from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN, verdict_words
from sporeprint.schema import DatasetSchema
from sporeprint.settings import Settings
from sporeprint.stats.bins import PER_UNIT
from sporeprint.stats.intervals import proportion
from sporeprint.storage.warehouse import aggregation, monitoring_queries, row_queries
from sporeprint.storage.warehouse.monitoring_queries import PredictionScope
from sporeprint.storage.warehouse.protocol import Reader
from sporeprint.storage.warehouse.row_queries import RowOutcomes

#: Answers that expected performance is made from, outcomes that slices are, and outcomes that say how long they take: samples of whole
#: hours where there are more.
SCORED, LABELLED, DELAYED = 200_000, 8_000, 200_000
#: Windows of the same length whose performance is shown.
WINDOWS = 14
CONFIDENCE = 0.95


@dataclass(frozen=True)
class WindowQuery:
    """What is looked at.

    Attributes:
        cell: whose answers.
        ref: the version that gave them.
        bundle: the version.
        span: when they were given.
        slice_: which of them.
        request: time span, arm and filters.
        now_us: what time it is.
    """

    cell: PredictionScope
    ref: str
    bundle: Bundle
    span: Window
    slice_: Slice
    request: WindowRequest
    now_us: int

    @property
    def schema(self) -> DatasetSchema:
        """The version's contract."""
        return self.bundle.schema

    @property
    def kind(self) -> str:
        """What its stream is called, beside the version: what is the same for all windows that follow each other."""
        arm = f", {self.request.test} arm {self.cell.arm}" if self.cell.arm else ""
        return f"{self.span.kind}{arm}{f', {self.slice_.description}' if self.slice_ else ''}"

    @property
    def description(self) -> str:
        """The window in words."""
        arm = f" in arm {self.cell.arm} of {self.request.test}" if self.cell.arm else ""
        return f"{self.span.description} by {self.ref}{arm}{f', {self.slice_.description}' if self.slice_ else ''}"

    def about(self) -> dict[str, Any]:
        """As JSON values."""
        where = [condition.description for condition in self.slice_.conditions]
        return {**self.span.to_dict(), "model": self.ref, "test": self.request.test, "arm": self.cell.arm, "where": where}


@dataclass(frozen=True)
class WindowData:
    """What the warehouse holds of a window.

    Attributes:
        measured: its answers, counted.
        name: of its rows; no other rows have it.
        performance: how good they were; None without an outcome.
        window_history: the same over time, this window last.
        labelled: answers with an outcome, or some of them ...
        source: ... of this window, the newest whose outcomes are here, if there is one.
        notes: what is odd.
        sample: answers, or some of them, with their features.
        earlier: the windows before it; None where these are not read.
        started: whether there was time for enough answers: False while all that there ever were are in this window, and too few.
    """

    measured: TableStatistics
    name: str
    performance: Performance | None
    window_history: tuple[WindowPerformance, ...]
    labelled: pl.DataFrame
    source: WindowPerformance
    notes: tuple[str, ...]
    sample: pl.DataFrame
    earlier: EarlierWindows | None = None
    started: bool = True


def vocabulary(query: WindowQuery) -> dict[str, frozenset[str]]:
    """The values of nominal columns that training saw: what else is given is counted together."""
    return {query.schema.own_names.get(name, name): values for name, values in query.bundle.encoder.known_values}


def counts(settings: Settings, reader: Reader, query: WindowQuery, old: TableStatistics) -> WindowData:
    """A window of whole hours, from the counts by hour."""
    cell, schema, window = query.cell, query.schema, query.span
    numbers = {word: number for number, word in enumerate(verdict_words(schema))}
    first = window.begin_us - (WINDOWS - 1) * window.length_us
    hourly_verdicts = monitoring_queries.verdicts_by_hour(reader, cell, first, window.end_us)
    true = monitoring_queries.outcomes_by_hour(reader, cell, first, window.end_us)
    known = {name: column.known for name, column in old.profile.columns.items() if isinstance(column, NominalProfile)}
    profile_of_hours, extra = monitoring_queries.profile_of_hours(
        reader, cell, window.begin_us, window.end_us, schema.answered, {**known, **vocabulary(query)}
    )
    answered = np.zeros(3, dtype=np.int64)
    by_hour: dict[int, int] = {}
    for hour, word, count in hourly_verdicts:
        if hour >= window.begin_us:
            answered[numbers.get(word, UNKNOWN)] += count
            by_hour[hour] = by_hour.get(hour, 0) + count
    verdicts = {word: int(answered[number]) for word, number in numbers.items() if answered[number]}
    with_verdict = profile_of_hours.beside(Profile(profile_of_hours.rows, {"verdict": NominalProfile(verdicts, known=frozenset(numbers))}))
    outcomes: dict[int, int] = {}
    for hour, _, count in true:
        outcomes[hour] = outcomes.get(hour, 0) + count
    sampled = monitoring_queries.spread(by_hour, SCORED)
    scores = row_queries.scores(reader, cell, sampled, schema)
    independent = row_queries.independent_share(reader, cell, sampled)
    notes = [f"columns that are not looked at, because {query.ref} does not know them: {', '.join(extra[:5])}"] if extra else []
    notes.append(f"{' and '.join(aggregation.SHARES)} are compared in {PER_UNIT} bins of equal width")
    if len(sampled) < len(by_hour):
        notes.append(f"expected performance is made from {scores.rows:,} different rows, those of {len(sampled)} of {len(by_hour)} hours")
    own = {hour: count for hour, count in outcomes.items() if hour >= window.begin_us}
    table = row_queries.labelled(reader, cell, monitoring_queries.spread(own, LABELLED), schema)
    rows = row_queries.row_outcomes(reader, cell, first, window.end_us, length_us=window.length_us)
    windows = [
        _tallied(first + place * window.length_us, place, window.length_us, hourly_verdicts, true, rows, schema) for place in range(WINDOWS)
    ]
    total = windows[-1].tally
    if table.height < total.rows:
        notes.append(f"ROC AUC and calibration are made from {table.height:,} of {total.rows:,} different rows with an outcome")
    notes += _repeats(sum(row.unhashed for row in rows if row.window == WINDOWS - 1), independent)
    waited, more = _waits(settings, reader, query.now_us)
    window_history = _window_history(settings, tuple(windows), query.now_us, waited, independent)
    real = _realised(settings, reader, query, _tally(table, schema), total, waited, independent)
    started = _started(settings, reader, query, sum(by_hour.values()), window.begin_us)
    if real is not None and not (window_history[-1].mature and started):
        real, later = replace(real, not_computed={}), real.not_computed
        notes += [f"{what}: {why}; outcomes may still come" for what, why in later.items()]
    # Slices are those of a window whose outcomes are here, if there is any.
    source = next((item for item in reversed(window_history) if item.mature and item.labelled), window_history[-1])
    if source is not window_history[-1]:
        theirs = {hour: count for hour, count in outcomes.items() if source.begin_s <= hour / SECOND_US < source.end_s}
        older = row_queries.labelled(reader, cell, monitoring_queries.spread(theirs, LABELLED), schema)
    else:
        older = table
    return WindowData(
        measured=TableStatistics(with_verdict, scores, Tally(answered=answered)),
        name=f"{window.begin_us}-{window.end_us}-{profile_of_hours.rows}",
        performance=real,
        window_history=_from_the_first(window_history),
        labelled=older,
        source=source,
        notes=(*notes, *more, *_immature(window_history[-1])),
        sample=row_queries.sampled(reader, cell, monitoring_queries.spread(by_hour, LABELLED), schema),
        earlier=_earlier(reader, query, old, {**known, **vocabulary(query)}),
        started=started,
    )


def _started(settings: Settings, reader: Reader, query: WindowQuery, rows: int, begin_us: int) -> bool:
    """Whether there was time for enough answers: not while there are too few, and none is older than the window."""
    if rows >= settings.monitoring.least_rows:
        return True
    first = monitoring_queries.first_hour(reader, query.cell)
    if first is None:
        return monitoring_queries.newest_hour(reader, query.now_us) is not None
    return first < begin_us - begin_us % HOUR_US


def _earlier(reader: Reader, query: WindowQuery, old: TableStatistics, known: Mapping[str, frozenset[str]]) -> EarlierWindows:
    """The windows before this one, at the same time of day."""
    window = query.span
    step_us = -(-window.length_us // DAY_US) * DAY_US
    reference = monitoring_queries.as_counted(old.profile, vocabulary(query))
    profiles = monitoring_queries.profiles_of_windows(reader, query.cell, window, step_us, MOST_WINDOWS, query.schema.answered, known)
    windows = tuple(
        EarlierWindow(age, (window.end_us - age * step_us) / SECOND_US, profile, column_counts(reference, profile))
        for age, profile in sorted(profiles.items())
    )
    return EarlierWindows(windows, daily=step_us == DAY_US)


def _tallied(
    begin_us: int,
    number: int,
    length_us: int,
    verdicts: Sequence[tuple[int, str, int]],
    true: Sequence[tuple[int, str, int]],
    rows: Sequence[RowOutcomes],
    schema: DatasetSchema,
) -> OutcomeWindow:
    numbers = {word: place for place, word in enumerate(verdict_words(schema))}
    classes = {schema.target.negative: 0, schema.target.positive: 1}
    answered, outcomes, counts = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64), np.zeros((3, 2, 2), dtype=np.int64)
    for total, hourly in ((answered, verdicts), (outcomes, true)):
        for hour, word, count in hourly:
            if begin_us <= hour < begin_us + length_us:
                total[numbers.get(word, UNKNOWN)] += count
    for row in rows:
        if row.window == number and row.likelier in classes and row.outcome in classes:
            counts[numbers.get(row.verdict, UNKNOWN), classes[row.likelier], classes[row.outcome]] += row.rows
    tally = Tally(answered=answered, outcomes=outcomes, counts=counts)
    return OutcomeWindow(begin_us / SECOND_US, (begin_us + length_us) / SECOND_US, tally)


def _repeats(unhashed: int, independent: float) -> Iterator[str]:
    """Notes on rows that repeat, or that are not distinguished."""
    if independent < 1:
        yield f"rows repeat: an answer is worth {independent:.2g} independent ones; performance counts each different row once"
    if unhashed:
        yield f"{number_of(unhashed, 'outcome')} from an earlier release, which did not tell rows apart: each counts as its own row"


def _from_the_first(window_history: Sequence[WindowPerformance]) -> tuple[WindowPerformance, ...]:
    """Without the windows before the first answer; the last one always."""
    first = next((place for place, period in enumerate(window_history) if period.answers), len(window_history) - 1)
    return tuple(window_history[first:])


def answers(settings: Settings, reader: Reader, query: WindowQuery) -> WindowData:
    """Any other window, from the answers themselves."""
    content = read(reader, query)
    measured = content.measured
    waited, notes = _waits(settings, reader, query.now_us)
    notes += _repeats(content.unhashed, content.independent)
    window = OutcomeWindow(content.begin_us / SECOND_US, max(content.end_us, content.begin_us + 1) / SECOND_US, measured.tally)
    window_history = _window_history(settings, (window,), query.now_us, waited, content.independent)
    real = _realised(settings, reader, query, measured.tally, measured.tally, waited, content.independent)
    started = _started(settings, reader, query, measured.profile.rows, content.begin_us)
    if real is not None and not (window_history[-1].mature and started):
        real, later = replace(real, not_computed={}), real.not_computed
        notes += [f"{what}: {why}; outcomes may still come" for what, why in later.items()]
    if real is not None and query.slice_:
        notes.append(f"the promise is about all answers of {query.ref}, whatever the slice")
    if query.span.rows is not None and not query.slice_ and measured.profile.rows < query.span.rows:
        notes.append(f"{number_of(measured.profile.rows, 'answer')} so far, fewer than the {query.span.rows:,} that were asked for")
    return WindowData(
        measured=measured,
        name=content.name,
        performance=real,
        window_history=window_history,
        labelled=content.labelled,
        source=window_history[-1],
        notes=(*notes, *_immature(window_history[-1])),
        sample=content.sample,
        started=started,
    )


@dataclass(frozen=True)
class AnswersRead:
    """The answers of a window, read one by one.

    Attributes:
        measured: counted; its scores are of different rows, of the newest `SCORED` answers.
        labelled: some different rows with an outcome.
        sample: some different rows, with an outcome or without.
        begin_us: the begin of what was read.
        end_us: its end, not part of it.
        name: of what was read.
        independent: how many independent answers an answer is worth.
        unhashed: answers with an outcome that an earlier release recorded, which did not tell rows apart.
    """

    measured: TableStatistics
    labelled: pl.DataFrame
    sample: pl.DataFrame
    begin_us: int
    end_us: int
    name: str
    independent: float
    unhashed: int


@dataclass
class _RowsRead:
    """Which rows were read: as often as the newest `SCORED` answers have them, and those with an outcome."""

    times: Counter[Hashable] = field(default_factory=Counter)
    known: set[Hashable] = field(default_factory=set)
    unhashed: int = 0

    def first(self, keys: Sequence[Hashable]) -> npt.NDArray[np.bool_]:
        """Whether an answer is the first of its row; of none after `SCORED` answers: [n]."""
        is_first = np.zeros(len(keys), dtype=np.bool_)
        if self.times.total() < SCORED:
            for place, key in enumerate(keys):
                is_first[place] = key not in self.times
                self.times[key] += 1
        return is_first

    def first_known(self, keys: Sequence[Hashable], known: Sequence[bool]) -> npt.NDArray[np.bool_]:
        """Whether an answer is the first of its row with an outcome: [n]."""
        is_first = np.zeros(len(keys), dtype=np.bool_)
        for place in np.flatnonzero(known).tolist():
            key = keys[place]
            is_first[place] = key not in self.known
            self.known.add(key)
            self.unhashed += isinstance(key, str)
        return is_first

    @property
    def independent(self) -> float:
        """How many independent answers an answer is worth (Kish 1965)."""
        squared = sum(times * times for times in self.times.values())
        return self.times.total() / squared if squared else 1.0


def read(reader: Reader, query: WindowQuery) -> AnswersRead:
    """The answers of a window, counted, and some of them."""
    schema, window, slice_ = query.schema.answered, query.span, query.slice_.renamed(query.schema.own_names)
    columns = {name: ColumnSpec(column.kind, frozenset(column.values or ())) for name, column in schema.columns.items()}
    by_hour: dict[int, int] = {}
    for hour, _, count in monitoring_queries.verdicts_by_hour(
        reader, query.cell, window.begin_us - window.begin_us % HOUR_US, window.end_us
    ):
        by_hour[hour] = by_hour.get(hour, 0) + count
    total = TableStatistics(table_counting.empty_statistics(columns, schema, set(ANSWERS)))
    scores, rows = ScoreHistograms(), _RowsRead()
    known: list[pl.DataFrame] = []
    some: list[pl.DataFrame] = []
    ends: list[tuple[int, str]] = []
    left = window.rows
    for page, ids in monitoring_queries.pages(reader, query.cell, window, by_hour, query.schema):
        fits = monitoring_queries.matching_rows(page, slice_)
        table = page.filter(fits) if left is None else page.filter(fits).head(left)
        places = np.flatnonzero(fits.to_numpy())[: table.height].tolist()
        keys: list[Hashable] = [
            ids[place] if row_hash is None else row_hash for place, row_hash in zip(places, table["row_hash"].to_list(), strict=True)
        ]
        first = rows.first(keys)
        first_known = rows.first_known(keys, table[schema.target.column].is_not_null().to_list())
        if table.height:
            ends += [(int(table["created_us"][place]), ids[places[place]]) for place in (0, -1)]
            total += table_counting.with_predictions(profile(table, columns), table, table, schema, set(ANSWERS), first_known)
            probability, verdict, _ = arrays(table, schema)
            scored = first & np.isfinite(probability)
            scores += ScoreHistograms.of(probability[scored], verdict[scored])
        table = table.drop("created_us", "row_hash")
        if sum(part.height for part in some) < LABELLED:
            some.append(table.filter(first))
        if sum(part.height for part in known) < LABELLED:
            known.append(table.filter(first_known))
        left = None if left is None else left - table.height
        if left == 0:
            break
    labelled, sample = (pl.concat(parts) if parts else monitoring_queries.frame([], query.schema) for parts in (known, some))
    total = replace(total, scores=scores)
    number = total.profile.rows
    if not ends:
        begin_us, end_us, name = window.begin_us or window.end_us, window.end_us, f"{window.begin_us}-{window.end_us}-0"
    elif window.rows is None:
        begin_us, end_us, name = window.begin_us, window.end_us, f"{window.begin_us}-{window.end_us}-{number}"
    else:
        begin_us, end_us, name = ends[-1][0], ends[0][0] + 1, f"{ends[-1][1]}-{ends[0][1]}-{number}"
    return AnswersRead(total, labelled, sample, begin_us, end_us, name, rows.independent, rows.unhashed)


def _waits(settings: Settings, reader: Reader, now_us: int) -> tuple[int | None, list[str]]:
    """Hours in which outcomes come, and what is to be said of it."""
    chosen = settings.monitoring
    if chosen.outcome_wait_hours is not None:
        return round(chosen.outcome_wait_hours), []
    delays, ages = monitoring_queries.delays(reader, now_us, DELAYED)
    waiting = wait(delays, ages, chosen.mature_share)
    if waiting is None:
        came = int(delays.sum())
        return None, [f"how long outcomes take is not known yet: {came} came in the last 90 days"] if came else []
    return waiting, [f"{chosen.mature_share:.0%} of the outcomes came within {waiting:,} hours"]


def _window_history(
    settings: Settings, windows: tuple[OutcomeWindow, ...], now_us: int, waited: int | None, independent: float
) -> tuple[WindowPerformance, ...]:
    chosen, window_history = settings.monitoring, []
    for window in windows:
        answers, by_verdict = window.tally.answered, window.tally.counts.sum(axis=1)
        right, source = int(by_verdict[NEGATIVE, 0] + by_verdict[POSITIVE, 1]), int(by_verdict[[NEGATIVE, POSITIVE]].sum())
        total, labelled = int(answers.sum()), window.tally.labelled
        wait_s = math.inf if waited is None else waited * 3600.0
        share = labelled / total if total else math.nan
        mature, why = maturity(window, share, now_us / SECOND_US, wait_s, chosen.mature_share)
        window_history.append(
            WindowPerformance(
                begin_s=window.begin_s,
                end_s=window.end_s,
                mature=mature,
                why=why,
                answers=total,
                unknown=proportion(answers[UNKNOWN] * independent, total * independent, CONFIDENCE),
                labelled=labelled,
                rows=window.tally.rows,
                accuracy=proportion(right, source, CONFIDENCE),
                false_negatives=proportion(int(by_verdict[NEGATIVE, 1]), int(by_verdict[NEGATIVE].sum()), CONFIDENCE),
            )
        )
    return tuple(window_history)


def _immature(period: WindowPerformance) -> Iterator[str]:
    if period.labelled and not period.mature:
        yield f"the window is immature: {period.why}; {counted(period.labelled, 'outcome is', 'outcomes are')} shown, and no alarm raised"


def _realised(
    settings: Settings, reader: Reader, query: WindowQuery, sample: Tally, whole: Tally, waited: int | None, independent: float
) -> Performance | None:
    """How good the answers were: shares from all outcomes, the rest from a sample of them, the promise from all that are mature.

    Args:
        settings: the configuration.
        reader: the warehouse.
        query: the window.
        sample: answers with an outcome and their probabilities.
        whole: all answers of the window; without probabilities.
        waited: hours in which outcomes come; None if that is not known.
        independent: how many independent answers an answer is worth.
    """
    schema, alpha, delta = query.schema, settings.guard.alpha, settings.guard.delta
    known, wrong = 0, 0
    if waited is not None:
        # Of an hour whose outcomes are still coming, those that are here may be other than the rest.
        until = min(query.span.end_us, query.now_us - (waited + 1) * HOUR_US)
        known, wrong = row_queries.negative_outcomes(reader, query.cell, verdict_words(schema)[NEGATIVE], schema.target.positive, until)
    if not whole.labelled + whole.invalid and not known:
        return None
    promised = realized_performance(Tally(), alpha=alpha, delta=delta, earlier=(known, wrong))
    seen = replace(sample, answered=whole.answered, outcomes=whole.outcomes)
    shown = realized_performance(seen, alpha=alpha, delta=delta, independent=independent)
    if whole.rows > sample.rows >= 1:
        by_verdict = whole.counts.sum(axis=1)
        right, source = int(by_verdict[NEGATIVE, 0] + by_verdict[POSITIVE, 1]), int(by_verdict[[NEGATIVE, POSITIVE]].sum())
        likelier = int(whole.counts[:, 0, 0].sum() + whole.counts[:, 1, 1].sum())
        shown = replace(
            shown,
            rows=whole.rows,
            accuracy=proportion(right, source, CONFIDENCE),
            likelier=proportion(likelier, whole.rows, CONFIDENCE),
        )
    if not whole.labelled + whole.invalid:
        shown = replace(shown, not_computed={})
    return replace(shown, false_negatives=promised.false_negatives, log_e=promised.log_e, promise=promised.promise)


def _tally(table: pl.DataFrame, schema: DatasetSchema) -> Tally:
    probability, verdict, y = arrays(table, schema)
    return Tally.of(probability, verdict, y)


def arrays(table: pl.DataFrame, schema: DatasetSchema) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Probability of the positive class, verdict and outcome (-1: none) of each answer, [n]."""
    numbers = {word: number for number, word in enumerate(verdict_words(schema))}
    verdict = table["verdict"].replace_strict(numbers, default=UNKNOWN, return_dtype=pl.Int8).to_numpy()
    classes = {schema.target.negative: 0, schema.target.positive: 1}
    y = table[schema.answered.target.column].replace_strict(classes, default=-1, return_dtype=pl.Int8).fill_null(-1).to_numpy()
    return table["probability"].fill_null(float("nan")).to_numpy(), verdict, y

"""One evaluation, or one after the other: a table against the rows a model was validated on, or another table. Writes the reports."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from threadpoolctl import threadpool_limits

from sporeprint.common.files import Progress, atomic_write
from sporeprint.common.parallel import ahead
from sporeprint.common.text_table import SilentSteps, Steps, Table
from sporeprint.common.workdir import Workdir
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations
from sporeprint.data.parquet_store import read_table, run_id_of
from sporeprint.errors import DataError, RegistryError, SporeprintError, StorageError, UsageError
from sporeprint.inference.attributions import Explainer
from sporeprint.inference.model_bundle import Bundle
from sporeprint.ingestion.partial_table import ANSWERS, Observed, observe
from sporeprint.monitoring.alarm_control import DAY_S, Judgement, Policy, State, judge
from sporeprint.monitoring.data_profile import Column, Profile, Wanted, of_codes, of_names, of_numbers, profile
from sporeprint.monitoring.drift import drift
from sporeprint.monitoring.drift_importance import rank
from sporeprint.monitoring.evaluation import Evaluation, Stretch, overlays
from sporeprint.monitoring.performance_estimation import Scores, expected
from sporeprint.monitoring.realized_performance import Performance, Tally, performance
from sporeprint.monitoring.slice_analysis import Slices
from sporeprint.monitoring.trends import Trend
from sporeprint.pipelines.batch_prediction import score_frame
from sporeprint.registry.registry import Registry
from sporeprint.reports.monitoring_report import Earlier, render
from sporeprint.safety.verdict import NEGATIVE, UNKNOWN, verdict_words
from sporeprint.schema import DatasetSchema, Kind
from sporeprint.settings import Settings

#: The part of the validation rows that nothing was fitted on but the threshold: what a model does with it, it does with new rows.
PART = "threshold"
#: Rows that say what a model uses.
EXPLAINED = 2_000
#: Earlier evaluations on the page, and windows whose outcomes are remembered one by one.
HISTORY, REMEMBERED = 30, 64
STATE, LATEST, IMPORTANCE = "state.json", "latest", "importance.json"

Clock = Callable[[], datetime]


@dataclass(frozen=True)
class Measured:
    """A table, counted.

    Attributes:
        profile: its columns, and those of the answers.
        scores: its probabilities.
        tally: its rows by answer and outcome.
        refused: rows that the model gives no probability for.
        strangers: labels that are neither class.
    """

    profile: Profile = field(default_factory=Profile)
    scores: Scores = field(default_factory=Scores)
    tally: Tally = field(default_factory=Tally)
    refused: int = 0
    strangers: int = 0

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(
            self.profile + other.profile,
            self.scores + other.scores,
            self.tally + other.tally,
            self.refused + other.refused,
            self.strangers + other.strangers,
        )


@dataclass(frozen=True)
class Monitored:
    """An evaluation, and where it was written.

    Attributes:
        evaluation: the evaluation.
        written: the report's files.
        unwritten: why they could not be written; None if they were.
        followed: what was done about it, in lines.
    """

    evaluation: Evaluation
    written: tuple[str, ...]
    unwritten: str | None = None
    followed: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """What the command ends with; an alarm goes before a report that could not be written."""
        found = self.evaluation.exit_code
        return StorageError.exit_code if found == 0 and self.unwritten else found

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        written = {"written": list(self.written), "not_written": self.unwritten, "followed": list(self.followed)}
        return {**self.evaluation.to_dict(), **written, "exit_code": self.exit_code}

    def tables(self) -> list[Table]:
        """As people read it."""
        said = [("report", path) for path in self.written] + ([("NOT WRITTEN", self.unwritten)] if self.unwritten else [])
        done = [Table("What followed", ("",), tuple((line,) for line in self.followed))] if self.followed else []
        return [*self.evaluation.tables(), Table("", ("", ""), tuple(said)), *done]


#: What is done about an evaluation; its lines come into the output.
Then = Callable[[Monitored], Sequence[str]]


def nothing(_: Monitored) -> Sequence[str]:
    """Do nothing about an evaluation."""
    return ()


def followed(monitored: Monitored, then: Then) -> Monitored:
    """Do what is to be done about an evaluation. Where that fails it is said: an evaluation is not lost by it."""
    try:
        return replace(monitored, followed=(*monitored.followed, *then(monitored)))
    except Exception as error:  # noqa: BLE001 -- whatever it was, the evaluation was made, and the next one has to be
        return replace(monitored, followed=(*monitored.followed, f"FAILED: {error!r}"))


def watch(evaluate: Callable[[], Monitored], pause: Callable[[], bool], *, then: Then, show: Callable[[Monitored], None]) -> int:
    """Evaluate again and again.

    Args:
        evaluate: makes one evaluation; one that could not be made is one that says so.
        pause: waits for the next; False ends it.
        then: what is done about each.
        show: shows each.

    Returns:
        how many were made.
    """
    made = 0
    while True:
        show(followed(evaluate(), then))
        made += 1
        if not pause():
            return made


@dataclass(frozen=True)
class Remembered:
    """What evaluations of one stream leave behind.

    Attributes:
        state: of the error control.
        before: negative answers with an outcome, and the wrong ones, in windows that are no longer remembered one by one.
        outcomes: window -> the same of that window.
    """

    state: State = field(default_factory=State)
    before: tuple[int, int] = (0, 0)
    outcomes: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def earlier(self, window: str) -> tuple[int, int]:
        """The outcomes of all windows but this one."""
        others = [counts for name, counts in self.outcomes.items() if name != window]
        return self.before[0] + sum(count for count, _ in others), self.before[1] + sum(wrong for _, wrong in others)

    def with_outcomes(self, window: str, negatives: int, wrong: int) -> "Remembered":
        """The same after a further window."""
        outcomes = {**self.outcomes, window: (negatives, wrong)}
        before = self.before
        while len(outcomes) > REMEMBERED:
            old = outcomes.pop(next(iter(outcomes)))
            before = before[0] + old[0], before[1] + old[1]
        return replace(self, before=before, outcomes=outcomes)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"state": json.loads(self.state.to_json()), "before": list(self.before), "outcomes": dict(self.outcomes)}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> "Remembered":
        """Read what `to_dict` gave."""
        outcomes = {window: (int(count), int(wrong)) for window, (count, wrong) in raw["outcomes"].items()}
        return cls(State.from_json(json.dumps(raw["state"])), (int(raw["before"][0]), int(raw["before"][1])), outcomes)


def monitor(
    settings: Settings,
    root: Path,
    current: Path,
    *,
    reference: Path | None = None,
    model: str | None = None,
    now: Clock = lambda: datetime.now(UTC),
    steps: Steps | None = None,
) -> Monitored:
    """Evaluate a table.

    Args:
        settings: the configuration.
        root: the work directory.
        current: the table, CSV or Parquet, with an outcome in the target's column or without.
        reference: another table that it is held against; None: the rows that the model was validated on.
        model: whose answers are looked at; None: what is in production, if anything is.
        now: the clock.
        steps: where the run says where it is.

    Raises:
        DataError: a table cannot be read at all.
        RegistryError: there is no such model, or it is damaged; or neither a model nor a reference.
        UsageError: both tables are the same file.
    """
    workdir, shown = Workdir(root), steps or SilentSteps()
    if reference is not None and reference.exists() and current.exists() and reference.samefile(current):
        raise UsageError(f"--current and --reference are the same file, {current}; it cannot differ from itself")
    with shown.step("read") as progress:
        bundle, ref = model_of(workdir, model, needed=reference is None)
        schema = settings.dataset if bundle is None else bundle.schema
        there = observe(current, schema)
        notes = _oddities("the current table", there)
        if reference is None and bundle is not None:
            old, held, more = validated(settings, workdir, bundle, str(ref))
        else:
            other = observe(Path(str(reference)), schema)
            old, held, more = measure(other, schema, bundle, settings.threads, progress), str(reference), _oddities("the reference", other)
        new = measure(there, schema, bundle, settings.threads, progress)
    stream, window = f"{ref or 'no model'} against {held}", there.sha256[:16]
    lacking = f"the model needs {', '.join(there.absent)}, which the current table does not have"
    subject = Subject(
        stream=stream,
        window=window,
        old=old,
        new=new,
        reference=held,
        current=str(current),
        failed={"answers": lacking} if bundle is not None and there.absent else {},
        notes=(*notes, *more),
    )
    return evaluated(settings, workdir, subject, bundle, ref, now().timestamp())


@dataclass(frozen=True)
class Subject:
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
        timed: what is only known of a stretch of time; None for a file.
    """

    stream: str
    window: str
    old: Measured
    new: Measured
    reference: str
    current: str
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    timed: "Timed | None" = None


@dataclass(frozen=True)
class Timed:
    """What is known of a stretch of time beside its rows.

    Attributes:
        about: what was asked for, as JSON values.
        performance: how good the answers were; None without outcomes.
        stretches: the same of equal stretches before it, and of itself, the last.
        slices: where performance fell; None where it was not looked at.
        keep: keeps the numbers of an evaluation, and gives those of the ones before it as trends, and why that failed.
    """

    about: Mapping[str, Any]
    performance: Performance | None
    stretches: tuple[Stretch, ...]
    slices: Slices | None
    keep: Callable[[Evaluation], tuple[Sequence[Trend], str | None]]


def model_of(workdir: Workdir, model: str | None, *, needed: bool) -> tuple[Bundle | None, str | None]:
    """The version that is looked at, and its name; None for what is in production, if nothing is and nothing needs to be.

    Raises:
        RegistryError: there is no such model, or it is damaged.
    """
    registry = Registry(workdir.registry)
    try:
        found = registry.resolve(model or "production")
        return registry.load(found.ref), found.ref
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


# --- counting ----------------------------------------------------------------------------------------------------------


def measure(table: Observed, schema: DatasetSchema, bundle: Bundle | None, threads: int, progress: Progress) -> Measured:
    """Count a file, batch by batch: its columns, and what a model answers, if there is one and the file has no answers of its own."""
    wanted = {name: Wanted(column.kind, frozenset(column.values or ())) for name, column in schema.columns.items() if name in table.present}
    answered = {name for name in ANSWERS if name in table.present}
    scored = bundle is not None and not table.absent and not {"probability", "verdict"} <= answered

    def work(batch: tuple[pl.DataFrame, int]) -> Measured:
        frame, unreadable = batch
        counted = profile(frame, wanted, unreadable=unreadable)
        answers = score_frame(frame, bundle) if scored and bundle is not None else frame
        return with_answers(counted, answers, frame, schema, answered if not scored else set(ANSWERS))

    progress.total(table.rows)
    total = Measured(nothing_of(wanted, schema, set(ANSWERS) if scored else answered))
    # Batches are worked on side by side; further BLAS threads in each would only wait for each other.
    with threadpool_limits(1, "blas"):
        for part in ahead(work, table.frames(), workers=threads):
            total += part
            progress.advance(part.profile.rows)
    return total


def nothing_of(wanted: Mapping[str, Wanted], schema: DatasetSchema, answers: set[str]) -> Profile:
    """The profile of no rows, with the columns that there would be."""
    empty = pl.DataFrame(schema={name: pl.Float64 if column.kind is Kind.NUMERIC else pl.String for name, column in wanted.items()})
    kinds = {name: pl.Float64 if kind is Kind.NUMERIC else pl.String for name, kind in ANSWERS.items()}
    return with_answers(profile(empty, wanted), pl.DataFrame(schema=kinds), empty, schema, answers).profile


def with_answers(counted: Profile, answers: pl.DataFrame, frame: pl.DataFrame, schema: DatasetSchema, there: set[str]) -> Measured:
    """What was counted of some rows, with what was answered to them, and what came true.

    Args:
        counted: the profile of the rows' features.
        answers: the rows' answers.
        frame: the rows, with the target's column where it is known.
        schema: the contract.
        there: the columns of answers that there are.
    """
    wanted = {
        name: Wanted(kind, frozenset(verdict_words(schema)) if kind is Kind.NOMINAL else frozenset()) for name, kind in ANSWERS.items()
    }
    counted = counted.beside(profile(answers, {name: column for name, column in wanted.items() if name in there}))
    if not {"probability", "verdict"} <= there:
        return Measured(counted)
    probability = answers["probability"].cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    numbers = {word: number for number, word in enumerate(verdict_words(schema))}
    verdict = answers["verdict"].cast(pl.String).replace_strict(numbers, default=UNKNOWN, return_dtype=pl.Int8).to_numpy()
    scored = np.isfinite(probability)
    scores = Scores.of(probability[scored], verdict[scored])
    y, strangers = _outcomes(frame, schema)
    return Measured(counted, scores, Tally.of(probability, verdict, y), int(np.count_nonzero(~scored)), strangers)


def _outcomes(frame: pl.DataFrame, schema: DatasetSchema) -> tuple[npt.NDArray[np.int8], int]:
    """1, 0, or -1 where it is not known; and how many are neither class."""
    target = schema.target
    if target.column not in frame.columns:
        return np.full(frame.height, -1, dtype=np.int8), 0
    given = frame[target.column].cast(pl.String).str.strip_chars()
    classes = {target.negative: 0, target.positive: 1}
    y = given.replace_strict(classes, default=-1, return_dtype=pl.Int8)
    empty = int(given.is_null().sum()) + int((given == "").sum())
    return y.fill_null(-1).to_numpy(), int((y.fill_null(-1) < 0).sum()) - empty


def validated(settings: Settings, workdir: Workdir, bundle: Bundle, ref: str) -> tuple[Measured, str, list[str]]:
    """The rows that a model was validated on, and none of its parts was fitted on but the threshold: counted, in words, what is odd."""
    rows, notes = validation_rows(settings, workdir, bundle, ref)
    return of_rows(rows.codes, bundle), f"the {rows.codes.rows:,} rows that {ref} was validated on", notes


def validation_rows(settings: Settings, workdir: Workdir, bundle: Bundle, ref: str) -> tuple[Observations, list[str]]:
    """These rows, and what is odd about them.

    Raises:
        DataError: they are not there, or are others.
    """
    path = workdir.model_input / "validation.parquet"
    parts = tuple(settings.split.shares)
    notes = []
    if (run := run_id_of(path)) != bundle.info.get("data_run"):
        notes.append(f"the validation rows are of run {run}, the model {ref} was made from those of run {bundle.info.get('data_run')}")
    table = read_table(path, bundle.schema, parts)
    return table.take(np.flatnonzero(table.part == parts.index(PART))), notes


def of_rows(codes: Codes, bundle: Bundle) -> Measured:
    """Count coded rows and what a model answers to them: the reference that later rows are held against."""
    known = {name: frozenset(column.values or ()) for name, column in bundle.schema.columns.items()}
    answers = bundle.predictions(codes)
    spoken = verdict_words(bundle.schema)
    counts = np.bincount(answers.verdict, minlength=len(spoken)).tolist()
    said: dict[str, Column] = {
        "probability": of_numbers(answers.probability),
        "novelty_p": of_numbers(answers.novelty.p),
        "verdict": of_names(spoken, counts, spoken),
    }
    counted = of_codes(codes, known).beside(Profile(codes.rows, said))
    return Measured(counted, Scores.of(answers.probability, answers.verdict))


# --- judging -----------------------------------------------------------------------------------------------------------


def policy(settings: Settings) -> Policy:
    """What an alarm is, by the configuration."""
    chosen = settings.monitoring
    return Policy(
        alpha=chosen.false_alarms,
        period_s=chosen.period_days * DAY_S,
        every_s=chosen.every_hours * 3600,
        shift=chosen.least_shift,
        shares=chosen.least_shares,
        new=chosen.least_new,
        missing=chosen.least_missing,
    )


def evaluated(settings: Settings, workdir: Workdir, subject: Subject, bundle: Bundle | None, ref: str | None, at_s: float) -> Monitored:
    """Judge what was counted, and write the reports."""
    notes = list(subject.notes)
    remembered = _memory(workdir, subject.stream, notes)
    evaluation, remembered = _judged(settings, workdir, replace(subject, notes=tuple(notes)), remembered, bundle, ref, at_s)
    trends, unkept = ((), None) if subject.timed is None else subject.timed.keep(evaluation)
    return written(workdir, evaluation, settings.monitoring.keep_reports, (subject.stream, remembered), trends, unkept)


def _judged(
    settings: Settings, workdir: Workdir, subject: Subject, remembered: Remembered, bundle: Bundle | None, ref: str | None, at_s: float
) -> tuple[Evaluation, Remembered]:
    old, new, timed = subject.old, subject.new, subject.timed
    schema = settings.dataset if bundle is None else bundle.schema
    changed = drift(old.profile, new.profile, least_rows=settings.monitoring.least_rows)
    judgement, state = judge(changed, remembered.state, policy(settings), at_s=at_s, window=subject.window)
    remembered = replace(remembered, state=state)
    if timed is not None:
        real = timed.performance
    elif (real := _realised(settings, new, remembered.earlier(subject.window))) is not None:
        said = new.tally.counts[NEGATIVE].sum(axis=0)
        remembered = remembered.with_outcomes(subject.window, int(said.sum()), int(said[1]))
    importance = None if bundle is None else _importance(settings, workdir, bundle)
    evaluation = Evaluation(
        at_s=at_s,
        reference=subject.reference,
        current=f"{subject.current} ({new.profile.rows:,} row{'' if new.profile.rows == 1 else 's'})",
        model=ref,
        simulated=bundle is not None and bool(bundle.info.get("simulated")),
        drift=changed,
        judgement=judgement,
        policy=policy(settings),
        ranking=rank(changed, judgement, importance),
        overlays=overlays(old.profile, new.profile, {name: column.values or {} for name, column in schema.columns.items()}),
        expected=None if not new.scores.rows and not new.tally.answered.sum() else expected(new.scores),
        performance=real,
        alpha=settings.guard.alpha,
        words=verdict_words(schema)[:2],
        failed=subject.failed,
        notes=(*subject.notes, *judgement.notes, *_counted_notes(new, judgement, real)),
        stream=subject.stream,
        window={} if timed is None else timed.about,
        answered=tuple(new.tally.answered.tolist()),
        stretches=() if timed is None else timed.stretches,
        slices=None if timed is None else timed.slices,
    )
    return evaluation, remembered


def _realised(settings: Settings, new: Measured, earlier: tuple[int, int]) -> Performance | None:
    if not new.tally.labelled + new.tally.invalid:
        return None
    return performance(new.tally, alpha=settings.guard.alpha, delta=settings.guard.delta, earlier=earlier)


def _counted_notes(new: Measured, judgement: Judgement, real: Performance | None) -> Iterator[str]:
    if new.profile.unreadable:
        yield f"{new.profile.unreadable:,} rows could not be split into fields; they are left out"
    if new.refused:
        yield f"{new.refused:,} rows have no probability: they break a rule of the contract, or none was given"
    if new.strangers:
        yield f"{new.strangers:,} outcomes are neither class; they are left out"
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
        key, kept = f"{bundle.identity()} {run_id_of(path)}", _kept_importance(workdir)
        if key in kept:
            return kept[key]
        found = _explained(read_table(path, bundle.schema, tuple(settings.split.shares)).codes.take(slice(0, EXPLAINED)), bundle)
    except DataError:
        return None
    if found is not None:
        with contextlib.suppress(SporeprintError, OSError):  # it takes a second longer the next time, and nothing else
            atomic_write(workdir.monitoring / IMPORTANCE, json.dumps(dict([*kept.items(), (key, found)][-REMEMBERED:]), indent=1))
    return found


def _kept_importance(workdir: Workdir) -> dict[str, dict[str, float]]:
    """What was found of versions that were looked at before."""
    try:
        kept = json.loads((workdir.monitoring / IMPORTANCE).read_text(encoding="utf-8"))
        return {str(key): {str(name): float(value) for name, value in shares.items()} for key, shares in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _explained(codes: Codes, bundle: Bundle) -> dict[str, float] | None:
    moved = Explainer.from_files(bundle.parts).contributions(bundle.encoder.matrix(codes), bundle.scorer)
    if moved is None:
        return None
    strength = np.abs(moved[0]).mean(axis=0)
    found = dict.fromkeys(bundle.schema.columns, 0.0)
    for column, value in zip(bundle.encoder.sources, strength.tolist(), strict=True):
        found[column] += value
    total = sum(found.values())
    return {column: value / total for column, value in found.items()} if total > 0 else None


# --- reports -----------------------------------------------------------------------------------------------------------


def _memory(workdir: Workdir, stream: str, notes: list[str]) -> Remembered:
    """What the evaluations before left behind."""
    path = workdir.monitoring / STATE
    try:
        raw = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return Remembered.from_dict(raw[stream]) if stream in raw else Remembered()
    except (OSError, ValueError, KeyError, TypeError) as error:
        notes.append(f"what earlier evaluations left in {workdir.shown(path)} cannot be read ({error!r}); this one begins anew")
        return Remembered()


def written(
    workdir: Workdir,
    evaluation: Evaluation,
    keep: int,
    memory: tuple[str, Remembered] | None = None,
    trends: Sequence[Trend] = (),
    unkept: str | None = None,
) -> Monitored:
    """Write an evaluation's reports, and what the next one has to know.

    Args:
        workdir: where to.
        evaluation: the evaluation.
        keep: reports that stay, the newest.
        memory: a stream, and what its evaluations left behind.
        trends: the numbers of the evaluations before it, and its own.
        unkept: why its numbers are not among those; None if they are.
    """
    folder = workdir.monitoring
    stamp = datetime.fromtimestamp(evaluation.at_s, UTC).strftime("%Y%m%dT%H%M%S%fZ")
    text = json.dumps(evaluation.to_dict(), ensure_ascii=False, allow_nan=False, indent=1)
    try:
        html = render(evaluation, _history(folder), trends)
        paths = [folder / f"{name}{ending}" for name in (f"report_{stamp}", LATEST) for ending in (".json", ".html")]
        for path in paths:
            atomic_write(path, html if path.suffix == ".html" else text)
        if memory is not None:
            _remember(folder / STATE, *memory)
        _prune(folder, keep)
        return Monitored(evaluation, tuple(workdir.shown(path) for path in paths if path.suffix == ".html"), unkept)
    except (SporeprintError, OSError) as error:
        return Monitored(evaluation, (), f"{error}; {unkept}" if unkept else str(error))


def _prune(folder: Path, keep: int) -> None:
    """Remove old reports. Their names are in the order of their times."""
    for ending in (".json", ".html"):
        for path in sorted(folder.glob(f"report_*{ending}"), reverse=True)[keep:]:
            path.unlink(missing_ok=True)


def _remember(path: Path, stream: str, remembered: Remembered) -> None:
    try:
        raw = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError:
        raw = {}
    atomic_write(path, json.dumps({**raw, stream: remembered.to_dict()}, ensure_ascii=False, indent=1))


def _history(folder: Path) -> list[Earlier]:
    """The last evaluations, the newest first; what cannot be read is left out."""
    found = []
    for path in sorted(folder.glob("report_*.json"), reverse=True)[:HISTORY]:
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
            found.append(Earlier(raw["at"], raw["status"], raw["current"], len(raw["alarms"]), path.with_suffix(".html").name))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found

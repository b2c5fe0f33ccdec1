"""One evaluation as a value: what was compared, what changed, what is an alarm, and what could not be computed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Any

from sporeprint.common.text_table import Table
from sporeprint.monitoring.alarm_control import AlarmPolicy, Finding, Judgement
from sporeprint.monitoring.data_profile import NominalProfile, NumericProfile, Profile
from sporeprint.monitoring.drift import ColumnDrift, DriftReport, edges, shared_bins, tallied
from sporeprint.monitoring.drift_importance import RankedColumn
from sporeprint.monitoring.performance_estimation import ComponentEstimate, EstimatedPerformance
from sporeprint.monitoring.realized_performance import Performance, PromiseStatus
from sporeprint.monitoring.slice_analysis import SliceAnalysis
from sporeprint.stats.intervals import Estimate

#: Exit codes of an evaluation.
FINE, ALARM, NOT_COMPUTED = 0, 10, 11
NOTHING = "-"
#: Bars of a picture.
MOST_BARS = 20
#: Columns of the table on a terminal; the page and JSON have them all.
SHOWN = 12
#: Alarms there, and notes.
SHOWN_LINES = 12
#: Windows, and slices, there.
SHOWN_WINDOWS, SHOWN_SLICES = 7, 5


class EvaluationStatus(StrEnum):
    """What an evaluation comes to. It is fine only if everything was computed."""

    ALARM = "alarm"
    NOT_COMPUTED = "not computed"
    FINE = "no alarm"


@dataclass(frozen=True)
class Overlay:
    """Two distributions on the same bins.

    Attributes:
        labels: of the bins.
        reference: shares of the reference's values.
        current: shares of the current values.
    """

    labels: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class WindowPerformance:
    """Performance of the answers of one window.

    Attributes:
        begin_s: its begin, in seconds since 1970.
        end_s: its end, not part of it.
        mature: whether the outcomes that are to come have had the time to; if not, those that are here may be other than the rest.
        why: why, or why not, in words.
        answers: how many.
        unknown: share of answers that say neither class.
        labelled: answers with an outcome.
        rows: different rows among them: what accuracy and false negatives are counted by.
        accuracy: share of right answers among those that say a class.
        false_negatives: share of the negative answers that was wrong.
    """

    begin_s: float
    end_s: float
    mature: bool
    why: str
    answers: int
    unknown: Estimate
    labelled: int
    rows: int
    accuracy: Estimate
    false_negatives: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "begin": moment(self.begin_s), "end": moment(self.end_s)}


@dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        at_s: when, in seconds since 1970.
        reference: what the current rows were held against, in words.
        current: what was evaluated, in words.
        model: whose answers they are; None without a model.
        simulated: whether it, or a table, is of invented rows.
        drift: what changed.
        judgement: what of it is an alarm.
        policy: what an alarm is.
        ranking: which changes matter, the most important first.
        overlays: column -> the distributions, where there are two.
        expected: how good the answers are to be expected to be; None without answers.
        performance: how good they were; None without outcomes.
        alpha: what is promised of the negative answers.
        words: of the negative and the positive class.
        failed: what could not be computed -> why, beside what the parts say themselves.
        notes: what is odd, in words.
        stream: what budget of false alarms it has, with all that is evaluated under this name.
        window: what was asked for, as JSON values; empty for a file.
        answered: current rows by verdict: negative, positive, unknown.
        window_history: how good the answers of windows of equal length were, the current one last; empty for a file.
        value_words: nominal column -> code -> word.
        expected_by_component: the same, from the accuracy of each of the guard's components; None where it was not estimated.
        slices: slice analysis; None if it was not done.
    """

    at_s: float
    reference: str
    current: str
    model: str | None
    simulated: bool
    drift: DriftReport
    judgement: Judgement
    policy: AlarmPolicy
    ranking: tuple[RankedColumn, ...]
    overlays: Mapping[str, Overlay]
    expected: EstimatedPerformance | None
    performance: Performance | None
    alpha: float
    words: tuple[str, str]
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    stream: str = ""
    window: Mapping[str, Any] = field(default_factory=dict)
    answered: tuple[int, ...] = ()
    window_history: tuple[WindowPerformance, ...] = ()
    slices: SliceAnalysis | None = None
    expected_by_component: ComponentEstimate | None = None
    value_words: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def mature(self) -> bool:
        """Whether the outcomes that are to come have had the time to; nobody knows that of a file, where all there are count."""
        return not self.window_history or self.window_history[-1].mature

    @property
    def alarms(self) -> tuple[str, ...]:
        """What raised an alarm, in words."""
        return (*(self.describe(finding) for finding in self.judgement.alarms), *self._promise)

    @property
    def alarms_by_column(self) -> tuple[str, ...]:
        """The same with one line a column: first a promise that is broken, then the columns that matter most."""
        columns: dict[str, list[str]] = {item.column: [] for item in self.ranking}
        for finding in self.judgement.alarms:
            columns.setdefault(finding.column, []).append(self._changed(finding))
        return (*self._promise, *(f"{column}: {'; '.join(changes)}" for column, changes in columns.items() if changes))

    @property
    def _promise(self) -> tuple[str, ...]:
        if self.performance is not None and self.performance.promise is PromiseStatus.BROKEN:
            share = self.performance.false_negatives
            return (
                f"of the answers “{self.words[0]}” {percent(share.value)} were {self.words[1]} (at least {percent(share.low)}); "
                f"promised was at most {percent(self.alpha)}",
            )
        return ()

    @property
    def not_computed(self) -> tuple[str, ...]:
        """What could not be computed, and why."""
        problems = list(self.drift.problems)
        if not self.drift.problems:
            problems += [f"{column}, {about}: {reason}" for column, about, reason in self.drift.not_computed()]
        if self.expected is not None and self.expected.not_computed:
            problems.append(f"expected performance: {self.expected.not_computed}")
        if self.performance is not None:
            problems += [f"{what}: {why}" for what, why in self.performance.not_computed.items()]
        return (*problems, *(f"{what}: {why}" for what, why in self.failed.items()))

    @property
    def status(self) -> EvaluationStatus:
        """What it comes to."""
        return EvaluationStatus.ALARM if self.alarms else EvaluationStatus.NOT_COMPUTED if self.not_computed else EvaluationStatus.FINE

    @property
    def exit_code(self) -> int:
        """What a program that made it ends with."""
        return {EvaluationStatus.ALARM: ALARM, EvaluationStatus.NOT_COMPUTED: NOT_COMPUTED, EvaluationStatus.FINE: FINE}[self.status]

    @property
    def at(self) -> str:
        """When, ISO 8601, UTC."""
        return moment(self.at_s)

    def describe(self, finding: Finding) -> str:
        """A finding in words."""
        return f"{finding.column}: {self._changed(finding)}"

    def _changed(self, finding: Finding) -> str:
        column = next(column for column in self.drift.columns if column.column == finding.column)
        return what_changed(column, finding, self.value_words.get(finding.column, {}))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values; what is not a number is None."""
        values = {
            "at": self.at,
            "status": self.status.value,
            "exit_code": self.exit_code,
            "reference": self.reference,
            "current": self.current,
            "model": self.model,
            "stream": self.stream,
            "window": dict(self.window),
            "simulated": self.simulated,
            "alarms": list(self.alarms),
            "not_computed": list(self.not_computed),
            "notes": list(self.notes),
            "judgement": self.judgement.to_dict(),
            "drift": self.drift.to_dict(),
            "ranking": [item.to_dict() for item in self.ranking],
            "expected": None if self.expected is None else self.expected.to_dict(),
            "expected_by_component": None if self.expected_by_component is None else self.expected_by_component.to_dict(),
            "performance": None if self.performance is None else self.performance.to_dict(),
            "mature": self.mature,
            "answered": dict(zip(("negative", "positive", "unknown"), self.answered, strict=False)),
            "window_history": [period.to_dict() for period in self.window_history],
            "slices": None if self.slices is None else self.slices.to_dict(),
        }
        finite_values: dict[str, Any] = finite(values)
        return finite_values

    def tables(self) -> list[Table]:
        """As people read it."""
        title = {EvaluationStatus.ALARM: "ALARM", EvaluationStatus.NOT_COMPUTED: "NOT ALL WAS COMPUTED", EvaluationStatus.FINE: "No alarm"}[
            self.status
        ]
        rows = [("current", self.current), ("reference", self.reference), ("model", self.model or "none")]
        tables = [Table(f"{'SIMULATED DATA: ' if self.simulated else ''}{title}", ("", ""), tuple(rows))]
        for name, lines in (("Alarms", self.alarms), ("Not computed", self.not_computed), ("Notes", self.notes)):
            if lines:
                more = [f"... and {len(lines) - SHOWN_LINES} more in the report"] if len(lines) > SHOWN_LINES else []
                tables.append(Table(name, ("",), tuple((line,) for line in [*lines[:SHOWN_LINES], *more])))
        if self.drift.columns and not self.drift.problems:
            tables.append(self.column_table(SHOWN))
        if self.expected is not None or self.performance is not None:
            tables.append(self.performance_table())
        if self.window_history:
            tables.append(self.window_table(SHOWN_WINDOWS))
        if self.slices is not None and self.slices.drops:
            tables.append(self.slice_table(SHOWN_SLICES))
        return tables

    def column_table(self, most: int | None = None) -> Table:
        """What changed, by column, in the order of the ranking."""
        by_name = {column.column: column for column in self.drift.columns}
        findings: dict[str, list[Finding]] = {}
        for finding in self.judgement.findings:
            findings.setdefault(finding.column, []).append(finding)
        rows = []
        for item in self.ranking[:most]:
            column = by_name[item.column]
            column_findings = findings.get(item.column, [])
            p = min((finding.adjusted for finding in column_findings), default=math.nan)
            row = (
                item.column,
                state_of(column, column_findings),
                number(None if column.size is None else column.size),
                "-" if math.isnan(p) else f"{p:.2g}",
                f"{percent(column.missing[0])} to {percent(column.missing[1])}",
            )
            more = number((column.effects or {}).get("wasserstein")), NOTHING if item.importance is None else percent(item.importance)
            rows.append(row if most is not None else (*row, *more))
        left = len(self.ranking) - len(rows)
        title = "By column, what matters most first" + (f" ({left} more in the report)" if left else "")
        heads = ("column", "state", "distance", "p, adjusted", "missing", "shift (sd)", "importance")
        return Table(title, heads[:5] if most is not None else heads, tuple(rows))

    def performance_table(self) -> Table:
        """Expected and realised performance, side by side."""
        expected, real = self.expected, self.performance
        metrics = {
            "accuracy": "accuracy",
            "likelier class right": "likelier",
            "ROC AUC": "roc_auc",
            "false negatives so far": "false_negatives",
        }
        pairs = [(what, shown(getattr(expected, name, None)), shown(getattr(real, name, None))) for what, name in metrics.items()]
        rows = [
            ("different rows", NOTHING if expected is None else f"{expected.rows:,}", NOTHING if real is None else f"{real.rows:,}"),
            *pairs,
            *self._by_component(),
            (f"promise of at most {percent(self.alpha)}", "", NOTHING if real is None else real.promise.value),
            ("calibration gap", "", shown(None if real is None else real.gap)),
        ]
        heads = ("what", "expected", "with outcomes" if self.mature else "so far (IMMATURE)")
        return Table("Performance", heads, tuple(rows))

    def _by_component(self) -> list[tuple[str, str, str]]:
        """What the guard's components let expect, where the probabilities' word stands beside it."""
        by = self.expected_by_component
        if by is None:
            return []
        rows = [("accuracy, by component", shown(by.accuracy), ""), ("likelier, by component", shown(by.likelier), "")]
        return rows if by.unseen == 0 else [*rows, ("unknown components", percent(by.unseen), "")]

    def window_table(self, most: int | None = None) -> Table:
        """Performance of the last windows, the newest first; with `most`, in the columns that 80 characters hold."""
        periods = list(reversed(self.window_history))[:most]
        if most is not None:
            short = tuple(
                (
                    minute(period.end_s)[:16],
                    "mature" if period.mature else "immature",
                    f"{period.answers:,}",
                    f"{period.labelled:,}",
                    shown(period.accuracy),
                    percent(period.unknown.value),
                )
                for period in periods
            )
            return Table("Performance over time", ("until, UTC", "outcomes", "answers", "with", "accuracy", "unknown"), short)
        rows = tuple(
            (
                f"{minute(period.begin_s)[:16]} to {minute(period.end_s)[:16]}",
                "mature" if period.mature else "immature",
                f"{period.answers:,}",
                f"{period.labelled:,}",
                shown(period.accuracy),
                shown(period.false_negatives),
                percent(period.unknown.value),
            )
            for period in periods
        )
        heads = ("time, UTC", "outcomes", "answers", "with outcome", "accuracy", f"“{self.words[0]}” that are {self.words[1]}", "unknown")
        return Table("Performance over time", heads, rows)

    def slice_table(self, most: int | None = None) -> Table:
        """The worst slices, largest drop first; with `most`, in the columns that 80 characters hold."""
        drops = () if self.slices is None else self.slices.drops
        title = "Worst slices: largest drop in accuracy first" + (f" ({self.slices.source})" if self.slices else "")
        if most is not None:
            short = tuple(
                (f"{item.column} = {item.value}", percent(item.before), percent(item.now.value), "yes" if item.significant else "no")
                for item in drops[:most]
            )
            return Table(title, ("slice", "right before", "right now", "significant"), short)
        rows = tuple(
            (
                f"{item.column} = {item.value}",
                f"{percent(item.before)} of {item.reference_rows:,}",
                f"{percent(item.now.value)} of {item.rows:,}",
                f"{100 * item.fall:.1f} points",
                f"{item.p:.2g}",
                "more than chance" if item.significant else "may be chance",
            )
            for item in drops[:most]
        )
        return Table(title, ("slice", "right before", "right now", "drop", "p, adjusted", "so"), rows)


def moment(at_s: float) -> str:
    """A time, ISO 8601, UTC."""
    return datetime.fromtimestamp(int(at_s), UTC).isoformat(timespec="seconds")


def minute(at_s: float) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(int(at_s), UTC):%Y-%m-%d %H:%M} UTC"


def state_of(column: ColumnDrift, findings: Sequence[Finding]) -> str:
    """What is to be said of a column, in a word or two."""
    if any(finding.alarm for finding in findings):
        return "alarm"
    if column.not_computed:
        return "not computed"
    return "changed, little" if any(finding.significant for finding in findings) else "unchanged"


def what_changed(column: ColumnDrift, finding: Finding, words: Mapping[str, str]) -> str:
    """A finding in words."""
    effect = finding.check.effect
    if finding.check.span:
        return f"{finding.check.about}, in the last {finding.check.span}: {finding.check.measure} {number(effect)}"
    if finding.check.about == "missing":
        return f"missing in {percent(column.missing[1])} of the rows, was {percent(column.missing[0])}"
    if finding.check.about == "new values":
        named = ", ".join(words.get(item.value, repr(item.value)) for item in column.new[:3]) + (" ..." if len(column.new) > 3 else "")
        return f"{percent(effect)} of the values are new: {named or 'counted together, as values that nobody knows'}"
    if column.kind == "numeric":
        return f"shifted by {number(effect)} standard deviations of the reference (Wasserstein distance)"
    return f"total variation distance {number(effect)}"


def percent(share: float) -> str:
    """A share for people; never a rounded 0 or 100."""
    if math.isnan(share):
        return NOTHING
    if share in (0, 1):
        return f"{share:.0%}"
    return "<0.01%" if 0 < share < 0.0001 else ">99.99%" if 0.9999 < share < 1 else f"{share:.2%}"


def number(value: float | None) -> str:
    """A number for people."""
    return NOTHING if value is None or math.isnan(value) else "infinite" if math.isinf(value) else f"{value:.3g}"


def shown(estimate: Estimate | None) -> str:
    """An estimate with its interval."""
    if estimate is None or math.isnan(estimate.value):
        return NOTHING
    return f"{estimate.value:.4f} ({estimate.low:.4f}, {estimate.high:.4f})"


def finite(value: Any) -> Any:
    """JSON values; infinity as text, NaN as None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def overlays(reference: Profile, current: Profile, words: Mapping[str, Mapping[str, str]]) -> dict[str, Overlay]:
    """The distributions of the columns that both have values of.

    Args:
        reference: one table.
        current: the other.
        words: nominal column -> code -> word.
    """
    pictures = {}
    for name, old in reference.columns.items():
        new = current.columns.get(name)
        if new is None or not (old.present and new.present):
            continue
        if isinstance(old, NumericProfile) and isinstance(new, NumericProfile):
            pictures[name] = _numeric_overlay(old, new)
        elif isinstance(old, NominalProfile) and isinstance(new, NominalProfile):
            pictures[name] = _nominal_overlay(old, new, words.get(name, {}))
    return pictures


def _numeric_overlay(old: NumericProfile, new: NumericProfile) -> Overlay:
    ends = edges(old.histogram, MOST_BARS)
    p, q = shared_bins(old.histogram, new.histogram, MOST_BARS)
    texts = [f"{end:.4g}" for end in ends.tolist()]
    labels = (f"up to {texts[0]}", *(f"{low} to {high}" for low, high in pairwise(texts)), f"above {texts[-1]}")
    return Overlay(labels, tuple((p / p.sum()).tolist()), tuple((q / q.sum()).tolist()))


def _nominal_overlay(old: NominalProfile, new: NominalProfile, words: Mapping[str, str]) -> Overlay:
    names, a, b = tallied(old, new)
    p, q = a / a.sum(), b / b.sum()
    order = sorted(range(len(names)), key=lambda place: -max(p[place], q[place]))
    shown_places, rest = order[: MOST_BARS - 1], order[MOST_BARS - 1 :]
    labels = ["other" if names[place] is None else words.get(str(names[place]), str(names[place])) for place in shown_places]
    reference, current = [float(p[place]) for place in shown_places], [float(q[place]) for place in shown_places]
    if rest:
        labels, reference, current = [*labels, "others"], [*reference, float(p[rest].sum())], [*current, float(q[rest].sum())]
    return Overlay(tuple(labels), tuple(reference), tuple(current))

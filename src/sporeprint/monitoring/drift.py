"""What changed between two profiles: for each column the tests, how large the change is, and what could not be computed, by name."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sporeprint.common.counts import counted, number_of
from sporeprint.monitoring.data_profile import ColumnProfile, NominalProfile, NumericProfile, Profile
from sporeprint.stats import effect_sizes, two_sample
from sporeprint.stats.histogram import Float64, Histogram, Int64, common, middles, widths

#: Rows of either table below which nothing is compared.
LEAST_ROWS = 30
#: Values of a column, in either table, below which its values are not compared.
LEAST_VALUES = 5
#: Times `LEAST_VALUES` that have to be expected before too few are worth more than a note.
EXPECTED = 4
#: Bins of a numeric column for the distances between shares: parts of the reference of equal size.
BINS = 20
#: Values that a report names.
NAMED = 20

VALUES, NEW, MISSING = "values", "new values", "missing"


@dataclass(frozen=True, slots=True)
class Check:
    """One question about one column.

    Attributes:
        about: "values": are they distributed as before; "new values": are there values the reference does not have; "missing": are
            as many missing.
        p: probability of a difference at least as large, if nothing had changed.
        effect: how large it is, whatever the number of rows.
        measure: what that is.
        method: of the p-value.
        statistic: of the test.
        span: the period that was tested, where it is longer than the window: "7 days".
        between: probability by what earlier windows predict, which is part of `p`; None where too few are known.
    """

    about: str
    p: float
    effect: float
    measure: str
    method: str
    statistic: float
    span: str = ""
    between: float | None = None

    @property
    def question(self) -> str:
        """The question, with its period."""
        return f"{self.about}, {self.span}" if self.span else self.about


@dataclass(frozen=True, slots=True)
class ValueShare:
    """A nominal value that only one of the two tables has.

    Attributes:
        value: the value.
        rows: how often it occurs there.
        share: of the rows there that have a value.
    """

    value: str
    rows: int
    share: float


@dataclass(frozen=True)
class ColumnDrift:
    """What changed in one column.

    Attributes:
        column: its name.
        kind: numeric or nominal.
        values: values in the reference and in the current table.
        missing: share of rows without a value that can be used, in both: what is no number counts, too.
        invalid: current rows whose value is no finite number.
        checks: what was computed.
        effects: distances by name: `wasserstein` (of numbers, in the reference's standard deviations), `jensen_shannon`,
            `population_stability`, `total_variation`.
        not_computed: question -> why it was not answered.
        notes: what is odd, in words.
        new: values that only the current table has, the most frequent first.
        vanished: values that only the reference has.
    """

    column: str
    kind: str
    values: tuple[int, int]
    missing: tuple[float, float]
    invalid: int = 0
    checks: tuple[Check, ...] = ()
    effects: Mapping[str, float] | None = None
    not_computed: Mapping[str, str] | None = None
    notes: tuple[str, ...] = ()
    new: tuple[ValueShare, ...] = ()
    vanished: tuple[ValueShare, ...] = ()

    @property
    def size(self) -> float | None:
        """How large the change of its values is: the Jensen-Shannon distance, which all kinds of columns have."""
        return None if self.effects is None else self.effects["jensen_shannon"]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "effects": dict(self.effects or {}), "not_computed": dict(self.not_computed or {})}


@dataclass(frozen=True)
class DriftReport:
    """What changed between two tables.

    Attributes:
        rows: of the reference and of the current table.
        columns: what changed in each column.
        problems: why nothing could be compared at all; empty where something was.
    """

    rows: tuple[int, int]
    columns: tuple[ColumnDrift, ...]
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"rows": list(self.rows), "problems": list(self.problems), "columns": [column.to_dict() for column in self.columns]}

    def not_computed(self) -> Iterator[tuple[str, str, str]]:
        """Column, question and reason of everything that was not computed."""
        for column in self.columns:
            for about, reason in (column.not_computed or {}).items():
                yield column.column, about, reason


def drift(reference: Profile, current: Profile, *, least_rows: int = LEAST_ROWS, least_values: int = LEAST_VALUES) -> DriftReport:
    """Compare two tables, column by column. A column that only one of them has is named, as what was not computed.

    Args:
        reference: what the model learned from, or what else is to be as before.
        current: what there is now.
        least_rows: rows of either below which nothing is compared.
        least_values: values of a column, in either, below which they are not compared.
    """
    rows = reference.rows, current.rows
    problems = tuple(_problems(reference, current, least_rows))
    names = tuple(dict.fromkeys((*reference.columns, *current.columns)))
    if problems:
        return DriftReport(rows, tuple(_refused(name, reference, current, problems[0]) for name in names), problems)
    return DriftReport(rows, tuple(_column(name, reference, current, least_values) for name in names))


def _problems(reference: Profile, current: Profile, least: int) -> Iterator[str]:
    for which, profile in (("the reference", reference), ("the current table", current)):
        if profile.rows == 0:
            yield f"{which} has no rows"
        elif profile.rows < least:
            rows = number_of(profile.rows, "row")
            yield f"{which} has {rows}; at least {least} are needed to compare anything"


def _refused(name: str, reference: Profile, current: Profile, reason: str) -> ColumnDrift:
    here = reference.columns.get(name), current.columns.get(name)
    kinds = ["numeric" if isinstance(column, NumericProfile) else "nominal" for column in here if column is not None]
    values = tuple(0 if column is None else column.present for column in here)
    missing = tuple(_missing(column, profile.rows) for column, profile in zip(here, (reference, current), strict=True))
    return ColumnDrift(name, kinds[0], (values[0], values[1]), (missing[0], missing[1]), not_computed={VALUES: reason, MISSING: reason})


def _missing(column: ColumnProfile | None, rows: int) -> float:
    return column.missing / rows if column is not None and rows else math.nan


def _column(name: str, reference: Profile, current: Profile, least: int) -> ColumnDrift:
    old, new = reference.columns.get(name), current.columns.get(name)
    if old is None or new is None:
        lacking = "the reference" if old is None else "the current table"
        return _refused(name, reference, current, f"{lacking} has no column {name!r}")
    if isinstance(old, NumericProfile) and isinstance(new, NumericProfile):
        return _numeric(name, old, new, (reference.rows, current.rows), least)
    if isinstance(old, NominalProfile) and isinstance(new, NominalProfile):
        return _nominal(name, old, new, (reference.rows, current.rows), least)
    return _refused(name, reference, current, "numeric in one table, nominal in the other")


def _missing_check(old: ColumnProfile, new: ColumnProfile, rows: tuple[int, int]) -> Check:
    """Whether as many values are missing. What is no number counts as missing: the model sees none either way."""
    without = [column.missing + (column.invalid if isinstance(column, NumericProfile) else 0) for column in (old, new)]
    a, b = (np.array([count, total - count]) for count, total in zip(without, rows, strict=True))
    tested = two_sample.homogeneity(a, b)
    change = without[1] / rows[1] - without[0] / rows[0]
    return Check(MISSING, tested.p, abs(change), "change of the share", tested.method, tested.statistic)


def _too_few(old: ColumnProfile, new: ColumnProfile, least: int) -> str | None:
    """Why the values of a column cannot be compared; None if they can."""
    for which, column in (("the reference", old), ("the current table", new)):
        if column.present < least:
            values = number_of(column.present, "value") if column.present else "no value"
            return f"{which} has {values}; at least {least} are needed to compare them"
    return None


def _nearly_empty(old: ColumnProfile, new: ColumnProfile, rows: tuple[int, int], least: int) -> bool:
    """Whether so few values were to be expected, that it says nothing that there are too few to be compared."""
    return new.present < least and old.present / rows[0] * rows[1] < EXPECTED * least


def _both_empty(old: ColumnProfile, new: ColumnProfile) -> bool:
    return old.present == 0 and new.present == 0


def _numeric(name: str, old: NumericProfile, new: NumericProfile, rows: tuple[int, int], least: int) -> ColumnDrift:
    checks, notes = [_missing_check(old, new, rows)], []
    reason = _too_few(old, new, least)
    effects = None
    if new.invalid:
        notes.append(counted(new.invalid, "value is no finite number", "values are no finite numbers"))
    if _both_empty(old, new):
        reason = None
        notes.append("without a value in both tables")
    elif reason is not None and _nearly_empty(old, new, rows, least):
        notes.append(f"nearly empty: {reason}")
        reason = None
    elif reason is None:
        check, effects = _compared_numbers(old.histogram, new.histogram)
        checks.insert(0, check)
        notes += _odd_numbers(old.histogram, new.histogram)
    return ColumnDrift(
        name,
        "numeric",
        (old.present, new.present),
        ((old.missing + old.invalid) / rows[0], (new.missing + new.invalid) / rows[1]),
        new.invalid,
        tuple(checks),
        effects,
        None if reason is None else {VALUES: reason},
        tuple(notes),
    )


def _compared_numbers(old: Histogram, new: Histogram) -> tuple[Check, dict[str, float]]:
    keys, a, b = common(old, new)
    shift = max(old.shift, new.shift)
    tested = two_sample.kolmogorov_smirnov(a, b, binned=shift > 0)
    distance = effect_sizes.wasserstein(middles(keys, shift), a, b)
    # A constant has no spread to measure by; any other value is as far from it as can be.
    spread = old.deviation
    in_deviations = distance / spread if spread > 0 else (0.0 if distance == 0 else math.inf)
    p, q = shared_bins(old, new)
    effects = {
        "wasserstein": in_deviations,
        "jensen_shannon": effect_sizes.jensen_shannon(p, q),
        "population_stability": effect_sizes.population_stability(p, q),
        "total_variation": effect_sizes.total_variation(p, q),
        "largest_gap": tested.statistic,
        "largest_gap_error": tested.error,
        "wasserstein_error": effect_sizes.wasserstein_error(widths(keys, shift), a, b) / spread if spread > 0 else 0.0,
    }
    return Check(VALUES, tested.p, in_deviations, "Wasserstein, in sd", f"Kolmogorov-Smirnov, {tested.method}", tested.statistic), effects


def edges(reference: Histogram, bins: int = BINS) -> Float64:
    """Ends of bins that hold equally many numbers of the reference, as far as its values allow; ascending."""
    return np.unique(reference.quantiles(np.arange(1, bins) / bins))


def shared_bins(old: Histogram, new: Histogram, bins: int = BINS) -> tuple[Int64, Int64]:
    """The counts of both in the bins of the first; below and above its quantiles are bins, too."""
    ends = edges(old, bins)
    return old.binned(ends), new.binned(ends)


def _odd_numbers(old: Histogram, new: Histogram) -> Iterator[str]:
    if len(new.keys) == 1:
        same = len(old.keys) == 1 and float(old.values[0]) == float(new.values[0])
        yield f"constant: {float(new.values[0]):g}{', as in the reference' if same else ''}"
    elif len(old.keys) == 1:
        yield f"was constant in the reference: {float(old.values[0]):g}"
    outside = new.counts[(new.values < old.values[0]) | (new.values > old.values[-1])].sum()
    if outside:
        yield f"{number_of(int(outside), 'value')} outside the reference's {float(old.values[0]):g} to {float(old.values[-1]):g}"
    if not (old.exact and new.exact):
        yield f"binned: a bin is at most 1/{2 ** (52 - max(old.shift, new.shift)):,} of its value wide"


def _nominal(name: str, old: NominalProfile, new: NominalProfile, rows: tuple[int, int], least: int) -> ColumnDrift:
    checks, notes = [_missing_check(old, new, rows)], []
    reason = _too_few(old, new, least)
    effects = None
    fresh: tuple[ValueShare, ...] = ()
    gone: tuple[ValueShare, ...] = ()
    if reason is None and (old.other or new.other) and not (old.known or new.known):
        reason = "more different values than can be told apart; if it identifies the row, it is no feature"
    if _both_empty(old, new):
        reason = None
        notes.append("without a value in both tables")
    elif reason is not None and _nearly_empty(old, new, rows, least):
        notes.append(f"nearly empty: {reason}")
        reason = None
    elif reason is None:
        checks_of_names, effects = _compared_names(old, new)
        checks[:0] = checks_of_names
        if VALUES not in {check.about for check in checks_of_names}:
            notes.append("its values are all too rare to be compared in so few rows")
        fresh, gone = _only(new, old), _only(old, new)
        if len(new.counts) == 1 and not new.other:
            same = old.counts.keys() == new.counts.keys() and not old.other
            notes.append(f"constant: {next(iter(new.counts))}{', as in the reference' if same else ''}")
        if new.other:
            notes.append(f"{number_of(new.other, 'row')} with one of more values than can be told apart: compared as one value")
    return ColumnDrift(
        name,
        "nominal",
        (old.present, new.present),
        (old.missing / rows[0], new.missing / rows[1]),
        0,
        tuple(checks),
        effects,
        _unanswered(reason, checks),
        tuple(notes),
        fresh,
        gone,
    )


def _unanswered(reason: str | None, checks: list[Check]) -> dict[str, str] | None:
    """The questions without an answer. That nothing is new needs no check."""
    if reason is None:
        return None
    compared = any(check.about != MISSING for check in checks)
    return {VALUES: reason} if compared else {VALUES: reason, NEW: reason}


def tallied(old: NominalProfile, new: NominalProfile) -> tuple[tuple[str | None, ...], Int64, Int64]:
    """The values of either, None for those that are counted together, and the counts of both."""
    names: list[str | None] = [*sorted({*old.counts, *new.counts})]
    a, b = ([column.counts.get(str(name), 0) for name in names] for column in (old, new))
    if old.other or new.other:
        names, a, b = [*names, None], [*a, old.other], [*b, new.other]
    return tuple(names), np.array(a, dtype=np.int64), np.array(b, dtype=np.int64)


def _compared_names(old: NominalProfile, new: NominalProfile) -> tuple[list[Check], dict[str, float]]:
    _, a, b = tallied(old, new)
    alike = two_sample.homogeneity(a, b)
    fresh = two_sample.new_values(a, b)
    effects = {
        "jensen_shannon": effect_sizes.jensen_shannon(a, b),
        "population_stability": effect_sizes.population_stability(a, b),
        "total_variation": effect_sizes.total_variation(a, b),
    }
    checks = []
    if alike.cells > 1 or len(a) == 1:
        checks.append(Check(VALUES, alike.p, effects["total_variation"], "total variation", alike.method, alike.statistic))
    if fresh.cells:
        checks.append(Check(NEW, fresh.p, fresh.statistic, "share of rows", fresh.method, fresh.statistic))
    return checks, effects


def _only(here: NominalProfile, there: NominalProfile) -> tuple[ValueShare, ...]:
    """The most frequent values that one table has and the other has not."""
    ordered = sorted(
        ((rows, value) for value, rows in here.counts.items() if value not in there.counts), key=lambda item: (-item[0], item[1])
    )
    return tuple(ValueShare(value, rows, rows / here.present) for rows, value in ordered[:NAMED])

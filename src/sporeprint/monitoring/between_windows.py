"""How much windows differ from each other anyway, learnt from earlier windows: days, weekdays, and the sampling of their rows.

A test of two samples asks whether rows are alike. Rows of different days never quite are: each day has an effect of its own. So a
window has to pass a second test as well: its location, spread and shares have to lie outside the range that earlier windows predict.
That is Student's t test of a new observation, with a mean for each day of the week where windows are days. Its variance is the sum of
what the sampling of rows explains and of what lies between windows (the method of moments for a random effect; Searle, Casella &
McCulloch 1992). Periods of 3, 7 and 28 windows are tested beside the last one; all share one budget of false alarms.

Assumed: effects of different days are independent and about normal. Where neighbouring days are alike (autocorrelation), the variance
of longer periods is enlarged by what the residuals show.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from sporeprint.monitoring.data_profile import NominalProfile, NumericProfile, Profile
from sporeprint.monitoring.drift import LEAST_ROWS, MISSING, NEW, VALUES, Check, ColumnDrift, DriftReport, drift, edges, tallied
from sporeprint.stats.histogram import Float64, Int64
from sporeprint.stats.special import ndtri, stdtr

#: Earlier windows that are needed before their differences are known well enough, and the most that are used: 4 and 8 weeks of days.
LEAST_WINDOWS, MOST_WINDOWS = 28, 56
#: Lengths, in windows, of the periods that are tested together.
PERIODS = (1, 3, 7, 28)
#: Numbers from which on the test between windows is exact enough to decide alone, and the p-value of rows that differ clearly.
MANY, CLEARLY = 500, 0.001
#: Days of a week; and how often each has to occur before it has a mean of its own.
WEEK, LEAST_OF_A_DAY = 7, 3
#: Values of a nominal column that are followed one by one.
FOLLOWED = 19
#: Shares of the error that the location, the spread, and all bins of a numeric column together may make.
LOCATION, SPREAD, BINS = 0.5, 0.25, 0.25


@dataclass(frozen=True)
class ColumnCounts:
    """A column of a window, in the reference's bins.

    Attributes:
        values: int64 [k], rows by bin (numeric), or by value, the rest together (nominal).
        missing: rows without a value that can be used.
        new: rows with a value that the reference does not have.
    """

    values: Int64
    missing: int
    new: int

    def __add__(self, other: "ColumnCounts") -> "ColumnCounts":
        return ColumnCounts(self.values + other.values, self.missing + other.missing, self.new + other.new)


@dataclass(frozen=True)
class EarlierWindow:
    """A window before the current one.

    Attributes:
        age: how many windows before the current one it is: 1 is the one directly before.
        end_s: its end, in seconds since 1970.
        profile: its columns.
        counts: its columns in the reference's bins.
    """

    age: int
    end_s: float
    profile: Profile
    counts: Mapping[str, ColumnCounts]


@dataclass(frozen=True)
class EarlierWindows:
    """The windows before the current one, in any order; windows without rows are left out.

    Attributes:
        windows: the windows.
        daily: whether windows are days: then there are days of the week, and longer periods are tested.
    """

    windows: tuple[EarlierWindow, ...] = ()
    daily: bool = False


@dataclass(frozen=True)
class _Components:
    """The numbers of a column, in earlier windows and in the tested period, which is the last row.

    Attributes:
        about: [c], question of the check that each belongs to.
        weights: float64 [c], share of the check's error that each may make.
        values: float64 [t + 1, c].
        per_row: float64 [c], variance that one row adds.
        rows: float64 [t + 1, c], rows that each value is made from.
    """

    about: tuple[str, ...]
    weights: Float64
    values: Float64
    per_row: Float64
    rows: Float64


@dataclass(frozen=True)
class _Design:
    """Which windows predict which.

    Attributes:
        ages: int64 [t], ages of the earlier windows.
        days: float64 [t, d], 1 where an earlier window is of a day of the week; d is 1 where these are not told apart.
        shares: float64 [k], shares of the rows of the tested period by window.
        own_days: float64 [k, d], the days of the tested windows.
    """

    ages: Int64
    days: Float64
    shares: Float64
    own_days: Float64


def column_counts(reference: Profile, window: Profile) -> dict[str, ColumnCounts]:
    """A window in the bins of the reference; columns that both have, of one kind."""
    counts: dict[str, ColumnCounts] = {}
    for name, old in reference.columns.items():
        new = window.columns.get(name)
        if isinstance(old, NumericProfile) and isinstance(new, NumericProfile) and old.present:
            counts[name] = ColumnCounts(new.histogram.binned(edges(old.histogram)), new.missing + new.invalid, 0)
        elif isinstance(old, NominalProfile) and isinstance(new, NominalProfile) and old.present:
            counts[name] = _nominal_counts(old, new)
    return counts


def _nominal_counts(old: NominalProfile, new: NominalProfile) -> ColumnCounts:
    followed = sorted(old.counts, key=lambda value: (-old.counts[value], value))[:FOLLOWED]
    each = [new.counts.get(value, 0) for value in followed]
    _, a, b = tallied(old, new)
    return ColumnCounts(np.array([*each, new.present - sum(each)], dtype=np.int64), new.missing, int(b[a == 0].sum()))


def drift_between_windows(
    reference: Profile, current: Profile, earlier: EarlierWindows | None, *, alarms: Mapping[str, float], least_rows: int = LEAST_ROWS
) -> tuple[DriftReport, str | None]:
    """Compare the current window with the reference, and with what earlier windows predict.

    Args:
        reference: what the rows are compared with.
        current: the current window.
        earlier: the windows before it; None: rows are taken as alike, as those of two files.
        alarms: name of a check -> since when its alarm is on, in seconds since 1970: windows from then on predict nothing for it.
        least_rows: rows of a window below which it is not used.

    Returns:
        the report, in which a check's p-value is the larger one of both tests; and a note on what the promise covers.
    """
    report = drift(reference, current, least_rows=least_rows)
    if report.problems or earlier is None:
        return report, None
    recent = [window for window in earlier.windows if window.profile.rows >= least_rows and window.age <= MOST_WINDOWS]
    usable = sorted(recent, key=lambda window: window.age)
    if len(usable) < LEAST_WINDOWS:
        return report, (
            f"{_windows(len(usable))} of the {LEAST_WINDOWS} that are needed to learn how much windows differ: until then the false-alarm "
            "promise holds only if windows differ by chance alone"
        )
    counts = column_counts(reference, current)
    columns = {column.column: column for column in report.columns}
    longest, profile, used = 1, current, 0
    for length in PERIODS if earlier.daily else PERIODS[:1]:
        tested = [window for window in usable if window.age < length]
        before = [window for window in usable if window.age >= length]
        if len(before) < LEAST_WINDOWS:
            break
        longest = length
        for window in tested[used:]:
            profile += window.profile.only(current.columns.keys())
        used = len(tested)
        period = report if length == 1 else drift(reference, profile, least_rows=least_rows)
        for column in period.columns:
            checks = tuple(_checks(column, counts, current.rows, tested, before, earlier.daily, length, alarms))
            known = columns[column.column]
            columns[column.column] = replace(known, checks=checks if length == 1 else (*known.checks, *checks))
    note = f"{_windows(len(usable))} say how much windows differ anyway; an alarm has to be outside of that, too"
    more = (
        f"; the last {', '.join(str(length) for length in PERIODS if 1 < length <= longest)} days are tested as well" if longest > 1 else ""
    )
    return replace(report, columns=tuple(columns.values())), note + more


def _windows(count: int) -> str:
    return "1 earlier window" if count == 1 else f"{count} earlier windows"


def _checks(
    column: ColumnDrift,
    counts: Mapping[str, ColumnCounts],
    rows: int,
    tested: Sequence[EarlierWindow],
    before: Sequence[EarlierWindow],
    daily: bool,
    length: int,
    alarms: Mapping[str, float],
) -> Iterator[Check]:
    """The checks of a column of a period, each with the larger of its two p-values."""
    name, span = column.column, "" if length == 1 else f"{length} days"
    known = [window for window in before if name in window.counts]
    by_start: dict[float, dict[str, float]] = {}
    for check in column.checks:
        dated = replace(check, span=span)
        since = alarms.get(f"{name}: {dated.question}", math.inf)
        if since not in by_start:
            # The window that raised the alarm, and later ones, are what the alarm is about.
            usable = known if math.isinf(since) else [window for window in known if window.end_s <= since - _step(before)]
            enough = name in counts and len(usable) >= LEAST_WINDOWS
            by_start[since] = _between(name, counts[name], rows, tested, usable, daily) if enough else {}
        between = by_start[since].get(check.about)
        yield dated if between is None else replace(dated, p=_both(column, check, between), between=between)


def _both(column: ColumnDrift, check: Check, between: float) -> float:
    """The p-value of both tests. Means of many numbers are normal: there the rows have to differ clearly, and windows decide the rest."""
    many = column.kind == "numeric" and check.about == VALUES and min(column.values) >= MANY
    return between if many and check.p <= CLEARLY else max(check.p, between)


def _step(windows: Sequence[EarlierWindow]) -> float:
    """Seconds from one window to the next."""
    first, last = min(windows, key=lambda item: item.age), max(windows, key=lambda item: item.age)
    return (first.end_s - last.end_s) / max(1, last.age - first.age)


def _between(
    name: str, counts: ColumnCounts, rows: int, tested: Sequence[EarlierWindow], earlier: Sequence[EarlierWindow], daily: bool
) -> dict[str, float]:
    """Question -> probability of a period as far from its prediction, if it is like the earlier windows."""
    total = sum((window.counts[name] for window in tested if name in window.counts), counts)
    components = _components([*(window.counts[name] for window in earlier), total])
    p = np.minimum(1.0, _p(components, _design(rows, tested, earlier, daily)) / components.weights)
    answers: dict[str, float] = {}
    for about, value in zip(components.about, p.tolist(), strict=True):
        answers[about] = min(value, answers.get(about, 1.0))
    return answers


def _design(rows: int, tested: Sequence[EarlierWindow], earlier: Sequence[EarlierWindow], daily: bool) -> _Design:
    ages = np.array([window.age for window in earlier], dtype=np.int64)
    own = np.array([0, *(window.age for window in tested)], dtype=np.int64) % WEEK
    often = np.bincount(ages % WEEK, minlength=WEEK)
    sizes = np.array([rows, *(window.profile.rows for window in tested)], dtype=np.float64)
    apart = daily and often.min() >= LEAST_OF_A_DAY
    days, own_days = (np.eye(WEEK)[ages % WEEK], np.eye(WEEK)[own]) if apart else (np.ones((len(ages), 1)), np.ones((len(own), 1)))
    return _Design(ages, days, sizes / sizes.sum(), own_days)


def _components(counts: Sequence[ColumnCounts]) -> _Components:
    """The numbers that are followed: location, spread and bins, or shares; new values; missing values. The tested period comes last."""
    values = np.array([item.values for item in counts], dtype=np.float64)
    missing, new = (np.array([getattr(item, name) for item in counts], dtype=np.float64) for name in ("missing", "new"))
    present = values.sum(axis=1)
    filled, bins = np.maximum(present, 1.0), values.shape[1]
    pooled = values.sum(axis=0) / max(1.0, float(values.sum()))
    scores = _scores(pooled)
    shares = _arcsine(np.column_stack([values, new]), filled[:, np.newaxis])
    lost = _arcsine(missing, np.maximum(present + missing, 1.0))
    about = [VALUES] * bins + [NEW, MISSING]
    weights = [(BINS if len(scores) else 1.0) / bins] * bins + [1.0, 1.0]
    per_row = [0.25] * (bins + 2)
    means = [values @ score / filled for score in scores]
    variances = [float(pooled @ score**2 - (pooled @ score) ** 2) for score in scores]
    return _Components(
        about=(*about, *([VALUES] * len(scores))),
        weights=np.array([*weights, *(LOCATION, SPREAD)[: len(scores)]]),
        values=np.column_stack([shares, lost, *means]),
        per_row=np.array([*per_row, *variances]),
        rows=np.column_stack([*[filled] * (bins + 1), np.maximum(present + missing, 1.0), *[filled] * len(scores)]),
    )


def _arcsine(counts: Float64, rows: Float64) -> Float64:
    """Shares on the scale on which the variance of a row is 1/4 whatever the share (Anscombe 1948)."""
    return np.arcsin(np.sqrt((counts + 0.375) / (rows + 0.75)))


def _scores(shares: Float64) -> tuple[Float64, ...]:
    """Normal scores of ordered bins, and their squares; none where there are no two bins with rows."""
    if np.count_nonzero(shares) < 2:
        return ()
    middles = np.clip(np.cumsum(shares) - shares / 2, 1e-6, 1 - 1e-6)
    score = np.array([float(ndtri(value)) for value in middles])
    return score, score**2


def _p(components: _Components, design: _Design) -> Float64:
    """Probability of a value as far from its prediction, if the tested windows are like the earlier ones (two-sided): float64 [c]."""
    earlier, current, days = components.values[:-1], components.values[-1], design.days
    often = days.sum(axis=0)
    means = days.T @ earlier / often[:, np.newaxis]
    residuals = earlier - days @ means
    freedom = len(earlier) - len(often)
    sampling = components.per_row / components.rows[:-1]
    between = np.maximum(0.0, (residuals**2).sum(axis=0) / freedom - sampling.mean(axis=0))
    weights = design.shares @ design.own_days
    predicted = weights**2 / often
    # A mean of several windows varies less than one of them, unless neighbours are alike.
    several = float(design.shares @ design.shares) * (_inflation(residuals, design.ages) if len(design.shares) > 1 else 1.0)
    noise = predicted @ (days.T @ sampling / often[:, np.newaxis])
    variance = between * (several + predicted.sum()) + components.per_row / components.rows[-1] + noise
    distance = np.abs(current - weights @ means)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(distance > 0, distance / np.sqrt(variance), 0.0)
    return np.array([min(1.0, 2 * float(stdtr(freedom, -value))) for value in t])


def _inflation(residuals: Float64, ages: Int64) -> Float64:
    """By how much the variance of a mean is larger because neighbours are alike: (1 + r) / (1 - r) for a correlation of r; [c]."""
    order = np.argsort(ages)
    ordered = residuals[order]
    neighbours = np.flatnonzero(np.diff(ages[order]) == 1)
    if not len(neighbours):
        return np.ones(residuals.shape[1])
    total = np.maximum((ordered**2).mean(axis=0), 1e-300)
    correlation = np.clip((ordered[neighbours] * ordered[neighbours + 1]).mean(axis=0) / total, 0.0, 0.9)
    return np.asarray((1 + correlation) / (1 - correlation))

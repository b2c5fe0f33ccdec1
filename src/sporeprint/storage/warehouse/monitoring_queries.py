"""What the monitor asks the warehouse: counts by hour where they are enough, else the answers themselves, page by page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sporeprint.errors import StorageError
from sporeprint.monitoring.data_profile import ColumnProfile, NominalProfile, NumericProfile, Profile
from sporeprint.monitoring.windows import HOUR_US, Slice, Window
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema, Kind
from sporeprint.stats.bins import PER_OCTAVE, unit
from sporeprint.stats.histogram import Histogram
from sporeprint.storage.warehouse import star_schema
from sporeprint.storage.warehouse.aggregation import SHARES
from sporeprint.storage.warehouse.feature_rows import feature_columns
from sporeprint.storage.warehouse.protocol import Reader

#: Answers that are read at a time: what bounds the memory.
PAGE_ROWS = 25_000
#: Bits that the warehouse's bins of numbers leave out, see `histogram.Histogram`.
SHIFT = 52 - (PER_OCTAVE.bit_length() - 1)
#: Hours of outcomes that say how long outcomes take: ninety days.
DELAY_HOURS = 90 * 24

#: What a page has beside the columns of `frame`.
_PAGE = {"created_us": pl.Int64, "row_hash": pl.Int64}

#: hour -> how many.
ByHour = Mapping[int, int]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PredictionScope:
    """Whose answers.

    Attributes:
        model: name of the model.
        version: its version.
        test_id: of an A/B test; None: whether in a test or not.
        arm: a or b of it.
    """

    model: str
    version: int
    test_id: str | None = None
    arm: str | None = None

    def where(self, table: str = "") -> str:
        """As a condition."""
        of = f"{table}." if table else ""
        conditions = [f"{of}model = {text(self.model)}", f"{of}version = {int(self.version)}"]
        conditions += [] if self.test_id is None else [f"{of}test_id = {text(self.test_id)}", f"{of}arm = {text(str(self.arm))}"]
        return " AND ".join(conditions)


def text(value: str) -> str:
    """A text of SQL, the same for both engines.

    Raises:
        StorageError: it has a backslash, which one of them takes for more than it is.
    """
    if "\\" in value:
        raise StorageError(f"{value!r} has a backslash; no model and no test can have such a name")
    return "'" + value.replace("'", "''") + "'"


def between(first_us: int, last_us: int, table: str = "") -> str:
    """Hours from one on, before another, as a condition."""
    of = f"{table}." if table else ""
    return f"{of}hour_us >= {int(first_us)} AND {of}hour_us < {int(last_us)}"


def among(hours: Sequence[int], table: str = "") -> str:
    """These hours, as a condition."""
    of = f"{table}." if table else ""
    return f"{of}hour_us IN ({', '.join(str(int(hour)) for hour in hours) or '-2'})"


def spread(by_hour: ByHour, most: int) -> list[int]:
    """Hours, evenly spread, that together hold about so many: all of them where there are no more."""
    ordered = sorted(by_hour)
    total = sum(by_hour.values())
    if total <= most:
        return ordered
    hours_taken, held, passed = [], 0.0, 0
    for hour in ordered:
        passed += by_hour[hour]
        # As much as the hours so far may have of it.
        if held + by_hour[hour] / 2 <= most * passed / total:
            hours_taken.append(hour)
            held += by_hour[hour]
    return hours_taken or ordered[-1:]


# --- counts by hour ----------------------------------------------------------------------------------------------------


def verdicts_by_hour(reader: Reader, cell: PredictionScope, first_us: int, last_us: int) -> list[tuple[int, str, int]]:
    """Hour, verdict, and how many answers."""
    where = f"{cell.where()} AND {between(first_us, last_us)}"
    sql = f"SELECT hour_us, verdict, SUM(answers) FROM hour_answers WHERE {where} GROUP BY hour_us, verdict"  # noqa: S608
    return [(int(hour), verdict, int(count)) for hour, verdict, count in reader.query(sql).rows]


def outcomes_by_hour(reader: Reader, cell: PredictionScope, first_us: int, last_us: int) -> list[tuple[int, str, int]]:
    """Hour, verdict, and how many answers have an outcome."""
    by = "hour_us, verdict"
    sql = f"SELECT {by}, SUM(answers) FROM hour_outcomes WHERE {cell.where()} AND {between(first_us, last_us)} GROUP BY {by}"  # noqa: S608
    return [(int(hour), verdict, int(count)) for hour, verdict, count in reader.query(sql).rows]


def profile_of_hours(
    reader: Reader, cell: PredictionScope, first_us: int, last_us: int, schema: DatasetSchema, known: Mapping[str, frozenset[str]]
) -> tuple[Profile, tuple[str, ...]]:
    """The profile of a period of whole hours, and columns that are counted there and not in the contract.

    Args:
        reader: one state of the warehouse.
        cell: whose answers.
        first_us: the first hour.
        last_us: the first hour after it.
        schema: the contract.
        known: nominal column -> values that are counted by name.
    """
    by = "feature, kind, value, low, high"
    sql = f"SELECT {by}, SUM(answers) FROM hour_features WHERE {cell.where()} AND {between(first_us, last_us)} GROUP BY {by}"  # noqa: S608
    cells: dict[str, list[tuple[Any, ...]]] = {}
    for feature, *rest in reader.query(sql).rows:
        cells.setdefault(feature, []).append(tuple(rest))
    rows = sum(count for _, _, count in verdicts_by_hour(reader, cell, first_us, last_us))
    columns = _columns(cells, schema, known)
    extra = tuple(sorted(set(cells) - set(columns)))
    return Profile(rows, columns), extra


def profiles_of_windows(
    reader: Reader,
    scope: PredictionScope,
    window: Window,
    step_us: int,
    number: int,
    schema: DatasetSchema,
    known: Mapping[str, frozenset[str]],
) -> dict[int, Profile]:
    """The profiles of the windows before a window of whole hours, with their verdicts: how many steps before -> profile.

    Args:
        reader: one state of the warehouse.
        scope: whose answers.
        window: the window.
        step_us: time from the begin of one window to the next, in microseconds: at least its length.
        number: how many windows before it.
        schema: the contract.
        known: nominal column -> values that are counted by name.
    """
    begin, first = window.begin_us, window.begin_us - number * step_us
    age = f"FLOOR(({begin} - hour_us + {step_us - HOUR_US}) / {step_us})"
    inside = f"MOD(hour_us - {first}, {step_us}) < {window.length_us}"
    where = f"{scope.where()} AND {between(first, begin)} AND {inside}"
    by = "feature, kind, value, low, high"
    cells: dict[int, dict[str, list[tuple[Any, ...]]]] = {}
    for row in reader.query(f"SELECT {age}, {by}, SUM(answers) FROM hour_features WHERE {where} GROUP BY {age}, {by}").rows:  # noqa: S608
        cells.setdefault(int(row[0]), {}).setdefault(row[1], []).append(tuple(row[2:]))
    verdicts: dict[int, dict[str, int]] = {}
    for row in reader.query(f"SELECT {age}, verdict, SUM(answers) FROM hour_answers WHERE {where} GROUP BY {age}, verdict").rows:  # noqa: S608
        verdicts.setdefault(int(row[0]), {})[row[1]] = int(row[2])
    profiles: dict[int, Profile] = {}
    for steps, counts in verdicts.items():
        columns = _columns(cells.get(steps, {}), schema, known)
        profiles[steps] = Profile(
            sum(counts.values()), {**columns, "verdict": NominalProfile(counts, known=frozenset(verdict_words(schema)))}
        )
    return profiles


def _columns(
    cells: Mapping[str, Sequence[tuple[Any, ...]]], schema: DatasetSchema, known: Mapping[str, frozenset[str]]
) -> dict[str, ColumnProfile]:
    """Counted columns, of those that the contract has."""
    columns: dict[str, ColumnProfile] = {}
    for name, rows in cells.items():
        if name in SHARES:
            columns[name] = _shares(rows)
        elif name in schema.columns:
            columns[name] = _column(rows, schema.columns[name].kind, known.get(name, frozenset()))
    return columns


def first_hour(reader: Reader, scope: PredictionScope) -> int | None:
    """The hour of the first answer in a scope; None where there is none."""
    hour = reader.query(f"SELECT MIN(hour_us) FROM hour_answers WHERE {scope.where()}").rows[0][0]  # noqa: S608
    return None if hour is None else int(hour)


def _column(cells: Sequence[tuple[Any, ...]], kind: Kind, known: frozenset[str]) -> ColumnProfile:
    kinds = {cell[0] for cell in cells}
    # What it was counted as decides: the contract may have changed since.
    numeric = kind is not Kind.NOMINAL if not kinds & {"number", "invalid", "value", "unseen"} else bool(kinds & {"number", "invalid"})
    sums = {name: sum(int(cell[4]) for cell in cells if cell[0] == name) for name in ("missing", "absent", "invalid", "unseen")}
    without = sums["missing"] + sums["absent"]
    if numeric:
        histogram, broken = _histogram(cells)
        return NumericProfile(histogram, without, sums["invalid"] + broken)
    counts = {str(cell[1]): int(cell[4]) for cell in cells if cell[0] == "value"}
    return NominalProfile(counts, without, sums["unseen"], known | frozenset(counts))


def _histogram(cells: Sequence[tuple[Any, ...]]) -> tuple[Histogram, int]:
    """The numbers, and how many of them are none."""
    numbers = [(cell[2], cell[3], int(cell[4])) for cell in cells if cell[0] == "number"]
    good = [cell for cell in numbers if np.isfinite(cell[0]) and np.isfinite(cell[1])]
    low, high = (np.array([cell[place] for cell in good], dtype=np.float64) for place in (0, 1))
    counts = np.array([cell[2] for cell in good], dtype=np.int64)
    return Histogram.of_bins(low, high, counts, SHIFT), sum(cell[2] for cell in numbers) - int(counts.sum())


def _shares(cells: Sequence[tuple[Any, ...]]) -> NumericProfile:
    """Numbers from 0 to 1, each as the middle of its bin."""
    numbers = [(cell[2], cell[3], int(cell[4])) for cell in cells if cell[0] == "number"]
    good = [cell for cell in numbers if cell[0] is not None and np.isfinite(cell[0]) and np.isfinite(cell[1])]
    middle = np.array([(cell[0] + cell[1]) / 2 for cell in good], dtype=np.float64)
    counts = np.array([cell[2] for cell in good], dtype=np.int64)
    without = sum(int(cell[4]) for cell in cells if cell[0] == "missing")
    return NumericProfile(Histogram.of_bins(middle, middle, counts, 0), without, sum(cell[2] for cell in numbers) - int(counts.sum()))


def as_counted(profile: Profile, known: Mapping[str, frozenset[str]]) -> Profile:
    """A profile as the warehouse would have counted it: numbers in its bins, values that training did not see together.

    Args:
        profile: of rows, exact.
        known: nominal column -> the values seen in training.
    """
    columns: dict[str, ColumnProfile] = dict(profile.columns)
    for name, column in profile.columns.items():
        if isinstance(column, NumericProfile) and name in SHARES:
            low, high = unit(column.histogram.values)
            middle = (low + high) / 2
            columns[name] = NumericProfile(Histogram.of_bins(middle, middle, column.histogram.counts, 0), column.missing, column.invalid)
        elif isinstance(column, NumericProfile):
            columns[name] = replace(column, histogram=column.histogram.coarser(SHIFT))
        elif isinstance(column, NominalProfile) and name in known:
            stored_metrics = {value: rows for value, rows in column.counts.items() if value in known[name]}
            other = column.other + sum(column.counts.values()) - sum(stored_metrics.values())
            columns[name] = NominalProfile(stored_metrics, column.missing, other, column.known | known[name])
    return Profile(profile.rows, columns, profile.unreadable)


def future_predictions(reader: Reader, cell: PredictionScope, now_us: int) -> int:
    """Answers that are dated in hours that have not begun."""
    sql = f"SELECT SUM(answers) FROM hour_answers WHERE {cell.where()} AND hour_us > {int(now_us)}"  # noqa: S608
    return int(reader.query(sql).rows[0][0] or 0)


def newest_hour(reader: Reader, now_us: int) -> int | None:
    """The last hour of which the warehouse has any answer, whoever gave it."""
    hour = reader.query(f"SELECT MAX(hour_us) FROM hour_answers WHERE hour_us <= {int(now_us)}").rows[0][0]  # noqa: S608
    return None if hour is None else int(hour)


# --- answers -------------------------------------------------------------------------------------------------------------


def delays(reader: Reader, now_us: int, most: int) -> tuple[Int64, Int64]:
    """How many outcomes came after so many hours, and of answers given so many hours ago; of the last ninety days, all models."""
    now = now_us - now_us % HOUR_US
    where = f"{between(now - DELAY_HOURS * HOUR_US, now + HOUR_US)}"
    by_hour = {
        int(hour): int(count)
        for hour, count in reader.query(f"SELECT hour_us, SUM(answers) FROM hour_outcomes WHERE {where} GROUP BY hour_us").rows  # noqa: S608
    }
    where = f"revision = 1 AND {among(spread(by_hour, most))}"
    by = f"hour_us, FLOOR((recorded_us - hour_us) / {HOUR_US})"
    counts = reader.query(f"SELECT {by}, COUNT(*) FROM fact_outcome WHERE {where} GROUP BY {by}").rows  # noqa: S608
    ages, waited = np.zeros(DELAY_HOURS + 1, dtype=np.int64), np.zeros(DELAY_HOURS + 1, dtype=np.int64)
    for hour, delay, count in counts:
        age = (now - int(hour)) // HOUR_US
        ages[age] += int(count)
        waited[min(max(int(delay), 0), age)] += int(count)
    return waited, ages


def pages(
    reader: Reader, cell: PredictionScope, span: Window, by_hour: ByHour, schema: DatasetSchema
) -> Iterator[tuple[pl.DataFrame, list[str]]]:
    """The answers of a window, the newest first, page by page: the columns of `frame`, `created_us` and `row_hash`; and their ids."""
    for first, last in _runs(by_hour):
        upto, skip = span.end_us - 1, 0
        while True:
            where = (
                f"{cell.where()} AND {between(first, last + HOUR_US)} AND created_us >= {int(span.begin_us)} AND created_us <= {int(upto)}"
            )
            sql = (
                "SELECT p.features, p.probability, p.novelty_p, p.verdict, o.outcome, p.created_us, p.prediction_id, p.row_hash FROM ("  # noqa: S608
                "SELECT created_us, prediction_id, features, probability, novelty_p, verdict, row_hash FROM fact_prediction "
                f"WHERE {where} ORDER BY created_us DESC, prediction_id DESC LIMIT {PAGE_ROWS} OFFSET {skip}) p "
                "LEFT JOIN fact_outcome o ON o.prediction_id = p.prediction_id AND o.latest = 1 "
                "ORDER BY p.created_us DESC, p.prediction_id DESC"
            )
            rows = reader.query(sql).rows
            if rows:
                made = [int(row[5]) for row in rows]
                keys = {"created_us": made, "row_hash": [row[7] for row in rows]}
                yield frame(rows, schema).with_columns(**pl.DataFrame(keys, schema=_PAGE).to_dict()), [str(row[6]) for row in rows]
            if len(rows) < PAGE_ROWS:
                break
            # A batch's answers are all of one moment: what was read of it is skipped.
            skip = made.count(made[-1]) + (skip if made[0] == made[-1] == upto else 0)
            upto = made[-1]


def _runs(by_hour: ByHour) -> Iterator[tuple[int, int]]:
    """First and last hour of periods that hold about one page of rows, newest first."""
    last: int | None = None
    first, held = 0, 0
    for hour in sorted(by_hour, reverse=True):
        if last is not None and held + by_hour[hour] > PAGE_ROWS:
            yield first, last
            last, held = None, 0
        last = hour if last is None else last
        first, held = hour, held + by_hour[hour]
    if last is not None:
        yield first, last


def frame(rows: Sequence[Sequence[Any]], schema: DatasetSchema) -> pl.DataFrame:
    """Answers as rows: features as text, nominal ones by code; `probability`, `novelty_p`, `verdict`, and the target, null if not known.

    Columns have the names of answered rows, see `DatasetSchema.own_names`.

    Args:
        rows: features as JSON, probability, novelty, verdict, outcome.
        schema: the contract.
    """
    features = feature_columns([row[0] for row in rows], schema)
    answers = {
        "probability": pl.Series([row[1] for row in rows], dtype=pl.Float64),
        "novelty_p": pl.Series([row[2] for row in rows], dtype=pl.Float64),
        "verdict": pl.Series([row[3] for row in rows], dtype=pl.String),
        schema.answered.target.column: pl.Series([row[4] for row in rows], dtype=pl.String),
    }
    return features.rename(schema.as_answered(features.columns)).with_columns(**answers)


def table_rows(rows: pl.DataFrame, schema: DatasetSchema) -> pl.DataFrame:
    """The table's own columns of rows of `frame`, by the contract's names."""
    own = [name for name in schema.answered.table_columns if name in rows.columns]
    return rows.select(own).rename(schema.as_table(own))


def matching_rows(table: pl.DataFrame, slice_: Slice) -> pl.Series:
    """Which rows of a frame are of a slice."""
    matches = pl.Series(np.ones(table.height, dtype=np.bool_))
    for condition in slice_.conditions:
        column = table[condition.column]
        if condition.between is not None:
            number = column.cast(pl.Float64, strict=False)
            matches &= number.is_between(*condition.between).fill_null(value=False)
        else:
            fits = column.is_in([value for value in condition.values if value is not None]).fill_null(value=False)
            matches &= (fits | column.is_null()) if None in condition.values else fits
    return matches


# --- tests, and what was kept --------------------------------------------------------------------------------------------


def tests(reader: Reader) -> dict[str, Mapping[str, Any]]:
    """The A/B tests by name and by id."""
    rows = reader.query("SELECT test_id, name, model_a, version_a, model_b, version_b FROM dim_test").dicts()
    return {**{row["test_id"]: row for row in rows}, **{row["name"]: row for row in rows}}


def stored_metrics(reader: Reader, model: str, part: str) -> list[tuple[str, int, float, float | None, float | None]]:
    """Metric, time, value and interval of what was kept of a model's evaluations."""
    where = f"model = {text(model)} AND part = {text(part)}"
    sql = f"SELECT metric, created_us, value, low, high FROM {star_schema.FACT_METRIC.name} WHERE {where}"  # noqa: S608
    return [(row[0], int(row[1]), float(row[2]), row[3], row[4]) for row in reader.query(sql).rows if row[2] is not None]

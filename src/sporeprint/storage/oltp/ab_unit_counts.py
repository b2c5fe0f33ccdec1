"""Counts the units of the running tests: what is new, once, into totals whose size does not grow with the units.

A unit counts with one answer: its first, or the first whose truth is known. A correction moves it from one kind to another. Every step is
one transaction, which also says how far the counting has come; of two processes that take the same step, one is refused. Killed anywhere,
the next step goes on from the last one.
"""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Table, and_, func, insert, select, update

from sporeprint.ab_testing.assignment import ROW_PREFIX
from sporeprint.ab_testing.design import Mode, Rule
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals, Totals
from sporeprint.errors import StorageUnavailableError
from sporeprint.safety.verdict import UNKNOWN, verdict_words
from sporeprint.schema import DatasetSchema
from sporeprint.stats.confidence_sequence import Moments
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import checkpoints
from sporeprint.storage.oltp.ab_tests import AbTest
from sporeprint.storage.oltp.checkpoints import LostError
from sporeprint.storage.oltp.read_progress import Gap, ReadProgress
from sporeprint.storage.oltp.tables import ab_total, ab_unit, outcome, prediction
from sporeprint.storage.paging import pages
from sporeprint.storage.urls import SQLITE

FAILED = 3
NONE = -1
#: Rows in a step: some tenths of a second.
STEP_ROWS = 5_000
#: Values in one statement: SQLite takes 32,766.
AT_ONCE = 1_000
#: How often a step is tried where other processes count too.
TRIES = 20
COLUMNS = ("seq", "prediction_id", "test_id", "arm", "unit_id", "verdict", "latency_us", "shadow")
_KEY = ("test_id", "arm", "answer", "shadow_answer", "truth")
_SUMS = ("units", "latency_us", "latency_us2", "shadow_latency_us", "shadow_latency_us2", "slow", "shadow_slow")
_COUNTS = frozenset({"units", "slow", "shadow_slow"})


class Unit(NamedTuple):
    """A unit with the answer it counts with: the columns of `ab_unit`, but for `awaits_label`."""

    test_id: str
    unit_id: str
    prediction_seq: int
    prediction_id: str
    arm: str
    answer: int
    shadow_answer: int
    truth: int
    latency_us: int
    shadow_latency_us: int

    @property
    def awaits_label(self) -> bool:
        """Whether a label of it is wanted: both versions answered, and not the same."""
        return self.truth == NONE and self.shadow_answer not in (NONE, FAILED, self.answer) and self.answer != FAILED

    @property
    def key(self) -> tuple[str, str]:
        """What names it."""
        return self.test_id, self.unit_id

    def row(self) -> dict[str, Any]:
        """Its row."""
        return {**self._asdict(), "awaits_label": int(self.awaits_label)}


@dataclass(frozen=True)
class VerdictCodes:
    """What the texts in the tables mean.

    Attributes:
        answers: verdict -> 0, 1 or 2.
        positive: code of the positive class.
    """

    answers: Mapping[str, int]
    positive: str

    @classmethod
    def of(cls, schema: DatasetSchema) -> "VerdictCodes":
        """Those of a contract."""
        return cls({word: number for number, word in enumerate(verdict_words(schema))}, schema.target.positive)

    def answer(self, verdict: str) -> int:
        """A verdict's number; of words that are not known any more, that of unknown."""
        return self.answers.get(verdict, UNKNOWN)


def unit_of(row: Sequence[Any], known: VerdictCodes, truth: int) -> Unit:
    """A prediction as a unit; the columns are `COLUMNS`."""
    seq, prediction_id, test_id, arm, unit_id, verdict, latency_us, shadow = row
    answer, other, shadow_latency_us = known.answer(verdict), NONE, 0
    if shadow:
        shadow_record = json.loads(shadow)
        if shadow_record.get("mode") == "split":  # another version answered in the place of the arm's
            answer = FAILED
        elif shadow_record.get("failed"):
            other = FAILED
        else:
            other, latency_us, shadow_latency_us = (
                known.answer(shadow_record["verdict"]),
                int(shadow_record["latency_a_us"]),
                int(shadow_record["latency_us"]),
            )
    return Unit(test_id, unit_id, seq, prediction_id, arm, answer, other, truth, latency_us, shadow_latency_us)


def settle(new_units: Iterable[Unit], before: Mapping[tuple[str, str], Unit]) -> dict[tuple[str, str], Unit]:
    """Units after further answers and truths; only those that are new or changed.

    Args:
        new_units: answers, each as a unit, in their order.
        before: what the units counted with until now.
    """
    after: dict[tuple[str, str], Unit] = {}
    for unit in new_units:
        known = after.get(unit.key) or before.get(unit.key)
        if known is None or (known.truth == NONE and unit.truth != NONE):
            after[unit.key] = unit
        elif known.prediction_id == unit.prediction_id and known.truth != unit.truth and unit.truth != NONE:
            after[unit.key] = known._replace(truth=unit.truth)
    return after


def slow(unit: Unit, limit_us: float) -> tuple[bool, bool]:
    """Whether a unit's answer took longer than a limit; in a shadow test, whether that of one version alone did."""
    if unit.answer == FAILED or unit.shadow_answer == FAILED:
        return False, False
    a, b = unit.latency_us > limit_us, unit.shadow_latency_us > limit_us
    return (a, False) if unit.shadow_answer == NONE else (a and not b, b and not a)


def changes(
    after: Iterable[Unit], before: Mapping[tuple[str, str], Unit], limits_us: Mapping[str, float] = MappingProxyType({})
) -> dict[tuple[Any, ...], list[float]]:
    """What is to be added to the totals: key -> sums.

    Args:
        after: units, as they count now.
        before: as they counted until now.
        limits_us: test -> microseconds beyond which an answer is slow; of the others, none is.
    """
    sums_by_cell: dict[tuple[Any, ...], list[float]] = {}
    for unit in after:
        for each, sign in ((unit, 1), (before.get((unit.test_id, unit.unit_id)), -1)):
            if each is None:
                continue
            key = (each.test_id, each.arm, each.answer, each.shadow_answer, each.truth)
            sums = sums_by_cell.get(key)
            if sums is None:
                sums = sums_by_cell[key] = [0.0] * len(_SUMS)
            latency_us, shadow_latency_us = each.latency_us, each.shadow_latency_us
            sums[0] += sign
            sums[1] += sign * latency_us
            sums[2] += sign * latency_us**2
            sums[3] += sign * shadow_latency_us
            sums[4] += sign * shadow_latency_us**2
            if each.test_id in limits_us:
                a_slow, b_slow = slow(each, limits_us[each.test_id])
                sums[5] += sign * a_slow
                sums[6] += sign * b_slow
    return {key: sums for key, sums in sums_by_cell.items() if any(sums)}


# --- counting ------------------------------------------------------------------------------------------------------------


@dataclass
class UnitCounter:
    """Counts for all running tests.

    Attributes:
        engine: of the OLTP database.
        words: what verdicts and outcomes mean.
        clock: microseconds since 1970 UTC.
        rows: in a step.
    """

    engine: Engine
    words: VerdictCodes
    clock: Callable[[], int] = field(default=lambda: time.time_ns() // 1000)
    rows: int = STEP_ROWS

    def count(self, tests: Sequence[AbTest]) -> int:
        """Count what is new, and say how many answers were looked at.

        Raises:
            StorageUnavailableError: if the database does not answer now, or others kept counting. Trying again is harmless.
            StorageError: if it cannot.
        """
        if not tests:
            return 0
        limits = {test.test_id: 1e3 * (test.design.latency_limit_ms or math.inf) for test in tests}
        done = self._table(prediction, COLUMNS, tests, lambda connection, rows: self._predictions(connection, rows, limits))
        return done + self._table(
            outcome, ("seq", "prediction_id"), tests, lambda connection, rows: self._outcomes(connection, rows, limits)
        )

    def _table(
        self,
        table: Table,
        columns: Sequence[str],
        tests: Sequence[AbTest],
        take: Callable[[Connection, Sequence[Sequence[Any]]], int],
    ) -> int:
        """Read what is new in a table; lost to another process, read again what that one has left."""
        floor, began, done = min(test.first[table.name] for test in tests), self.clock(), 0
        for _ in range(TRIES):
            with reading(self.engine) as connection:
                number, noted = checkpoints.read(connection, table.name)
                highest = connection.execute(select(func.max(table.c.seq))).scalar() or 0
            seen = _where(ReadProgress.from_json(noted), floor, highest)
            try:
                for page in pages(self.engine, table, columns, seen.open(), rows=self.rows):
                    seen = seen.read(page.gap, page.first, page.last, page.numbers, began)
                    if page.rows:
                        with writing(self.engine) as connection:
                            number = checkpoints.write(connection, table.name, number, seen.to_json())
                            done += take(connection, page.rows)
                settled = seen.settled(began)
                if settled != ReadProgress.from_json(noted):
                    with writing(self.engine) as connection:
                        checkpoints.write(connection, table.name, number, settled.to_json())
            except LostError:
                continue
            return done
        raise StorageUnavailableError("other processes kept counting the same tests; try again")

    def _predictions(self, connection: Connection, rows: Sequence[Sequence[Any]], limits_us: Mapping[str, float]) -> int:
        mine = [row for row in rows if row[2] in limits_us and row[4] is not None]
        # An outcome may have come before its prediction.
        truths = self._truths(connection, [row[1] for row in mine])
        self._apply(connection, [unit_of(row, self.words, truths.get(row[1], NONE)) for row in mine], limits_us)
        return len(mine)

    def _outcomes(self, connection: Connection, rows: Sequence[Sequence[Any]], limits_us: Mapping[str, float]) -> int:
        ids = sorted({row[1] for row in rows})
        predictions = _among(connection, prediction, COLUMNS, "prediction_id", ids)
        counted = [row for row in predictions if row[2] in limits_us and row[4] is not None]
        truths = self._truths(connection, [row[1] for row in counted])
        # The order in which the truths came, as far as it is known: the first one is the unit's.
        order = {row[1]: place for place, row in reversed(list(enumerate(rows)))}
        counted.sort(key=lambda row: order[row[1]])
        self._apply(connection, [unit_of(row, self.words, truths.get(row[1], NONE)) for row in counted], limits_us)
        return len(counted)

    def _truths(self, connection: Connection, ids: Sequence[str]) -> dict[str, int]:
        """What is known to be true of predictions now."""
        outcomes = _among(connection, outcome, ("revision", "prediction_id", "outcome"), "prediction_id", ids)
        return {prediction_id: int(code == self.words.positive) for _, prediction_id, code in sorted(outcomes)}

    def _apply(self, connection: Connection, units: Sequence[Unit], limits_us: Mapping[str, float]) -> None:
        before = _units(connection, {unit.key for unit in units})
        after = settle(units, before)
        if not after:
            return
        if new := [(*unit, int(unit.awaits_label)) for key, unit in after.items() if key not in before]:
            # As in `_among`.
            connection.exec_driver_sql(_insertion(connection), new)
        for unit in [unit for key, unit in after.items() if key in before]:
            row = unit.row()
            same = (ab_unit.c.test_id == row.pop("test_id"), ab_unit.c.unit_id == row.pop("unit_id"))
            connection.execute(update(ab_unit).where(*same).values(**row))
        for key, sums in changes(after.values(), before, limits_us).items():
            _add(connection, dict(zip(_KEY, key, strict=True)), dict(zip(_SUMS, sums, strict=True)))


def _where(seen: ReadProgress, floor: int, highest: int) -> ReadProgress:
    """Where to go on: nothing of the tests is below the floor; numbers that went back are those of a restored database."""
    if seen.high > highest:
        return ReadProgress(high=min(floor, highest))
    if seen.high < floor:
        return ReadProgress(high=floor)
    return replace(seen, gaps=tuple(Gap(max(gap.first, floor + 1), gap.last, gap.since_us) for gap in seen.gaps if gap.last > floor))


def _among(
    connection: Connection, table: Table, columns: Sequence[str], column: str, values: Sequence[str], where: str = "", *also: str
) -> list[tuple[Any, ...]]:
    """Rows whose column has one of many values. By the driver alone: SQLAlchemy would write the list anew, value by value."""
    rows: list[tuple[Any, ...]] = []
    mark = _mark(connection)
    for begin in range(0, len(values), AT_ONCE):
        part = values[begin : begin + AT_ONCE]
        conditions = f"{f'{where} = {mark} AND ' if where else ''}{column} IN ({', '.join([mark] * len(part))})"
        query = f"SELECT {', '.join(columns)} FROM {table.name} WHERE {conditions}"  # noqa: S608 -- our names
        rows += map(tuple, connection.exec_driver_sql(query, (*also, *part)).fetchall())
    return rows


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.name == SQLITE else "%s"


def _insertion(connection: Connection) -> str:
    columns = (*Unit._fields, "awaits_label")
    return f"INSERT INTO {ab_unit.name} ({', '.join(columns)}) VALUES ({', '.join([_mark(connection)] * len(columns))})"  # noqa: S608 -- our names


def _units(connection: Connection, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Unit]:
    by_test: dict[str, list[str]] = {}
    for test_id, unit_id in sorted(keys):
        by_test.setdefault(test_id, []).append(unit_id)
    units = {}
    for test_id, unit_ids in by_test.items():
        for row in _among(connection, ab_unit, Unit._fields, "unit_id", unit_ids, "test_id", test_id):
            units[test_id, row[1]] = Unit(*row)
    return units


def _add(connection: Connection, key: Mapping[str, Any], sums: Mapping[str, float]) -> None:
    same = [ab_total.c[name] == value for name, value in key.items()]
    more = {name: int(value) if name in _COUNTS else value for name, value in sums.items()}
    # Slow answers are null in the totals of tests that began before they were counted.
    added = {name: func.coalesce(ab_total.c[name], 0) + value for name, value in more.items()}
    if not connection.execute(update(ab_total).where(*same).values(**added)).rowcount:
        connection.execute(insert(ab_total).values(**key, **more))


# --- what was counted ----------------------------------------------------------------------------------------------------


def totals(engine: Engine, test: AbTest) -> Totals:
    """What a test has come to; its reading takes as long for ten units as for ten millions.

    Raises:
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    with reading(engine) as connection:
        rows = connection.execute(select(ab_total).where(ab_total.c.test_id == test.test_id)).all()
    if test.design.mode is Mode.SHADOW:
        return _shadow(rows)
    return SplitTotals(_arm([row for row in rows if row.arm == "a"]), _arm([row for row in rows if row.arm == "b"]))


def unnamed(engine: Engine, test: AbTest) -> int:
    """How many units of a test have no name, because their requests named none. Raises: as `totals`.

    Each of their rows is a unit of its own; in tests of the earlier rule each of their predictions.
    """
    # A range of the primary key; "." follows "-".
    is_row = and_(ab_unit.c.unit_id >= ROW_PREFIX, ab_unit.c.unit_id < ROW_PREFIX[:-1] + ".")
    is_unnamed = ab_unit.c.unit_id == ab_unit.c.prediction_id if test.design.rule is Rule.ERRORS_BY_ARM else is_row
    with reading(engine) as connection:
        return int(connection.execute(select(func.count()).where(ab_unit.c.test_id == test.test_id, is_unnamed)).scalar() or 0)


def _arm(rows: Sequence[Any]) -> ArmTotals:
    answered = [row for row in rows if row.answer != FAILED]
    cells = [(row.answer, None if row.truth == NONE else row.truth, row.units) for row in answered]
    return ArmTotals.of(
        cells, sum(row.units for row in rows if row.answer == FAILED), _moments(answered, "latency"), _sum(answered, "slow")
    )


def _shadow(rows: Sequence[Any]) -> ShadowTotals:
    both = [row for row in rows if row.answer != FAILED and row.shadow_answer not in (FAILED, NONE)]
    cells = [(row.answer, row.shadow_answer, None if row.truth == NONE else row.truth, row.units) for row in both]
    failed_a = sum(row.units for row in rows if row.answer == FAILED and row.shadow_answer != FAILED)
    failed_b = sum(row.units for row in rows if row.answer != FAILED and row.shadow_answer in (FAILED, NONE))
    return ShadowTotals.of(
        cells,
        (failed_a, failed_b),
        (_moments(both, "latency"), _moments(both, "shadow_latency")),
        (_sum(both, "slow"), _sum(both, "shadow_slow")),
    )


def _sum(rows: Sequence[Any], column: str) -> int:
    return sum(getattr(row, column) or 0 for row in rows)


def _moments(rows: Sequence[Any], which: str) -> Moments:
    """Of times in milliseconds."""
    total = sum(getattr(row, f"{which}_us") for row in rows)
    squares = sum(getattr(row, f"{which}_us2") for row in rows)
    return Moments(sum(row.units for row in rows), total / 1e3, squares / 1e6)

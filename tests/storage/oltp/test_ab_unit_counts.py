"""The counting of A/B tests in both databases, held against the plainest way to count."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from ab_support import VERDICT_CODES as WORDS
from ab_support import other, row, ship
from sporeprint.ab_testing.design import Design, Mode
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals
from sporeprint.errors import StorageUnavailableError
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import ab_disagreements, ab_interim_analyses, ab_tests, ab_unit_counts, checkpoints, outcomes
from sporeprint.storage.oltp.ab_interim_analyses import InterimAnalysis
from sporeprint.storage.oltp.ab_tests import AbTest, PinnedVersion
from sporeprint.storage.oltp.ab_unit_counts import FAILED, NONE, Unit, UnitCounter, changes, settle, slow
from sporeprint.storage.oltp.checkpoints import LostError
from sporeprint.storage.oltp.tables import ab_unit, metadata

VERDICTS = list(WORDS.answers)
#: Microseconds beyond which an answer is slow.
LIMIT_US = 5_000.0
LIMITS = {"t": LIMIT_US}


@pytest.fixture
def engine(empty: Engine) -> Engine:
    metadata.create_all(empty)
    return empty


def make(engine: Engine, name: str = "t", mode: Mode = Mode.SPLIT) -> AbTest:
    a, b = PinnedVersion("m", 1, "a"), PinnedVersion("m", 2, "b")
    return ab_tests.create(engine, Design(name, a.ref, b.ref, mode=mode), a, b, now_us=1, actor="t", independent=True)


def say(engine: Engine, number: int, code: str) -> None:
    outcomes.record(engine, f"p{number}", code, source="lab", observed_us=None, now_us=1)


def counted(engine: Engine, *tests: AbTest, rows: int = 5_000) -> None:
    UnitCounter(engine, WORDS, rows=rows).count(tests)


def split(engine: Engine, test: AbTest) -> SplitTotals:
    found = ab_unit_counts.totals(engine, test)
    assert isinstance(found, SplitTotals)
    return found


# --- one unit, once ------------------------------------------------------------------------------------------------------


def test_a_unit_counts_once_with_its_first_answer(engine: Engine) -> None:
    test = make(engine)
    ship(
        engine,
        [row(1, test, "u", "edible"), row(2, test, "u", "unknown"), row(3, test, "v", "poisonous", arm="b"), row(4, None, "", "edible")],
    )
    counted(engine, test)
    found = split(engine, test)
    assert (found.a.answers, found.b.answers) == ((1, 0, 0), (0, 1, 0))
    assert (found.a.latency.count, found.a.latency.total) == (1, 1.001)
    counted(engine, test)
    assert split(engine, test) == found


def test_a_truth_a_correction_and_a_second_truth(engine: Engine) -> None:
    test = make(engine)
    ship(engine, [row(1, test, "u", "edible"), row(2, test, "u", "unknown")])
    counted(engine, test)
    say(engine, 2, "p")  # the first that is known is of the second answer: the unit counts with it
    counted(engine, test)
    assert split(engine, test).a == ArmTotals((0, 0, 1), ((0, 0), (0, 0), (0, 1)), 0, split(engine, test).a.latency)
    say(engine, 1, "e")  # another truth of the same unit changes nothing
    counted(engine, test)
    assert split(engine, test).a.labelled == ((0, 0), (0, 0), (0, 1))
    say(engine, 2, "e")  # a correction does
    counted(engine, test)
    assert split(engine, test).a.labelled == ((0, 0), (0, 0), (1, 0))


def test_an_outcome_before_its_prediction(engine: Engine) -> None:
    test = make(engine)
    say(engine, 1, "p")
    counted(engine, test)
    ship(engine, [row(1, test, "u", "edible")])
    counted(engine, test)
    assert split(engine, test).a.labelled == ((0, 1), (0, 0), (0, 0))


def test_what_another_version_answered_is_a_failure_of_the_arm(engine: Engine) -> None:
    test, shadow = make(engine), make(engine, "s", Mode.SHADOW)
    ship(
        engine,
        [
            row(1, test, "u", "edible", arm="b", shadow={"mode": "split", "failed": "not loaded"}),
            row(2, shadow, "u", "edible", shadow={"mode": "shadow", "failed": "not loaded"}),
            row(3, shadow, "v", "edible", shadow={"mode": "split", "failed": "not loaded"}),
            row(4, shadow, "w", "edible", shadow=other("poisonous")),
        ],
    )
    counted(engine, test, shadow)
    assert split(engine, test).b == ArmTotals(failed=1)
    found = ab_unit_counts.totals(engine, shadow)
    assert isinstance(found, ShadowTotals)
    assert (found.failed_a, found.failed_b, found.disagreements, found.units) == (1, 1, 1, 3)
    assert (found.latency_a.total, found.latency_b.total) == (0.4, 0.5)


def test_only_running_tests_are_counted_and_nothing_from_before_them(engine: Engine) -> None:
    ship(engine, [row(number, None, "", "edible") for number in range(1, 30)])
    first = make(engine, "first")
    assert first.first == {"prediction": 29, "outcome": 0}
    ended = ab_tests.conclude(engine, make(engine, "ended"), "a", now_us=2, actor="t", details={})
    ship(engine, [row(30, first, "u", "edible"), row(31, ended, "u", "edible")])
    assert UnitCounter(engine, WORDS).count([first]) == 1
    assert split(engine, ended).units == 0
    assert UnitCounter(engine, WORDS).count([]) == 0


# --- any traffic ---------------------------------------------------------------------------------------------------------


def plainly(test: AbTest, rows: Sequence[dict[str, Any]], said: Sequence[tuple[int, str]]) -> dict[str, tuple[int, int]]:
    """Unit -> answer and truth, counted at the end: `said` in its order."""
    by_id = {each["prediction_id"]: each for each in rows if each["test_id"] == test.test_id}
    last = dict(said)
    found: dict[str, tuple[int, int]] = {}
    for each in by_id.values():
        found.setdefault(each["unit_id"], (WORDS.answers[each["verdict"]], NONE))
    taken: set[str] = set()
    for number, _ in said:
        about = by_id.get(f"p{number}")
        if about is not None and about["unit_id"] not in taken:
            taken.add(about["unit_id"])
            found[about["unit_id"]] = (WORDS.answers[about["verdict"]], int(last[number] == "p"))
    return found


@pytest.mark.parametrize("page", [3, 5_000])
def test_counting_step_by_step_is_counting_at_once(engine: Engine, page: int) -> None:
    chance, test = random.Random(page), make(engine)
    rows: list[dict[str, Any]] = []
    said: list[tuple[int, str]] = []
    for number in range(60):
        unit = f"u{chance.randrange(25)}"
        rows.append(row(number, test if chance.random() < 0.8 else None, unit, chance.choice(VERDICTS), arm="ab"[int(unit[1:]) % 2]))
        ship(engine, rows[-1:])
        # Outcomes are counted as they come, so that which one is a unit's first is the same in any way of counting.
        if chance.random() < 0.5:
            counted(engine, test, rows=page)
            said.append((chance.randrange(len(rows)), chance.choice("ep")))
            say(engine, *said[-1])
            counted(engine, test, rows=page)
    counted(engine, test, rows=page)
    expected = plainly(test, rows, said)
    with engine.connect() as connection:
        units = connection.execute(select(ab_unit.c.unit_id, ab_unit.c.answer, ab_unit.c.truth)).all()
    assert {unit: (answer, truth) for unit, answer, truth in units} == expected
    found = split(engine, test)
    assert found.units == len(expected)
    assert found.labels == sum(truth != NONE for _, truth in expected.values())
    both = found.a + found.b
    assert both.answers == tuple(sum(answer == kind for answer, _ in expected.values()) for kind in range(3))
    assert both.latency.count == len(expected)


UNITS = st.builds(
    Unit,
    st.just("t"),
    st.sampled_from("uvw"),
    st.integers(1, 9),
    st.sampled_from(["p1", "p2", "p3", "p4"]),
    st.sampled_from("ab"),
    st.integers(0, FAILED),
    st.integers(NONE, FAILED),
    st.integers(NONE, 1),
    st.integers(0, 10_000),
    st.integers(0, 10_000),
)


def test_slow_answers() -> None:
    unit = Unit("t", "u", 1, "p", "a", 0, NONE, NONE, 2_000, 0)
    assert slow(unit, 1_999) == (True, False)
    assert slow(unit, 2_000) == (False, False)
    assert slow(unit._replace(answer=FAILED), 0) == (False, False)
    pair = unit._replace(shadow_answer=1, shadow_latency_us=3_000)
    assert (slow(pair, 2_500), slow(pair, 1_000), slow(pair._replace(latency_us=4_000), 3_500)) == (
        (False, True),
        (False, False),
        (True, False),
    )


@given(st.lists(UNITS), st.lists(UNITS))
def test_totals_are_always_those_of_the_units(first: list[Unit], second: list[Unit]) -> None:
    units: dict[tuple[str, str], Unit] = {}
    totals: dict[tuple[Any, ...], list[float]] = {}
    for found in (first, second, second):
        after = settle(found, units)
        for key, sums in changes(after.values(), units, LIMITS).items():
            totals[key] = [old + new for old, new in zip(totals.get(key, [0.0] * 7), sums, strict=True)]
        units |= after
    plain: dict[tuple[Any, ...], list[float]] = {}
    for unit in units.values():
        sums = plain.setdefault((unit.test_id, unit.arm, unit.answer, unit.shadow_answer, unit.truth), [0.0] * 7)
        squares = (1, unit.latency_us, unit.latency_us**2, unit.shadow_latency_us, unit.shadow_latency_us**2)
        for place, value in enumerate((*squares, *slow(unit, LIMIT_US))):
            sums[place] += value
    assert {key: sums for key, sums in totals.items() if any(sums)} == plain


# --- several processes, and their end ------------------------------------------------------------------------------------


class KilledError(Exception):
    """What a process feels that is killed."""


def test_killed_in_any_step_it_goes_on(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    test = make(engine)
    ship(engine, [row(number, test, f"u{number % 7}", "edible") for number in range(20)])
    add = ab_unit_counts._add
    for _ in range(4):

        def die(*given: Any) -> None:
            add(*given)
            raise KilledError

        with monkeypatch.context() as patch:
            patch.setattr(ab_unit_counts, "_add", die)
            with pytest.raises(KilledError):
                counted(engine, test, rows=3)
        assert split(engine, test).units == 0
    counted(engine, test, rows=3)
    assert split(engine, test).a.answers == (7, 0, 0)


def test_of_two_that_take_the_same_step_one_is_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    test = make(engine)
    ship(engine, [row(number, test, f"u{number}", "edible") for number in range(10)])
    once: list[int] = []
    write = checkpoints.write

    def late(*given: Any) -> int:
        if not once:  # another process counts between the reading and the writing of this one
            once.append(1)
            rival = connect(engine.url)
            with monkeypatch.context() as patch:
                patch.setattr(checkpoints, "write", write)
                given[0].rollback()
                counted(rival, test)
            rival.dispose()
            raise LostError
        return write(*given)

    monkeypatch.setattr(checkpoints, "write", late)
    counted(engine, test)
    assert split(engine, test).a.answers == (10, 0, 0)


def test_it_does_not_try_for_ever(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    test = make(engine)
    ship(engine, [row(1, test, "u", "edible")])

    def lost(*_: Any) -> int:
        raise LostError

    monkeypatch.setattr(checkpoints, "write", lost)
    with pytest.raises(StorageUnavailableError, match="kept counting"):
        counted(engine, test)


def test_a_number_that_came_late_is_counted(engine: Engine) -> None:
    test = make(engine)
    ship(engine, [{**row(number, test, f"u{number}", "edible"), "seq": number} for number in (1, 2, 5)])
    counted(engine, test)
    ship(engine, [{**row(4, test, "u4", "edible"), "seq": 4}])
    counted(engine, test)
    assert split(engine, test).a.answers == (4, 0, 0)


# --- looks and disagreements ---------------------------------------------------------------------------------------------


def interim_analysis(at: int, units: int, verdict: str = "continue") -> InterimAnalysis:
    return InterimAnalysis(at, units, 0, {"decision": {"verdict": verdict, "reason": "x", "sentence": f"after {units}"}})


def test_looks_that_differ_little_are_one(engine: Engine) -> None:
    test = make(engine)
    assert ab_interim_analyses.last(engine, test.test_id) is None
    for units in range(1, 400):
        ab_interim_analyses.add(engine, test.test_id, interim_analysis(units, units))
    kept = ab_interim_analyses.all_of(engine, test.test_id)
    assert (kept[0].units, kept[-1].units) == (1, 399)
    assert len(kept) < 200
    ab_interim_analyses.add(engine, test.test_id, interim_analysis(400, 399, "b"))
    ab_interim_analyses.add(engine, test.test_id, interim_analysis(401, 400, "b"))
    ab_interim_analyses.add(engine, test.test_id, interim_analysis(402, 401, "b"))
    ab_interim_analyses.add(engine, test.test_id, interim_analysis(403, 401, "b"))  # nothing of it is new
    last = ab_interim_analyses.last(engine, test.test_id)
    assert last is not None
    assert (last.at_us, last.figures["decision"]["verdict"]) == (402, "b")
    assert [each.figures["decision"]["verdict"] for each in ab_interim_analyses.all_of(engine, test.test_id)].count("b") == 2
    assert ab_interim_analyses.all_of(engine, test.test_id, 400) == (last,)


def test_disagreements_wait_for_a_label(engine: Engine) -> None:
    test = make(engine, mode=Mode.SHADOW)
    ship(engine, [row(number, test, f"u{number}", "edible", shadow=other(VERDICTS[number % 3])) for number in range(9)])
    counted(engine, test)
    assert ab_disagreements.awaiting_label(engine, test.test_id) == 6
    first = ab_disagreements.disagreements(engine, test, limit=4)
    assert [each.prediction_id for each in first] == ["p8", "p7", "p5", "p4"]
    assert (first[0].answer_a, first[0].answer_b, first[0].features) == (0, 2, {"x": 8})
    rest = ab_disagreements.disagreements(engine, test, limit=4, before=first[-1].number)
    assert [each.prediction_id for each in rest] == ["p2", "p1"]
    say(engine, 8, "p")
    counted(engine, test)
    assert ab_disagreements.awaiting_label(engine, test.test_id) == 5

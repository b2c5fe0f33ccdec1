"""Outcomes as append-only revisions: early, late, twice, corrected, and by many at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, func, select

from sporeprint.errors import StorageUnavailableError, UsageError
from sporeprint.storage.oltp.outcomes import Outcome, OutcomeStatement, latest, record, record_all
from sporeprint.storage.oltp.tables import metadata, outcome


@pytest.fixture
def oltp(empty: Engine) -> Engine:
    """A database with its tables."""
    metadata.create_all(empty)
    return empty


def rows(engine: Engine) -> list[tuple[str, int, str]]:
    with engine.connect() as connection:
        found = connection.execute(select(outcome.c.prediction_id, outcome.c.revision, outcome.c.outcome).order_by(outcome.c.seq))
        return [tuple(row) for row in found]


def test_an_outcome_may_come_before_its_prediction_and_be_corrected(oltp: Engine) -> None:
    assert latest(oltp, "p1") is None
    first = record(oltp, "p1", "e", source="ranger", observed_us=5, now_us=10)
    assert (first.created, first.outcome) == (True, Outcome("p1", 1, "e", "ranger", 5, 10))
    second = record(oltp, "p1", "p", source="laboratory", observed_us=None, now_us=20)
    assert second.outcome == Outcome("p1", 2, "p", "laboratory", 20, 20)
    assert latest(oltp, "p1") == second.outcome
    assert rows(oltp) == [("p1", 1, "e"), ("p1", 2, "p")]


def test_what_was_said_before_adds_nothing(oltp: Engine) -> None:
    first = record(oltp, "p1", "e", source="ranger", observed_us=5, now_us=10)
    again = record(oltp, "p1", "e", source="ranger", observed_us=5, now_us=99)
    assert (again.created, again.outcome) == (False, first.outcome)
    assert not record(oltp, "p1", "e", source="ranger", observed_us=None, now_us=99).created
    assert len(rows(oltp)) == 1
    # Another source, another time, or back again after a correction: something new was said.
    assert record(oltp, "p1", "e", source="laboratory", observed_us=5, now_us=100).created
    assert record(oltp, "p1", "e", source="laboratory", observed_us=6, now_us=100).created
    assert [revision for _, revision, _ in rows(oltp)] == [1, 2, 3]


def test_a_key_makes_two_calls_the_same(oltp: Engine) -> None:
    first = record(oltp, "p1", "e", source="ranger", observed_us=None, now_us=10, key="k")
    record(oltp, "p1", "p", source="ranger", observed_us=None, now_us=20)
    # A retry that comes after a correction does not undo it.
    again = record(oltp, "p1", "e", source="ranger", observed_us=None, now_us=30, key="k")
    assert (again.created, again.outcome) == (False, first.outcome)
    found = latest(oltp, "p1")
    assert found is not None
    assert found.outcome == "p"
    with pytest.raises(UsageError, match="the key 'k' was used for another outcome; use a new key for a new outcome"):
        record(oltp, "p2", "e", source="ranger", observed_us=None, now_us=40, key="k")


def test_many_at_once_lose_nothing_and_number_without_a_gap(oltp: Engine) -> None:
    def say(number: int) -> bool:
        for _ in range(50):  # who is told to try again, does
            try:
                return record(oltp, "p1", "p", source=f"s{number}", observed_us=None, now_us=number).created
            except StorageUnavailableError:
                continue
        raise AssertionError

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(say, range(24)))
    assert [revision for _, revision, _ in rows(oltp)] == list(range(1, 25))
    with oltp.connect() as connection:
        assert connection.scalar(select(func.count(outcome.c.source.distinct()))) == 24


def test_one_key_at_once_is_one_outcome(oltp: Engine) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: record(oltp, "p1", "p", source="s", observed_us=7, now_us=9, key="k"), range(12)))
    assert [item.created for item in found].count(True) == 1
    assert {item.outcome for item in found} == {Outcome("p1", 1, "p", "s", 7, 9)}


def test_text_stays_as_it_is(oltp: Engine) -> None:
    said = record(oltp, "p ", "größe", source='Ada\'s "🍄"\\', observed_us=None, now_us=1)
    assert latest(oltp, "p ") == said.outcome
    assert latest(oltp, "p") is None


def test_many_are_written_as_one_after_the_other(oltp: Engine) -> None:
    record(oltp, "p1", "e", source="lab", observed_us=5, now_us=10)
    said = [
        OutcomeStatement("p1", "e", "lab", None),
        OutcomeStatement("p1", "p", "lab", 7),
        OutcomeStatement("p2", "e", "lab", None),
        OutcomeStatement("p2", "e", "lab", None),
    ]
    done = record_all(oltp, said, now_us=20)
    assert [(each.outcome.revision, each.created) for each in done] == [(1, False), (2, True), (1, True), (1, False)]
    assert [each.created for each in record_all(oltp, said[1:], now_us=30)] == [False] * 3
    assert rows(oltp) == [("p1", 1, "e"), ("p1", 2, "p"), ("p2", 1, "e")]


def test_more_than_go_into_one_transaction(oltp: Engine) -> None:
    said = [OutcomeStatement(f"p{number}", "e", "lab", 1) for number in range(2_500)]
    assert sum(each.created for each in record_all(oltp, said, now_us=20)) == 2_500
    assert sum(each.created for each in record_all(oltp, said, now_us=30)) == 0


def test_many_writers_of_the_same_lose_nothing(oltp: Engine) -> None:
    said = [OutcomeStatement(f"p{number}", "e", "lab", 1) for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda now: record_all(oltp, said, now_us=now), range(4)))
    assert sum(each.created for part in done for each in part) == 200
    assert len(rows(oltp)) == 200

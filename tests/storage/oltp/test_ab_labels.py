"""The queue of items to label, in both databases: leased to one person each, labelled once, corrected by who labelled."""

import threading

import pytest
from sqlalchemy import Engine

from ab_support import VERDICT_CODES, other, row, ship
from sporeprint.ab_testing.design import Design, Mode
from sporeprint.storage.oltp import ab_disagreements, ab_labels, ab_tests, outcomes
from sporeprint.storage.oltp.ab_labels import CANNOT_TELL, LEASE_US, LabelAnswers
from sporeprint.storage.oltp.ab_tests import AbTest, AbTestConflictError, NoSuchTestError, PinnedVersion
from sporeprint.storage.oltp.ab_unit_counts import UnitCounter
from sporeprint.storage.oltp.tables import metadata


@pytest.fixture
def queue(empty: Engine) -> tuple[Engine, AbTest]:
    """Four disagreements and one agreement, counted."""
    metadata.create_all(empty)
    a, b = PinnedVersion("m", 1, "a"), PinnedVersion("m", 2, "b")
    test = ab_tests.create(empty, Design("t", a.ref, b.ref, mode=Mode.SHADOW), a, b, now_us=1, actor="t")
    rows = [row(number, test, f"u{number}", "edible", shadow=other("poisonous")) for number in range(4)]
    ship(empty, [*rows, row(4, test, "u4", "edible", shadow=other("edible"))])
    UnitCounter(empty, VERDICT_CODES).count([test])
    return empty, test


def ids(engine: Engine, test: AbTest, holder: str, count: int = 1, now_us: int = 1) -> list[str]:
    return [each.prediction_id for each in ab_labels.lease(engine, test, holder, count=count, now_us=now_us)]


def label(engine: Engine, test: AbTest, prediction_id: str, holder: str, code: str, now_us: int = 2) -> LabelAnswers:
    answers = ab_labels.claim(engine, test, prediction_id, holder, label=code, now_us=now_us)
    if code != CANNOT_TELL:
        outcomes.record(engine, prediction_id, code, source=holder, observed_us=None, now_us=now_us)
    ab_labels.settle(engine, test.test_id, prediction_id, label=code, note=None, now_us=now_us)
    return answers


def test_two_people_never_have_the_same_item(queue: tuple[Engine, AbTest]) -> None:
    engine, test = queue
    assert ids(engine, test, "ada", 2) == ["p3", "p2"]
    assert ids(engine, test, "bob", 3) == ["p1", "p0"]
    assert ids(engine, test, "ada") == ["p3"]  # a page that is loaded again
    assert ids(engine, test, "eve", 4, now_us=LEASE_US) == []
    assert ids(engine, test, "eve", 4, now_us=2 * LEASE_US) == ["p3", "p2", "p1", "p0"]
    assert ab_labels.waiting(engine, test.test_id) == 4


def test_of_many_who_ask_at_once_each_has_items_of_its_own(queue: tuple[Engine, AbTest]) -> None:
    engine, test = queue
    got: list[str] = []
    threads = [threading.Thread(target=lambda who=f"p{number}": got.extend(ids(engine, test, who))) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == ["p0", "p1", "p2", "p3"]


def test_an_item_is_labelled_once_and_corrected_by_who_labelled_it(queue: tuple[Engine, AbTest]) -> None:
    engine, test = queue
    assert ids(engine, test, "ada") == ["p3"]
    with pytest.raises(AbTestConflictError, match="somebody else has this item in hand"):
        label(engine, test, "p3", "bob", "p")
    assert label(engine, test, "p3", "ada", "p") == LabelAnswers(0, 1)
    with pytest.raises(AbTestConflictError, match="somebody else has labelled this item"):
        label(engine, test, "p3", "bob", "e", now_us=3 * LEASE_US)
    UnitCounter(engine, VERDICT_CODES).count([test])
    label(engine, test, "p3", "ada", "e", now_us=3 * LEASE_US)
    known = outcomes.latest(engine, "p3")
    assert known is not None
    assert (known.outcome, known.revision) == ("e", 2)
    assert ab_labels.held(engine, test, "p3", "ada").label == "e"
    with pytest.raises(AbTestConflictError, match="corrected by another one, and not taken back"):
        label(engine, test, "p3", "ada", CANNOT_TELL)
    assert ids(engine, test, "bob", 4) == ["p2", "p1", "p0"]


def test_what_nobody_can_tell_leaves_the_queue_and_has_no_outcome(queue: tuple[Engine, AbTest]) -> None:
    engine, test = queue
    label(engine, test, "p3", "ada", CANNOT_TELL)
    assert ids(engine, test, "bob", 4) == ["p2", "p1", "p0"]
    assert ab_labels.waiting(engine, test.test_id) == 3
    assert ab_disagreements.awaiting_label(engine, test.test_id) == 4
    assert outcomes.latest(engine, "p3") is None
    label(engine, test, "p3", "ada", "p")  # who has changed its mind
    assert outcomes.latest(engine, "p3") is not None


def test_an_outcome_from_elsewhere_is_not_overwritten(queue: tuple[Engine, AbTest]) -> None:
    engine, test = queue
    assert ids(engine, test, "ada") == ["p3"]
    outcomes.record(engine, "p3", "p", source="lab", observed_us=None, now_us=1)
    assert ids(engine, test, "bob") == ["p2"]  # not yet counted, and not asked for
    with pytest.raises(AbTestConflictError, match="was reported elsewhere"):
        label(engine, test, "p3", "ada", "e")


@pytest.mark.parametrize("prediction_id", ["p4", "none", "", "x" * 200])
def test_what_is_no_item_of_the_test(queue: tuple[Engine, AbTest], prediction_id: str) -> None:
    engine, test = queue
    with pytest.raises(NoSuchTestError, match="is no item of the test 't'"):
        label(engine, test, prediction_id, "ada", "p")
    with pytest.raises(NoSuchTestError):
        ab_labels.held(engine, test, "p3", "ada")

"""A/B tests in both databases: made once, never changed, ended once."""

import json
import threading
from dataclasses import replace

import pytest
from sqlalchemy import Engine, select, update

from sporeprint.ab_testing.design import Design, Guardrail, Metric, Rule
from sporeprint.errors import UsageError
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import ab_tests, audit_log
from sporeprint.storage.oltp.ab_tests import AbTest, AbTestConflictError, Event, NoSuchTestError, PinnedVersion
from sporeprint.storage.oltp.tables import ab_test, metadata

A, B = PinnedVersion("xgboost", 1, "a" * 64), PinnedVersion("xgboost", 2, "b" * 64)
DESIGN = Design("first", A.ref, B.ref, guardrails=(Guardrail(Metric.FALSE_NEGATIVE, 0.0, prove=False),), also=(Metric.LATENCY,))


def make(engine: Engine, name: str = "first", *, now_us: int = 1, independent: bool = True, default_route: bool = False) -> AbTest:
    design = replace(DESIGN, name=name)
    return ab_tests.create(engine, design, A, B, now_us=now_us, actor="ada", independent=independent, default_route=default_route)


@pytest.fixture
def oltp_each(empty: Engine) -> Engine:
    """Each database, with its tables."""
    metadata.create_all(empty)
    return empty


def test_a_test_is_read_as_it_was_made(oltp_each: Engine) -> None:
    made = make(oltp_each)
    assert ab_tests.get(oltp_each, "first") == ab_tests.get(oltp_each, made.test_id) == made
    assert ab_tests.running(oltp_each) == ab_tests.listed(oltp_each) == (made,)
    assert made.design == DESIGN
    assert [event.event for event in ab_tests.events(oltp_each, made.test_id)] == ["created"]
    assert [change.action for change in audit_log.changes(oltp_each, made.test_id)] == ["ab_test.created"]
    assert make(oltp_each, "second").salt != made.salt


def test_a_name_is_never_used_again(oltp_each: Engine) -> None:
    ab_tests.conclude(oltp_each, make(oltp_each), "a", now_us=2, actor="ada", details={})
    with pytest.raises(AbTestConflictError, match="the name 'first' is taken"):
        make(oltp_each)
    assert len(ab_tests.listed(oltp_each)) == 1
    assert len(audit_log.changes(oltp_each, ab_tests.get(oltp_each, "first").test_id)) == 2


def test_running_tests_do_not_share_a_unit(oltp_each: Engine) -> None:
    first = make(oltp_each, independent=False)
    with pytest.raises(AbTestConflictError, match="'first' has the same unit"):
        make(oltp_each, "second", independent=False)
    ab_tests.create(oltp_each, replace(DESIGN, name="third", unit="prediction"), A, B, now_us=1, actor="ada")
    ab_tests.conclude(oltp_each, first, "a", now_us=2, actor="ada", details={})
    make(oltp_each, "second", independent=False)


def test_two_that_are_made_at_once_see_each_other(oltp_each: Engine) -> None:
    done: list[str] = []

    def one(name: str) -> None:
        try:
            make(oltp_each, name, independent=False)
            done.append(name)
        except AbTestConflictError:
            done.append("refused")

    threads = [threading.Thread(target=one, args=(f"n{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done)[1:] == ["refused"] * 3
    assert len(ab_tests.running(oltp_each)) == 1


def test_only_one_test_is_the_default_route(oltp_each: Engine) -> None:
    make(oltp_each, default_route=True)
    with pytest.raises(AbTestConflictError, match="is the default route already"):
        make(oltp_each, "second", default_route=True)


def test_a_test_ends_once(oltp_each: Engine) -> None:
    test = make(oltp_each)
    ended = ab_tests.conclude(oltp_each, test, "b", now_us=7, actor="ada", details={"forced": True})
    assert (ended.status, ended.verdict, ended.concluded_us, ended.running) == ("concluded", "b", 7, False)
    with pytest.raises(AbTestConflictError, match="concluded already, its verdict is 'b'"):
        ab_tests.conclude(oltp_each, test, "a", now_us=8, actor="eve", details={})
    assert ab_tests.get(oltp_each, "first").verdict == "b"
    assert [event.event for event in ab_tests.events(oltp_each, test.test_id)] == ["created", "concluded"]


def test_of_many_that_end_it_at_once_one_does(oltp_each: Engine) -> None:
    test, done = make(oltp_each), []

    def one(verdict: str) -> None:
        try:
            ab_tests.conclude(oltp_each, test, verdict, now_us=2, actor=verdict, details={})
            done.append(verdict)
        except AbTestConflictError:
            done.append("refused")

    threads = [threading.Thread(target=one, args=(verdict,)) for verdict in ("a", "b", "equivalent", "inconclusive")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.count("refused") == 3
    assert ab_tests.get(oltp_each, "first").verdict in done


def test_what_was_fixed_stays_as_it_was(oltp_each: Engine) -> None:
    test = make(oltp_each)
    fixed = select(*(column for column in ab_test.c if column.name not in {"status", "concluded_us", "verdict"}))
    with reading(oltp_each) as connection:
        before = connection.execute(fixed).all()
    ab_tests.conclude(oltp_each, test, "a", now_us=2, actor="ada", details={})
    with reading(oltp_each) as connection:
        assert connection.execute(fixed).all() == before


def test_what_is_not_there(oltp_each: Engine) -> None:
    with pytest.raises(NoSuchTestError, match="there are none"):
        ab_tests.get(oltp_each, "first")
    make(oltp_each)
    with pytest.raises(NoSuchTestError, match="did you mean 'first'"):
        ab_tests.get(oltp_each, "firts")
    with pytest.raises(UsageError, match="allowed: running, concluded"):
        ab_tests.listed(oltp_each, status="going")
    with pytest.raises(UsageError, match="allowed: 1 to 1000"):
        ab_tests.listed(oltp_each, limit=0)
    with pytest.raises(UsageError, match="before is 'x': expected the id of a test"):
        ab_tests.listed(oltp_each, before="x")


def test_many_are_listed_page_by_page(oltp_each: Engine) -> None:
    made = [make(oltp_each, f"n{number}", now_us=number + 1) for number in range(5)]
    names, before = [], None
    while page := ab_tests.listed(oltp_each, limit=2, before=before):
        names += [test.name for test in page]
        before = page[-1].test_id
    assert names == [test.name for test in reversed(made)]
    ab_tests.conclude(oltp_each, made[1], "a", now_us=9, actor="ada", details={})
    assert [test.name for test in ab_tests.listed(oltp_each, status="concluded")] == ["n1"]


def test_what_is_left_to_do(oltp_each: Engine) -> None:
    test = ab_tests.conclude(oltp_each, make(oltp_each), "b", now_us=2, actor="ada", details={})
    assert ab_tests.without_event(oltp_each, "b", ["promoted"]) == (test,)
    ab_tests.add_event(oltp_each, test.test_id, Event(3, "ada", "promoted", {"ref": B.ref}), audited=True)
    assert ab_tests.without_event(oltp_each, "b", ["promoted"]) == ()
    assert audit_log.changes(oltp_each, test.test_id)[-1].details == {"ref": B.ref}


def test_a_test_made_before_there_was_a_choice_of_rules_keeps_its_rule(oltp_each: Engine) -> None:
    test = make(oltp_each)
    assert test.design.rule is Rule.BETTING
    new = ("rule", "expect", "labels", "label_share", "latency_limit_ms")
    with writing(oltp_each) as connection:
        rule = json.loads(connection.execute(select(ab_test.c.rule)).scalar_one())
        rule["design"] = {name: value for name, value in rule["design"].items() if name not in new}
        connection.execute(update(ab_test).values(rule=json.dumps(rule)))
    before = ab_tests.get(oltp_each, test.name)
    assert before.design == replace(test.design, rule=Rule.ERRORS_BY_ARM)

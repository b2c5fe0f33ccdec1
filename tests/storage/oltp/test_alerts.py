"""Alerts in both databases: raised once whoever looks, told once whoever is killed, known to somebody."""

import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import Engine, update

from sporeprint.errors import UsageError
from sporeprint.monitoring.alert_rules import AlertChange, AlertRule, Severity
from sporeprint.storage.engine import writing
from sporeprint.storage.oltp import alerts, audit_log, tables
from sporeprint.storage.oltp.alerts import ACKNOWLEDGED, DELIVERED, GIVEN_UP, RAISED, RECOVERED, WAITING, AlertEvent, Message
from sporeprint.storage.oltp.tables import metadata

RULE = AlertRule("drift", "alarms", above=0.0, severity=Severity.WARNING, cool_down_s=0.0, remind_s=10.0)
S = alerts.SECOND_US


@pytest.fixture
def oltp_each(empty: Engine) -> Engine:
    """Each database, with its tables."""
    metadata.create_all(empty)
    return empty


def to_one(happened: AlertEvent) -> Sequence[Message]:
    return [Message("oncall", f"{happened.kind.value} {happened.alert.summary}", "body \N{MUSHROOM}")]


def look(engine: Engine, value: float | None, at_s: int, rule: AlertRule = RULE, stream: str = "model/v1") -> AlertEvent | None:
    return alerts.update_rule(engine, rule, stream, value, f"value {value}", now_us=at_s * S, messages=to_one)


def test_from_the_first_look_to_the_last(oltp_each: Engine) -> None:
    assert look(oltp_each, 0.0, 1) is None
    raised = look(oltp_each, 2.0, 2)
    assert raised is not None
    assert (raised.kind, raised.alert.status, raised.alert.first_us) == (AlertChange.RAISED, RAISED, 2 * S)
    assert look(oltp_each, 3.0, 3) is None
    assert look(oltp_each, None, 4) is None
    assert [each.alert_id for each in alerts.list_alerts(oltp_each)] == [raised.alert.alert_id]
    reminded = look(oltp_each, 3.0, 12)
    assert reminded is not None
    assert (reminded.kind, reminded.alert.alert_id) == (AlertChange.REMINDED, raised.alert.alert_id)
    over = look(oltp_each, 0.0, 13)
    assert over is not None
    assert (over.kind, over.alert.alert_id, over.alert.first_us) == (AlertChange.RECOVERED, raised.alert.alert_id, 2 * S)
    assert alerts.list_alerts(oltp_each) == ()
    (kept,) = alerts.list_alerts(oltp_each, over=True)
    assert (kept.status, kept.summary, kept.last_us) == (RECOVERED, "value 3.0", 13 * S)
    assert [event for _, event, _ in alerts.events(oltp_each, kept.alert_id)] == ["raised", "reminded", "recovered"]
    assert [each.kind for each in alerts.deliveries(oltp_each)] == ["recovered", "reminded", "raised"]
    again = look(oltp_each, 1.0, 14)
    assert again is not None
    assert again.alert.alert_id != kept.alert_id


def test_alerts_that_flap_are_closed_without_a_message(oltp_each: Engine) -> None:
    rule = AlertRule("drift", "alarms", above=0.0, cool_down_s=3600)
    for second in range(10):
        look(oltp_each, float(second % 2 == 0), second, rule=rule)
    assert alerts.list_alerts(oltp_each) == ()
    assert {each.status for each in alerts.list_alerts(oltp_each, over=True)} == {RECOVERED}
    assert [each.kind for each in alerts.deliveries(oltp_each)] == ["recovered", "raised"]


def test_an_alert_that_an_earlier_version_left_on_is_closed_by_the_next(oltp_each: Engine) -> None:
    raised = look(oltp_each, 1.0, 1)
    assert raised is not None
    assert look(oltp_each, 0.0, 2) is not None
    with writing(oltp_each) as connection:
        connection.execute(update(tables.alert).values(status=RAISED))
    again = look(oltp_each, 1.0, 3)
    assert again is not None
    assert [each.alert_id for each in alerts.list_alerts(oltp_each)] == [again.alert.alert_id]


def test_streams_and_rules_are_apart_and_the_worst_comes_first(oltp_each: Engine) -> None:
    for stream in ("a", "b", "x" * 300):
        assert look(oltp_each, 1.0, 1, stream=stream) is not None
    critical = look(oltp_each, 1.0, 1, rule=AlertRule("promise", "p", above=0.0, severity=Severity.CRITICAL))
    assert critical is not None
    found = alerts.list_alerts(oltp_each)
    assert len(found) == 4
    assert found[0] == critical.alert
    assert {each.monitor for each in found} == {"a", "b", "x" * 64, "model/v1"}


def test_of_many_that_see_the_same_one_raises_it(oltp_each: Engine) -> None:
    happened: list[AlertEvent | None] = []
    threads = [threading.Thread(target=lambda: happened.append(look(oltp_each, 1.0, 1))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(happened) == 6
    assert sum(each is not None for each in happened) == 1
    assert len(alerts.list_alerts(oltp_each)) == len(alerts.deliveries(oltp_each)) == 1


def test_what_cannot_be_told_does_not_stand(oltp_each: Engine) -> None:
    """Alert, standing and messages are one: an error on the way leaves none of them."""

    def broken(_: AlertEvent) -> Sequence[Message]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        alerts.update_rule(oltp_each, RULE, "model/v1", 1.0, "s", now_us=S, messages=broken)
    assert alerts.list_alerts(oltp_each, over=True) == ()
    assert look(oltp_each, 1.0, 2) is not None


def test_somebody_knows(oltp_each: Engine) -> None:
    raised = look(oltp_each, 1.0, 1)
    assert raised is not None
    (known,) = alerts.acknowledge(oltp_each, raised.alert.alert_id, actor="cli:ada", note="on it", now_us=2 * S)
    assert known.status == ACKNOWLEDGED
    assert [each.status for each in alerts.list_alerts(oltp_each)] == [ACKNOWLEDGED]
    assert look(oltp_each, 1.0, 100) is None  # no reminder
    assert [change.actor for change in audit_log.changes(oltp_each, raised.alert.alert_id)] == ["cli:ada"]
    assert alerts.events(oltp_each, raised.alert.alert_id)[-1][2] == {"by": "cli:ada", "note": "on it"}
    over = look(oltp_each, 0.0, 101)
    assert over is not None
    with pytest.raises(UsageError, match="is over"):
        alerts.acknowledge(oltp_each, raised.alert.alert_id, actor="a", note="", now_us=1)
    with pytest.raises(UsageError, match="there is no alert 'nope'"):
        alerts.acknowledge(oltp_each, "nope", actor="a", note="", now_us=1)
    assert alerts.acknowledge(oltp_each, None, actor="a", note="", now_us=1) == ()


def test_somebody_says_so_while_a_monitor_looks(oltp_each: Engine) -> None:
    """Whoever is first, what has recovered is over, and what is on can be acknowledged."""
    raised = look(oltp_each, 1.0, 1)
    assert raised is not None
    number = iter(range(2, 10_000))
    ended = threading.Event()

    def looks() -> None:
        while not ended.is_set():
            at = next(number)
            look(oltp_each, float(at % 3), at * 20)

    thread = threading.Thread(target=looks)
    thread.start()
    try:
        for at in range(30):
            alerts.acknowledge(oltp_each, None, actor="ada", note="", now_us=at)
    finally:
        ended.set()
        thread.join()
    look(oltp_each, 0.0, 1_000_000)
    assert alerts.list_alerts(oltp_each) == ()


def test_a_message_is_one_process_s_at_a_time(oltp_each: Engine) -> None:
    look(oltp_each, 1.0, 1)
    (mine,) = alerts.claim_due(oltp_each, now_us=S, until_us=60 * S)
    assert (mine.channel, mine.body, mine.status, mine.attempts) == ("oncall", "body \N{MUSHROOM}", WAITING, 0)
    assert alerts.claim_due(oltp_each, now_us=S, until_us=60 * S) == ()
    # Whoever took it was killed: after its time it is another's.
    (again,) = alerts.claim_due(oltp_each, now_us=60 * S, until_us=120 * S)
    alerts.record_attempt(oltp_each, again, "no route", now_us=61 * S, again_us=90 * S)
    assert alerts.claim_due(oltp_each, now_us=89 * S, until_us=99 * S) == ()
    (third,) = alerts.claim_due(oltp_each, now_us=90 * S, until_us=120 * S)
    assert (third.attempts, third.last_error) == (1, "no route")
    alerts.record_attempt(oltp_each, third, None, now_us=91 * S, again_us=None)
    (done,) = alerts.deliveries(oltp_each, status=DELIVERED)
    assert (done.attempts, done.last_error) == (2, None)
    assert [event for _, event, _ in alerts.events(oltp_each, done.alert_id)] == ["raised", "not delivered", "delivered"]


def test_a_message_is_given_up(oltp_each: Engine) -> None:
    look(oltp_each, 1.0, 1)
    (mine,) = alerts.claim_due(oltp_each, now_us=S, until_us=60 * S)
    alerts.record_attempt(oltp_each, mine, "gone", now_us=2 * S, again_us=None)
    assert alerts.claim_due(oltp_each, now_us=1000 * S, until_us=2000 * S) == ()
    assert [each.status for each in alerts.deliveries(oltp_each, alert_id=mine.alert_id)] == [GIVEN_UP]

"""Alerts over HTTP: what is on, what happened, and that somebody knows, once."""

from collections.abc import Callable

from serving_support import Client
from watch_support import STREAM, raise_alert


def test_from_raised_to_known_to_over(started: Callable[..., Client]) -> None:
    client = started()
    engine = client.app.state.service.database.engine
    assert client.get("/alerts").json() == {"alerts": []}
    one = raise_alert(engine, "drift", "x" * 300)
    two = raise_alert(engine, "promise", severity="critical")
    listed = client.get("/alerts").json()["alerts"]
    assert [(each["alert_id"], each["severity"], each["status"]) for each in listed] == [
        (two, "critical", "raised"),
        (one, "warning", "raised"),
    ]
    assert listed[0]["monitor"] == STREAM  # in full
    before = client.get(f"/alerts/{one}").json()
    assert before["evaluation_id"] == "run-003"
    assert [(each["event"], each["details"]["rule"]) for each in before["events"]] == [("raised", "drift")]
    assert [(each["channel"], each["status"], each["attempts"]) for each in before["deliveries"]] == [("oncall", "waiting", 0)]
    known = client.post(f"/alerts/{one}/acknowledge", json={"note": "<b>seen</b>"})
    assert known.status_code == 200
    assert known.json()["alert"]["status"] == "acknowledged"
    assert known.json()["events"][-1]["details"] == {"by": "key:local", "note": "<b>seen</b>"}
    changed = client.get("/audit?action=alert").json()["changes"]
    assert [(each["actor"], each["action"], each["subject"]) for each in changed] == [("key:local", "alert.acknowledged", one)]


def test_what_cannot_be_acknowledged(started: Callable[..., Client]) -> None:
    from sporeprint.monitoring.alert_rules import AlertRule
    from sporeprint.storage.oltp import alerts
    from watch_support import BEGIN_US, DAY_US

    client = started()
    engine = client.app.state.service.database.engine
    one = raise_alert(engine)
    rule = AlertRule("drift", "alarms", above=0.0, cool_down_s=0.0)
    alerts.update_rule(engine, rule, STREAM, 0.0, "over", now_us=BEGIN_US + 2 * DAY_US, messages=lambda _: [])
    assert client.get("/alerts").json()["alerts"] == []
    assert [each["status"] for each in client.get("/alerts?over=true").json()["alerts"]] == ["recovered"]
    assert client.post(f"/alerts/{one}/acknowledge", json={}).status_code == 409
    assert client.post("/alerts/none/acknowledge").status_code == 404
    assert client.get("/alerts/none").status_code == 404
    assert client.post(f"/alerts/{one}/acknowledge", json={"note": "x" * 10_000}).status_code == 422
    assert client.get("/alerts?over=maybe").status_code == 400

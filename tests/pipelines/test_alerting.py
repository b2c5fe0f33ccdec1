"""From an evaluation to a message: over a real database and real channels."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from channel_server import Hook, hanging, hooked, mailing
from sporeprint import settings
from sporeprint.errors import ConfigError, UsageError
from sporeprint.pipelines import alerting as alerts
from sporeprint.settings import Settings
from sporeprint.storage.oltp import alerts as alert_store
from sporeprint.storage.oltp.alerts import SECOND_US

FINE: Mapping[str, Any] = {
    "stream": "xgboost/v1 in 24 h",
    "model": "xgboost/v1",
    "current": "what was answered from Monday to Tuesday",
    "reference": "the rows that it was validated on",
    "alarms": [],
    "not_computed": [],
    "answered": {"negative": 8, "positive": 2, "unknown": 0},
    "performance": {"promise": "kept", "accuracy": {"value": 0.99}},
    "expected": None,
    "written": ["models/metrics/monitoring/report_1.html"],
}
DRIFTED = {**FINE, "alarms": ["season: the shares of values changed", "cap-diameter: shifted"]}
BROKEN = {**FINE, "performance": {"promise": "broken", "accuracy": {"value": 0.7}}}


def config(small_config: dict[str, Any], channels: Mapping[str, Any], **given: Any) -> Settings:
    fast = {"first_pause_s": 0.001, "most_pause_s": 0.001, "timeout_s": 20, "attempts": 3}
    return settings.parse({**small_config, "alerts": {**fast, **given, "channels": dict(channels)}})


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_us = 1_767_225_600 * SECOND_US  # 2026-01-01

    def __call__(self) -> int:
        self.now_us += SECOND_US
        return self.now_us


def url(hook: Hook) -> dict[str, str]:
    return {"url": hook.url}


def test_somebody_is_told_once_and_when_it_is_over(small_config: dict[str, Any], tmp_path: Path) -> None:
    clock = Clock()
    with hooked() as hook:
        chosen = config(small_config, {"oncall": url(hook)})
        assert alerts.handle(chosen, tmp_path, FINE, clock=clock) == ()
        lines = alerts.handle(chosen, tmp_path, DRIFTED, clock=clock)
        assert lines[0].startswith("alert raised: drift: season: the shares of values changed; cap-diameter: shifted (a0")
        assert lines[1] == "notified oncall: [warning] sporeprint: drift, xgboost/v1"
        assert alerts.handle(chosen, tmp_path, DRIFTED, clock=clock) == ()
        assert alerts.handle(chosen, tmp_path, FINE, clock=clock)[-1] == "notified oncall: [recovered] sporeprint: drift, xgboost/v1"
    raised, recovered = hook.got
    for said in ("cap-diameter: shifted", "since: 2026-01-01T00:00:", "report_1.html", "What to do: Open the report", "alerts ack a0"):
        assert said in raised["message"]
    assert "was on since: 2026-01-01T00:00:" in recovered["message"]
    assert "What to do" not in recovered["message"]


def test_what_is_not_computed_calls_nothing_off(small_config: dict[str, Any], tmp_path: Path) -> None:
    chosen, clock = config(small_config, {}), Clock()
    alerts.handle(chosen, tmp_path, BROKEN, clock=clock)
    lines = alerts.handle(chosen, tmp_path, {**FINE, "performance": None}, clock=clock)
    assert lines == ("Rule 'promise broken' not evaluated (promise_broken missing); its state is unchanged.",)
    with alerts.opened(chosen, tmp_path) as engine:
        assert [each.severity.value for each in alert_store.list_alerts(engine)] == ["critical"]


def test_an_evaluation_that_could_not_be_made_is_told_until_one_was(small_config: dict[str, Any], tmp_path: Path) -> None:
    chosen, clock = config(small_config, {}), Clock()
    nothing = {**FINE, "stream": "", "not_computed": ["the warehouse was never synced"], "performance": None, "answered": {}}
    assert any(line.startswith("alert raised: not computed") for line in alerts.handle(chosen, tmp_path, nothing, clock=clock))
    (line,) = alerts.handle(chosen, tmp_path, FINE, clock=clock)
    assert line.startswith("alert recovered: not computed")
    with alerts.opened(chosen, tmp_path) as engine:
        assert alert_store.list_alerts(engine) == ()


def test_only_channels_for_so_bad_an_alert_are_told(small_config: dict[str, Any], tmp_path: Path) -> None:
    with hooked() as all_of_it, hooked() as worst:
        channels = {"log": url(all_of_it), "oncall": {**url(worst), "severity": "critical"}}
        chosen, clock = config(small_config, channels), Clock()
        alerts.handle(chosen, tmp_path, DRIFTED, clock=clock)
        assert (len(all_of_it.got), len(worst.got)) == (1, 0)
        alerts.handle(chosen, tmp_path, {**BROKEN, "alarms": DRIFTED["alarms"], "simulated": True}, clock=clock)
    assert [each["title"] for each in worst.got] == ["[critical] SIMULATED DATA: sporeprint: promise broken, xgboost/v1"]
    assert len(all_of_it.got) == 2


def test_a_dead_channel_is_reported_by_the_others_until_it_takes_messages_again(small_config: dict[str, Any], tmp_path: Path) -> None:
    with hooked() as dead, hooked() as other:
        dead.status = 503
        chosen, clock = config(small_config, {"dead": url(dead), "other": url(other)}), Clock()
        alerts.handle(chosen, tmp_path, DRIFTED, clock=clock)
        with alerts.opened(chosen, tmp_path) as engine:
            assert [each.attempts for each in alert_store.deliveries(engine, status=alert_store.WAITING)] == [1]
            lines = [line for _ in range(4) for line in alerts.deliver(chosen, tmp_path, engine, clock=clock)]
            assert any("(3 of 3, given up)" in line for line in lines)
            assert not any("secret-word" in line for line in lines)
            assert {each.summary.partition(":")[0] for each in alert_store.list_alerts(engine)} == {
                "drift",
                "the channel 'dead' takes no messages",
            }
            assert other.got[-1]["title"] == "[critical] sporeprint: channel dead is dead"
            assert "sporeprint alerts test dead" in other.got[-1]["message"]
            assert not any("secret-word" in str(each.last_error) for each in alert_store.deliveries(engine))
            dead.status = 200
            alerts.handle(chosen, tmp_path, FINE, clock=clock)
            alerts.deliver(chosen, tmp_path, engine, clock=clock)
            assert alert_store.list_alerts(engine) == ()
        assert other.got[-1]["title"] == "[recovered] sporeprint: channel dead takes messages again"
        assert [each["title"] for each in dead.got] == ["[recovered] sporeprint: drift, xgboost/v1"]


def test_a_channel_that_hangs_holds_nobody_up_for_ever(small_config: dict[str, Any], tmp_path: Path) -> None:
    with hanging() as port, mailing() as mail:
        address = f"mailto://127.0.0.1:{mail.port}?from=spore@example.org&to=ada@example.org&mode=insecure&smtp=127.0.0.1"
        channels = {"hangs": {"url": f"json://127.0.0.1:{port}"}, "mail": {"url": address}}
        chosen = config(small_config, channels, timeout_s=12)
        lines = alerts.handle(chosen, tmp_path, DRIFTED, clock=Clock())
    assert any(line.startswith("channel hangs did not take") for line in lines)
    assert "Subject: [warning] sporeprint: drift" in mail.got[0]


def test_an_action_is_done_once(small_config: dict[str, Any], tmp_path: Path) -> None:
    rule = {"metric": "alarms", "above": 0, "action": "retrain"}
    chosen, clock, done = config(small_config, {}, rules={"drift": rule}), Clock(), list[tuple[str, str]]()

    def act(action: str, reason: str) -> str:
        done.append((action, reason))
        return "a new version is in a shadow test"

    lines = alerts.handle(chosen, tmp_path, DRIFTED, act=act, clock=clock)
    assert lines[-1] == "a new version is in a shadow test"
    alerts.handle(chosen, tmp_path, DRIFTED, act=act, clock=clock)
    assert [action for action, _ in done] == ["retrain"]


def test_a_channel_is_tried(small_config: dict[str, Any], tmp_path: Path) -> None:
    with hooked() as hook:
        chosen = config(small_config, {"oncall": url(hook), "nowhere": {"url_env": "SPOREPRINT_NO_SUCH_VARIABLE"}})
        assert alerts.try_channel(chosen, tmp_path, "oncall") is None
        assert hook.got[0]["title"] == "[test] sporeprint"
        with pytest.raises(UsageError, match=r"there is no channel 'onkall' \(did you mean 'oncall'"):
            alerts.try_channel(chosen, tmp_path, "onkall")
        with pytest.raises(ConfigError, match="SPOREPRINT_NO_SUCH_VARIABLE is empty"):
            alerts.try_channel(chosen, tmp_path, "nowhere")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rules": {"r": {"metric": "alarms"}}}, "exactly one of above and below"),
        ({"rules": {"r": {"metric": "alarms", "above": 1, "below": 0}}}, "exactly one of above and below"),
        ({"rules": {"r": {"metric": "alarms", "above": 1, "clear": 2}}}, "clear has to be on the other side"),
        ({"rules": {"r": {"metric": "alarms", "above": 1, "channels": ["onkall"]}}, "channels": {"oncall": {"url": "json://h"}}}, "oncall"),
        ({"channels": {"oncall": {}}}, "exactly one of url, url_env and url_file"),
        ({"channels": {"oncall": {"url": "a", "url_env": "B"}}}, "exactly one of url, url_env and url_file"),
        ({"channels": {"x" * 65: {"url": "a"}}}, "1 to 64 printable characters"),
    ],
)
def test_what_cannot_be_configured(small_config: dict[str, Any], given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings.parse({**small_config, "alerts": given})
    assert says in str(error.value)
    json.dumps(given)

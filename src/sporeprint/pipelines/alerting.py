"""What follows an evaluation of the monitor: rules are asked, alerts written, messages delivered, a new model made where a rule says so."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from sporeprint.errors import ConfigError, UsageError, nearest
from sporeprint.monitoring.alert_rules import METRICS, AlertChange, AlertRule, Severity, metric
from sporeprint.pipelines import notifications
from sporeprint.settings import RuleSettings, Settings
from sporeprint.storage import urls
from sporeprint.storage.engine import connect
from sporeprint.storage.oltp import alerts, migrate
from sporeprint.storage.oltp.alerts import SECOND_US, Alert, AlertEvent, Delivery, Message

#: Messages that are delivered after one evaluation; further ones wait for the next, or for `sporeprint alerts deliver`.
MOST = 100
#: Findings that a summary names.
NAMED = 3
#: Of an evaluation that could not be made.
NO_STREAM = ""
#: What a dead channel is an alert of.
CHANNELS = "channels"
#: What to do, by metric.
ADVICE = {
    "alarms": "Open the report: it names the columns that changed, and how much the model uses them.",
    "not_computed": "Open the report: what is not computed is not known to be fine. "
    "Most often the warehouse was not synced, or a column is missing.",
    "unknown_share": "More rows than usual are unlike what the model knows. Look at the newest ones; label some; train anew.",
    "promise_broken": "More negative answers turned out wrong than promised. Do not rely on them: go back to the version before "
    "(sporeprint models rollback), then find out why.",
    "accuracy": "Compare with the estimate before outcomes: if only this one fell, what the features mean has changed. Train anew.",
}

Clock = Callable[[], int]


def now_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1000


@contextmanager
def opened(settings: Settings, root: Path) -> Iterator[Engine]:
    """The OLTP database, ready to be used.

    Raises:
        StorageError, StorageUnavailableError: it cannot be.
    """
    engine = connect(urls.oltp(settings.storage, root))
    try:
        migrate.prepare(engine)
        yield engine
    finally:
        engine.dispose()


def rules(settings: Settings) -> tuple[AlertRule, ...]:
    """The rules of the configuration."""
    return tuple(_rule(name, rule) for name, rule in settings.alerts.rules.items())


def _rule(name: str, settings: RuleSettings) -> AlertRule:
    return AlertRule(
        name=name,
        metric=settings.metric,
        above=settings.above,
        below=settings.below,
        clear=settings.clear,
        severity=Severity(settings.severity),
        for_s=settings.for_minutes * 60,
        cool_down_s=settings.cool_down_minutes * 60,
        remind_s=None if settings.remind_hours is None else settings.remind_hours * 3600,
    )


# --- after an evaluation -------------------------------------------------------------------------------------------------


def handle(
    settings: Settings, root: Path, evaluation: Mapping[str, Any], *, act: Callable[[str, str], str] | None = None, clock: Clock = now_us
) -> Sequence[str]:
    """Ask every rule, write what follows, and deliver what is due.

    Args:
        settings: rules and channels.
        root: the work directory.
        evaluation: as JSON values.
        act: does what a rule says is to be done, by action and reason, and says what came of it.
        clock: microseconds since 1970 UTC.

    Returns:
        What was done, in lines.

    Raises:
        StorageError, StorageUnavailableError: the database cannot be used.
    """
    lines: list[str] = []
    stream = str(evaluation["stream"])
    with opened(settings, root) as engine:
        for rule in rules(settings):
            value = metric(rule.metric, evaluation)
            if value is None:
                lines.append(f"Rule {rule.name!r} not evaluated ({rule.metric} missing); its state is unchanged.")
                continue
            event = [_settled(settings, engine, rule, stream, value, evaluation, clock)]
            if rule.metric == "not_computed" and stream != NO_STREAM:
                # What could not even be begun says no stream; now one was.
                event.append(_settled(settings, engine, rule, NO_STREAM, 0.0, evaluation, clock))
            lines += [f"alert {each.kind.value}: {each.alert.summary} ({each.alert.alert_id})" for each in event if each is not None]
            action = settings.alerts.rules[rule.name].action
            if action is not None and act is not None and event[0] is not None and event[0].kind is AlertChange.RAISED:
                lines.append(_acted(act, action, event[0].alert.summary))
        return (*lines, *deliver(settings, root, engine, clock=clock))


def _acted(act: Callable[[str, str], str], action: str, reason: str) -> str:
    """What came of an action; where it fails that is said: the other rules are still to be asked."""
    try:
        return act(action, reason)
    except Exception as error:  # noqa: BLE001 -- whatever it was, alerts go on
        return f"{action} FAILED: {error!r}"


def _settled(
    settings: Settings, engine: Engine, rule: AlertRule, stream: str, value: float, evaluation: Mapping[str, Any], clock: Clock
) -> AlertEvent | None:
    summary = _summary(rule, value, evaluation)
    return alerts.update_rule(
        *(engine, rule, stream, value, summary),
        now_us=clock(),
        messages=lambda event: _messages(settings, rule, event, evaluation),
        evaluation_id=evaluation.get("evaluation_id"),
    )


def _summary(rule: AlertRule, value: float, evaluation: Mapping[str, Any]) -> str:
    if rule.metric in ("alarms", "not_computed"):
        values = evaluation[rule.metric]
        more = f"; and {len(values) - NAMED} more" if len(values) > NAMED else ""
        return f"{rule.name}: {'; '.join(values[:NAMED]) or 'nothing any more'}{more}"
    if rule.metric == "promise_broken":
        return f"{rule.name}: {'more' if value else 'no more'} negative answers turned out wrong than promised"
    return f"{rule.name}: {METRICS.get(rule.metric, rule.metric)} is {value:.4g}; the limit is {rule.limit().partition(' ')[2]}"


def _messages(settings: Settings, rule: AlertRule, event: AlertEvent, evaluation: Mapping[str, Any]) -> list[Message]:
    simulated = "SIMULATED DATA: " if evaluation.get("simulated") else ""
    over = event.kind is AlertChange.RECOVERED
    head = "recovered" if over else event.alert.severity.value
    title = f"[{head}] {simulated}sporeprint: {rule.name}, {evaluation.get('model') or 'no model'}"
    lines = [
        event.alert.summary,
        "",
        f"{'was on since' if over else 'since'}: {_moment(event.alert.first_us)}",
        f"looked at: {evaluation['current']}",
        f"against: {evaluation['reference']}",
        *([f"report: {path}" for path in evaluation.get("written", ())[:1]]),
        *([] if over else ["", f"What to do: {ADVICE.get(rule.metric, 'Open the report.')}"]),
        *([] if over else [f"Say that you know: sporeprint alerts ack {event.alert.alert_id}"]),
    ]
    channels = settings.alerts.rules[rule.name].channels
    return [Message(name, title, "\n".join(lines)) for name in _channels(settings, event.alert.severity, channels)]


def _channels(settings: Settings, severity: Severity, chosen: Sequence[str] | None = None, but: str | None = None) -> list[str]:
    """The channels that a severity goes to."""
    there = settings.alerts.channels
    names = there if chosen is None else chosen
    return [name for name in names if name != but and severity.rank >= Severity(there[name].severity).rank]


def _moment(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / SECOND_US, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# --- delivering ----------------------------------------------------------------------------------------------------------


def deliver(settings: Settings, root: Path, engine: Engine, *, clock: Clock = now_us) -> list[str]:
    """Deliver what is due, and say what became of it. A channel that takes nothing is itself an alert, sent by the others.

    Raises:
        StorageError, StorageUnavailableError: the database cannot be used.
    """
    chosen, lines = settings.alerts, []
    # Long enough for all of them: what is taken is nobody else's until then.
    lease_us = round((chosen.timeout_s + 10) * MOST * SECOND_US)
    begin = clock()
    for each in alerts.claim_due(engine, now_us=begin, until_us=begin + lease_us, limit=MOST):
        error = _sent(settings, root, each)
        at = clock()
        attempts = each.attempts + 1
        again = None if attempts >= chosen.attempts else at + round(notifications.pause_s(chosen, attempts) * SECOND_US)
        alerts.record_attempt(engine, each, error, now_us=at, again_us=again)
        if error is None:
            lines.append(f"notified {each.channel}: {each.title}")
        else:
            what = "given up" if again is None else f"next try {_moment(again)}"
            lines.append(f"channel {each.channel} did not take {each.title!r} ({attempts} of {chosen.attempts}, {what}): {error}")
        if error is None or again is None:
            _channel_is(settings, engine, each.channel, error, at)
    return lines


def _sent(settings: Settings, root: Path, each: Delivery) -> str | None:
    channel = settings.alerts.channels.get(each.channel)
    if channel is None:
        return "the configuration has no such channel any more"
    try:
        url = notifications.address(each.channel, channel, root)
        return notifications.send(url, each.title, each.body, timeout_s=settings.alerts.timeout_s)
    except ConfigError as error:
        return str(error)


def _channel_is(settings: Settings, engine: Engine, name: str, error: str | None, at_us: int) -> None:
    """Raise an alert about a channel that gave up, or end it."""
    rule = AlertRule(f"channel {name}"[:64], "dead", above=0.5, severity=Severity.CRITICAL, cool_down_s=0, remind_s=None)
    summary = f"the channel {name!r} takes no messages: {error}"

    def messages(event: AlertEvent) -> list[Message]:
        over = event.kind is AlertChange.RECOVERED
        title = f"[{'recovered' if over else 'critical'}] sporeprint: channel {name} {'takes messages again' if over else 'is dead'}"
        body = title if over else f"{summary}\n\nWhat to do: sporeprint alerts test {name}"
        return [Message(other, title, body) for other in _channels(settings, Severity.CRITICAL, but=name)]

    alerts.update_rule(engine, rule, CHANNELS, float(error is not None), summary, now_us=at_us, messages=messages)


def try_channel(settings: Settings, root: Path, name: str) -> str | None:
    """Send a test message, and say why that failed; None if it was taken.

    Raises:
        UsageError: there is no such channel.
        ConfigError: its address is not there, or Apprise is not.
    """
    channel = settings.alerts.channels.get(name)
    if channel is None:
        there = ", ".join(settings.alerts.channels) or "none; see alerts.channels in config/config.yaml"
        raise UsageError(f"there is no channel {name!r}{nearest(name, settings.alerts.channels)}; there are: {there}")
    url = notifications.address(name, channel, root)
    return notifications.send(url, "[test] sporeprint", "This is a test. Alerts come this way.", timeout_s=settings.alerts.timeout_s)


def card(alert: Alert) -> dict[str, Any]:
    """An alert as JSON values."""
    return {
        "alert_id": alert.alert_id,
        "severity": alert.severity.value,
        "status": alert.status,
        "since": _moment(alert.first_us),
        "last": _moment(alert.last_us),
        "summary": alert.summary,
        "monitor": alert.monitor,
    }

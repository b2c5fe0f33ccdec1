"""When an evaluation is worth telling somebody: rules over its numbers, as a state machine without a clock or a database.

A rule is quiet, waits (its condition holds, but not for long enough yet), or is on. People are notified once when it goes on, then only
reminded, until the number is back behind a second threshold (hysteresis), of which they are notified, too. What comes again soon after
is muted (cool-down).
A number that could not be computed changes nothing: nothing recovers by not being looked at.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self


class Severity(StrEnum):
    """How bad it is, from the least on."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Larger is worse."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class AlertRule:
    """When to tell.

    Attributes:
        name: of the rule.
        metric: what it looks at: one of `METRICS`, or a path of names with dots into the evaluation's JSON.
        above: it holds above this; None: it holds below `below`.
        below: it holds below this.
        clear: the number at which it is over; as `above` or `below`, if None.
        severity: how bad it is.
        for_s: seconds for which it has to hold before people are notified.
        cool_down_s: seconds after its end within which nobody is notified again.
        remind_s: seconds after which people are reminded while it is on and nobody has acknowledged it; None: never.
    """

    name: str
    metric: str
    above: float | None = None
    below: float | None = None
    clear: float | None = None
    severity: Severity = Severity.WARNING
    for_s: float = 0.0
    cool_down_s: float = 3600.0
    remind_s: float | None = 86_400.0

    def holds(self, value: float) -> bool:
        """Whether the condition is fulfilled."""
        return value > self.above if self.above is not None else self.below is not None and value < self.below

    def is_over(self, value: float) -> bool:
        """Whether what is on has come back."""
        if self.clear is None:
            return not self.holds(value)
        return value <= self.clear if self.above is not None else value >= self.clear

    def limit(self) -> str:
        """The condition, in words."""
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"


class Phase(StrEnum):
    """Where a rule stands."""

    QUIET = "quiet"
    WAITING = "waiting"
    ON = "on"


class AlertChange(StrEnum):
    """What happened to an alert."""

    RAISED = "raised"
    SUPPRESSED = "suppressed"
    REMINDED = "reminded"
    RECOVERED = "recovered"
    ENDED = "ended"


@dataclass(frozen=True)
class RuleState:
    """Where a rule stands for one stream of evaluations. Times are seconds since 1970.

    Attributes:
        phase: quiet, waiting or on.
        since_s: since when it waits, or is on: the begin of the condition.
        notified_s: when people were last notified.
        ended_s: when it was last over.
        muted: whether it is on without a notification, because of the cool-down.
        acknowledged: whether somebody knows.
        alert_id: of the alert that is on.
        value: the last number seen.
    """

    phase: Phase = Phase.QUIET
    since_s: float | None = None
    notified_s: float | None = None
    ended_s: float | None = None
    muted: bool = False
    acknowledged: bool = False
    alert_id: str | None = None
    value: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        return cls(**{**raw, "phase": Phase(raw["phase"])})


def step(rule: AlertRule, state: RuleState, value: float | None, now_s: float) -> tuple[RuleState, AlertChange | None]:
    """Where a rule stands after a further number, and which notification is due, if any.

    Args:
        rule: the rule.
        state: where it stood.
        value: the number; None: it could not be computed.
        now_s: when.
    """
    if value is None or not math.isfinite(value):
        return state, None
    seen = replace(state, value=value)
    if state.phase is Phase.ON:
        return _on(rule, seen, value, now_s)
    if not rule.holds(value):
        return replace(seen, phase=Phase.QUIET, since_s=None), None
    since_s = state.since_s if state.phase is Phase.WAITING and state.since_s is not None else now_s
    # Clock skew must not make it wait for ever.
    since_s = min(since_s, now_s)
    if now_s - since_s < rule.for_s:
        return replace(seen, phase=Phase.WAITING, since_s=since_s), None
    muted = state.ended_s is not None and abs(now_s - state.ended_s) < rule.cool_down_s
    on = replace(seen, phase=Phase.ON, since_s=since_s, notified_s=None if muted else now_s, muted=muted, acknowledged=False)
    return on, AlertChange.SUPPRESSED if muted else AlertChange.RAISED


def _on(rule: AlertRule, seen: RuleState, value: float, now_s: float) -> tuple[RuleState, AlertChange | None]:
    if rule.is_over(value):
        # What nobody was notified of is not called off, and its end begins no cool-down: nobody would ever hear of what flaps.
        over = RuleState(ended_s=seen.ended_s if seen.muted else now_s, notified_s=seen.notified_s, value=value)
        return over, AlertChange.ENDED if seen.muted else AlertChange.RECOVERED
    if seen.muted and (seen.ended_s is None or abs(now_s - seen.ended_s) >= rule.cool_down_s):
        return replace(seen, muted=False, notified_s=now_s), AlertChange.RAISED
    notified_s = now_s if seen.notified_s is None else min(seen.notified_s, now_s)
    if rule.remind_s is not None and not seen.acknowledged and not seen.muted and now_s - notified_s >= rule.remind_s:
        return replace(seen, notified_s=now_s), AlertChange.REMINDED
    return seen, None


# --- numbers of an evaluation ------------------------------------------------------------------------------------------

#: Names for what rules look at most.
METRICS = {
    "alarms": "alarms of the monitor",
    "not_computed": "what the monitor could not compute",
    "unknown_share": "share of answers that are unknown",
    "promise_broken": "1 where more negative answers are wrong than promised, by a bound that holds at any time",
    "accuracy": "share of right answers, by outcomes that had the time to come",
    "expected_accuracy": "share of right answers to be expected, by the probabilities",
    "expected_accuracy_by_component": "share of right answers to be expected, by the guard's components",
}

#: Where an evaluation has what is expected.
EXPECTED = {"expected_accuracy": "expected", "expected_accuracy_by_component": "expected_by_component"}


def metric(name: str, evaluation: Mapping[str, Any]) -> float | None:
    """A number of an evaluation; None where it was not computed.

    Args:
        name: one of `METRICS`, or a path such as `performance.brier.value`.
        evaluation: as JSON values.
    """
    if name in ("alarms", "not_computed"):
        return float(len(evaluation[name]))
    if name == "unknown_share":
        answered = evaluation.get("answered") or {}
        total = sum(answered.values())
        return answered.get("unknown", 0) / total if total else None
    real = evaluation.get("performance") or {}
    if name == "promise_broken":
        # Valid at any time, and for the outcomes that are here: it does not wait for the others.
        return float(real["promise"] == "broken") if real.get("promise") in ("broken", "kept", "not decided yet") else None
    if name == "accuracy":
        return _number((real.get("accuracy") or {}).get("value")) if evaluation.get("mature", True) else None
    if name in EXPECTED:
        return _number(((evaluation.get(EXPECTED[name]) or {}).get("accuracy") or {}).get("value"))
    value: Any = evaluation
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return float(len(value)) if isinstance(value, list) else _number(value)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None

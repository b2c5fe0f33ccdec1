"""When a change is an alarm: error control over columns and over time, and a floor for how large a change has to be.

The promise: if nothing changes, any period of `period_s` seconds brings a false alarm with a probability of at most `alpha`, however
many columns there are and however often somebody looks. It is kept by a budget that accrues with time: an evaluation may err with a
probability of alpha * (time since the last one) / (period + the planned time), shared among its checks by Holm's (1979) procedure.
So the probabilities of a period add up to alpha at most (Boole), and nothing has to be independent: not the columns, not successive
windows, which all are held against the same reference rows. That is why evidence is not multiplied up over windows: the
reference's own sampling error, the same every day, would add up as if it were news.

As thresholds grow with the logarithm of the budget only, looking often costs little: every minute instead of every day, and a shift
has to be three tenths larger.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from sporeprint.monitoring.drift import MISSING, NEW, VALUES, Check, DriftReport
from sporeprint.stats.paired import holm

DAY_S = 86_400.0
#: Windows that are remembered, so that one that is looked at again has no further chance to err.
REMEMBERED = 64
FORMAT = 1


@dataclass(frozen=True)
class AlarmPolicy:
    """What an alarm is.

    Attributes:
        alpha: probability of a false alarm in a period in which nothing changes, at most.
        period_s: the period, in seconds.
        every_s: how often the monitor is meant to look, in seconds: what the first evaluation may spend, and the most that any may.
        shift: floor of a numeric column's Wasserstein distance, in the reference's standard deviations.
        shares: floor of a nominal column's total variation distance.
        new: floor of the share of rows whose value is new.
        missing: floor of the change of the share of missing values.
    """

    alpha: float = 0.05
    period_s: float = 30 * DAY_S
    every_s: float = DAY_S
    shift: float = 0.1
    shares: float = 0.05
    new: float = 0.005
    missing: float = 0.02

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}; expected a probability between 0 and 1")
        if not 0 < self.every_s <= self.period_s:
            raise ValueError(f"every_s is {self.every_s}; expected seconds, above 0 and at most period_s ({self.period_s})")

    def floor(self, kind: str, check: Check) -> float:
        """What the effect of a check has to reach."""
        if check.about == VALUES:
            return self.shift if kind == "numeric" else self.shares
        return {NEW: self.new, MISSING: self.missing}[check.about]


@dataclass(frozen=True, slots=True)
class ActiveAlarm:
    """An alarm that is still on.

    Attributes:
        since_s: time of the first evaluation in a row that raised it, in seconds since 1970.
        evaluations: how many in a row raised it.
    """

    since_s: float
    evaluations: int


@dataclass(frozen=True)
class AlarmState:
    """What one stream of evaluations has to remember: of one model, or one arm, or one slice.

    Attributes:
        last_s: time of the last evaluation, in seconds since 1970; None before the first.
        raised: "column: question" -> the alarm that is on.
        levels: window -> the probability with which its evaluation was allowed to err; the last ones.
    """

    last_s: float | None = None
    raised: Mapping[str, ActiveAlarm] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """As JSON."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if it is something else.
        """
        raw = json.loads(text)
        try:
            if raw["format"] != FORMAT:
                raise ValueError(f"a state of format {raw['format']!r}, expected {FORMAT}")
            return cls(raw["last_s"], {name: ActiveAlarm(**item) for name, item in raw["raised"].items()}, raw["levels"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no state of a monitor: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Finding:
    """A check, judged.

    Attributes:
        column: what it is about.
        check: the check.
        adjusted: its p-value, adjusted for the number of checks of this evaluation.
        floor: what the effect has to reach.
        significant: whether the adjusted p-value is within the level.
        alarm: whether the effect reaches the floor, too.
        since_s: since when the alarm is on; None where there is none.
        evaluations: how many evaluations in a row.
    """

    column: str
    check: Check
    adjusted: float
    floor: float
    significant: bool
    alarm: bool
    since_s: float | None = None
    evaluations: int = 0

    @property
    def name(self) -> str:
        """Column and question."""
        return f"{self.column}: {self.check.question}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Judgement:
    """What one evaluation says.

    Attributes:
        level: probability with which it was allowed to err.
        findings: every check, in the order of the columns.
        recovered: alarms that were on and are off.
        notes: what is odd about its time or window.
    """

    level: float
    findings: tuple[Finding, ...]
    recovered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that are alarms."""
        return tuple(finding for finding in self.findings if finding.alarm)

    @property
    def small(self) -> tuple[Finding, ...]:
        """Changes that are there, but smaller than the floor."""
        return tuple(finding for finding in self.findings if finding.significant and not finding.alarm)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        findings = [finding.to_dict() for finding in self.findings]
        return {"level": self.level, "findings": findings, "recovered": list(self.recovered), "notes": list(self.notes)}


def judge(drift: DriftReport, state: AlarmState, policy: AlarmPolicy, *, at_s: float, window: str) -> tuple[Judgement, AlarmState]:
    """Say which changes are alarms.

    Args:
        drift: what changed.
        state: what the evaluations before left; `AlarmState()` before the first.
        policy: what an alarm is.
        at_s: what time it is, in seconds since 1970.
        window: what was evaluated, by a name that no other window has. One that is evaluated again may err no more than it might before.

    Returns:
        the judgement, and what the next evaluation has to be given.
    """
    level, notes = _level(state, policy, at_s, window)
    checks = [(column, check) for column in drift.columns for check in column.checks]
    if not checks:  # nothing was tested, nothing was spent, and nothing has recovered
        return Judgement(level, (), (), notes), state
    adjusted = holm([check.p for _, check in checks])
    findings = []
    for (column, check), p in zip(checks, adjusted, strict=True):
        floor = policy.floor(column.kind, check)
        significant = p <= level
        findings.append(Finding(column.column, check, p, floor, significant, significant and check.effect >= floor))
    notes = (*notes, *_soon(findings, level, policy))
    repeated = window in state.levels
    raised = {finding.name: _raised(state.raised.get(finding.name), at_s, repeated=repeated) for finding in findings if finding.alarm}
    dated = tuple(_dated(finding, raised[finding.name]) if finding.alarm else finding for finding in findings)
    judged = {finding.name for finding in findings}
    # What could not be computed has not recovered.
    unjudged = {name: item for name, item in state.raised.items() if name not in judged}
    recovered = tuple(name for name in state.raised if name in judged and name not in raised)
    last = at_s if state.last_s is None else max(at_s, state.last_s)
    levels = dict(list({**state.levels, window: level}.items())[-REMEMBERED:])
    return Judgement(level, dated, recovered, notes), AlarmState(last, {**unjudged, **raised}, levels)


def _dated(finding: Finding, on: ActiveAlarm) -> Finding:
    return replace(finding, since_s=on.since_s, evaluations=on.evaluations)


def _raised(before: ActiveAlarm | None, at_s: float, *, repeated: bool) -> ActiveAlarm:
    if before is None:
        return ActiveAlarm(at_s, 1)
    return before if repeated else ActiveAlarm(before.since_s, before.evaluations + 1)


def _soon(findings: Sequence[Finding], level: float, policy: AlarmPolicy) -> tuple[str, ...]:
    """What only the short time since the last evaluation keeps from being an alarm, in words."""
    planned = _rate(policy) * policy.every_s
    waiting = [each for each in findings if each.check.effect >= each.floor and level < each.adjusted <= planned]
    if not waiting:
        return ()
    worst = min(waiting, key=lambda each: each.adjusted)
    which = f"{worst.name} and {len(waiting) - 1} more" if len(waiting) > 1 else worst.name
    return (
        f"Not an alarm: {which}. Evaluations share one false-alarm budget, and the previous one was too recent: level {level:.2g} now, "
        f"{planned:.2g} after the planned interval (adjusted p = {worst.adjusted:.2g}).",
    )


def _rate(policy: AlarmPolicy) -> float:
    """False-alarm probability that accrues in one second. A period may begin with an evaluation whose budget accrued before it."""
    return policy.alpha / (policy.period_s + policy.every_s)


def _level(state: AlarmState, policy: AlarmPolicy, at_s: float, window: str) -> tuple[float, tuple[str, ...]]:
    """The probability with which this evaluation may err, and what is odd."""
    if window in state.levels:
        return state.levels[window], ("this window was evaluated before: the same evidence, judged at the same level",)
    rate = _rate(policy)
    if state.last_s is None:
        return rate * policy.every_s, ()
    passed = at_s - state.last_s
    notes: tuple[str, ...] = ()
    if passed < 0:
        notes = (f"the last evaluation is dated {-passed:,.0f} s after this one: a clock was wrong; this one may hardly err",)
    # A second at least, so that a level is never zero; the planned time at most, so that a long silence is not saved up.
    return rate * min(max(passed, 1.0), policy.every_s), notes

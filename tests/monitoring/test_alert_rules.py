"""Rules as a state machine: told once, recovered once, and never by not being looked at."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.monitoring.alert_rules import AlertChange, AlertRule, Phase, RuleState, Severity, metric, step

RULE = AlertRule("r", "alarms", above=10.0, clear=5.0, for_s=0.0, cool_down_s=100.0, remind_s=None)


def walk(rule: AlertRule, numbers: list[tuple[float, float | None]]) -> tuple[RuleState, list[AlertChange | None]]:
    state, happened = RuleState(), []
    for now_s, value in numbers:
        state, kind = step(rule, state, value, now_s)
        happened.append(kind)
    return state, happened


def test_told_once_and_over_behind_the_second_threshold() -> None:
    state, happened = walk(RULE, [(1, 10.0), (2, 11.0), (3, 12.0), (4, 6.0), (5, 5.0), (6, 1.0)])
    assert happened == [None, AlertChange.RAISED, None, None, AlertChange.RECOVERED, None]
    assert (state.phase, state.ended_s) == (Phase.QUIET, 5)


def test_it_has_to_hold_for_a_while() -> None:
    rule = replace(RULE, for_s=10.0)
    assert walk(rule, [(0, 11.0), (5, 1.0), (6, 11.0), (15, 11.0), (16, 11.0)])[1] == [None, None, None, None, AlertChange.RAISED]
    # One look would otherwise have to come exactly then: looks that are far apart count what was between.
    assert walk(rule, [(0, 11.0), (100, 11.0)])[1] == [None, AlertChange.RAISED]


def test_what_comes_again_soon_is_not_told_anew_unless_it_stays() -> None:
    state, happened = walk(RULE, [(0, 11.0), (10, 1.0), (20, 11.0), (30, 1.0), (40, 11.0), (120, 11.0), (121, 1.0)])
    assert happened == [
        AlertChange.RAISED,
        AlertChange.RECOVERED,
        AlertChange.SUPPRESSED,
        AlertChange.ENDED,
        AlertChange.SUPPRESSED,
        AlertChange.RAISED,
        AlertChange.RECOVERED,
    ]
    assert state.ended_s == 121


def test_reminders_until_somebody_knows() -> None:
    rule = replace(RULE, remind_s=50.0)
    state, happened = walk(rule, [(0, 11.0), (49, 11.0), (50, 11.0), (99, 11.0), (100, 11.0)])
    assert happened == [AlertChange.RAISED, None, AlertChange.REMINDED, None, AlertChange.REMINDED]
    known = replace(state, acknowledged=True)
    assert step(rule, known, 11.0, 1000) == (known, None)
    after, kind = step(rule, known, 0.0, 1001)
    assert (kind, after.acknowledged) == (AlertChange.RECOVERED, False)


def test_below() -> None:
    rule = AlertRule("r", "accuracy", below=0.9, clear=0.95, severity=Severity.CRITICAL)
    assert walk(rule, [(0, 0.9), (1, 0.89), (2, 0.94), (3, 0.95)])[1] == [None, AlertChange.RAISED, None, AlertChange.RECOVERED]
    assert rule.limit() == "below 0.9"


VALUES = st.none() | st.floats(0, 20) | st.just(float("nan"))


@given(st.lists(st.tuples(st.floats(0, 60), VALUES), max_size=60), st.sampled_from([0.0, 30.0]), st.sampled_from([0.0, 100.0]))
def test_whatever_comes(pauses: list[tuple[float, float | None]], for_s: float, cool_down_s: float) -> None:
    """Raised and recovered take turns; what was not computed changes nothing; a recovery has a number behind it."""
    rule, state, now_s, told = replace(RULE, for_s=for_s, cool_down_s=cool_down_s), RuleState(), 0.0, []
    for pause, value in pauses:
        now_s += pause
        before = state
        state, kind = step(rule, before, value, now_s)
        if value is None or value != value:
            assert (state, kind) == (before, None)
        if kind is AlertChange.RECOVERED:
            assert value is not None
            assert value <= 5
        if kind is AlertChange.RAISED:
            assert value is not None
            assert value > 5
        if kind in (AlertChange.RAISED, AlertChange.RECOVERED):
            told.append(kind)
        assert RuleState.from_dict(state.to_dict()) == state
    assert told == [AlertChange.RAISED if number % 2 == 0 else AlertChange.RECOVERED for number in range(len(told))]


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0, 20)), max_size=30))
def test_a_clock_that_jumps_harms_nothing(looks: list[tuple[float, float]]) -> None:
    rule = replace(RULE, for_s=10.0, remind_s=20.0)
    state, told = RuleState(), []
    for now_s, value in looks:
        state, kind = step(rule, state, value, now_s)
        if kind in (AlertChange.RAISED, AlertChange.RECOVERED):
            told.append(kind)
    assert told == [AlertChange.RAISED if number % 2 == 0 else AlertChange.RECOVERED for number in range(len(told))]


EVALUATION = {
    "alarms": ["a", "b"],
    "not_computed": [],
    "answered": {"negative": 5, "positive": 3, "unknown": 2},
    "mature": False,
    "performance": {"promise": "broken", "accuracy": {"value": 0.8}, "brier": {"value": 0.1}},
    "expected": {"accuracy": {"value": 0.9}},
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alarms", 2.0),
        ("not_computed", 0.0),
        ("unknown_share", 0.2),
        ("promise_broken", 1.0),
        ("accuracy", None),  # the outcomes have not had the time to come
        ("expected_accuracy", 0.9),
        ("performance.brier.value", 0.1),
        ("performance.brier.valu", None),
        ("alarms.0", None),
        ("performance", None),
    ],
)
def test_numbers_of_an_evaluation(name: str, value: float | None) -> None:
    assert metric(name, EVALUATION) == value


def test_what_was_not_computed_is_no_number() -> None:
    nothing: dict[str, Any] = {"alarms": [], "not_computed": ["everything"], "performance": None, "expected": None, "answered": {}}
    assert {name: metric(name, nothing) for name in ("unknown_share", "promise_broken", "accuracy", "expected_accuracy")} == {
        "unknown_share": None,
        "promise_broken": None,
        "accuracy": None,
        "expected_accuracy": None,
    }
    assert metric("accuracy", {**EVALUATION, "mature": True}) == 0.8

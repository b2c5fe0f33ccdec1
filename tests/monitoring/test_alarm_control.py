"""Error control: no more false alarms than promised, real changes seen soon, and the budget of a period is never overdrawn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sporeprint.monitoring.alarm_control import DAY_S, AlarmPolicy, AlarmState, Judgement, judge
from sporeprint.monitoring.data_profile import NominalProfile, Profile
from sporeprint.monitoring.drift import MISSING, NEW, VALUES, Check, ColumnDrift, DriftReport, drift

POLICY = AlarmPolicy()


def checked(**checks: tuple[float, float]) -> DriftReport:
    """Columns with one check of their values each: p and effect."""
    columns = tuple(
        ColumnDrift(name, "numeric", (1, 1), (0, 0), checks=(Check(VALUES, p, effect, "sd", "", 0),))
        for name, (p, effect) in checks.items()
    )
    return DriftReport((100, 100), columns)


def judged(drifts: list[DriftReport], times: list[float]) -> tuple[list[Judgement], AlarmState]:
    state, found = AlarmState(), []
    for number, (given_drift, at_s) in enumerate(zip(drifts, times, strict=True)):
        judgement, state = judge(given_drift, state, POLICY, at_s=at_s, window=str(number))
        found.append(judgement)
    return found, state


def test_an_alarm_is_more_than_chance_and_large_enough() -> None:
    judgement, state = judge(checked(a=(1e-9, 0.5), b=(1e-9, 0.05), c=(0.01, 0.5)), AlarmState(), POLICY, at_s=0, window="w")
    assert [finding.column for finding in judgement.alarms] == ["a"]
    assert [finding.column for finding in judgement.small] == ["b"]
    assert judgement.findings[0].adjusted == pytest.approx(3e-9)
    assert list(state.raised) == ["a: values"]


@given(st.lists(st.floats(0, 3 * DAY_S), min_size=1, max_size=80))
def test_a_period_never_spends_more_than_it_has(pauses: list[float]) -> None:
    times = np.cumsum(pauses).tolist()
    found, _ = judged([checked(a=(1.0, 0.0))] * len(times), times)
    for start in times:
        spent = sum(judgement.level for judgement, at_s in zip(found, times, strict=True) if start <= at_s < start + POLICY.period_s)
        # A second's worth is given to evaluations that follow each other faster.
        assert spent <= POLICY.alpha + 1e-6 * len(times)


def test_looking_every_minute_hardly_costs() -> None:
    found, _ = judged([checked(a=(1e-9, 1.0))] * 3, [0, 60, 120])
    assert [judgement.alarms != () for judgement in found] == [True, True, True]
    assert found[1].level == pytest.approx(found[0].level / 1440)


def test_a_window_that_is_evaluated_again_is_judged_as_before() -> None:
    first, state = judge(checked(a=(1e-9, 1.0)), AlarmState(), POLICY, at_s=0, window="w")
    again, state = judge(checked(a=(1e-9, 1.0)), state, POLICY, at_s=5, window="w")
    assert again.level == first.level
    assert again.alarms[0].evaluations == 1
    assert "evaluated before" in again.notes[0]
    assert state.levels == {"w": first.level}


def test_since_when_and_recovery() -> None:
    bad, good = checked(a=(1e-9, 1.0)), checked(a=(0.5, 0.0))
    found, state = judged([bad, bad, DriftReport((0, 0), ()), good], [0, DAY_S, 2 * DAY_S, 3 * DAY_S])
    assert (found[1].alarms[0].since_s, found[1].alarms[0].evaluations) == (0, 2)
    assert found[2].recovered == ()  # nothing was computed, so nothing has recovered
    assert found[3].recovered == ("a: values",)
    assert state.raised == {}


def test_what_could_not_be_computed_stays_raised() -> None:
    found, state = judged([checked(a=(1e-9, 1.0), b=(1, 0)), checked(b=(1, 0))], [0, DAY_S])
    assert found[1].recovered == ()
    assert list(state.raised) == ["a: values"]


def test_a_clock_that_went_back_is_said() -> None:
    found, state = judged([checked(a=(1, 0))] * 2, [10 * DAY_S, DAY_S])
    assert "a clock was wrong" in found[1].notes[0]
    assert 0 < found[1].level < 1e-7
    assert state.last_s == 10 * DAY_S


def test_the_state_is_read_as_it_was_written() -> None:
    _, state = judged([checked(a=(1e-9, 1.0))], [7.0])
    assert AlarmState.from_json(state.to_json()) == state
    with pytest.raises(ValueError, match="no state of a monitor"):
        AlarmState.from_json('{"format": 1}')
    with pytest.raises(ValueError, match="format 9"):
        AlarmState.from_json('{"format": 9}')


def test_each_question_has_its_floor() -> None:
    for kind, about, floor in (("numeric", VALUES, 0.1), ("nominal", VALUES, 0.05), ("nominal", NEW, 0.005), ("numeric", MISSING, 0.02)):
        assert POLICY.floor(kind, Check(about, 0, 0, "", "", 0)) == floor
    with pytest.raises(ValueError, match="alpha is 2"):
        replace(POLICY, alpha=2)
    with pytest.raises(ValueError, match="every_s"):
        replace(POLICY, every_s=POLICY.period_s + 1)


# --- the promise, by simulation (benchmarks/alarms.py has the same with numbers, and 500 months) ---------------------------

FEATURES, REFERENCE, WINDOW, DAYS = 20, 9_160, 1_000, 30


def table(rows: int, draw: np.random.Generator, new: float = 0.0, tilt: float = 0.0) -> Profile:
    columns = {}
    for number in range(FEATURES):
        shares = 0.7 ** np.arange(2 + number % 9)
        shares = np.append(shares / shares.sum() * (1 - (new if number == 0 else 0)), new if number == 0 else 0)
        if number == 1:
            shares = shares + tilt * np.array([1, *[0] * (len(shares) - 2), 0]) - tilt * np.array([0, 1, *[0] * (len(shares) - 2)])
        missing = int(draw.binomial(rows, 0.1 * (number % 3)))
        counts = draw.multinomial(rows - missing, shares)
        columns[str(number)] = NominalProfile({f"v{place}": int(count) for place, count in enumerate(counts) if count}, missing)
    return Profile(rows, columns)


def first_alarm(seed: int, days: int, policy: AlarmPolicy = POLICY, **change: float) -> int | None:
    draw = np.random.default_rng(seed)
    reference, state = table(REFERENCE, draw), AlarmState()
    for day in range(1, days + 1):
        judgement, state = judge(drift(reference, table(WINDOW, draw, **change)), state, policy, at_s=day * DAY_S, window=str(day))
        if judgement.alarms:
            return day
    return None


def test_a_month_of_nothing_raises_hardly_a_false_alarm() -> None:
    """Without floors, so that the error control alone is tested, and twenty times the budget, so that there is something to count."""
    policy = AlarmPolicy(alpha=0.5, shift=0, shares=0, new=0, missing=0)
    months = 24
    assert sum(first_alarm(seed, DAYS, policy) is not None for seed in range(months)) <= stats.binom.ppf(0.999, months, policy.alpha)


def test_changes_are_raised_within_two_days() -> None:
    for new, tilt in ((0.02, 0.0), (0.0, 0.12)):
        assert sum(first_alarm(seed, 2, new=new, tilt=tilt) is not None for seed in range(40)) >= 38


def test_what_comes_too_soon_after_the_last_look_is_said() -> None:
    drift = checked(a=(2e-7, 0.8), b=(0.5, 0.8), c=(1e-7, 0.01))
    _, state = judge(checked(a=(0.5, 0.0)), AlarmState(), POLICY, at_s=0, window="w")
    soon, after = judge(drift, state, POLICY, at_s=1, window="x")
    assert not soon.alarms
    (note,) = soon.notes
    assert note.startswith("Not an alarm: a: values. Evaluations share one false-alarm budget, and the previous one was too recent")
    later, _ = judge(drift, state, POLICY, at_s=POLICY.every_s, window="y")
    assert [finding.column for finding in later.alarms] == ["a"]
    assert later.notes == ()
    assert judge(checked(a=(0.5, 0.8)), after, POLICY, at_s=2, window="z")[0].notes == ()

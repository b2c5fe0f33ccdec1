"""Earlier windows say how much windows differ anyway: days that differ raise no alarm, a change does."""

import numpy as np
import pytest

from sporeprint.monitoring.between_windows import (
    LEAST_WINDOWS,
    EarlierWindow,
    EarlierWindows,
    column_counts,
    drift_between_windows,
)
from sporeprint.monitoring.data_profile import NominalProfile, Profile, of_numbers
from sporeprint.monitoring.drift import drift

DAY_S = 86_400.0


def table(draw: np.random.Generator, mean: float = 0.0, share: float = 0.5, rows: int = 400) -> Profile:
    first = int(draw.binomial(rows, share))
    return Profile(rows, {"size": of_numbers(draw.normal(mean, size=rows)), "shape": NominalProfile({"a": first, "b": rows - first})})


def service(draw: np.random.Generator, days: int, means: list[float], shares: list[float] | None = None) -> tuple[Profile, EarlierWindows]:
    reference = table(draw, rows=2000)
    earlier = []
    for age in range(1, days + 1):
        profile = table(draw, means[age % len(means)], (shares or [0.5])[age % len(shares or [0.5])])
        earlier.append(EarlierWindow(age, -age * DAY_S, profile, column_counts(reference, profile)))
    return reference, EarlierWindows(tuple(earlier), daily=True)


def p_values(reference: Profile, current: Profile, earlier: EarlierWindows | None, **alarms: float) -> dict[str, float]:
    report, _ = drift_between_windows(reference, current, earlier, alarms=alarms)
    return {f"{column.column}: {check.question}": check.p for column in report.columns for check in column.checks}


def test_until_there_are_enough_windows_the_report_is_that_of_rows_and_says_so() -> None:
    draw = np.random.default_rng(1)
    reference, earlier = service(draw, LEAST_WINDOWS - 1, [0.0])
    current = table(draw)
    report, note = drift_between_windows(reference, current, earlier, alarms={})
    assert report == drift(reference, current)
    assert note is not None
    assert note.startswith("27 earlier windows of the 28 that are needed")
    assert drift_between_windows(reference, current, None, alarms={}) == (drift(reference, current), None)
    _, enough = service(draw, LEAST_WINDOWS, [0.0])
    assert "28 earlier windows say how much" in str(drift_between_windows(reference, current, enough, alarms={})[1])


def test_days_that_differ_are_no_change_and_a_change_is_one() -> None:
    draw = np.random.default_rng(2)
    means = draw.normal(0, 0.3, 60).tolist()
    reference, earlier = service(draw, 56, means)
    usual = table(draw, 0.35)
    assert p_values(reference, usual, None)["size: values"] < 1e-4
    assert p_values(reference, usual, earlier)["size: values"] > 0.05
    assert p_values(reference, table(draw, 3.0), earlier)["size: values"] < 1e-6
    alike, days = service(draw, 56, [0.0])
    assert p_values(alike, table(draw, 0.5), days)["size: values"] < 1e-6
    assert p_values(alike, table(draw, share=0.75), days)["shape: values"] < 1e-6


def test_a_week_has_days_of_its_own() -> None:
    draw = np.random.default_rng(3)
    week = [0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]
    reference, earlier = service(draw, 56, week)
    weekend, weekday = table(draw, 0.5), table(draw, 0.0)
    assert p_values(reference, weekend, None)["size: values"] < 1e-6
    assert p_values(reference, weekend, earlier)["size: values"] > 0.01
    # What is usual on one day is not on another.
    moved = EarlierWindows(tuple(EarlierWindow(w.age + 3, w.end_s, w.profile, w.counts) for w in earlier.windows), daily=True)
    assert p_values(reference, weekend, moved)["size: values"] < 1e-4
    assert p_values(reference, weekday, moved)["size: values"] > 0.01


def test_longer_periods_are_tested_where_there_are_enough_windows_before_them() -> None:
    draw = np.random.default_rng(4)
    reference, earlier = service(draw, 56, [0.0])
    questions = set(p_values(reference, table(draw), earlier))
    assert {"size: values", "size: values, 3 days", "size: values, 7 days", "size: values, 28 days", "size: missing, 7 days"} <= questions
    short = EarlierWindows(earlier.windows[:33], daily=True)
    assert "size: values, 7 days" not in p_values(reference, table(draw), short)
    hourly = EarlierWindows(earlier.windows, daily=False)
    assert "size: values, 7 days" not in p_values(reference, table(draw), hourly)


def test_an_alarm_that_stays_does_not_become_usual() -> None:
    draw = np.random.default_rng(5)
    reference, earlier = service(draw, 56, [0.0])
    changed = table(draw, 0.6)
    after = tuple(
        EarlierWindow(window.age, window.end_s, changed, column_counts(reference, changed)) if window.age <= 14 else window
        for window in earlier.windows
    )
    learnt = EarlierWindows(after, daily=True)
    assert p_values(reference, table(draw, 0.6), learnt)["size: values"] > 1e-4
    since = {"size: values": -14 * DAY_S + 60}
    assert p_values(reference, table(draw, 0.6), learnt, **since)["size: values"] < 1e-6


@pytest.mark.parametrize("rows", [1, 29])
def test_windows_with_too_few_rows_say_nothing(rows: int) -> None:
    draw = np.random.default_rng(6)
    reference, earlier = service(draw, 56, [0.0])
    thin = table(draw, rows=rows)
    few = tuple(EarlierWindow(w.age, w.end_s, thin if w.age > 20 else w.profile, w.counts) for w in earlier.windows)
    _, note = drift_between_windows(reference, table(draw), EarlierWindows(few, daily=True), alarms={})
    assert str(note).startswith("20 earlier windows of the 28")


def test_constant_and_empty_columns_are_no_trouble() -> None:
    draw = np.random.default_rng(7)

    def odd(rows: int) -> Profile:
        return Profile(
            rows, {"constant": of_numbers(np.ones(rows)), "empty": NominalProfile({}, rows), "size": of_numbers(draw.normal(size=rows))}
        )

    reference = odd(500)
    windows = tuple(EarlierWindow(age, -age * DAY_S, odd(100), column_counts(reference, odd(100))) for age in range(1, 57))
    found = p_values(reference, odd(100), EarlierWindows(windows, daily=True))
    assert found["constant: values"] == 1.0
    assert found["empty: missing"] == 1.0

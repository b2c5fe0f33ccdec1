"""Answers by hour, from totals that only grow."""

from sporeprint.model_serving.runtime.recent_answers import HOUR_S, RecentAnswers


def test_what_was_counted_before_is_no_part_of_an_hour() -> None:
    recent = RecentAnswers()
    assert [sum(hour.by_verdict.values()) for hour in recent.hours(100.0 * HOUR_S)] == [0] * 24
    recent.add(10.5 * HOUR_S, {"edible": 1_000})
    recent.add(10.6 * HOUR_S, {"edible": 1_003, "unknown": 2})
    recent.add(11.1 * HOUR_S, {"edible": 1_003, "unknown": 7})
    hours = {hour.begin_s // HOUR_S: hour.by_verdict for hour in recent.hours(12.2 * HOUR_S)}
    assert (hours[10], hours[11], hours[12]) == ({"edible": 3, "unknown": 2}, {"unknown": 5}, {})
    assert recent.since_s == 10.5 * HOUR_S


def test_a_day_is_kept_and_a_counter_that_began_anew_is_not_negative() -> None:
    recent = RecentAnswers()
    for hour in range(100):
        recent.add(hour * HOUR_S + 1.0, {"edible": hour * 10})
    recent.add(99 * HOUR_S + 2.0, {"edible": 5})
    assert [hour.by_verdict.get("edible") for hour in recent.hours(99.5 * HOUR_S)] == [10] * 24

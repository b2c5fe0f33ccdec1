"""The monitor's promises, simulated: small versions of benchmarks/monitor_days.py."""

import pytest

from sporeprint.monitoring.alarm_control import AlarmPolicy
from sporeprint.monitoring.simulation import DailyTraffic, simulate_months

FEW = {"rows": 300, "reference_rows": 3000, "features": 3, "history": 40}


def test_days_that_differ_raise_no_alarm_once_they_are_known() -> None:
    traffic = DailyTraffic(**FEW, day_effect=0.2, weekend=0.5)
    learned = simulate_months(traffic, AlarmPolicy(), months=2, seed=1, days=10)
    assert learned.share_within(10) == 0
    alike = simulate_months(traffic, AlarmPolicy(), months=2, seed=1, days=10, learned=False)
    assert alike.share_within(10) == 1


def test_a_shift_is_found() -> None:
    made = simulate_months(DailyTraffic(**FEW, shift=0.8), AlarmPolicy(), months=2, seed=2, days=3)
    assert made.share_within(2) == 1
    assert made.to_dict()["alarms_a_month"] >= 1


def test_the_same_seed_gives_the_same_months() -> None:
    made = [simulate_months(DailyTraffic(**FEW, day_effect=0.1), AlarmPolicy(), months=1, seed=3, days=2) for _ in range(2)]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rows": 29}, "rows is 29; expected at least 30"),
        ({"features": 1}, "features is 1; expected at least 2"),
        ({"history": -1}, "history is -1; expected at least 0"),
        ({"day_effect": -0.1}, "day_effect is -0.1; expected 0 or more"),
        ({"shift": float("nan")}, "shift is nan; expected a number of standard deviations"),
    ],
)
def test_traffic_that_cannot_be_is_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DailyTraffic(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="months is 0; expected at least 1"):
        simulate_months(DailyTraffic(), AlarmPolicy(), months=0, seed=1)

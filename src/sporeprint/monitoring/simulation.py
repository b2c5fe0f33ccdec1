"""Simulates months of monitoring on numbers like one's own: how often the monitor raises a false alarm, and how soon it sees a change.

Rows are drawn, profiled, compared and judged by the monitor itself. Days may differ: each has an effect of its own on every feature,
and the weekend may have one on the first. So what is counted is what the promise is worth on days that are not alike.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from sporeprint.monitoring.alarm_control import DAY_S, AlarmPolicy, AlarmState, judge
from sporeprint.monitoring.between_windows import MOST_WINDOWS, EarlierWindow, EarlierWindows, column_counts, drift_between_windows
from sporeprint.monitoring.data_profile import NumericProfile, Profile, of_numbers

#: A month, in days; and the days within which a change should be found.
MONTH, SOON, WEEK = 30, 2, 7


@dataclass(frozen=True)
class DailyTraffic:
    """What is simulated.

    Attributes:
        rows: rows a day.
        reference_rows: rows of the reference.
        features: numeric features, standard normal.
        day_effect: standard deviation of each day's own effect on each feature, in standard deviations of the feature.
        weekend: effect of two days of each week on the first feature, in the same unit.
        shift: added to the second feature from the first day of the month on; 0: nothing changes.
        history: days before the month.
        requests: how often each row of a day comes: 1, or more where callers repeat themselves.
    """

    rows: int = 1000
    reference_rows: int = 9160
    features: int = 20
    day_effect: float = 0.0
    weekend: float = 0.0
    shift: float = 0.0
    history: int = MOST_WINDOWS
    requests: int = 1

    def __post_init__(self) -> None:
        least = {"rows": 30, "reference_rows": 30, "features": 2, "history": 0, "requests": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {low}")
        for name in ("day_effect", "weekend", "shift"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; expected a number of standard deviations")
        if self.day_effect < 0:
            raise ValueError(f"day_effect is {self.day_effect}; expected 0 or more")


@dataclass(frozen=True)
class SimulatedMonth:
    """One month.

    Attributes:
        alarms: days with an alarm, from 1.
        raised: alarms that began.
    """

    alarms: tuple[int, ...]
    raised: int


@dataclass(frozen=True)
class SimulatedMonths:
    """What came of all months.

    Attributes:
        traffic: what was simulated.
        learned: whether earlier windows were used, or rows were taken as alike.
        months: each month.
    """

    traffic: DailyTraffic
    learned: bool
    months: tuple[SimulatedMonth, ...]

    def share_within(self, days: int) -> float:
        """Share of months with an alarm within so many days."""
        return sum(bool(month.alarms) and month.alarms[0] <= days for month in self.months) / len(self.months)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "traffic": asdict(self.traffic),
            "learned": self.learned,
            "months": len(self.months),
            "alarm_within_2_days": self.share_within(SOON),
            "alarm_within_7_days": self.share_within(WEEK),
            "alarm_within_30_days": self.share_within(MONTH),
            "alarms_a_month": sum(month.raised for month in self.months) / len(self.months),
        }


def simulate_months(
    traffic: DailyTraffic,
    policy: AlarmPolicy,
    *,
    months: int,
    seed: int,
    days: int = MONTH,
    learned: bool = True,
    advance: Callable[[int], None] | None = None,
) -> SimulatedMonths:
    """Simulate months that do not depend on each other.

    Args:
        traffic: what is simulated.
        policy: what an alarm is.
        months: how many.
        seed: of the random numbers.
        days: length of a month.
        learned: False: without earlier windows, as a service in its first weeks.
        advance: told after each month.
    """
    for name, value in (("months", months), ("days", days)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    made = []
    for number in range(months):
        made.append(_month(traffic, policy, np.random.default_rng([seed, number]), days, learned=learned))
        if advance is not None:
            advance(1)
    return SimulatedMonths(traffic, learned, tuple(made))


def _month(traffic: DailyTraffic, policy: AlarmPolicy, draw: np.random.Generator, length: int, *, learned: bool) -> SimulatedMonth:
    reference = _table(traffic.reference_rows, np.zeros(traffic.features), draw)
    state, days, raised = AlarmState(), [], 0
    earlier: list[EarlierWindow] = []
    for day in range(-traffic.history if learned else 0, length):
        current = _table(traffic.rows, _means(traffic, day, draw), draw, traffic.requests)
        end_s = (day + MOST_WINDOWS) * DAY_S
        if day >= 0:
            windows = tuple(replace(window, age=len(earlier) - place) for place, window in enumerate(earlier))
            since = {name: alarm.since_s for name, alarm in state.raised.items()}
            report, _ = drift_between_windows(reference, current, EarlierWindows(windows, daily=True) if learned else None, alarms=since)
            before = state.raised.keys()
            judged, state = judge(report, state, policy, at_s=end_s, window=str(day))
            raised += len(state.raised.keys() - before)
            days += [day + 1] if judged.alarms else []
        earlier = [*earlier, EarlierWindow(1, end_s, current, column_counts(reference, current))][-MOST_WINDOWS:]
    return SimulatedMonth(tuple(days), raised)


def _means(traffic: DailyTraffic, day: int, draw: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    means = draw.normal(0, traffic.day_effect, traffic.features) if traffic.day_effect else np.zeros(traffic.features)
    means[0] += traffic.weekend if day % 7 >= 5 else 0.0
    means[1] += traffic.shift if day >= 0 else 0.0
    return means


def _table(rows: int, means: np.ndarray[Any, np.dtype[np.float64]], draw: np.random.Generator, requests: int = 1) -> Profile:
    different = means[:, np.newaxis] + draw.normal(size=(len(means), -(-rows // requests)))
    values = np.repeat(different, requests, axis=1)[:, :rows]
    # In bins a sixteenth as wide as their lower end, as the warehouse counts numbers.
    columns = {f"feature {number}": NumericProfile(of_numbers(row).histogram.coarser(52 - 4)) for number, row in enumerate(values)}
    return Profile(rows, dict(columns))

"""How many answers each of the last hours had, from the counters of all workers: nothing has to ask the database."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

HOUR_S = 3_600
#: Hours, the current one among them.
HOURS = 24


class HourCount(NamedTuple):
    """The answers of an hour.

    Attributes:
        begin_s: its begin, in seconds since 1970.
        by_verdict: verdict -> how many.
    """

    begin_s: int
    by_verdict: Mapping[str, int]


class RecentAnswers:
    """What was counted since this worker began, hour by hour."""

    def __init__(self) -> None:
        self.since_s: float | None = None
        self._last: Mapping[str, int] = {}
        self._hours: OrderedDict[int, dict[str, int]] = OrderedDict()

    def add(self, at_s: float, totals: Mapping[str, int]) -> None:
        """Take note of how many there are by now.

        Args:
            at_s: seconds since 1970.
            totals: verdict -> answers, of all workers, since the server began.
        """
        if self.since_s is None:
            self.since_s, self._last = at_s, dict(totals)
            return
        hour = self._hours.setdefault(int(at_s // HOUR_S), {})
        for verdict, total in totals.items():
            more = total - self._last.get(verdict, 0)
            if more > 0:
                hour[verdict] = hour.get(verdict, 0) + more
        self._last = dict(totals)
        while len(self._hours) > HOURS:
            self._hours.popitem(last=False)

    def hours(self, at_s: float) -> tuple[HourCount, ...]:
        """The last 24 hours, the oldest first; those of which nothing is known have none."""
        now = int(at_s // HOUR_S)
        return tuple(HourCount(hour * HOUR_S, self._hours.get(hour, {})) for hour in range(now - HOURS + 1, now + 1))

"""From numbers to places on a picture, and the few round numbers that stand beside it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
#: Below, a number is shown as 0.
NOTHING = 1e-12
#: Steps between ticks of an axis of times, in seconds; longer ones are whole months.
TIME_STEPS = (
    1.0,
    5.0,
    15.0,
    30.0,
    *(MINUTE * n for n in (1, 5, 15, 30)),
    *(HOUR * n for n in (1, 2, 3, 6, 12)),
    *(DAY * n for n in (1, 2, 7, 14)),
)
MONTH_STEPS = (1, 3, 6, 12, 24, 60, 120)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")
#: Ratio of the ends of a logarithmic axis that is wide enough for ticks at powers of ten alone.
WIDE = 100.0


class Tick(NamedTuple):
    """A number that is written on an axis."""

    value: float
    text: str


@dataclass(frozen=True)
class Scale:
    """An axis with its ends.

    Attributes:
        low: number at its beginning.
        high: number at its end, larger.
        ticks: what is written on it.
        is_log: whether equal ratios are equally long.
    """

    low: float
    high: float
    ticks: tuple[Tick, ...]
    is_log: bool = False

    def at(self, value: float) -> float:
        """Where a number is, from 0 to 1; what lies beyond an end is drawn at that end."""
        low, high, inside = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_log:
            low, high, inside = math.log(low), math.log(high), math.log(inside)
        return (inside - low) / (high - low)


@dataclass(frozen=True)
class Axis:
    """What an axis shows; `scale` fits it to numbers.

    Attributes:
        kind: linear; share (0 to 1, written in percent); log (positive numbers); time (seconds since 1970, written in UTC).
        label: what it counts, with its unit.
        low: fixed beginning; None: from the numbers.
        high: fixed end; None: from the numbers.
        from_zero: whether 0 belongs on it, as for all counts.
    """

    kind: Literal["linear", "share", "log", "time"] = "linear"
    label: str = ""
    low: float | None = None
    high: float | None = None
    from_zero: bool = False

    def scale(self, values: Iterable[float], most: int = 5) -> Scale:
        """The axis for these numbers; those that are not finite do not count.

        Args:
            values: what has to be on it.
            most: about how many ticks.
        """
        finite = [value for value in values if math.isfinite(value) and not (self.kind == "log" and value <= 0)]
        if self.from_zero and self.kind != "log":
            finite.append(0.0)
        low, high = _ends(finite, self.kind)
        low, high = (low if self.low is None else self.low), (high if self.high is None else self.high)
        if self.kind == "time":
            return Scale(low, high, _time_ticks(low, high, most))
        return self._log(low, high) if self.kind == "log" else self._linear(low, high, most)

    def text(self, value: float) -> str:
        """A number of this axis, as people read it."""
        if not math.isfinite(value):
            return "\N{EN DASH}"
        if self.kind == "time":
            at = datetime.fromtimestamp(value, UTC)
            return f"{at.day} {MONTHS[at.month - 1]} {at.year}, {at:%H:%M}"
        value = 0.0 if abs(value) < NOTHING else value
        return (
            f"{100 * value:.4g} %"
            if self.kind == "share"
            else f"{value:,.0f}"
            if value == round(value) and abs(value) < 1e15
            else f"{value:,.4g}"
        )

    def _linear(self, low: float, high: float, most: int) -> Scale:
        step = nice_step((high - low) / max(most, 1))
        low = math.floor(low / step + 1e-9) * step if self.low is None else low
        high = math.ceil(high / step - 1e-9) * step if self.high is None else high
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        return Scale(low, high, tuple(Tick(place * step, self._tick(place * step, step)) for place in range(first, last + 1)))

    def _tick(self, value: float, step: float) -> str:
        """A tick, with the digits that its step has."""
        if self.kind == "share":
            value, step = 100 * value, 100 * step
        text = f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}".replace("-", "\N{MINUS SIGN}")
        return f"{text} %" if self.kind == "share" else text

    def _log(self, low: float, high: float) -> Scale:
        low = 10.0 ** math.floor(math.log10(low) + 1e-9) if self.low is None else low
        high = 10.0 ** math.ceil(math.log10(high) - 1e-9) if self.high is None else high
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        every = max(1, math.ceil(len(powers) / 7))
        factors = (1,) if high / low > WIDE else (1, 2, 5)
        values = [factor * 10.0**power for power in powers if power % every == 0 for factor in factors]
        return Scale(low, high, tuple(Tick(value, _power(value)) for value in values if low * 0.999 <= value <= high * 1.001), is_log=True)


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below a length."""
    if least <= 0 or not math.isfinite(least):
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= least * (1 - 1e-9))


def _power(value: float) -> str:
    """A tick of a logarithmic axis: 0.01, 20, 1,000 or 10\N{SUPERSCRIPT SEVEN}."""
    if 5e-5 < value < 1e6:
        return f"{value:,.6g}"
    mantissa, _, power = f"{value:.0e}".partition("e")
    front = "" if mantissa == "1" else f"{mantissa}\N{MULTIPLICATION SIGN}"
    return f"{front}10{str(int(power)).translate(SUPERSCRIPTS)}"


def _ends(values: list[float], kind: str) -> tuple[float, float]:
    """Two numbers that differ, with all the others between them."""
    low, high = min(values, default=1.0 if kind == "log" else 0.0), max(values, default=1.0)
    if low < high:
        return low, high
    if kind == "log":
        return low / 10, high * 10
    room = HOUR if kind == "time" else abs(high) * 0.1 or 1.0
    return low - room, high + room


def _time_ticks(low: float, high: float, most: int) -> tuple[Tick, ...]:
    """Whole minutes, hours, days, or months."""
    least = (high - low) / (most + 1)
    step = next((each for each in TIME_STEPS if each >= least), None)
    if step is None:
        return _month_ticks(low, high, least / (30 * DAY))
    first, last = math.ceil(low / step), math.floor(high / step)
    ticks: list[Tick] = []
    day = ""
    for place in range(first, last + 1):
        at = datetime.fromtimestamp(place * step, UTC)
        date, clock = f"{at.day} {MONTHS[at.month - 1]}", f"{at:%H:%M:%S}" if step < MINUTE else f"{at:%H:%M}"
        is_first, day = date != day, date
        ticks.append(Tick(place * step, date if step >= DAY or (is_first and clock.strip("0:") == "") else clock))
    return tuple(ticks)


def _month_ticks(low: float, high: float, least: float) -> tuple[Tick, ...]:
    step = next((each for each in MONTH_STEPS if each >= least), MONTH_STEPS[-1])
    begin, end = (datetime.fromtimestamp(value, UTC) for value in (low, high))
    first = math.ceil((begin.year * 12 + begin.month - 1) / step) * step
    ticks = []
    for month in range(first, end.year * 12 + end.month, step):
        at = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
        if begin - timedelta(seconds=1) <= at <= end:
            ticks.append(Tick(at.timestamp(), f"{at.year}" if step >= 12 else f"{MONTHS[at.month - 1]} {at.year}"))
    return tuple(ticks)

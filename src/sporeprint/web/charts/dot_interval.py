"""Estimates with their intervals on one scale, one line each: a dot, and a whisker as long as the interval."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

#: Height of a line, in units of which the chart is 100 wide; the style sheet stretches it to the width of its place.
LINE = 12
#: Share of the scale that stays empty at each end.
MARGIN = 0.04


class DotMark(NamedTuple):
    """One estimate.

    Attributes:
        value: the estimate; None where it is not defined.
        low: lower end of its interval.
        high: upper end.
        role: its class in the style sheet: main, other, good or warn.
    """

    value: float | None
    low: float | None
    high: float | None
    role: str = "main"

    @property
    def is_defined(self) -> bool:
        """Whether all three are finite numbers."""
        return all(each is not None and math.isfinite(each) for each in (self.value, self.low, self.high))


class DotScale(NamedTuple):
    """Ends of a scale that several charts share."""

    low: float
    high: float

    def place(self, value: float) -> float:
        """Where a value lies, 0 to 100; what is outside lies at the end."""
        return 100.0 * min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def dot_scale(marks: Sequence[DotMark], *, reference: float | None = None) -> DotScale:
    """A scale that holds every interval, and the reference where there is one."""
    ends = [each for mark in marks if mark.is_defined for each in (mark.low, mark.high) if each is not None]
    ends += [] if reference is None else [reference]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    margin = (high - low) * MARGIN or max(abs(high), 1.0) * MARGIN
    return DotScale(low - margin, high + margin)


def dot_interval(marks: Sequence[DotMark], scale: DotScale, title: str, *, reference: float | None = None) -> Markup:
    """Estimates below each other on a scale.

    Args:
        marks: the estimates; one that is not defined leaves its line empty.
        scale: which other charts may share.
        title: the finding, in words.
        reference: where a line is drawn that they are compared with, such as no difference.
    """
    height = LINE * len(marks)
    shapes = [f'<path class="ground" d="M0 {LINE * line + LINE // 2}H100"/>' for line in range(len(marks))]
    if reference is not None:
        x = scale.place(reference)
        shapes.append(f'<path class="reference" d="M{x:.2f} 0V{height}"/>')
    shapes += [_mark(mark, scale, LINE * line + LINE // 2) for line, mark in enumerate(marks) if mark.is_defined]
    return Markup(  # noqa: S704 -- what is no number is escaped
        f'<svg class="dot-interval lines-{min(len(marks), 2)}" role="img" viewBox="0 0 100 {height}" preserveAspectRatio="none">'
        f"<title>{escape(title)}</title>{''.join(shapes)}</svg>"
    )


def _mark(mark: DotMark, scale: DotScale, y: int) -> str:
    """A whisker and a dot. The dot is a line without length and with round ends: it stays round where the chart is stretched."""
    value, low, high = (scale.place(each or 0.0) for each in mark[:3])
    role = escape(mark.role)
    return f'<path class="whisker {role}" d="M{low:.2f} {y}H{high:.2f}"/><path class="dot {role}" d="M{value:.2f} {y}h0"/>'

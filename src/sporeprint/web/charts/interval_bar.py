"""A small picture of an interval, for a cell of a table: its ends, its value, and what it is held against."""

from markupsafe import Markup

from sporeprint.web.charts.figure import tag
from sporeprint.web.charts.scale import Scale

WIDTH, HEIGHT = 120.0, 16.0


def interval_bar(value: float | None, low: float | None, high: float | None, title: str, *, margin: float = 0.0) -> Markup:
    """An interval of a difference beside 0 and the margin; without ends it is an empty axis.

    Args:
        value: the estimate; None: not known.
        low: its interval's lower end.
        high: its upper end.
        title: the same in words.
        margin: marked on either side of 0.
    """
    there = [number for number in (value, low, high, 2 * margin) if number is not None]
    most = max((abs(number) for number in there), default=0.0) * 1.1 or 1.0
    scale, middle = Scale(-most, most, ()), HEIGHT / 2

    def at(number: float) -> float:
        return round(WIDTH * scale.at(number), 1)

    parts = [
        tag("line", x1=0.0, x2=WIDTH, y1=middle, y2=middle, class_="grid"),
        tag("line", x1=at(0), x2=at(0), y1=1.0, y2=HEIGHT - 1, class_="tick"),
    ]
    parts += [tag("line", x1=at(end), x2=at(end), y1=2.0, y2=HEIGHT - 2, class_="mark warn") for end in (margin, -margin) if margin]
    if low is not None and high is not None:
        parts.append(tag("line", x1=at(low), x2=at(high), y1=middle, y2=middle, class_="span s1"))
    if value is not None:
        parts.append(tag("circle", cx=at(value), cy=middle, r=3.5, class_="dot s1"))
    shapes = tag("title", title) + Markup("").join(parts)
    return tag("svg", shapes, class_="chart interval-bar", viewBox=f"0 0 {WIDTH:.0f} {HEIGHT:.0f}", role="img")

"""The lines of a chart: points with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sporeprint.web.charts.scale import Axis


class Point(NamedTuple):
    """A number, and the interval around it.

    Attributes:
        at: where on the lower axis.
        value: the number.
        low: lower end of its interval; None where it has none.
        high: upper end.
    """

    at: float
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        label: what it is.
        points: by place on the lower axis.
        role: its class in the style sheet; empty: by its place among the lines.
        is_dashed: for what is expected rather than measured.
        is_stepped: whether each number holds back to the one before.
        has_dots: whether few points have a dot each; not where the line is a rule, not numbers.
        is_label: whether it is a name at a place alone, with no numbers of its own.
    """

    label: str
    points: Sequence[Point]
    role: str = ""
    is_dashed: bool = False
    is_stepped: bool = False
    has_dots: bool = True
    is_label: bool = False


def cell(point: Point | None, y: Axis) -> str:
    """A number with its interval, as people read it."""
    if point is None:
        return "\N{EN DASH}"
    around = f" ({y.text(point.low)} to {y.text(point.high)})" if point.low is not None and point.high is not None else ""
    return f"{y.text(point.value)}{around}"

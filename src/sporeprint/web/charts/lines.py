"""Lines over time or numbers, each with the interval around it and its name at its end."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from markupsafe import Markup

from sporeprint.web.charts.figure import CHARACTER, LINE, SERIES, Area, Chart, DataTable, Drawing, axes, left_margin, tag, thinned
from sporeprint.web.charts.points import Line, Point, cell
from sporeprint.web.charts.readout import readouts
from sporeprint.web.charts.scale import Axis

#: Points of a line: more are not seen.
MOST_POINTS = 400
#: Up to so many points each has a dot; below `FEWEST` there are dots alone, as two points make no trend.
MOST_DOTS, FEWEST = 30, 3
#: Of many points, one that is nearer to the one before is left out.
NEAR = 2.5
#: Height of the part within the axes.
HEIGHT = 190.0
#: Most of the width that names at the ends of lines may take; longer ones stand above.
MOST_MARGIN = 0.34


class Mark(NamedTuple):
    """A height that matters, such as a threshold: a line across with its name."""

    value: float
    label: str
    role: str = "warn"


def lines_chart(
    name: str,
    title: str,
    finding: str,
    lines: Sequence[Line],
    *,
    x: Axis | None = None,
    y: Axis | None = None,
    marks: Sequence[Mark] = (),
    note: str = "",
    numbers: str = "The numbers",
    stamp: str = "",
    height: float = HEIGHT,
    is_small: bool = False,
    has_table: bool = True,
) -> Chart:
    """Lines, their intervals as bands, and heights that matter.

    Args:
        name: of the chart, within the page.
        title: above it.
        finding: what it says, in a sentence.
        lines: up to six; what has no finite number is left out.
        x: the lower axis; by default times.
        y: the left axis; numbers beyond fixed ends are drawn at those.
        marks: thresholds.
        note: how to read it.
        numbers: words that open its table.
        stamp: words across it.
        height: of the part within the axes.
        is_small: whether several such charts stand side by side.
        has_table: whether its numbers stand below it; not where a table of the page has them.
    """
    x, y = x or Axis("time"), y or Axis()
    cut = [_line(line, place) for place, line in enumerate(lines)]
    cut = [line for line in cut if line.points]
    table = _table([line for line in cut if not line.is_label], x, y)
    return Chart(
        name,
        title,
        finding,
        lambda width: _draw(width, cut, x, y, marks, height),
        table if has_table else None,
        note,
        numbers,
        stamp,
        is_small,
    )


def _line(line: Line, place: int) -> Line:
    points = [point for point in line.points if math.isfinite(point.value)]
    few = [points[at] for at in thinned(len(points), MOST_POINTS)]
    return replace(line, points=few, role=line.role or SERIES[place % len(SERIES)])


def _draw(width: float, lines: Sequence[Line], x: Axis, y: Axis, marks: Sequence[Mark], height: float) -> Drawing:
    points = [point for line in lines for point in line.points]
    ends = [end for point in points for end in (point.value, point.low, point.high) if end is not None]
    y_scale = y.scale([*ends, *(mark.value for mark in marks)])
    x_scale = x.scale([point.at for point in points], 6 if width > 400 else 3)
    margin = CHARACTER * max((len(line.label) for line in lines), default=0) + 14
    is_beside = margin <= MOST_MARGIN * width
    top = 8 + (LINE if y.label else 0) + (0 if is_beside else LINE * len(lines))
    right = width - (margin if is_beside and len(lines) > 1 else 10)
    area = Area(left_margin(y_scale), right, top, top + height, x_scale, y_scale)
    parts = [axes(area, x_label=x.label, y_label=y.label)]
    parts += [_mark(mark, area) for mark in marks if y_scale.low <= mark.value <= y_scale.high]
    parts += [band_path(line.points, area, line.role) for line in lines]
    parts += [_path(line, area) for line in lines]
    parts += _names_beside(lines, area) if is_beside else _names_above(lines)
    if x.kind == "time":
        parts.append(readouts([line for line in lines if not line.is_label], area, x, y))
    return Drawing(area.bottom + (2 if x.label else 1) * LINE + 8, Markup("").join(parts))


def band_path(points: Sequence[Point], area: Area, role: str) -> Markup:
    """The area between the ends of the intervals; empty where fewer than two points have one."""
    ends = [
        (area.across(point.at), area.up(point.high), area.up(point.low))
        for point in points
        if point.low is not None and point.high is not None
    ]
    if len(ends) < 2:
        return Markup("").join(tag("line", x1=at, x2=at, y1=top, y2=bottom, class_=f"line {role}") for at, top, bottom in ends)
    corners = [f"{at:.1f},{top:.1f}" for at, top, _ in ends] + [f"{at:.1f},{bottom:.1f}" for at, _, bottom in reversed(ends)]
    return tag("polygon", points=" ".join(corners), class_=f"band {role}")


def _path(line: Line, area: Area) -> Markup:
    places = _apart([(area.across(point.at), area.up(point.value)) for point in line.points])
    parts = []
    if len(places) >= FEWEST:
        corners = [f"{places[0][0]:.1f},{places[0][1]:.1f}"]
        for (before, _), (at, height) in itertools.pairwise(places):
            corners += [f"{before:.1f},{height:.1f}"] if line.is_stepped else []
            corners.append(f"{at:.1f},{height:.1f}")
        parts.append(tag("polyline", points=" ".join(corners), class_=f"line {line.role}{' dashed' if line.is_dashed else ''}"))
    if len(line.points) <= MOST_DOTS and line.has_dots:
        parts += [
            tag("circle", cx=at, cy=height, r=3.0, class_=f"dot {line.role}{' hollow' if line.is_dashed else ''}") for at, height in places
        ]
    return Markup("").join(parts)


def _apart(places: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """The points without those that nobody tells apart from the one before; of few none is left out, nor are both ends."""
    if len(places) <= MOST_DOTS:
        return places
    clear = [places[0]]
    for place in places[1:-1]:
        if math.dist(place, clear[-1]) >= NEAR:
            clear.append(place)
    return [*clear, places[-1]]


def _mark(mark: Mark, area: Area) -> Markup:
    height = area.up(mark.value)
    below = height < area.top + LINE
    text = tag("text", mark.label, x=area.left + 4, y=height + (14 if below else -5), class_=mark.role)
    return tag("line", x1=area.left, x2=area.right, y1=height, y2=height, class_=f"mark {mark.role}") + text


def _names_beside(lines: Sequence[Line], area: Area) -> list[Markup]:
    """The names at the ends of the lines, moved apart where they would touch; one line needs none."""
    if len(lines) < 2:
        return []
    at_ends = sorted((area.up(line.points[-1].value), place) for place, line in enumerate(lines))
    heights = apart([height for height, _ in at_ends], LINE, area.top, area.bottom)
    return [
        tag("text", lines[place].label, x=area.right + 8, y=height + 4.5, class_=lines[place].role)
        for height, (_, place) in zip(heights, at_ends, strict=True)
    ]


def _names_above(lines: Sequence[Line]) -> list[Markup]:
    """The names above the axes, each behind a piece of its line."""
    parts = []
    for place, line in enumerate(lines):
        y = LINE * place + 10
        parts.append(tag("line", x1=0.0, x2=22.0, y1=y, y2=y, class_=f"line {line.role}{' dashed' if line.is_dashed else ''}"))
        parts.append(tag("text", line.label, x=28.0, y=y + 4.5, class_=line.role))
    return parts


def apart(heights: Sequence[float], least: float, top: float, bottom: float) -> list[float]:
    """Ascending heights, moved so that neighbours are `least` apart and, where there is room, within both ends."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + least) if placed else max(height, top))
    limit = max(bottom, top + least * (len(placed) - 1))
    for place in reversed(range(len(placed))):
        placed[place] = min(placed[place], limit)
        limit = placed[place] - least
    return placed


def _table(lines: Sequence[Line], x: Axis, y: Axis) -> DataTable:
    every = sorted({point.at for line in lines for point in line.points})
    by_place = [{point.at: point for point in line.points} for line in lines]
    rows = [(x.text(at), *(cell(points.get(at), y) for points in by_place)) for at in (every[place] for place in thinned(len(every)))]
    return DataTable((x.label or ("time (UTC)" if x.kind == "time" else ""), *(line.label for line in lines)), rows)

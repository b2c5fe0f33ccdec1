"""What a chart of lines says where somebody points at it: where that is, and what each line is there.

Nothing but shapes: the style sheet shows those of the place under the pointer, so that reports need no script. In the pages
`ui.js` does the same for the arrow keys.
"""

import bisect
import itertools
from collections.abc import Sequence

from markupsafe import Markup

from sporeprint.web.charts.figure import CHARACTER, LINE, Area, tag, thinned
from sporeprint.web.charts.points import Line, Point, cell
from sporeprint.web.charts.scale import Axis

#: Width of a drawing for each place that can be pointed at: reports have to stay light.
ROOM = 22.0


def readouts(lines: Sequence[Line], area: Area, x: Axis, y: Axis) -> Markup:
    """A strip for each place that has a number, with the cross line and the words that it shows."""
    every = sorted({point.at for line in lines for point in line.points if area.x.low <= point.at <= area.x.high})
    places = [every[place] for place in thinned(len(every), max(2, int((area.right - area.left) / ROOM)))]
    middles = [(area.across(before) + area.across(after)) / 2 for before, after in itertools.pairwise(places)]
    ends = itertools.pairwise([area.left, *middles, area.right])
    return Markup("").join(
        _readout(_words(lines, at, x, y), area, area.across(at), *strip) for at, strip in zip(places, ends, strict=False)
    )


def _readout(words: Sequence[str], area: Area, cross: float, begin: float, end: float) -> Markup:
    is_left = cross > (area.left + area.right) / 2
    edge, role = (area.left + 8, None) if is_left else (area.right - 8, "end")
    shapes = tag("rect", x=begin, width=end - begin)
    shapes += tag("path", d=f"M{cross:.0f} {area.top:.0f}V{area.bottom:.0f}")
    texts = [
        tag("text", text, x=edge, y=area.top + LINE * (place + 1), class_=role)
        for place, text in enumerate(_filled(words, int((area.right - area.left) / CHARACTER)))
    ]
    return tag("g", shapes + Markup("").join(texts), class_="readout")


def _words(lines: Sequence[Line], at: float, x: Axis, y: Axis) -> Sequence[str]:
    known = [(line, point) for line in lines if (point := _point(line.points, at)) is not None]
    return [x.text(at), *(f"{line.label} {cell(point, y)}" if len(lines) > 1 else cell(point, y) for line, point in known)]


def _filled(words: Sequence[str], most: int) -> Sequence[str]:
    """The words in as few lines as have room for them."""
    filled = [words[0]]
    for each in words[1:]:
        longer = f"{filled[-1]} \N{MIDDLE DOT} {each}"
        filled = [*filled[:-1], longer] if len(longer) <= most else [*filled, each]
    return filled


def _point(points: Sequence[Point], at: float) -> Point | None:
    """The last point of a line up to a place that it passes."""
    place = bisect.bisect_right(points, at, key=lambda point: point.at) - 1
    return points[place] if place >= 0 and at <= points[-1].at else None

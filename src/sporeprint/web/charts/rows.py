"""Numbers with names, one below the other: bars in parts, or estimates as dots with their intervals, on one scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from sporeprint.web.charts.figure import CHARACTER, LINE, Area, Chart, DataTable, Drawing, tag
from sporeprint.web.charts.scale import Axis, Scale

#: Height of a row, of its bar, and of a row whose label stands above it.
ROW, BAR, TALL_ROW = 24.0, 13.0, 38.0
#: Most of the width that labels beside the bars may take.
MOST_LABEL = 0.4


class RowPart(NamedTuple):
    """A part of a bar.

    Attributes:
        amount: its length.
        role: its class in the style sheet.
    """

    amount: float
    role: str = "s1"


class Dot(NamedTuple):
    """An estimate.

    Attributes:
        value: the estimate; not drawn where it is not finite.
        low: lower end of its interval; None where it has none.
        high: upper end.
        role: its class in the style sheet.
        is_hollow: to tell two dots of one colour apart.
    """

    value: float
    low: float | None = None
    high: float | None = None
    role: str = "ink"
    is_hollow: bool = False

    @property
    def ends(self) -> list[float]:
        """What of it is drawn."""
        return [each for each in (self.value, self.low, self.high) if each is not None and math.isfinite(each)]


@dataclass(frozen=True)
class Row:
    """A name with its numbers; without any it is a heading.

    Attributes:
        label: its name.
        parts: of a bar, from 0.
        dots: estimates; with two, the way between them is marked.
        limit: what is promised: a line across the row.
        text: its numbers in words.
    """

    label: str
    parts: Sequence[RowPart] = ()
    dots: Sequence[Dot] = ()
    limit: float | None = None
    text: str = ""

    @property
    def is_heading(self) -> bool:
        """Whether it has nothing to draw."""
        return not self.parts and not self.dots

    @property
    def ends(self) -> list[float]:
        """What has to be on the scale."""
        limits = [] if self.limit is None else [self.limit]
        return [sum(part.amount for part in self.parts), *(end for dot in self.dots for end in dot.ends), *limits]


def rows_chart(
    name: str,
    title: str,
    finding: str,
    rows: Sequence[Row],
    *,
    axis: Axis | None = None,
    key: Sequence[tuple[str, str]] = (),
    heads: Sequence[str] = (),
    note: str = "",
    stamp: str = "",
    is_small: bool = False,
) -> Chart:
    """Rows on one scale.

    Args:
        name: of the chart, within the page.
        title: above it.
        finding: what it says, in a sentence.
        rows: from above.
        axis: their scale; by default from 0.
        key: class of the style sheet -> what that is, where colours are parts of a whole.
        heads: of the table of labels and texts; empty: none, as a table of the page has them.
        note: how to read it.
        stamp: words across it.
        is_small: whether several such charts stand side by side.
    """
    axis = axis or Axis(from_zero=True)
    table = DataTable(heads, [(row.label, row.text) for row in rows if row.text]) if heads else None
    return Chart(name, title, finding, lambda width: _draw(width, rows, axis, key), table, note, stamp=stamp, is_small=is_small)


def _draw(width: float, rows: Sequence[Row], axis: Axis, key: Sequence[tuple[str, str]]) -> Drawing:
    label = 10 + CHARACTER * max((len(row.label) for row in rows if not row.is_heading), default=0)
    is_beside, text = label <= MOST_LABEL * width, CHARACTER * max((len(row.text) for row in rows), default=0)
    left = label if is_beside else 4.0
    long = width - left - (text + 14 if text else 8.0)
    scale = axis.scale([end for row in rows for end in row.ends], max(2, int(long / 80)))
    key_shapes, top = _key(key, width)
    step = ROW if is_beside else TALL_ROW
    bottom = top + step * len(rows)
    area = Area(left, left + long, top, bottom, scale, Scale(0.0, 1.0, ()))
    parts = [key_shapes, _ticks(area)]
    for place, row in enumerate(rows):
        middle = top + step * (place + 1) - ROW / 2
        parts.append(_row(row, area, middle, is_beside=is_beside))
        parts.append(tag("text", row.text, x=area.right + 11, y=middle + 4.5) if row.text else Markup(""))
    return Drawing(bottom + LINE + 6, Markup("").join(parts))


def _key(key: Sequence[tuple[str, str]], width: float) -> tuple[Markup, float]:
    """A square of each colour with its name, in as many lines as it takes; and where that ends."""
    x, y, parts = 0.0, 6.0, []
    for role, text in key:
        length = 34 + CHARACTER * len(text)
        if x and x + length > width:
            x, y = 0.0, y + LINE
        parts.append(tag("rect", x=x, y=y - 4, width=11.0, height=11.0, class_=f"area {role}"))
        parts.append(tag("text", text, x=x + 17, y=y + 6))
        x += length
    return Markup("").join(parts), y + LINE + 2 if key else 2.0


def _ticks(area: Area) -> Markup:
    parts = []
    for tick in area.x.ticks:
        x = area.across(tick.value)
        parts.append(tag("line", x1=x, x2=x, y1=area.top, y2=area.bottom, class_="grid"))
        anchor = "end" if x > area.right - 12 and area.right > area.left + 100 else "middle"
        parts.append(tag("text", tick.text, x=x, y=area.bottom + LINE - 2, class_=anchor))
    return Markup("").join(parts)


def _row(row: Row, area: Area, middle: float, *, is_beside: bool) -> Markup:
    if row.is_heading:
        return tag("text", row.label, x=0.0, y=middle + 4.5, class_="strong ink")
    label = {"x": area.left - 8, "y": middle + 4.5, "class_": "end"} if is_beside else {"x": area.left, "y": middle - BAR + 1}
    parts, start = [tag("text", row.label, **label)], 0.0
    for part in row.parts:
        left, right = area.across(start), area.across(start + part.amount)
        start += part.amount
        if right > left:
            parts.append(tag("rect", x=left, y=middle - BAR / 2, width=right - left, height=BAR, class_=f"area {part.role}"))
    finite = [dot for dot in row.dots if math.isfinite(dot.value)]
    if len(finite) > 1:
        parts.append(
            tag(
                "line",
                x1=area.across(finite[0].value),
                x2=area.across(finite[-1].value),
                y1=middle,
                y2=middle,
                class_=f"way {finite[0].role}",
            )
        )
    parts += [_dot(dot, area, middle) for dot in finite]
    if row.limit is not None:
        x = area.across(row.limit)
        parts.append(tag("line", x1=x, x2=x, y1=middle - BAR, y2=middle + BAR, class_="mark warn"))
    return Markup("").join(parts)


def _dot(dot: Dot, area: Area, middle: float) -> Markup:
    whisker = Markup("")
    if len(dot.ends) == 3:
        low, high = (area.across(end) for end in dot.ends[1:])
        ends = "".join(f"M{x:.1f} {middle - 4:.1f}V{middle + 4:.1f}" for x in (low, high))
        whisker = tag("path", d=f"M{low:.1f} {middle:.1f}H{high:.1f}{ends}", class_=f"line {dot.role}")
    return whisker + tag(
        "circle", cx=area.across(dot.value), cy=middle, r=4.5, class_=f"dot {dot.role}{' hollow' if dot.is_hollow else ''}"
    )

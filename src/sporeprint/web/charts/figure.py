"""What every chart shares: its frame for two widths, its title in words, and the table of its numbers.

A chart is drawn twice, 640 and 340 wide; the style sheet shows the one that fits, so that its text is never smaller than 11 pixels.
A new chart is a function width -> `Drawing`, given to `figure`; `tag`, `axes` and `Area` are what it draws with. Colours are classes of
`charts.css`: `s1` to `s6` for series, `warn`, `good`, `soft`, `ink`, `bar`, each beside what is drawn in it: `line`, `dot`, `band`, `area`,
`mark`, or a text. Nothing has a `style` attribute: pages forbid those.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from sporeprint.web.charts.scale import Scale

#: Class of a drawing -> width of its view box.
WIDTHS = {"broad": 640.0, "narrow": 340.0}
#: Height of a line of text, and the mean width of a character of it.
LINE, CHARACTER = 17.0, 7.0
#: Classes for series, in their order.
SERIES = ("s1", "s2", "s3", "s4", "s5", "s6")
#: Rows of a chart's table; of more numbers, as many at equal distances.
MOST_ROWS = 60


class Drawing(NamedTuple):
    """A chart at one width: its height, and what is in it."""

    height: float
    shapes: Markup


class DataTable(NamedTuple):
    """The numbers of a chart: heads, and rows whose first cell names them."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


class Area(NamedTuple):
    """The part of a drawing that its axes enclose, with their scales."""

    left: float
    right: float
    top: float
    bottom: float
    x: Scale
    y: Scale

    def across(self, value: float) -> float:
        """Where a number of the lower axis is."""
        return self.left + (self.right - self.left) * self.x.at(value)

    def up(self, value: float) -> float:
        """Where a number of the left axis is."""
        return self.bottom - (self.bottom - self.top) * self.y.at(value)


def figure(
    name: str,
    title: str,
    finding: str,
    draw: Callable[[float], Drawing],
    table: DataTable | None = None,
    *,
    note: str = "",
    numbers: str = "The numbers",
    stamp: str = "",
) -> Markup:
    """A chart as a part of a page.

    Args:
        name: of letters, digits and hyphens; no other chart of the page has it.
        title: above it, a few words.
        finding: what it says, in a sentence with its numbers; read to those who do not see it.
        draw: width -> the drawing.
        table: its numbers.
        note: how to read it.
        numbers: words that open the table.
        stamp: words across it, such as SIMULATED DATA.
    """
    drawings = Markup("").join(svg(f"{name}-{kind}", finding, draw(width), width, kind=kind, stamp=stamp) for kind, width in WIDTHS.items())
    text = tag("strong", escape(title)) + (Markup(" ") + escape(note) if note else "")
    opened = tag("details", tag("summary", escape(numbers)) + _table(title, table)) if table and table.rows else ""
    return tag("figure", tag("figcaption", text) + drawings + opened, class_="chart")


def svg(name: str, finding: str, drawing: Drawing, width: float, *, kind: str = "", stamp: str = "", style: str = "") -> Markup:
    """A drawing with its title; `style`: a style sheet of its own, for one that is a file."""
    across = tag("text", escape(stamp), x=width / 2, y=drawing.height / 2, class_="stamp") if stamp else ""
    return tag(
        "svg",
        tag("title", escape(finding), id=f"{name}-title") + (tag("style", Markup(style)) if style else "") + drawing.shapes + across,  # noqa: S704 -- our own
        xmlns="http://www.w3.org/2000/svg" if style else None,
        class_=kind or "chart",
        viewBox=f"0 0 {width:.0f} {drawing.height:.0f}",
        role="img",
        aria_labelledby=f"{name}-title",
    )


def tag(name: str, content: Markup | str = "", **attributes: str | float | None) -> Markup:
    """An element; `content` is markup, or text to escape. `_` in attributes' names is a hyphen; None: none."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{written}>{escape(content)}</{name}>")  # noqa: S704 -- all of it is escaped


def axes(area: Area, *, x_label: str = "", y_label: str = "") -> Markup:
    """Lines at the ticks of the left axis, the ticks of both, and what they count."""
    parts = []
    for tick in area.y.ticks:
        y = area.up(tick.value)
        parts.append(tag("line", x1=area.left, x2=area.right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", tick.text, x=area.left - 6, y=y + 4.5, class_="end"))
    for tick in area.x.ticks:
        x = area.across(tick.value)
        parts.append(tag("line", x1=x, x2=x, y1=area.bottom, y2=area.bottom + 4, class_="tick"))
        anchor = "end" if x > area.right - 12 else "middle"
        parts.append(tag("text", tick.text, x=x, y=area.bottom + LINE, class_=anchor))
    parts.append(tag("line", x1=area.left, x2=area.right, y1=area.bottom, y2=area.bottom, class_="tick"))
    if y_label:
        parts.append(tag("text", y_label, x=0.0, y=area.top - 9))
    if x_label:
        parts.append(tag("text", x_label, x=area.right, y=area.bottom + 2 * LINE, class_="end"))
    return Markup("").join(parts)


def left_margin(scale: Scale) -> float:
    """Room for the ticks of the left axis."""
    return 10 + CHARACTER * max((len(tick.text) for tick in scale.ticks), default=0)


def thinned(count: int, most: int = MOST_ROWS) -> Sequence[int]:
    """Places of so many of `count` things, at equal distances, with the first and the last."""
    return range(count) if count <= most else [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _table(title: str, table: DataTable) -> Markup:
    head = tag("tr", Markup("").join(tag("th", text, scope="col", class_="n" if place else None) for place, text in enumerate(table.heads)))
    rows = [
        tag("tr", tag("th", row[0], scope="row") + Markup("").join(tag("td", text, class_="n") for text in row[1:]))
        for row in (table.rows[place] for place in thinned(len(table.rows)))
    ]
    whole = tag("table", tag("thead", head) + tag("tbody", Markup("").join(rows)))
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label=title)

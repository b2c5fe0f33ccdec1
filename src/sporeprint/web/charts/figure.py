"""What every chart shares: its frame for two widths, its title in words, and the table of its numbers.

A chart is drawn twice, 640 and 340 wide; the style sheet shows the one that fits, so that its text is never smaller than 11 pixels.
A new chart is a function width -> `Drawing`, passed to `Chart`; `tag`, `axes` and `Area` are what it draws with. Colours are classes of
`charts.css`: `s1` to `s6` for series, `warn`, `good`, `soft`, `ink`, `pale`, each beside what it colours: `line`, `dot`, `band`, `area`,
`mark`, or a text. Nothing has a `style` attribute: pages forbid those.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup, escape

from sporeprint.web.assets import style_sheet
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


@dataclass(frozen=True)
class Chart:
    """A chart: markup where a template names it, and a picture of its own as a file.

    Attributes:
        name: of letters, digits, hyphens and underscores; no other chart of the page has it.
        title: above it, a few words.
        finding: what it says, in a sentence with its numbers; read to those who do not see it.
        draw: width -> the drawing.
        table: its numbers.
        note: how to read it.
        numbers: words that open the table.
        stamp: words across it, such as SIMULATED DATA.
        is_small: whether it is never wider than the narrow drawing, because several stand side by side.
    """

    name: str
    title: str
    finding: str
    draw: Callable[[float], Drawing]
    table: DataTable | None = None
    note: str = ""
    numbers: str = "The numbers"
    stamp: str = ""
    is_small: bool = False

    def __html__(self) -> Markup:
        """The chart as a part of a page."""
        widths = {"small": WIDTHS["narrow"]} if self.is_small else WIDTHS
        drawings = Markup("").join(self._svg(kind, width) for kind, width in widths.items())
        text = tag("strong", escape(self.title)) + (Markup(" ") + escape(self.note) if self.note else "")
        opened = (
            tag("details", tag("summary", escape(self.numbers)) + _table(self.title, self.table)) if self.table and self.table.rows else ""
        )
        return tag("figure", tag("figcaption", text) + drawings + opened, class_="chart small" if self.is_small else "chart")

    def __str__(self) -> str:
        return self.__html__()

    def _svg(self, kind: str, width: float) -> Markup:
        drawing, key = self.draw(width), f"{self.name}-{kind}"
        across = tag("text", self.stamp, x=width / 2, y=drawing.height / 2, class_="stamp") if self.stamp else ""
        shapes = tag("title", self.finding, id=key) + drawing.shapes + across
        return tag("svg", shapes, class_=kind, viewBox=f"0 0 {width:.0f} {drawing.height:.0f}", role="img", aria_labelledby=key)


def svg_file(*charts: Chart) -> str:
    """Charts below each other as one SVG file, with the style sheet inside: light or dark, as the reader's screen."""
    width, edge, y, parts = WIDTHS["broad"], 16.0, 0.0, []
    for chart in charts:
        drawing = chart.draw(width)
        heads = tag("text", chart.title, x=0.0, y=y + 20, class_="head")
        lines = textwrap.wrap(chart.note or chart.finding, 92)
        heads += Markup("").join(tag("text", text, x=0.0, y=y + 40 + LINE * place) for place, text in enumerate(lines))
        y += 36 + LINE * len(lines)
        across = tag("text", chart.stamp, x=width / 2, y=drawing.height / 2, class_="stamp") if chart.stamp else ""
        parts += [heads, tag("g", drawing.shapes + across, transform=f"translate(0 {y:.0f})")]
        y += drawing.height + edge
    finding = " ".join(f"{chart.title}: {chart.finding}" for chart in charts)
    ground = tag("rect", x=-edge, y=-edge, width=width + 2 * edge, height=y + edge, class_="ground")
    shapes = tag("title", finding, id="finding") + tag("style", style_sheet("tokens.css", "charts.css")) + ground + Markup("").join(parts)
    box = f"{-edge:.0f} {-edge:.0f} {width + 2 * edge:.0f} {y + edge:.0f}"
    return f"{tag('svg', shapes, xmlns='http://www.w3.org/2000/svg', viewBox=box, class_='chart', role='img', aria_labelledby='finding')}\n"


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

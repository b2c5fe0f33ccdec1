"""A heat map as one table: rows by columns of cells in five fixed steps, each with its number in words. No script, no picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sporeprint.web.charts.figure import tag

#: Where the steps begin, in multiples of the floor from which a change is large enough for an alarm.
STEPS = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class HeatCell:
    """A cell.

    Attributes:
        says: its number in words: read to those who do not see the colour, and shown under the pointer.
        times: how often its floor goes into it; None: it was not computed.
        is_alarm: whether it is an alarm.
    """

    says: str
    times: float | None = None
    is_alarm: bool = False

    @property
    def step(self) -> str:
        """Its class in the style sheet: h0 to h4, or none of them."""
        return "h-none" if self.times is None else f"h{sum(self.times >= begin for begin in STEPS)}"


@dataclass(frozen=True)
class HeatColumn:
    """A column.

    Attributes:
        label: short, as the day of a month.
        says: in full.
        address: what it leads to.
    """

    label: str
    says: str
    address: str


@dataclass(frozen=True)
class HeatMap:
    """The whole.

    Attributes:
        title: what it shows.
        corner: what the rows are.
        columns: from left to right.
        rows: name of each, and its cells; None: there was nothing of it then.
        empty: words for such a cell.
    """

    title: str
    corner: str
    columns: Sequence[HeatColumn]
    rows: Sequence[tuple[str, Sequence[HeatCell | None]]]
    empty: str

    def __html__(self) -> Markup:
        """The table."""
        heads = [tag("th", self.corner, scope="col")]
        heads += [
            tag("th", tag("a", each.label + tag("span", f" {each.says}", class_="hidden"), href=each.address), scope="col")
            for each in self.columns
        ]
        head = tag("thead", tag("tr", Markup("").join(heads)))
        body = tag("tbody", Markup("").join(self._row(label, cells) for label, cells in self.rows))
        table = tag("table", tag("caption", self.title) + head + body, class_="heat")
        return tag("div", table, class_="wide from-end", tabindex="0", role="region", aria_label=self.title)

    def _row(self, label: str, cells: Sequence[HeatCell | None]) -> Markup:
        return tag("tr", tag("th", label, scope="row") + Markup("").join(map(self._cell, cells)))

    def _cell(self, cell: HeatCell | None) -> Markup:
        if cell is None:
            return tag("td", tag("span", self.empty, class_="hidden"))
        return tag("td", tag("span", cell.says, class_="hidden"), class_=f"{cell.step}{' alarm' if cell.is_alarm else ''}", title=cell.says)

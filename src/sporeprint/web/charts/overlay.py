"""Two distributions on the same bins: what was, as outlines, and what is, as bars."""

from collections.abc import Sequence

from markupsafe import Markup

from sporeprint.web.charts.figure import CHARACTER, Chart, DataTable, Drawing, tag

#: Height of a bin, and characters of its name.
BIN, MOST_LABEL = 20.0, 18


def overlay_chart(
    name: str, title: str, finding: str, labels: Sequence[str], before: Sequence[float], now: Sequence[float], heads: tuple[str, str, str]
) -> Chart:
    """Bars from the left: shares of the reference as outlines over those of the current rows.

    Args:
        name: of the chart, within the page.
        title: above it.
        finding: what it says.
        labels: of the bins.
        before: share of each in the reference.
        now: share of each in the current rows.
        heads: of its table: bins, reference, current.
    """
    rows = [(label, f"{old:.1%}", f"{new:.1%}") for label, old, new in zip(labels, before, now, strict=True)]
    short = [label if len(label) <= MOST_LABEL else f"{label[: MOST_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}" for label in labels]
    return Chart(name, title, finding, lambda width: _draw(width, short, before, now), DataTable(heads, rows), is_small=True)


def _draw(width: float, labels: Sequence[str], before: Sequence[float], now: Sequence[float]) -> Drawing:
    left = 10 + CHARACTER * max((len(label) for label in labels), default=0)
    most = max((*before, *now), default=0.0) or 1.0
    long, parts = width - left - 6, []
    for place, (label, old, new) in enumerate(zip(labels, before, now, strict=True)):
        top = BIN * place + 4
        parts.append(tag("text", label, x=left - 6, y=top + 12, class_="end"))
        parts.append(tag("rect", x=left, y=top + 2, width=long * new / most, height=BIN - 7, class_="area s1 half"))
        parts.append(tag("rect", x=left, y=top + 0.5, width=long * old / most, height=BIN - 4, class_="line ink"))
    return Drawing(BIN * len(labels) + 8, Markup("").join(parts))

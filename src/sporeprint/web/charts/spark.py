"""A line of small bars without axes: how many, hour by hour."""

from collections.abc import Sequence

from markupsafe import Markup

from sporeprint.web.charts.figure import tag

HEIGHT, BAR, GAP = 28.0, 7.0, 2.0


def spark(counts: Sequence[int], finding: str) -> Markup:
    """Bars of the same width; the highest fills the height, and what is above 0 is seen."""
    most = max(counts, default=0) or 1
    bars = [
        tag("rect", x=place * (BAR + GAP), y=HEIGHT - height, width=BAR, height=height, class_="soft")
        for place, count in enumerate(counts)
        if (height := max(1.5, HEIGHT * count / most) if count else 0.0)
    ]
    width = len(counts) * (BAR + GAP)
    shapes = tag("title", finding) + Markup("").join(bars)
    return tag("svg", shapes, class_="spark", role="img", viewBox=f"0 0 {width:.0f} {HEIGHT:.0f}")

"""The course of an A/B test: the evidence as e-values on one logarithmic axis, the difference with its interval, the units counted."""

import math
from collections.abc import Sequence

from sporeprint.web.charts.figure import Chart
from sporeprint.web.charts.lines import Mark, lines_chart
from sporeprint.web.charts.points import Line, Point
from sporeprint.web.charts.scale import SUPERSCRIPTS, Axis

#: Logarithm of the largest e-value that is drawn: beyond it nobody needs to tell two of them apart.
MOST_LOG_E = 300.0
#: Room above the threshold, as a factor.
ROOM = 2.0
#: The first intervals are as wide as everything: the later ones set the ends of the axis.
SETTLED = 0.25


def e_text(log_e: float) -> str:
    """An e-value in words, from its logarithm: 4.1, 1,250 or 10\N{SUPERSCRIPT ONE}\N{SUPERSCRIPT TWO}."""
    if log_e > math.log(1e6):
        return f"10{str(round(log_e / math.log(10))).translate(SUPERSCRIPTS)}"
    return f"{math.exp(log_e):,.0f}" if log_e > math.log(1e3) else f"{math.exp(log_e):.3g}"


def evidence_chart(name: str, title: str, finding: str, points: Sequence[tuple[float, float]], threshold: float, *, reached: str) -> Chart:
    """How sure it is that two versions differ.

    Args:
        name: of the chart, within the page.
        title: above it.
        finding: what it says, in a sentence.
        points: time in seconds since 1970, and the logarithm of the e-value at that time.
        threshold: the e-value from which they differ: 1/alpha, or what is calibrated to it.
        reached: what holds from there on, in a few words.
    """
    largest = max((log_e for _, log_e in points), default=0.0)
    high = math.exp(min(max(largest, math.log(ROOM * threshold)), MOST_LOG_E))
    line = Line("e-value", [Point(at, math.exp(min(max(log_e, 0.0), MOST_LOG_E))) for at, log_e in points])
    axis = Axis("log", "e-value", low=1.0, high=10.0 ** math.ceil(math.log10(high)))
    return lines_chart(name, title, finding, [line], y=axis, marks=[Mark(threshold, f"{threshold:,.3g}: {reached}")])


def difference_chart(
    name: str,
    title: str,
    finding: str,
    points: Sequence[Point],
    *,
    unit: str,
    margin: float,
    words: tuple[str, str, str],
) -> Chart:
    """By how much one version is better, with its always valid interval, the ends named.

    Args:
        name: of the chart, within the page.
        title: above it.
        finding: what it says, in a sentence.
        points: the difference and its interval, over time.
        unit: of the difference.
        margin: by how much a version has to be better to win; 0: by anything.
        words: what no difference, the margin and the difference are called; the margin's name stands alone where there is one.
    """
    none, needed, observed = words
    marks = [Mark(0.0, "" if margin else none, "soft"), *([Mark(margin, needed), Mark(-margin, "")] if margin else [])]
    finite = [point for point in points if math.isfinite(point.value)]
    settled = finite[int(len(finite) * SETTLED) :]
    ends = [end for point in settled for end in (point.value, point.low, point.high) if end is not None] + [mark.value for mark in marks]
    fitted = Axis().scale(ends)
    axis = Axis("linear", unit, low=fitted.low, high=fitted.high)
    lines = [Line(observed, points, "s1")]
    if finite and (last := finite[-1]).low is not None and last.high is not None:
        heights = {end: min(max(end, fitted.low), fitted.high) for end in (last.high, last.low)}
        lines += [Line(axis.text(end), [Point(last.at, height)], "s1", is_label=True) for end, height in heights.items()]
    return lines_chart(name, title, finding, lines, y=axis, marks=marks)

"""The months of a simulated monitor as a picture: the share of them that had an alarm, by day."""

from collections.abc import Sequence

from sporeprint.monitoring.simulation import SimulatedMonths
from sporeprint.stats.intervals import proportion

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 60, 690, 70, 300
COLOURS = {False: "#d1641c", True: "#2f7dd1"}
NAMES = {False: "days taken as alike", True: "earlier days learnt"}


def picture(results: Sequence[SimulatedMonths], days: int, promised: float | None) -> str:
    """An SVG document with a line for each result, and its 95 % interval.

    Args:
        results: one or two, told apart by `learned`.
        days: length of a month.
        promised: share of months that may have a false alarm; None where the alarms are not false.
    """

    def x(day: float) -> float:
        return LEFT + (RIGHT - LEFT) * day / days

    def y(share: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * share

    months = len(results[0].months)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" role="img">',
        "<title>Share of simulated months with an alarm, by day</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        '<text x="20" y="28" font-size="16" font-weight="bold">Share of months with an alarm by then</text>',
        f'<text x="20" y="48" fill="#555">{months:,} simulated months; area: 95 % interval{", red: promised" if promised else ""}</text>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(share) + 4:.1f}" text-anchor="end" fill="#555">{share:.0%}</text>')
    parts += [
        f'<text x="{x(day):.1f}" y="{BOTTOM + 18}" text-anchor="middle" fill="#555">{f"day {day}" if day else "0"}</text>'
        for day in sorted({round(days * quarter / 4) for quarter in range(5)})
    ]
    if promised:
        line = f'x1="{LEFT}" x2="{RIGHT}" y1="{y(promised):.1f}" y2="{y(promised):.1f}"'
        parts.append(f'<line {line} stroke="#c00" stroke-width="1.5" stroke-dasharray="6 4"/>')
    for place, result in enumerate(results):
        shares = [proportion(round(result.share_within(day) * months), months, 0.95) for day in range(days + 1)]
        area = [(day, each.high) for day, each in enumerate(shares)] + [(day, each.low) for day, each in reversed(list(enumerate(shares)))]
        colour = COLOURS[result.learned]
        parts.append(f'<polygon points="{" ".join(f"{x(day):.1f},{y(end):.1f}" for day, end in area)}" fill="{colour}" opacity="0.15"/>')
        corners = " ".join(f"{x(day):.1f},{y(each.value):.1f}" for day, each in enumerate(shares))
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"/>')
        named = f"{NAMES[result.learned]}: {result.share_within(days):.0%} by day {days}"
        parts.append(f'<text x="{LEFT + 320 * place}" y="{HEIGHT - 16}" fill="{colour}">{named}</text>')
    return "\n".join([*parts, "</svg>", ""])

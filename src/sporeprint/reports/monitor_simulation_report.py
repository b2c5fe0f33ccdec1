"""The months of a simulated monitor as a picture: the share of them that had an alarm, by day."""

from collections.abc import Sequence

from sporeprint.monitoring.simulation import SimulatedMonths

WIDTH, HEIGHT, LEFT, TOP = 520, 220, 48, 28
COLOURS = {False: "#d1641c", True: "#2f7dd1"}
NAMES = {False: "days taken as alike", True: "earlier days learnt"}


def picture(results: Sequence[SimulatedMonths], days: int) -> str:
    """An SVG document with one line for each result."""

    def x(day: float) -> float:
        return LEFT + (WIDTH - LEFT - 16) * day / days

    def y(share: float) -> float:
        return TOP + (HEIGHT - TOP - 36) * (1 - share)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11" role="img">',
        "<title>Share of simulated months with an alarm, by day</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        '<text x="8" y="16" font-weight="bold">Share of months with an alarm by then</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y(share):.1f}" y2="{y(share):.1f}" stroke="#ccc"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    parts.append(f'<text x="{WIDTH - 16}" y="{HEIGHT - 18}" text-anchor="end">day {days}</text>')
    for place, result in enumerate(results):
        corners = " ".join(f"{x(day):.1f},{y(result.share_within(day)):.1f}" for day in range(days + 1))
        colour = COLOURS[result.learned]
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 190 * place}" y="{HEIGHT - 4}" fill="{colour}">{NAMES[result.learned]}</text>')
    return "\n".join([*parts, "</svg>", ""])

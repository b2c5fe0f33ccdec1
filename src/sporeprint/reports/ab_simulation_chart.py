"""A picture of a simulation of A/B tests, as one SVG file: what was measured against what is promised, and how long it took."""

from collections.abc import Sequence
from html import escape

from sporeprint.ab_testing.simulation import SimulatedErrorRates
from sporeprint.stats.intervals import Estimate

WIDTH, HEIGHT, LEFT, RIGHT = 720, 420, 190, 690
_ROW, _TOP, _CURVE_TOP, _CURVE_BOTTOM = 44, 70, 240, 380


def chart(simulation: SimulatedErrorRates, title: str, alpha: float, srm_alpha: float) -> str:
    """The picture as SVG text.

    Args:
        simulation: the results.
        title: what was simulated.
        alpha: promised share of false ends and of missed differences.
        srm_alpha: promised share of false alarms about the sample ratio.
    """
    bars = (
        ("false end", simulation.false_ends, alpha),
        ("interval missed the truth", simulation.missed, alpha),
        ("sample ratio alarm", simulation.alarmed, srm_alpha),
    )
    most = max(0.1, *(max(share.high, promised) for _, share, promised in bars))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="20" y="28" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="20" y="48" fill="#555">{simulation.tests:,} simulated tests of {simulation.units:,} requests; '
        "bar: measured, line: 99 % interval, red: promised</text>",
    ]
    parts += [part for row, bar in enumerate(bars) for part in _bar(*bar, _TOP + _ROW * row, most)]
    parts += _curve(simulation.decided_by, simulation.units)
    return "\n".join([*parts, "</svg>\n"])


def _bar(name: str, share: Estimate, promised: float, y: float, most: float) -> list[str]:
    def x(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * value / most

    colour = "#b33" if share.low > promised else "#478"
    return [
        f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{name}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{x(share.value) - LEFT:.1f}" height="20" fill="{colour}"/>',
        f'<line x1="{x(share.low):.1f}" x2="{x(share.high):.1f}" y1="{y + 10}" y2="{y + 10}" stroke="#000"/>',
        f'<line x1="{x(promised):.1f}" x2="{x(promised):.1f}" y1="{y - 4}" y2="{y + 24}" stroke="#c00" stroke-width="2"/>',
        f'<text x="{x(max(share.high, promised)) + 6:.1f}" y="{y + 15}">{share.value:.1%}</text>',
    ]


def _curve(decided_by: Sequence[int], units: int) -> list[str]:
    points = [(0.0, 0.0), *((each, (number + 1) / 10) for number, each in enumerate(decided_by))]
    placed = " ".join(
        f"{LEFT + (RIGHT - LEFT) * at / units:.1f},{_CURVE_BOTTOM - (_CURVE_BOTTOM - _CURVE_TOP) * share:.1f}" for at, share in points
    )
    return [
        f'<text x="{LEFT - 10}" y="{_CURVE_TOP + 5}" text-anchor="end">100 % have a winner</text>',
        f'<text x="{LEFT - 10}" y="{_CURVE_BOTTOM + 5}" text-anchor="end">0 %</text>',
        f'<rect x="{LEFT}" y="{_CURVE_TOP}" width="{RIGHT - LEFT}" height="{_CURVE_BOTTOM - _CURVE_TOP}" fill="none" stroke="#aaa"/>',
        f'<polyline points="{placed}" fill="none" stroke="#478" stroke-width="2"/>',
        f'<text x="{LEFT}" y="{_CURVE_BOTTOM + 20}" fill="#555">0 requests</text>',
        f'<text x="{RIGHT}" y="{_CURVE_BOTTOM + 20}" text-anchor="end" fill="#555">{units:,}</text>',
    ]

"""Bars of shares that were measured in a simulation, each beside what is promised: parts of an SVG file."""

from collections.abc import Sequence
from html import escape

from sporeprint.stats.intervals import Estimate

WIDTH, LEFT, RIGHT = 720, 190, 670
STEP = 44


def bars(rows: Sequence[tuple[str, Estimate, float]], top: float) -> list[str]:
    """A bar for each name, measured share, and promised share; from `top` on, each `STEP` below the one before."""
    most = max(0.1, *(max(share.high, promised) for _, share, promised in rows)) * 1.1
    return [part for place, row in enumerate(rows) for part in _bar(*row, top + STEP * place, most)]


def opening(title: str, subtitle: str, height: int) -> list[str]:
    """The beginning of the file: a white page with a title, and what it shows."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="20" y="28" font-size="16" font-weight="bold">{escape(title)}</text>',
        f'<text x="20" y="48" fill="#555">{escape(subtitle)}; bar: measured, line: 99 % interval, red: promised</text>',
    ]


def _bar(name: str, share: Estimate, promised: float, y: float, most: float) -> list[str]:
    def x(value: float) -> float:
        return LEFT + (RIGHT - LEFT) * value / most

    colour = "#b33" if share.low > promised else "#478"
    return [
        f'<text x="{LEFT - 10}" y="{y + 15}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{x(share.value) - LEFT:.1f}" height="20" fill="{colour}"/>',
        f'<line x1="{x(share.low):.1f}" x2="{x(share.high):.1f}" y1="{y + 10}" y2="{y + 10}" stroke="#000"/>',
        f'<line x1="{x(promised):.1f}" x2="{x(promised):.1f}" y1="{y - 4}" y2="{y + 24}" stroke="#c00" stroke-width="2"/>',
        f'<text x="{x(max(share.high, promised)) + 6:.1f}" y="{y + 15}">{share.value:.1%}</text>',
    ]

"""A picture of a simulation of A/B tests, as one SVG file: what was measured against what is promised, and how long it took."""

from collections.abc import Sequence

from sporeprint.ab_testing.simulation import SimulatedErrorRates
from sporeprint.reports.promise_bars import LEFT, RIGHT, bars, opening

HEIGHT = 420
_TOP, _CURVE_TOP, _CURVE_BOTTOM = 70, 240, 380


def chart(simulation: SimulatedErrorRates, title: str, alpha: float, srm_alpha: float) -> str:
    """The picture as SVG text.

    Args:
        simulation: the results.
        title: what was simulated.
        alpha: promised share of false ends and of missed differences.
        srm_alpha: promised share of false alarms about the sample ratio.
    """
    measured = (
        ("false end", simulation.false_ends, alpha),
        ("interval missed the truth", simulation.missed, alpha),
        ("sample ratio alarm", simulation.alarmed, srm_alpha),
    )
    parts = opening(title, f"{simulation.tests:,} simulated tests of {simulation.units:,} requests", HEIGHT)
    return "\n".join([*parts, *bars(measured, _TOP), *_curve(simulation.decided_by, simulation.units), "</svg>\n"])


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

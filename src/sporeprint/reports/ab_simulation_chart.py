"""A simulation of A/B tests as one SVG file: what was measured against what is promised, and how long it took."""

from sporeprint.ab_testing.simulation import SimulatedErrorRates
from sporeprint.reports.promise_bars import promise_chart
from sporeprint.web.charts import Axis, Line, Point, lines_chart, svg_file


def picture(simulation: SimulatedErrorRates, title: str, alpha: float, srm_alpha: float) -> str:
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
    bars = promise_chart(title, f"{simulation.tests:,} simulated tests of {simulation.units:,} requests", measured)
    points = [Point(0, 0.0), *(Point(each, (number + 1) / 10) for number, each in enumerate(simulation.decided_by))]
    last = points[-1]
    finding = f"{last.value:.0%} of the tests have a winner within {last.at:,.0f} requests."
    x, y = Axis(label="requests", low=0.0, high=float(simulation.units)), Axis("share", low=0.0, high=1.0)
    return svg_file(bars, lines_chart("winners", "Tests that have a winner by then", finding, [Line("a winner", points)], x=x, y=y))

"""The months of a simulated monitor as a picture: the share of them that had an alarm, by day."""

from collections.abc import Sequence

from sporeprint.monitoring.simulation import SimulatedMonths
from sporeprint.stats.intervals import proportion
from sporeprint.web.charts import Axis, Line, Mark, Point, lines_chart, svg_file

NAMES = {False: "days taken as alike", True: "earlier days learnt"}


def picture(results: Sequence[SimulatedMonths], days: int, promised: float | None) -> str:
    """An SVG document with a line for each result, and its 95 % interval.

    Args:
        results: one or two, told apart by `learned`.
        days: length of a month.
        promised: share of months that may have a false alarm; None where the alarms are not false.
    """
    months, lines = len(results[0].months), []
    for result in results:
        shares = [proportion(round(result.share_within(day) * months), months, 0.95) for day in range(days + 1)]
        label = f"{NAMES[result.learned]}: {result.share_within(days):.0%} by day {days}"
        lines.append(Line(label, [Point(day, each.value, each.low, each.high) for day, each in enumerate(shares)]))
    return svg_file(
        lines_chart(
            "months",
            "Share of months with an alarm by then",
            f"{months:,} simulated months. {'; '.join(line.label for line in lines)}.",
            lines,
            x=Axis(label="day", low=0.0, high=float(days)),
            y=Axis("share", low=0.0, high=1.0),
            marks=[Mark(promised, "promised")] if promised else [],
            note=f"{months:,} simulated months; area: 95 % interval",
        )
    )

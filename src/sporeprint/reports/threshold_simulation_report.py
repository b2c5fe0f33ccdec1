"""The runs of a simulated threshold as a picture: how often its promise is broken, by what is counted."""

from sporeprint.reports.promise_bars import promise_chart
from sporeprint.safety.threshold_simulation import ThresholdSimulation
from sporeprint.stats.intervals import proportion
from sporeprint.web.charts import svg_file


def picture(simulation: ThresholdSimulation) -> str:
    """An SVG document with a row for each way of counting."""
    measured = tuple(
        (what, proportion(broken, simulation.runs, 0.99), simulation.delta)
        for what, broken in (("every row counted", simulation.broken_by_rows), ("every unit counted once", simulation.broken_by_units))
    )
    subtitle = f"{simulation.runs:,} runs of {simulation.rows:,} rows, {simulation.copies:,} of each unit"
    return svg_file(promise_chart("How often the promise is broken", subtitle, measured))

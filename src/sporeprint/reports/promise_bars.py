"""Shares that were measured in a simulation, each beside what is promised."""

from collections.abc import Sequence

from sporeprint.stats.intervals import Estimate
from sporeprint.web.charts import Axis, Chart, Dot, Row, rows_chart


def promise_chart(title: str, subtitle: str, measured: Sequence[tuple[str, Estimate, float]]) -> Chart:
    """A row for each name, measured share, and promised share; red where the promise is shown to be broken."""
    rows = []
    for name, share, promised in measured:
        role = "warn" if share.low > promised else "s1"
        rows.append(Row(name, dots=[Dot(share.value, share.low, share.high, role)], limit=promised, text=f"{share.value:.1%}"))
    finding = f"{subtitle}. {'; '.join(f'{name}: {share.value:.1%}, promised {promised:.1%}' for name, share, promised in measured)}."
    note = f"{subtitle}; dot: measured, line: 99 % interval, red line: promised"
    return rows_chart("promises", title, finding, rows, axis=Axis("share", from_zero=True), note=note)

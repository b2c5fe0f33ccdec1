"""Pictures of the standard questions: PNG bytes, one figure each, in the style of the other reports."""

import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from sporeprint.reports.figures import COLOURS, INK, MARKERS, SOFT, STYLE

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Row = Mapping[str, Any]

#: Pixels per inch, and inches.
DPI, SIZE = 160, (6.4, 2.9)
#: More models and arms than this are not told apart by a line; the tables have them all.
MOST_LINES = len(COLOURS)
#: Verdict kinds, from the bottom up, with their colours.
KINDS = {"negative": "#2A7D75", "positive": "#C73E1D", "unknown": "#9aa3ae"}


def cell(row: Row) -> str:
    """The name of a row's model and arm."""
    arm = f" · {row['test_id']} {row['arm']}".rstrip() if row["test_id"] else ""
    return f"{row['model']}/v{row['version']}{arm}"


def lines(rows: Sequence[Row], column: str, title: str, *, unit: str = "", simulated: bool = False) -> bytes:
    """A number by day, one line for each model and arm; days without it are left out."""
    figure, axes = _figure(title, simulated=simulated)
    names = list(dict.fromkeys(map(cell, rows)))[:MOST_LINES]
    for place, name in enumerate(names):
        points = [(date.fromisoformat(row["day"]), row[column]) for row in rows if cell(row) == name and row[column] is not None]
        days, values = [day for day, _ in points], [value for _, value in points]
        style: dict[str, Any] = {"color": COLOURS[place], "marker": MARKERS[place], "markersize": 3, "linewidth": 1.4}
        axes.plot(days, values, label=name, **style)  # type: ignore[arg-type]  # dates are what its converters are for
    _finish(axes, unit, legend=len(names) > 1)
    return _png(figure)


def shares(rows: Sequence[Row], kinds: Mapping[str, str], title: str, *, simulated: bool = False) -> bytes:
    """The share of each verdict by day, all models and arms together.

    Args:
        rows: of the question `verdicts`.
        kinds: verdict -> negative, positive or unknown.
        title: what it shows.
        simulated: whether models of invented rows are among those that answered.
    """
    figure, axes = _figure(title, simulated=simulated)
    days = sorted({row["day"] for row in rows})
    totals = {day: sum(row["answers"] for row in rows if row["day"] == day) for day in days}
    bottom = [0.0] * len(days)
    for kind, colour in KINDS.items():
        named = [verdict for verdict, name in kinds.items() if name == kind]
        counts = dict.fromkeys(days, 0)
        for row in rows:
            if kinds.get(row["verdict"], "unknown") == kind:
                counts[row["day"]] += row["answers"]
        heights = [counts[day] / totals[day] for day in days]
        label = ", ".join(named) or kind
        axes.bar([date.fromisoformat(day) for day in days], heights, 0.9, bottom=bottom, color=colour, label=label)  # type: ignore[arg-type]
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes.set_ylim(0, 1)
    _finish(axes, "share", legend=True)
    return _png(figure)


def _figure(title: str, *, simulated: bool) -> "tuple[Figure, Axes]":
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=SIZE, dpi=DPI)
        axes = figure.add_axes((0.1, 0.19, 0.87, 0.6))
        figure.text(0.02, 0.965, title, fontsize=10.5, fontweight="bold", va="top", color=INK)
        if simulated:
            stamp: dict[str, Any] = {"ha": "center", "va": "center", "fontweight": "bold", "alpha": 0.22, "zorder": 100}
            figure.text(0.5, 0.5, "SIMULATED DATA", rotation=20, fontsize=34, color="#C73E1D", **stamp)
    return figure, axes


def _finish(axes: "Axes", unit: str, *, legend: bool) -> None:
    import matplotlib as mpl
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    with mpl.rc_context(STYLE):
        locator: Any = AutoDateLocator(minticks=2, maxticks=8)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.set_ylim(0, max(axes.get_ylim()[1], 1e-9) * (1 if unit == "share" else 1.05))
        axes.set_ylabel(unit, color=SOFT)
        if legend:
            axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False, fontsize=8)


def _png(figure: "Figure") -> bytes:
    import matplotlib as mpl
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # comes with matplotlib

    with mpl.rc_context(STYLE):
        canvas: Any = FigureCanvasAgg(figure)
        canvas.draw()
    picture, buffer = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]), io.BytesIO()
    picture.quantize(255, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG")
    return buffer.getvalue()

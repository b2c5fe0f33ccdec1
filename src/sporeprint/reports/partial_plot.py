"""The picture of verdicts by number of fields: how many are answered, and how many of those wrongly."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sporeprint.evaluation.partial_scorecard import PartialCounts
from sporeprint.reports.class_words import ClassWords
from sporeprint.reports.figures import COLOURS, add_axes, add_title, new_figure, picture

if TYPE_CHECKING:  # matplotlib takes a second to import
    from matplotlib.figure import Figure

#: Percent from which on the lower half is drawn to scale; below, 0 has to be seen as 0.
LEAST_PERCENT = 0.1
STYLES = {"asked": "-", "random": "--"}


@picture
def draw_partial(partial: Sequence[PartialCounts], words: ClassWords, *, simulated: bool) -> "Figure":
    """Above, the share of the rows of known groups that are answered; below, the share of positive rows called negative."""
    figure = new_figure(6.4, 4.9, simulated=simulated)
    above, below = add_axes(figure, 0.85, 2.55, 0.2, 0.45), add_axes(figure, 0.85, 0.55, 0.2, 2.75)
    ticks = sorted({item.columns for item in partial})
    for how, line in STYLES.items():
        items = [item for item in partial if item.how == how]
        columns = [item.columns for item in items]
        answered = [100 * item.seen.answered / max(item.seen.rows, 1) for item in items]
        above.plot(columns, answered, line, color=COLOURS[0], linewidth=1.8, marker="o", markersize=3, label=f"fields {how}")
        for side, colour, marker in (("seen", "#E8B44A", "o"), ("unseen", "#C73E1D", "s")):
            counts = [(item.columns, item.seen if side == "seen" else item.unseen) for item in items]
            points = [(number, 100 * each.false_negative / max(each.positives, 1)) for number, each in counts if each is not None]
            label = f"{getattr(words, side)}, {how}"
            x, y = [number for number, _ in points], [share for _, share in points]
            if points:
                below.plot(x, y, line, color=colour, marker=marker, markersize=3, linewidth=1.4, label=label)
    below.set_yscale("symlog", linthresh=LEAST_PERCENT)
    below.set_ylim(bottom=-0.02)
    below.minorticks_off()
    levels = [level for level in (0.0, 0.1, 1.0, 10.0, 100.0) if level <= max(0.1, below.get_ylim()[1])]
    below.set_yticks(levels, labels=[f"{level:g} %" for level in levels])
    above.set_ylim(0, 102)
    above.set_ylabel(f"answered, {words.seen} (%)")
    below.set_ylabel(f"{words.positive} called {words.negative}")
    below.set_xlabel("fields")
    for axes in (above, below):
        axes.set_xticks(ticks)
        axes.legend(loc="best", fontsize=8, framealpha=0.92, edgecolor="none")
    add_title(figure, "With only some fields")
    return figure

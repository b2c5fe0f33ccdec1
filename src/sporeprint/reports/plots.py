"""Pictures of an evaluation: value objects in, PNG bytes out, the same bytes for the same values.

Every picture is drawn on a figure of its own, without matplotlib's global state, and placed by hand: automatic layout
costs more than the drawing. One model has one colour in all pictures, from a palette that colour-blind people can tell
apart (Okabe and Ito, 2008) and with a marker of its own beside it; seen is solid and filled, unseen dashed and hollow.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sporeprint.evaluation.partial_scorecard import PartialCounts
from sporeprint.evaluation.safety_scorecard import GuardEvaluation, ModelSafety, PredictionCounts
from sporeprint.evaluation.scorecard import ConfusionMatrix, Curve, ModelEvaluation, ScoreCard, Unavailable
from sporeprint.reports.class_words import ClassWords
from sporeprint.reports.figures import COLOURS, INK, LIGHTER, MARKERS, SOFT, add_axes, add_title, new_figure, palette, picture, shortened
from sporeprint.reports.partial_plot import draw_partial
from sporeprint.schema import DatasetSchema
from sporeprint.stats.intervals import Estimate

if TYPE_CHECKING:  # matplotlib takes a second to import, and who only needs a name or a colour shall not pay it
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


NOTHING, MINUS = "\u2013", "\u2212"
DOTS, DASHES = (0, (1, 2)), (0, (4, 2))
#: Where the numbers stand beside the picture of seen and unseen, in widths of the axes.
UNSEEN_AT, SEEN_AT = 1.25, 1.47
GOOD, BAD = (0x2A, 0x7D, 0x75), (0xC7, 0x3E, 0x1D)
#: Metrics of the picture that sets seen against unseen: name, and what it says.
COMPARED = {
    "accuracy": ("accuracy", "share of right answers"),
    "roc_auc": ("ROC AUC", "how well the two classes are told apart"),
    "mcc": ("MCC", "0 is guessing, 1 is always right"),
}
#: A share of fewer rows than this is drawn hollow: it may be chance.
FEW_ROWS = 30
#: Bars in a picture of feature importance.
MOST_FEATURES = 15


def draw_all(
    evaluations: Mapping[str, ModelEvaluation],
    guard: GuardEvaluation | Unavailable,
    importances: Mapping[str, Mapping[str, float]],
    schema: DatasetSchema,
    *,
    partial: Sequence[PartialCounts] = (),
    simulated: bool,
) -> dict[str, bytes]:
    """Every picture that the evaluations allow.

    Args:
        evaluations: by model, in the order of colours.
        guard: the guard alone.
        importances: model -> dataset column -> share; a model without, or with an empty one, gets no such picture.
        schema: the contract, for words.
        partial: verdicts by number of fields; none where that was not measured.
        simulated: whether the rows were invented; then every picture says so.

    Returns:
        file name -> PNG: `seen_against_unseen.png`, `roc.png`, `pr.png`, `confusion.png`, `reliability_seen.png`,
        `answers.png`, `importance_<model>.png`; `reliability_unseen.png`, `guard.png` and `partial.png` where these could be measured.
    """
    words, colours = ClassWords.of(schema), palette(list(evaluations))
    seen = {name: evaluation.seen for name, evaluation in evaluations.items()}
    unseen = unseen_cards(evaluations)
    pictures = {
        "seen_against_unseen.png": draw_seen_against_unseen(evaluations, words, simulated=simulated),
        "roc.png": draw_roc(evaluations, words, simulated=simulated),
        "pr.png": draw_pr(evaluations, words, simulated=simulated),
        "confusion.png": draw_confusion(evaluations, words, simulated=simulated),
        "reliability_seen.png": draw_reliability(seen, words, f"on {words.seen}", simulated=simulated),
        "answers.png": draw_answers({name: evaluation.safety for name, evaluation in evaluations.items()}, words, simulated=simulated),
    }
    if not isinstance(guard, Unavailable):
        pictures["guard.png"] = draw_guard(guard, words, simulated=simulated)
    if partial:
        pictures["partial.png"] = draw_partial(partial, words, simulated=simulated)
    if unseen:
        pictures["reliability_unseen.png"] = draw_reliability(unseen, words, f"on {words.unseen}", simulated=simulated)
    for name, colour in colours.items():
        if shares := importances.get(name):
            pictures[f"importance_{name}.png"] = draw_importance(name, shares, words, colour, simulated=simulated)
    return pictures


def unseen_cards(evaluations: Mapping[str, ModelEvaluation]) -> dict[str, ScoreCard]:
    """The models that could be measured on unseen groups."""
    return {name: evaluation.unseen for name, evaluation in evaluations.items() if not isinstance(evaluation.unseen, Unavailable)}


# --- canvas ----------------------------------------------------------------------------------------------------------


# --- seen against unseen ---------------------------------------------------------------------------------------------


@picture
def draw_seen_against_unseen(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, *, simulated: bool) -> "Figure":
    """For every metric and model: seen, unseen, their intervals, and the way between them."""
    names, unseen = list(evaluations), unseen_cards(evaluations)
    metrics = [metric for metric in COMPARED if all(metric in evaluation.seen.metrics for evaluation in evaluations.values())]
    rows = len(metrics) * (len(names) + 1.4)
    figure = new_figure(5.2, 1.05 + 0.3 * rows, simulated=simulated)
    ax = add_axes(figure, 1.55, 0.34, 1.2, 0.8)
    lowest, places = 0.0, []
    for block, metric in enumerate(metrics):
        top = block * (len(names) + 1.4)
        _draw_heading(ax, metric, top)
        _draw_guess(ax, metric, evaluations, top, len(names))
        for place, (name, evaluation) in enumerate(evaluations.items()):
            places.append((top + 1 + place, shortened(name)))
            lowest = min(lowest, _draw_pair(ax, evaluation, metric, top + 1 + place, palette(names)[name], MARKERS[place % len(MARKERS)]))
    ax.set_ylim(rows - 0.6, -0.6)
    ax.set_xlim(max(lowest - 0.04, -1.0), 1.0)
    ax.set_yticks([y for y, _ in places], [text for _, text in places], color=INK)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    for at, text in ((UNSEEN_AT, "unseen"), (SEEN_AT, "seen")):
        ax.text(at, -0.75, text, transform=ax.get_yaxis_transform(), ha="right", va="bottom", fontsize=8.5, color=SOFT)
    add_title(figure, f"{words.seen.capitalize()} against {words.unseen}")
    _draw_key(figure, words, unseen=bool(unseen))
    return figure


def _draw_heading(ax: "Axes", metric: str, top: float) -> None:
    name, meaning = COMPARED[metric]
    edge = ax.get_yaxis_transform()
    ax.text(-0.035, top + 0.05, name, fontweight="bold", ha="right", va="center", transform=edge)
    ax.text(0.0, top + 0.05, meaning, fontsize=8.5, color=SOFT, va="center", transform=edge, backgroundcolor="white")


def _draw_pair(ax: "Axes", evaluation: ModelEvaluation, metric: str, y: float, colour: str, marker: str) -> float:
    """One model's two estimates of a metric; the leftmost number drawn."""
    edge, seen, lowest = ax.get_yaxis_transform(), evaluation.seen.metrics[metric], 0.0
    if isinstance(evaluation.unseen, Unavailable):
        ax.text(UNSEEN_AT, y, NOTHING, transform=edge, ha="right", va="center_baseline", color=SOFT)
    else:
        unseen = evaluation.unseen.metrics[metric]
        ax.plot([unseen.value, seen.value], [y, y], color=colour, alpha=0.2, linewidth=7, solid_capstyle="butt", zorder=2)
        _draw_interval(ax, unseen, y, colour)
        ax.plot(
            [unseen.value], [y], marker, color=colour, markerfacecolor="white", markersize=7, markeredgewidth=1.6, zorder=4, clip_on=False
        )
        ax.text(UNSEEN_AT, y, _number(unseen.value), transform=edge, ha="right", va="center_baseline", fontweight="bold")
        lowest = min(number for number in (0.0, unseen.value, unseen.low) if not math.isnan(number))
    _draw_interval(ax, seen, y, colour)
    ax.plot([seen.value], [y], marker, color=colour, markersize=7, markeredgewidth=1.6, zorder=4, clip_on=False)
    ax.text(SEEN_AT, y, _number(seen.value), transform=edge, ha="right", va="center_baseline")
    return lowest


def _draw_interval(ax: "Axes", estimate: Estimate, y: float, colour: str) -> None:
    ax.plot([estimate.low, estimate.high], [y, y], color=colour, linewidth=1.4, marker="|", markersize=6, zorder=3, clip_on=False)


def _draw_guess(ax: "Axes", metric: str, evaluations: Mapping[str, ModelEvaluation], top: float, models: int) -> None:
    """A dotted line where guessing would stand: the commoner class, a coin, or 0."""
    card = next(iter(unseen_cards(evaluations).values()), next(iter(evaluations.values())).seen)
    share = card.positives / card.rows
    level = {"accuracy": max(share, 1 - share), "roc_auc": 0.5, "mcc": 0.0}[metric]
    ax.plot([level, level], [top + 0.55, top + models + 0.45], color=INK, linewidth=1.1, linestyle=DOTS, zorder=1)


def _draw_key(figure: "Figure", words: ClassWords, *, unseen: bool) -> None:
    from matplotlib.lines import Line2D

    entries = [(INK, words.seen), ("white", words.unseen if unseen else f"{words.unseen} (not available)")]
    handles = [
        Line2D([], [], marker="o", linestyle="", color=INK, markerfacecolor=face, markersize=6, label=text) for face, text in entries
    ]
    handles.append(Line2D([], [], color=INK, linewidth=1.1, linestyle=DOTS, label="guessing"))
    height = figure.get_size_inches()[1]
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.005, 1 - 0.27 / height), ncols=3, frameon=False, fontsize=8.5)


def _number(value: float) -> str:
    """Three digits, and never a rounded 1."""
    if math.isnan(value):
        return NOTHING
    return ">0.999" if 0.9995 <= value < 1 else f"{value:.3f}".replace("-", MINUS)


# --- curves ----------------------------------------------------------------------------------------------------------


@picture
def draw_roc(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, *, simulated: bool) -> "Figure":
    """ROC curves of all models: seen solid, unseen dashed."""
    figure, ax = _square(f"ROC: {words.positive} found, against false alarms", simulated=simulated)
    ax.plot([0, 1], [0, 1], color=SOFT, linewidth=1.0, linestyle=DOTS)
    _draw_curves(ax, evaluations, lambda card: card.roc, "roc_auc", corner="lower right")
    ax.set_xlabel(f"share of {words.negative} called {words.positive}")
    ax.set_ylabel(f"share of {words.positive} called {words.positive}")
    return figure


@picture
def draw_pr(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, *, simulated: bool) -> "Figure":
    """Precision over recall of all models: seen solid, unseen dashed."""
    figure, ax = _square("Precision and recall", simulated=simulated)
    card = next(iter(evaluations.values())).seen
    ax.plot([0, 1], [card.positives / card.rows] * 2, color=SOFT, linewidth=1.0, linestyle=DOTS)
    # Precision is not linear between two points of recall (Davis and Goadrich, 2006): each one holds back to the one before.
    _draw_curves(ax, evaluations, lambda card: card.pr, "pr_auc", corner="lower left", draw="steps-pre")
    ax.set_xlabel(f"recall: share of {words.positive} called {words.positive}")
    ax.set_ylabel(f"precision: {words.positive} among those called so")
    return figure


def _square(title: str, *, simulated: bool) -> tuple["Figure", "Axes"]:
    figure = new_figure(4.5, 4.4, simulated=simulated)
    ax = add_axes(figure, 0.6, 0.52, 0.16, 0.42)
    _unit_square(ax)
    add_title(figure, title)
    return figure, ax


def _unit_square(ax: "Axes", margin: float = 0.015) -> None:
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    ax.set_xlim(-margin, 1 + margin)
    ax.set_ylim(-margin, 1 + margin)
    ax.set_xticks(ticks)
    ax.set_yticks(ticks)


def _draw_curves(
    ax: "Axes",
    evaluations: Mapping[str, ModelEvaluation],
    curve: Callable[[ScoreCard], Curve],
    area: str,
    *,
    corner: Literal["lower left", "lower right"],
    draw: Literal["default", "steps-pre"] = "default",
) -> None:
    from matplotlib.lines import Line2D

    unseen = unseen_cards(evaluations)
    handles = []
    for name, colour in palette(list(evaluations)).items():
        cards = [evaluations[name].seen, *([unseen[name]] if name in unseen else [])]
        for card, style in zip(cards, ("-", DASHES), strict=False):
            points = curve(card)
            ax.plot(points.x, points.y, color=colour, linewidth=1.8, linestyle=style, drawstyle=draw, zorder=3)
        areas = " / ".join(_number(card.metrics[area].value) for card in cards if area in card.metrics)
        handles.append(Line2D([], [], color=colour, linewidth=2.4, label=f"{shortened(name)}  {areas}"))
    title = "area: seen / unseen (dashed)" if unseen else "area"
    legend = ax.legend(handles=handles, loc=corner, fontsize=8, title=title, title_fontsize=8, framealpha=0.92, edgecolor="none")
    legend.set_alignment("left")
    legend.get_title().set_color(SOFT)


# --- confusion -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Box:
    """A cell of a matrix: its corner in inches, its colour, and whether it counts the error that must not happen."""

    left: float
    top: float
    colour: str
    worst: bool


@picture
def draw_confusion(evaluations: Mapping[str, ModelEvaluation], words: ClassWords, *, simulated: bool) -> "Figure":
    """Answers against truth, a row of matrices for every model: counts, and shares of the true class."""
    unseen = unseen_cards(evaluations)
    sides = [words.seen, *([words.unseen] if unseen else [])]
    figure = new_figure(5.2 if unseen else 3.6, 0.95 + 1.5 * len(evaluations), simulated=simulated)
    ax = add_axes(figure, 0.0, 0.0, 0.0, 0.0)
    width, height = figure.get_size_inches()
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    ax.set_axis_off()
    cell, left, top = (width - 1.22 - 0.22 * len(sides)) / (2 * len(sides)), 1.2, 0.95
    boxes: list[Box] = []
    colours = palette(list(evaluations))
    for place, (name, evaluation) in enumerate(evaluations.items()):
        y = top + 1.5 * place
        ax.text(0.12, y + 0.08, shortened(name), fontweight="bold", color=colours[name], va="center")
        for row, word in enumerate((words.negative, words.positive)):
            ax.text(left - 0.1, y + 0.52 + 0.55 * row, f"is {shortened(word, 12)}", ha="right", va="center", fontsize=8.5)
        cards = [evaluation.seen, *([unseen[name]] if name in unseen else [])]
        for side, card in enumerate(cards):
            boxes += _draw_matrix(ax, card.confusion, left + side * (2 * cell + 0.22), y + 0.25, cell)
    for side, text in enumerate(sides):
        middle = left + side * (2 * cell + 0.22) + cell
        ax.text(middle, 0.5, f"{text}, called", ha="center", va="center", fontweight="bold")
        for column, word in enumerate((words.negative, words.positive)):
            ax.text(middle + (column - 0.5) * cell, 0.74, shortened(word, 12), ha="center", va="center", fontsize=8, color=SOFT)
    _fill(ax, boxes, cell - 0.03, 0.52)
    add_title(figure, "Confusion matrices")
    return figure


def _draw_matrix(ax: "Axes", confusion: ConfusionMatrix, left: float, top: float, cell: float) -> list[Box]:
    """The words of one matrix; its boxes are drawn all at once later."""
    boxes = []
    for row, (right, wrong) in enumerate(((confusion.tn, confusion.fp), (confusion.tp, confusion.fn))):
        answers = (right, wrong) if row == 0 else (wrong, right)
        for column, count in enumerate(answers):
            share = count / max(right + wrong, 1)
            hit = row == column
            x, y = left + column * cell, top + row * 0.55
            fill = _shade(GOOD if hit else BAD, share if hit else share**0.5)
            boxes.append(Box(x, y, fill, worst=row == 1 and not hit))
            ax.text(x + cell / 2, y + 0.18, f"{count:,}", ha="center", va="center", fontweight="bold", fontsize=9.5)
            ax.text(x + cell / 2, y + 0.37, _percent(share), ha="center", va="center", fontsize=8)
    return boxes


def _percent(share: float) -> str:
    """One digit, and neither a rounded 0 nor a rounded 100."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else f"{share:.1%}".replace("%", " %")


def _shade(colour: tuple[int, int, int], strength: float) -> str:
    mixed = (round(250 + (channel - 250) * min(strength, 1.0) * LIGHTER) for channel in colour)
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def _fill(ax: "Axes", boxes: Sequence[Box], width: float, height: float) -> None:
    """All boxes as one collection; those of the worst error come last, so that their outlines are whole."""
    from matplotlib.collections import PolyCollection

    boxes = sorted(boxes, key=lambda box: box.worst)
    corners = [[(x, y), (x + width, y), (x + width, y + height), (x, y + height)] for x, y in ((box.left, box.top) for box in boxes)]
    edges = ["#C73E1D" if box.worst else "#e2e6ea" for box in boxes]
    widths = [1.6 if box.worst else 0.6 for box in boxes]
    fills = [box.colour for box in boxes]
    ax.add_collection(PolyCollection(corners, facecolors=fills, edgecolors=edges, linewidths=widths, zorder=0), autolim=False)


# --- reliability -----------------------------------------------------------------------------------------------------


@picture
def draw_reliability(cards: Mapping[str, ScoreCard], words: ClassWords, where: str, *, simulated: bool) -> "Figure":
    """Observed share over the probability that was said, and below how many rows each point stands for."""
    figure = new_figure(4.5, 4.9, simulated=simulated)
    ax = add_axes(figure, 0.6, 1.42, 0.16, 0.42)
    strip = add_axes(figure, 0.6, 0.5, 0.16, 3.62)
    ax.plot([0, 1], [0, 1], color=SOFT, linewidth=1.0, linestyle=DOTS)
    most = 10
    for place, (name, card) in enumerate(cards.items()):
        points, colour, marker = card.reliability, COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        ax.plot([], [], color=colour, marker=marker, markersize=4.5, linewidth=1.4, label=shortened(name))
        for few, style, face in ((False, "-", colour), (True, "", "white")):
            chosen = [at for at, count in enumerate(points.count) if (count < FEW_ROWS) is few]
            x, y = [points.mean_score[at] for at in chosen], [points.observed[at] for at in chosen]
            ax.plot(x, y, linestyle=style, color=colour, marker=marker, markersize=4.5, markerfacecolor=face, linewidth=1.4)
        shift = (place - (len(cards) - 1) / 2) * 0.02
        strip.vlines([score + shift for score in points.mean_score], 0.5, points.count, color=colour, linewidth=2.6)
        most = max(most, *points.count)
    _unit_square(ax, margin=0.03)
    ax.set_ylabel(f"share that is {words.positive}")
    ax.yaxis.set_label_coords(-0.105, 0.5)
    ax.tick_params(labelbottom=False)
    ax.legend(loc="upper left", fontsize=8, frameon=True, framealpha=0.92, edgecolor="none")
    _count_axis(strip, most)
    strip.set_xlabel(f"probability of {words.positive} that the model said")
    add_title(figure, f"Are the probabilities true? {where[:1].upper()}{where[1:]}")
    return figure


def _count_axis(strip: "Axes", most: int) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    powers = range(0, len(str(most)) + 1, 2)
    strip.set_yscale("log")
    strip.set_ylim(0.7, most * 2)
    strip.yaxis.set_major_locator(FixedLocator([10**power for power in powers if 10**power <= most * 2]))
    strip.yaxis.set_major_formatter(FixedFormatter([f"{10**power:,}" for power in powers]))
    strip.yaxis.set_minor_locator(NullLocator())
    strip.set_xlim(-0.03, 1.03)
    strip.set_xticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    strip.set_ylabel("rows")
    strip.yaxis.set_label_coords(-0.105, 0.5)


# --- importance ------------------------------------------------------------------------------------------------------


@picture
def draw_importance(name: str, shares: Mapping[str, float], words: ClassWords, colour: str, *, simulated: bool) -> "Figure":
    """The columns that a model uses most, as shares of all it uses."""
    top = sorted(shares.items(), key=lambda item: -item[1])[:MOST_FEATURES]
    figure = new_figure(3.4, 0.54 + 0.215 * max(len(top), 4), simulated=simulated)
    ax = add_axes(figure, 1.5, 0.08, 0.42, 0.4)
    places = list(range(len(top)))
    ax.barh(places, [share for _, share in top], height=0.66, color=colour)
    for place, (_, share) in zip(places, top, strict=True):
        ax.text(share, place, f" {_percent(share)}", va="center", fontsize=8, color=SOFT)
    ax.set_ylim(max(len(top), 4) - 0.4, -0.6)
    ax.set_xlim(0, max([share for _, share in top], default=1.0) * 1.08 or 1.0)
    ax.set_yticks(places, [shortened(words.columns.get(column, column)) for column, _ in top], color=INK)
    ax.set_xticks([])
    ax.grid(visible=False)
    ax.spines["bottom"].set_visible(False)
    add_title(figure, f"What {shortened(name)} uses")
    return figure


# --- answers ---------------------------------------------------------------------------------------------------------


@picture
def draw_answers(safety: Mapping[str, ModelSafety], words: ClassWords, *, simulated: bool) -> "Figure":
    """What becomes of the rows: right, wrong, wrong in the way that must not happen, unknown."""
    sides = [
        (name, side, counts)
        for name, model_safety in safety.items()
        for side, counts in (("seen", model_safety.seen), ("unseen", model_safety.unseen))
    ]
    rows = [(f"{shortened(name)}, {side}", counts) for name, side, counts in sides if counts is not None]
    figure = new_figure(6.4, 1.15 + 0.34 * len(rows), simulated=simulated)
    ax = add_axes(figure, 1.95, 0.52, 0.95, 0.62)
    for place, (label, counts) in enumerate(rows):
        left = 0.0
        for share, colour in zip(_answer_shares(counts), ANSWER_COLOURS.values(), strict=True):
            ax.barh(-place, share, left=left, color=colour, height=0.62, linewidth=0)
            left += share
        ax.text(-0.015, -place, label, ha="right", va="center", fontsize=8.5)
        missed = f"{counts.false_negative:,} missed"
        ax.text(1.015, -place, missed, ha="left", va="center", fontsize=8.5, color="#C73E1D" if counts.false_negative else SOFT)
    _bar_axes(ax, len(rows))
    names = (f"{words.positive} called {words.negative}", "other wrong answer", "right answer", "unknown")
    handles = [_patch(colour, name) for colour, name in zip(ANSWER_COLOURS.values(), names, strict=True)]
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 0.0), ncols=4, fontsize=8, frameon=False, handlelength=1.0)
    add_title(figure, "What is answered")
    return figure


#: False negatives, other wrong answers, right answers, unknown.
ANSWER_COLOURS = {"missed": "#C73E1D", "wrong": "#E8B44A", "right": "#2A7D75", "unknown": "#D9DDE3"}


def _answer_shares(counts: PredictionCounts) -> tuple[float, float, float, float]:
    rows = max(counts.rows, 1)
    wrong = counts.answered - counts.correct - counts.false_negative
    return counts.false_negative / rows, wrong / rows, counts.correct / rows, 1 - counts.answered / rows


def _bar_axes(ax: "Axes", bars: int) -> None:
    ax.set_xlim(0, 1)
    ax.set_ylim(-bars + 0.5, 0.5)
    ax.set_yticks([])
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "25 %", "50 %", "75 %", "100 %"])
    ax.spines["left"].set_visible(False)


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, label=label)


@picture
def draw_guard(guard: GuardEvaluation, words: ClassWords, *, simulated: bool) -> "Figure":
    """How many rows of unknown groups are answered, and how many of these wrongly, as more of the known rows are answered."""
    figure = new_figure(6.4, 3.6, simulated=simulated)
    ax = add_axes(figure, 0.72, 0.55, 0.2, 0.45)
    coverage, answered, missed = zip(*guard.curve, strict=True)
    x = [-math.log10(1 - at) for at in coverage]
    ax.plot(x, answered, color=COLOURS[0], linewidth=1.8, marker="o", markersize=3, label=f"answered, of {words.unseen}")
    ax.plot(x, missed, color="#C73E1D", linewidth=1.8, marker="s", markersize=3, label=f"{words.positive} called {words.negative}")
    ax.set_yscale("symlog", linthresh=10)
    ax.set_ylim(bottom=-0.4)
    top = max(1, *answered)
    levels = [0, *(10**power for power in range(1, len(str(top)) + 1))]
    ax.set_yticks(levels, labels=[f"{level:,}" for level in levels])
    ax.minorticks_off()
    ticks = [0.9, 0.99, 0.995, 0.999]
    ax.set_xticks([-math.log10(1 - at) for at in ticks], labels=[f"{at * 100:g} %" for at in ticks])
    ax.set_xlabel(f"share of {words.seen} that is answered")
    ax.set_ylabel("rows")
    ax.legend(loc="upper left", fontsize=8, framealpha=0.92, edgecolor="none")
    add_title(figure, f"The guard alone, on {words.unseen}")
    return figure

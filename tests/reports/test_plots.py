"""The pictures: what they show, that they are the same for the same values, and that they fit into a page."""

import inspect
import io
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from sporeprint.evaluation.partial_scorecard import PartialCounts
from sporeprint.evaluation.safety_scorecard import GuardEvaluation, ModelSafety, PredictionCounts
from sporeprint.evaluation.scorecard import ConfusionMatrix, Curve, ModelEvaluation, Reliability, ScoreCard, Unavailable
from sporeprint.reports import plots
from sporeprint.reports.class_words import ClassWords, plural
from sporeprint.reports.figures import palette
from sporeprint.reports.plots import draw_all
from sporeprint.schema import Column, DatasetSchema, Groups, Kind, Target
from sporeprint.stats.intervals import Estimate

METRICS = ("accuracy", "precision", "recall", "f1", "mcc", "roc_auc", "pr_auc", "brier", "log_loss", "ece")
SCHEMA = DatasetSchema(
    name="clinic",
    target=Target(column="state", positive="s", values={"h": "healthy", "s": "sick"}),
    columns={f"blood-{number}": Column(kind=Kind.NUMERIC) for number in range(20)},
    groups=Groups(name="patient", block_rows=10),
)

SAFETY = ModelSafety(PredictionCounts(1000, 990, 980, 1, 500, 500), 990.0, PredictionCounts(5000, 40, 30, 3, 20, 2500), 5, ())
PARTIAL = tuple(
    PartialCounts(
        how, number, PredictionCounts(100, 5 * number, 5 * number, 0, 20, 50), PredictionCounts(80, number, number - 1, 1, 1, 80), 1, 9
    )
    for how in ("asked", "random")
    for number in (4, 8, 12)
)
GUARD = GuardEvaluation("one patient at a time", 0.99, {}, ((0.9, 10, 0), (0.99, 30, 2), (0.999, 70, 9)), (), ())


def card(level: float, rows: int = 1000) -> ScoreCard:
    """A card on which every metric has about one value."""
    wrong = round(rows * (1 - level) / 2)
    steps = np.linspace(0, 1, 30)
    return ScoreCard(
        rows=rows,
        positives=rows // 2,
        metrics={name: Estimate(level, max(level - 0.05, -1.0), min(level + 0.03, 1.0)) for name in METRICS},
        confusion=ConfusionMatrix(tn=rows // 2 - wrong, fp=wrong, fn=wrong, tp=rows // 2 - wrong),
        roc=Curve(tuple(steps.tolist()), tuple((steps ** (1 - level)).tolist())),
        pr=Curve(tuple(steps.tolist()), tuple((1 - steps * (1 - level)).tolist())),
        reliability=Reliability((0.1, 0.5, 0.9), (0.05, 0.4, 0.95), (rows // 2, 5, rows // 2 - 5)),
        units=rows,
    )


@pytest.fixture(scope="module")
def evaluations() -> dict[str, ModelEvaluation]:
    levels = {"logistic_regression": (0.86, 0.59), "decision_tree": (0.99, 0.6), "xgboost": (1.0, 0.61)}
    return {name: ModelEvaluation(card(seen), card(unseen, 5000), (), SAFETY) for name, (seen, unseen) in levels.items()}


@pytest.fixture(scope="module")
def importances() -> dict[str, dict[str, float]]:
    shares = {name: (number + 1) / 210 for number, name in enumerate(SCHEMA.columns)}
    return {"logistic_regression": shares, "decision_tree": {}, "xgboost": shares}


@pytest.fixture(scope="module")
def pictures(evaluations: dict[str, ModelEvaluation], importances: dict[str, dict[str, float]]) -> dict[str, bytes]:
    return draw_all(evaluations, GUARD, importances, SCHEMA, partial=PARTIAL, simulated=False)


@pytest.fixture(scope="module")
def stamped(evaluations: dict[str, ModelEvaluation], importances: dict[str, dict[str, float]]) -> dict[str, bytes]:
    return draw_all(evaluations, GUARD, importances, SCHEMA, partial=PARTIAL, simulated=True)


def without_unseen(evaluations: dict[str, ModelEvaluation]) -> dict[str, ModelEvaluation]:
    return {name: replace(found, unseen=Unavailable("shuffled"), by_group=()) for name, found in evaluations.items()}


def figure_of(draw: Callable[..., Any], *args: Any, simulated: bool = False) -> Any:
    """The figure before it becomes bytes. `Any`: matplotlib types what its artists give back as anything an array can be made of."""
    figure = inspect.unwrap(draw)(*args, simulated=simulated)
    assert isinstance(figure, Figure)
    return figure


def said(figure: Any) -> list[str]:
    """Every text of a figure."""
    return [item.get_text() for item in figure.findobj(Text) if item.get_text()]


def pixels(png: bytes) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(np.int64)


def test_draws_every_picture_by_the_name_of_its_file(pictures: dict[str, bytes]) -> None:
    assert list(pictures) == [
        *("seen_against_unseen.png", "roc.png", "pr.png", "confusion.png", "reliability_seen.png"),
        *("answers.png", "guard.png", "partial.png", "reliability_unseen.png"),
        *("importance_logistic_regression.png", "importance_xgboost.png"),
    ]


def test_pictures_are_sharp_and_small(stamped: dict[str, bytes]) -> None:
    for name, png in stamped.items():
        assert len(png) < 80_000, name
        assert pixels(png).shape[1] >= (600 if name.startswith("importance") else 900), name


def test_same_values_give_the_same_bytes(
    pictures: dict[str, bytes], evaluations: dict[str, ModelEvaluation], importances: dict[str, dict[str, float]]
) -> None:
    # What a person has in matplotlibrc must not show, nor be changed.
    with mpl.rc_context({"font.size": 22.0, "axes.facecolor": "red", "axes.grid": False, "text.color": "green", "figure.dpi": 50.0}):
        again = draw_all(evaluations, GUARD, importances, SCHEMA, partial=PARTIAL, simulated=False)
        assert mpl.rcParams["font.size"] == 22.0
    assert again == pictures


def test_pictures_say_nothing_of_time_or_versions(pictures: dict[str, bytes]) -> None:
    for png in pictures.values():
        chunks = {png[at + 4 : at + 8] for at in chunk_starts(png)}
        assert chunks == {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def chunk_starts(png: bytes) -> Iterator[int]:
    at = 8
    while at < len(png):
        yield at
        at += 12 + int.from_bytes(png[at : at + 4], "big")


def test_simulated_is_stamped_across_every_picture(pictures: dict[str, bytes], stamped: dict[str, bytes]) -> None:
    assert pictures.keys() == stamped.keys()
    for name, png in stamped.items():
        changed = np.abs(pixels(pictures[name]) - pixels(png)).sum(axis=2) > 30
        height, width = changed.shape
        assert changed.mean() > 0.02, name
        assert changed[: height // 2, width // 2 :].any(), name
        assert changed[height // 2 :, : width // 2].any(), name


def test_stamp_is_said_in_words(evaluations: dict[str, ModelEvaluation]) -> None:
    words = ClassWords.of(SCHEMA)
    assert "SIMULATED DATA" in said(figure_of(plots.draw_roc, evaluations, words, simulated=True))
    assert "SIMULATED DATA" not in said(figure_of(plots.draw_roc, evaluations, words))


@pytest.mark.parametrize(("draw", "drawstyle"), [(plots.draw_roc, "default"), (plots.draw_pr, "steps-pre")])
def test_curves_are_solid_on_seen_and_dashed_on_unseen(
    evaluations: dict[str, ModelEvaluation], draw: Callable[..., Any], drawstyle: str
) -> None:
    curves = [line for line in figure_of(draw, evaluations, ClassWords.of(SCHEMA)).axes[0].lines if len(line.get_xydata()) > 2]
    assert [line.get_color() for line in curves] == [colour for colour in palette(list(evaluations)).values() for _ in range(2)]
    assert [line.get_linestyle() for line in curves] == ["-", "--"] * 3
    assert {line.get_drawstyle() for line in curves} == {drawstyle}


def test_areas_stand_beside_the_models(evaluations: dict[str, ModelEvaluation]) -> None:
    texts = said(figure_of(plots.draw_roc, evaluations, ClassWords.of(SCHEMA)))
    assert "logistic regression  0.860 / 0.590" in texts
    assert "area: seen / unseen (dashed)" in texts
    assert "logistic regression  0.860" in said(figure_of(plots.draw_roc, without_unseen(evaluations), ClassWords.of(SCHEMA)))


def test_pictures_speak_the_words_of_the_schema(evaluations: dict[str, ModelEvaluation]) -> None:
    words = ClassWords.of(SCHEMA)
    assert "share of healthy called sick" in said(figure_of(plots.draw_roc, evaluations, words))
    assert {"is healthy", "is sick", "unseen patients, called"} <= set(said(figure_of(plots.draw_confusion, evaluations, words)))
    assert "Seen patients against unseen patients" in said(figure_of(plots.draw_seen_against_unseen, evaluations, words))


def test_confusion_shows_counts_and_shares_and_never_a_rounded_nothing(evaluations: dict[str, ModelEvaluation]) -> None:
    few = replace(evaluations["xgboost"].seen, confusion=ConfusionMatrix(tn=9_999, fp=1, fn=0, tp=7_000))
    texts = said(figure_of(plots.draw_confusion, {"xgboost": replace(evaluations["xgboost"], seen=few)}, ClassWords.of(SCHEMA)))
    for text in ("9,999", ">99.9 %", "1", "<0.1 %", "0", "0.0 %", "7,000", "100.0 %"):
        assert text in texts


def test_confusion_outlines_positives_called_negative(evaluations: dict[str, ModelEvaluation]) -> None:
    ax = figure_of(plots.draw_confusion, {"xgboost": evaluations["xgboost"]}, ClassWords.of(SCHEMA)).axes[0]
    (boxes,) = ax.collections
    strong = [path.vertices[0] for path, width in zip(boxes.get_paths(), boxes.get_linewidths(), strict=True) if width > 1]
    centres = sorted(x for x, _ in (path.vertices[0] for path in boxes.get_paths()))
    assert len(strong) == 2
    # The lower left box of either matrix: is positive, called negative.
    assert {round(x, 6) for x, _ in strong} == {round(centres[0], 6), round(centres[4], 6)}
    assert {y for _, y in strong} == {max(path.vertices[0][1] for path in boxes.get_paths())}


def test_seen_against_unseen_draws_both_marks_their_way_and_their_intervals(evaluations: dict[str, ModelEvaluation]) -> None:
    one = {"xgboost": evaluations["xgboost"]}
    ax = figure_of(plots.draw_seen_against_unseen, one, ClassWords.of(SCHEMA)).axes[0]
    ends = [tuple(line.get_xdata()) for line in ax.lines]
    for expected in ((0.61, 1.0), (0.61,), (1.0,), (0.61 - 0.05, 0.61 + 0.03), (0.95, 1.0)):
        assert ends.count(expected) == 3, expected  # accuracy, ROC AUC, MCC
    assert {"accuracy", "ROC AUC", "MCC", "0.610", "1.000"} <= set(said(ax.figure))


def test_what_is_not_available_is_left_out_and_said(evaluations: dict[str, ModelEvaluation]) -> None:
    found = without_unseen(evaluations)
    assert "reliability_unseen.png" not in draw_all(found, Unavailable("none"), {}, SCHEMA, simulated=False)
    assert "unseen patients (not available)" in said(figure_of(plots.draw_seen_against_unseen, found, ClassWords.of(SCHEMA)))


def test_undefined_metrics_and_empty_curves_are_drawn_as_nothing(evaluations: dict[str, ModelEvaluation]) -> None:
    undefined = Estimate(math.nan, math.nan, math.nan)
    empty = replace(
        evaluations["xgboost"].seen,
        positives=0,
        metrics=dict.fromkeys(METRICS, undefined),
        confusion=ConfusionMatrix(tn=1000, fp=0, fn=0, tp=0),
        roc=Curve((), ()),
        pr=Curve((), ()),
        reliability=Reliability((0.0,), (0.0,), (1000,)),
    )
    pictures = draw_all({"xgboost": ModelEvaluation(empty, empty, (), SAFETY)}, Unavailable("none"), {}, SCHEMA, simulated=False)
    assert len(pictures) == 7
    assert "xgboost  \N{EN DASH} / \N{EN DASH}" in said(
        figure_of(plots.draw_roc, {"xgboost": ModelEvaluation(empty, empty, (), SAFETY)}, ClassWords.of(SCHEMA))
    )


def test_a_share_of_few_rows_is_drawn_hollow(evaluations: dict[str, ModelEvaluation]) -> None:
    ax = figure_of(plots.draw_reliability, {"xgboost": evaluations["xgboost"].seen}, ClassWords.of(SCHEMA), "on seen patients").axes[0]
    faces = {float(x): line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o" for x in np.ravel(line.get_xdata())}
    colour = palette(["xgboost"])["xgboost"]
    assert faces == {0.1: colour, 0.9: colour, 0.5: "white"}


def test_importance_shows_the_first_fifteen_in_words() -> None:
    shares = {name: (number + 1) / 210 for number, name in enumerate(SCHEMA.columns)}
    texts = said(figure_of(plots.draw_importance, "xgboost", shares, ClassWords.of(SCHEMA), "#009E73"))
    named = [text for text in texts if text.startswith("blood ")]
    assert list(dict.fromkeys(named)) == [f"blood {number}" for number in range(19, 4, -1)]
    assert " 9.5 %" in texts


def test_a_dollar_in_a_name_is_no_formula(evaluations: dict[str, ModelEvaluation]) -> None:
    words = replace(ClassWords.of(SCHEMA), positive=r"$\frac$", negative="a_b^")
    assert plots.draw_roc(evaluations, words, simulated=False).startswith(b"\x89PNG")


def test_a_model_keeps_its_colour_in_every_picture_and_many_models_share_them() -> None:
    names = [f"model_{number}" for number in range(9)]
    colours = palette(names)
    assert len(set(list(colours.values())[:7])) == 7
    assert colours["model_7"] == colours["model_0"]


def test_ten_models_fit(evaluations: dict[str, ModelEvaluation]) -> None:
    many = {f"a_model_with_quite_a_long_name_{number}": evaluations["xgboost"] for number in range(10)}
    pictures = draw_all(many, GUARD, {}, SCHEMA, simulated=False)
    height, width, _ = pixels(pictures["confusion.png"]).shape
    assert height > 2 * width


@pytest.mark.parametrize(
    ("one", "many"), [("species", "species"), ("patient", "patients"), ("family", "families"), ("day", "days"), ("y", "ys")]
)
def test_plural(one: str, many: str) -> None:
    assert plural(one) == many


def test_words_without_groups() -> None:
    words = ClassWords.of(SCHEMA.model_copy(update={"groups": None}))
    assert (words.seen, words.unseen) == ("held-out rows", "unseen groups")

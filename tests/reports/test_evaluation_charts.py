"""The charts: what they show, in whose colours and words, and that they are the same for the same values."""

import math
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.partial_scorecard import PartialCounts
from sporeprint.evaluation.safety_scorecard import GuardEvaluation, ModelSafety, PredictionCounts
from sporeprint.evaluation.scorecard import ConfusionMatrix, Curve, ModelEvaluation, Reliability, ScoreCard, Unavailable
from sporeprint.reports import evaluation_charts as charts
from sporeprint.reports.class_words import ClassWords
from sporeprint.reports.evaluation_charts import palette
from sporeprint.schema import Column, DatasetSchema, Groups, Kind, Target
from sporeprint.settings import GuardSettings
from sporeprint.stats.intervals import Estimate
from sporeprint.web.charts import Chart, svg_file

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


WORDS = ClassWords.of(SCHEMA)


@pytest.fixture(scope="module")
def context(evaluations: dict[str, ModelEvaluation], importances: dict[str, dict[str, float]]) -> ReportContext:
    return ReportContext(
        *("run", "2026-01-02T03:04:05+00:00", False, SCHEMA, {}, evaluations, (), GUARD, {}, GuardSettings(), "none", "", {}),
        *(importances, {}, {}, None),
        partial=PARTIAL,
    )


def without_unseen(evaluations: dict[str, ModelEvaluation]) -> dict[str, ModelEvaluation]:
    return {name: replace(item, unseen=Unavailable("shuffled"), by_group=()) for name, item in evaluations.items()}


def texts(chart: Chart) -> list[str]:
    """Every text of a chart, as it is drawn on a page."""
    return re.findall(r"<text[^>]*>(.*?)</text>", str(chart))


def attributes(chart: Chart, tag: str, role: str) -> list[dict[str, str]]:
    """The elements with a class, of the drawing that is made for a file."""
    root = ET.fromstring(svg_file(chart))
    return [each.attrib for each in root.iter() if each.tag.endswith(f"}}{tag}") and role in each.attrib.get("class", "").split()]


def test_every_chart_has_the_name_of_its_file(context: ReportContext) -> None:
    made = charts.evaluation_charts(context)
    assert set(made) == {
        *("seen_against_unseen", "roc", "pr", "reliability_seen", "reliability_unseen", "answers", "guard"),
        *("partial_answered", "partial_missed", "importance_logistic_regression", "importance_xgboost"),
    }
    assert len({chart.name for chart in made.values()}) == len(made)


def test_charts_are_small_the_same_for_the_same_values_and_say_nothing_of_time(context: ReportContext) -> None:
    made, again = ({name: svg_file(chart) for name, chart in charts.evaluation_charts(context).items()} for _ in range(2))
    assert made == again
    for name, text in made.items():
        assert len(text) < 40_000, name
        assert "20" + "26" not in text, name


def test_simulated_is_stamped_across_every_chart(context: ReportContext) -> None:
    for name, chart in charts.evaluation_charts(replace(context, simulated=True)).items():
        assert texts(chart).count("SIMULATED DATA") == (1 if chart.is_small else 2), name
        assert "SIMULATED DATA" in svg_file(chart), name
    assert not any("SIMULATED" in str(chart) for chart in charts.evaluation_charts(context).values())


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_curves_are_solid_on_seen_and_dashed_on_unseen(context: ReportContext, kind: str) -> None:
    lines = attributes(charts.evaluation_charts(context)[kind], "polyline", "line")
    roles = [role for role in palette(list(context.evaluations)).values() for _ in range(2)]
    assert [line["class"].split()[1] for line in lines] == [*roles, "soft"]
    assert ["dashed" in line["class"] for line in lines] == [*([False, True] * 3), True]
    corners = [[float(corner.split(",")[1]) for corner in line["points"].split()] for line in lines]
    assert all(math.isfinite(height) for line in corners for height in line)


def test_precision_holds_back_to_the_point_before(context: ReportContext) -> None:
    corners = attributes(charts.evaluation_charts(context)["pr"], "polyline", "line")[0]["points"].split()
    xs = [corner.split(",")[0] for corner in corners]
    assert all(before == after for before, after in zip(xs[::2], xs[1::2], strict=False))  # up or down first, then on


def test_areas_stand_beside_the_models(evaluations: dict[str, ModelEvaluation]) -> None:
    said = texts(charts.roc_chart(evaluations, WORDS))
    assert {"logistic regression, seen 0.860", "logistic regression, unseen 0.590"} <= set(said)
    assert not [text for text in texts(charts.roc_chart(without_unseen(evaluations), WORDS)) if "unseen" in text]


def test_charts_speak_the_words_of_the_schema(evaluations: dict[str, ModelEvaluation]) -> None:
    assert "share of healthy called sick" in texts(charts.roc_chart(evaluations, WORDS))
    assert charts.gap_chart(evaluations, WORDS).title == "Seen patients against unseen patients"
    assert "sick called healthy" in texts(charts.answers_chart(evaluations, WORDS))


def test_seen_against_unseen_draws_both_marks_their_way_and_their_intervals(evaluations: dict[str, ModelEvaluation]) -> None:
    chart = charts.gap_chart({"xgboost": evaluations["xgboost"]}, WORDS)
    dots, ways, whiskers = attributes(chart, "circle", "dot"), attributes(chart, "line", "way"), attributes(chart, "path", "line")
    assert [len(each) for each in (dots, ways, whiskers)] == [6, 3, 6]  # accuracy, ROC AUC, MCC
    assert ["hollow" in dot["class"] for dot in dots] == [False, True] * 3
    assert [(way["x1"], way["x2"]) for way in ways] == [
        (seen["cx"], unseen["cx"]) for seen, unseen in zip(dots[::2], dots[1::2], strict=True)
    ]
    assert {"accuracy: share of right answers", "xgboost", "1.000 / 0.610"} <= set(texts(chart))


def test_what_is_not_available_is_left_out_and_said(context: ReportContext, evaluations: dict[str, ModelEvaluation]) -> None:
    made = charts.evaluation_charts(replace(context, evaluations=without_unseen(evaluations), guard=Unavailable("none"), partial=()))
    assert not {"reliability_unseen", "guard", "partial_answered", "partial_missed"} & set(made)
    assert "unseen patients (not available)" in made["seen_against_unseen"].note


def test_undefined_metrics_and_empty_curves_are_drawn_as_nothing(context: ReportContext, evaluations: dict[str, ModelEvaluation]) -> None:
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
    made = charts.evaluation_charts(replace(context, evaluations={"xgboost": ModelEvaluation(empty, empty, (), SAFETY)}, importances={}))
    assert len(made) == 9
    assert not any(re.search(r"\bnan\b", svg_file(chart).partition("</style>")[2]) for chart in made.values())
    assert "not defined / not defined" in texts(made["seen_against_unseen"])


def test_a_share_of_few_rows_has_a_wide_interval(evaluations: dict[str, ModelEvaluation]) -> None:
    chart = charts.reliability_chart("r", {"xgboost": evaluations["xgboost"].seen}, WORDS, WORDS.seen)
    (band,) = attributes(chart, "polygon", "band")
    heights = [float(corner.split(",")[1]) for corner in band["points"].split()]
    widths = [low - high for high, low in zip(heights[:3], reversed(heights[3:]), strict=True)]
    assert widths[1] > 5 * max(widths[0], widths[2])  # 5 rows, and about 500


def test_importance_shows_the_first_fifteen_in_words(importances: dict[str, dict[str, float]]) -> None:
    said = texts(charts.importance_chart("i", "xgboost", importances["xgboost"], WORDS, "s1"))
    assert [text for text in said if text.startswith("blood ")] == [f"blood {number}" for number in range(19, 4, -1)]
    assert "9.5\N{NO-BREAK SPACE}%" in said


def test_a_model_keeps_its_colour_in_every_chart_and_many_models_share_them(context: ReportContext) -> None:
    roles = palette([f"model_{number}" for number in range(9)])
    assert len(set(list(roles.values())[:6])) == 6
    assert roles["model_6"] == roles["model_0"]
    assert attributes(charts.evaluation_charts(context)["importance_xgboost"], "rect", palette(list(context.evaluations))["xgboost"])


def test_ten_models_fit(context: ReportContext, evaluations: dict[str, ModelEvaluation]) -> None:
    many = {f"a_model_with_quite_a_long_name_{number}": evaluations["xgboost"] for number in range(10)}
    for chart in charts.evaluation_charts(replace(context, evaluations=many, importances={})).values():
        for width in (640.0, 340.0):
            drawn = chart.draw(width)
            assert all(-1 <= float(x) <= width + 1 for x in re.findall(r'\b(?:cx|x1|x2|x)="(-?[\d.]+)"', drawn.shapes))


def test_words_without_groups() -> None:
    words = ClassWords.of(SCHEMA.model_copy(update={"groups": None}))
    assert (words.seen, words.unseen) == ("held-out rows", "unseen groups")

"""The pages and the numbers for programs: what they say, that they hold everything, and that nothing in them can run."""

import json
import math
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest

from sporeprint.evaluation.evaluation_summary import ReportContext
from sporeprint.evaluation.model_comparison import ModelComparison
from sporeprint.evaluation.safety_scorecard import ConfusedGroups, GroupCounts, GuardEvaluation, ModelSafety, PredictionCounts, PromiseCheck
from sporeprint.evaluation.scorecard import (
    METRICS,
    ConfusionMatrix,
    Curve,
    GroupErrors,
    ModelEvaluation,
    Reliability,
    ScoreCard,
    Unavailable,
)
from sporeprint.reports.evaluation_report import METRIC_WORDS, ValidationSummary, metrics_dict, render_evaluation, render_validation
from sporeprint.safety.risk_control import Threshold
from sporeprint.schema import Column, DatasetSchema, Groups, Kind, Target
from sporeprint.settings import GuardSettings
from sporeprint.stats.intervals import Estimate

EVIL = "<script>alert('x')</script>"
NBSP = "\N{NO-BREAK SPACE}"
SCHEMA = DatasetSchema(
    name="clinic",
    target=Target(column="state", positive="s", values={"h": "healthy", "s": "sick"}),
    columns={"blood-count": Column(kind=Kind.NUMERIC), "age": Column(kind=Kind.NUMERIC)},
    groups=Groups(name="patient", block_rows=10),
)
NAN = Estimate(math.nan, math.nan, math.nan)


def card(accuracy: Estimate, confusion: ConfusionMatrix) -> ScoreCard:
    rows = confusion.tn + confusion.fp + confusion.fn + confusion.tp
    metrics = dict.fromkeys(METRICS, Estimate(0.75, 0.7, 0.8))
    return ScoreCard(
        rows=rows,
        positives=confusion.fn + confusion.tp,
        metrics=metrics | {"accuracy": accuracy},
        confusion=confusion,
        roc=Curve((0.0, 1.0), (0.0, 1.0)),
        pr=Curve((0.0, 1.0), (1.0, 0.5)),
        reliability=Reliability((0.5,), (0.5,), (rows,)),
        units=rows - 7,
    )


GROUPS = (
    GroupErrors(group=0, rows=10, positives=10, errors=10, false_negative=10),
    GroupErrors(group=1, rows=10, positives=0, errors=10, false_negative=0),
    GroupErrors(group=2, rows=10, positives=5, errors=3, false_negative=1),
    GroupErrors(group=3, rows=10, positives=10, errors=0, false_negative=0),
    GroupErrors(group=4, rows=10, positives=10, errors=0, false_negative=0),
)
SEEN = PredictionCounts(rows=2834, answered=2800, correct=2790, false_negative=1, negative=1200, positives=1600)
UNSEEN = PredictionCounts(rows=13_209, answered=321, correct=300, false_negative=7, negative=200, positives=7777)
SAFETY = ModelSafety(
    seen=SEEN,
    independent=2700.0,
    unseen=UNSEEN,
    folds=5,
    by_group=(GroupCounts(0, PredictionCounts(10, 4, 1, 3, 3, 10)), GroupCounts(1, PredictionCounts(10, 0, 0, 0, 0, 0))),
    ignoring_missing=(GroupCounts(0, PredictionCounts(10, 6, 3, 2, 3, 10)), GroupCounts(1, PredictionCounts(10, 0, 0, 0, 0, 0))),
    promise=(PromiseCheck(alpha=0.05, delta=0.05, splits=200, with_threshold=150, held=198, worst=0.06),),
)
GUARD = GuardEvaluation(
    how="one patient at a time",
    novelty_auc=0.987,
    at_coverage={0.9: PredictionCounts(50, 5, 5, 0, 2, 35), 0.99: PredictionCounts(50, 11, 9, 2, 4, 35)},
    curve=((0.9, 5, 0), (0.99, 11, 2)),
    by_group=(GroupCounts(0, PredictionCounts(10, 11, 9, 2, 4, 10)),),
    pairs=(ConfusedGroups(group=0, taken_for=3, rows=9, answered=6, false_negative=2),),
)
#: A model that is perfect on seen rows and hardly better than one same answer on unseen ones, and a duller one.
SHARP = ModelEvaluation(
    seen=card(Estimate(1.0, 0.9987, 1.0), ConfusionMatrix(tn=1234, fp=0, fn=0, tp=1600)),
    unseen=card(Estimate(0.6123, 0.52, 0.7), ConfusionMatrix(tn=4321, fp=1111, fn=2222, tp=5555)),
    by_group=GROUPS,
    safety=SAFETY,
)
DULL = ModelEvaluation(
    seen=card(Estimate(0.8646, 0.85, 0.88), ConfusionMatrix(tn=1100, fp=134, fn=250, tp=1350)),
    unseen=card(Estimate(0.58, 0.51, 0.66), ConfusionMatrix(tn=4000, fp=1432, fn=2777, tp=5000)),
    by_group=GROUPS,
    safety=SAFETY,
)


@pytest.fixture
def context() -> ReportContext:
    return ReportContext(
        run_id="20260102T030405Z-beef",
        created="2026-01-02T03:04:05+00:00",
        simulated=False,
        schema=SCHEMA,
        data={
            "source": "data/raw/clinic.csv",
            "sha256": "ab" * 32,
            "rows": 13_245,
            "rejected": 36,
            "duplicates": 17,
            "by_rule": {"range:age": 30, "malformed": 6},
            "splits": {"train": 6_600, "early_stop": 1_300, "test": 5_309},
            "classes": {"healthy": 6_000, "sick": 7_209},
            "groups": {"available": True, "count": 5, "reason": "5 patient blocks of 10 rows, each of one class"},
        },
        evaluations={"dull_model": DULL, "sharp_model": SHARP},
        comparisons=(
            ModelComparison("dull_model", "sharp_model", "seen", "accuracy", Estimate(-0.1354, -0.15, -0.12), 1e-9, 2e-9, "exact test"),
            ModelComparison("dull_model", "sharp_model", "seen", "log_loss", Estimate(0.3, 0.2, 0.4), 0.001, 0.002, "exact test"),
            ModelComparison(
                "dull_model", "sharp_model", "unseen", "accuracy", Estimate(-0.0323, -0.1, 0.04), 0.03, 0.06, "cluster bootstrap"
            ),
        ),
        guard=GUARD,
        thresholds={
            "dull_model": Threshold(None, 0.05, 0.05, answered=12, wrong=3, reason="3 of 12 negative answers were wrong even at 0.1"),
            "sharp_model": Threshold(0.25, 0.05, 0.05, answered=900, wrong=4, reason="4 of 900 negative answers were wrong at 0.25"),
        },
        guard_settings=GuardSettings(coverage=0.99, alpha=0.05),
        production="sharp_model/v3",
        rule="best mcc on seen rows",
        versions={"sharp_model": "v3"},
        importances={"sharp_model": {"age": 0.2, "blood-count": 0.8}, "dull_model": {}},
        fit_seconds={"dull_model": 0.25, "sharp_model": 1.5},
        steps={"extract": 0.5, "train": 2.25},
        group_names=("Ada", "Bert", "Cleo", "Dora", "Emil"),
        seed=20201107,
        libraries={"xgboost": "3.2.0"},
    )


@pytest.fixture
def summary() -> ValidationSummary:
    return ValidationSummary(
        rows=12_345,
        good=12_300,
        rejected=45,
        malformed=5,
        duplicates=17,
        by_rule={"malformed": 5, "range:age": 36, "allowed:ward": 9},
        examples=(
            {"_row": 7, "rules": ["range:age", "allowed:ward"], "reason": "age: 412; ward: 'Q'", "text": None, "age": "412", "ward": "Q"},
            {"_row": 9, "rules": ["malformed"], "reason": "3 fields, expected 4", "text": "1;2;3", "age": None, "ward": None},
        ),
        missing={"age": 0.25, "ward": 0.0},
        groups="1,230 patient blocks of 10 rows, each of one class",
        simulated=False,
        source="data/raw/clinic.csv",
        sha256="cd" * 32,
        run_id="20260102T030405Z-beef",
    )


class Page(HTMLParser):
    """Reads a page: its text, its attributes, and whether every element is closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.parts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.parts.append(data)

    @property
    def text(self) -> str:
        """All text, white space folded, a no-break space as a space."""
        return re.sub(r"\s+", " ", " ".join(self.parts).replace(NBSP, " "))

    def attributes(self, name: str) -> list[str]:
        return [found for _, attrs in self.tags if (found := attrs.get(name)) is not None]


def without_unseen(context: ReportContext, reason: str = "the rows are not in patient order (shuffled?)") -> ReportContext:
    found = {name: replace(item, unseen=Unavailable(reason), by_group=()) for name, item in context.evaluations.items()}
    return replace(context, evaluations=found)


# --- the page about the models ---------------------------------------------------------------------------------------


def test_headline_sets_the_random_split_against_unseen_groups(context: ReportContext) -> None:
    text = Page(render_evaluation(context)).text
    assert "A random split says sharp model is right 100 % of the time. On unseen patients it is right 61.2 % of the time." in text
    assert "99.87 % to 100 %" in text
    assert "52.0 % to 70.0 %" in text


@pytest.mark.parametrize(
    ("unseen", "said"),
    [
        (
            Estimate(0.6123, 0.52, 0.7),
            "not shown to do better than always answering “sick”, which is right 58.9 % of the time: do not rely",
        ),
        (Estimate(0.8, 0.7, 0.9), "does better than always answering “sick”, which is right 58.9 % of the time, and falls short of what"),
        (Estimate(0.997, 0.99, 0.999), "The two agree within their intervals: it carries over to unseen patients."),
    ],
)
def test_verdict_follows_the_intervals(context: ReportContext, unseen: Estimate, said: str) -> None:
    found = replace(SHARP, unseen=card(unseen, ConfusionMatrix(tn=4321, fp=1111, fn=2222, tp=5555)))
    assert said in Page(render_evaluation(replace(context, evaluations={"sharp_model": found}))).text


def test_production_and_its_rule(context: ReportContext) -> None:
    assert "In production on 2 Jan 2026, 03:04 UTC: sharp_model/v3 (best mcc on seen rows);" in Page(render_evaluation(context)).text


@pytest.mark.parametrize(
    ("production", "said"), [("", "These models are candidates, not registered yet."), ("none", "Nothing was in production then.")]
)
def test_nothing_in_production(context: ReportContext, production: str, said: str) -> None:
    text = Page(render_evaluation(replace(context, production=production))).text
    assert f"{said} The page is about dull model; the rule for production is: best mcc on seen rows." in text


def test_the_best_leads_where_the_served_model_was_not_evaluated(context: ReportContext) -> None:
    better = replace(SHARP, seen=replace(SHARP.seen, metrics=SHARP.seen.metrics | {"mcc": Estimate(0.9, 0.8, 1.0)}))
    undefined = replace(DULL, seen=replace(DULL.seen, metrics=DULL.seen.metrics | {"mcc": NAN}))
    found = {"blind": undefined, "dull_model": DULL, "sharp_model": better}
    text = Page(render_evaluation(replace(context, evaluations=found, production="gone/v9"))).text
    assert "A random split says sharp model" in text
    assert "In production on 2 Jan 2026, 03:04 UTC: gone/v9" in text


def test_every_metric_of_every_model_with_its_interval(context: ReportContext) -> None:
    metrics = {name: Estimate(0.1 + number / 100, 0.05, 0.3) for number, name in enumerate(METRICS)}
    found = {name: ModelEvaluation(replace(DULL.seen, metrics=metrics), DULL.unseen, (), SAFETY) for name in ("a", "b")}
    context = replace(context, thresholds=dict.fromkeys(found, context.thresholds["sharp_model"]))
    text = Page(render_evaluation(replace(context, evaluations=found))).text
    for number, name in enumerate(METRICS):
        assert METRIC_WORDS[name][0] in text
        shown = (
            f"{10 + number}.0 % 5.0 % to 30.0 %" if name in {"accuracy", "precision", "recall"} else f"0.{10 + number}00 0.0500 to 0.3000"
        )
        assert text.count(shown) >= 2, name


def test_every_metric_has_words() -> None:
    assert tuple(METRIC_WORDS) == METRICS


def test_the_best_of_a_row_is_marked_also_where_less_is_better(context: ReportContext) -> None:
    low = replace(SHARP.seen, metrics=SHARP.seen.metrics | {"log_loss": Estimate(0.0123, 0.01, 0.02)})
    html = render_evaluation(replace(context, evaluations={"dull_model": DULL, "sharp_model": replace(SHARP, seen=low)}))
    assert '<span class="best">0.0123</span>' in html
    assert f'<span class="best">100{NBSP}%</span>' in html
    assert f'<span class="best">86.5{NBSP}%</span>' not in html


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "100 %"), (0.99999, "> 99.99 %"), (0.9987, "99.87 %"), (0.00001, "< 0.01 %"), (0.0, "0 %"), (0.5, "50.0 %")]
)
def test_shares_are_never_rounded_to_all_or_nothing(context: ReportContext, value: float, shown: str) -> None:
    found = replace(SHARP, seen=card(Estimate(value, value, value), SHARP.seen.confusion))
    assert f"is right {shown} of the time" in Page(render_evaluation(replace(context, evaluations={"sharp_model": found}))).text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1.0, "1.0000"), (0.99999, "> 0.9999"), (0.00001, "< 0.0001"), (-0.25, "−0.2500"), (14.1, "14.1000")],  # noqa: RUF001 (a minus sign)
)
def test_numbers_are_never_rounded_to_one_or_zero(context: ReportContext, value: float, shown: str) -> None:
    metrics = SHARP.seen.metrics | {"mcc": Estimate(value, value, value)}
    found = {"sharp_model": replace(SHARP, seen=replace(SHARP.seen, metrics=metrics))}
    assert f"{shown} {shown} to {shown}" in Page(render_evaluation(replace(context, evaluations=found))).text


def test_undefined_numbers_are_called_so(context: ReportContext) -> None:
    blank = replace(SHARP.seen, metrics=dict.fromkeys(METRICS, NAN))
    undefined = ModelComparison("a", "b", "seen", "mcc", NAN, math.nan, math.nan, "some test")
    found = {"sharp_model": ModelEvaluation(blank, blank, (), SAFETY)}
    text = Page(render_evaluation(replace(context, evaluations=found, comparisons=(undefined,)))).text
    assert "nan" not in re.findall(r"\w+", text.lower())
    assert text.count("not defined") >= 22


def test_false_negatives_in_the_words_of_the_schema(context: ReportContext) -> None:
    text = Page(render_evaluation(context)).text
    assert "sick called healthy" in text
    assert "2,222 of 7,777 sick rows called healthy" in text
    assert "2,777 of 7,777, 35.7 %" in text
    assert "1,111 of 5,432, 20.5 %" in text


def test_comparisons_name_the_better_model_or_say_that_none_was_shown(context: ReportContext) -> None:
    text = Page(render_evaluation(context)).text
    assert "−0.1354 −0.1500 to −0.1200 < 0.0001 uncorrected < 0.0001 sharp model is better" in text  # noqa: RUF001 (minus signs)
    assert "0.3000 0.2000 to 0.4000 0.0020 uncorrected 0.0010 sharp model is better" in text
    assert "0.0600 uncorrected 0.0300 no difference shown" in text
    assert "On seen patients: exact test. On unseen patients: cluster bootstrap." in text


def test_hardest_groups_by_name_the_dangerous_first(context: ReportContext) -> None:
    text = Page(render_evaluation(context)).text
    assert "Ada sick 10 of 10, 100 % 10 Bert healthy 10 of 10, 100 % 0 Cleo mixed 3 of 10, 30.0 % 1" in text
    assert "Dora sick" not in text  # nothing wrong there
    assert "2 none wrong 0 0–20 % 1 20–40 % 0 40–60 % 0 60–80 % 0 80–100 % 2 all wrong" in text  # noqa: RUF001 (en dashes)


@pytest.mark.parametrize("names", [None, ("Ada",)])
def test_groups_without_names_have_numbers(context: ReportContext, names: tuple[str, ...] | None) -> None:
    text = Page(render_evaluation(replace(context, group_names=names))).text
    assert "number 2 mixed 3 of 10" in text


def test_no_list_of_groups_where_they_could_not_be_measured(context: ReportContext) -> None:
    assert "The hardest" not in render_evaluation(without_unseen(context))


def test_data_and_provenance(context: ReportContext) -> None:
    text = Page(render_evaluation(context)).text
    for said in (
        *("data/raw/clinic.csv", "ab" * 32, "13,245", "36: range:age 30, malformed 6", "17, shared out over the parts like other rows"),
        *("early stop 1,300", "sick 7,209", "5 patient blocks of 10 rows, each of one class"),
        *("20260102T030405Z-beef", "20201107", "xgboost 3.2.0", "dull model (not registered), fitted in 0.25 s; sharp model v3", "2.25 s"),
    ):
        assert said in text


def test_data_may_be_little_known(context: ReportContext) -> None:
    data = {key: context.data[key] for key in ("source", "sha256", "rows", "rejected", "duplicates")}
    bare = replace(context, data=data, steps={}, seed=None, libraries={}, importances={}, comparisons=(), versions={}, fit_seconds={})
    page = Page(render_evaluation(bare))
    assert "13,245" in page.text
    assert page.attributes("src") == []


def test_unavailable_is_said_first_and_with_its_reason(context: ReportContext) -> None:
    text = Page(render_evaluation(without_unseen(context))).text
    said = "The evaluation on unseen patients is not available: the rows are not in patient order (shuffled?)."
    assert said in text
    assert text.index(said) < text.index("1,600")
    assert "Nobody knows yet how it does on unseen patients." in text
    assert "Compare it with always answering “sick”, which is right 56.5 % of the time" in text


def test_simulated_stands_at_the_top(context: ReportContext) -> None:
    text = Page(render_evaluation(replace(context, simulated=True))).text
    assert text.index("SIMULATED DATA.") < text.index("A random split says")
    assert "SIMULATED" not in render_evaluation(context)


def test_charts_have_words_for_those_who_cannot_see_them(context: ReportContext) -> None:
    html = render_evaluation(context)
    page = Page(html)
    titles = re.findall(r'<title id="(.*?)">(.*?)</title>', html)
    assert len(titles) == html.count('role="img"') == len(page.attributes("aria-labelledby"))
    said = {name: unescape(text).replace(NBSP, " ") for name, text in titles}
    assert "Accuracy of dull model: seen patients 0.8646, unseen patients 0.5800; sharp model: seen patients 1.0000" in said["gap-broad"]
    assert said["importance-1-small"] == "What sharp model uses most: blood count 80.0 %, age 20.0 %."
    assert "sharp model relies most on blood count and age." in page.text


def test_two_tables_that_look_alike_are_told_apart_by_their_headings(context: ReportContext) -> None:
    headings = re.findall(r"<h2>(.*?)</h2>", render_evaluation(context))
    assert [text for text in headings if "unknown" in text] == [
        "Verdicts: what is served, with “unknown”",
        "Classifier output: every row called one class or the other, without “unknown”",
    ]


def test_a_report_says_as_of_when_and_what_was_in_production_then(context: ReportContext) -> None:
    text = Page(render_evaluation(context)).text
    assert "as of 2 Jan 2026, 03:04 UTC" in text
    assert "In production on 2 Jan 2026, 03:04 UTC: sharp_model/v3" in text


def test_page_is_one_file_that_needs_no_network_and_runs_nothing(context: ReportContext) -> None:
    html = render_evaluation(context)
    page = Page(html)
    assert len(html) < 150_000
    assert page.attributes("src") == []
    assert all(target.startswith("#") for target in page.attributes("href"))
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert not re.search(r"@import|url\(", html)
    ids = page.attributes("id")
    assert {target.removeprefix("#") for target in page.attributes("href")} <= set(ids)
    assert len(ids) == len(set(ids))


def test_what_people_name_is_text_and_never_markup(context: ReportContext) -> None:
    target = Target(column="state", positive="s", values={"h": f"h{EVIL}", "s": f"s{EVIL}"})
    column = f"blood{EVIL}"
    schema = SCHEMA.model_copy(update={"target": target, "groups": Groups(name=f"patient{EVIL}", block_rows=10)})
    evil = replace(
        context,
        schema=schema,
        data=context.data | {"source": EVIL, "by_rule": {f"allowed:{EVIL}": 3}, "groups": {"reason": EVIL}, "classes": {EVIL: 3}},
        evaluations={EVIL: SHARP},
        thresholds={EVIL: Threshold(None, 0.05, 0.05, 1, 1, EVIL)},
        comparisons=(ModelComparison(EVIL, EVIL, EVIL, EVIL, Estimate(0.0, 0.0, 0.0), 0.0, 0.0, EVIL),),
        production=EVIL,
        rule=EVIL,
        importances={EVIL: {column: 1.0}},
        group_names=(EVIL,) * 5,
        steps={EVIL: 1.0},
        libraries={EVIL: EVIL},
    )
    for said in (evil, without_unseen(evil, EVIL)):
        html = render_evaluation(said)
        assert "<script" not in html
        assert "&lt;script&gt;" in html
        assert "script" not in {tag for tag, _ in Page(html).tags}


def test_what_is_answered_and_what_that_promises(context: ReportContext) -> None:
    text = Page(render_evaluation(context)).text
    assert "So it answers “unknown” to 12,888 of their 13,209 rows; of the 7,777 that are sick, 7 were answered with “healthy”." in text
    assert "Of its “healthy” answers at most 5 % are sick, with 95 % confidence: on 900 rows that nothing was fitted on, 4 were" in text
    assert "dull model: never answers “healthy”: 3 of 12 negative answers were wrong even at 0.1." in text
    assert "sharp model: up to a probability of 0.25: 4 of 900 negative answers were wrong at 0.25." in text
    assert "unseen 7 of 7,777 sick rows 2.4 % 321 of 13,209 rows: 200 “healthy”, 121 “sick” 93.5 %" in text
    assert "sharp model 5 % 198 of 200 150 6.0 %" in text
    assert "99 % 11 of 50 9 2 of 35" in text
    assert "Ada Dora 9 6 2" in text  # taken for
    assert "Ada 4 of 10 1 3" in text
    assert "Bert 0 of 10" not in text  # nothing answered there


def test_what_is_answered_where_groups_could_not_be_measured(context: ReportContext) -> None:
    found = {
        name: replace(item, safety=replace(SAFETY, unseen=None, by_group=(), promise=())) for name, item in context.evaluations.items()
    }
    text = Page(render_evaluation(replace(without_unseen(context), evaluations=found, guard=Unavailable("shuffled")))).text
    assert "The guard alone" not in text
    assert "So it answers" not in text
    assert "sharp model seen 1 of 1,600 sick rows 98.8 % 2,800 of 2,834 rows: 1,200 “healthy”, 1,600 “sick”" in text


def test_same_context_gives_the_same_page(context: ReportContext) -> None:
    assert render_evaluation(context) == render_evaluation(replace(context))


def test_a_report_about_nothing_is_refused(context: ReportContext) -> None:
    with pytest.raises(ValueError, match="evaluations: expected at least one model, got none"):
        render_evaluation(replace(context, evaluations={}))


def test_a_table_without_groups(context: ReportContext) -> None:
    ungrouped = replace(without_unseen(context, "the configuration declares no groups"), schema=SCHEMA.model_copy(update={"groups": None}))
    text = Page(render_evaluation(ungrouped)).text
    assert "The evaluation on unseen groups is not available: the configuration declares no groups." in text


# --- for programs ----------------------------------------------------------------------------------------------------


def test_metrics_have_the_agreed_shape(context: ReportContext) -> None:
    found = metrics_dict(context)
    assert set(found) == {"run_id", "created", "simulated", "data", "production", "rule", "models", "comparisons"}
    assert found["data"] == {"source": "data/raw/clinic.csv", "sha256": "ab" * 32, "rows": 13_245, "rejected": 36, "duplicates": 17}
    assert (found["run_id"], found["simulated"], found["production"]) == ("20260102T030405Z-beef", False, "sharp_model/v3")
    model = found["models"]["sharp_model"]
    assert set(model) == {"version", "fit_seconds", "seen", "unseen", "answers"}
    assert model["answers"]["threshold"]["value"] == 0.25
    assert (model["answers"]["seen"]["false_healthy"], model["answers"]["unseen_patients"]["sick"]) == (1, 7777)
    assert (model["version"], model["fit_seconds"]) == ("v3", 1.5)
    assert model["seen"]["accuracy"] == {"value": 1.0, "low": 0.9987, "high": 1.0}
    assert set(METRICS) < set(model["seen"])
    assert model["unseen"]["available"] is True
    assert model["unseen"]["confusion"] == {"tn": 4321, "fp": 1111, "fn": 2222, "tp": 5555}
    assert model["unseen"]["false_healthy"] == 2222
    assert found["models"]["dull_model"]["version"] is None
    assert found["comparisons"][0] == {
        "a": "dull_model",
        "b": "sharp_model",
        "on": "seen",
        "metric": "accuracy",
        "p_value": 1e-9,
        "p_adjusted": 2e-9,
        "difference": {"value": -0.1354, "low": -0.15, "high": -0.12},
        "method": "exact test",
    }


def test_metrics_of_what_is_not_available(context: ReportContext) -> None:
    found = metrics_dict(without_unseen(context, "shuffled"))
    assert found["models"]["sharp_model"]["unseen"] == {"available": False, "reason": "shuffled"}


def test_metrics_hold_no_number_that_json_does_not_know(context: ReportContext) -> None:
    blank = replace(SHARP.seen, metrics=dict.fromkeys(METRICS, Estimate(math.nan, -math.inf, math.inf)))
    undefined = ModelComparison("a", "b", "seen", "mcc", NAN, math.nan, math.nan, "some test")
    found = metrics_dict(replace(context, evaluations={"sharp_model": ModelEvaluation(blank, blank, (), SAFETY)}, comparisons=(undefined,)))
    nothing = {"value": None, "low": None, "high": None}
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["models"]["sharp_model"]["seen"]["mcc"] == nothing
    assert found["comparisons"][0]["difference"] == nothing
    assert found["comparisons"][0]["p_value"] is None


@pytest.mark.parametrize(("word", "key"), [("edible", "false_edible"), ("Not ill (yet)", "false_not_ill_yet")])
def test_false_negatives_are_counted_under_the_word_of_the_negative_class(context: ReportContext, word: str, key: str) -> None:
    target = Target(column="state", positive="s", values={"h": word, "s": "sick"})
    found = metrics_dict(replace(context, schema=SCHEMA.model_copy(update={"target": target})))
    assert found["models"]["sharp_model"]["unseen"][key] == 2222


@pytest.mark.parametrize("production", ["", "none"])
def test_metrics_before_anything_is_served(context: ReportContext, production: str) -> None:
    assert metrics_dict(replace(context, production=production))["production"] is None


# --- the page about the rows -----------------------------------------------------------------------------------------


def test_rows_by_what_became_of_them(summary: ValidationSummary) -> None:
    text = Page(render_validation(summary)).text
    for said in ("12,300 of 12,345 rows are good. 45 were rejected.", "5 could not even be split", "17", "cd" * 32, "data/raw/clinic.csv"):
        assert said in text
    assert "1,230 patient blocks of 10 rows, each of one class" in text
    assert "data/validation/rejected/20260102T030405Z-beef.parquet" in text


def test_rules_most_broken_first_with_bars(summary: ValidationSummary) -> None:
    page = Page(render_validation(summary))
    assert "range:age 36 80.0 % allowed:ward 9 20.0 % malformed 5 11.1 %" in page.text
    assert [style for style in page.attributes("style") if "width:80.00%" in style]


def test_examples_with_every_rule_and_value(summary: ValidationSummary) -> None:
    html = render_validation(summary)
    text = Page(html).text
    assert "7 range:age allowed:ward age: 412; ward: 'Q'" in text
    assert '<strong class="bad">age = 412</strong>' in html
    assert "9 malformed 3 fields, expected 4 1;2;3" in text


def test_missing_shares_largest_first(summary: ValidationSummary) -> None:
    assert "age 25.0 % ward 0 %" in Page(render_validation(summary)).text


def test_all_good(summary: ValidationSummary) -> None:
    html = render_validation(replace(summary, good=12_345, rejected=0, malformed=0, by_rule={}, examples=()))
    assert "All 12,345 rows are good." in Page(html).text
    assert "Rules that were broken" not in html


def test_no_rows_at_all(summary: ValidationSummary) -> None:
    nothing = replace(summary, rows=0, good=0, rejected=0, malformed=0, duplicates=0, by_rule={}, examples=(), missing={})
    assert "All 0 rows are good." in Page(render_validation(nothing)).text


def test_rows_are_text_and_never_markup(summary: ValidationSummary) -> None:
    row: dict[str, Any] = {"row": 1, "rules": [f"allowed:{EVIL}"], "reason": EVIL, "text": EVIL, EVIL: EVIL}
    evil = replace(summary, examples=(row,), by_rule={EVIL: 1}, missing={EVIL: 0.5}, groups=EVIL, source=EVIL, run_id=EVIL)
    html = render_validation(evil)
    assert "<script" not in html
    assert "script" not in {tag for tag, _ in Page(html).tags}
    assert html.count("&lt;script&gt;") >= 9


def test_a_huge_value_does_not_make_a_huge_page(summary: ValidationSummary) -> None:
    huge = "x" * 5_000_000
    row: dict[str, Any] = {"row": 1, "rules": ["malformed"], "reason": huge, "text": huge, "age": huge}
    html = render_validation(replace(summary, examples=(row,)))
    assert len(html) < 60_000
    assert "… (5,000,000 characters)" in html


def test_rows_that_were_invented(summary: ValidationSummary) -> None:
    text = Page(render_validation(replace(summary, simulated=True))).text
    assert text.index("SIMULATED DATA.") < text.index("12,300")
    assert "SIMULATED" not in render_validation(summary)


def test_page_about_rows_needs_no_network(summary: ValidationSummary) -> None:
    page = Page(render_validation(summary))
    assert page.attributes("src") == page.attributes("href") == []

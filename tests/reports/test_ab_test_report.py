"""The page of a test: what is on it, and what is drawn."""

import re

import pytest

from report_support import ab_test_view
from sporeprint.ab_testing.design import Metric, Mode
from sporeprint.reports import ab_test_report


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("analyses", [0, 1, 30])
def test_every_kind_of_test_has_a_page(mode: Mode, metric: Metric, analyses: int) -> None:
    page = ab_test_report.page(ab_test_view(analyses, mode, metric))
    is_known = mode is Mode.SPLIT and metric is not Metric.EXPECTED_COST  # of each arm alone; with the interval of a share
    assert page.count('<figure class="chart">') in ((3, 4) if analyses > 1 and is_known else (3,) if analyses > 1 else (0,))
    assert ("Both arms: " in page) == (page.count('<figure class="chart">') == 4)
    assert "nan" not in re.sub(r"<style>.*</style>", "", page, flags=re.DOTALL)
    assert "http" not in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_verdict_stands_first_and_its_history_last() -> None:
    page = ab_test_report.page(ab_test_view(30))
    assert page.index("B is better.") < page.index("What was fixed")
    assert [row[2] for row in ab_test_report.history(ab_test_view(30))] == ["created", "continue", "b"]
    ended = {**ab_test_view(30), "status": "concluded", "verdict": "a"}
    assert "Concluded. A is better." in ab_test_report.page(ended)
    broken = ab_test_view(1)
    broken["interim_analysis"]["decision"]["reason"] = "guardrail"
    assert "Stopped: B broke a guardrail." in ab_test_report.page(broken)


def test_a_page_does_not_grow_with_the_looks() -> None:
    one = ab_test_view(2)
    many = {**one, "interim_analyses": [{**one["interim_analyses"][0], "at_us": at} for at in range(100_000)]}
    assert len(ab_test_report.page(many)) < 100_000


def test_the_page_says_which_rule_and_labels_a_test_has() -> None:
    now = ab_test_view(2)
    facts = dict(ab_test_report.facts(now))
    assert facts["rule"] == "betting on the weighted loss"
    assert facts["labels"] == "of all units"
    assert facts["a false end"] == "in at most 5.0% of such tests, however often they are analysed"
    before = {**now, "design": {**now["design"], "rule": "errors_by_arm"}}
    assert "this test was made with it and keeps it" in ab_test_report.page(before)
    assert "may come on top" in dict(ab_test_report.facts(before))["a false end"]
    reports = {**now, "design": {**now["design"], "labels": "reports", "latency_limit_ms": 7.5, "expect": "b"}}
    facts = dict(ab_test_report.facts(reports))
    assert facts["labels"] == "only reported errors; what nobody reports is not counted"
    assert (facts["slow"], facts["expected to be better"]) == ("an answer that takes longer than 7.5 ms", "B")


def test_the_analysis_of_an_earlier_release_is_drawn() -> None:
    """Its figures lack what is new, and its latency is a mean in milliseconds."""
    view = ab_test_view(3, metric=Metric.LATENCY)
    view["design"]["rule"] = "errors_by_arm"
    for name in ("log_threshold", "what"):
        view["interim_analysis"]["primary"].pop(name)
    assert "latency in ms" in ab_test_report.page(view)


def test_unknown_answers_say_what_they_count_as() -> None:
    """A rate above 0 without one error, and an e-value that belongs to another question, would contradict the counts."""
    view = ab_test_view(3)
    totals = view["interim_analysis"]["totals"]
    totals["b"]["labelled"][2] = [30, 8]
    costs = view["design"]["costs"]
    assert ab_test_report.unknown_counts(view) == [
        f"38 of 338 labelled answers of B are unknown: they count as {38 * costs[name]:.4g} {what} ({costs[name]:g} each)."
        for name, what in (("unknown_as_error", "errors"), ("unknown_as_false_negative", "false negatives"))
        if costs[name]
    ]
    assert "38 of 338 labelled answers of B are unknown" in ab_test_report.page(view)
    rows = {row[1].partition(",")[0]: row[6] for row in ab_test_report.comparisons(view["interim_analysis"], "betting")}
    assert rows["decides"] != "-"
    assert rows["guardrail"] == rows["reported"] == "-"
    shadow = ab_test_view(3, Mode.SHADOW)
    shadow["interim_analysis"]["totals"]["labelled"][2] = [0, 5]  # A negative, B unknown
    assert all(each.startswith("5 of ") and "of B" in each for each in ab_test_report.unknown_counts(shadow))


def test_a_conclusion_against_the_rule_says_so_and_why() -> None:
    details = {"verdict": "a", "sentence": "Keep going.", "forced": True, "why": "B costs too much"}
    event = {"at_us": 10**9, "at": "t1", "actor": "ada", "event": "concluded", "details": details}
    *_, last = ab_test_report.history({**ab_test_view(3), "events": [event]})
    assert last[3] == "By hand, against the rule. Verdict a. Keep going. Why: B costs too much."


@pytest.mark.parametrize(
    ("metric", "value", "says"),
    [
        ("accuracy", 0.5, "50 %"),
        ("latency", 0.12345, "12.3 %"),
        ("latency in ms", 1.2345, "1.23 ms"),
        ("expected_cost", 3.0, "3"),
        ("accuracy", None, "-"),
    ],
)
def test_numbers_for_people(metric: str, value: float | None, says: str) -> None:
    assert ab_test_report.number(metric, value) == says

"""The page: one small file that needs no network, with everything an evaluation found, and nothing that is read as markup."""

import re

from evaluation_support import DRAW, OLD, evaluation, with_column
from sporeprint.monitoring.data_profile import NominalProfile, of_numbers
from sporeprint.monitoring.trends import MetricPoint, Trend, TrendLine
from sporeprint.reports.monitoring_report import Earlier, overlay_charts, render, trend_chart


def test_a_page_says_what_changed_and_what_to_do() -> None:
    made = evaluation(with_column(size=of_numbers(DRAW.normal(1, 1, size=2000)), shape=NominalProfile({"a": 900, "<b>": 100}, 1000)))
    html = render(made, [Earlier("2026-01-01T00:00:00+00:00", "no alarm", "yesterday", 0, "report_1.html")])
    assert "3 alarms" in html or "4 alarms" in html
    for part in (
        "What to do",
        "New values:",
        "Missing values:",
        "Changed values:",
        "report_1.html",
        "yesterday",
        "the old table",
        "Since 9 Sep 2001",
    ):
        assert part in html
    assert "<b>'" not in html
    assert "&lt;b&gt;" in html
    assert not re.search(r"""(src|href)=["'](https?:)?//""", html)
    assert len(html) < 150_000


def test_a_page_of_nothing_computed() -> None:
    html = render(evaluation(type(OLD)(0, OLD.columns)), [])
    assert "not all could be computed" in html
    assert "the current table has no rows" in html
    assert "What was not computed is not known to be fine" in html


def test_every_bin_has_its_name_and_both_shares() -> None:
    made = evaluation()
    charts = {chart.title: str(chart) for chart in overlay_charts(made)}
    assert set(charts) == {"size", "shape"}
    overlay = made.overlays["shape"]
    for label, old, new in zip(overlay.labels, overlay.reference, overlay.current, strict=True):
        assert f">{label}</text>" in charts["shape"]
        assert f">{old:.0%} \N{RIGHTWARDS ARROW} {new:.0%}</text>" in charts["shape"]


def test_alarms_stand_by_column_in_words_five_first() -> None:
    made = evaluation(with_column(shape=NominalProfile({"a": 900, "q": 100}, 1000)), value_words={"shape": {"q": "quaint"}})
    (line,) = [line for line in made.alarms_by_column if line.startswith("shape: ")]
    assert line.count("; ") == 2
    assert "are new: quaint" in line
    assert "in 1 column." in render(made, [])
    assert "<summary>" not in render(made, []).partition("What to do")[0]


def test_a_table_has_no_head_without_a_name() -> None:
    assert not re.search(r"<th[^>]*></th>", render(evaluation(), []))


def test_times_are_for_people() -> None:
    html = re.sub(r"<style>.*</style>", "", render(evaluation(), []), flags=re.DOTALL)
    assert "+00:00" not in html
    assert re.search(r"as of \d+ [A-Z][a-z]{2} \d{4}, \d\d:\d\d UTC", html)


def test_a_trend_is_drawn_with_its_promise() -> None:
    points = tuple(MetricPoint(1e9 + 3600 * place, 0.9, 0.8, 0.95) for place in range(5))
    trend = Trend("Right", (TrendLine("with outcomes", points), TrendLine("expected", points, is_expected=True)), is_share=True, limit=0.5)
    broad = str(trend_chart("t", trend)).split("<svg")[1]
    assert broad.count("<polygon") == 2
    assert broad.count("dashed") == 1
    assert "promised: at most 50.00%" in broad

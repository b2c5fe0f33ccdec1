"""Reports in a real browser: no violation of WCAG 2.2 AA, never wider than their window, and their charts readable on a phone."""

from pathlib import Path

import pytest
from sqlalchemy import Engine

from accessibility import violations
from browser import Browser
from evaluation_support import DRAW, evaluation, with_column
from report_support import ab_test_view, filled_warehouse
from sporeprint.ab_testing.design import Mode
from sporeprint.common.timestamps import DAY_US
from sporeprint.monitoring.data_profile import of_numbers
from sporeprint.monitoring.trends import MetricPoint, Trend, TrendLine
from sporeprint.reports import ab_test_report, warehouse_report
from sporeprint.reports.monitoring_report import render
from warehouse_support import BEGIN_US

WIDTHS = (320, 360, 390, 768, 1280)
#: A report is one file, and light.
MOST_BYTES = 150_000
#: Height of letters of every chart that is seen, in pixels of the screen: their 13 units, times what a unit is wide.
LETTERS = """[...document.querySelectorAll('.chart svg')].filter(svg => svg.checkVisibility())
    .map(svg => 13 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"""


@pytest.fixture
def pages(small_run: Path, tmp_path: Path) -> list[Path]:
    points = tuple(MetricPoint(1e9 + 3600 * place, 0.9, 0.8, 0.95) for place in range(5))
    trend = Trend("Right", (TrendLine("with outcomes", points), TrendLine("expected by probability", points)), is_share=True, limit=0.5)
    monitoring = tmp_path / "monitoring.html"
    monitoring.write_text(render(evaluation(with_column(size=of_numbers(DRAW.normal(1, 1, size=2000)))), [], [trend]), encoding="utf-8")
    return [small_run / "models/metrics/report.html", small_run / "data/validation/report.html", monitoring]


@pytest.fixture
def further_pages(oltp: Engine, tmp_path: Path) -> list[Path]:
    """The reports of a test, of either kind, and of the warehouse."""
    texts = {mode.value: ab_test_report.page(ab_test_view(12, mode), simulated=mode is Mode.SHADOW) for mode in Mode}
    with filled_warehouse(oltp, tmp_path / "warehouse").reading() as reader:
        report = warehouse_report.make_warehouse_report(reader, "here", now_us=BEGIN_US + 10 * DAY_US, days=90)
    texts["warehouse"] = warehouse_report.render_warehouse_report(report)
    for name, text in texts.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    return [tmp_path / f"{name}.html" for name in texts]


def test_reports_break_no_rule_fit_every_window_and_their_charts_can_be_read(
    chromium: str, pages: list[Path], further_pages: list[Path], tmp_path: Path
) -> None:
    with Browser(chromium, tmp_path / "profile") as browser:
        for number, page in enumerate((*pages, *further_pages)):
            assert page.stat().st_size < MOST_BYTES
            browser.open(page.as_uri())  # once: no report has a script that would look at its window
            assert browser.run("document.scripts.length") == 0
            for width in WIDTHS:
                # By turns, so that what reports share is seen in all four ways.
                browser.screen(width, is_dark=(width == 390) == (number % 2 == 0))
                assert browser.overflow <= 0, (page.name, width)
                letters = browser.run(LETTERS)
                assert letters or "validation" in page.parts
                assert min(letters, default=99) >= (11 if width >= 360 else 9.5), (page.name, width)
                if width in (390, 1280):
                    assert violations(browser) == [], (page.name, width)
        assert browser.messages == []
        assert all(address.startswith(("file:", "about:")) for address in browser.requests)

"""The page: one small file that needs no network, with everything an evaluation found, and nothing that is read as markup."""

import re

import numpy as np

from evaluation_support import DRAW, OLD, evaluation, with_column
from sporeprint.monitoring.data_profile import NominalProfile, of_numbers
from sporeprint.reports.monitoring_report import Earlier, picture, pictures, render


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
        "Since 2001",
    ):
        assert part in html
    assert "<b>'" not in html
    assert "&lt;b&gt;" in html
    assert not re.search(r"""(src|href)=["'](https?:)?//""", html)
    assert len(html) < 200_000


def test_a_page_of_nothing_computed() -> None:
    html = render(evaluation(type(OLD)(0, OLD.columns)), [])
    assert "not all could be computed" in html
    assert "the current table has no rows" in html
    assert "What was not computed is not known to be fine" in html


def test_pictures_fit() -> None:
    made = evaluation()
    for item in pictures(made):
        assert max(max(bar.reference, bar.current) for bar in item.bars) <= 110
        assert item.bars[-1].x + item.bars[-1].width <= 320 + 1e-6
    overlay = made.overlays["shape"]
    assert picture("shape", overlay, True, "").bars[0].label == "round: 75.00%, was 75.00%"
    assert np.isclose(picture("shape", overlay, True, "").bars[0].reference, 110)

"""One unit on each axis: e-values with their threshold, the difference with its margin."""

import math
import re

import pytest

from sporeprint.web.charts import Point
from sporeprint.web.charts.evidence import difference_chart, e_text, evidence_chart
from sporeprint.web.charts.interval_bar import interval_bar

DAY = 86_400.0
TRILLION = "10\N{SUPERSCRIPT ONE}\N{SUPERSCRIPT TWO}"
POINTS = [(DAY * place, 0.5 * place) for place in range(8)]


def test_the_axis_of_evidence_is_in_e_values_and_marks_its_threshold() -> None:
    made = str(evidence_chart("e", "How sure", "found", POINTS, 20.0, reached="they differ"))
    broad = made.split("<svg")[1]
    ticks = re.findall(r'class="end">([^<]*)</text>', broad)
    assert {"1", "10", "100"} <= set(ticks)
    assert ">20: they differ</text>" in broad
    heights = {text: float(y) for y, text in re.findall(r'y="([\d.]+)" class="end">([^<]*)</text>', broad)}
    assert heights["1"] - heights["10"] == pytest.approx(heights["10"] - heights["100"], abs=0.3)
    mark = float(re.findall(r'y1="([\d.]+)" y2="[\d.]+" class="mark warn"', broad)[0])
    share = (heights["1"] - 4.5 - mark) / (heights["1"] - heights["100"])
    assert share == pytest.approx(math.log10(20) / 2, abs=0.02)


def test_the_largest_evidence_is_drawn() -> None:
    made = str(evidence_chart("e", "t", "f", [(0.0, -5.0), (DAY, 4_000.0), (2 * DAY, 4_000.0)], 20.0, reached="x"))
    assert "nan" not in made
    assert "inf" not in made


@pytest.mark.parametrize(
    ("log_e", "says"),
    [(0.0, "1"), (math.log(4.1), "4.1"), (math.log(12_345), "12,345"), (math.log(10) * 12, TRILLION)],
)
def test_an_e_value_is_said_so_that_people_can_read_it(log_e: float, says: str) -> None:
    assert e_text(log_e) == says


def test_a_difference_names_the_ends_of_its_last_interval() -> None:
    points = [Point(0.0, math.nan, None, None), *(Point(DAY * n, 1.0, 1.0 - 40 / n, 1.0 + 40 / n) for n in range(1, 11))]
    made = str(difference_chart("d", "t", "f", points, unit="pp", margin=2.0, words=("no difference", "margin", "observed")))
    broad = made.split("<svg")[1]
    for label in ("5", "\N{MINUS SIGN}3", "margin"):
        assert f">{label}</text>" in broad.replace("-", "\N{MINUS SIGN}")
    assert broad.count('class="mark warn"') == 2
    assert "no difference" not in broad  # its name would stand on the margin's
    assert "<th" in made
    assert made.count("<tr>") == 11  # heads and ten rows: what is no number is none


def test_an_interval_without_ends_is_an_empty_axis() -> None:
    empty = interval_bar(None, None, None, "not known <b>")
    assert "<circle" not in empty
    assert "not known &lt;b&gt;" in empty
    full = interval_bar(0.01, -0.02, 0.05, "so", margin=0.01)
    assert full.count('class="mark warn"') == 2
    assert full.index("span") < full.index("circle")

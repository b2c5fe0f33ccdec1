"""Dots with whiskers on a scale."""

import math
import re

import pytest

from sporeprint.web.charts import DotMark, DotScale, dot_interval, dot_scale

SCALE = DotScale(0.0, 2.0)


def test_a_dot_lies_where_its_value_is_and_the_whisker_as_far_as_its_interval() -> None:
    chart = str(dot_interval([DotMark(1.0, 0.5, 1.5), DotMark(0.2, 0.0, 2.0, "good")], SCALE, "a < b", reference=0.0))
    assert re.findall(r'class="dot (\w+)" d="M([\d.]+) (\d+)h0"', chart) == [("main", "50.00", "6"), ("good", "10.00", "18")]
    assert re.findall(r'class="whisker \w+" d="M([\d.]+) \d+H([\d.]+)"', chart) == [("25.00", "75.00"), ("0.00", "100.00")]
    assert 'class="reference" d="M0.00 0V24"' in chart
    assert "<title>a &lt; b</title>" in chart


@pytest.mark.parametrize("mark", [DotMark(None, None, None), DotMark(math.nan, 0.0, 1.0), DotMark(1.0, None, 2.0)])
def test_what_is_not_defined_leaves_its_line_empty(mark: DotMark) -> None:
    assert "dot main" not in str(dot_interval([mark], SCALE, ""))
    assert dot_scale([mark, DotMark(1.0, 0.5, 1.5)]) == dot_scale([DotMark(1.0, 0.5, 1.5)])


def test_a_scale_holds_everything_and_never_has_the_width_of_nothing() -> None:
    scale = dot_scale([DotMark(0.9, 0.8, 1.0), DotMark(0.7, 0.6, 0.75)], reference=0.0)
    assert scale.low < 0 < 1 < scale.high
    for marks in ([], [DotMark(0.0, 0.0, 0.0)], [DotMark(5.0, 5.0, 5.0)]):
        scale = dot_scale(marks)
        assert scale.low < scale.high
    assert (SCALE.place(-7.0), SCALE.place(9.0)) == (0.0, 100.0)

"""Lines are where their numbers are, and named where they end."""

import itertools
import math
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sporeprint.web.charts import Axis, Line, Mark, Point
from sporeprint.web.charts import lines_chart as chart
from sporeprint.web.charts.lines import apart

DAY = 86_400.0


def line(label: str, *values: float, is_dashed: bool = False, is_stepped: bool = False) -> Line:
    return Line(label, [Point(DAY * place, value, value - 1, value + 1) for place, value in enumerate(values)], "", is_dashed, is_stepped)


def drawn(*args: Any, **kwargs: Any) -> str:
    return str(chart(*args, **kwargs))


def test_lines_have_names_bands_and_a_table() -> None:
    made = drawn("a", "Units", "A is ahead", [line("A", 1, 2, 3), line("B <b>", 3, 3, 4)], y=Axis(label="units"), marks=[Mark(2, "limit")])
    broad = made.split("<svg", 2)[1]
    assert broad.count("<polyline") == 2
    assert broad.count("<polygon") == 2
    assert ">B &lt;b&gt;</text>" in broad
    assert ">limit</text>" in broad
    assert '<td class="n">3 (2 to 4)</td>' in made
    assert "2 Jan 1970, 00:00" in made


def test_two_points_make_no_trend() -> None:
    made = drawn("a", "t", "f", [line("A", 1, 2)])
    assert "<polyline" not in made
    assert made.count("<circle") == 4


def test_what_is_no_number_is_left_out() -> None:
    made = drawn("a", "t", "f", [line("A", 1, math.nan, 2, 3), line("gone", math.nan)])
    assert made.split("<svg", 2)[1].count("<circle") == 3
    assert "gone" not in made
    assert "nan" not in made


def test_long_names_stand_above_with_a_piece_of_their_line() -> None:
    made = drawn("a", "t", "f", [line("expected by component of the table", 1, 2, 3, is_dashed=True), line("B", 1, 1, 1)])
    assert made.count("expected by component of the table</text>") == 2
    assert "line s1 dashed" in made


def test_a_step_holds_until_the_next() -> None:
    steps = drawn("a", "t", "f", [line("A", 1, 2, 3, is_stepped=True)])
    corners = re.search(r'points="([^"]*)" class="line', steps)
    assert corners is not None
    assert len(corners[1].split()) == 5


@given(st.lists(st.floats(0, 200), max_size=8))
def test_names_do_not_touch(heights: list[float]) -> None:
    placed = apart(sorted(heights), 17, 0, 200)
    assert all(after - before >= 17 - 1e-9 for before, after in itertools.pairwise(placed))
    assert all(-1e-9 <= height <= 200 + 1e-9 for height in placed)

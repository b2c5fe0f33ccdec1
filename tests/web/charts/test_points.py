import math

from sporeprint.web.charts.points import Point, cell
from sporeprint.web.charts.scale import Axis


def test_a_number_is_said_with_its_interval() -> None:
    assert cell(Point(0, 0.5, 0.25, 0.75), Axis("share")) == "50 % (25 % to 75 %)"
    assert cell(Point(0, 12.0), Axis()) == "12"
    assert cell(Point(0, math.nan), Axis()) == cell(None, Axis()) == "\N{EN DASH}"

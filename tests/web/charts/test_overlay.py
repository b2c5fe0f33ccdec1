"""Two distributions side by side."""

import re

from sporeprint.web.charts.overlay import overlay_chart
from sporeprint.web.charts.spark import spark


def test_bars_and_outlines_have_one_scale_and_a_table() -> None:
    labels, heads = ["none <b>", "a very long name of a value"], ("v", "before", "now")
    chart = overlay_chart("o", "Ring <type>", "it changed", labels, [0.75, 0.25], [0.25, 0.75], heads)
    markup = str(chart.__html__())
    widths = [float(width) for width in re.findall(r'<rect[^>]* width="([\d.]+)"', markup)]
    assert [round(width / widths[0], 1) for width in widths] == [1, 3, 3, 1]
    assert "<b>" not in markup
    assert "75.0%" in markup
    assert "a very long name of a value" in markup  # in full in the table


def test_of_nothing_there_is_nothing() -> None:
    assert "<rect" not in str(overlay_chart("o", "t", "f", [], [], [], ("a", "b", "c")).__html__())
    assert "<rect" not in spark([0, 0], "none")

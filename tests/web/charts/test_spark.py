"""Small bars: the highest fills the height, and a few are seen beside many."""

import re

from sporeprint.web.charts.spark import HEIGHT, spark


def test_each_bar_is_in_proportion_and_what_is_there_is_seen() -> None:
    markup = spark([0, 1, 500, 1_000], "1,501 <answers>")
    heights = [float(height) for height in re.findall(r' height="([\d.]+)"', markup)]
    assert heights == [1.5, HEIGHT / 2, HEIGHT]
    assert "<title>1,501 &lt;answers&gt;</title>" in markup

"""Rows of bars and dots are where their numbers are, with their names."""

import math
import re

from sporeprint.web.charts import Axis, Chart, Dot, Row, RowPart, rows_chart

SHARE = Axis("share", low=0.0, high=1.0)


def drawn(*rows: Row, **options: object) -> Chart:
    return rows_chart("a", "t", "f", rows, axis=SHARE, **options)  # type: ignore[arg-type]


def widths(chart: Chart) -> list[float]:
    return [float(width) for width in re.findall(r'<rect x="[\d.]+" y="[-\d.]+" width="([\d.]+)" height="13"', chart.draw(640).shapes)]


def test_parts_of_a_bar_lie_one_behind_the_other() -> None:
    chart = drawn(Row("one", [RowPart(0.25, "warn"), RowPart(0.0), RowPart(0.75, "good")], text="25 % <missed>"))
    wrong, right = widths(chart)
    assert math.isclose(right, 3 * wrong, rel_tol=0.01)
    assert "25 % &lt;missed&gt;" in str(chart)


def test_an_estimate_has_its_interval_and_two_have_the_way_between() -> None:
    chart = str(drawn(Row("one", dots=[Dot(0.5, 0.4, 0.6), Dot(0.9, None, None, "s2", is_hollow=True)], limit=0.7)))
    assert chart.count("<circle") == 4
    assert chart.count('class="way ink"') == 2
    assert chart.count('class="line ink"') == 2
    assert chart.count('class="mark warn"') == 2
    undefined = drawn(Row("one", dots=[Dot(math.nan, math.nan, math.nan)]))
    assert "<circle" not in str(undefined)
    assert "nan" not in str(undefined)


def test_a_row_without_numbers_is_a_heading() -> None:
    assert 'class="strong ink">accuracy</text>' in str(drawn(Row("accuracy"), Row("one", [RowPart(1)])))


def test_long_names_stand_above_their_bars() -> None:
    name = "a name that is long for a phone"
    chart = drawn(Row(name, [RowPart(1)]))
    assert chart.draw(340).height > chart.draw(640).height
    assert widths(drawn(Row(name, [RowPart(1)], text="1")))[0] < widths(drawn(Row("n", [RowPart(1)], text="1")))[0]


def test_the_key_and_the_table_are_there_where_wanted() -> None:
    chart = str(drawn(Row("one", [RowPart(1)], text="100 %"), key=[("warn", "missed"), ("good", "right")], heads=("what", "share")))
    assert ">missed</text>" in chart
    assert '<th scope="row">one</th><td class="n">100 %</td>' in chart
    assert "<details>" not in str(drawn(Row("one", [RowPart(1)], text="100 %")))

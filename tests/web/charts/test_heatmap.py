"""The heat map: fixed steps, each number in words, and what is not known never as if it were nothing."""

import re

import pytest

from sporeprint.web.charts.heatmap import HeatCell, HeatColumn, HeatMap

STEPS = {0.0: "h0", 0.499: "h0", 0.5: "h1", 0.999: "h1", 1.0: "h2", 1.99: "h2", 2.0: "h3", 4.9: "h3", 5.0: "h4", 1e9: "h4", None: "h-none"}


@pytest.mark.parametrize(("times", "step"), STEPS.items())
def test_a_step_is_a_multiple_of_the_columns_own_floor(times: float | None, step: str) -> None:
    assert HeatCell("x", times).step == step


def test_it_is_one_table_whose_cells_hold_their_numbers() -> None:
    columns = [HeatColumn("1", "1 Nov <b>", "/a?b=1&c=2"), HeatColumn("2", "2 Nov", "/b")]
    rows: list[tuple[str, list[HeatCell | None]]] = [
        ("cap <shape>", [HeatCell("0.3 & more", 1.5, is_alarm=True), None]),
        ("ring", [HeatCell("not computed"), HeatCell("0", 0.0)]),
    ]
    markup = str(HeatMap("What <changed>", "Column", columns, rows, "not looked at").__html__())
    assert markup.count("<table") == 1
    assert "<b>" not in markup
    assert '<a href="/a?b=1&amp;c=2">1<span class="hidden"> 1 Nov &lt;b&gt;</span></a>' in markup
    cells = re.findall(r"<td([^>]*)><span class=\"hidden\">([^<]*)</span></td>", markup)
    assert cells == [
        (' class="h2 alarm" title="0.3 &amp; more"', "0.3 &amp; more"),
        ("", "not looked at"),
        (' class="h-none" title="not computed"', "not computed"),
        (' class="h0" title="0"', "0"),
    ]
    assert markup.count('scope="row"') == 2
    assert markup.count('scope="col"') == 3

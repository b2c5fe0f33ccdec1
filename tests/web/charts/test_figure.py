"""The frame of a chart: twice drawn, once told, its texts escaped."""

from markupsafe import Markup

from sporeprint.web.charts.figure import DataTable, Drawing, figure, svg, tag, thinned


def test_a_chart_is_drawn_for_two_widths_and_told_in_words() -> None:
    widths: list[float] = []

    def draw(width: float) -> Drawing:
        widths.append(width)
        return Drawing(100, tag("rect", x=0.0))

    made = figure(
        "a", "Errors <b>", "1 & 2 differ", draw, DataTable(("day", "n"), [("1 <Nov>", "3")]), note="lower is better", stamp="SIMULATED DATA"
    )
    assert widths == [640, 340]
    assert made.count('role="img"') == 2
    for kind in ("broad", "narrow"):
        assert f'aria-labelledby="a-{kind}-title"' in made
        assert f'<title id="a-{kind}-title">1 &amp; 2 differ</title>' in made
    assert "Errors &lt;b&gt;" in made
    assert '<th scope="row">1 &lt;Nov&gt;</th><td class="n">3</td>' in made
    assert made.count("SIMULATED DATA") == 2
    assert "style=" not in made


def test_a_chart_without_numbers_has_no_table() -> None:
    assert "<details>" not in figure("a", "b", "c", lambda _: Drawing(1, Markup("")), DataTable(("x",), []))


def test_a_file_has_its_style_inside() -> None:
    made = svg("a", "b", Drawing(10, Markup("")), 640, style=".s1 { fill: red; }")
    assert "<style>.s1 { fill: red; }</style>" in made
    assert 'xmlns="http://www.w3.org/2000/svg"' in made


def test_elements_escape_what_they_hold() -> None:
    assert (
        tag("a", "<", href='"', x=1.25, gone=None, class_="b", aria_label="c")
        == '<a href="&#34;" x="1.2" class="b" aria-label="c">&lt;</a>'
    )


def test_thinning_keeps_both_ends() -> None:
    assert list(thinned(3)) == [0, 1, 2]
    assert (thinned(500)[0], thinned(500)[-1], len(thinned(500))) == (0, 499, 60)

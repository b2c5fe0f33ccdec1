"""The frame of a chart: twice drawn, once told, its texts escaped."""

from xml.etree import ElementTree as ET

from markupsafe import Markup

from sporeprint.web.charts.figure import Chart, DataTable, Drawing, svg_file, tag, thinned


def test_a_chart_is_drawn_for_two_widths_and_told_in_words() -> None:
    widths: list[float] = []

    def draw(width: float) -> Drawing:
        widths.append(width)
        return Drawing(100, tag("rect", x=0.0))

    made = str(
        Chart(
            "a",
            "Errors <b>",
            "1 & 2 differ",
            draw,
            DataTable(("day", "n"), [("1 <Nov>", "3")]),
            note="lower is better",
            stamp="SIMULATED DATA",
        )
    )
    assert widths == [640, 340]
    assert made.count('role="img"') == 2
    for kind in ("broad", "narrow"):
        assert f'aria-labelledby="a-{kind}"' in made
        assert f'<title id="a-{kind}">1 &amp; 2 differ</title>' in made
    assert "Errors &lt;b&gt;" in made
    assert '<th scope="row">1 &lt;Nov&gt;</th><td class="n">3</td>' in made
    assert made.count("SIMULATED DATA") == 2
    assert "style=" not in made


def test_a_chart_without_numbers_has_no_table() -> None:
    assert "<details>" not in str(Chart("a", "b", "c", lambda _: Drawing(1, Markup("")), DataTable(("x",), [])))


def test_small_charts_are_drawn_once() -> None:
    made = str(Chart("a", "b", "c", lambda _: Drawing(1, Markup("")), is_small=True))
    assert made.startswith('<figure class="chart small">')
    assert made.count("<svg") == 1


def test_a_file_is_whole_and_has_its_style_inside() -> None:
    one = Chart("a", "<One>", "1 & 2", lambda width: Drawing(10, tag("rect", width=width)), stamp="SIMULATED DATA")
    root = ET.fromstring(svg_file(one, Chart("b", "Two", "nothing", lambda _: Drawing(10, Markup("")))))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = "".join(root.itertext())
    for part in ("<One>", "1 & 2", "Two", "SIMULATED DATA", "prefers-color-scheme: dark", "--s1"):
        assert part in texts
    assert float(root.attrib["viewBox"].split()[3]) > 100


def test_elements_escape_what_they_hold() -> None:
    assert (
        tag("a", "<", href='"', x=1.25, gone=None, class_="b", aria_label="c")
        == '<a href="&#34;" x="1.2" class="b" aria-label="c">&lt;</a>'
    )


def test_thinning_keeps_both_ends() -> None:
    assert list(thinned(3)) == [0, 1, 2]
    assert (thinned(500)[0], thinned(500)[-1], len(thinned(500))) == (0, 499, 60)

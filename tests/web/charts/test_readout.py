import re

from sporeprint.web.charts import Axis, Line, Point, lines_chart

T, DAY = 1_793_491_200.0, 86_400.0  # 1 November 2026


def points(**values: float) -> list[Point]:
    """Points at days of November."""
    return [Point(T + DAY * (int(day[1:]) - 1), value) for day, value in values.items()]


def words(*lines: Line) -> list[list[str]]:
    """What each place of the broad drawing says, and what each of the narrow one, line by line."""
    markup = str(lines_chart("c", "C", "f", lines, y=Axis("share"), has_table=False))
    return [re.findall(r"<text[^>]*>(.*?)</text>", each) for each in re.findall(r'<g class="readout">(.*?)</g>', markup)]


def test_each_place_says_when_it_is_and_what_each_line_is_then() -> None:
    first = Line("a", [Point(T, 0.1, 0.0, 0.2), *points(d3=0.3)])
    second = Line("<b>", points(d2=0.5, d3=0.6))
    assert words(first, second)[:3] == [
        ["1 Nov 2026, 00:00 \N{MIDDLE DOT} a 10 % (0 % to 20 %)"],
        ["2 Nov 2026, 00:00 \N{MIDDLE DOT} a 10 % (0 % to 20 %) \N{MIDDLE DOT} &lt;b&gt; 50 %"],
        ["3 Nov 2026, 00:00 \N{MIDDLE DOT} a 30 % \N{MIDDLE DOT} &lt;b&gt; 60 %"],
    ]


def test_what_has_no_room_in_one_line_has_several() -> None:
    broad, _, narrow, _ = words(Line("right answers", points(d1=0.1, d2=0.2)), Line("expected", points(d1=0.5, d2=0.5)))
    assert broad == ["1 Nov 2026, 00:00 \N{MIDDLE DOT} right answers 10 % \N{MIDDLE DOT} expected 50 %"]
    assert narrow == ["1 Nov 2026, 00:00", "right answers 10 %", "expected 50 %"]


def test_one_line_needs_no_name_and_a_name_at_a_place_has_no_numbers() -> None:
    name = Line("20 %", points(d2=0.2), is_label=True)
    assert words(Line("a", points(d1=0.1, d2=0.2)), name)[1] == ["2 Nov 2026, 00:00 \N{MIDDLE DOT} 20 %"]


def test_there_are_as_many_places_as_a_report_has_room_for() -> None:
    markup = str(lines_chart("c", "C", "f", [Line("a", [Point(T + at, 0.1 + at / 1e4) for at in range(1000)])]))
    broad, narrow = markup.split('class="narrow"')
    assert 20 <= broad.count('class="readout"') <= 30
    assert 10 <= narrow.count('class="readout"') <= 15


def test_nothing_to_read_where_there_is_nothing_and_no_moment() -> None:
    assert words(Line("a", [])) == []
    assert words(Line("a", points(d1=0.5))) == [["1 Nov 2026, 00:00 \N{MIDDLE DOT} 50 %"]] * 2
    assert "readout" not in str(lines_chart("c", "C", "f", [Line("a", [Point(0, 0.5), Point(1, 0.6)])], x=Axis()))

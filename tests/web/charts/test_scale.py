"""Round numbers at the right places, whatever the numbers are."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.web.charts.scale import Axis, Scale, nice_step

FINITE = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-6)


def texts(scale: Scale) -> list[str]:
    return [tick.text for tick in scale.ticks]


@given(st.lists(FINITE, min_size=1))
def test_all_numbers_are_within_and_there_are_a_few_ticks(values: list[float]) -> None:
    scale = Axis().scale(values)
    assert 2 <= len(scale.ticks) <= 8
    room = 1e-6 * (scale.high - scale.low)
    assert scale.low - room <= min(values) <= max(values) <= scale.high + room
    assert scale.at(scale.low) == 0
    assert scale.at(scale.high) == 1


@pytest.mark.parametrize(
    ("axis", "values", "expected"),
    [
        (Axis(), [0.12, 0.93], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (Axis(from_zero=True), [1203, 4711], ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]),
        (Axis("share"), [0.0, 1.0], ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        (Axis(), [-0.02, 0.01], ["\N{MINUS SIGN}0.02", "\N{MINUS SIGN}0.01", "0.00", "0.01"]),
        (Axis("log"), [1, 44.09, 20], ["1", "2", "5", "10", "20", "50", "100"]),
        (Axis("log"), [0.0, 3e-3, 5e5], ["0.01", "1", "100", "10,000", "10\N{SUPERSCRIPT SIX}"]),
        (Axis(), [], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_ticks_are_round(axis: Axis, values: list[float], expected: list[str]) -> None:
    assert texts(axis.scale(values)) == expected


def test_a_logarithmic_axis_makes_equal_ratios_equally_long() -> None:
    scale = Axis("log").scale([1, 100])
    assert math.isclose(scale.at(10), 0.5)
    assert scale.at(0.001) == 0  # what lies beyond is drawn at the end


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [
        ("2026-11-28T22:10", "2026-11-29T03:50", ["23:00", "29 Nov", "01:00", "02:00", "03:00"]),
        ("2026-11-01T00:00", "2026-11-29T12:00", ["5 Nov", "12 Nov", "19 Nov", "26 Nov"]),
        ("2026-01-15T00:00", "2026-11-29T12:00", ["Apr 2026", "Jul 2026", "Oct 2026"]),
        ("2001-01-15T00:00", "2026-11-29T12:00", ["2005", "2010", "2015", "2020", "2025"]),
    ],
)
def test_times_are_whole(begin: str, end: str, expected: list[str]) -> None:
    values = [datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() for text in (begin, end)]
    assert texts(Axis("time").scale(values)) == expected


def test_one_number_is_in_the_middle() -> None:
    assert Axis().scale([7.0]).at(7.0) == pytest.approx(0.5)
    assert Axis("time").scale([1e9]).at(1e9) == pytest.approx(0.5)


def test_steps_are_one_two_or_five() -> None:
    assert [nice_step(each) for each in (0.11, 0.2, 3, 7, 10, 0)] == pytest.approx([0.2, 0.2, 5, 10, 10, 1])


def test_numbers_are_for_people() -> None:
    assert [Axis().text(12_408), Axis().text(0.01324), Axis("share").text(0.9958), Axis().text(math.nan)] == [
        "12,408",
        "0.01324",
        "99.58 %",
        "\N{EN DASH}",
    ]
    assert Axis("time").text(1_767_225_600) == "1 Jan 2026, 00:00"

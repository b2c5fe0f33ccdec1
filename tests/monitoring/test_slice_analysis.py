"""Slice analysis finds a drop where there is one, and none where there is only chance."""

import numpy as np
import pytest

from sporeprint.data.coded_table import Codes
from sporeprint.monitoring.slice_analysis import SliceAnalysis, analyse_slices, count_slices, cuts, ranges

WORDS = {"shape": {"a": "round", "b": "flat"}}


def rows(draw: np.random.Generator, count: int) -> Codes:
    shape = draw.integers(-1, 3, count).astype(np.int16)
    size = np.where(draw.random(count) < 0.1, np.nan, draw.normal(size=count))
    return Codes({"shape": ("a", "b")}, {"shape": shape}, {"size": size}, count)


def found(seed: int, *, broken: bool) -> SliceAnalysis:
    draw = np.random.default_rng(seed)
    old, new = rows(draw, 3000), rows(draw, 1000)
    right = draw.random(3000) < 0.95, draw.random(1000) < 0.95
    if broken:
        right[1][(new.nominal["shape"] == 2) & (draw.random(1000) < 0.2)] = False
    ends = cuts(old)
    return analyse_slices(count_slices(old, right[0], ends, WORDS), count_slices(new, right[1], ends, WORDS), rows=1000, source="all")


def test_the_slice_that_fell_is_the_worst() -> None:
    worst = found(1, broken=True).worst
    assert worst is not None
    assert (worst.column, worst.value) == ("shape", "flat")
    assert worst.fall == pytest.approx(worst.before - worst.now.value)
    assert worst.now.low < worst.now.value < worst.now.high < worst.before


def test_without_a_fall_there_is_seldom_a_worst() -> None:
    """5 % is promised; 300 draws may have 5 % and three standard deviations of the binomial."""
    alarms = sum(found(seed, broken=False).worst is not None for seed in range(300))
    assert alarms <= 300 * 0.05 + 3 * (300 * 0.05 * 0.95) ** 0.5


def test_all_right_before_and_some_wrong_now() -> None:
    """With no error expected, an approximate test has nothing to go by."""
    made = analyse_slices({("a", "x"): (1198, 1198)}, {("a", "x"): (62, 38)}, rows=62, source="all")
    assert made.worst is not None
    assert made.worst.p < 1e-30


def test_small_and_unknown_slices_are_left_out() -> None:
    made = analyse_slices(
        {("a", "x"): (40, 40), ("a", "y"): (100, 100)}, {("a", "x"): (100, 0), ("a", "z"): (100, 0)}, rows=200, source="all"
    )
    assert (made.tested, made.drops, made.worst) == (0, (), None)
    assert made.not_computed == "no value of any column has 50 rows with an outcome, in the reference and now"
    codes = rows(np.random.default_rng(3), 400)
    names = {name for column, name in count_slices(codes, np.ones(400, dtype=bool), cuts(codes), WORDS) if column == "shape"}
    assert names == {"round", "flat", "(missing)"}


def test_every_row_is_in_one_range() -> None:
    codes = rows(np.random.default_rng(4), 500)
    right = np.arange(500) % 2 == 0
    made = count_slices(codes, right, cuts(codes), WORDS)
    assert sum(count for (column, _), (count, _) in made.items() if column == "size") == 500
    assert sum(good for (column, _), (_, good) in made.items() if column == "size") == 250
    assert ranges(np.empty(0)) == ["any number"]
    assert ranges(np.array([1.0, 2.0])) == ["up to 1", "above 1 to 2", "above 2"]
    constant = Codes({}, {}, {"size": np.full(10, 7.0)}, 10)
    assert count_slices(constant, np.ones(10, dtype=bool), cuts(constant), {}) == {("size", "up to 7"): (10, 10)}

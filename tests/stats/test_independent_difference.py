"""The difference of two estimates from their intervals alone."""

import numpy as np
import pytest

from sporeprint.stats.independent_difference import independent_difference
from sporeprint.stats.intervals import Estimate

Z = 1.959963984540054


def wilson(successes: int, trials: int) -> Estimate:
    """Wilson's score interval of a proportion, at 95 %."""
    share, weight = successes / trials, Z**2 / trials
    middle, half = (share + weight / 2) / (1 + weight), Z * (share * (1 - share) / trials + weight / (4 * trials)) ** 0.5 / (1 + weight)
    return Estimate(share, middle - half, middle + half)


def test_as_published() -> None:
    """Newcombe (1998), Statistics in Medicine 17:873, table II, method 10: 56/70 and 48/80, difference 0.2, 0.0524 to 0.3339."""
    a, b = wilson(48, 80), wilson(56, 70)
    difference = independent_difference(a, b)
    assert [round(each, 4) for each in (difference.value, difference.low, difference.high)] == [0.2, 0.0524, 0.3339]


def test_turned_round_it_changes_its_sign() -> None:
    a, b = Estimate(0.5, 0.4, 0.7), Estimate(0.9, 0.85, 0.93)
    one, other = independent_difference(a, b), independent_difference(b, a)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))


def test_its_interval_holds_the_truth_as_often_as_it_says() -> None:
    generator, held, draws = np.random.default_rng(5), 0, 2_000
    for x, y in zip(generator.binomial(300, 0.9, draws), generator.binomial(200, 0.95, draws), strict=True):
        difference = independent_difference(wilson(int(x), 300), wilson(int(y), 200))
        held += difference.low <= 0.05 <= difference.high
    assert abs(held / draws - 0.95) < 3 * (0.95 * 0.05 / draws) ** 0.5 + 0.005

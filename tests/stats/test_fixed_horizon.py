import numpy as np
import pytest
from scipy.stats import binom, norm

from sporeprint.stats import fixed_horizon


@pytest.mark.parametrize("split", [0.5, 0.1])
def test_the_planned_units_have_the_planned_power(split: float) -> None:
    units, draw = fixed_horizon.units_for_two_proportions(0.05, 0.1, split, 0.05, 0.8), np.random.default_rng(3)
    in_b = draw.binomial(units, split, 2000)
    errors_a, errors_b = draw.binomial(units - in_b, 0.05), draw.binomial(in_b, 0.1)
    pooled = (errors_a + errors_b) / units
    z = (errors_b / in_b - errors_a / (units - in_b)) / np.sqrt(pooled * (1 - pooled) * (1 / in_b + 1 / (units - in_b)))
    assert np.mean(np.abs(z) > norm.ppf(0.975)) == pytest.approx(0.8, abs=0.04)


def test_the_planned_pairs_have_the_planned_power() -> None:
    pairs = fixed_horizon.pairs_for_mcnemar(0.55, 0.05, 0.8)
    few = int(binom.ppf(0.025, pairs, 0.5)) - 1
    assert binom.sf(pairs - few - 1, pairs, 0.55) == pytest.approx(0.8, abs=0.03)


def test_looking_again_and_again_is_not_safe() -> None:
    """The table of Armitage, McPherson & Rowe (1969): why these tests are labelled as they are."""
    steps = np.random.default_rng(5).standard_normal((20_000, 50))
    z = np.abs(steps.cumsum(axis=1) / np.sqrt(np.arange(1, 51)))
    for looks, false in [(1, 0.05), (2, 0.0831), (5, 0.1417), (10, 0.1934), (50, 0.3205)]:
        assert np.mean(z[:, :looks].max(axis=1) > 1.96) == pytest.approx(false, abs=0.015)

"""How long outcomes take, when the slow ones of the newest answers are still to come."""

import numpy as np
import pytest

from sporeprint.monitoring.label_delay import wait


def counts(values: np.ndarray, size: int = 400) -> np.ndarray:
    return np.bincount(values, minlength=size).astype(np.int64)


def test_few_outcomes_say_nothing() -> None:
    assert wait(counts(np.zeros(29, dtype=int)), counts(np.full(29, 50)), 0.95) is None
    assert wait(counts(np.zeros(30, dtype=int)), counts(np.full(30, 50)), 0.95) == 1


def test_of_old_answers_it_is_the_quantile() -> None:
    delays = np.random.default_rng(1).integers(0, 100, 5000)
    found = wait(counts(delays), counts(np.full(5000, 300)), 0.95)
    assert found == int(np.quantile(delays, 0.95, method="inverted_cdf")) + 1


@pytest.mark.parametrize("seed", range(5))
def test_outcomes_that_are_still_to_come_are_not_forgotten(seed: int) -> None:
    """Traffic that has grown: most answers are young, and of most only the quick outcomes are here."""
    draw = np.random.default_rng(seed)
    ages = np.minimum(draw.exponential(40, 60_000).astype(int), 399)
    delays = draw.geometric(1 / 30, 60_000) - 1
    came = delays <= ages
    truth = int(np.quantile(delays, 0.95, method="inverted_cdf")) + 1
    naive = int(np.quantile(delays[came], 0.95, method="inverted_cdf")) + 1
    found = wait(counts(delays[came]), counts(ages[came]), 0.95)
    assert found is not None
    assert naive < 0.75 * truth
    assert abs(found - truth) < 0.12 * truth

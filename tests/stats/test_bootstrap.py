import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, kstest

from sporeprint.stats import bootstrap, metrics
from sporeprint.stats.intervals import Estimate, clopper_pearson

GOLDEN = Path(__file__).parents[1] / "golden"
R: dict[str, Any] = json.loads((GOLDEN / "intervals_r.json").read_text(encoding="utf-8"))
STATSMODELS: dict[str, Any] = json.loads((GOLDEN / "intervals_statsmodels.json").read_text(encoding="utf-8"))


def least_hits(samples: int, confidence: float = 0.95) -> int:
    """An interval of this confidence holds the truth less often than so in one of 10,000 simulations."""
    return int(binom.ppf(1e-4, samples, confidence))


def mean_of(losses: npt.NDArray[np.float64], largest: float, replicates: int = 400, seed: int = 1) -> Estimate:
    draws = bootstrap.row_draws(losses[:, np.newaxis], replicates=replicates, seed=seed)
    return bootstrap.bounded_mean(float(losses.mean()), draws, 0, largest, 0.95)


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("errors", [0, 1, 7, 50])
def test_the_mean_of_errors_has_the_clopper_pearson_interval(errors: int) -> None:
    losses = np.zeros(50)
    losses[:errors] = 1
    found = mean_of(losses, 1.0, replicates=40_000)
    assert (found.low, found.high) == pytest.approx(clopper_pearson(errors, 50, 0.95), abs=0.004)


@pytest.mark.parametrize("rate", [0.001, 0.003, 0.02])
def test_the_mean_of_rare_large_losses_is_covered(rate: float) -> None:
    draw, samples, rows = np.random.default_rng(2), 300, 300
    hits = 0
    for _ in range(samples):
        y = (draw.random(rows) < 0.5).astype(np.int8)
        wrong = draw.random(rows) < rate
        found = mean_of(metrics.squared_errors(y, np.where(wrong, 1 - y, y) * 0.98 + 0.01), 1.0)
        truth = rate * 0.99**2 + (1 - rate) * 0.01**2
        hits += found.low <= truth <= found.high
    assert hits >= least_hits(samples), hits / samples


def test_bundles_of_rows_give_a_slightly_wider_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = np.random.default_rng(3).random(6000)
    by_row = mean_of(losses, 1.0, replicates=4000)
    monkeypatch.setattr(bootstrap, "UNITS", 2000)
    bundled = mean_of(losses, 1.0, replicates=4000)
    assert bundled.value == by_row.value
    # The row that nobody has seen is a bundle too.
    assert 0.95 < (bundled.high - bundled.low) / (by_row.high - by_row.low) < 1.2


def test_row_draws_repeat_by_seed_and_centre_on_the_mean() -> None:
    columns = np.random.default_rng(4).random((200, 2))
    one, same, other = (bootstrap.row_draws(columns, replicates=500, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.means, same.means)
    assert not np.array_equal(one.means, other.means)
    assert one.means.mean(axis=0) == pytest.approx(columns.mean(axis=0), abs=0.005)
    # One row's share of 201.
    assert one.further.mean() == pytest.approx(1 / 201, rel=0.15)


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_calibration_error_is_covered(shift: float) -> None:
    """A plain bootstrap never holds the calibration error of a calibrated model (shift 0), which is 0."""
    draw, samples, rows = np.random.default_rng(6), 300, 1000

    def sample(size: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
        logit = draw.normal(0, 2, size)
        return (draw.random(size) < 1 / (1 + np.exp(-logit))).astype(np.int8), 1 / (1 + np.exp(-logit - shift))

    truth = 0.0 if shift == 0 else float(np.abs(metrics.calibration_gaps(*sample(1_000_000))).sum())
    hits = plain = 0
    for number in range(samples):
        y, p = sample(rows)
        gaps = np.zeros((rows, metrics.BINS))
        gaps[np.arange(rows), metrics.bins(p)] = y - p
        draws = bootstrap.row_draws(gaps, replicates=300, seed=number)
        found = bootstrap.absolute_sum(metrics.calibration_gaps(y, p), draws.means, draws.further, draws.units, 0.025)
        hits += found.low <= truth <= found.high
        plain += float(np.quantile(np.abs(draws.means).sum(axis=1), 0.025)) <= truth
    assert hits >= least_hits(samples), hits / samples
    if shift == 0:
        assert plain == 0


# --- groups ----------------------------------------------------------------------------------------------------------


def test_group_weights_are_multinomial(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.concatenate(list(bootstrap.group_weights(12, replicates=5000, seed=8)))
    assert weights.shape == (5000, 12)
    assert np.all(weights.sum(axis=1) == 12)
    assert weights.mean(axis=0) == pytest.approx(np.ones(12), abs=0.07)
    assert weights.var() == pytest.approx(11 / 12, abs=0.02)
    monkeypatch.setattr(bootstrap, "CHUNK", 12 * 7)
    portions = list(bootstrap.group_weights(12, replicates=20, seed=8))
    assert [len(portion) for portion in portions] == [7, 7, 6]


@pytest.mark.parametrize(("groups", "confidence", "tail"), R["expanded"], ids=str)
def test_group_tail_is_that_of_r(groups: float, confidence: float, tail: float) -> None:
    assert bootstrap.group_tail(int(groups), confidence) == pytest.approx(tail, rel=1e-9)


def test_the_spread_of_replicates_is_the_cluster_robust_error() -> None:
    golden = STATSMODELS["clustered_accuracy"]
    right = np.bincount(golden["group"], weights=golden["right"])
    rows = np.bincount(golden["group"])
    weights = np.concatenate(list(bootstrap.group_weights(len(rows), replicates=4000, seed=1)))
    assert (weights @ right / (weights @ rows)).std() == pytest.approx(golden["standard_error"], rel=0.06)


def test_an_undefined_replicate_counts_for_both_ends() -> None:
    drawn = np.r_[np.full(10, np.nan), np.linspace(0.4, 0.6, 90)]
    assert bootstrap.percentile(0.5, drawn, 0.05, (0.0, 1.0)) == Estimate(0.5, 0.0, 1.0)
    few = np.r_[np.nan, np.linspace(0.4, 0.6, 99)]
    found = bootstrap.percentile(0.5, few, 0.05, (0.0, 1.0))
    assert 0.4 < found.low < 0.42
    assert 0.58 < found.high < 0.6


def test_groups_that_agree_leave_room_for_others() -> None:
    low, _ = clopper_pearson(30, 30, 0.95)
    best = bootstrap.no_spread(1.0, 30, 0.95, (0.0, 1.0))
    assert (best.value, best.high) == (1, 1)
    assert best.low == pytest.approx(low)
    found = bootstrap.no_spread(0.5, 30, 0.95, (-1.0, 1.0))
    assert (found.low, found.high) == pytest.approx((low * 0.5 - (1 - low), low * 0.5 + (1 - low)))


@pytest.mark.parametrize("groups", [4, 30, 1000])
def test_p_value_and_interval_agree(groups: int) -> None:
    drawn = np.random.default_rng(9).normal(0, 0.1, 20_000)
    tail = bootstrap.group_tail(groups, 0.95)
    # Moved so that the interval's lower end is at 0, the difference is significant at just this level.
    border = drawn - np.quantile(drawn, tail)
    assert bootstrap.p_value(border, groups) == pytest.approx(0.05, abs=0.006)
    assert bootstrap.p_value(border + 0.05, groups) < 0.043
    assert bootstrap.p_value(border - 0.05, groups) > 0.057


def test_p_value_of_no_difference_is_one_and_of_the_clearest_not_zero() -> None:
    assert bootstrap.p_value(np.zeros(100), 20) == 1
    assert bootstrap.p_value(np.full(100, np.nan), 20) == 1
    assert 0 < bootstrap.p_value(np.ones(999), 1000) < 0.0015
    drawn = np.random.default_rng(1).normal(0.1, 0.1, 500)
    assert bootstrap.p_value(drawn, 20) == bootstrap.p_value(-drawn, 20)


def test_p_values_of_equal_means_are_uniform() -> None:
    draw, groups = np.random.default_rng(10), 40
    weights = np.concatenate(list(bootstrap.group_weights(groups, replicates=999, seed=3)))
    found = [bootstrap.p_value(weights @ draw.normal(0, 1, groups) / groups, groups) for _ in range(400)]
    assert kstest(found, "uniform").pvalue > 1e-3

"""Betting: an e-process that can be computed from counts alone, and its interval."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats import betting, eprocess
from sporeprint.stats.betting import Payoffs

SPLIT = st.sampled_from([0.5, 0.1, 0.9, 0.01])


def mixture(split: float = 0.5, most: float = 1.0, larger: float = 0.5, broad: float = betting.BROAD) -> betting.Bets:
    return betting.bets(-most / (1 - split), most / split, 2.0, larger, broad)


def payoffs(split: float, a: dict[float, int], b: dict[float, int]) -> Payoffs:
    values = [-loss / (1 - split) for loss in a] + [loss / split for loss in b]
    return Payoffs(np.array(values), np.array([*a.values(), *b.values()], dtype=float))


def test_the_weights_of_the_bets_add_up_to_one_and_no_bet_loses_more_than_all() -> None:
    for split, larger in itertools.product((0.5, 0.1, 0.01), (0.5, 0.25)):
        bets = mixture(split, larger=larger)
        assert np.exp(np.concatenate([bets.log_up, bets.log_down])).sum() == pytest.approx(1)
        assert np.exp(bets.log_up).sum() == pytest.approx(larger)
        assert (1 + bets.up * bets.low).min() > 0
        assert (1 + bets.down * bets.high).min() > 0


@pytest.mark.parametrize("split", [0.5, 0.2])
def test_its_expected_value_is_one_by_enumeration(split: float) -> None:
    """Of three units, every course: with losses of two sizes and an equal mean in both arms."""
    bets, shares = mixture(split, 5.0), {(0, 0.0): 0.9, (0, 5.0): 0.02, (0, 1.0): 0.08, (1, 0.0): 0.82, (1, 5.0): 0.0, (1, 1.0): 0.18}
    kinds = [
        ((loss / split if arm else -loss / (1 - split)), share * (split if arm else 1 - split)) for (arm, loss), share in shares.items()
    ]
    expected = [0.0, 0.0]
    for course in itertools.product(kinds, repeat=3):
        chance = math.prod(share for _, share in course)
        units = Payoffs(np.array([value for value, _ in course]), np.ones(3))
        for side, log_e in enumerate(betting.log_e(bets, units)):
            expected[side] += chance * math.exp(log_e)
    assert expected == pytest.approx([0.5, 0.5])


def test_losses_of_one_size_are_the_binomial_test_of_errors_by_arm() -> None:
    bets = mixture(0.3)
    units = payoffs(0.3, {0.0: 500, 1.0: 12}, {0.0: 300, 1.0: 25})
    up, _ = betting.log_e(bets, units)
    shares = bets.positive_share(bets.up)
    direct = [eprocess.log_e_simple(float(share), 25, 37, 0.3) + weight for share, weight in zip(shares, bets.log_up, strict=True)]
    assert up == pytest.approx(float(np.logaddexp.reduce(direct)))
    assert [float(each) for each in betting.log_e_of_counts(bets, 25, 37)] == pytest.approx(betting.log_e(bets, units))


@given(SPLIT, *[st.integers(0, 300)] * 4, st.floats(0.01, 0.2))
def test_e_value_and_interval_never_contradict_each_other(split: float, a: int, b: int, dear_a: int, dear_b: int, alpha: float) -> None:
    bets, threshold = mixture(split, 5.0), -math.log(alpha)
    units = payoffs(split, {0.0: 900, 1.0: a, 5.0: dear_a}, {0.0: 900, 1.0: b, 5.0: dear_b})
    inside = betting.interval(bets, units, threshold, 5.0)
    up, down = betting.log_e(bets, units)
    if not math.isclose(up, threshold, abs_tol=1e-6):
        assert (up >= threshold) == (inside.low > 1e-12)
    if not math.isclose(down, threshold, abs_tol=1e-6):
        assert (down >= threshold) == (inside.high < -1e-12)
    assert inside.low <= inside.value <= inside.high


@given(SPLIT, st.lists(st.integers(0, 10**6), min_size=6, max_size=6))
def test_no_counts_give_nan_and_swapping_the_arms_flips_the_sign(split: float, counts: list[int]) -> None:
    a, b = dict(zip((0.0, 1.0, 5.0), counts[:3], strict=True)), dict(zip((0.0, 1.0, 5.0), counts[3:], strict=True))
    one, other = payoffs(split, a, b), payoffs(1 - split, b, a)
    found, turned = betting.interval(mixture(split, 5.0), one, 3.0, 5.0), betting.interval(mixture(1 - split, 5.0), other, 3.0, 5.0)
    assert (found.low, found.high) == pytest.approx((-turned.high, -turned.low), abs=1e-6)
    assert betting.log_e(mixture(split, 5.0), one) == pytest.approx(betting.log_e(mixture(1 - split, 5.0), other)[::-1], abs=1e-6, rel=1e-6)


def test_pairs_can_differ_by_all_of_a_loss() -> None:
    bets = betting.bets(-1.0, 1.0, 4.0)
    found = betting.interval(bets, Payoffs(np.array([1.0, -1.0]), np.array([95.0, 5.0])), 3.0, 1.0)
    assert 0.6 < found.low < found.value < found.high < 1
    assert found.value == pytest.approx(0.9)


def test_nothing_is_known_without_units() -> None:
    found = betting.interval(mixture(0.5, 5.0), Payoffs(np.zeros(1), np.zeros(1)), 3.0, 5.0)
    assert (found.low, found.high) == (-5, 5)
    assert math.isnan(found.value)


@pytest.mark.parametrize("split", [0.5, 0.05])
def test_a_boundary_is_where_the_e_value_reaches_the_threshold(split: float) -> None:
    bets = mixture(split)
    low, high = betting.boundary(bets, 200, 2.5)  # beyond the places between which it looks less far
    for n in range(201):
        up, down = betting.log_e_of_counts(bets, np.arange(n + 1), n)
        assert low[n] == max(np.flatnonzero(down >= 2.5), default=-1)
        assert high[n] == min(np.flatnonzero(up >= 2.5), default=n + 1)


@pytest.mark.parametrize(("split", "larger"), [(0.5, 0.5), (0.5, 0.25), (0.05, 0.5)])
def test_a_calibrated_threshold_spends_all_of_alpha_and_no_more(split: float, larger: float) -> None:
    """The probability is followed farther than the calibration does."""
    bets = mixture(split, larger=larger)
    threshold = betting.calibrated(bets.low, bets.high, 2.0, larger, betting.BROAD, 0.05, None)
    assert threshold < -math.log(0.05)
    found, _ = betting.crossing(*betting.boundary(bets, 1_500, threshold), bets.null)
    assert 0.04 < found.sum() <= 0.05
    near = betting.calibrated(bets.low, bets.high, 2.0, larger, betting.BROAD, 0.05, 100)
    assert near < threshold


def test_a_short_horizon_needs_a_lower_threshold_and_the_followed_course_is_complete() -> None:
    bets = mixture()
    low, high = betting.boundary(bets, 200, 2.8)
    found, left = betting.crossing(low, high, 0.5)
    assert found.sum() + left.sum() == pytest.approx(1)


def test_a_crossing_is_what_following_every_number_of_positive_payoffs_finds() -> None:
    low, high = betting.boundary(mixture(0.3), 120, 2.5)
    crossed, left = betting.crossing(low, high, 0.35)
    at, by_hand = {0: 1.0}, np.zeros((2, 121))
    for n in range(1, 121):
        after = {x: at.get(x, 0.0) * 0.65 + at.get(x - 1, 0.0) * 0.35 for x in range(n + 1)}
        by_hand[:, n] = sum(share for x, share in after.items() if x <= low[n]), sum(share for x, share in after.items() if x >= high[n])
        at = {x: share for x, share in after.items() if low[n] < x < high[n]}
    assert crossed == pytest.approx(by_hand, rel=1e-9, abs=1e-15)
    assert left == pytest.approx(np.array([at.get(x, 0.0) for x in range(121)]), rel=1e-9, abs=1e-15)
    assert (by_hand.sum(axis=1) > 1e-4).all()


CONFSEQ = json.loads((Path(__file__).parents[1] / "golden" / "ab" / "confseq_betting_numbers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("golden", CONFSEQ["cases"])
def test_wealth_and_interval_are_those_of_confseq(golden: dict[str, Any]) -> None:
    low, high, most = golden["low"], golden["high"], min(-golden["low"], golden["high"])
    bets, even = np.array(golden["bets"]), np.full(len(golden["bets"]), -math.log(len(golden["bets"])))
    units = Payoffs(np.array(golden["values"]), np.array(golden["counts"], dtype=float))
    for difference, up, down in golden["log_wealth"]:
        assert betting.log_wealth(bets, even, units, difference, low, high) == pytest.approx(up, abs=1e-8)
        assert betting.log_wealth(-bets, even, units, difference, low, high) == pytest.approx(down, abs=1e-8)
    half = even - math.log(2)
    mixed = betting.Bets(low, high, -low / (high - low), bets, -bets, half, half)
    interval = betting.interval(mixed, units, -math.log(CONFSEQ["alpha"]), most)
    # Its ends are those of a grid.
    assert [interval.low, interval.high] == pytest.approx(golden["interval"], abs=golden["step"] * 1.01)

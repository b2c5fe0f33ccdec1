import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sporeprint.stats import paired
from sporeprint.stats.intervals import Estimate

GOLDEN = Path(__file__).parents[1] / "golden"
R: dict[str, Any] = json.loads((GOLDEN / "intervals_r.json").read_text(encoding="utf-8"))
STATSMODELS: dict[str, Any] = json.loads((GOLDEN / "intervals_statsmodels.json").read_text(encoding="utf-8"))
COUNT = st.integers(0, 40)


@pytest.mark.parametrize(("only_a", "only_b", "p"), R["mcnemar"] + STATSMODELS["exact_mcnemar"], ids=str)
def test_mcnemar_is_that_of_r_and_statsmodels(only_a: float, only_b: float, p: float) -> None:
    assert paired.mcnemar(int(only_a), int(only_b)) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(("only_a", "only_b", "rows", "confidence", "low", "high"), R["tango"], ids=str)
def test_tango_is_that_of_contingencytables(only_a: float, only_b: float, rows: float, confidence: float, low: float, high: float) -> None:
    assert paired.tango(int(only_a), int(only_b), int(rows), confidence) == pytest.approx((low, high), abs=2e-7)


@pytest.mark.parametrize("golden", [R["holm"], STATSMODELS["holm"]], ids=["r", "statsmodels"])
def test_holm_is_that_of_r_and_statsmodels(golden: dict[str, list[float]]) -> None:
    assert paired.holm(golden["p"]) == pytest.approx(golden["adjusted"], abs=1e-12)


def test_holm_of_nothing() -> None:
    assert paired.holm([]) == ()


def difference(only_a: int, only_b: int, rows: int) -> Estimate:
    return paired.difference(only_a, only_b, rows, 0.95, paired.mcnemar(only_a, only_b))


@given(COUNT, COUNT, COUNT)
def test_swapping_the_models_swaps_the_sign(only_a: int, only_b: int, same: int) -> None:
    rows = max(1, only_a + only_b + same)
    one, other = difference(only_a, only_b, rows), difference(only_b, only_a, rows)
    assert paired.mcnemar(only_a, only_b) == paired.mcnemar(only_b, only_a)
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low), abs=1e-12)


@given(COUNT, COUNT, COUNT)
def test_an_interval_without_zero_is_a_rejection(only_a: int, only_b: int, same: int) -> None:
    found = difference(only_a, only_b, max(1, only_a + only_b + same))
    assert -1 <= found.low <= found.value <= found.high <= 1
    if found.low > 1e-12 or found.high < -1e-12:
        assert paired.mcnemar(only_a, only_b) <= 0.05


def test_the_same_answers_leave_room_for_a_difference() -> None:
    found = difference(0, 0, 1000)
    assert found.value == 0
    assert (found.low, found.high) == pytest.approx((-0.00383, 0.00383), abs=1e-5)


@pytest.mark.parametrize(("only_a", "only_b"), [(0.002, 0.001), (0.01, 0.01), (0.2, 0.1)])
def test_the_difference_is_covered_and_the_test_keeps_its_level(only_a: float, only_b: float) -> None:
    samples, rows = 1000, 500
    draws = np.random.default_rng(4).multinomial(rows, [only_a, only_b, 1 - only_a - only_b], size=samples)
    found = [difference(a, b, rows) for a, b, _ in draws.tolist()]
    hits = sum(estimate.low <= only_a - only_b <= estimate.high for estimate in found)
    assert hits >= binom.ppf(1e-4, samples, 0.95), hits / samples
    if only_a == only_b:
        rejected = sum(paired.mcnemar(a, b) <= 0.05 for a, b, _ in draws.tolist())
        assert rejected <= binom.ppf(1 - 1e-4, samples, 0.05)

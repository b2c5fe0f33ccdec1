"""The threshold's simulator: copies break a promise that counts rows, and not one that counts units."""

import pytest
from scipy import stats

from sporeprint.safety.risk_control import RiskLevels
from sporeprint.safety.threshold_simulation import simulate_threshold

LEVELS = RiskLevels(0.05, 1.0, 0.05)
RUNS = 200
ALLOWED = float(stats.binom.ppf(0.999, RUNS, LEVELS.delta))


@pytest.mark.parametrize(("copies", "correlation"), [(1, 1.0), (2, 1.0), (5, 1.0), (20, 1.0), (10, 0.4), (10, 0.0)])
def test_the_promise_holds_where_units_count(copies: int, correlation: float) -> None:
    found = simulate_threshold(LEVELS, rows=400 * copies, copies=copies, correlation=correlation, runs=RUNS, seed=20201107)
    assert found.broken_by_units <= ALLOWED
    if copies == 1:
        assert found.broken_by_rows == found.broken_by_units
    if copies > 2 and correlation:
        assert found.broken_by_rows > ALLOWED


def test_progress_and_seed() -> None:
    done: list[int] = []
    one, other = (simulate_threshold(LEVELS, rows=300, copies=3, runs=120, seed=1, advance=done.append) for _ in range(2))
    assert one == other
    assert sum(done) == 240


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"copies": 0}, "copies: expected a number from 1 to 300, got 0"),
        ({"copies": 301}, "copies: expected a number from 1 to 300, got 301"),
        ({"correlation": 2.0}, "correlation: expected a number from 0 to 1, got 2"),
        ({"risk": 0.01}, "risk: expected a number from 0.05 to 1, got 0.01"),
        ({"runs": 0}, "runs: expected at least 1, got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        simulate_threshold(LEVELS, rows=300, **change)  # type: ignore[arg-type]

"""How often the threshold's promise is broken where rows repeat: the promise re-proved on the user's own numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sporeprint.safety.risk_control import RiskLevels, choose_threshold

#: Progress is reported after so many runs.
STEP = 50


@dataclass(frozen=True)
class ThresholdSimulation:
    """What came out of the simulated runs.

    Attributes:
        rows: rows of a run's threshold part that may be answered negative.
        copies: rows of a unit.
        correlation: of the labels of one unit: 1 for copies of a row, less for rows of one patient.
        risk: true share of positive rows, at every threshold.
        runs: simulated runs.
        delta: how often the promise may be broken.
        broken_by_rows: runs in which a threshold was chosen, though the risk is above alpha, where every row counts.
        broken_by_units: the same where a unit counts once, as fitting does it.
    """

    rows: int
    copies: int
    correlation: float
    risk: float
    runs: int
    delta: float
    broken_by_rows: int
    broken_by_units: int


def simulate_threshold(
    levels: RiskLevels,
    *,
    rows: int,
    copies: int = 1,
    correlation: float = 1.0,
    risk: float | None = None,
    runs: int = 1000,
    seed: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> ThresholdSimulation:
    """Simulate runs in which every threshold breaks the promise, and count those that choose one.

    The score says nothing, and the true risk is a little above what is promised: the hardest case there is. The risk of a unit
    is drawn from a beta distribution, so that labels of one unit are correlated.

    Args:
        levels: what is promised.
        rows: see `ThresholdSimulation`.
        copies: see `ThresholdSimulation`.
        correlation: see `ThresholdSimulation`.
        risk: see `ThresholdSimulation`; None: 1.001 alpha.
        runs: see `ThresholdSimulation`.
        seed: of the draws.
        advance: called with the number of runs done since the last call.

    Raises:
        ValueError: if a number is out of its range.
    """
    risk = 1.001 * levels.alpha if risk is None else risk
    units = rows // max(copies, 1)
    for name, value, low, high in (("copies", copies, 1, rows), ("correlation", correlation, 0, 1), ("risk", risk, levels.alpha, 1)):
        if not low <= value <= high:
            raise ValueError(f"{name}: expected a number from {low:g} to {high:g}, got {value:g}")
    if runs < 1:
        raise ValueError(f"runs: expected at least 1, got {runs}")
    draw, tested = np.random.default_rng(seed), np.array([0.5])
    by_rows = by_units = 0
    for run in range(runs):
        if 0 < correlation < 1:
            odds = (1 - correlation) / correlation
            chance = draw.beta(risk * odds, (1 - risk) * odds, units)
        else:
            chance = (draw.random(units) < risk).astype(np.float64) if correlation else np.full(units, risk)
        y = (draw.random((units, copies)) < chance[:, np.newaxis]).astype(np.int8)
        for counted, is_unit in ((y.ravel(), False), (y[:, 0], True)):
            threshold = choose_threshold(np.zeros(len(counted)), counted, tested, levels, positives=int(counted.sum()))
            by_units += is_unit and threshold.value is not None
            by_rows += not is_unit and threshold.value is not None
        if (run + 1) % STEP == 0:
            advance(STEP)
    advance(runs % STEP)
    return ThresholdSimulation(rows, copies, correlation, risk, runs, levels.delta, by_rows, by_units)

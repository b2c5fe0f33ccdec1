"""Golden numbers for tests/stats/test_betting, from confseq: python confseq_betting_numbers.py > confseq_betting_numbers.json.

Runs in an environment of its own (confseq 0.0.11); the package under test is not imported. confseq bets on means of numbers from 0 to 1,
so payoffs are put on that scale, and its capital processes follow them one by one, in an order drawn at random.
"""

import json
import sys
from functools import partial
from typing import Any

import numpy as np
from confseq.betting import (  # type: ignore[import-not-found, import-untyped, unused-ignore]  # lives in an environment of its own
    betting_cs,
    diversified_betting_mart,
)

#: Share of units in B, losses, and units by arm and loss (A's, then B's).
CASES = [
    (0.5, [1.0], [[40], [70]], [960, 930]),
    (0.1, [1.0], [[60], [2]], [840, 98]),
    (0.5, [1.0, 5.0], [[20, 5], [35, 9]], [475, 456]),
    (0.25, [0.2, 1.0], [[30, 12], [9, 8]], [700, 241]),
]
#: Bets as a share of the largest possible one on a mean of 0; each has the same weight.
SHARES = [0.02, 0.05, 0.1, 0.2]
ALPHA, BREAKS = 0.05, 4_000


def case(split: float, losses: list[float], counts: list[list[int]], harmless: list[int]) -> dict[str, Any]:
    """Payoffs with their counts, bets, and what confseq makes of both."""
    low, high = -max(losses) / (1 - split), max(losses) / split
    values = [0.0, *(-loss / (1 - split) for loss in losses), *(loss / split for loss in losses)]
    units = [sum(harmless), *counts[0], *counts[1]]
    span = high - low
    scaled = np.random.default_rng(1).permutation(np.repeat((np.array(values) - low) / span, units))
    # The bet itself is per unit of payoff; confseq's is per unit of its scale.
    bets = [share / max(-low, high) for share in SHARES]
    functions = [partial(_constant, bet * span) for bet in bets]
    wealth = []
    for difference in (0.0, 0.01 * high, -0.02 * high):
        null = (difference - low) / span
        up, down = (
            float(np.log(diversified_betting_mart(scaled, null, lambdas_fns_positive=functions, theta=side, trunc_scale=1)[-1]))
            for side in (1, 0)
        )
        wealth.append([difference, up, down])
    bets_on = {"lambdas_fns_positive": functions, "lambdas_fns_negative": functions}
    ends = betting_cs(scaled, **bets_on, alpha=ALPHA, breaks=BREAKS, trunc_scale=1)
    interval = [float(end[-1]) * span + low for end in ends]
    names = {"low": low, "high": high, "values": values, "counts": units, "bets": bets}
    return {**names, "log_wealth": wealth, "interval": interval, "step": span / BREAKS}


def _constant(bet: float, x: np.ndarray[Any, Any], null: float) -> np.ndarray[Any, Any]:
    return np.full(len(x), bet)


if __name__ == "__main__":
    json.dump({"alpha": ALPHA, "cases": [case(*each) for each in CASES]}, sys.stdout, indent=1)

"""Golden numbers for tests/stats, from tea-tasting: python tea_tasting_numbers.py > tea_tasting_numbers.json.

Runs in an environment of its own (tea-tasting 1.14); the package under test is not imported.
"""

import json
import sys

import tea_tasting as tt  # type: ignore[import-not-found, import-untyped, unused-ignore]  # lives in an environment of its own
from tea_tasting.aggr import Aggregates  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the same


def welch() -> list[list[float]]:
    """Count, mean, variance of a and of b; low, high and p-value of Welch's test of b minus a at 95 %."""
    cases = [((100, 2.05, 1.5), (90, 2.6, 2.25)), ((5000, 0.005, 0.00498), (5100, 0.01, 0.0099)), ((900, 1.4, 100.0), (100, 1.8, 120.0))]
    rows = []
    for a, b in cases:
        found = tt.Mean("x", use_t=True, equal_var=False, alternative="two-sided").analyze_aggregates(_totals(*a), _totals(*b))
        rows.append([*a, *b, found.effect_size_ci_lower, found.effect_size_ci_upper, found.pvalue])
    return rows


def two_proportions() -> list[list[float]]:
    """Errors and units of a and of b, and the p-value of the pooled z test without continuity correction."""
    metric = tt.Proportion("x", method="norm", correction=False, alternative="two-sided")
    rows = []
    for a, m, b, n in [(5, 1000, 10, 1000), (30, 100, 45, 90), (1, 10_000, 12, 1000)]:
        found = metric.analyze_aggregates(_totals(m, a / m, 0.0), _totals(n, b / n, 0.0))
        rows.append([a, m, b, n, float(found.pvalue)])
    return rows


def _totals(count: int, mean: float, variance: float) -> Aggregates:
    return Aggregates(count_=count, mean_={"x": mean}, var_={"x": variance}, cov_={})


if __name__ == "__main__":
    json.dump({section.__name__: section() for section in (welch, two_proportions)}, sys.stdout)
    sys.stdout.write("\n")

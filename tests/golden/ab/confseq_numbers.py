"""Golden numbers for tests/stats, from confseq: python confseq_numbers.py > confseq_numbers.json.

Runs in an environment of its own (confseq 0.0.11); the package under test is not imported.
"""

import json
import sys

from confseq.boundaries import (  # type: ignore[import-not-found, import-untyped, unused-ignore]  # lives in an environment of its own
    bernoulli_confidence_interval,
    beta_binomial_log_mixture,
)

CASES = [(0, 10), (3, 10), (7, 10), (10, 10), (12, 1000), (40, 60), (500, 1000), (3, 100_000), (777, 100_000)]


def log_mixture() -> list[list[float]]:
    """Successes, trials, null, t_opt, logarithm of the two-sided beta-binomial mixture."""
    rows = []
    for null in (0.5, 0.1, 0.01):
        for successes, trials in CASES:
            v_opt = 1000 * null * (1 - null)
            sum_, variance = successes - trials * null, trials * null * (1 - null)
            found = beta_binomial_log_mixture(sum_, variance, v_opt, null, 1 - null, alpha_opt=0.05, is_one_sided=False)
            rows.append([successes, trials, null, 1000, float(found)])
    return rows


def interval() -> list[list[float]]:
    """Successes, trials, alpha, t_opt, low, high."""
    return [[x, n, alpha, 500, *map(float, bernoulli_confidence_interval(x, n, alpha, 500))] for x, n in CASES for alpha in (0.05, 0.001)]


if __name__ == "__main__":
    json.dump({section.__name__: section() for section in (log_mixture, interval)}, sys.stdout)
    sys.stdout.write("\n")

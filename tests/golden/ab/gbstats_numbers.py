"""Golden numbers for tests/stats, from gbstats: python gbstats_numbers.py > gbstats_numbers.json.

Runs in an environment of its own (gbstats 0.8); the package under test is not imported.
"""

import json
import sys

from gbstats.frequentist.tests import (  # type: ignore[import-not-found, import-untyped, unused-ignore]  # lives in an environment of its own
    SequentialConfig,
    SequentialTwoSidedTTest,
)
from gbstats.models.statistics import SampleMeanStatistic  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the same

#: Count, sum, sum of squares of a and of b; alpha; number of observations that the sequential test is tuned for.
CASES = [
    ((100, 205.0, 520.5), (90, 230.0, 700.25), 0.05, 5000),
    ((5000, 25.0, 25.0), (5100, 51.0, 51.0), 0.05, 5000),
    ((900, 1234.5, 99999.0), (100, 180.25, 12345.0), 0.01, 1000),
    ((20, -3.5, 40.0), (30, 11.0, 25.0), 0.1, 50),
    ((4_000_000, 8.1e6, 9.9e7), (1_000_000, 2.05e6, 2.5e7), 0.05, 5000),
]


def sequential() -> list[list[float]]:
    """The case, then low, high and p-value of the asymptotic confidence sequence."""
    rows = []
    for a, b, alpha, tuned in CASES:
        config = SequentialConfig(difference_type="absolute", alpha=alpha, sequential_tuning_parameter=tuned)
        found = SequentialTwoSidedTTest(_statistic(a), _statistic(b), config)
        rows.append([*a, *b, alpha, tuned, *map(float, found.confidence_interval), float(found.p_value)])
    return rows


def _statistic(arm: tuple[int, float, float]) -> SampleMeanStatistic:
    count, total, squares = arm
    return SampleMeanStatistic(n=count, sum=total, sum_squares=squares)


if __name__ == "__main__":
    json.dump({section.__name__: section() for section in (sequential,)}, sys.stdout)
    sys.stdout.write("\n")

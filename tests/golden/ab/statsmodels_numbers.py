"""Golden numbers for tests/stats, from statsmodels and SciPy: python statsmodels_numbers.py > statsmodels_numbers.json.

Runs in an environment of its own (statsmodels 0.15); the package under test is not imported.
"""

import json
import sys

from scipy.optimize import brentq
from scipy.stats import fisher_exact, norm
from statsmodels.stats.multitest import multipletests  # type: ignore[import-not-found, import-untyped, unused-ignore]  # lives in an environment of its own
from statsmodels.stats.proportion import (  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the same
    confint_proportions_2indep,
    proportions_ztest,
)
from statsmodels.stats.weightstats import (  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the same
    CompareMeans,
    DescrStatsW,
)

#: Errors and units of a, errors and units of b.
CASES = [
    (5, 1000, 10, 1000),
    (0, 50, 3, 60),
    (30, 100, 45, 90),
    (1, 10_000, 12, 1000),
    (120, 300, 110, 300),
    (0, 40, 0, 60),
    (20, 20, 3, 30),
]


def two_proportions() -> list[list[float]]:
    """The case and the p-value of the pooled z test."""
    return [[*case, float(proportions_ztest([case[2], case[0]], [case[3], case[1]])[1])] for case in CASES if case[0] + case[2] > 0]


def fisher() -> list[list[float]]:
    """The case and the p-value of Fisher's exact test."""
    return [[a, m, b, n, float(fisher_exact([[a, m - a], [b, n - b]])[1])] for a, m, b, n in CASES]


def newcombe() -> list[list[float]]:
    """The case, confidence, low, high."""
    return [[*case, 0.95, *_interval(case, "newcomb")] for case in CASES]


def miettinen_nurminen() -> list[list[float]]:
    """The case, confidence, low, high: the score interval with the correction N / (N - 1).

    By maximising the restricted likelihood numerically: the closed form in statsmodels 0.15 has the errors where the units should be
    (`tmp1` in score_test_proportions_2indep), which moves the ends by up to a percent of the width.
    """
    return [[*case, 0.95, _score_end(case, -1), _score_end(case, 1)] for case in CASES if min(case[0], case[2]) > 0 and case[0] < case[1]]


def _score_end(case: tuple[int, int, int, int], sign: int) -> float:
    a, m, b, n = case
    value = b / n - a / m

    def beyond(delta: float) -> float:
        least, most = max(0.0, -delta), min(1.0, 1 - delta)

        def slope(p: float) -> float:
            return a / p - (m - a) / (1 - p) + b / (p + delta) - (n - b) / (1 - p - delta)

        p = brentq(slope, least + 1e-13, most - 1e-13, xtol=1e-16, rtol=1e-15)
        variance = (p * (1 - p) / m + (p + delta) * (1 - p - delta) / n) * (m + n) / (m + n - 1)
        return float((value - delta) ** 2 - norm.ppf(0.975) ** 2 * variance)

    return float(brentq(beyond, value, sign * (1 - 1e-9), xtol=1e-15))


def _interval(case: tuple[int, int, int, int], method: str) -> list[float]:
    a, m, b, n = case
    return [float(end) for end in confint_proportions_2indep(b, n, a, m, method=method, compare="diff", alpha=0.05, correction=True)]


def welch() -> dict[str, list[float]]:
    """Two samples; low, high and p-value of Welch's test of the second minus the first."""
    a, b = [1.0, 2.5, 3.0, 4.5, 2.0, 9.0], [2.0, 5.0, 6.5, 7.0, 3.5]
    means = CompareMeans(DescrStatsW(b), DescrStatsW(a))
    low, high = means.tconfint_diff(alpha=0.05, usevar="unequal")
    return {"a": a, "b": b, "found": [float(low), float(high), float(means.ttest_ind(usevar="unequal")[1])]}


def benjamini_hochberg() -> dict[str, list[float]]:
    """p-values and adjusted ones."""
    p = [0.2, 0.001, 0.04, 0.04, 0.6, 0.013, 1.0]
    return {"p": p, "adjusted": multipletests(p, method="fdr_bh")[1].tolist()}


if __name__ == "__main__":
    sections = [two_proportions, fisher, newcombe, miettinen_nurminen, welch, benjamini_hochberg]
    json.dump({section.__name__: section() for section in sections}, sys.stdout)
    sys.stdout.write("\n")

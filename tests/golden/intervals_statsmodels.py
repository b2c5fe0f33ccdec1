"""Golden numbers for tests/stats, from statsmodels: python intervals_statsmodels.py > intervals_statsmodels.json.

Runs in an environment of its own (statsmodels 0.15, scikit-learn); the package under test is not imported.
"""

import json
import sys

import numpy as np
import statsmodels.api as sm  # type: ignore[import-not-found, import-untyped, unused-ignore]  # lives in an environment of its own
from sklearn.metrics import average_precision_score
from statsmodels.stats.contingency_tables import mcnemar  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the same
from statsmodels.stats.multitest import multipletests  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the same
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-not-found, import-untyped, unused-ignore]  # the same


def clopper_pearson() -> list[list[float]]:
    """Successes, trials, confidence, low, high."""
    cases = [(0, 10, 0.95), (1, 10, 0.95), (10, 10, 0.95), (9156, 9160, 0.95), (9160, 9160, 0.99), (37, 80, 0.9)]
    return [[k, n, c, *map(float, proportion_confint(k, n, alpha=1 - c, method="beta"))] for k, n, c in cases]


def exact_mcnemar() -> list[list[float]]:
    """Only a right, only b right, p-value."""
    cases = [(0, 0), (5, 0), (3, 4), (12, 30), (200, 150)]
    return [[a, b, float(mcnemar([[10, a], [b, 10]], exact=True).pvalue)] for a, b in cases]


def holm() -> dict[str, list[float]]:
    """p-values and adjusted ones."""
    p = [0.2, 0.001, 0.04, 0.04, 0.6]
    return {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()}


def clustered_accuracy() -> dict[str, object]:
    """Right answers of 40 groups of unequal size, and the cluster-robust standard error of their share."""
    draw = np.random.default_rng(20201107)
    group = np.repeat(np.arange(40), draw.integers(5, 30, 40))
    right = (draw.random(len(group)) < draw.beta(2, 1, 40)[group]).astype(int)
    fit = sm.OLS(right, np.ones(len(right))).fit(cov_type="cluster", cov_kwds={"groups": group, "use_correction": False})
    return {"group": group.tolist(), "right": right.tolist(), "standard_error": float(fit.bse[0])}


def jackknifed_average_precision() -> dict[str, object]:
    """Rows with ties, and the jackknife standard error of their average precision."""
    draw = np.random.default_rng(7)
    y = (draw.random(400) < 0.4).astype(int)
    p = np.round(1 / (1 + np.exp(-draw.normal(y - 0.5, 1.0))), 2)
    keep = ~np.eye(len(y), dtype=bool)
    left_out = np.array([average_precision_score(y[rows], p[rows]) for rows in keep])
    error = np.sqrt((len(y) - 1) / len(y) * np.square(left_out - left_out.mean()).sum())
    return {"y": y.tolist(), "p": p.tolist(), "standard_error": float(error)}


if __name__ == "__main__":
    sections = [clopper_pearson, exact_mcnemar, holm, clustered_accuracy, jackknifed_average_precision]
    json.dump({section.__name__: section() for section in sections}, sys.stdout)
    sys.stdout.write("\n")

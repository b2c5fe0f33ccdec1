"""Logistic regression by Newton's method over sums, which are added up batch by batch: no more than a batch of rows is in memory.

The optimum is scikit-learn's: sum of log losses plus |w|² / (2 C), the intercept not penalised.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from sporeprint.common.batches import Batches
from sporeprint.models.encoder import Labels, Matrix
from sporeprint.stats.special import expit

Float64 = npt.NDArray[np.float64]

#: Rows that are in float64 at a time.
BLOCK_ROWS = 4_096
#: A step whose squared Newton decrement is below this is the last: what is left after it is of the square of that.
CONVERGED = 1e-9
#: Relative to a loss, a difference that is rounding.
ROUNDING = 1e-12
#: Shortest step, as a share of Newton's.
SHORTEST = 2.0**-10
#: Solvers of scikit-learn's that have this optimum; liblinear penalises the intercept, saga is stopped far from it.
SOLVERS = ("lbfgs", "newton-cg", "newton-cholesky", "sag")
#: Further parameters that change nothing here, or that are taken into account.
PARAMETERS = frozenset({"solver", "max_iter", "tol", "C", "fit_intercept", "random_state", "verbose"})


class Labelled(Protocol):
    """Encoded rows with their labels."""

    @property
    def X(self) -> Matrix: ...  # noqa: D102, N802  # float32 [n, m]
    @property
    def y(self) -> Labels: ...  # noqa: D102  # int8 [n]


@dataclass(frozen=True, eq=False)
class NewtonSums:
    """Sums over rows at some coefficients; the last of k = m + 1 belongs to the intercept.

    Attributes:
        loss: of the log losses, in nats.
        gradient: float64 [k].
        hessian: float64 [k, k].
    """

    loss: float
    gradient: Float64
    hessian: Float64

    @classmethod
    def of(cls, w: Float64, rows: Labelled) -> Self:
        """Of n rows."""
        total = cls(0.0, np.zeros(len(w)), np.zeros((len(w), len(w))))
        for start in range(0, len(rows.y), BLOCK_ROWS):
            y = rows.y[start : start + BLOCK_ROWS]
            X = np.ones((len(y), len(w)))
            X[:, :-1] = rows.X[start : start + BLOCK_ROWS]
            raw = X @ w
            p = expit(raw)
            loss = float((np.logaddexp(0.0, raw) - y * raw).sum())
            gradient = X.T @ (p - y)
            # Steps need no more digits of the second derivatives than float32 has; where they end, the gradient decides alone.
            weighted = (X * np.sqrt(p * (1 - p))[:, np.newaxis]).astype(np.float32)
            total = total.merge(cls(loss, gradient, (weighted.T @ weighted).astype(np.float64)))
        return total

    def merge(self, other: Self) -> Self:
        """Of both."""
        return type(self)(self.loss + other.loss, self.gradient + other.gradient, self.hessian + other.hessian)


@dataclass(frozen=True, eq=False)
class NewtonFit:
    """Coefficients float64 [m + 1], the intercept last; steps; and whether they were enough."""

    w: Float64
    steps: int
    has_converged: bool


def takes_newton(params: Mapping[str, Any]) -> bool:
    """Whether `LogisticRegression` with these parameters has the optimum of this method."""
    return set(params) <= PARAMETERS and params.get("solver", "lbfgs") in SOLVERS and 0 < params.get("C", 1.0) < np.inf


def fit_newton(batches: Batches[Labelled], features: int, params: Mapping[str, Any], start: Float64 | None = None) -> NewtonFit:
    """Fit coefficients.

    Args:
        batches: the rows, read once for each step.
        features: m.
        params: of `LogisticRegression`; `C`, `fit_intercept` and `max_iter` count.
        start: float64 [m + 1], where to begin; None: at 0.
    """
    w = np.zeros(features + 1) if start is None else start
    free = slice(features + params.get("fit_intercept", True))
    penalty = np.append(np.full(features, 1.0 / params.get("C", 1.0)), 0.0)
    sums = _sums_at(w, batches, penalty)
    for passes in range(1, params.get("max_iter", 100) + 1):
        step = np.zeros(len(w))
        # One-hot columns add up to the intercept's, so a system can be nearly singular: of its solutions the smallest.
        step[free] = np.linalg.lstsq(sums.hessian[free, free], -sums.gradient[free], rcond=None)[0]
        if float(-(sums.gradient @ step)) <= CONVERGED:
            return NewtonFit(w + step, passes, has_converged=True)
        length, further = 1.0, _sums_at(w + step, batches, penalty)
        while further.loss > sums.loss + ROUNDING * abs(sums.loss) and length > SHORTEST:  # too far: half the way
            length /= 2
            further = _sums_at(w + length * step, batches, penalty)
        w, sums = w + length * step, further
    return NewtonFit(w, passes, has_converged=False)


def _sums_at(w: Float64, batches: Batches[Labelled], penalty: Float64) -> NewtonSums:
    start = NewtonSums(float(w @ (penalty * w)) / 2, penalty * w, np.diag(penalty))
    return start.merge(batches.total(partial(NewtonSums.of, w)))

"""From a model's scores to probabilities that mean what they say, on rows that the model was not fitted on.

Centred isotonic regression (Oron, Flournoy 2017): isotonic regression (pool adjacent violators) gives blocks of equal
probability; each block keeps its probability at its mean score only, and lines join them. So the map is strictly
increasing: rows that the model ranks stay ranked (but for scores that float64 can hardly tell apart). Beside it Platt's (2000)
and beta calibration (Kull, Silva Filho, Flach 2017), for comparison and for small tables. How they were compared:
docs/decisions/0007.
"""

import bisect
import itertools
import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Literal, Self, get_args

import numpy as np
import numpy.typing as npt

from sporeprint.stats.special import expit

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int8]
Method = Literal["isotonic", "platt", "beta", "none"]

#: Scores nearer to each other than this are one.
CLOSE = 1e-12


@dataclass(frozen=True)
class Calibration:
    """A strictly increasing map from scores to probabilities.

    Attributes:
        method: isotonic, platt, beta or none.
        rows: rows it was fitted on.
        x: knots of the isotonic map, strictly increasing, from 0 to 1; empty for the others.
        y: probabilities there, strictly increasing.
        weights: platt and beta: factors of log(s), of -log(1 - s), and the constant, where s is the squeezed score.
        edge: platt and beta: scores are squeezed from 0 ... 1 to edge ... 1 - edge, so that they have a logarithm.
    """

    method: Method
    rows: int = 0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    weights: tuple[float, float, float] = (1.0, 1.0, 0.0)
    edge: float = 0.0

    def __post_init__(self) -> None:
        if self.method == "isotonic" and not (
            len(self.x) == len(self.y) > 1 and _increasing(self.x) and _increasing(self.y) and (self.x[0], self.x[-1]) == (0.0, 1.0)
        ):
            raise ValueError("an isotonic calibration needs knots from 0 to 1, both coordinates strictly increasing")
        if self.method == "isotonic" and not 0 <= self.y[0] <= self.y[-1] <= 1:
            raise ValueError("an isotonic calibration needs probabilities from 0 to 1")
        a, b, c = self.weights
        if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c) and a > 0 and b > 0 and 0 <= self.edge < 0.5):
            raise ValueError("a calibration needs finite weights, the first two above 0, and an edge from 0 to below 0.5")

    def __call__(self, scores: Float64) -> Float64:
        """Probabilities of n scores: float64 [n], from 0 to 1."""
        if self.method == "none":
            return scores
        if self.method == "isotonic":
            return np.interp(scores, *self._knots)
        a, b, c = self.weights
        squeezed = _squeezed(scores, self.edge)
        probabilities: Float64 = expit(a * np.log(squeezed) - b * np.log1p(-squeezed) + c)
        return probabilities

    def of_score(self, score: float) -> float:
        """The probability of one score, without the cost of an array of one."""
        if self.method != "isotonic":
            return float(self(np.array([score]))[0])
        right = bisect.bisect_right(self.x, score)
        if not 0 < right < len(self.x):
            return self.y[min(right, len(self.x) - 1)]
        left = right - 1
        slope = (self.y[right] - self.y[left]) / (self.x[right] - self.x[left])
        return slope * (score - self.x[left]) + self.y[left]

    @cached_property
    def _knots(self) -> tuple[Float64, Float64]:
        return np.array(self.x), np.array(self.y)

    def to_json(self) -> str:
        """JSON that reads back as the same map; equal maps give equal text."""
        return json.dumps({"format": 1, **asdict(self)}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the text is no calibration.
        """
        try:
            raw = json.loads(text)
            version, method, (a, b, c) = raw["format"], raw["method"], (float(number) for number in raw["weights"])
            calibration = cls(
                method, int(raw["rows"]), tuple(map(float, raw["x"])), tuple(map(float, raw["y"])), (a, b, c), float(raw["edge"])
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"not a calibration of format 1: {error}") from error
        if version != 1 or method not in get_args(Method):
            raise ValueError(f"not a calibration of format 1: format {version!r}, method {method!r}")
        return calibration


def _increasing(numbers: tuple[float, ...]) -> bool:
    return all(math.isfinite(number) for number in numbers) and all(a < b for a, b in itertools.pairwise(numbers))


def fit_calibration(scores: Float64, y: Labels, method: Method = "isotonic") -> Calibration:
    """Fit a calibration.

    Args:
        scores: float64 [n], the model's scores of rows that it was not fitted on.
        y: int8 [n], 1 for positive.
        method: see the module.

    Returns:
        The map. The identity where the rows are of one class, or none: nothing can be learnt from them.
    """
    if method == "none" or len(np.unique(y)) < 2:
        return Calibration("none", len(y))
    return _isotonic(scores, y) if method == "isotonic" else _logistic(scores, y, method)


def _isotonic(scores: Float64, y: Labels) -> Calibration:
    from scipy.optimize import isotonic_regression

    order = np.argsort(scores, kind="stable")
    scores, labels = scores[order], y[order].astype(np.float64)
    # Rows of one score are one observation: pooling must not depend on their order.
    first = np.flatnonzero(np.r_[True, scores[1:] != scores[:-1]])
    weight = np.diff(np.r_[first, len(scores)]).astype(np.float64)
    value = np.add.reduceat(labels, first) / weight
    pooled = isotonic_regression(value, weights=weight)
    starts = pooled.blocks[:-1]
    blocks = np.add.reduceat(weight, starts)
    centre = np.add.reduceat(scores[first] * weight, starts) / blocks
    share = pooled.x[starts]
    # The first block may have no positive row and the last no negative one. How sure that makes, their size says.
    floor, ceiling = 0.5 / (blocks[0] + 1), 1 - 0.5 / (blocks[-1] + 1)
    if len(share) > 1:
        floor, ceiling = min(floor, share[1] / 2), max(ceiling, (1 + share[-2]) / 2)
    share = share.clip(floor, ceiling)
    x, p = _strict(np.r_[0.0, centre, 1.0], np.r_[share[0] / 2, share, (1 + share[-1]) / 2])
    return Calibration("isotonic", len(y), tuple(x.tolist()), tuple(p.tolist()))


def _strict(x: Float64, p: Float64) -> tuple[Float64, Float64]:
    """The knots without those that do not rise: a block at 0 or 1 stands for the end, and lines must not be all but upright."""
    x = np.where(x < CLOSE, 0.0, np.where(x > 1 - CLOSE, 1.0, x))
    keep = np.r_[x[0] < x[1], np.ones(len(x) - 2, dtype=bool), x[-2] < x[-1]]
    x, p = x[keep], p[keep]
    rising = np.r_[True, (np.diff(x) > CLOSE) & (np.diff(p) > 0)]
    return x[rising], p[rising]


def _logistic(scores: Float64, y: Labels, method: Method) -> Calibration:
    from scipy.optimize import minimize

    # A tree's leaf says 0 or 1; that it is so sure of it counts as much as so many rows can bear out, not without end.
    edge = 0.5 / (len(y) + 1)
    squeezed = _squeezed(scores, edge)
    up, down = np.log(squeezed), -np.log1p(-squeezed)
    positives = float(y.sum())
    # Platt's targets: a class of n rows is never taken as certain.
    target = np.where(y == 1, (positives + 1) / (positives + 2), 1 / (len(y) - positives + 2))

    def loss(w: Float64) -> tuple[float, Float64]:
        a, b = np.exp(w[0]), np.exp(w[0] if method == "platt" else w[1])
        z = a * up + b * down + w[2]
        gap = expit(z) - target
        slope = np.array([(gap * a * up).sum(), (gap * b * down).sum(), gap.sum()])
        if method == "platt":
            slope = np.array([slope[0] + slope[1], 0.0, slope[2]])
        return float((np.logaddexp(0, z) - target * z).sum()) / len(y), slope / len(y)

    w = minimize(loss, np.zeros(3), jac=True, method="L-BFGS-B").x
    a, b = float(np.exp(w[0])), float(np.exp(w[0] if method == "platt" else w[1]))
    return Calibration(method, len(y), weights=(a, b, float(w[2])), edge=edge)


def _squeezed(scores: Float64, edge: float) -> Float64:
    return edge + (1 - 2 * edge) * scores

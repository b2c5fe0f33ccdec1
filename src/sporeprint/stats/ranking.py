"""How well scores order the rows: ROC and precision-recall, from counts at each distinct score."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows counted by score, from the highest of k distinct scores on.

    Attributes:
        positive: int64 [k], positives at each score.
        negative: int64 [k], negatives at each score.
    """

    positive: Int64
    negative: Int64

    @property
    def positives(self) -> int:
        """Rows of the positive class."""
        return int(self.positive.sum())

    @property
    def negatives(self) -> int:
        """Rows of the negative class."""
        return int(self.negative.sum())


def falling(p: Float64) -> npt.NDArray[np.intp]:
    """Indices of the rows by falling score; rows of one score keep their order."""
    return np.argsort(-p, kind="stable")


def ends(p: Float64) -> npt.NDArray[np.intp]:
    """Of sorted scores: the index of the last row of each distinct one."""
    return np.append(np.flatnonzero(np.diff(p)), len(p) - 1)


def rank(y: npt.NDArray[np.int8], p: Float64) -> Ranking:
    """Count the rows at each score.

    Args:
        y: 0 or 1 [n].
        p: scores [n].
    """
    order = falling(p)
    last = ends(p[order])
    positives = np.cumsum(y[order], dtype=np.int64)[last]
    rows = last.astype(np.int64) + 1
    return Ranking(np.diff(positives, prepend=0), np.diff(rows - positives, prepend=0))


def roc_auc(ranking: Ranking) -> float:
    """P(a positive scores above a negative), ties counting half (Mann & Whitney 1947); NaN for rows of one class."""
    pairs = ranking.positives * ranking.negatives
    if pairs == 0:
        return math.nan
    above = np.cumsum(ranking.positive) - ranking.positive
    return float(np.dot(ranking.negative, 2 * above + ranking.positive)) / (2 * pairs)


def average_precision(ranking: Ranking) -> float:
    """PR AUC: precision at each score, weighted by the positives there, without interpolation; NaN for rows of one class."""
    if ranking.positives * ranking.negatives == 0:
        return math.nan
    positives = np.cumsum(ranking.positive)
    rows = positives + np.cumsum(ranking.negative)
    return float(np.dot(ranking.positive, positives / rows)) / ranking.positives


def average_precision_error(ranking: Ranking) -> float:
    """Standard error of the average precision over independent rows, linearised.

    The influence of a row of class y and score s: y / share of positives * (precision(s) - AP), plus what the row does to the
    precision at the positives' scores t <= s: mean over the positives of [t <= s] (y - precision(t)) / (rows with a score >= t)
    * n. The infinitesimal jackknife (Efron 1982): the error is the root of the sum of squares, over n.
    """
    positives, total = ranking.positives, ranking.positives + ranking.negatives
    if positives * ranking.negatives == 0:
        return math.nan
    above = np.cumsum(ranking.positive)
    rows = above + np.cumsum(ranking.negative)
    precision = above / rows
    area = np.dot(ranking.positive, precision) / positives

    def below(term: Float64) -> Float64:
        """Sum over the positives at this score and below."""
        return np.cumsum((ranking.positive * term)[::-1])[::-1]

    shared = -below(precision / rows)
    negative = shared * total / positives
    positive = (precision - area + shared + below(1 / rows)) * total / positives
    squares = np.dot(ranking.positive, positive**2) + np.dot(ranking.negative, negative**2)
    return float(math.sqrt(squares) / total)


def roc_points(ranking: Ranking) -> tuple[Float64, Float64]:
    """The ROC curve from (0, 0) to (1, 1): false and true positive rate at each score; empty for rows of one class."""
    if ranking.positives * ranking.negatives == 0:
        return np.empty(0), np.empty(0)
    false = np.append(0, np.cumsum(ranking.negative)) / ranking.negatives
    return false, np.append(0, np.cumsum(ranking.positive)) / ranking.positives


def pr_points(ranking: Ranking) -> tuple[Float64, Float64]:
    """The precision-recall curve from recall 0, precision 1 on: recall and precision at each score; empty for rows of one class."""
    if ranking.positives * ranking.negatives == 0:
        return np.empty(0), np.empty(0)
    positives = np.cumsum(ranking.positive)
    precision = positives / (positives + np.cumsum(ranking.negative))
    return np.append(0, positives) / ranking.positives, np.append(1, precision)


def thin(x: Float64, y: Float64, limit: int) -> tuple[Float64, Float64]:
    """At most `limit` points of a curve, evenly spread along its length (|dx| + |dy|), both ends kept."""
    if len(x) <= limit:
        return x, y
    length = np.append(0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    places = np.searchsorted(length, np.linspace(0, length[-1], limit))
    places[0], places[-1] = 0, len(x) - 1
    places = np.unique(places)
    return x[places], y[places]

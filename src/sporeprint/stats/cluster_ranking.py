"""ROC AUC and average precision when whole groups of rows are weighted, as the cluster bootstrap does."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sporeprint.stats import ranking
from sporeprint.stats.metrics import ratio

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]

#: More pairs of groups than this are not counted pair by pair.
PAIRS = 1_000_000
#: Numbers worked on at a time, few enough for the processor's cache.
CACHE = 262_144


@dataclass(frozen=True, slots=True)
class GroupedRanking:
    """Positives and negatives by falling score, with their groups 0 ... g-1.

    Attributes:
        positive: [P], group of each positive.
        negative: [N], group of each negative.
        above: [P], number of negatives that score above the positive.
        beside: [P], number of negatives that score above it or the same.
        last: [P], index of the last positive of the same score; None where no two positives score the same.
        groups: g.
    """

    positive: Index
    negative: Index
    above: Index
    beside: Index
    last: Index | None
    groups: int


def rank(y: npt.NDArray[np.int8], p: Float64, group: Index, groups: int) -> GroupedRanking:
    """Order rows by score.

    Args:
        y: 0 or 1 [n].
        p: scores [n].
        group: 0 ... groups-1 [n].
        groups: number of groups.
    """
    order = ranking.falling(p)
    truth, group = y[order] == 1, group[order]
    last = ranking.ends(p[order])
    end = np.repeat(last, np.diff(last, prepend=-1))
    start = np.repeat(np.append(0, last[:-1] + 1), np.diff(last, prepend=-1))
    negatives = np.append(0, np.cumsum(~truth))
    last_positive = np.cumsum(truth)[end[truth]] - 1
    untied = np.array_equal(last_positive, np.arange(len(last_positive)))
    return GroupedRanking(
        positive=group[truth],
        negative=group[~truth],
        above=negatives[start[truth]],
        beside=negatives[end[truth] + 1],
        last=None if untied else last_positive,
        groups=groups,
    )


def concordance(ranked: GroupedRanking) -> Float64:
    """Pairs in the right order: float64 [g, g].

    Element (a, b): pairs of a positive of group a and a negative of group b in which the positive scores higher; ties are half
    a pair. With the groups weighted by w, ROC AUC is w' A w / (w'P)(w'N), P and N the classes' rows by group (the two-sample
    U-statistic for clusters: Obuchowski 1997).
    """
    pairs = np.zeros((ranked.groups, ranked.groups))
    if len(ranked.positive) == 0:
        return pairs
    by_group = np.argsort(ranked.positive, kind="stable")
    a, first = np.unique(ranked.positive[by_group], return_index=True)
    above, beside = ranked.above[by_group], ranked.beside[by_group]
    sizes = np.diff(first, append=len(by_group))[:, np.newaxis]
    columns = np.unique(ranked.negative)
    step = max(1, CACHE * 8 // (len(ranked.negative) + 1))
    for start in range(0, len(columns), step):
        b = columns[start : start + step]
        passed = np.zeros((len(ranked.negative) + 1, len(b)), dtype=np.int32)
        np.cumsum(ranked.negative[:, np.newaxis] == b, axis=0, out=passed[1:])
        higher = np.add.reduceat(passed[above] + passed[beside], first, axis=0)
        pairs[np.ix_(a, b)] = sizes * passed[-1] - higher / 2
    return pairs


def roc_auc(ranked: GroupedRanking, weights: Int64) -> Float64:
    """ROC AUC under each row of weights, exact; NaN where only one class has weight.

    Args:
        ranked: the rows.
        weights: whole numbers [B, g].

    Returns:
        float64 [B].
    """
    positives = np.bincount(ranked.positive, minlength=ranked.groups)
    negatives = np.bincount(ranked.negative, minlength=ranked.groups)
    if np.count_nonzero(positives) * np.count_nonzero(negatives) > PAIRS:
        return _portions(_roc_auc_by_rows, ranked, weights)
    w = weights.astype(np.float64)
    right = np.einsum("bh,bh->b", w @ concordance(ranked), w)
    return ratio(right, (w @ positives) * (w @ negatives))


def average_precision(ranked: GroupedRanking, weights: Int64) -> Float64:
    """Average precision under each row of weights, exact, by cumulative sums; NaN where only one class has weight.

    Args:
        ranked: the rows.
        weights: whole numbers [B, g].

    Returns:
        float64 [B].
    """
    return _portions(_average_precision_by_rows, ranked, weights)


def _portions(function: Callable[[GroupedRanking, Int64], Float64], ranked: GroupedRanking, weights: Int64) -> Float64:
    rows = len(ranked.positive) + len(ranked.negative)
    step = max(1, CACHE // rows)
    # Whole numbers of 4 bytes are added twice as fast as float64; the type must hold the weight of all rows of a replicate.
    largest = int(weights.max(initial=0)) * rows
    weights = weights.astype(np.int32 if largest < 2**31 else np.int64)
    return np.concatenate([function(ranked, weights[start : start + step]) for start in range(0, len(weights), step)])


def _average_precision_by_rows(ranked: GroupedRanking, weights: Int64) -> Float64:
    weight, passed = _weights_by_row(ranked, weights)
    positives = np.cumsum(weight, axis=1, dtype=weights.dtype)
    reached = positives if ranked.last is None else positives.take(ranked.last, axis=1)
    # A positive above which nothing has weight has none itself: 0 times anything, but not 0/0.
    precision = reached / np.maximum(reached + passed.take(ranked.beside, axis=1), 1)
    area = np.einsum("bi,bi->b", weight, precision)
    return np.where(passed[:, -1] > 0, ratio(area, weight.sum(axis=1)), np.nan)


def _roc_auc_by_rows(ranked: GroupedRanking, weights: Int64) -> Float64:
    weight, passed = _weights_by_row(ranked, weights)
    higher = passed.take(ranked.above, axis=1).astype(np.float64) + passed.take(ranked.beside, axis=1)
    total = passed[:, -1].astype(np.float64)
    positives = weight.sum(axis=1, dtype=np.float64)
    right = positives * total - np.einsum("bi,bi->b", weight, higher) / 2
    return ratio(right, positives * total)


def _weights_by_row(ranked: GroupedRanking, weights: Int64) -> tuple[Int64, Int64]:
    """The positives' weights [B, P], and the negatives' summed from the highest score on [B, N + 1]."""
    passed = np.zeros((len(weights), len(ranked.negative) + 1), dtype=weights.dtype)
    np.cumsum(weights.take(ranked.negative, axis=1), axis=1, out=passed[:, 1:])
    return weights.take(ranked.positive, axis=1), passed

"""Which whole groups are held out together."""

from itertools import product

import numpy as np
import numpy.typing as npt

Int64 = npt.NDArray[np.int64]


def assign(counts: Int64, *, folds: int, seed: int) -> Int64:
    """Deal whole groups to folds so that every fold has its share of each class.

    The largest group goes first, each to the fold where it adds least to the sum over the classes of the squared shares of the
    folds; then to the one with fewest rows (longest processing time first, Graham 1969, in as many dimensions as classes).
    Where that leaves all rows of a class in one fold, the smallest group that can changes folds.

    Args:
        counts: int64 [groups, 2], rows of each class, each held by at least 2 groups. The order of the groups must not depend on
            the order of the rows.
        folds: number of folds, at most the number of groups.
        seed: order of groups of one size.

    Returns:
        int64 [groups], fold of each group.
    """
    shuffled = np.random.default_rng(seed).permutation(len(counts))
    order = shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]
    share = counts / np.maximum(counts.sum(axis=0), 1)
    filled, rows = np.zeros((folds, counts.shape[1])), np.zeros(folds)
    fold = np.empty(len(counts), dtype=np.int64)
    for group in order:
        crowded = filled @ share[group]
        nearly_least = np.flatnonzero(crowded <= crowded.min() + 1e-12)
        chosen = nearly_least[rows[nearly_least].argmin()]
        fold[group] = chosen
        filled[chosen] += share[group]
        rows[chosen] += counts[group].sum()
    return _spread(fold, counts, folds)


def _spread(fold: Int64, counts: Int64, folds: int) -> Int64:
    """Move single groups until no class is in one fold alone. With two classes held by two groups or more, one always can move."""
    by_size = np.argsort(counts.sum(axis=1), kind="stable")
    while alone := _alone(fold, counts):
        moves = (_moved(fold, group, target) for group, target in product(by_size, range(folds)))
        fold = next(moved for moved in moves if _alone(moved, counts) < alone)
    return fold


def _moved(fold: Int64, group: int, target: int) -> Int64:
    moved = fold.copy()
    moved[group] = target
    return moved


def _alone(fold: Int64, counts: Int64) -> int:
    """How many classes have all their rows in one fold."""
    return sum(bool(np.ptp(fold[counts[:, label] > 0]) == 0) for label in range(counts.shape[1]))

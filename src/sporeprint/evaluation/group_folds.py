"""Folds of whole groups, balanced by class and rows."""

import numpy as np
import numpy.typing as npt

from sporeprint.evaluation.arguments import Labels, checked_labels, indexed_groups
from sporeprint.evaluation.scorecard import Unavailable
from sporeprint.stats.folds import assign
from sporeprint.stats.group_totals import crossed


def group_folds(groups: npt.NDArray[np.int64], y: Labels, *, folds: int, seed: int) -> npt.NDArray[np.int64] | Unavailable:
    """Deal whole groups to folds, balanced by class and rows, so that both classes are left when a fold is held out.

    With fewer groups than folds there are as many folds as groups. The order of the rows does not matter.

    Args:
        groups: group of each row [n].
        y: 1 for the positive class, else 0 [n].
        folds: number of folds, at least 2.
        seed: order of groups of one size.

    Returns:
        int64 [n], fold of each row, from 0; or why there are none.

    Raises:
        ValueError: if an argument is out of its range, or lengths differ.
    """
    if folds < 2:
        raise ValueError(f"folds: expected at least 2, got {folds}")
    y = checked_labels(y)
    _, group = indexed_groups(groups, len(y), least=1)
    counts = crossed(group, y.astype(np.intp), (int(group.max()) + 1, 2)).astype(np.int64)
    for name, holding in zip(("negative", "positive"), np.count_nonzero(counts, axis=0).tolist(), strict=True):
        if holding < 2:
            have = "no group has" if holding == 0 else "only 1 group has"
            return Unavailable(f"{have} rows of the {name} class; at least 2 must, so that one can be held out and one learnt from")
    return assign(counts, folds=min(folds, len(counts)), seed=seed)[group]

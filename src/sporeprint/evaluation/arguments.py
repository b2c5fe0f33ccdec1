"""Arguments of the evaluation checked: labels, scores, groups and levels, each fault named with its value."""

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int8]
Scores = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


def check_levels(confidence: float, replicates: int) -> None:
    """Refuse a level outside 0 to 1, and fewer than one replicate."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: expected a number between 0 and 1, got {confidence}")
    if replicates < 1:
        raise ValueError(f"replicates: expected at least 1, got {replicates}")


def checked_labels(y: Labels) -> Labels:
    """Labels as int8 [n]: 0 or 1, at least one."""
    y = np.asarray(y)
    if y.ndim != 1 or len(y) == 0:
        raise ValueError(f"y: expected at least one row in one dimension, got shape {y.shape}")
    wrong = (y != 0) & (y != 1)
    if wrong.any():
        raise ValueError(f"y: expected 0 or 1, got {y[wrong][0]} in row {np.flatnonzero(wrong)[0]}")
    return y.astype(np.int8)


def checked_rows(y: Labels, p: Scores, threshold: float, name: str = "p") -> tuple[Labels, Scores]:
    """Labels and scores of the same rows: int8 [n] and float64 [n], from 0 to 1."""
    y, p = checked_labels(y), np.asarray(p, dtype=np.float64)
    if p.shape != y.shape:
        raise ValueError(f"{name}: expected as many scores as y has rows, {len(y)}, got shape {p.shape}")
    # Written so that NaN is wrong too.
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        raise ValueError(f"{name}: expected probabilities from 0 to 1, got {p[wrong][0]} in row {np.flatnonzero(wrong)[0]}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold: expected a number from 0 to 1, got {threshold}")
    return y, p


def indexed_groups(groups: npt.NDArray[np.integer], rows: int, least: int = 2) -> tuple[npt.NDArray[np.int64], Index]:
    """The groups' numbers, rising, and each row's index among them."""
    groups = np.asarray(groups)
    if groups.shape != (rows,):
        raise ValueError(f"groups: expected one for each of the {rows} rows of y, got shape {groups.shape}")
    if not np.issubdtype(groups.dtype, np.integer):
        raise ValueError(f"groups: expected whole numbers, got {groups.dtype}")
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < least:
        raise ValueError(f"groups: expected at least {least} different ones, got {len(names)}")
    return names.astype(np.int64), group

"""A guard to which empty cells say nothing: what it would be worth on rows whose empty cells do not follow the table's.

In a table made from a book a species lacks the same columns in all its rows, so the pattern of empty cells gives it away. A
mushroom in the hand has no such pattern. Every share is taken anew among the rows that have a value, and a missing value adds
nothing to the log-likelihood.
"""

from dataclasses import replace

import numpy as np

from sporeprint.data.dataset import Observations
from sporeprint.safety.novelty_guard import Guard, own_medians


def ignoring_missing(guard: Guard, rows: Observations) -> Guard:
    """The same guard without what a missing value says; not calibrated anew.

    Args:
        guard: its components are declared groups.
        rows: the rows it was fitted on, with their group.
    """
    if rows.group is None or (guard.names < 0).any():
        raise ValueError("the rows' groups are needed, and a guard whose components they are")
    weights = guard.weights.copy()
    at = 1
    for values in guard.categories.values():
        present = np.log(-np.expm1(weights[at + 1]))
        weights[at : at + len(values) + 2] -= present
        weights[at + 1] = 0.0
        at += len(values) + 2
    for first in range(at, len(weights), 4):
        weights[first + 1] -= np.log(-np.expm1(weights[first]))
        weights[first] = 0.0
    weights[0] = 0.0
    changed = replace(guard, weights=weights)
    component = np.searchsorted(guard.names, rows.group).astype(np.intp)
    changed.weights[0] = -own_medians(changed, rows.codes, component)
    return changed

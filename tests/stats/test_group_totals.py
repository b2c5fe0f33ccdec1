import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats import metrics
from sporeprint.stats.group_totals import GroupTotals, crossed

Row = tuple[int, float, int]
ROWS = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1), st.integers(0, 3)), min_size=1, max_size=40)


def split(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, p, group = (np.array(column) for column in zip(*rows, strict=True))
    return y.astype(np.int8), p.astype(float), np.unique(group, return_inverse=True)[1]


@given(ROWS, st.lists(st.integers(0, 3), min_size=4, max_size=4).filter(any))
def test_weighting_groups_is_repeating_their_rows(rows: list[Row], drawn: list[int]) -> None:
    y, p, group = split(rows)
    totals = GroupTotals.of(y, p, group, 0.5)
    weights = np.array(drawn[: totals.groups])
    repeated = np.repeat(np.arange(len(y)), weights[group])
    if len(repeated) == 0:
        return
    y, p = y[repeated], p[repeated]
    counts = metrics.confusion(y, p, 0.5)
    found = totals.weighted(weights[np.newaxis])
    for name in ("accuracy", "precision", "recall", "f1", "mcc"):
        assert float(found[name][0]) == pytest.approx(float(getattr(metrics, name)(counts)), abs=1e-12, nan_ok=True)
    assert found["brier"][0] == pytest.approx(metrics.squared_errors(y, p).mean(), abs=1e-12)
    assert found["log_loss"][0] == pytest.approx(metrics.log_losses(y, p).mean(), rel=1e-12)
    assert found["gaps"][0] == pytest.approx(metrics.calibration_gaps(y, p), abs=1e-12)


def test_supports_count_the_groups_with_a_say() -> None:
    y, p, group = np.array([0, 0, 0, 1, 1, 1], dtype=np.int8), np.array([0.1, 0.9, 0.1, 0.1, 0.9, 0.2]), np.array([0, 1, 2, 3, 4, 0])
    supports = GroupTotals.of(y, p, group, 0.5).supports()
    assert supports == {"precision": 2, "recall": 3, "f1": 4, "roc_auc": 3, "pr_auc": 3}


def test_values_are_those_of_all_rows() -> None:
    y, p, group = np.array([0, 1, 1], dtype=np.int8), np.array([0.2, 0.7, 0.4]), np.array([0, 1, 1])
    totals = GroupTotals.of(y, p, group, 0.5)
    assert totals.values()["accuracy"] == pytest.approx(2 / 3)
    assert totals.values()["recall"] == 0.5
    assert "gaps" not in totals.values()
    assert totals.mean_gaps() == pytest.approx(metrics.calibration_gaps(y, p))
    assert math.isclose(totals.values()["brier"], metrics.squared_errors(y, p).mean())


def test_crossed_counts_pairs() -> None:
    row, column = np.array([0, 0, 1]), np.array([2, 2, 0])
    assert crossed(row, column, (2, 3)).tolist() == [[0, 0, 2], [1, 0, 0]]
    assert crossed(row, column, (2, 3), np.array([0.5, 0.25, -1.0])).tolist() == [[0, 0, 0.75], [-1, 0, 0]]

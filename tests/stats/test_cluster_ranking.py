import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from sporeprint.stats import cluster_ranking as clusters

Row = tuple[int, float, int]
GROUPS = 5
ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 12).map(lambda score: score / 12), st.integers(0, GROUPS - 1)), min_size=1, max_size=60
)
WEIGHTS = st.lists(st.integers(0, 4), min_size=GROUPS, max_size=GROUPS)


def split(rows: list[Row]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, p, group = (np.array(column) for column in zip(*rows, strict=True))
    return y.astype(np.int8), p.astype(float), group.astype(np.intp)


@given(ROWS, st.lists(WEIGHTS, min_size=1, max_size=4))
def test_weighted_areas_are_those_of_scikit_learn(rows: list[Row], drawn: list[list[int]]) -> None:
    y, p, group = split(rows)
    weights = np.array(drawn)
    ranked = clusters.rank(y, p, group, GROUPS)
    found = zip(clusters.roc_auc(ranked, weights), clusters.average_precision(ranked, weights), weights, strict=True)
    for area, precision, weight in found:
        by_row = weight[group]
        if len(set(y[by_row > 0].tolist())) < 2:
            assert math.isnan(area)
            assert math.isnan(precision)
        else:
            assert area == pytest.approx(roc_auc_score(y, p, sample_weight=by_row), abs=1e-12)
            assert precision == pytest.approx(average_precision_score(y, p, sample_weight=by_row), abs=1e-12)


@given(ROWS)
def test_concordance_by_hand(rows: list[Row]) -> None:
    y, p, group = split(rows)
    expected = np.zeros((GROUPS, GROUPS))
    for i in np.flatnonzero(y == 1):
        for j in np.flatnonzero(y == 0):
            expected[group[i], group[j]] += (p[i] > p[j]) + (p[i] == p[j]) / 2
    assert np.array_equal(clusters.concordance(clusters.rank(y, p, group, GROUPS)), expected)


@pytest.mark.parametrize("limit", ["PAIRS", "CACHE"])
def test_many_groups_and_small_portions_change_nothing(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    draw = np.random.default_rng(1)
    y, p, group = (draw.random(900) < 0.4).astype(np.int8), draw.integers(0, 300, 900) / 300, draw.integers(0, 50, 900)
    ranked = clusters.rank(y, p, group, 50)
    weights = draw.multinomial(50, np.full(50, 1 / 50), size=20)
    area, precision = clusters.roc_auc(ranked, weights), clusters.average_precision(ranked, weights)
    monkeypatch.setattr(clusters, limit, 0)
    assert clusters.roc_auc(ranked, weights) == pytest.approx(area, abs=1e-12)
    assert clusters.average_precision(ranked, weights) == pytest.approx(precision, abs=1e-12)


def test_weights_beyond_four_bytes() -> None:
    y, p, group = np.array([1, 0, 1, 0], dtype=np.int8), np.array([0.9, 0.8, 0.7, 0.6]), np.array([0, 0, 1, 1])
    ranked = clusters.rank(y, p, group, 2)
    once, often = np.array([[1, 2]]), np.array([[1, 2]]) * 2**31
    assert clusters.average_precision(ranked, often) == pytest.approx(clusters.average_precision(ranked, once))

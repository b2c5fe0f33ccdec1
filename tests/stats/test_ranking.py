import json
import math
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from sporeprint.stats import ranking

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 30).map(lambda score: score / 30)), min_size=2, max_size=80)
GOLDEN = Path(__file__).parents[1] / "golden" / "intervals_statsmodels.json"


def split(rows: list[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([y for y, _ in rows], dtype=np.int8), np.array([p for _, p in rows])


@given(ROWS.filter(lambda rows: len({y for y, _ in rows}) == 2))
def test_areas_and_curves_are_those_of_scikit_learn(rows: list[tuple[int, float]]) -> None:
    y, p = split(rows)
    ranked = ranking.rank(y, p)
    assert ranking.roc_auc(ranked) == pytest.approx(reference.roc_auc_score(y, p), abs=1e-12)
    assert ranking.average_precision(ranked) == pytest.approx(reference.average_precision_score(y, p), abs=1e-12)
    false, true, _ = reference.roc_curve(y, p, drop_intermediate=False)
    assert np.allclose(ranking.roc_points(ranked), (false, true), atol=1e-12)
    precision, recall, _ = reference.precision_recall_curve(y, p)
    assert np.allclose(ranking.pr_points(ranked), (recall[::-1], precision[::-1]), atol=1e-12)


@given(ROWS, st.randoms())
def test_the_order_of_rows_does_not_matter(rows: list[tuple[int, float]], random: Random) -> None:
    shuffled = random.sample(rows, len(rows))
    one, other = ranking.rank(*split(rows)), ranking.rank(*split(shuffled))
    assert (one.positive.tolist(), one.negative.tolist()) == (other.positive.tolist(), other.negative.tolist())


@given(ROWS.filter(lambda rows: len({y for y, _ in rows}) == 2))
def test_swapping_classes_and_scores_leaves_the_area(rows: list[tuple[int, float]]) -> None:
    y, p = split(rows)
    assert ranking.roc_auc(ranking.rank(1 - y, 1 - p)) == pytest.approx(ranking.roc_auc(ranking.rank(y, p)), abs=1e-12)


@pytest.mark.parametrize("truth", [0, 1])
def test_rows_of_one_class_have_no_areas_and_no_curves(truth: int) -> None:
    ranked = ranking.rank(np.full(3, truth, dtype=np.int8), np.array([0.1, 0.2, 0.2]))
    assert math.isnan(ranking.roc_auc(ranked))
    assert math.isnan(ranking.average_precision(ranked))
    assert math.isnan(ranking.average_precision_error(ranked))
    assert [len(axis) for axis in (*ranking.roc_points(ranked), *ranking.pr_points(ranked))] == [0, 0, 0, 0]


def test_the_error_of_the_average_precision_is_near_the_jackknife() -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))["jackknifed_average_precision"]
    ranked = ranking.rank(np.array(golden["y"], dtype=np.int8), np.array(golden["p"]))
    assert ranking.average_precision_error(ranked) == pytest.approx(golden["standard_error"], rel=0.02)


def test_a_perfect_ranking_has_no_error() -> None:
    ranked = ranking.rank(np.array([0, 0, 1, 1], dtype=np.int8), np.array([0.1, 0.2, 0.8, 0.9]))
    assert ranking.average_precision_error(ranked) == pytest.approx(0, abs=1e-12)


def test_thin_keeps_the_ends_and_the_shape() -> None:
    x = np.linspace(0, 1, 5001)
    thin_x, thin_y = ranking.thin(x, np.sqrt(x), 400)
    assert len(thin_x) <= 400
    assert (thin_x[0], thin_x[-1], thin_y[0], thin_y[-1]) == (0, 1, 0, 1)
    assert np.abs(np.interp(x, thin_x, thin_y) - np.sqrt(x)).max() < 0.01
    # A corner has many points on few x: it must not be cut off.
    step_x, step_y = np.r_[np.zeros(1000), np.linspace(0, 1, 1000)], np.r_[np.linspace(0, 1, 1000), np.ones(1000)]
    thin_x, thin_y = ranking.thin(step_x, step_y, 400)
    assert float(np.trapezoid(thin_y, thin_x)) > 0.995


def test_thin_leaves_a_short_curve_alone() -> None:
    x, y = np.array([0.0, 0.5, 1.0]), np.array([0.0, 1.0, 1.0])
    assert ranking.thin(x, y, 400) == (x, y)

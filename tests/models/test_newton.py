"""Newton's method over sums finds scikit-learn's optimum, whatever the batches."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from sporeprint.common.batches import BatchSequence
from sporeprint.models.encoded_rows import EncodedRows
from sporeprint.models.newton import NewtonSums, fit_newton, takes_newton


def rows(count: int, seed: int = 0) -> EncodedRows:
    """One-hot columns, which add up to 1, and a number."""
    draw = np.random.default_rng(seed)
    value = draw.integers(0, 5, count)
    X = np.column_stack([np.eye(5)[value], draw.normal(size=count)]).astype(np.float32)
    y = (draw.random(count) < 1 / (1 + np.exp(-(value - 2 + 3 * X[:, 5])))).astype(np.int8)
    return EncodedRows(X, y)


ROWS = rows(2000)


def parts(cuts: list[int]) -> list[EncodedRows]:
    return [EncodedRows(ROWS.X[part], ROWS.y[part]) for part in np.split(np.arange(2000), sorted(cuts))]


@settings(max_examples=20)
@given(st.lists(st.integers(0, 2000), min_size=1, max_size=4))
def test_sums_of_parts_are_those_of_the_whole(cuts: list[int]) -> None:
    w = np.linspace(-1, 1, 7)
    first, *others = (NewtonSums.of(w, part) for part in parts(cuts))
    for other in others:
        first = first.merge(other)
    whole = NewtonSums.of(w, ROWS)
    assert first.loss == pytest.approx(whole.loss, rel=1e-12)
    np.testing.assert_allclose(first.gradient, whole.gradient, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(first.hessian, whole.hessian, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("params", [{}, {"C": 0.01}, {"C": 100.0}, {"fit_intercept": False}])
def test_the_optimum_is_scikit_learns(params: dict[str, Any]) -> None:
    expected = LogisticRegression(**params, tol=1e-13, max_iter=10_000, solver="newton-cholesky").fit(ROWS.X.astype(np.float64), ROWS.y)
    found = fit_newton(BatchSequence(parts([300, 1100])), 6, params)
    assert found.has_converged
    np.testing.assert_allclose(found.w[:-1], expected.coef_[0], atol=1e-6, rtol=1e-6)
    assert found.w[-1] == pytest.approx(float(np.ravel(expected.intercept_)[0]), abs=1e-6)


def test_a_start_saves_steps_and_changes_nothing() -> None:
    cold = fit_newton(ROWS, 6, {})
    warm = fit_newton(ROWS, 6, {}, fit_newton(rows(500, seed=1), 6, {}).w)
    assert warm.steps < cold.steps
    np.testing.assert_allclose(warm.w, cold.w, atol=1e-6)


def test_a_start_far_away_is_left_by_shorter_steps() -> None:
    found = fit_newton(ROWS, 6, {"max_iter": 200}, np.full(7, 30.0))
    assert found.has_converged
    np.testing.assert_allclose(found.w, fit_newton(ROWS, 6, {}).w, atol=1e-6)


def test_too_few_steps_are_said() -> None:
    assert not fit_newton(ROWS, 6, {"max_iter": 1}).has_converged


@pytest.mark.parametrize(
    ("params", "takes"),
    [
        ({}, True),
        ({"solver": "newton-cholesky", "max_iter": 200, "C": 3}, True),
        ({"solver": "liblinear"}, False),
        ({"l1_ratio": 0.5, "solver": "saga"}, False),
        ({"class_weight": "balanced"}, False),
        ({"C": np.inf}, False),
    ],
)
def test_other_optima_are_left_to_scikit_learn(params: dict[str, Any], takes: bool) -> None:
    assert takes_newton(params) == takes

"""Attributions of any score: exact where it is a sum over columns, near brute force elsewhere, and always adding up."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from sporeprint.inference.sampled_attributions import BACKGROUND, Background, log_odds
from sporeprint.models.encoder import Matrix

Scores = npt.NDArray[np.float64]
#: Two matrix columns of the first column, one of each other.
SOURCES = ("a", "a", "b", "c")


@pytest.fixture
def X() -> Matrix:
    draw = np.random.default_rng(3)
    shape = draw.integers(0, 2, 300)
    return np.column_stack([shape, 1 - shape, draw.normal(size=300), draw.normal(size=300)]).astype(np.float32)


def interacting(rows: Matrix) -> Scores:
    wide = rows.astype(np.float64)
    return 1 / (1 + np.exp(-(wide[:, 0] * wide[:, 2] - wide[:, 3] ** 2 + wide[:, 1] * wide[:, 3])))


def brute_force(row: Matrix, rows: Matrix, score: Callable[[Matrix], Scores]) -> dict[str, float]:
    """Shapley values by their definition, over every set of columns and the whole background."""
    names = tuple(dict.fromkeys(SOURCES))
    columns = {name: [place for place, source in enumerate(SOURCES) if source == name] for name in names}

    def value(known: frozenset[str]) -> float:
        mixed = rows.copy()
        for name in known:
            mixed[:, columns[name]] = row[columns[name]]
        return float(score(mixed).mean())

    found = dict.fromkeys(names, 0.0)
    for name in names:
        others = [other for other in names if other != name]
        for size in range(len(names)):
            weight = math.factorial(size) * math.factorial(len(names) - size - 1) / math.factorial(len(names))
            for known in itertools.combinations(others, size):
                found[name] += weight * (value(frozenset({*known, name})) - value(frozenset(known)))
    return found


def test_the_score_of_a_sum_is_attributed_exactly(X: Matrix) -> None:
    weights = np.array([0.7, -0.2, 1.5, -3.0])

    def score(rows: Matrix) -> Scores:
        return np.asarray(rows.astype(np.float64) @ weights)

    background = Background.of(X, SOURCES)
    effects, base = background.contributions(X[:5], score)
    mean = background.rows.astype(np.float64).mean(axis=0)
    expected = (X[:5] - mean) * weights
    assert base == pytest.approx(float(mean @ weights))
    np.testing.assert_allclose(effects[:, 0], expected[:, :2].sum(axis=1), atol=1e-9)
    np.testing.assert_allclose(effects[:, 2:], expected[:, 2:], atol=1e-9)
    assert (effects[:, 1] == 0).all()


def test_another_score_is_attributed_nearly_as_by_its_definition_and_adds_up(X: Matrix) -> None:
    background = Background.of(X, SOURCES)
    effects, base = background.contributions(X[:20], interacting)
    np.testing.assert_allclose(effects.sum(axis=1) + base, interacting(X[:20]), atol=1e-12)
    for row, found in zip(X[:20], effects, strict=True):
        expected = brute_force(row, background.rows, interacting)
        assert found[[0, 2, 3]] == pytest.approx(list(expected.values()), abs=0.03)


def test_many_rows_get_fewer_permutations_and_still_add_up(X: Matrix) -> None:
    rows = np.concatenate([X] * 100)
    effects, base = Background.of(X, SOURCES).contributions(rows, interacting)
    np.testing.assert_allclose(effects.sum(axis=1) + base, interacting(rows), atol=1e-12)


def test_the_same_question_has_the_same_answer_and_comes_back_from_its_file(X: Matrix) -> None:
    background = Background.of(X, SOURCES)
    assert len(background.rows) == BACKGROUND
    back = Background.from_bytes(background.to_bytes())
    assert back.to_bytes() == background.to_bytes() == Background.of(X, SOURCES).to_bytes()
    np.testing.assert_array_equal(back.contributions(X[:3], interacting)[0], background.contributions(X[:3], interacting)[0])


def test_a_damaged_file(X: Matrix) -> None:
    data = Background.of(X, SOURCES).to_bytes()
    with pytest.raises(ValueError, match="no archive"):
        Background.from_bytes(data[:-100])
    with pytest.raises(ValueError, match="do not belong together"):
        Background.from_bytes(Background(X[:3], np.array([0, 1], dtype=np.int64)).to_bytes())


def test_log_odds_are_finite() -> None:
    assert np.isfinite(log_odds(np.array([0.0, 0.5, 1.0]))).all()
    assert log_odds(np.array([0.5]))[0] == 0

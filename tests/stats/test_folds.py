import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats import folds

COUNTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=2, max_size=12)


def held_by_two(counts: list[tuple[int, int]]) -> bool:
    return all(sum(group[label] > 0 for group in counts) >= 2 for label in (0, 1))


@given(COUNTS.filter(held_by_two), st.integers(2, 5), st.integers(0, 100))
def test_no_class_is_in_one_fold_alone(groups: list[tuple[int, int]], number: int, seed: int) -> None:
    counts = np.array(groups)
    fold = folds.assign(counts, folds=number, seed=seed)
    assert fold.min() >= 0
    assert fold.max() < number
    for label in (0, 1):
        assert len(set(fold[counts[:, label] > 0].tolist())) >= 2


@pytest.mark.parametrize(
    "groups",
    [[(2, 1), (16, 0), (0, 16)], [(0, 18), (16, 0), (1, 12), (0, 8), (0, 15)], [(134, 0), (0, 46), (0, 183), (32, 96)]],
    ids=str,
)
def test_where_the_balanced_division_fails_a_group_moves(groups: list[tuple[int, int]]) -> None:
    counts = np.array(groups)
    for seed in range(20):
        fold = folds.assign(counts, folds=2, seed=seed)
        assert all(len(set(fold[counts[:, label] > 0].tolist())) == 2 for label in (0, 1))


def test_equal_groups_of_one_class_are_spread_evenly() -> None:
    counts = np.array([(353, 0)] * 77 + [(0, 353)] * 96)
    fold = folds.assign(counts, folds=5, seed=7)
    assert sorted(np.bincount(fold).tolist()) == [34, 34, 35, 35, 35]
    assert set(np.bincount(fold[:77]).tolist()) == {15, 16}
    assert set(np.bincount(fold[77:]).tolist()) == {19, 20}


def test_groups_of_any_size_are_balanced() -> None:
    draw = np.random.default_rng(1)
    counts = np.column_stack([draw.integers(0, 100, 200), draw.integers(0, 40, 200)])
    fold = folds.assign(counts, folds=5, seed=1)
    shares = np.array([counts[fold == number].sum(axis=0) for number in range(5)]) / counts.sum(axis=0)
    assert np.abs(shares - 0.2).max() < 0.005


def test_the_seed_decides() -> None:
    counts = np.array([(10, 0)] * 20 + [(0, 10)] * 20)
    one, same, other = (folds.assign(counts, folds=4, seed=seed).tolist() for seed in (1, 1, 2))
    assert one == same
    assert one != other

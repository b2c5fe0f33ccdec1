"""What the guard compares a row with: groups as they are, or clusters of one class each."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from safety_support import SCHEMA, VOCABULARY, species
from sporeprint.data.coded_table import Codes
from sporeprint.safety import mixture
from sporeprint.safety.mixture import LEAST_ROWS, MOST_GROUPS, cluster_components, groups_are_usable
from support import NUMERIC, OPEN, codes, dataset, labels, nominal

# --- groups ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "usable"),
    [
        ([2 * LEAST_ROWS] * 5, True),
        ([2 * LEAST_ROWS - 1] * 5, False),
        ([1, 1, *[2 * LEAST_ROWS] * 3], True),
        ([2 * LEAST_ROWS] * MOST_GROUPS, True),
        ([2 * LEAST_ROWS] * (MOST_GROUPS + 1), False),
    ],
)
def test_groups_are_usable_where_most_are_large_enough_and_they_are_not_too_many(sizes: list[int], usable: bool) -> None:
    assert groups_are_usable(np.array(sizes), "auto") == usable
    assert groups_are_usable(np.array(sizes), "groups")


# --- clusters --------------------------------------------------------------------------------------------------------


def check(component: Any, names: Any, y: Any, clusters: int) -> None:
    """What holds of all clusters."""
    assert component.dtype == np.intp
    assert names.dtype == np.int64
    assert names.tolist() == [-1] * len(names)
    assert np.unique(component).tolist() == list(range(len(names))), "none is empty"
    assert len(names) <= clusters
    for number in range(len(names)):
        assert len(set(y[component == number].tolist())) == 1


@given(st.integers(1, 400), st.integers(1, 8), st.integers(2, 12), st.integers(0, 10**6))
@hypothesis_settings(max_examples=25)
def test_every_cluster_is_of_one_class_and_none_is_empty(rows: int, groups: int, clusters: int, seed: int) -> None:
    table = species(rows, groups=groups, seed=seed, like=seed)
    component, names = cluster_components(table.codes, table.y, SCHEMA, clusters=clusters, seed=seed)
    check(component, names, table.y, clusters)


@pytest.mark.parametrize(
    ("negative", "positive", "clusters"), [(30, 70, 5), (20, 180, 2), (3, 97, 3), (300, 100, 2), (70, 30, 25), (90, 10, 15)]
)
def test_there_are_at_most_as_many_as_wished(negative: int, positive: int, clusters: int) -> None:
    # Shares of the classes that both round up.
    table = species(negative + positive, seed=1)
    y = np.repeat([0, 1], [negative, positive]).astype(np.int8)
    check(*cluster_components(table.codes, y, SCHEMA, clusters=clusters, seed=1), y, clusters)


def test_a_seed_gives_the_same_clusters_again() -> None:
    table = species(1500, seed=2)
    first, again, other = (cluster_components(table.codes, table.y, SCHEMA, clusters=20, seed=seed)[0] for seed in (7, 7, 8))
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_groups_that_differ_are_found_without_their_names() -> None:
    # Six groups that have nothing in common: no cluster holds rows of two.
    rows = 600
    group = np.arange(rows) % 6
    draw = np.random.default_rng(0)
    found = Codes(
        VOCABULARY,
        {name: (1 + (group + number) % len(values)).astype(np.int16) for number, (name, values) in enumerate(VOCABULARY.items())},
        {"height": 20.0 * group + draw.normal(size=rows), "width": -9.0 * group + draw.normal(size=rows)},
        rows,
    )
    y = (group % 2).astype(np.int8)
    component, names = cluster_components(found, y, SCHEMA, clusters=12, seed=3)
    check(component, names, y, 12)
    assert all(len(set(group[component == number].tolist())) == 1 for number in range(len(names)))
    assert len(names) >= 6


def test_each_class_has_clusters_in_proportion_to_its_rows() -> None:
    table = species(2000, groups=20, seed=4)
    y = (np.arange(2000) % 4 == 0).astype(np.int8)
    component, _ = cluster_components(table.codes, y, SCHEMA, clusters=40, seed=1)
    assert 5 <= len(set(component[y == 1].tolist())) <= 10
    assert 15 <= len(set(component[y == 0].tolist())) <= 30


def test_few_rows_are_few_clusters_of_enough_rows_each() -> None:
    table = species(100, seed=5)
    component, names = cluster_components(table.codes, np.zeros(100, dtype=np.int8), SCHEMA, clusters=50, seed=1)
    assert 1 <= len(names) <= 100 // LEAST_ROWS
    assert len(component) == 100


@pytest.mark.parametrize("y", [[0] * 30, [1] * 30, [0], [0, 1], [0] * 29 + [1]], ids=len)
def test_one_class_or_hardly_any_rows(y: list[int]) -> None:
    table = species(len(y), seed=6)
    component, names = cluster_components(table.codes, np.array(y, dtype=np.int8), SCHEMA, clusters=4, seed=1)
    check(component, names, np.array(y), 4)


def test_no_rows_have_no_clusters() -> None:
    table = species(3, seed=6).codes.take(slice(0, 0))
    component, names = cluster_components(table, labels(), SCHEMA, clusters=4, seed=1)
    assert (component.tolist(), names.tolist()) == ([], [])


def test_equal_rows_are_in_one_cluster() -> None:
    schema = dataset({"a": nominal("x", "y"), "b": OPEN, "n": NUMERIC, "m": NUMERIC})
    table = codes({"a": ["x", "y"] * 100, "b": [None, "q"] * 100, "n": [1.0, 3.0] * 100, "m": [None] * 200}, schema)
    component, names = cluster_components(table, np.zeros(200, dtype=np.int8), schema, clusters=20, seed=1)
    check(component, names, np.zeros(200), 20)
    assert len(set(component[::2].tolist())) == 1
    assert len(set(component[1::2].tolist())) == 1


def test_the_rows_k_means_starts_from_are_a_part_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixture, "START_ROWS", 200)
    table = species(1500, seed=7)
    component, names = cluster_components(table.codes, table.y, SCHEMA, clusters=10, seed=1)
    check(component, names, table.y, 10)

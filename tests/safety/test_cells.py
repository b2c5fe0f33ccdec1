"""The three kinds of cell: a value, not observed, recorded as empty."""

import numpy as np
import pytest

from partial_support import SCHEMA, fitted, world
from sporeprint.data.dataset import to_rows
from sporeprint.safety.cells import EMPTY, NOT_OBSERVED, Cells, Layout, mask_keys, rows_alike

LAYOUT = Layout({"told": ("a", "b"), "silent": ("x",)}, {"size": (10.0, 2.0), "age": (0.0, 1.0)}, frozenset({"told", "size"}))


def test_a_column_left_out_is_not_observed_and_an_empty_one_is_what_the_contract_says() -> None:
    cells = Cells.of_rows([{}, {"told": None, "silent": None, "size": None, "age": None}], LAYOUT)
    assert not cells.observed[0].any()
    assert cells.observed[1].tolist() == [True, False, True, False]
    assert (cells.places[1] - LAYOUT.starts).tolist() == [EMPTY, NOT_OBSERVED, EMPTY, NOT_OBSERVED]


def test_a_value_never_seen_is_an_observation() -> None:
    cells = Cells.of_rows([{"told": "c", "size": 14.0}], LAYOUT)
    assert cells.observed[0].tolist() == [True, False, True, False]
    assert cells.places[0, 0] == LAYOUT.starts[0]
    assert cells.numbers[0, 0] == 2.0


def test_rows_and_tables_are_the_same_cells() -> None:
    rows, layout = world(200, seed=8), fitted().guard.layout
    one, other = Cells.of_codes(rows.codes, layout), Cells.of_rows(to_rows(rows.codes), layout)
    assert np.array_equal(one.places, other.places)
    assert np.array_equal(one.observed, other.observed)
    assert np.array_equal(one.numbers, other.numbers, equal_nan=True)


def test_hidden_cells_are_as_left_out() -> None:
    rows, layout = world(50, seed=8), fitted().guard.layout
    kept = ("n0", "n3", "height")
    mask = np.array([name in kept for name in layout.columns])
    hidden = Cells.of_codes(rows.codes, layout).hidden(mask, layout)
    left_out = Cells.of_rows([{name: row[name] for name in kept} for row in to_rows(rows.codes)], layout)
    assert np.array_equal(hidden.places, left_out.places)
    assert np.array_equal(hidden.numbers, left_out.numbers, equal_nan=True)


def test_masks_have_keys_of_their_own() -> None:
    masks = np.random.default_rng(1).random((300, len(SCHEMA.columns))) < 0.5
    keys = mask_keys(masks)
    assert len(set(keys)) == len(np.unique(masks, axis=0))
    assert keys == [np.packbits(mask).tobytes() for mask in masks]


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_rows_are_found_by_their_mask(rows: int) -> None:
    observed = np.random.default_rng(1).random((rows, 5)) < 0.5
    cells = Cells(np.zeros((rows, 5), dtype=np.intp), np.zeros((rows, 0)), observed)
    masks: dict[bytes, list[int]] = {}
    for row, key in enumerate(cells.keys):
        masks.setdefault(key, []).append(row)
    assert {key: alike.tolist() for key, alike in cells.by_mask} == masks


@pytest.mark.parametrize("rows", [0, 1, 200])
@pytest.mark.parametrize("columns", [0, 1, 5, 8, 64, 65, 130])
def test_rows_with_equal_flags_are_found(rows: int, columns: int) -> None:
    random = np.random.default_rng(4)
    flags = np.zeros((rows, columns), dtype=np.bool_)
    flags[:, [0, -1] if columns else []] = random.random((rows, 2 if columns else 0)) < 0.5
    alike: dict[bytes, list[int]] = {}
    for row, each in enumerate(flags):
        alike.setdefault(each.tobytes(), []).append(row)
    assert sorted(part.tolist() for part in rows_alike(flags)) == sorted(alike.values())


@pytest.mark.parametrize("unobserved", [(), ("told",)])
def test_a_table_can_say_that_empty_cells_are_no_observation(unobserved: tuple[str, ...]) -> None:
    from sporeprint.data.coded_table import Codes

    codes = Codes(
        {"told": ("a",), "silent": ("x",)},
        {"told": np.array([0], dtype=np.int16), "silent": np.array([1], dtype=np.int16)},
        {"size": np.array([np.nan]), "age": np.array([3.0])},
        1,
    )
    cells = Cells.of_codes(codes, LAYOUT, unobserved)
    assert cells.observed[0].tolist() == [not unobserved, True, True, True]

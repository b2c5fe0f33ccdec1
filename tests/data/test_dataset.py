"""Checked rows: taken, put together, and turned into requests."""

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.data.coded_table import MOST_VALUES, Codes
from sporeprint.data.dataset import Observations, concat, to_rows
from sporeprint.errors import DataError
from support import NUMERIC, OPEN, Labelled, codes, dataset, labels, observations, same, tables, texts

SCHEMA = dataset({"a": OPEN, "n": NUMERIC})


def some(values: list[str | None], *, group: bool = True, parts: int | None = 3, first_row: int = 0) -> Observations:
    columns: dict[str, list[Any]] = {"a": values, "n": [float(number) for number in range(len(values))]}
    table = Labelled(SCHEMA, codes(columns, SCHEMA), np.array([number % 2 for number in range(len(values))], dtype=np.int8))
    return observations(table, group=group, parts=parts, first_row=first_row)


# --- take ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [np.array([False, True, False, True]), np.array([1, 3])])
def test_taking_rows_takes_all_of_them(rows: Any) -> None:
    found = some(["x", "y", None, "z"]).take(rows)
    assert texts(found.codes) == {"a": ["y", "z"], "n": [1.0, 3.0]}
    assert (found.y.tolist(), found.row.tolist()) == ([1, 1], [1, 3])
    assert found.group is not None
    assert found.part is not None
    assert (found.group.tolist(), found.part.tolist()) == ([0, 1], [1, 0])
    assert found.row_hash.tolist() == some(["x", "y", None, "z"]).row_hash[[1, 3]].tolist()


def test_what_is_not_there_is_not_taken() -> None:
    found = some(["x", "y"], group=False, parts=None).take(np.array([1]))
    assert (found.group, found.part) == (None, None)


# --- concat ----------------------------------------------------------------------------------------------------------


def test_tables_come_together_in_one_vocabulary() -> None:
    found = concat([some(["b", "a", None]), some(["c", "a"], first_row=3), some([None], first_row=5)])
    assert found.codes.vocabulary == {"a": ("a", "b", "c")}
    np.testing.assert_array_equal(found.codes.nominal["a"], np.array([2, 1, 0, 3, 1, 0], dtype=np.int16), strict=True)
    assert found.codes.rows == 6
    assert found.row.tolist() == [0, 1, 2, 3, 4, 5]
    assert found.group is not None
    assert found.group.tolist() == [0, 0, 0, 1, 1, 1]


def test_unknown_values_stay_unknown() -> None:
    table = some(["a", "b"])
    unknown = replace(table, codes=replace(table.codes, nominal={"a": np.array([-1, 2], dtype=np.int16)}))
    assert concat([unknown, some(["b"])]).codes.nominal["a"].tolist() == [-1, 2, 2]


def test_without_groups_in_one_there_are_none_in_all() -> None:
    assert concat([some(["a"]), some(["b"], group=False)]).group is None


def test_one_table_is_itself() -> None:
    table = some(["a"])
    assert concat([table]) is table


@given(tables(least=0), st.lists(st.integers(0, 20), max_size=3), st.booleans(), st.sampled_from([None, 5]))
def test_putting_the_pieces_together_gives_the_whole(table: Labelled, cuts: list[int], group: bool, parts: int | None) -> None:
    whole = observations(table, group=group, parts=parts)
    edges = sorted({0, *(min(cut, table.codes.rows) for cut in cuts), table.codes.rows})
    pieces = [whole.take(np.arange(low, high)) for low, high in itertools.pairwise(edges)] or [whole]
    turned = []
    for piece in pieces:  # each in a vocabulary of its own
        vocabulary = {name: values[::-1] for name, values in piece.codes.vocabulary.items()}
        nominal = {
            name: np.where(values > 0, len(vocabulary[name]) + 1 - values, values).astype(np.int16)
            for name, values in piece.codes.nominal.items()
        }
        turned.append(replace(piece, codes=Codes(vocabulary, nominal, piece.codes.numeric, piece.codes.rows)))
    assert same(concat(turned), whole)


def test_more_values_in_all_than_there_are_codes_are_refused() -> None:
    half = MOST_VALUES // 2 + 1
    first, second = some([f"a{number}" for number in range(half)]), some([f"b{number}" for number in range(half)])
    with pytest.raises(DataError, match=r"^a: 32,768 different values or more, at most 32,767"):
        concat([first, second])


# --- rows as requests ------------------------------------------------------------------------------------------------


def test_rows_are_flat_objects() -> None:
    found = to_rows(codes({"a": ["x", None], "n": [1.5, None]}, SCHEMA))
    assert found == [{"a": "x", "n": 1.5}, {"a": None, "n": None}]
    assert type(found[0]["n"]) is float


def test_no_rows_are_no_objects() -> None:
    assert to_rows(codes({"a": [], "n": []}, SCHEMA)) == []


@given(tables(unknown=False))
def test_rows_say_what_the_codes_say(table: Labelled) -> None:
    wanted = texts(table.codes)
    found = to_rows(table.codes)
    assert {name: [row[name] for row in found] for name in wanted} == wanted
    assert not any(isinstance(value, float) and math.isnan(value) for row in found for value in row.values())


def test_labels_are_int8() -> None:
    assert labels(0, 1).dtype == np.int8

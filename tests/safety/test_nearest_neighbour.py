"""The nearest known observation: that of brute force, in plain words what differs, and the same from its bytes."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from safety_support import SCHEMA, VOCABULARY, species
from sporeprint.common.batches import BatchSequence
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations, to_rows
from sporeprint.safety.nearest_neighbour import NearestRow, ReferenceRows, reference_rows
from sporeprint.safety.novelty_guard import Guard, fit_components
from support import NUMERIC, Labelled, codes, dataset, nominal, observations


def guard_of(rows: Observations) -> Guard:
    assert rows.group is not None
    names, component = np.unique(rows.group, return_inverse=True)
    return fit_components(rows.codes, rows.y, component.astype(np.intp), names, SCHEMA)


ROWS = species(400, groups=4, seed=1)
GUARD = guard_of(ROWS)
KNOWN = reference_rows(BatchSequence([ROWS]), GUARD, most=1000)
Row = dict[str, str | float | None]


def distance(left: Row, right: Row) -> float:
    """One column after the other."""
    total = 0.0
    for name in VOCABULARY:
        total += left[name] != right[name]
    for name, (_, sd) in GUARD.scales.items():
        one, other = left[name], right[name]
        if one is None or other is None:
            total += (one is None) != (other is None)
        else:
            total += min(abs(float(one) - float(other)) / (4 * sd), 1.0)
    return total


@given(st.integers(0, 2**32), st.integers(0, 3))
@hypothesis_settings(max_examples=30)
def test_the_nearest_is_that_of_brute_force(seed: int, component: int) -> None:
    known = to_rows(ROWS.codes)
    assert ROWS.group is not None
    mine = [number for number in range(400) if ROWS.group[number] == component]
    for row in to_rows(species(5, groups=4, seed=seed).codes):
        best = min(distance(row, known[number]) for number in mine)
        found = KNOWN.nearest(row, GUARD, component)
        assert found is not None
        assert found.row in mine
        assert found.component == component
        assert found.values == known[found.row]
        assert found.distance == pytest.approx(best, abs=2e-6)
        assert found.distance == pytest.approx(distance(row, known[found.row]), abs=2e-6)
        assert set(found.differing) == {name for name in row if row[name] != found.values[name]}


def test_an_equal_row_has_distance_zero_and_nothing_differs() -> None:
    assert ROWS.group is not None
    for number, row in enumerate(to_rows(ROWS.codes)):
        found = KNOWN.nearest(row, GUARD, int(ROWS.group[number]))
        assert found is not None
        assert (found.distance, found.differing, found.values) == (0.0, (), row)


SMALL = dataset({"a": nominal("x", "y", "z"), "b": nominal("x", "y"), "n": NUMERIC}, groups={"column": "g"})


def small(columns: dict[str, list[Any]], *, row: list[int] | None = None, most: int = 100) -> tuple[ReferenceRows, Guard]:
    """Rows of one group, kept."""
    table = codes(columns, SMALL)
    rows = observations(Labelled(SMALL, table, np.zeros(table.rows, dtype=np.int8)), group=False)
    numbers = np.arange(table.rows) if row is None else np.array(row)
    rows = replace(rows, group=np.zeros(table.rows, dtype=np.int64), row=numbers)
    guard = fit_components(table, rows.y, np.zeros(table.rows, dtype=np.intp), np.array([0]), SMALL)
    return reference_rows(BatchSequence([rows]), guard, most=most), guard


def nearest(known: tuple[ReferenceRows, Guard], **row: Any) -> NearestRow:
    found = known[0].nearest(row, known[1], 0)
    assert found is not None
    return found


def test_of_equally_near_rows_the_first_in_the_source_is_told() -> None:
    columns: dict[str, list[Any]] = {"a": ["x"] * 6, "b": ["x"] * 6, "n": [1.0, 2.0, 1.0, 2.0, 1.0, 2.0]}
    for numbers in ([5, 4, 3, 2, 1, 0], [10, 3, 7, 30, 2, 90]):
        known = small(columns, row=numbers)
        assert nearest(known, a="x", b="x", n=1.0).row == min(numbers[::2])
        assert nearest(known, a="y", b="x", n=2.0).row == min(numbers[1::2])


def test_missing_is_a_value_that_differs_from_the_others() -> None:
    known = small({"a": ["x", None], "b": ["x", "x"], "n": [1.0, None]})
    assert nearest(known, b="x") == NearestRow(1, 0, 0.0, {"a": None, "b": "x", "n": None}, ())
    assert nearest(known, b="x", n=float("nan")).distance == 0
    found = nearest(known, a="x", b="x")
    assert (found.row, found.distance, found.differing) == (0, 1.0, ("n",))
    assert nearest(known).distance == 1


def test_a_value_that_the_guard_does_not_know_differs_from_every_one() -> None:
    known = small({"a": ["x", None, "x"], "b": ["x", None, "y"], "n": [1.0, 1.0, 1.0]})
    found = nearest(known, a="?", b="y", n=1.0)
    assert (found.row, found.distance, found.differing) == (2, 1.0, ("a",))
    assert nearest(known, a="?", b="?", n=1.0).distance == 2.0
    assert nearest(known, a="z", b="z", n=1.0).distance == 2.0


@pytest.mark.parametrize("number", [1e300, -1e300, 1e308, float("inf"), float("-inf")])
def test_numbers_far_away_are_simply_different(number: float) -> None:
    known = small({"a": ["x", "y"], "b": ["x", "x"], "n": [1.0, 2.0]})
    found = nearest(known, a="y", b="x", n=number)
    assert (found.row, found.distance, found.differing) == (1, 1.0, ("n",))


def test_numbers_count_in_standard_deviations_and_what_differs_most_comes_first() -> None:
    known = small({"a": ["x"] * 4, "b": ["x"] * 4, "n": [0.0, 2.0, 0.0, 2.0]})  # standard deviation 1
    found = nearest(known, a="y", b="x", n=3.0)
    assert (found.row, found.distance, found.differing) == (1, 1.25, ("a", "n"))
    assert nearest(known, a="x", b="x", n=7.0).distance == 1.0


def test_whole_numbers_are_numbers() -> None:
    known = small({"a": ["x"] * 2, "b": ["x"] * 2, "n": [0.0, 2.0]})
    assert nearest(known, a="x", b="x", n=2) == nearest(known, a="x", b="x", n=2.0)


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 7, 90, 1000])
def test_of_each_component_so_many_are_kept_by_their_hash(most: int) -> None:
    assert ROWS.group is not None
    known = reference_rows(BatchSequence([ROWS]), GUARD, most=most)
    assert (np.diff(known.component) >= 0).all()
    for component in range(4):
        mine = np.flatnonzero(ROWS.group == component)
        expected = mine[np.argsort(ROWS.row_hash[mine], kind="stable")][:most]
        assert sorted(known.row[known.component == component].tolist()) == sorted(expected.tolist())
    assert KNOWN.nearest({}, GUARD, 99) is None


def test_the_order_of_the_rows_does_not_decide_which_are_kept() -> None:
    order = np.random.default_rng(3).permutation(400)
    turned = reference_rows(BatchSequence([ROWS.take(order)]), GUARD, most=20)
    known = reference_rows(BatchSequence([ROWS]), GUARD, most=20)
    assert turned.row.tolist() == known.row.tolist()
    assert turned.to_bytes() == known.to_bytes()


def test_rows_without_groups_belong_where_they_are_most_typical() -> None:
    without = reference_rows(BatchSequence([replace(ROWS, group=None)]), GUARD, most=1000)
    where = GUARD.novelty(ROWS.codes).component
    assert {(row, component) for row, component in zip(without.row.tolist(), without.component.tolist(), strict=True)} == {
        (row, component) for row, component in enumerate(where.tolist())
    }
    clusters = replace(GUARD, names=np.full(4, -1))
    assert reference_rows(BatchSequence([ROWS]), clusters, most=1000).to_bytes() == without.to_bytes()


def test_the_codes_of_the_vocabulary_do_not_matter() -> None:
    turned = {name: tuple(reversed(values)) for name, values in VOCABULARY.items()}
    nominal_codes = {
        name: np.where(values > 0, len(turned[name]) + 1 - values, values).astype(np.int16) for name, values in ROWS.codes.nominal.items()
    }
    other = replace(ROWS, codes=Codes(turned, nominal_codes, ROWS.codes.numeric, 400))
    assert (
        reference_rows(BatchSequence([other]), GUARD, most=50).to_bytes()
        == reference_rows(BatchSequence([ROWS]), GUARD, most=50).to_bytes()
    )


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 50])
def test_what_is_kept_comes_back_from_its_bytes_as_it_was(most: int) -> None:
    known = reference_rows(BatchSequence([ROWS]), GUARD, most=most)
    data = known.to_bytes()
    back = ReferenceRows.from_bytes(data)
    assert back.to_bytes() == data == reference_rows(BatchSequence([ROWS]), GUARD, most=most).to_bytes()
    assert (list(back.nominal), list(back.numeric)) == (list(known.nominal), list(known.numeric))
    for row in to_rows(species(20, groups=4, seed=9).codes):
        for component in range(4):
            assert back.nearest(row, GUARD, component) == known.nearest(row, GUARD, component)


def test_names_of_columns_may_hold_anything() -> None:
    schema = dataset({"a.b": nominal("x"), "numeric.c": NUMERIC, "d/e.npy": NUMERIC}, groups={"column": "g"})
    table = codes({"a.b": ["x", None], "numeric.c": [1.0, None], "d/e.npy": [None, 2.0]}, schema)
    rows = replace(observations(Labelled(schema, table, np.zeros(2, dtype=np.int8)), group=False), group=np.zeros(2, dtype=np.int64))
    guard = fit_components(table, rows.y, np.zeros(2, dtype=np.intp), np.array([0]), schema)
    back = ReferenceRows.from_bytes(reference_rows(BatchSequence([rows]), guard, most=9).to_bytes())
    assert [*back.nominal, *back.numeric] == ["a.b", "numeric.c", "d/e.npy"]
    assert back.nearest({"a.b": "x", "numeric.c": 1.0}, guard, 0) == NearestRow(
        0, 0, 0.0, {"a.b": "x", "numeric.c": 1.0, "d/e.npy": None}, ()
    )


KEPT = reference_rows(BatchSequence([ROWS]), GUARD, most=3)
DATA = KEPT.to_bytes()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


@pytest.mark.parametrize("data", [b"", b"x", b"PK\x03\x04", DATA[:-1], DATA[:80], npy()], ids=lambda data: repr(data[:12]))
def test_bytes_of_another_kind_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        ReferenceRows.from_bytes(data)


def test_an_archive_without_the_rows_numbers_is_refused() -> None:
    file = io.BytesIO()
    np.savez_compressed(file, component=np.zeros(1, dtype=np.int32))
    with pytest.raises(ValueError, match=r"^not a table of known observations: "):
        ReferenceRows.from_bytes(file.getvalue())


def test_a_damaged_byte_is_refused_if_it_matters() -> None:
    draw = np.random.default_rng(0)
    start = DATA.index(b"PK\x01\x02")
    places = [(place, 1 << bit) for place in range(start, len(DATA)) for bit in (0, 7)]
    places += [(int(place), 1 << int(bit)) for place, bit in zip(draw.integers(0, start, 400), draw.integers(0, 8, 400), strict=True)]
    for place, flip in places:
        damaged = bytearray(DATA)
        damaged[place] ^= flip
        try:
            found = ReferenceRows.from_bytes(bytes(damaged))
        except ValueError:
            continue
        # A damaged directory may hide an array, which the bundle's digests see; what is there is as it was.
        assert all(np.array_equal(values, KEPT.nominal[name]) for name, values in found.nominal.items())
        assert all(np.array_equal(values, KEPT.numeric[name], equal_nan=True) for name, values in found.numeric.items())
        assert (found.row.tolist(), found.component.tolist()) == (KEPT.row.tolist(), KEPT.component.tolist())

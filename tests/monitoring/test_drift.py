"""Drift: what changed is found and named, and what cannot be compared is never said to be fine."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sporeprint.monitoring.data_profile import ColumnProfile, NominalProfile, NumericProfile, Profile, of_numbers
from sporeprint.monitoring.drift import MISSING, NEW, VALUES, ColumnDrift, drift
from sporeprint.stats.histogram import Histogram

DRAW = np.random.default_rng(4)


def numbers(values: np.ndarray, missing: int = 0) -> Profile:
    return Profile(len(values) + missing, {"x": NumericProfile(of_numbers(values).histogram, missing)})


def names(missing: int = 0, **counts: int) -> Profile:
    return Profile(sum(counts.values()) + missing, {"x": NominalProfile(counts, missing)})


def compared(reference: Profile, current: Profile) -> ColumnDrift:
    return drift(reference, current).columns[0]


def p(column: ColumnDrift, about: str) -> float:
    return next(check.p for check in column.checks if check.about == about)


def test_numbers_are_compared_as_scipy_does() -> None:
    x, y = DRAW.normal(size=2000), DRAW.normal(0.3, 1, size=1000)
    found = compared(numbers(x), numbers(y))
    assert p(found, VALUES) == pytest.approx(stats.ks_2samp(x, y).pvalue, abs=1e-9)
    assert found.effects is not None
    assert found.effects["wasserstein"] == pytest.approx(stats.wasserstein_distance(x, y) / x.std(), abs=1e-9)
    assert found.effects["largest_gap_error"] == 0
    assert not found.not_computed


def test_new_and_vanished_values_are_named() -> None:
    found = compared(names(a=500, b=480, c=20), names(a=480, b=480, z=40))
    assert [(item.value, item.rows, item.share) for item in found.new] == [("z", 40, 0.04)]
    assert [(item.value, item.rows) for item in found.vanished] == [("c", 20)]
    assert p(found, NEW) < 1e-9
    assert p(found, VALUES) < 1e-9


def test_a_change_of_what_is_missing() -> None:
    found = compared(names(a=900, missing=100), names(a=600, missing=400))
    assert p(found, MISSING) < 1e-9
    assert found.missing == (0.1, 0.4)
    assert p(found, VALUES) == 1


def test_no_rows_and_one_row_are_said() -> None:
    old = names(a=100, b=100)
    for current, reason in (
        (Profile(0, {"x": NominalProfile({})}), "the current table has no rows"),
        (names(a=1), "the current table has 1 row; at least 30 are needed"),
        (names(a=29), "has 29 rows"),
    ):
        found = drift(old, current)
        assert reason in found.problems[0]
        assert found.columns[0].checks == ()
        assert [about for _, about, _ in found.not_computed()] == [VALUES, MISSING]
    assert "the reference has no rows" in drift(Profile(0, {"x": NominalProfile({})}), old).problems[0]


def test_all_missing_is_a_change_of_the_missing_and_no_word_on_the_values() -> None:
    found = compared(numbers(DRAW.normal(size=200)), numbers(np.empty(0), missing=200))
    assert p(found, MISSING) < 1e-9
    assert found.not_computed == {VALUES: "the current table has no value; at least 5 are needed to compare them"}
    assert found.effects is None
    nominal = compared(names(a=200), names(missing=200))
    assert set(nominal.not_computed or {}) == {VALUES, NEW}
    always = compared(names(missing=200), names(missing=100))
    assert always.notes == ("without a value in both tables",)
    assert not always.not_computed


def test_constants_are_named() -> None:
    one, same, other = (numbers(np.full(100, value)) for value in (2.0, 2.0, 3.0))
    assert compared(one, same).notes == ("constant: 2, as in the reference",)
    moved = compared(one, other)
    assert moved.effects is not None
    assert math.isinf(moved.effects["wasserstein"])
    assert moved.notes == ("constant: 3", "100 values outside the reference's 2 to 2")
    assert compared(one, numbers(np.array([2.0, 3.0] * 50))).notes[0] == "was constant in the reference: 2"
    assert compared(names(a=50, b=50), names(a=90)).notes == ("constant: a",)


def test_no_finite_numbers_are_counted_and_named() -> None:
    current = Profile(100, {"x": NumericProfile(of_numbers(DRAW.normal(size=60)).histogram, 0, 40)})
    found = compared(numbers(DRAW.normal(size=500)), current)
    assert found.invalid == 40
    assert "40 values are no finite numbers" in found.notes
    assert found.missing[1] == 0.4
    assert p(found, MISSING) < 1e-9


def test_columns_of_another_table_are_named() -> None:
    old, new = names(a=100), Profile(100, {"y": NominalProfile({"a": 100})})
    reasons = {column: reason for column, _, reason in drift(old, new).not_computed()}
    assert reasons == {"x": "the current table has no column 'x'", "y": "the reference has no column 'y'"}
    kinds = drift(old, numbers(np.arange(100.0)))
    assert {reason for _, _, reason in kinds.not_computed()} == {"numeric in one table, nominal in the other"}


def test_values_without_end_are_not_compared() -> None:
    endless = Profile(100, {"x": NominalProfile({}, 0, 100)})
    assert "more different values than can be told apart" in (compared(names(a=100), endless).not_computed or {})[VALUES]
    declared = Profile(100, {"x": NominalProfile({"a": 60}, 0, 40, frozenset("a"))})
    assert p(compared(names(a=100), declared), NEW) < 1e-9


def test_values_too_rare_to_be_compared_are_said() -> None:
    found = compared(names(a=20, b=20, c=20), names(a=2, b=2, c=2, missing=60))
    assert found.not_computed is None
    assert "its values are all too rare to be compared in so few rows" in found.notes


def test_binned_numbers_say_so() -> None:
    old = Profile(5000, {"x": NumericProfile(Histogram.of(DRAW.normal(size=5000), 100))})
    found = compared(old, numbers(DRAW.normal(size=1000)))
    assert (found.effects or {})["largest_gap_error"] > 0
    assert any(note.startswith("binned: a bin is at most 1/") for note in found.notes)


COLUMNS = st.one_of(
    st.builds(
        lambda v, m: NumericProfile(of_numbers(np.array(v, dtype=float)).histogram, m), st.lists(st.floats(-9, 9), max_size=60), st.just(0)
    ),
    st.builds(NominalProfile, st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 40)), st.just(0)),
)


#: Notes on columns whose values say nothing.
NOT_COMPARED = ("without a value in both tables", "nearly empty: ", "its values are all too rare")


def test_a_nearly_empty_column_is_a_note_and_an_emptied_one_is_not_computed() -> None:
    often = of_numbers(np.arange(10.0))
    reference = Profile(1000, {"x": NumericProfile(of_numbers(np.arange(50.0)).histogram, 950)})
    few = drift(reference, Profile(60, {"x": NumericProfile(of_numbers(np.arange(3.0)).histogram, 57)})).columns[0]
    assert few.not_computed is None
    assert few.notes == ("nearly empty: the current table has 3 values; at least 5 are needed to compare them",)
    full = Profile(1000, {"x": NumericProfile(of_numbers(np.arange(1000.0)).histogram, 0)})
    emptied = drift(full, Profile(60, {"x": NumericProfile(of_numbers(np.arange(3.0)).histogram, 57)})).columns[0]
    assert emptied.not_computed is not None
    filled = drift(
        Profile(1000, {"x": NumericProfile(of_numbers(np.ones(0)).histogram, 1000)}),
        Profile(60, {"x": NumericProfile(often.histogram, 50)}),
    )
    assert filled.columns[0].not_computed is not None


@given(COLUMNS, COLUMNS, st.integers(0, 50), st.integers(0, 50))
def test_whatever_comes_it_is_computed_or_named(a: ColumnProfile, b: ColumnProfile, extra: int, more: int) -> None:
    tables = [Profile(column.present + rows, {"x": _missing(column, rows)}) for column, rows in ((a, extra), (b, more))]
    found = drift(*tables)
    column = found.columns[0]
    answered = {check.about for check in column.checks}
    assert VALUES in answered or VALUES in (column.not_computed or {}) or any(note.startswith(NOT_COMPARED) for note in column.notes)
    assert MISSING in answered or MISSING in (column.not_computed or {})
    for check in column.checks:
        assert 0 <= check.p <= 1
        assert check.effect >= 0
    assert isinstance(found.to_dict()["columns"], list)


def _missing(column: ColumnProfile, rows: int) -> ColumnProfile:
    return NumericProfile(column.histogram, rows) if isinstance(column, NumericProfile) else NominalProfile(column.counts, rows)


@given(COLUMNS.filter(lambda column: column.present >= 30))
def test_nothing_differs_from_itself(column: ColumnProfile) -> None:
    table = Profile(column.present, {"x": column})
    found = compared(table, table)
    assert [check.p for check in found.checks] == pytest.approx([1.0] * len(found.checks))
    assert found.size == pytest.approx(0, abs=1e-7)

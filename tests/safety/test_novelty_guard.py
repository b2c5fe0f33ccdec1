"""Novelty: one row as in the table, by the book, valid on fresh rows, and the same from its bytes."""

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import stats

import sporeprint.safety.novelty_guard as guarding
from safety_support import SCHEMA, VOCABULARY, real, species
from sporeprint.data.coded_table import Codes
from sporeprint.data.dataset import Observations, to_rows
from sporeprint.safety.novelty_guard import Guard, calibrate_guard, fit_components, row_blocks
from sporeprint.schema import DatasetSchema
from support import NUMERIC, OPEN, Labelled, codes, dataset, labels, nominal, tables

Index = npt.NDArray[np.intp]


def guard_of(rows: Observations, calibration: Observations | None = None, schema: DatasetSchema = SCHEMA) -> Guard:
    """A guard whose components are the rows' groups."""
    assert rows.group is not None
    names, component = np.unique(rows.group, return_inverse=True)
    found = fit_components(rows.codes, rows.y, component.astype(np.intp), names, schema)
    return found if calibration is None else calibrate_guard(found, calibration.codes)


KNOWN, CALIBRATION = species(1200, seed=1), species(600, seed=2)
GUARD = guard_of(KNOWN, CALIBRATION)


def with_unknown(table: Codes) -> Codes:
    """The same rows with a text for unknown values, so that they can be given as rows."""
    unknown = {name: (*values, "\0unknown") for name, values in table.vocabulary.items()}
    placed = {name: np.where(values == -1, len(unknown[name]), values).astype(np.int16) for name, values in table.nominal.items()}
    return Codes(unknown, placed, table.numeric, table.rows)


def alone(guard: Guard, table: Codes) -> tuple[list[float], list[int]]:
    """p-values and components, row by row."""
    found = [guard.row(row) for row in to_rows(with_unknown(table))]
    return [p for p, _ in found], [component for _, component in found]


# --- in float32, decided in float64 ---------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [0.0, 1e-6, 3e-5, 1e-3])
def test_components_that_are_nearly_as_typical_are_told_apart(apart: float) -> None:
    """Every component three times, so little apart that float32 cannot tell them."""
    shift = np.random.default_rng(3).permuted(np.tile([0.0, apart, 2 * apart], (GUARD.weights.shape[1], 1)), axis=1).ravel()
    weights = np.repeat(GUARD.weights, 3, axis=1)
    weights[0] += shift
    guard = replace(GUARD, weights=weights, names=np.repeat(GUARD.names, 3), positive=np.repeat(GUARD.positive, 3))
    rows = CALIBRATION.codes
    found, wanted = guard.novelty(rows), guard.most_typical(guard._features(rows))
    assert np.array_equal(found.component, wanted[0])
    assert np.array_equal(found.typicality, wanted[1])


def test_rows_far_away_are_as_novel_as_in_float64() -> None:
    far = {name: values * 10.0 ** np.random.default_rng(4).integers(-3, 300, len(values)) for name, values in KNOWN.codes.numeric.items()}
    rows = replace(KNOWN.codes, numeric=far)
    found, wanted = GUARD.novelty(rows), GUARD.most_typical(GUARD._features(rows))
    assert np.array_equal(found.component, wanted[0])
    assert np.array_equal(found.typicality, wanted[1])


# --- one row and many ------------------------------------------------------------------------------------------------


@st.composite
def guards(draw: st.DrawFn) -> tuple[Labelled, Guard]:
    """A random table, and a guard fitted on some of its rows and calibrated on some."""
    table = draw(tables(least=2))
    count = draw(st.integers(1, table.codes.rows))
    wanted = draw(st.lists(st.integers(0, 3), min_size=count, max_size=count))
    names, component = np.unique(wanted, return_inverse=True)
    fitted = fit_components(
        table.codes.take(slice(0, count)), table.y[:count], component.astype(np.intp), names.astype(np.int64), table.schema
    )
    return table, calibrate_guard(fitted, table.codes.take(slice(draw(st.integers(0, table.codes.rows)), table.codes.rows)))


@given(guards())
def test_a_row_alone_is_as_novel_as_in_the_table(case: tuple[Labelled, Guard]) -> None:
    table, guard = case
    p, _ = alone(guard, table.codes)
    assert p == guard.novelty(table.codes).p.tolist()


@given(guards())
def test_a_row_alone_is_most_typical_where_it_is_in_the_table(case: tuple[Labelled, Guard]) -> None:
    table, guard = case
    _, component = alone(guard, table.codes)
    assert component == guard.novelty(table.codes).component.tolist()


def test_of_equally_typical_components_the_first_counts_whichever_way_a_row_comes() -> None:
    # Two groups of the same rows, five times over: rounding in sums of another order must not tell them apart.
    rows = species(60, groups=3, seed=5)
    twice = rows.codes.take(np.tile(np.arange(60), 5))
    guard = calibrate_guard(
        fit_components(twice, np.zeros(300, dtype=np.int8), np.repeat(np.arange(5), 60), np.arange(5), SCHEMA), CALIBRATION.codes
    )
    fresh = species(200, groups=3, seed=6).codes
    whole = guard.novelty(fresh).component.tolist()
    one_by_one = [int(guard.novelty(fresh.take(np.array([number]))).component[0]) for number in range(fresh.rows)]
    assert one_by_one == whole
    assert alone(guard, fresh)[1] == whole
    assert set(whole) == {0}


def test_every_real_row_alone_is_as_in_the_table(real_data: Path, config_file: Path) -> None:
    table = real(real_data, config_file)
    some = table.rows.codes.take(np.random.default_rng(3).permutation(table.rows.codes.rows)[:6000])
    found = table.guard.novelty(some)
    p, component = alone(table.guard, some)
    assert p == found.p.tolist()
    assert component == found.component.tolist()


def test_values_that_are_unknown_are_so_both_ways() -> None:
    fresh, draw = species(500, seed=51).codes, np.random.default_rng(0)
    nominal_codes = {name: np.where(draw.random(500) < 0.3, -1, values).astype(np.int16) for name, values in fresh.nominal.items()}
    table = Codes(fresh.vocabulary, nominal_codes, fresh.numeric, 500)
    known = calibrate_guard(GUARD, table)  # so that their p-values differ
    found = known.novelty(table)
    assert len(set(found.p.tolist())) > 300
    p, component = alone(known, table)
    assert (p, component) == (found.p.tolist(), found.component.tolist())


def test_rows_as_novel_as_a_calibration_row_far_away_have_its_p_value_both_ways() -> None:
    # Log-likelihoods of -10^8 have no six digits behind the point in float64: rounding does not make them equal.
    numbers = np.r_[np.linspace(1000, 1e6, 200), np.linspace(5, 15, 200)]
    base = species(400, seed=8).codes
    table = Codes(base.vocabulary, base.nominal, {**base.numeric, "height": numbers}, 400)
    guard = calibrate_guard(GUARD, table)
    expected = guard.novelty(table).p.tolist()
    assert [float(guard.novelty(table.take(np.array([number]))).p[0]) for number in range(400)] == expected
    assert alone(guard, table)[0] == expected


EXTREMES = [1e300, -1e300, 1e308, -1e308, 0.0, -0.0, 5e-324, 1e16, float("nan"), float("inf"), float("-inf"), None]


@pytest.mark.parametrize("height", EXTREMES)
@pytest.mark.parametrize("width", [10.0, 1e300, None])
def test_extreme_numbers_are_unknown_and_the_same_both_ways(height: float | None, width: float | None) -> None:
    base = KNOWN.codes.take(np.arange(50))
    changed = {"height": np.full(50, np.nan if height is None else height), "width": np.full(50, np.nan if width is None else width)}
    table = Codes(base.vocabulary, base.nominal, changed, 50)
    found = GUARD.novelty(table)
    assert np.isfinite(found.typicality).all()
    p, component = alone(GUARD, table)
    assert p == found.p.tolist()
    assert component == found.component.tolist()
    if height is not None and abs(height) > 1e10:
        assert found.p.max() == 1 / 601


def test_a_column_left_out_is_missing_and_so_is_nan() -> None:
    for row in to_rows(KNOWN.codes.take(np.arange(100))):
        given_ = GUARD.row(row)
        without = {name: value for name, value in row.items() if value is not None}
        assert GUARD.row(without) == given_
        assert GUARD.row({name: float("nan") if value is None and name in GUARD.scales else value for name, value in row.items()}) == given_
    nothing: dict[str, str | float | None] = dict.fromkeys(SCHEMA.columns)
    assert GUARD.row({}) == GUARD.row(nothing)


def test_neither_the_order_of_columns_nor_others_beside_them_change_anything() -> None:
    for row in to_rows(KNOWN.codes.take(np.arange(100))):
        turned = {"other": "?", **dict(reversed(row.items()))}
        assert GUARD.row(turned) == GUARD.row(row)


def test_whole_numbers_are_numbers() -> None:
    row: dict[str, Any] = {"cap": "a", "gill": "k", "root": "x", "height": 10, "width": 9}
    assert GUARD.row(row) == GUARD.row({**row, "height": 10.0, "width": 9.0})
    of_numpy: dict[str, Any] = {**row, "height": np.float32(10), "width": np.int64(9)}
    assert GUARD.row(of_numpy) == GUARD.row(row)


@given(st.randoms(use_true_random=False), st.integers(0, 2**32))
@hypothesis_settings(max_examples=25)
def test_the_order_of_the_vocabulary_never_changes_the_result(random: Any, seed: int) -> None:
    fresh = species(60, seed=seed).codes
    turned = {name: tuple(random.sample([*values, "\0other"], len(values) + 1)) for name, values in VOCABULARY.items()}
    back = {
        name: np.array([-1, 0, *(turned[name].index(value) + 1 for value in values)], dtype=np.int16) for name, values in VOCABULARY.items()
    }

    def other(table: Codes) -> Codes:
        return Codes(turned, {name: back[name].take(table.nominal[name] + 1) for name in turned}, table.numeric, table.rows)

    expected = GUARD.novelty(fresh)
    found = GUARD.novelty(other(fresh))
    assert found.p.tolist() == expected.p.tolist()
    assert found.typicality.tolist() == expected.typicality.tolist()
    # ... nor if the guard itself was fitted on the other codes: its values are in another order, but mean the same.
    refitted = replace(guard_of(replace(KNOWN, codes=other(KNOWN.codes))), calibration=GUARD.calibration)
    assert refitted.novelty(fresh).typicality == pytest.approx(expected.typicality, abs=2e-6)
    assert {name: set(values) for name, values in refitted.categories.items()} == {
        name: set(values) for name, values in GUARD.categories.items()
    }


def test_the_type_of_numbers_and_their_place_in_memory_change_nothing() -> None:
    table = species(200, seed=9).codes
    expected = GUARD.novelty(table)
    strided = {name: np.repeat(values, 2)[::2] for name, values in table.numeric.items()}
    spread = {name: np.repeat(values, 3)[::3] for name, values in table.nominal.items()}
    assert GUARD.novelty(Codes(table.vocabulary, spread, strided, 200)).p.tolist() == expected.p.tolist()


def test_blocks_cover_the_table_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    table = species(100, seed=9).codes
    expected = GUARD.novelty(table)
    refitted = guard_of(KNOWN)
    for size in (1, 7, 100, 1000):
        monkeypatch.setattr(guarding, "BLOCK_ROWS", size)
        assert [row for block in row_blocks(100) for row in range(100)[block]] == list(range(100))
        assert GUARD.novelty(table).p.tolist() == expected.p.tolist()
        assert GUARD.novelty(table).typicality.tolist() == expected.typicality.tolist()
        if size > 1:
            assert guard_of(KNOWN).weights == pytest.approx(refitted.weights, abs=1e-5)
    assert list(row_blocks(0)) == []


def test_no_rows_have_no_novelty() -> None:
    found = GUARD.novelty(KNOWN.codes.take(slice(0, 0)))
    assert (len(found.p), len(found.component), len(found.typicality)) == (0, 0, 0)


# --- by the book -----------------------------------------------------------------------------------------------------


def by_the_book(known: Observations, schema: DatasetSchema, table: Codes) -> list[list[float]]:
    """Log-likelihood of each row in each group, value by value, in plain numbers; not centred."""
    assert known.group is not None
    train, found = to_rows(known.codes), []
    groups = sorted(set(known.group.tolist()))
    members = [[row for row, group in zip(train, known.group.tolist(), strict=True) if group == wanted] for wanted in groups]
    scale = {}
    for name in schema.numeric:
        values = [float(row[name]) for row in train if row[name] is not None]  # type: ignore[arg-type]
        mean = math.fsum(values) / len(values)
        scale[name] = mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))
    kinds = {name: len({row[name] for row in train} - {None}) + 2 for name in schema.nominal}
    for row in to_rows(with_unknown(table)):
        of_row = []
        for rows in members:
            total = 0.0
            for name in schema.nominal:
                same = sum(other[name] == row[name] for other in rows)
                total += math.log((same + 1e-3) / (len(rows) + 1e-3 * kinds[name]))
            for name in schema.numeric:
                mean, sd = scale[name]
                z = [(float(other[name]) - mean) / sd for other in rows if other[name] is not None]  # type: ignore[arg-type]
                value = row[name]
                if value is None:
                    total += math.log((len(rows) - len(z) + 1e-3) / (len(rows) + 2e-3))
                    continue
                own = math.fsum(z) / len(z) if z else 0.0
                spread = max(math.sqrt(math.fsum((x - own) ** 2 for x in z) / len(z)), 0.05) if z else 1.0
                at = min(max((float(value) - mean) / sd, -1e4), 1e4)
                total += math.log((len(z) + 1e-3) / (len(rows) + 2e-3)) - math.log(spread) - ((at - own) / spread) ** 2 / 2
            of_row.append(total)
        found.append(of_row)
    return found


def test_the_log_likelihood_is_that_of_the_book() -> None:
    known, fresh = species(300, groups=4, seed=11), species(60, groups=6, seed=12)
    strange = fresh.codes.nominal["cap"].copy()
    strange[::7] = -1
    table = Codes(
        VOCABULARY, {**fresh.codes.nominal, "cap": strange}, {**fresh.codes.numeric, "width": fresh.codes.numeric["width"] * 3}, 60
    )
    guard = guard_of(known)
    expected = np.array(by_the_book(known, SCHEMA, table))
    own = np.array(by_the_book(known, SCHEMA, known.codes))
    assert known.group is not None
    medians = [float(np.median(own[known.group == group, group])) for group in range(4)]
    anomalies = np.array([counted_anomalies(row, known) for row in to_rows(table)]) + (strange == -1)
    assert 0 < np.count_nonzero(anomalies) < 60
    assert guard.typicalities(table) == pytest.approx(expected - medians - 1000 * anomalies[:, np.newaxis], abs=2e-6)
    found = guard.novelty(table)
    assert found.typicality == pytest.approx((expected - medians).max(axis=1) - 1000 * anomalies, abs=2e-6)
    assert found.component.tolist() == (expected - medians).argmax(axis=1).tolist()


def counted_anomalies(row: Mapping[str, Any], known: Observations) -> int:
    """Values never seen in the known rows, numbers out of their range, and cells missing beyond their most, one by one."""
    seen = [dict[str, Any](other) for other in to_rows(known.codes)]
    count = max(0, list(row.values()).count(None) - max(list(other.values()).count(None) for other in seen))
    for name, value in row.items():
        values = [other[name] for other in seen if other[name] is not None]
        if isinstance(value, str):
            count += value not in values
        elif value is not None:
            count += not min(values) <= value <= max(values)
    return count


def test_typicality_is_measured_from_the_median_of_a_components_own_rows() -> None:
    found = GUARD.typicalities(KNOWN.codes)
    assert KNOWN.group is not None
    for component, name in enumerate(GUARD.names):
        assert float(np.median(found[KNOWN.group == name, component])) == pytest.approx(0, abs=2e-6)
    assert GUARD.names.tolist() == [0, 1, 2, 3, 4, 5]
    assert GUARD.positive.tolist() == [0, 1, 0, 1, 0, 1]


def test_the_share_of_positive_rows_of_a_component() -> None:
    table = codes({"a": ["x", "x", "y", "y", "y"]}, dataset({"a": nominal("x", "y")}))
    found = fit_components(table, labels(0, 1, 1, 1, 0), np.array([0, 0, 1, 1, 1]), np.array([-1, -1]), dataset({"a": nominal("x", "y")}))
    assert found.positive == pytest.approx([1 / 2, 2 / 3])
    assert found.names.tolist() == [-1, -1]


def test_missing_is_a_value_of_its_own() -> None:
    schema = dataset({"a": nominal("x", "y"), "n": NUMERIC})
    always, never = [("x", 1.0), ("x", 2.0)] * 20, [(None, None)] * 40
    rows = [*always, *never]
    table = codes({"a": [a for a, _ in rows], "n": [n for _, n in rows]}, schema)
    guard = fit_components(table, np.zeros(80, dtype=np.int8), np.repeat([0, 1], 40), np.array([0, 1]), schema)
    given_ = codes({"a": ["x", None, "y", "?"], "n": [1.0, None, None, None]}, schema)
    found = guard.typicalities(given_)
    assert found[0, 0] > -2 > found[1, 0]  # a missing value where it is never missing is novel
    assert found[1, 1] > -0.1 > found[2, 1]  # ... and familiar where it always is
    assert found[1, 1] > 10 + found[0, 1]
    assert found[3, 1] == found[2, 1]  # a value that no row held in training is like one never seen


WIDE = dataset({**{f"n{at}": NUMERIC for at in range(295)}, **{f"a{at}": OPEN for at in range(5)}})


def wide_rows(rows: int, seed: int) -> Codes:
    """One cell in twenty is missing, and many a row of these 300 columns has a number out of the training rows' range."""
    random = np.random.default_rng(seed)
    numbers = np.where(random.random((295, rows)) < 0.05, np.nan, random.normal(size=(295, rows)))
    words = random.choice(["x", "y", ""], size=(5, rows), p=[0.475, 0.475, 0.05])
    return codes(
        {**{f"n{at}": numbers[at].tolist() for at in range(295)}, **{f"a{at}": [word or None for word in words[at]] for at in range(5)}},
        WIDE,
    )


def test_a_row_with_more_missing_than_any_is_novel_where_anomalies_are_common() -> None:
    known, calibration = wide_rows(500, seed=1), wide_rows(199, seed=2)
    guard = fit_components(known, np.zeros(500, dtype=np.int8), np.zeros(500, dtype=np.intp), np.array([-1]), WIDE)
    guard = calibrate_guard(guard, calibration)
    assert (guard.calibration < -guarding.ANOMALY_PENALTY).mean() > 0.3
    fresh = guard.novelty(wide_rows(400, seed=3)).p
    assert (fresh <= 0.05).mean() < 0.09
    row = next(iter(to_rows(calibration)))
    halved = {name: value if at % 2 else None for at, (name, value) in enumerate(row.items())}
    for emptied in ({}, dict.fromkeys(row), halved):
        assert guard.row(emptied)[0] == 1 / 200
        again = codes({name: [emptied.get(name)] for name in row}, WIDE)
        assert guard.novelty(again).p.tolist() == guard.p_value(guard.most_typical(guard._features(again))[1]).tolist() == [1 / 200]


def test_as_many_missing_as_in_training_are_no_anomaly_and_one_more_is() -> None:
    schema = dataset({"a": nominal("x", "y"), "n": NUMERIC, "m": NUMERIC})
    table = codes({"a": ["x"] * 39 + [None], "n": [1.0, 2.0] * 19 + [None, 1.0], "m": [1.0, 2.0] * 20}, schema)
    guard = fit_components(table, np.zeros(40, dtype=np.int8), np.zeros(40, dtype=np.intp), np.array([0]), schema)
    assert guard.most_missing == 1
    found = guard.typicalities(codes({"a": ["x", None, None], "n": [None, 1.0, None], "m": [1.0, 1.0, 1.0]}, schema))[:, 0]
    assert found[0] > -100
    assert found[1] > -100
    assert found[2] < -guarding.ANOMALY_PENALTY


def test_a_guard_of_a_release_that_did_not_count_missing_cells_is_read() -> None:
    assert Guard.from_bytes(archive(most_missing=None)).most_missing == math.inf


def test_a_value_that_one_component_holds_is_still_unlikely_in_another() -> None:
    schema = dataset({"a": nominal("x", "y")})
    table = codes({"a": ["x"] * 50 + ["y"] * 50}, schema)
    guard = fit_components(table, np.zeros(100, dtype=np.int8), np.repeat([0, 1], 50), np.array([0, 1]), schema)
    found = guard.typicalities(codes({"a": ["x", "y", None]}, schema))
    assert found[0].argmax() == 0
    assert found[1].argmax() == 1
    assert found[0, 1] == pytest.approx(math.log(1e-3 / 50.001), abs=1e-3)
    assert found[2, 1] == found[0, 1] - guarding.ANOMALY_PENALTY  # no row of training lacks it


def test_equal_numbers_are_no_reason_to_fail() -> None:
    schema = dataset({"n": NUMERIC, "m": NUMERIC, "k": NUMERIC})
    table = codes({"n": [3.0] * 20, "m": [None] * 20, "k": [0.1] * 20}, schema)
    guard = calibrate_guard(fit_components(table, np.zeros(20, dtype=np.int8), np.zeros(20, dtype=np.intp), np.array([0]), schema), table)
    assert np.isfinite(guard.weights).all()
    assert guard.row({"n": 3.0, "m": None, "k": 0.1})[0] == 1.0
    for change in ({"n": 300.0}, {"m": 3.0}, {"k": 50.0}, {"k": 1e300}, {"n": -1e300}):
        row: dict[str, Any] = {"n": 3.0, "m": None, "k": 0.1, **change}
        assert guard.row(row)[0] == 1 / 21
        assert guard.novelty(codes({name: [value] for name, value in row.items()}, schema)).p.tolist() == [1 / 21]


def test_numbers_that_rounding_alone_spreads_do_not_make_their_neighbours_unknown() -> None:
    # As in the encoder: 0.1 a hundred times has a standard deviation of 1e-17, which is none.
    schema = dataset({"n": NUMERIC})
    guards = []
    for value in (0.1, 0.125):
        table = codes({"n": [value] * 100}, schema)
        assert (float(table.numeric["n"].std()) > 0) == (value == 0.1)
        guards.append(fit_components(table, np.zeros(100, dtype=np.int8), np.zeros(100, dtype=np.intp), np.array([0]), schema))
    tenth, eighth = (
        guard.typicalities(codes({"n": [value + 0.001]}, schema))[0, 0] for guard, value in zip(guards, (0.1, 0.125), strict=True)
    )
    assert tenth == pytest.approx(eighth, abs=1e-3)


def test_a_component_without_a_number_has_the_curve_of_all_rows() -> None:
    schema = dataset({"a": nominal("x", "y"), "n": NUMERIC})
    table = codes({"a": ["x"] * 30 + ["y"] * 30, "n": [float(n % 5) for n in range(30)] + [None] * 30}, schema)
    guard = fit_components(table, np.zeros(60, dtype=np.int8), np.repeat([0, 1], 30), np.array([0, 1]), schema)
    near, far = guard.typicalities(codes({"a": ["y", "y"], "n": [2.0, 40.0]}, schema))[:, 1]
    assert near < math.log(1e-3 / 30) + 1  # a number where there never is one
    assert far < near - 100


# --- the p-value -----------------------------------------------------------------------------------------------------


def test_the_p_value_is_the_share_of_calibration_rows_at_least_as_novel() -> None:
    guard = replace(GUARD, calibration=np.array([-3.0, -1.0, -1.0, 2.0]))
    expected = {-4.0: 1 / 5, -3.0: 2 / 5, -2.0: 2 / 5, -1.0: 4 / 5, 0.0: 4 / 5, 2.0: 1.0, 3.0: 1.0}
    assert guard.p_value(np.array(list(expected))).tolist() == list(expected.values())


def test_without_calibration_rows_everything_is_certain_of_nothing() -> None:
    guard = guard_of(KNOWN)
    assert guard.calibration.tolist() == []
    assert set(guard.novelty(KNOWN.codes).p.tolist()) == {1.0}
    assert guard.row({})[0] == 1.0


def test_calibrating_keeps_the_typicalities_in_order_and_leaves_the_guard_as_it_was() -> None:
    guard = guard_of(KNOWN)
    found = calibrate_guard(guard, CALIBRATION.codes)
    assert found.calibration.tolist() == sorted(guard.novelty(CALIBRATION.codes).typicality.tolist())
    assert guard.calibration.tolist() == []
    assert calibrate_guard(found, CALIBRATION.codes).calibration.tolist() == found.calibration.tolist()


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_of_fresh_rows_so_many_are_as_novel_as_the_p_value_says(share: float) -> None:
    # Conformal p-values are valid over calibration and fresh rows together: so both are drawn again and again.
    rows = 99 if share > 0.01 else 199
    below, trials = 0, 0
    for seed in range(40):
        guard = calibrate_guard(GUARD, species(rows, seed=1000 + seed).codes)
        below += int((guard.novelty(species(300, seed=2000 + seed).codes).p <= share).sum())
        trials += 300
    # Rows of one guard are alike in their luck: the share is beta distributed from guard to guard.
    k = math.floor(share * (rows + 1))
    spread = math.sqrt(stats.beta(k, rows + 1 - k).var() / 40 + share * (1 - share) / trials)
    assert abs(below / trials - k / (rows + 1)) < 4 * spread


def test_the_rows_it_was_fitted_on_would_promise_too_much() -> None:
    # Why calibration rows are rows of their own: by the training rows' typicalities more fresh rows are novel than should be.
    known = species(90, groups=6, seed=31)
    fitted = guard_of(known)
    fresh = species(3000, groups=6, seed=32).codes
    assert (calibrate_guard(fitted, known.codes).novelty(fresh).p <= 0.05).mean() > 0.08
    assert (calibrate_guard(fitted, species(2000, groups=6, seed=33).codes).novelty(fresh).p <= 0.05).mean() < 0.07


def test_rows_of_a_group_that_was_left_out_are_more_novel() -> None:
    assert KNOWN.group is not None
    assert CALIBRATION.group is not None
    for group in range(6):
        guard = guard_of(KNOWN.take(KNOWN.group != group), CALIBRATION.take(CALIBRATION.group != group))
        found = guard.novelty(species(1000, seed=41).codes)
        mine = species(1000, seed=41).group == group
        assert np.median(found.typicality[mine]) < np.median(found.typicality[~mine]) - 2
        assert found.p[mine].mean() < 0.3 < found.p[~mine].mean()


@given(st.integers(0, 2**32), st.sampled_from(list(VOCABULARY)))
@hypothesis_settings(max_examples=25)
def test_a_value_never_seen_is_never_more_typical_than_any_seen_one(seed: int, name: str) -> None:
    fresh = species(20, seed=seed).codes
    unseen = Codes(VOCABULARY, {**fresh.nominal, name: np.full(20, -1, dtype=np.int16)}, fresh.numeric, 20)
    least = GUARD.typicalities(unseen)
    for code in range(1, len(VOCABULARY[name]) + 1):
        seen = Codes(VOCABULARY, {**fresh.nominal, name: np.full(20, code, dtype=np.int16)}, fresh.numeric, 20)
        assert (GUARD.typicalities(seen) >= least).all()


# --- files -----------------------------------------------------------------------------------------------------------


def equal(left: Guard, right: Guard) -> bool:
    arrays = ("weights", "names", "positive", "calibration")
    return (left.categories, left.scales) == (right.categories, right.scales) and all(
        getattr(left, name).dtype == getattr(right, name).dtype and np.array_equal(getattr(left, name), getattr(right, name))
        for name in arrays
    )


@given(guards())
def test_a_guard_comes_back_from_its_bytes_as_it_was(case: tuple[Labelled, Guard]) -> None:
    table, guard = case
    data = guard.to_bytes()
    back = Guard.from_bytes(data)
    assert equal(back, guard)
    assert back.to_bytes() == data
    assert back.novelty(table.codes).p.tolist() == guard.novelty(table.codes).p.tolist()
    assert list(back.categories) == list(guard.categories)


def test_its_bytes_are_the_same_at_any_time() -> None:
    again = guard_of(species(1200, seed=1), species(600, seed=2))
    assert again.to_bytes() == GUARD.to_bytes()
    with zipfile.ZipFile(io.BytesIO(GUARD.to_bytes())) as file:
        assert {item.date_time for item in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_guard_of_numbers_only_or_of_values_only_comes_back_too() -> None:
    for schema, table in (
        (dataset({"n": NUMERIC}), codes({"n": [1.0, 2.0]}, dataset({"n": NUMERIC}))),
        (dataset({"a": OPEN}), codes({"a": [None, None]}, dataset({"a": OPEN}))),
    ):
        guard = fit_components(table, labels(0, 1), np.array([0, 0]), np.array([5]), schema)
        assert equal(Guard.from_bytes(guard.to_bytes()), guard)


SMALL = guard_of(species(40, groups=2, seed=1), species(20, groups=2, seed=2)).to_bytes()


def npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.arange(3))
    return file.getvalue()


def archive(**change: Any) -> bytes:
    """A guard's archive with other arrays in it; None leaves one out."""
    with np.load(io.BytesIO(SMALL)) as stored:
        arrays = {**dict(stored), **change}
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in arrays.items() if array is not None})
    return file.getvalue()


@pytest.mark.parametrize(
    "data", [b"", b"x", b"not a guard at all", b"PK\x03\x04", SMALL[:-1], SMALL[:100], npy()], ids=lambda data: repr(data[:12])
)
def test_bytes_that_are_no_guard_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Guard.from_bytes(data)


@pytest.mark.parametrize("name", ["weights", "names", "positive", "calibration", "scale_names", "scales", "category_names", "categories.1"])
def test_an_archive_without_one_of_its_arrays_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^not a guard: "):
        Guard.from_bytes(archive(**{name: None}))


@pytest.mark.parametrize(
    "change",
    [
        {"weights": np.zeros((3, 2))},
        {"names": np.arange(3)},
        {"positive": np.zeros(1)},
        {"scales": np.zeros((1, 2))},
        {"categories.0": np.array(["a"])},
        {"category_names": np.array(["cap"])},
    ],
    ids=lambda change: next(iter(change)),
)
def test_arrays_that_do_not_go_together_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Guard.from_bytes(archive(**change))


def test_arrays_of_python_objects_are_not_read() -> None:
    with pytest.raises(ValueError, match=r"pickle"):
        Guard.from_bytes(archive(**{"categories.0": np.array([["a"], ["b", "c"]], dtype=object)}))


def test_a_damaged_byte_is_refused_or_does_not_matter() -> None:
    intact = Guard.from_bytes(SMALL)
    draw = np.random.default_rng(0)
    # The directory of a zip archive stands at its end: every bit of it, and of the rest some.
    start = SMALL.index(b"PK\x01\x02")
    places = [(place, 1 << bit) for place in range(start, len(SMALL)) for bit in (0, 3, 7)]
    places += [(int(place), 1 << int(bit)) for place, bit in zip(draw.integers(0, start, 300), draw.integers(0, 8, 300), strict=True)]
    for place, flip in places:
        damaged = bytearray(SMALL)
        damaged[place] ^= flip
        try:
            found = Guard.from_bytes(bytes(damaged))
        except ValueError:
            continue
        assert equal(found, intact)

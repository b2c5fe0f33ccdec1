"""The verdict: one row and many alike; whatever is novel, contradictory or not a number is unknown; two witnesses for the negative."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.safety.verdict import NEGATIVE, POSITIVE, UNKNOWN, VerdictLimits, is_familiar, verdict, verdict_words
from support import NUMERIC, dataset

SHARES = st.floats(0, 1)
COVERAGES = st.one_of(st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.995, 0.999]), st.floats(0, 1, exclude_max=True))
THRESHOLDS = st.one_of(st.none(), st.sampled_from([0.0, 0.001, 0.5, 1.0]), SHARES)
LIMITS = st.builds(
    lambda negative, positive, coverage: VerdictLimits(negative, max(positive, negative or 0.0), coverage), THRESHOLDS, SHARES, COVERAGES
)
PROBABILITIES = st.one_of(st.sampled_from([0.0, 0.5, 1.0, float("nan"), 5e-324]), SHARES)
P_VALUES = st.one_of(st.sampled_from([0.005, 0.05, 1.0, float("nan")]), SHARES, st.integers(1, 5000).map(lambda n: 1 / n))
ROW = st.tuples(PROBABILITIES, P_VALUES, st.booleans(), st.booleans())
ROWS = st.lists(ROW, max_size=12)
Row = tuple[float, float, bool, bool]


def of_rows(rows: list[Row], limits: VerdictLimits) -> Any:
    probability, novelty_p, contradictory, agrees = zip(*rows, strict=True) if rows else ((), (), (), ())
    p, novelty = np.array(probability, dtype=np.float64), np.array(novelty_p, dtype=np.float64)
    return verdict(p, novelty, np.array(contradictory, dtype=np.bool_), np.array(agrees, dtype=np.bool_), limits)


def by_the_book(probability: float, novelty_p: float, contradictory: bool, agrees: bool, limits: VerdictLimits) -> int:
    """The rules one after the other."""
    if contradictory or np.isnan(probability) or np.isnan(novelty_p) or novelty_p <= 1 - limits.coverage + 1e-12:
        return UNKNOWN
    if probability > limits.positive:
        return POSITIVE
    if limits.negative is not None and probability <= limits.negative and agrees:
        return NEGATIVE
    return UNKNOWN


@given(ROWS, LIMITS)
def test_one_row_has_the_verdict_it_has_in_a_table(rows: list[Row], limits: VerdictLimits) -> None:
    found = of_rows(rows, limits)
    assert (found.dtype, found.shape) == (np.int8, (len(rows),))
    alone = [verdict(*row, limits) for row in rows]
    as_numpy = [verdict(np.float64(p), np.float64(n), np.bool_(c), np.bool_(a), limits) for p, n, c, a in rows]  # type: ignore[arg-type]
    assert all(type(answer) is int for answer in (*alone, *as_numpy))
    assert found.tolist() == alone == as_numpy == [by_the_book(*row, limits) for row in rows]


@given(ROWS, COVERAGES)
def test_without_a_threshold_the_negative_class_is_never_said(rows: list[Row], coverage: float) -> None:
    assert NEGATIVE not in of_rows(rows, VerdictLimits(None, 0.5, coverage)).tolist()


@given(PROBABILITIES, P_VALUES, st.booleans(), LIMITS)
def test_one_witness_is_not_enough(probability: float, novelty_p: float, contradictory: bool, limits: VerdictLimits) -> None:
    assert verdict(probability, novelty_p, contradictory, False, limits) != NEGATIVE
    assert verdict(probability, novelty_p, True, True, limits) == UNKNOWN


@given(ROWS, SHARES, COVERAGES)
def test_between_the_thresholds_is_unknown(rows: list[Row], negative: float, coverage: float) -> None:
    limits = VerdictLimits(negative / 4, 0.5, coverage)
    for row, found in zip(rows, of_rows(rows, limits).tolist(), strict=True):
        assert found == UNKNOWN or not negative / 4 < row[0] <= 0.5


@pytest.mark.parametrize(("coverage", "p"), [(0.995, 0.005), (0.95, 0.05), (0.9, 0.1), (0.99, 0.01), (0.999, 0.001), (0.5, 0.5)])
def test_a_p_value_of_exactly_one_less_the_coverage_is_unknown(coverage: float, p: float) -> None:
    limits = VerdictLimits(1.0, 1.0, coverage)
    assert of_rows([(0.0, p, False, True), (0.0, p + 1e-6, False, True)], limits).tolist() == [UNKNOWN, NEGATIVE]


def test_a_row_more_novel_than_all_calibration_rows_is_never_familiar_however_n_rounds() -> None:
    # At coverage n / (n + 1) the least p-value, 1 / (n + 1), is just not familiar, and the next one is.
    for n in range(1, 20_000):
        assert not is_familiar(1 / (n + 1), n / (n + 1))
        assert is_familiar(2 / (n + 1), n / (n + 1))
    assert not is_familiar(1.0, 0.0)  # no calibration rows at all


def test_the_thresholds_themselves() -> None:
    limits = VerdictLimits(0.25, 0.5, 0.9)
    expected = {0.25: NEGATIVE, float(np.nextafter(0.25, 1)): UNKNOWN, 0.5: UNKNOWN, float(np.nextafter(0.5, 1)): POSITIVE}
    assert {p: verdict(p, 1.0, False, True, limits) for p in expected} == expected
    assert verdict(0.0, 1.0, False, True, VerdictLimits(0.0, 0.5, 0.9)) == NEGATIVE


@given(ROWS, SHARES, SHARES, COVERAGES)
def test_a_more_careful_threshold_takes_negative_answers_away_and_gives_none(
    rows: list[Row], one: float, other: float, coverage: float
) -> None:
    careful, bold = (of_rows(rows, VerdictLimits(at / 2, 0.5, coverage)) for at in (min(one, other), max(one, other)))
    assert not ((careful == NEGATIVE) & (bold != NEGATIVE)).any()
    assert ((careful == POSITIVE) == (bold == POSITIVE)).all()


@given(ROWS, THRESHOLDS, COVERAGES, COVERAGES)
def test_less_coverage_answers_fewer_rows_and_none_differently(rows: list[Row], threshold: float | None, one: float, other: float) -> None:
    less, more = (of_rows(rows, VerdictLimits(threshold, 1.0, coverage)) for coverage in (min(one, other), max(one, other)))
    assert ((less == UNKNOWN) | (less == more)).all()


def test_the_words_stand_at_their_numbers() -> None:
    schema = dataset({"n": NUMERIC})
    found = verdict_words(schema)
    assert (found[NEGATIVE], found[POSITIVE], found[UNKNOWN]) == ("edible", "poisonous", "unknown")

"""The answer: one row and many alike, and whatever is strange, new or not a number is unknown."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.safety.verdict import HALF, NEGATIVE, POSITIVE, UNKNOWN, is_familiar, verdict, verdict_words
from support import NUMERIC, dataset

COVERAGES = st.one_of(st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.995, 0.999]), st.floats(0, 1, exclude_max=True))
THRESHOLDS = st.one_of(st.none(), st.sampled_from([0.0, 0.001, 0.5, 1.0]), st.floats(0, 1))
PROBABILITIES = st.one_of(st.sampled_from([0.0, 0.5, 1.0, float("nan"), 5e-324]), st.floats(0, 1))
P_VALUES = st.one_of(st.sampled_from([0.005, 0.05, 1.0, float("nan")]), st.floats(0, 1), st.integers(1, 5000).map(lambda n: 1 / n))
ROWS = st.lists(st.tuples(PROBABILITIES, P_VALUES, st.booleans()), max_size=12)


def of_rows(rows: list[tuple[float, float, bool]], threshold: float | None, coverage: float) -> Any:
    probability, novelty_p, strange = zip(*rows, strict=True) if rows else ((), (), ())
    return verdict(
        np.array(probability, dtype=np.float64),
        np.array(novelty_p, dtype=np.float64),
        np.array(strange, dtype=np.bool_),
        threshold=threshold,
        coverage=coverage,
    )


def by_the_book(probability: float, novelty_p: float, strange: bool, threshold: float | None, coverage: float) -> int:
    """The rules one after the other."""
    if strange or np.isnan(probability) or np.isnan(novelty_p) or novelty_p <= 1 - coverage + 1e-12:
        return UNKNOWN
    if threshold is None:
        return POSITIVE if probability > HALF else UNKNOWN
    return NEGATIVE if probability <= threshold else POSITIVE


@given(ROWS, THRESHOLDS, COVERAGES)
def test_one_row_is_answered_as_in_the_table(rows: list[tuple[float, float, bool]], threshold: float | None, coverage: float) -> None:
    found = of_rows(rows, threshold, coverage)
    assert (found.dtype, found.shape) == (np.int8, (len(rows),))
    alone = [verdict(p, novelty, strange, threshold=threshold, coverage=coverage) for p, novelty, strange in rows]
    assert all(type(answer) is int for answer in alone)
    assert found.tolist() == alone == [by_the_book(*row, threshold, coverage) for row in rows]


@given(ROWS, THRESHOLDS, COVERAGES)
def test_numbers_of_numpy_are_numbers(rows: list[tuple[float, float, bool]], threshold: float | None, coverage: float) -> None:
    found = [
        verdict(np.float64(p), np.float64(novelty), np.bool_(strange), threshold=threshold, coverage=coverage)  # type: ignore[arg-type]
        for p, novelty, strange in rows
    ]
    assert all(type(answer) is int for answer in found)
    assert found == of_rows(rows, threshold, coverage).tolist()


@given(ROWS, COVERAGES)
def test_without_a_threshold_the_negative_class_is_never_answered(rows: list[tuple[float, float, bool]], coverage: float) -> None:
    assert NEGATIVE not in of_rows(rows, None, coverage).tolist()


@given(PROBABILITIES, P_VALUES, THRESHOLDS, COVERAGES)
def test_what_is_strange_is_unknown(probability: float, novelty_p: float, threshold: float | None, coverage: float) -> None:
    assert verdict(probability, novelty_p, True, threshold=threshold, coverage=coverage) == UNKNOWN
    assert of_rows([(probability, novelty_p, True)], threshold, coverage).tolist() == [UNKNOWN]


@given(PROBABILITIES, P_VALUES, THRESHOLDS, COVERAGES)
def test_what_is_not_a_number_is_unknown(probability: float, novelty_p: float, threshold: float | None, coverage: float) -> None:
    for row in ((float("nan"), novelty_p, False), (probability, float("nan"), False)):
        assert of_rows([row], threshold, coverage).tolist() == [UNKNOWN]
        assert verdict(*row, threshold=threshold, coverage=coverage) == UNKNOWN


@pytest.mark.parametrize(("coverage", "p"), [(0.995, 0.005), (0.95, 0.05), (0.9, 0.1), (0.99, 0.01), (0.999, 0.001), (0.5, 0.5)])
def test_a_p_value_of_exactly_one_less_the_coverage_is_unknown(coverage: float, p: float) -> None:
    assert verdict(0.0, p, False, threshold=1.0, coverage=coverage) == UNKNOWN
    assert verdict(0.0, p + 1e-6, False, threshold=1.0, coverage=coverage) == NEGATIVE
    assert of_rows([(0.0, p, False), (0.0, p + 1e-6, False)], 1.0, coverage).tolist() == [UNKNOWN, NEGATIVE]


def test_a_row_more_novel_than_all_calibration_rows_is_never_familiar_however_n_rounds() -> None:
    # At coverage n / (n + 1) the least p-value, 1 / (n + 1), is just not familiar, and the next one is.
    for n in range(1, 20_000):
        assert not is_familiar(1 / (n + 1), n / (n + 1))
        assert is_familiar(2 / (n + 1), n / (n + 1))
    assert not is_familiar(1.0, 0.0)  # no calibration rows at all


def test_the_threshold_itself_is_answered_negative() -> None:
    assert verdict(0.25, 1.0, False, threshold=0.25, coverage=0.9) == NEGATIVE
    assert verdict(float(np.nextafter(0.25, 1)), 1.0, False, threshold=0.25, coverage=0.9) == POSITIVE
    assert verdict(0.5, 1.0, False, threshold=None, coverage=0.9) == UNKNOWN
    assert verdict(float(np.nextafter(0.5, 1)), 1.0, False, threshold=None, coverage=0.9) == POSITIVE
    assert verdict(0.0, 1.0, False, threshold=0.0, coverage=0.9) == NEGATIVE


@given(ROWS, st.floats(0, 1), st.floats(0, 1), COVERAGES)
def test_a_more_careful_threshold_takes_negative_answers_away_and_gives_none(
    rows: list[tuple[float, float, bool]], one: float, other: float, coverage: float
) -> None:
    careful, bold = of_rows(rows, min(one, other), coverage), of_rows(rows, max(one, other), coverage)
    assert not ((careful == NEGATIVE) & (bold != NEGATIVE)).any()
    assert ((careful == UNKNOWN) == (bold == UNKNOWN)).all()


@given(ROWS, THRESHOLDS, COVERAGES, COVERAGES)
def test_less_coverage_answers_fewer_rows_and_none_differently(
    rows: list[tuple[float, float, bool]], threshold: float | None, one: float, other: float
) -> None:
    less, more = of_rows(rows, threshold, min(one, other)), of_rows(rows, threshold, max(one, other))
    assert ((less == UNKNOWN) | (less == more)).all()


def test_the_arguments_are_left_as_they_are() -> None:
    given_ = [np.array([0.1, 0.9]), np.array([0.5, 0.001]), np.array([False, True])]
    before = [array.copy() for array in given_]
    verdict(given_[0], given_[1], given_[2].astype(np.bool_), threshold=0.5, coverage=0.9)
    assert all(np.array_equal(array, old) for array, old in zip(given_, before, strict=True))


def test_the_words_stand_at_their_numbers() -> None:
    schema = dataset({"n": NUMERIC})
    found = verdict_words(schema)
    assert (found[NEGATIVE], found[POSITIVE], found[UNKNOWN]) == ("edible", "poisonous", "unknown")

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.ab_testing.totals import NO_UNITS, ArmTotals, ShadowTotals, SplitTotals
from sporeprint.errors import DataError
from sporeprint.stats.confidence_sequence import Moments

ANSWER, TRUTH = st.integers(0, 2), st.none() | st.integers(0, 1)
UNITS = st.lists(st.tuples(ANSWER, TRUTH))
REQUESTS = st.lists(st.tuples(ANSWER, ANSWER, TRUTH))


@given(UNITS, UNITS)
def test_parts_added_are_the_whole_in_any_order(one: list[tuple[int, int | None]], other: list[tuple[int, int | None]]) -> None:
    def of(units: list[tuple[int, int | None]]) -> ArmTotals:
        return ArmTotals.of([(*unit, 1) for unit in units], failed=len(units) // 3, latency=Moments(len(units), 2.0 * len(units), 8.0))

    assert (of(one) + of(other)).answers == of((one + other)[::-1]).answers
    assert (of(one) + of(other)).labelled == of((one + other)[::-1]).labelled
    assert of(one) + of(other) == of(other) + of(one)
    assert of(one) + NO_UNITS == of(one)
    assert of(one).units == len(one) + len(one) // 3
    assert of(one).labels == sum(truth is not None for _, truth in one)
    split = SplitTotals(of(one), of(other)) + SplitTotals(of(other), NO_UNITS)
    assert split.units == 2 * of(other).units + of(one).units
    assert split.labels == 2 * of(other).labels + of(one).labels


@given(REQUESTS, REQUESTS)
def test_requests_added_are_the_whole(one: list[tuple[int, int, int | None]], other: list[tuple[int, int, int | None]]) -> None:
    def of(requests: list[tuple[int, int, int | None]]) -> ShadowTotals:
        return ShadowTotals.of([(*request, 1) for request in requests])

    both = of(one) + of(other)
    assert both == of(other + one)
    assert both.units == len(one + other)
    assert both.disagreements == sum(a != b for a, b, _ in one + other)
    assert both.labels == sum(a != b and truth is not None for a, b, truth in one + other)


def test_failures_and_latency_are_added_by_arm() -> None:
    one = ShadowTotals.of([(0, 1, 1, 3)], failed=(1, 2), latency=(Moments(3, 3.0, 3.0), Moments(3, 6.0, 12.0)))
    both = one + one
    assert (both.failed_a, both.failed_b, both.units) == (2, 4, 12)
    assert (both.latency_a, both.latency_b) == (Moments(6, 6.0, 6.0), Moments(6, 12.0, 24.0))


def test_more_labels_than_units_are_refused() -> None:
    with pytest.raises(DataError, match="2 labelled units of 1 with that answer: a unit counts once, with its first outcome"):
        ArmTotals(answers=(1, 0, 0), labelled=((1, 1), (0, 0), (0, 0)))
    with pytest.raises(DataError, match="-1 failed units"):
        ShadowTotals(failed_b=-1)

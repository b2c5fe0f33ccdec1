import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.ab_testing import label_bias
from sporeprint.ab_testing.totals import ArmTotals, ShadowTotals, SplitTotals

KIND = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(KIND, max_size=6))
def test_any_counts_have_an_answer(kinds: list[tuple[int, int]]) -> None:
    found = label_bias.compare(kinds)
    assert math.isfinite(found.log_e)
    assert label_bias.compare([(units - labels, units) for labels, units in kinds]).log_e == pytest.approx(found.log_e, abs=1e-9)


def test_without_units_nothing_is_selective() -> None:
    assert not label_bias.label_bias(SplitTotals()).selective
    assert not label_bias.label_bias(ShadowTotals()).selective


def test_labels_of_what_was_called_edible_alone_are_selective() -> None:
    arm = ArmTotals.of([(0, 0, 90), (0, 1, 2), (0, None, 8), (1, None, 100)])
    found = label_bias.label_bias(SplitTotals(arm, arm))
    assert found.selective
    assert (found.least, found.most) == (0, 0.92)


def test_labels_of_one_arm_alone_are_selective() -> None:
    assert label_bias.label_bias(SplitTotals(ArmTotals.of([(0, 0, 50)]), ArmTotals.of([(0, None, 50)]))).selective


def test_one_kind_of_disagreement_alone_is_selective() -> None:
    assert label_bias.label_bias(ShadowTotals.of([(0, 1, 1, 30), (1, 0, None, 30)])).selective
    assert not label_bias.label_bias(ShadowTotals.of([(0, 0, None, 10_000), (0, 1, 1, 30), (1, 0, 0, 30)])).selective


def test_a_small_difference_is_judged_by_its_evidence_but_for_tests_made_before() -> None:
    even, nearly = (5_000_000, 10_000_000), (4_900_000, 10_000_000)
    found = label_bias.compare([even, nearly])
    assert found.log_e > math.log(label_bias.ALARM)
    assert found.selective
    assert not label_bias.compare([even, nearly], label_bias.TOLERATED_BEFORE).selective


def test_late_labels_raise_no_alarm() -> None:
    """Labels that come 0 to 1,000 units late, whatever was answered, looked at every 20 units."""
    draw, alarms = np.random.default_rng(9), 0
    for _ in range(150):
        kind, due = draw.choice(4, 2000, p=[0.4, 0.4, 0.1, 0.1]), np.arange(2000) + draw.integers(0, 1000, 2000)
        for now in range(20, 2000, 20):
            units = np.bincount(kind[:now], minlength=4)
            labels = np.bincount(kind[:now][due[:now] < now], minlength=4)
            if label_bias.compare(list(zip(labels.tolist(), units.tolist(), strict=True))).selective:
                alarms += 1
                break
    assert alarms <= 1

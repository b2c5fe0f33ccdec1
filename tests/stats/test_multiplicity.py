import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.stats import multiplicity


def test_of_nothing_nothing_is_rejected() -> None:
    assert multiplicity.e_benjamini_hochberg([], 0.05) == ()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=12))
def test_e_bh_is_bh_of_the_reciprocals(e_values: list[float]) -> None:
    p = np.array([1 / e if e > 1e-300 else 1e300 for e in e_values])
    # Step up by hand: a reciprocal may be larger than 1, which no library takes for a p-value.
    order = np.argsort(p, kind="stable")
    passed = np.flatnonzero(p[order] <= 0.1 * np.arange(1, len(p) + 1) / len(p))
    expected = tuple((p <= p[order][passed[-1]]).tolist()) if len(passed) else (False,) * len(p)
    # At the threshold itself rounding decides.
    near = any(abs(e * k / len(e_values) * 0.1 - 1) < 1e-9 for e in e_values for k in range(1, len(e_values) + 1))
    assert near or multiplicity.e_benjamini_hochberg(e_values, 0.1) == expected


def test_e_bh_by_hand() -> None:
    assert multiplicity.e_benjamini_hochberg([math.inf, 0.0, 30.0, 1.0], 0.1) == (True, False, True, False)
    assert multiplicity.e_benjamini_hochberg([39.9, 1.0, 1.0, 1.0], 0.1) == (False, False, False, False)
    assert multiplicity.e_benjamini_hochberg([40.0, 1.0, 1.0, 1.0], 0.1) == (True, False, False, False)


def test_e_bh_keeps_its_rate_for_dependent_e_values() -> None:
    """All ten are the same bet: ten false ones, or none."""
    draw = np.random.default_rng(2)
    shared = np.where(draw.random(4000) < 0.1, 10.0, 0.0)
    false = [any(multiplicity.e_benjamini_hochberg([e] * 10, 0.1)) for e in shared]
    assert np.mean(false) <= 0.115

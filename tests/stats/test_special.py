"""Tests of sporeprint.stats.special: without scipy the numbers are the same."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from sporeprint.stats import special

POSITIVE = st.floats(0.5, 1e4)
SHARE = st.floats(0.001, 0.999)
#: Nearer to 0 scipy's distribution of Student's t is 0.5: see the test below.
T = st.floats(-30, 30).filter(lambda t: not 0 < abs(t) < 1e-6)


def close(name: str, *values: Any, within: float = 1e-12, **others: Any) -> None:
    found = getattr(special, name if name == "logsumexp" else f"_{name}")(*values, **others)
    wanted = getattr(scipy.special, name)(*values, **others)
    assert np.allclose(found, wanted, rtol=within, atol=within, equal_nan=True), (values, found, wanted)


@given(POSITIVE, POSITIVE, SHARE, T, st.integers(1, 2_000), st.data())
@settings(max_examples=60, deadline=None)
def test_the_same_as_scipy(a: float, b: float, share: float, t: float, n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    close("gammaln", a)
    close("betaincinv", a, b, share)
    close("stdtr", a + 0.5, t)
    close("stdtrit", a + 0.5, share, within=1e-11)
    close("bdtr", k, n, 0.5, within=1e-11)
    close("bdtrc", k, n, share, within=1e-11)
    close("ndtri", share)
    assert special.ndtr(t) == pytest.approx(scipy.special.ndtr(t), rel=1e-12, abs=1e-300)
    close("expit", t * 30)


@given(POSITIVE, st.floats(-1e-6, 1e-6))
@settings(max_examples=60, deadline=None)
def test_students_t_near_zero_is_a_line(freedom: float, t: float) -> None:
    density = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    assert special._stdtr(freedom, t) - 0.5 == pytest.approx(t * density, rel=1e-6, abs=1e-15)


@given(st.integers(1, 3_000), st.integers(1, 3_000))
@settings(max_examples=60, deadline=None)
def test_the_beta_function_is_exact_where_it_is_known(a: int, b: int) -> None:
    wanted = -math.log(a * math.comb(a + b - 1, a))
    assert special._betaln(a, b) == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_arrays() -> None:
    a, b = np.array([[0.5, 3.0, 12.5]]), np.array([[0.5], [40.0], [900_000.0]])
    close("betaln", a, b, within=1e-9)  # scipy's own has no more digits for the last row
    values = np.array([[0.0, -1e4, 5.0], [-np.inf, 1.0, 2.0]])
    close("logsumexp", values, axis=-1)
    close("logsumexp", np.array([-np.inf, -np.inf]))
    close("xlogy", np.array([0.0, 2.0, 0.0]), np.array([0.0, 3.0, np.nan]))
    close("xlog1py", np.array([0.0, 2.0]), np.array([-1.0, -0.5]))
    close("expit", np.array([-800.0, 0.0, 800.0]))
    close("ndtri", np.array([0.0, 0.5, 1.0]))


def test_scipys_are_taken_where_it_is_installed() -> None:
    assert all(special.chosen(name) is getattr(scipy.special, name) for name in special.OWN)
    assert special.betaln(2, 3) == scipy.special.betaln(2, 3)

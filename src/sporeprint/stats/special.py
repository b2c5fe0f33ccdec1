"""Special functions: those of scipy where it is installed, else the same to about 1e-12, in NumPy and plain Python.

A server answers, promotes and looks at A/B tests with these; scipy takes 110 MiB and is installed where models are made.
"""

import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from sporeprint.common.optional_dependencies import has

Float64 = npt.NDArray[np.float64]

#: Of the continued fraction of the incomplete beta function.
STEPS, TINY = 100_000, 1e-300
#: Above, Stirling's series has all digits of the logarithm of the beta function, where differences of gammaln have few.
LARGE = 10.0
#: Coefficients of 1/x, 1/x^3, ... of Stirling's series.
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)


def _gammaln(x: npt.ArrayLike) -> Any:
    return _each(math.lgamma)(x)


def _betaln(a: npt.ArrayLike, b: npt.ArrayLike) -> Any:
    return _each(_log_beta)(a, b)


def _log_beta(a: float, b: float) -> float:
    a, b = min(a, b), max(a, b)
    if b < LARGE:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    # The large parts are taken away by hand: what is left are numbers of the size of the result.
    rest = _stirling(b) - _stirling(a + b)
    if a < LARGE:
        return math.lgamma(a) + rest + a - a * math.log(a + b) - (b - 0.5) * math.log1p(a / b)
    ratio = a / b
    own = _stirling(a) + rest + 0.5 * math.log(2 * math.pi) - 0.5 * math.log(b)
    return own + (a - 0.5) * math.log(ratio / (1 + ratio)) - b * math.log1p(ratio)


def _stirling(x: float) -> float:
    return sum(factor / x ** (2 * place + 1) for place, factor in enumerate(STIRLING))


def _xlogy(x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(x, 0) & ~np.isnan(y), 0.0, np.multiply(x, np.log(y)))[()]


def _xlog1py(x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(x, 0) & ~np.isnan(y), 0.0, np.multiply(x, np.log1p(y)))[()]


def logsumexp(values: npt.ArrayLike, axis: int | None = None) -> Any:
    """The logarithm of a sum of exponentials. An interval asks for it eighty times; scipy's takes ten times as long."""
    values = np.asarray(values, dtype=np.float64)
    largest = values.max(axis=axis, keepdims=True)
    safe = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        sums = np.log(np.exp(values - safe).sum(axis=axis, keepdims=True)) + safe
    return np.squeeze(sums, axis=axis)[()]


def _expit(z: npt.ArrayLike) -> Any:
    z = np.asarray(z, dtype=np.float64)
    small = np.exp(-np.abs(z))
    return (np.where(z >= 0, 1.0, small) / (1.0 + small))[()]


def ndtr(x: npt.ArrayLike) -> Any:
    """The normal distribution. Python's own erfc has all digits: a server need not load scipy for it."""
    return _each(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)))(x)


def _ndtri(p: npt.ArrayLike) -> Any:
    return _each(_normal_quantile)(p)


def _normal_quantile(p: float) -> float:
    if not 0 < p < 1:
        return -math.inf if p == 0 else math.inf if p == 1 else math.nan
    return NormalDist().inv_cdf(p)


def _betainc(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function (Lentz's continued fraction)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _betainc_fraction(b, a, 1 - x)
    return _betainc_fraction(a, b, x)


def _betainc_fraction(a: float, b: float, x: float) -> float:
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)) / a
    c, d = 1.0, 1.0 / (1 - (a + b) * x / (a + 1))
    fraction = d
    for m in range(1, STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / (1 + term * d or TINY)
            c = 1 + term / c or TINY
            step = c * d
            fraction *= step
        if abs(step - 1) < 1e-16:
            break
    return front * fraction


def _betaincinv(a: float, b: float, p: float) -> float:
    """Its inverse in x."""
    return _root(lambda x: _betainc(a, b, x) - p, 0.0, 1.0)


def _stdtr(freedom: float, t: float) -> float:
    """Student's t distribution."""
    # The smaller of the two squares is computed, so that neither tail loses its digits.
    square = t * t
    if square < freedom:
        outside = 1.0 - _betainc(0.5, freedom / 2, square / (freedom + square))
    else:
        outside = _betainc(freedom / 2, 0.5, freedom / (freedom + square))
    return 0.5 * outside if t < 0 else 1.0 - 0.5 * outside


def _stdtrit(freedom: float, p: float) -> float:
    """Quantile of Student's t distribution."""
    if p < 0.5:
        return -_stdtrit(freedom, 1 - p)
    if p == 0.5 or p >= 1:
        return 0.0 if p == 0.5 else math.inf
    high = 1.0
    while _stdtr(freedom, high) < p:
        high *= 2
    return _root(lambda t: _stdtr(freedom, t) - p, 0.0, high)


def _bdtr(k: float, n: int, p: float) -> float:
    """P(X <= k) of a binomial variable."""
    k = math.floor(k)
    return 1.0 if k >= n else _betainc(n - k, k + 1, 1 - p)


def _bdtrc(k: npt.ArrayLike, n: npt.ArrayLike, p: npt.ArrayLike) -> Any:
    """P(X > k) of a binomial variable."""
    return _each(lambda k, n, p: 1.0 if k < 0 else 0.0 if k >= n else _betainc(math.floor(k) + 1, n - math.floor(k), p))(k, n, p)


def _each(function: Callable[..., float]) -> Callable[..., Any]:
    return lambda *values: np.vectorize(function, otypes=[np.float64])(*values)[()]


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0: halved until float64 has nothing in between."""
    while True:
        middle = (low + high) / 2
        if not low < middle < high:
            return middle
        if function(middle) < 0:
            low = middle
        else:
            high = middle


@cache
def chosen(name: str) -> Callable[..., Any]:
    """The function of a name that is called: scipy's, which takes an eighth of a second to import, or its own of this module."""
    if not has("scipy"):
        return OWN[name]
    from scipy import special

    function: Callable[..., Any] = getattr(special, name)
    return function


def _of(name: str) -> Callable[..., Any]:
    return lambda *values, **others: chosen(name)(*values, **others)


OWN: dict[str, Callable[..., Any]] = {
    "gammaln": _gammaln,
    "betaln": _betaln,
    "xlogy": _xlogy,
    "xlog1py": _xlog1py,
    "expit": _expit,
    "ndtri": _ndtri,
    "betaincinv": _betaincinv,
    "stdtr": _stdtr,
    "stdtrit": _stdtrit,
    "bdtr": _bdtr,
    "bdtrc": _bdtrc,
}
gammaln = _of("gammaln")
betaln = _of("betaln")
xlogy = _of("xlogy")
xlog1py = _of("xlog1py")
expit = _of("expit")
ndtri = _of("ndtri")
betaincinv = _of("betaincinv")
stdtr = _of("stdtr")
stdtrit = _of("stdtrit")
bdtr = _of("bdtr")
bdtrc = _of("bdtrc")

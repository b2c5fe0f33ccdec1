"""The tests of one look, at a number of units fixed beforehand. NOT SAFE TO PEEK AT.

Looked at every day until they say what one hopes for, they find differences that are not there: looked at 50 times, three in ten
at alpha = 5 % (Armitage, McPherson & Rowe 1969). For what is looked at while it runs see `eprocess` and `confidence_sequence`.
"""

import math
from collections.abc import Callable

from sporeprint.stats.confidence_sequence import Moments
from sporeprint.stats.intervals import UNDEFINED, Estimate, around, bisect
from sporeprint.stats.special import ndtri, stdtr, stdtrit


def welch(a: Moments, b: Moments, confidence: float) -> tuple[Estimate, float]:
    """Mean of b minus mean of a, and the two-sided p-value of "no difference" (Welch 1947). Undefined and NaN without a variance."""
    if min(a.count, b.count) < 2:  # a variance needs two
        return UNDEFINED, math.nan
    part_a, part_b = a.variance / a.count, b.variance / b.count
    error, value = math.sqrt(part_a + part_b), b.mean - a.mean
    if error <= 0:
        return UNDEFINED, math.nan
    freedom = (part_a + part_b) ** 2 / (part_a**2 / (a.count - 1) + part_b**2 / (b.count - 1))
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    return Estimate(value, value - half, value + half), float(2 * stdtr(freedom, -abs(value) / error))


def two_proportions(errors_a: int, units_a: int, errors_b: int, units_b: int) -> float:
    """Two-sided p-value of "both rates are the same": the z test with the pooled rate. NaN where there is no error, or nothing else."""
    pooled = (errors_a + errors_b) / (units_a + units_b)
    error = math.sqrt(pooled * (1 - pooled) * (1 / units_a + 1 / units_b))
    if error <= 0:
        return math.nan
    return math.erfc(abs(errors_b / units_b - errors_a / units_a) / error / math.sqrt(2))


def fisher(errors_a: int, units_a: int, errors_b: int, units_b: int) -> float:
    """Two-sided exact p-value of "both rates are the same" (Fisher 1934)."""
    from scipy.stats import fisher_exact

    return float(fisher_exact([[errors_a, units_a - errors_a], [errors_b, units_b - errors_b]]).pvalue)


def newcombe(errors_a: int, units_a: int, errors_b: int, units_b: int, confidence: float) -> Estimate:
    """Rate of b minus rate of a: the hybrid score interval (Newcombe 1998, method 10)."""
    z = float(ndtri((1 + confidence) / 2))
    (rate_a, low_a, high_a), (rate_b, low_b, high_b) = _wilson(errors_a, units_a, z), _wilson(errors_b, units_b, z)
    value = rate_b - rate_a
    low = value - math.hypot(rate_b - low_b, high_a - rate_a)
    return around(value, low, value + math.hypot(high_b - rate_b, rate_a - low_a))


def _wilson(errors: int, units: int, z: float) -> tuple[float, float, float]:
    rate = errors / units
    centre = (rate + z * z / (2 * units)) / (1 + z * z / units)
    half = z * math.sqrt(rate * (1 - rate) / units + z * z / (4 * units**2)) / (1 + z * z / units)
    return rate, centre - half, centre + half


def miettinen_nurminen(errors_a: int, units_a: int, errors_b: int, units_b: int, confidence: float) -> Estimate:
    """Rate of b minus rate of a: the score interval (Miettinen & Nurminen 1985)."""
    z, value = float(ndtri((1 + confidence) / 2)), errors_b / units_b - errors_a / units_a

    def beyond(delta: float) -> float:
        variance = _restricted_variance(errors_a, units_a, errors_b, units_b, delta)
        return (value - delta) ** 2 - z * z * variance

    low = -1.0 if beyond(-1.0) <= 0 else _edge(beyond, value, -1.0)
    high = 1.0 if beyond(1.0) <= 0 else _edge(beyond, value, 1.0)
    return around(value, low, high)


def _edge(beyond: Callable[[float], float], value: float, end: float) -> float:
    return value if end == value else bisect(beyond, end, value)


def _restricted_variance(errors_a: int, units_a: int, errors_b: int, units_b: int, delta: float) -> float:
    """Variance of the difference at the likeliest rates that differ by delta: a root of l3 p^3 + l2 p^2 + l1 p + l0, p the rate of a."""
    units, errors = units_a + units_b, errors_a + errors_b
    l3, l2 = units, (units_b + 2 * units_a) * delta - units - errors
    l1, l0 = (units_a * delta - units - 2 * errors_a) * delta + errors, errors_a * delta * (1 - delta)
    q = l2**3 / (3 * l3) ** 3 - l1 * l2 / (6 * l3**2) + l0 / (2 * l3)
    root = math.copysign(math.sqrt(max(0.0, l2**2 / (3 * l3) ** 2 - l1 / (3 * l3))), q)
    cosine = 0.0 if root == 0 else max(-1.0, min(1.0, q / root**3))
    rate_a = 2 * root * math.cos((math.pi + math.acos(cosine)) / 3) - l2 / (3 * l3)
    rate_a = max(0.0, -delta, min(1.0, 1 - delta, rate_a))
    rate_b = max(0.0, min(1.0, rate_a + delta))
    return (rate_a * (1 - rate_a) / units_a + rate_b * (1 - rate_b) / units_b) * units / (units - 1)


def units_for_two_proportions(rate_a: float, rate_b: float, traffic_split: float, alpha: float, power: float) -> int:
    """Units of both arms for the two-sided z test (Fleiss, Levin & Paik 2003, without continuity correction)."""
    pooled = (1 - traffic_split) * rate_a + traffic_split * rate_b
    share = traffic_split * (1 - traffic_split)
    null = float(ndtri(1 - alpha / 2)) * math.sqrt(pooled * (1 - pooled) / share)
    away = float(ndtri(power)) * math.sqrt(rate_a * (1 - rate_a) / (1 - traffic_split) + rate_b * (1 - rate_b) / traffic_split)
    return math.ceil(((null + away) / (rate_b - rate_a)) ** 2)


def pairs_for_mcnemar(side: float, alpha: float, power: float) -> int:
    """Pairs in which one of two errs, for the two-sided test of "each as often", by the normal approximation (Miettinen 1968).

    Args:
        side: the probability that it is B, not 1/2.
        alpha: level.
        power: above alpha.
    """
    null, away = float(ndtri(1 - alpha / 2)) / 2, float(ndtri(power)) * math.sqrt(side * (1 - side))
    return math.ceil(((null + away) / (side - 0.5)) ** 2)

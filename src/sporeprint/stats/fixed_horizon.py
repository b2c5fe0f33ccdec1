"""Units of the tests of one look, at a number fixed beforehand: what a sequential test is held against. NOT SAFE TO PEEK AT.

Looked at every day until they say what one hopes for, they find differences that are not there: looked at 50 times, three in ten
at alpha = 5 % (Armitage, McPherson & Rowe 1969). For what is looked at while it runs see `eprocess` and `confidence_sequence`.
"""

import math

from sporeprint.stats.special import ndtri


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

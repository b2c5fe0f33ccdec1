"""The difference of two estimates of which only the intervals are known.

Method of variance estimates recovery (Zou and Donner 2008; for two proportions Newcombe 1998, method 10): the distance of each limit
of the difference is the root of the summed squares of the distances of the two intervals' limits. Exact in level for independent
estimates; where both were made on the same rows, and so agree in their errors, the interval is too wide, never too narrow.
"""

import math

from sporeprint.stats.intervals import Estimate


def independent_difference(a: Estimate, b: Estimate) -> Estimate:
    """B minus a, at the level of the two intervals.

    >>> independent_difference(Estimate(0.5, 0.4, 0.6), Estimate(0.7, 0.6, 0.8)).value
    0.2
    """
    difference = b.value - a.value
    below = math.hypot(b.value - b.low, a.high - a.value)
    above = math.hypot(b.high - b.value, a.value - a.low)
    return Estimate(round(difference, 12), difference - below, difference + above)

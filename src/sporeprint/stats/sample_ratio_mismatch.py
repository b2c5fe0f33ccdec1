"""Do the arms get the shares of the units that they should? If not, something between the assignment and the count is broken.

The sequential multinomial test of Lindon & Malek (2022): units fall into arms with given probabilities, against a Dirichlet mixture
around them. May be looked at after every unit.
"""

from collections.abc import Sequence

import numpy as np

from sporeprint.stats.special import gammaln, xlogy

#: How sharply the mixture sits around the stated shares: as if so many units had been seen. Larger finds smaller deviations, later.
CONCENTRATION = 10_000.0


def log_e(counts: Sequence[int], shares: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """Logarithm of the e-value against "each unit falls into arm i with probability shares[i]"; 0 without units.

    Args:
        counts: units of each arm.
        shares: their probabilities; above 0, adding up to 1.
        concentration: above 0.
    """
    n, share = np.asarray(counts, dtype=np.float64), np.asarray(shares, dtype=np.float64)
    prior = concentration * share
    mixed = gammaln(concentration) - gammaln(concentration + n.sum()) + (gammaln(prior + n) - gammaln(prior)).sum()
    return float(mixed - xlogy(n, share).sum())

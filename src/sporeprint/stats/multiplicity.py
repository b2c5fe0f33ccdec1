"""Several questions at once: which answers may be believed. Holm's procedure is `paired.holm`."""

from collections.abc import Sequence

import numpy as np


def e_benjamini_hochberg(e_values: Sequence[float], alpha: float) -> tuple[bool, ...]:
    """Which hypotheses to reject, with a false discovery rate of at most alpha however they depend on each other (Wang & Ramdas 2022).

    Args:
        e_values: 0 or more; infinity is allowed.
        alpha: level, between 0 and 1.
    """
    e = np.asarray(e_values, dtype=np.float64)
    falling = np.sort(e)[::-1]
    enough = np.flatnonzero(np.arange(1, len(e) + 1) * falling >= len(e) / alpha)
    return tuple((e >= falling[enough[-1]]).tolist()) if len(enough) else (False,) * len(e)

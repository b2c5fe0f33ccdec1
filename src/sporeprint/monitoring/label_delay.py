"""How long outcomes take, from those that came: the ones that are still to come are not forgotten."""

import numpy as np
import numpy.typing as npt

#: Outcomes below which nobody knows how long they take.
LEAST = 30


def wait(delays: npt.NDArray[np.int64], ages: npt.NDArray[np.int64], share: float, least: int = LEAST) -> int | None:
    """How long to wait until a share of the outcomes that will come is here.

    Answers that were given lately can only have outcomes that came soon, so that the delays of all outcomes together are too short.
    Each delay is therefore compared only with outcomes of answers that are old enough to have had it (the product-limit estimate for
    reporting delays, Lagakos, Barraj & De Gruttola 1988). Longer delays than the oldest answer's age are not known of.

    Args:
        delays: how many outcomes came after so many units of time: int64 [k], from 0.
        ages: how many outcomes are of answers that were given so many units ago: int64 [m], from 0. As many in all.
        share: between 0 and 1.
        least: outcomes below which nothing is said.

    Returns:
        units of time, the one in which the last of them comes included; None if there are too few outcomes.

    >>> wait(np.array([50, 45, 5]), np.array([0, 0, 100]), 0.95)
    2
    """
    if delays.sum() < least:
        return None
    came = np.cumsum(delays)
    # A delay of s: among outcomes that came within s, of answers at least as old. No answer is younger than its outcome's delay.
    younger = np.concatenate(([0], np.cumsum(ages)))[: len(delays)]
    younger = np.pad(younger, (0, len(delays) - len(younger)), mode="edge")
    exposed = np.maximum(came - younger, 1)
    stays = np.clip(1 - delays / exposed, 0.0, 1.0)
    # P(delay <= s): all longer delays have not happened.
    within = np.concatenate((np.cumprod(stays[:0:-1])[::-1], [1.0]))
    return int(np.argmax(within >= share - 1e-12)) + 1

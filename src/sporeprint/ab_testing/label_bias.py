"""Whether labels depend on the answers. If only what was called edible is ever tasted, the labels say nothing of the rest.

An error rate among labelled units is that of all units only where being labelled does not depend on the answer. Late labels do no harm as
long as they are equally late for every answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sporeprint.ab_testing.totals import SplitTotals, Totals, differ
from sporeprint.stats.special import betaln, xlog1py, xlogy

#: e-value from which labels are called selective: about one false alarm in a thousand tests.
ALARM = 1000.0
#: Relative difference of labelled shares that tests of the rule `errors_by_arm` tolerate, whatever the evidence.
TOLERATED_BEFORE = 0.05


@dataclass(frozen=True, slots=True)
class LabelBias:
    """How the labelled shares differ.

    Attributes:
        log_e: logarithm of the e-value against "every kind of unit is as likely to be labelled".
        least: smallest share of labelled units among the kinds; NaN without units.
        most: largest.
        selective: whether labels depend on the answers, so that error rates are not identified.
    """

    log_e: float
    least: float
    most: float
    selective: bool


def label_bias(totals: Totals, tolerated: float = 0.0) -> LabelBias:
    """Compare the labelled shares: of each answer in each arm; in shadow mode of each kind of disagreement.

    Args:
        totals: the units.
        tolerated: relative difference of the shares up to which nothing is said, whatever the evidence.
    """
    if isinstance(totals, SplitTotals):
        kinds = [(sum(truths), units) for arm in (totals.a, totals.b) for truths, units in zip(arm.labelled, arm.answers, strict=True)]
    else:
        pairs = enumerate(zip(totals.labelled, totals.answers, strict=True))
        kinds = [(sum(truths), units) for pair, (truths, units) in pairs if differ(pair)]
    return compare(kinds, tolerated)


def compare(kinds: Sequence[tuple[int, int]], tolerated: float = 0.0) -> LabelBias:
    """Compare labelled shares of several kinds of units.

    The e-value is a likelihood ratio: a share of its own for each kind, mixed over Jeffreys' prior, to the likeliest common share
    (universal inference: Wasserman, Ramdas & Balakrishnan 2020).

    Args:
        kinds: (labelled, units) of each.
        tolerated: see `label_bias`.
    """
    labelled, units = np.array([kind for kind in kinds if kind[1] > 0], dtype=np.float64).reshape(-1, 2).T
    if not len(units):
        return LabelBias(0.0, math.nan, math.nan, selective=False)
    common = labelled.sum() / units.sum()
    own = (betaln(labelled + 0.5, units - labelled + 0.5) - betaln(0.5, 0.5)).sum()
    log_e = float(own - xlogy(labelled.sum(), common) - xlog1py((units - labelled).sum(), -common))
    shares = labelled / units
    least, most = float(shares.min()), float(shares.max())
    return LabelBias(log_e, least, most, selective=log_e >= math.log(ALARM) and least < most * (1 - tolerated))

"""How good the answers are to be expected to be, before an outcome is known: confidence-based performance estimation.

CBPE (Bialek, Kuberski, Perrakis & Bifet 2024, arXiv 2401.08348): a calibrated probability says how often its answer is right, so the
confusion matrix of rows without outcomes can be expected. It holds as long as the probabilities stay calibrated: it follows a
change of which rows come (covariate shift), and is blind to a change of what they are (concept drift).
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sporeprint.monitoring.data_profile import of_numbers
from sporeprint.stats import intervals
from sporeprint.stats.histogram import Float64, Histogram
from sporeprint.stats.intervals import UNDEFINED, Estimate, around
from sporeprint.stats.special import ndtri

CONFIDENCE = 0.95
#: Rows below which nothing is estimated.
LEAST_ROWS = 30


@dataclass(frozen=True)
class ScoreHistograms:
    """How often each probability was given, by verdict. Scores of parts add up.

    Attributes:
        by_verdict: of the negative, the positive and the unknown answers.
        invalid: rows whose probability is no finite number.
    """

    by_verdict: tuple[Histogram, ...] = field(default_factory=lambda: (Histogram.empty(),) * 3)
    invalid: int = 0

    @classmethod
    def of(cls, probability: Float64, verdict: npt.NDArray[np.int8]) -> Self:
        """Count rows: P(positive) [n], and NEGATIVE, POSITIVE or UNKNOWN [n]."""
        parts = [of_numbers(probability[verdict == number]) for number in range(3)]
        return cls(tuple(part.histogram for part in parts), sum(part.invalid + part.missing for part in parts))

    def __add__(self, other: Self) -> "ScoreHistograms":
        added = tuple(mine.add(theirs) for mine, theirs in zip(self.by_verdict, other.by_verdict, strict=True))
        return ScoreHistograms(added, self.invalid + other.invalid)

    @property
    def rows(self) -> int:
        """Rows with a probability."""
        return sum(part.total for part in self.by_verdict)


@dataclass(frozen=True)
class EstimatedPerformance:
    """What the probabilities promise. The intervals are for the chance of the outcomes alone: calibration is taken as right.

    Attributes:
        rows: rows it is made from.
        accuracy: of the answers that say a class.
        likelier: of the likelier class, answered or not.
        roc_auc: of the probabilities.
        false_negatives: of the negative answers, the share that will turn out positive.
        error: how far at most the means may be off because the probabilities were binned; 0 where they were not.
        not_computed: why there is none, or None.
    """

    rows: int
    accuracy: Estimate
    likelier: Estimate
    roc_auc: Estimate
    false_negatives: Estimate
    error: float = 0.0
    not_computed: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def estimate_performance(scores: ScoreHistograms, *, confidence: float = CONFIDENCE, least: int = LEAST_ROWS) -> EstimatedPerformance:
    """Estimate performance from probabilities alone.

    Args:
        scores: the probabilities, calibrated.
        confidence: level of the intervals.
        least: rows below which nothing is estimated.
    """
    if scores.rows < least:
        rows = "no row has" if scores.rows == 0 else f"{scores.rows} row{'s have' if scores.rows > 1 else ' has'}"
        reason = f"{rows} a probability; at least {least} are needed"
        return EstimatedPerformance(scores.rows, *(UNDEFINED,) * 4, not_computed=reason)
    negative, positive, _ = scores.by_verdict
    whole = scores.by_verdict[0].add(scores.by_verdict[1]).add(scores.by_verdict[2])
    likelier = np.maximum(whole.values, 1 - whole.values)
    predicted_side = np.concatenate([1 - negative.values, positive.values]), np.concatenate([negative.counts, positive.counts])
    return EstimatedPerformance(
        rows=scores.rows,
        accuracy=_mean(*predicted_side, confidence),
        likelier=_mean(likelier, whole.counts, confidence),
        roc_auc=_roc_auc(whole, confidence),
        false_negatives=_mean(negative.values, negative.counts, confidence),
        error=0.0 if whole.exact else 2.0 ** (whole.shift - 52),
    )


@dataclass(frozen=True)
class ComponentEstimate:
    """Expected performance by the guard's components: known accuracy of each, weighted by how often it comes now.

    Attributes:
        rows: current rows that say which components come.
        reference_rows: rows with an outcome that say how often each component is right.
        components: components that came.
        unseen: share of the current rows whose component has no reference row.
        accuracy: of the answers that say a class.
        likelier: of the likelier class, answered or not.
    """

    rows: int
    reference_rows: int
    components: int
    unseen: float
    accuracy: Estimate
    likelier: Estimate

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def expected_share_right(
    component: npt.NDArray[np.intp],
    right: npt.NDArray[np.bool_],
    current: npt.NDArray[np.intp],
    answers: int,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """The share of right answers to be expected of rows with another mix of components (post-stratification; Holt & Smith 1979).

    The accuracy of a component with few rows is drawn towards that of all by one row. The interval holds the share of right answers
    among `answers`: it has the chance of these, of the mix and of the components' accuracies.

    Args:
        component: int [n], of rows with an outcome.
        right: bool [n], whether each was answered rightly.
        current: int [m], components of current rows.
        answers: how many current answers there are.
        confidence: level of the interval.
    """
    if not len(component) or not len(current) or not answers:
        return UNDEFINED
    number = int(max(component.max(), current.max())) + 1
    rows, hits = np.bincount(component, minlength=number), np.bincount(component[right], minlength=number)
    overall = (float(hits.sum()) + 0.5) / (float(rows.sum()) + 1)
    accuracy = (hits + overall) / (rows + 1)
    mix = np.bincount(current, minlength=number) / len(current)
    value = float(mix @ accuracy)
    of_components = float(mix**2 @ (accuracy * (1 - accuracy) / (rows + 2)))
    of_mix = float(mix @ (accuracy - value) ** 2) / len(current)
    of_answers = float(mix @ (accuracy * (1 - accuracy))) / answers
    spread = float(ndtri((1 + confidence) / 2)) * math.sqrt(of_components + of_mix + of_answers)
    return around(value, max(0.0, value - spread), min(1.0, value + spread))


def _mean(probability: Float64, counts: npt.NDArray[np.int64], confidence: float) -> Estimate:
    """The mean of independent trials with these probabilities, and where it will be."""
    rows = int(counts.sum())
    if not rows:
        return UNDEFINED
    value = float(counts @ probability) / rows
    # A normal approximation; with hardly any chance in it, as with probabilities of 0 and 1, one error more or less is possible.
    spread = float(ndtri((1 + confidence) / 2)) * math.sqrt(float(counts @ (probability * (1 - probability)))) / rows
    return around(value, max(0.0, value - spread), min(1.0, value + spread))


def _roc_auc(whole: Histogram, confidence: float) -> Estimate:
    positive, negative = whole.counts * whole.values, whole.counts * (1 - whole.values)
    p, n = float(positive.sum()), float(negative.sum())
    if min(p, n) < 1:
        return UNDEFINED
    area = float(positive @ (np.cumsum(negative) - negative / 2)) / (p * n)
    # Rows with one probability may be of both classes, but never a row both: what is paired with itself is taken out.
    own = float(whole.counts @ (whole.values * (1 - whole.values))) / 2
    area = (area * p * n - own) / (p * n - 2 * own)
    return intervals.roc_auc(min(1.0, max(0.0, area)), round(p), round(n), confidence)

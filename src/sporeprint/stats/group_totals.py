"""What the metrics need of each group of rows: its totals. With the groups weighted, every metric follows from them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from sporeprint.stats import metrics

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class GroupTotals:
    """Totals of g groups.

    Attributes:
        counts: float64 [g, 4], rows by answer: tn, fp, fn, tp.
        squared: float64 [g], sums of squared errors.
        log: float64 [g], sums of log losses.
        gaps: float64 [g, 15], positives minus scores, summed by calibration bin.
    """

    counts: metrics.Counts
    squared: Float64
    log: Float64
    gaps: Float64

    @classmethod
    def of(cls, y: npt.NDArray[np.int8], p: Float64, group: Index, threshold: float) -> Self:
        """Add up the rows of each group.

        Args:
            y: 0 or 1 [n].
            p: P(positive) [n].
            group: 0 ... g-1 [n], each at least once.
            threshold: a score above it is a positive answer.
        """
        size, one = int(group.max()) + 1, np.zeros_like(group)
        return cls(
            counts=crossed(group, metrics.answers(y, p, threshold), (size, 4)),
            squared=crossed(group, one, (size, 1), metrics.squared_errors(y, p))[:, 0],
            log=crossed(group, one, (size, 1), metrics.log_losses(y, p))[:, 0],
            gaps=crossed(group, metrics.bins(p), (size, metrics.BINS), y - p),
        )

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self.counts)

    def values(self) -> dict[str, float]:
        """The metrics of all rows, by name; without those of the order of the scores."""
        once = self.weighted(np.ones((1, self.groups), dtype=np.int64))
        return {name: float(value[0]) for name, value in once.items() if name != "gaps"}

    def mean_gaps(self) -> Float64:
        """Calibration gaps of all rows: float64 [15]."""
        return np.asarray(self.gaps.sum(axis=0) / self.counts.sum())

    def weighted(self, weights: Int64) -> dict[str, Float64]:
        """The metrics under each row of weights [B, g]: name -> float64 [B]; and "gaps" [B, 15]."""
        w = weights.astype(np.float64)
        counts = w @ self.counts
        rows = counts.sum(axis=1)
        return {
            "accuracy": metrics.accuracy(counts),
            "precision": metrics.precision(counts),
            "recall": metrics.recall(counts),
            "f1": metrics.f1(counts),
            "mcc": metrics.mcc(counts),
            "brier": w @ self.squared / rows,
            "log_loss": w @ self.log / rows,
            "gaps": w @ self.gaps / rows[:, np.newaxis],
        }

    def supports(self) -> dict[str, int]:
        """How many groups have a say in a metric, where that is not all of them."""
        true_negative, false_positive, false_negative, true_positive = (self.counts > 0).T
        positives = int(np.count_nonzero(false_negative | true_positive))
        negatives = int(np.count_nonzero(true_negative | false_positive))
        answers = int(np.count_nonzero(false_positive | true_positive))
        either = int(np.count_nonzero(false_positive | false_negative | true_positive))
        return {"precision": answers, "recall": positives, "f1": either, "roc_auc": min(positives, negatives), "pr_auc": positives}


def crossed(row: Index, column: Index, shape: tuple[int, int], weights: Float64 | None = None) -> Float64:
    """How often each pair of indices occurs, or the sum of its weights: float64 of the given shape."""
    cells = np.bincount(row * shape[1] + column, weights=weights, minlength=shape[0] * shape[1])
    return cells.reshape(shape).astype(np.float64)

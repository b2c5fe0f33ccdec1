"""The verdict: the negative class, the positive class, or unknown. One formula for one row and for tables."""

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from sporeprint.schema import DatasetSchema

NEGATIVE, POSITIVE, UNKNOWN = 0, 1, 2

#: P(positive) above which the positive class is the likelier one.
HALF = 0.5

#: p-values are multiples of 1 / (calibration rows + 1); a difference smaller than this is rounding.
ROUNDING = 1e-12

Numbers = TypeVar("Numbers", float, npt.NDArray[np.float64])
Flag: TypeAlias = "bool | npt.NDArray[np.bool_]"


@dataclass(frozen=True)
class VerdictLimits:
    """Where each class may be said.

    Attributes:
        negative: the largest P(positive) with which the negative class is said; None: it never is.
        positive: P(positive) above which the positive class is said; between the two the verdict is unknown.
        coverage: share of rows like the training rows that the guard is to know.
    """

    negative: float | None
    positive: float
    coverage: float


def verdict(
    probability: Numbers, novelty_p: Numbers, contradictory: Flag, component_negative: Flag, limits: VerdictLimits
) -> int | npt.NDArray[np.int8]:
    """The verdict on one row, or on n.

    The negative class needs two witnesses: the classifier's probability, and the guard's component that the row is most like,
    which must be of the negative class itself.

    Args:
        probability: P(positive), [n] or of one row; NaN where there is none.
        novelty_p: the guard's p-value of the same rows.
        contradictory: whether the row contradicts itself.
        component_negative: whether the component that the row is most like is of the negative class.
        limits: see `VerdictLimits`.

    Returns:
        NEGATIVE, POSITIVE or UNKNOWN: an int, or int8 [n].
    """
    familiar = is_familiar(novelty_p, limits.coverage) & (contradictory == False)  # noqa: E712  # `not` does not take arrays
    negative = (probability <= (-1.0 if limits.negative is None else limits.negative)) & component_negative
    positive = probability > limits.positive
    # Comparisons with NaN are false, so both are, and the verdict is unknown.
    verdicts = UNKNOWN - familiar * (negative * (UNKNOWN - NEGATIVE) + positive * (UNKNOWN - POSITIVE))
    return verdicts.astype(np.int8) if isinstance(verdicts, np.ndarray) else int(verdicts)


def is_familiar(novelty_p: Numbers, coverage: float) -> bool | npt.NDArray[np.bool_]:
    """Whether the guard knows a row, or each of n rows: its p-value is above 1 - coverage."""
    return novelty_p > 1 - coverage + ROUNDING


def verdict_words(schema: DatasetSchema) -> tuple[str, str, str]:
    """The verdicts' words, by their numbers."""
    target = schema.target
    return target.values[target.negative], target.values[target.positive], "unknown"

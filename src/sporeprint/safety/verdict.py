"""What is answered: the negative class, the positive class, or unknown. One formula, wherever an answer is given."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sporeprint.schema import DatasetSchema

NEGATIVE, POSITIVE, UNKNOWN = 0, 1, 2

#: Where no threshold keeps the promise, P(positive) above which the positive class is answered all the same.
HALF = 0.5

#: p-values are multiples of 1 / (calibration rows + 1); a difference smaller than this is rounding.
ROUNDING = 1e-12

Numbers = TypeVar("Numbers", float, npt.NDArray[np.float64])


def verdict(
    probability: Numbers, novelty_p: Numbers, strange: bool | npt.NDArray[np.bool_], *, threshold: float | None, coverage: float
) -> int | npt.NDArray[np.int8]:
    """Answer one row, or n.

    Args:
        probability: P(positive), [n] or of one row; NaN where there is none.
        novelty_p: the guard's p-value of the same rows.
        strange: whether a value was never seen in training, a number lies outside what was, or the row contradicts itself.
        threshold: largest probability that is answered with the negative class; None: it never is, and the positive class
            only from 0.5 on, as a low probability is then no ground for either answer.
        coverage: share of rows like the training rows that are to be answered; a p-value of at most 1 - coverage is unknown.

    Returns:
        NEGATIVE, POSITIVE or UNKNOWN: an int, or int8 [n]. Only of a row that is familiar in every way the probability decides.
    """
    familiar = is_familiar(novelty_p, coverage) & (strange == False)  # noqa: E712  # `not` does not take arrays
    negative = probability <= (-1.0 if threshold is None else threshold)
    positive = probability > (HALF if threshold is None else threshold)
    # Comparisons with NaN are false, so both are, and the answer is unknown.
    verdicts = UNKNOWN - familiar * (negative * (UNKNOWN - NEGATIVE) + positive * (UNKNOWN - POSITIVE))
    return verdicts.astype(np.int8) if isinstance(verdicts, np.ndarray) else int(verdicts)


def is_familiar(novelty_p: Numbers, coverage: float) -> bool | npt.NDArray[np.bool_]:
    """Whether the guard knows a row, or each of n rows: its p-value is above 1 - coverage."""
    return novelty_p > 1 - coverage + ROUNDING


def verdict_words(schema: DatasetSchema) -> tuple[str, str, str]:
    """The answers' words, by their numbers."""
    target = schema.target
    return target.values[target.negative], target.values[target.positive], "unknown"

"""What is answered: the negative class, the positive class, or unknown. One function, wherever an answer is given."""

import numpy as np
import numpy.typing as npt

from sporeprint.schema import DatasetSchema

NEGATIVE, POSITIVE, UNKNOWN = 0, 1, 2


def verdicts(
    probability: npt.NDArray[np.float64],
    novelty_p: npt.NDArray[np.float64],
    strange: npt.NDArray[np.bool_],
    *,
    threshold: float | None,
    coverage: float,
) -> npt.NDArray[np.int8]:
    """Answer n rows.

    Args:
        probability: float64 [n], P(positive); NaN where there is none.
        novelty_p: float64 [n], the guard's p-value.
        strange: bool [n], whether a value was never seen in training, or the row contradicts itself.
        threshold: largest probability that is answered negative; None: never.
        coverage: share of known rows that are to be answered; a p-value of at most 1 - coverage is unknown.

    Returns:
        int8 [n]: NEGATIVE, POSITIVE or UNKNOWN. Without a doubt about a row's familiarity, and only then, its
        probability decides; a missing probability is unknown.
    """
    known = (novelty_p > 1 - coverage) & ~strange & ~np.isnan(probability)
    safe = probability <= (-1.0 if threshold is None else threshold)
    # With no threshold a low probability is no ground for the positive answer either.
    positive = np.full(len(probability), threshold is not None) & ~safe | (probability > 0.5)
    return np.select([known & safe, known & positive], [NEGATIVE, POSITIVE], UNKNOWN).astype(np.int8)


def words(schema: DatasetSchema) -> tuple[str, str, str]:
    """The answers' words, by their numbers."""
    values = schema.target.values
    return values[schema.target.negative], values[schema.target.positive], "unknown"

"""What a model says of one row."""

from dataclasses import dataclass
from typing import Final

from sporeprint.data.groups import GroupName
from sporeprint.messages.predictions import UnknownKind

#: The two kinds of "unknown": more columns have to be looked at; or the row is like nothing that is known.
TOO_LITTLE_OBSERVED: Final = "too_little_observed"
OUT_OF_DISTRIBUTION: Final = "out_of_distribution"


@dataclass(frozen=True)
class Prediction:
    """What a model says of one row.

    Attributes:
        prediction: the likelier class's code.
        probability: P(positive), calibrated.
        verdict: a class's word, or "unknown".
        novelty_p: the guard's p-value.
        threshold: the largest probability that is answered with the negative class; None where it never is.
        unseen: columns whose value the model has never seen.
        outside: columns whose number lies outside the training rows'.
        contradictions: what the row says against itself, in words.
        reason: why the verdict is "unknown"; None where it is not.
        most_like: the guard's component that the row is most like.
        unknown: which kind of "unknown" it is: `TOO_LITTLE_OBSERVED` or `OUT_OF_DISTRIBUTION`; None for another verdict.
        look_at: where too little was observed: the columns to look at next, the best first.
    """

    prediction: str
    probability: float
    verdict: str
    novelty_p: float
    threshold: float | None
    unseen: tuple[str, ...]
    outside: tuple[str, ...]
    contradictions: tuple[str, ...]
    reason: str | None
    most_like: GroupName
    unknown: UnknownKind | None = None
    look_at: tuple[str, ...] = ()

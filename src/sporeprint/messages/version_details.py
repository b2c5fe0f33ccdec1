"""A registered version, how it did and what it stands for: a line of the list of models."""

from collections.abc import Mapping
from typing import Literal

from sporeprint.messages.base import response

Alias = Literal["champion", "production"]
#: Rows of groups that the model has seen in training, and of groups that it has not.
Part = Literal["seen", "unseen"]


@response
class MetricEstimate:
    """A metric with its interval.

    Attributes:
        value: null where it is not defined.
        low: lower confidence bound.
        high: upper confidence bound.
    """

    value: float | None
    low: float | None
    high: float | None


@response
class VerdictCounts:
    """What a version answered on test rows.

    Attributes:
        rows: all of them.
        answered: those with another verdict than unknown.
        correct: those of the answered whose verdict is right.
        positives: rows of the positive class.
        false_negatives: rows of the positive class with the negative verdict.
    """

    rows: int
    answered: int
    correct: int
    positives: int
    false_negatives: int


@response
class VersionPart:
    """How a version did on one part of the test rows.

    Attributes:
        part: seen: rows of groups that are in the training data; unseen: of groups that are not.
        metrics: name -> estimate of the classifier; empty where it was not evaluated.
        verdicts: what was answered; null where it was not evaluated.
        unavailable: why it was not evaluated; null if it was.
    """

    part: Part
    metrics: Mapping[str, MetricEstimate]
    verdicts: VerdictCounts | None
    unavailable: str | None


@response
class VersionDetails:
    """A registered version.

    Attributes:
        ref: as name/v2.
        name: of the model.
        version: its number.
        created: when it was trained, ISO 8601; null if it is damaged.
        aliases: what it stands for: champion, production.
        simulated: whether it was trained on invented rows.
        parts: how it did.
        threshold: largest probability for which the verdict is the negative class; null if the verdict is never the negative class.
        data_fingerprint: of the rows that it was trained on.
        problem: what is damaged; null if nothing is.
    """

    ref: str
    name: str
    version: int
    created: str | None
    aliases: tuple[Alias, ...]
    simulated: bool
    parts: tuple[VersionPart, ...]
    threshold: float | None
    data_fingerprint: str | None
    problem: str | None

"""Identification step by step: what still fits, what to look at next, and the verdict once there may be one."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from sporeprint.messages.base import response
from sporeprint.messages.predictions import UnknownKind


@response
class GroupFit:
    """A known group that the observed columns do not exclude.

    Attributes:
        group: its name; a cluster has none but its number.
        likely_class: the class's word that most of its rows have.
        likelihood: how likely it is, among all known groups.
    """

    group: str
    likely_class: str
    likelihood: float


@response
class GroupNearMiss:
    """A known group that would fit, but for one column.

    Attributes:
        group: its name.
        likely_class: the class's word that most of its rows have.
        column: the one that excludes it.
        value: what was observed there, in words.
    """

    group: str
    likely_class: str
    column: str
    value: str


@response
class AnswerMeaning:
    """What one answer to a question would mean.

    Attributes:
        value: its code; of a number a range.
        words: the same in words.
        likelihood: how likely this answer is.
        positive: probability of the positive class among the known groups after it.
    """

    value: str
    words: str
    likelihood: float
    positive: float


@response
class NextQuestion:
    """A column to look at.

    Attributes:
        column: its name.
        description: what it says, where the contract has that.
        kind: numeric, nominal or date.
        unit: of a numeric column.
        class_bits: expected information about the class, in bits.
        power: expected surprise, in nats, of the likeliest group at the value of a group nobody has shown.
        cost: what it costs to look, beside the other columns.
        answers: what each answer would mean, the likeliest first.
    """

    column: str
    description: str | None
    kind: Literal["numeric", "nominal", "date"]
    unit: str | None
    class_bits: float
    power: float
    cost: float
    answers: tuple[AnswerMeaning, ...]


@response
class Identification:
    """Where an identification stands.

    Attributes:
        verdict: a class's word, or "unknown".
        is_final: whether the verdict will not get better by looking further: it is a class, or no column is left that would tell.
        unknown: which kind of "unknown": too little was observed, or it is like nothing known; null for another verdict.
        reason: why it is unknown.
        observed: columns observed.
        columns: all columns.
        fitting: known groups that fit.
        fitting_positive: those of them of the positive class.
        fits: the likeliest of them.
        near_misses: groups that one column excludes.
        next_questions: what to look at next, the best first.
        unseen: columns whose value was never seen, each with what it may be a slip of.
        outside: columns whose number lies outside the training rows'.
        contradictions: what the row says against itself.
    """

    verdict: str
    is_final: bool
    unknown: UnknownKind | None
    reason: str | None
    observed: int
    columns: int
    fitting: int
    fitting_positive: int
    fits: tuple[GroupFit, ...]
    near_misses: tuple[GroupNearMiss, ...]
    next_questions: tuple[NextQuestion, ...]
    unseen: Mapping[str, str]
    outside: tuple[str, ...]
    contradictions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@response
class IdentifyResponse(Identification):
    """Where an identification stands, and by which version. Nothing of it is stored.

    Attributes:
        model: name of the model.
        version: its version.
        simulated: whether the model was trained on invented rows.
    """

    model: str
    version: int
    simulated: bool

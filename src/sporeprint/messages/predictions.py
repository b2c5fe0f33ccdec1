"""Predictions: of one row, of many, and as they are kept."""

from collections.abc import Mapping
from typing import Any, Literal

from sporeprint.messages.base import response
from sporeprint.messages.outcomes import OutcomeRevision
from sporeprint.messages.problem import RowProblem

Arm = Literal["a", "b"]
#: Which kind of unknown a verdict is: more columns have to be looked at, or the row is like nothing the model knows.
UnknownKind = Literal["too_little_observed", "out_of_distribution"]


@response
class FeatureEffect:
    """The contribution of one column to the score: a SHAP value.

    Attributes:
        column: its name.
        effect: what it adds to the score towards the positive class, in the explanation's unit.
        text: column and value in words.
    """

    column: str
    effect: float
    text: str


@response
class NearestObservation:
    """The training row that is most similar to the row.

    Attributes:
        row: its number in the training table.
        group: the group it belongs to.
        distance: how far it is, 0 for equal rows.
        differing: the columns in which they differ.
        values: its values.
    """

    row: int
    group: str
    distance: float
    differing: tuple[str, ...]
    values: Mapping[str, Any]


@response
class PredictionExplanation:
    """Why a prediction is as it is.

    Attributes:
        attributions: the columns with the largest effect on the score, the largest first; empty if the model cannot be explained.
        unit: of their effects; null if the model cannot be explained.
        base: the score before any column is taken into account, in the same unit.
        contradictions: fields of the row that contradict each other, in words.
        most_similar_group: the group of training rows that the row is most similar to.
        nearest: the most similar training row; null if none is kept.
    """

    attributions: tuple[FeatureEffect, ...]
    unit: str | None
    base: float | None
    contradictions: tuple[str, ...]
    most_similar_group: str
    nearest: NearestObservation | None


@response
class AbAssignment:
    """The part of a prediction in an A/B test.

    Attributes:
        test_id: id of the test.
        name: its name; null if this process does not know the test.
        arm: the arm of the unit.
        degraded: whether another version answered because the arm's own could not.
    """

    test_id: str
    name: str | None
    arm: Arm | None
    degraded: bool = False


@response
class PredictResponse:
    """A prediction. Act on `verdict`, never on `prediction` alone: the verdict is unknown where the model has no ground for one.

    Attributes:
        prediction_id: under which it is kept; its outcome is reported by it.
        verdict: a class in words, or unknown.
        reason: why the verdict is unknown; null if it is not.
        unknown: which kind of unknown it is; null if the verdict is a class, or unknown for another reason.
        look_at: where too little was observed: the columns to look at next, the best first.
        novelty_p: p-value of the novelty guard, 0 to 1; near 0 for rows unlike any training row.
        unseen: columns whose value never occurred in training.
        outside: columns whose number lies outside the range of the training rows.
        prediction: the classifier's own output, whatever the verdict: code of the likelier class.
        probability: the classifier's own output, calibrated, 0 to 1: of the class `probability_of`.
        probability_of: the positive class, in words.
        threshold: largest probability for which the verdict is the negative class; null if the verdict is never the negative class.
        model: name of the model.
        version: its version.
        simulated: whether the model was trained on invented rows.
        ab_test: its part in an A/B test; null if it has none.
        explanation: with explain=true; null otherwise.
    """

    prediction_id: str
    verdict: str
    reason: str | None
    unknown: UnknownKind | None = None
    look_at: tuple[str, ...] = ()
    novelty_p: float
    unseen: tuple[str, ...]
    outside: tuple[str, ...]
    prediction: str
    probability: float
    probability_of: str
    threshold: float | None
    model: str
    version: int
    simulated: bool = False
    ab_test: AbAssignment | None = None
    explanation: PredictionExplanation | None = None


@response
class RowPrediction:
    """The prediction for one row of a batch, or the problem with it: then all other fields are null and the verdict is unknown.

    Attributes:
        row: its number in the batch, from 0.
        prediction_id: under which it is kept.
        verdict: a class in words, or unknown.
        reason: why the verdict is unknown.
        unknown: which kind of unknown it is; null if the verdict is a class, or unknown for another reason.
        look_at: where too little was observed: the columns to look at next, the best first.
        novelty_p: near 0 for rows unlike any training row.
        unseen: columns whose value never occurred in training.
        outside: columns whose number lies outside the range of the training rows.
        prediction: the classifier's own output, whatever the verdict: code of the likelier class.
        probability: the classifier's own output: of the positive class.
        problem: why the row was not understood; null if it was.
    """

    row: int
    prediction_id: str | None = None
    verdict: str = "unknown"
    reason: str | None = None
    unknown: UnknownKind | None = None
    look_at: tuple[str, ...] = ()
    novelty_p: float | None = None
    unseen: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    prediction: str | None = None
    probability: float | None = None
    problem: RowProblem | None = None


@response
class BatchHead:
    """What is said of a batch as a whole.

    Attributes:
        batch_id: under which it is kept.
        model: name of the model.
        version: its version.
        threshold: largest probability for which the verdict is the negative class; null if the verdict is never the negative class.
        rows: number of rows.
        problems: number of rows without a prediction.
        simulated: whether the model was trained on invented rows.
    """

    batch_id: str
    model: str
    version: int
    threshold: float | None
    rows: int
    problems: int
    simulated: bool = False


@response
class BatchResponse(BatchHead):
    """The predictions for many rows.

    Attributes:
        predictions: one for each row, in their order.
    """

    predictions: tuple[RowPrediction, ...]


@response
class StoredFeature:
    """A column of a stored prediction, in words.

    Attributes:
        column: its name.
        text: its value in words.
        unseen: whether the value never occurred in training.
        outside: whether the number lies outside the range of the training rows; false where the version is gone.
    """

    column: str
    text: str
    unseen: bool
    outside: bool


@response
class StoredPrediction:
    """A prediction as it is kept.

    Attributes:
        prediction_id: its id.
        created: when it was made, ISO 8601.
        prediction: code of the likelier class.
        probability: of the positive class.
        verdict: a class in words, or unknown.
        novelty_p: near 0 for rows unlike any training row.
        threshold: largest probability for which the verdict is the negative class.
        model: name of the model.
        version: its version.
        unseen: columns whose value never occurred in training.
        features: the row, in the names and codes of the model's schema.
        batch_id: the batch it belongs to; null if it was predicted alone.
        test_id: the A/B test it takes part in; null if none.
        arm: its arm there.
        unit_id: the unit that keeps the arm.
        shadow: the other arm's prediction, in a shadow test.
        outcome: the latest revision of its outcome; null if none was reported.
        outcome_unknown: why the outcome cannot be looked up now; null if it can.
        outcomes: with explain=true every revision of its outcome, the first one first; null otherwise, or while the database is away.
        features_in_words: with explain=true the row in words; null otherwise.
        explanation: with explain=true why it is so, worked out now by the version that predicted; null if that is gone, too.
        explanation_unknown: with explain=true why there is no explanation; null if there is one.
    """

    prediction_id: str
    created: str
    prediction: str
    probability: float | None
    verdict: str
    novelty_p: float | None
    threshold: float | None
    model: str
    version: int
    unseen: tuple[str, ...]
    features: Mapping[str, Any]
    batch_id: str | None = None
    test_id: str | None = None
    arm: Arm | None = None
    unit_id: str | None = None
    shadow: Mapping[str, Any] | None = None
    outcome: OutcomeRevision | None = None
    outcome_unknown: str | None = None
    outcomes: tuple[OutcomeRevision, ...] | None = None
    features_in_words: tuple[StoredFeature, ...] | None = None
    explanation: PredictionExplanation | None = None
    explanation_unknown: str | None = None

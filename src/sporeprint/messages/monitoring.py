"""What the monitor evaluated: streams, evaluations over time, one evaluation."""

from collections.abc import Mapping
from typing import Any, Literal

from sporeprint.messages.base import response

EvaluationState = Literal["alarm", "not computed", "no alarm"]


@response
class MonitoringStream:
    """What is evaluated under one name, with one budget of false alarms.

    Attributes:
        stream_id: its id.
        stream: in words: whose answers, against what.
        evaluations: how many there are.
        last: when the newest was made, ISO 8601.
    """

    stream_id: str
    stream: str
    evaluations: int
    last: str


@response
class MonitoringStreamList:
    """What is evaluated.

    Attributes:
        streams: the newest first.
    """

    streams: tuple[MonitoringStream, ...]


@response
class MetricRange:
    """A number with its interval.

    Attributes:
        value: the number.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float


@response
class ColumnChange:
    """How much a column has changed.

    Attributes:
        column: its name.
        missing: share of rows without a usable value; null: not known.
        alarm: whether it is an alarm.
        size: how large the change is, by its measure; null: it was not computed.
        floor: what the size has to reach to be an alarm.
        measure: what size is.
        about: which question: values, new values or missing.
        not_computed: why it was not computed; null: it was.
    """

    column: str
    missing: float | None
    alarm: bool
    size: float | None
    floor: float | None = None
    measure: str | None = None
    about: str | None = None
    not_computed: str | None = None


@response
class EvaluationSummary:
    """The main numbers of an evaluation.

    Attributes:
        evaluation_id: its id.
        stream_id: of what is evaluated.
        at: when, ISO 8601.
        status: alarm; not computed: no alarm, but not all could be computed; no alarm.
        model: whose answers; null: no model's.
        current: the evaluated rows, in words.
        reference: against what.
        rows: how many.
        simulated: whether rows are invented.
        alarms: what is an alarm, in words, ten at most.
        alarm_count: how many there are.
        not_computed: what could not be computed, and why, ten at most.
        not_computed_count: how many there are.
        columns: what changed, what matters most first.
        columns_left_out: further columns, which matter less.
        answered: predictions by verdict: negative, positive, unknown.
        accuracy: share of right answers; null: no outcomes.
        expected: accuracy to be expected without outcomes; null: not estimated.
        false_negatives: share of negative answers that were wrong; null: no outcomes.
        promise: what the outcomes say of the promise; null: no outcomes.
        alpha: promised: at most this share of the negative answers is wrong.
        labelled: predictions with an outcome.
        mature: whether the outcomes have had the time to come.
    """

    evaluation_id: str
    stream_id: str
    at: str
    status: EvaluationState
    model: str | None
    current: str
    reference: str
    rows: int
    simulated: bool
    alarms: tuple[str, ...]
    alarm_count: int
    not_computed: tuple[str, ...]
    not_computed_count: int
    columns: tuple[ColumnChange, ...]
    columns_left_out: int
    answered: Mapping[str, int]
    accuracy: MetricRange | None
    expected: MetricRange | None
    false_negatives: MetricRange | None
    promise: str | None
    alpha: float
    labelled: int
    mature: bool


@response
class EvaluationList:
    """Evaluations.

    Attributes:
        evaluations: the newest first.
    """

    evaluations: tuple[EvaluationSummary, ...]


@response
class EvaluationResponse:
    """An evaluation.

    Attributes:
        stream: what is evaluated, in words.
        summary: its main numbers.
        details: all that was computed; null: only the newest of a stream keep it.
        has_report: whether its page can be had.
    """

    stream: str
    summary: EvaluationSummary
    details: Mapping[str, Any] | None
    has_report: bool

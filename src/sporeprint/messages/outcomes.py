"""Outcomes: the ground truth of predictions, reported afterwards."""

from typing import Annotated

from pydantic import Field

from sporeprint.messages.base import RequestMessage, response
from sporeprint.messages.problem import RowProblem

#: Most characters of a source.
MAX_SOURCE = 255
#: Most characters of a prediction id.
MAX_PREDICTION_ID = 64

Source = Annotated[str, Field(min_length=1, max_length=MAX_SOURCE)]
#: With its zone; the server says which times it takes.
Time = Annotated[str, Field(min_length=1, max_length=40, json_schema_extra={"format": "date-time"})]


class OutcomeRequest(RequestMessage):
    """The outcome of a prediction. Reported again it changes nothing; reported differently it is a correction.

    Attributes:
        outcome: the class, by code or word.
        source: who reports it.
        observed: when it was observed, with its time zone; left out: now.
    """

    outcome: str
    source: Source | None = None
    observed: Time | None = None


class RowOutcomeRequest(OutcomeRequest):
    """One outcome of many.

    Attributes:
        prediction_id: the prediction it belongs to.
    """

    prediction_id: Annotated[str, Field(min_length=1, max_length=MAX_PREDICTION_ID, pattern=r"^[ -~]+$")]


@response
class OutcomeRevision:
    """One revision of an outcome.

    Attributes:
        prediction_id: the prediction it belongs to.
        outcome: code of the class.
        revision: 1 for the first; further ones are corrections.
        source: who reported it.
        observed: when it was observed, ISO 8601.
        recorded: when it was reported, ISO 8601.
    """

    prediction_id: str
    outcome: str
    revision: int
    source: str
    observed: str
    recorded: str


@response
class OutcomeResponse(OutcomeRevision):
    """The revision that holds a reported outcome.

    Attributes:
        created: whether this request made the revision.
    """

    created: bool


@response
class RowOutcome:
    """The result of one outcome of many.

    Attributes:
        row: its number in the request, from 0.
        prediction_id: the prediction it belongs to; null if that was not understood.
        revision: 1 for the first; null if there is a problem.
        created: whether this request made the revision.
        problem: why it was refused; null if it was not.
    """

    row: int
    prediction_id: str | None = None
    revision: int | None = None
    created: bool = False
    problem: RowProblem | None = None


@response
class OutcomesResponse:
    """The results of many outcomes.

    Attributes:
        rows: number of outcomes.
        created: how many made a revision.
        unchanged: how many had been reported before.
        problems: how many were refused.
        results: one for each, in their order.
    """

    rows: int
    created: int
    unchanged: int
    problems: int
    results: tuple[RowOutcome, ...]

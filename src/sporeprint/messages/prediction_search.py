"""Predictions and batches as lists: the filter, and a line for each."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from sporeprint.messages.base import RequestMessage, response
from sporeprint.messages.outcomes import Time
from sporeprint.messages.predictions import Arm

Text = Annotated[str, Field(min_length=1, max_length=64)]


class PredictionSearchRequest(RequestMessage):
    """Which predictions are listed: those that every field allows.

    Attributes:
        since: made from then on, ISO 8601 with its time zone.
        until: made before then.
        verdict: a class's word, or unknown.
        model: name of the model.
        version: its version.
        outcome: none was reported; right or wrong: the verdict was; corrected: it has a further revision.
        unseen: a column whose value never occurred in training; * for any.
        test_id: of an A/B test.
        arm: of an A/B test.
        unit_id: of the unit that keeps the arm.
        batch_id: rows of this batch, in their order; goes with verdict and unseen alone.
        limit: at most so many.
        before: `next` of the page before.
    """

    since: Time | None = None
    until: Time | None = None
    verdict: Text | None = None
    model: Text | None = None
    version: Annotated[int, Field(ge=1, lt=1 << 31)] | None = None
    outcome: Literal["none", "right", "wrong", "corrected"] | None = None
    unseen: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    test_id: Text | None = None
    arm: Arm | None = None
    unit_id: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    batch_id: Text | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: Annotated[str, Field(pattern=r"^[0-9]{1,18}(-[0-9]{1,18})?$")] | None = None


@response
class PredictionEntry:
    """A prediction as a line of a list.

    Attributes:
        prediction_id: its id.
        created: when it was made, ISO 8601.
        verdict: a class in words, or unknown.
        model: name of the model.
        version: its version.
        novelty_p: near 0 for rows unlike any training row.
        unseen: columns whose value never occurred in training.
        outcome: code of the class that it turned out to be; null if none was reported.
        right: whether the verdict says so; null if there is no outcome, or the verdict is unknown.
        revision: of the outcome; above 1 for a correction, 0 if none was reported.
        test_id: the A/B test it takes part in.
        arm: its arm there.
        unit_id: the unit that keeps the arm.
        batch_id: the batch it belongs to.
        says: three of its columns in words: those that say most, by the attributions of the model that serves.
    """

    prediction_id: str
    created: str
    verdict: str
    model: str
    version: int
    novelty_p: float | None
    unseen: tuple[str, ...]
    outcome: str | None
    right: bool | None
    revision: int
    test_id: str | None
    arm: Arm | None
    unit_id: str | None
    batch_id: str | None
    says: tuple[str, ...]


@response
class PredictionList:
    """Predictions, the latest first.

    Attributes:
        predictions: those of the rows read that pass.
        scanned_to: how far back this call read, ISO 8601; null if it read everything. A call reads a bounded number of rows.
        next: for `before` of the next call, also where nothing passed yet; null if there is nothing more.
    """

    predictions: tuple[PredictionEntry, ...]
    scanned_to: str | None
    next: str | None


@response
class BatchSummary:
    """A batch that is stored.

    Attributes:
        batch_id: its id.
        created: when it was made, ISO 8601.
        model: name of the model.
        version: its version.
        rows: number of rows.
        verdicts: verdict -> number of rows.
        bytes: size of the stored file.
        sha256: its digest; null where the database does not have it yet.
    """

    batch_id: str
    created: str
    model: str
    version: int
    rows: int
    verdicts: Mapping[str, int]
    bytes: int
    sha256: str | None


@response
class BatchDetails(BatchSummary):
    """A stored batch with what its file says of itself.

    Attributes:
        problems: number of rows without a prediction.
        threshold: largest probability for which the verdict is the negative class; null if the verdict is never the negative class.
        simulated: whether the model was trained on invented rows.
        form: in which form the rows came: json, csv or parquet.
        columns: names of the columns that came.
        seconds: from the request to the file.
    """

    problems: int
    threshold: float | None
    simulated: bool
    form: str
    columns: tuple[str, ...]
    seconds: float


@response
class BatchList:
    """Stored batches, the latest first.

    Attributes:
        batches: one line each.
        next: for `before` of the next page; null on the last.
    """

    batches: tuple[BatchSummary, ...]
    next: str | None

"""The queue of a shadow test's disagreements: items to label, without what the versions answered, and what they had answered afterwards."""

from typing import Annotated

from pydantic import ConfigDict, Field

from sporeprint.messages.base import RequestMessage, response
from sporeprint.messages.outcomes import MAX_PREDICTION_ID, Source

#: Most items leased at once.
MOST_LEASED = 20
#: Who labels, where several people use one key.
Labeller = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
PredictionId = Annotated[str, Field(min_length=1, max_length=MAX_PREDICTION_ID, pattern=r"^[ -~]+$")]


class LeaseRequest(RequestMessage):
    """A request for items. Those that the labeller has already come first.

    Attributes:
        count: at most so many.
        labeller: who labels, where several people use one key: an item is one labeller's.
        prediction_id: this item alone, to see it again: one that is had, or was labelled by the same labeller.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"count": 3}})

    count: Annotated[int, Field(ge=1, le=MOST_LEASED)] = 1
    labeller: Labeller | None = None
    prediction_id: PredictionId | None = None


class LabelRequest(RequestMessage):
    """The label of an item. Given again by the same labeller it is a correction.

    Attributes:
        prediction_id: the item.
        outcome: the class, by code or word; or cannot_tell, which is no outcome.
        source: who says so; left out: the key's name.
        note: what else is to be known, as why nobody can tell.
        labeller: as in the lease.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"prediction_id": "b3f1", "outcome": "cannot_tell", "note": "no cap"}})

    prediction_id: PredictionId
    outcome: str
    source: Source | None = None
    note: Annotated[str, Field(max_length=1000)] | None = None
    labeller: Labeller | None = None


@response
class FeatureInWords:
    """A field of an item.

    Attributes:
        column: its name.
        says: its value as people say it.
    """

    column: str
    says: str


@response
class LabelItem:
    """An item to label.

    Attributes:
        prediction_id: to label it by.
        created: when it was predicted, ISO 8601; null if it was deleted.
        features_in_words: its fields, without those that are missing.
        leased_until: until when nobody else gets it, ISO 8601.
        label: the labeller's own, of before: a class code or cannot_tell; null: nothing.
        a: verdict of model_a; null before the label.
        b: verdict of model_b; null likewise.
    """

    prediction_id: str
    created: str | None
    features_in_words: tuple[FeatureInWords, ...]
    leased_until: str
    label: str | None
    a: str | None
    b: str | None


@response
class QueueState:
    """How far the labelling of a test is.

    Attributes:
        running: whether the test goes on: of one that has ended nothing is labelled.
        waiting: items that wait for a label, those in somebody's hands among them.
        enough: whether the test's rule has its verdict.
        fewest: the fewest further labels that can bring one, all of them in favour of one version; null: not known.
    """

    running: bool
    waiting: int
    enough: bool
    fewest: int | None


@response
class LeaseResponse(QueueState):
    """Items that are the labeller's for ten minutes.

    Attributes:
        items: the items, the latest first; the versions' answers come after the label.
    """

    items: tuple[LabelItem, ...]


@response
class LabelResponse(QueueState):
    """A stored label, and what the versions had answered.

    Attributes:
        prediction_id: the item.
        outcome: code of the class; null: nobody can tell.
        revision: of the outcome: 1 for the first, further ones are corrections; null without one.
        a: verdict of model_a.
        b: verdict of model_b.
    """

    prediction_id: str
    outcome: str | None
    revision: int | None
    a: str
    b: str

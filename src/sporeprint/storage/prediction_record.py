"""An answer as it is kept: the record, its bytes in a journal, and its row in the OLTP database.

The bytes are text of four lines: a JSON list of the plain fields, headed by the number of the format, then `unseen`, `features`
and `shadow` as JSON. JSON holds no line end as it is, so the lines cannot be mistaken, and the three go into
the database as they are, without being taken apart.
"""

import json
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, NamedTuple, Self, TypeAlias

import orjson

from sporeprint.errors import DataError

FORMAT = 1
#: Largest record, bytes. MariaDB takes statements of 16 MiB unless told otherwise, and a text can double when it is quoted.
MAX_BYTES = 4 << 20
#: Most characters of a prediction id.
MAX_ID = 64

#: What a feature can be.
Value: TypeAlias = str | int | float | bool | None


class PredictionRecord(NamedTuple):
    """One answer.

    Attributes:
        prediction_id: unique for all time. Ids that sort by time keep a long backlog fast.
        created_us: when it was asked for, microseconds since 1970 UTC.
        model: name of the model.
        version: N of v<N>.
        prediction: class code.
        verdict: what was answered: a class's word, or unknown.
        features: the features as given.
        latency_us: microseconds from question to answer.
        worker: who answered.
        probability: of the positive class.
        novelty_p: the guard's p-value.
        threshold: of the verdict.
        unseen: columns with a value that the training rows do not have.
        batch_id: the batch it belongs to.
        test_id: the A/B test it belongs to.
        arm: a or b.
        unit_id: who or what was assigned to the arm.
        shadow: the other arm's answer, in a shadow test.
    """

    prediction_id: str
    created_us: int
    model: str
    version: int
    prediction: str
    verdict: str
    features: Mapping[str, Value]
    latency_us: int
    worker: str
    probability: float | None = None
    novelty_p: float | None = None
    threshold: float | None = None
    unseen: tuple[str, ...] = ()
    batch_id: str | None = None
    test_id: str | None = None
    arm: str | None = None
    unit_id: str | None = None
    shadow: Mapping[str, Any] | None = None

    def to_bytes(self) -> bytes:
        """The record's bytes in a journal.

        Raises:
            DataError: if it cannot be kept: NaN or infinity, half a surrogate pair, no id, more than `MAX_BYTES`.
        """
        if not 0 < len(self.prediction_id) <= MAX_ID:
            raise DataError(f"a prediction id has 1 to {MAX_ID} characters, not {len(self.prediction_id)}")
        try:
            shadow = b"" if self.shadow is None else _json(self.shadow)
            lines = (_json((FORMAT, *_PLAIN(self))), _json(self.unseen) if self.unseen else b"[]", _json(self.features), shadow)
            data = b"\n".join(lines)
        except (ValueError, TypeError) as error:  # an encoding error is a ValueError
            raise DataError(f"the answer {self.prediction_id!r} cannot be kept: {error}") from None
        if len(data) > MAX_BYTES:
            raise DataError(f"the answer {self.prediction_id!r} has {len(data):,} bytes, at most {MAX_BYTES:,} can be kept")
        return data

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            DataError: if this is no record of a known format.
        """
        plain, unseen, features, shadow = _lines(data)
        try:
            return cls(
                **dict(zip(PLAIN, plain, strict=True)),
                unseen=tuple(json.loads(unseen)),
                features=json.loads(features),
                shadow=json.loads(shadow) if shadow else None,
            )
        except (ValueError, TypeError) as error:
            raise DataError(f"no record of an answer: {error}") from None


#: The fields of the first line, in its order, which is part of the format.
PLAIN = (
    *("prediction_id", "batch_id", "created_us", "model", "version", "prediction", "probability", "verdict", "novelty_p", "threshold"),
    *("test_id", "arm", "unit_id", "latency_us", "worker"),
)
_PLAIN = attrgetter(*PLAIN)
#: Where whole numbers stand in the first line, behind the format.
_WHOLE = tuple(PLAIN.index(name) + 1 for name in ("created_us", "version", "latency_us"))
#: The columns of `as_row`, in its order.
COLUMNS = (*PLAIN, "unseen", "features", "shadow", "recorded_us")

_strictly = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def _json(value: Any) -> bytes:
    """JSON, in a tenth of the time where that is the same.

    orjson writes what is no number as null, so whatever has a null in it that does not stand for a missing value goes the strict way.
    """
    try:
        data = orjson.dumps(value)
    except TypeError:  # among others an integer of more than 64 bits, which JSON has
        return _strictly(value).encode()
    # As many nulls as values that are missing: nothing else was written so. A text with the word goes the strict way, too.
    if (nulls := data.count(b"null")) and nulls != list(value.values() if isinstance(value, dict) else value).count(None):
        return _strictly(value).encode()
    return data


def as_row(data: bytes, recorded_us: int) -> tuple[Any, ...]:
    """A record's values for `COLUMNS`.

    Raises:
        DataError: if this is no record of a known format.
    """
    plain, unseen, features, shadow = _lines(data)
    return (*plain, unseen, features, shadow or None, recorded_us)


def _list(text: str) -> Any:
    """JSON, in a fifth of the time where that is the same: integers of more than 64 bits, orjson reads as another number."""
    values = orjson.loads(text)
    if isinstance(values, list) and any(type(values[at]) is float for at in _WHOLE if at < len(values)):
        return json.loads(text)
    return values


def _lines(data: bytes) -> tuple[list[Any], str, str, str]:
    try:
        first, unseen, features, shadow = data.decode().split("\n")
        known, *plain = _list(first)
    except (ValueError, TypeError) as error:
        raise DataError(f"no record of an answer: {error}") from None
    if known != FORMAT or len(plain) != len(PLAIN):
        raise DataError(f"no record of an answer in format {FORMAT}: it begins with {first[:20]!r}")
    return plain, unseen, features, shadow

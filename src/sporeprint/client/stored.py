"""What the client asks of what the service has stored: predictions by a filter, batches, versions side by side."""

from datetime import datetime
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from sporeprint.client.protocol import Call, Request
from sporeprint.errors import UsageError, expectation
from sporeprint.messages.model_versions import ComparisonResponse, VersionResponse
from sporeprint.messages.prediction_search import BatchDetails, BatchList, PredictionList, PredictionSearchRequest


def search_predictions(**fields: Any) -> Call[PredictionList]:
    """Look for stored predictions, the latest first. `next` of a result is `before` of the call after it.

    Args:
        **fields: those of `PredictionSearchRequest`, such as verdict="unknown", since="2026-11-01T00:00:00Z", outcome="wrong", limit=200.

    Raises:
        UsageError: if there is no such field, or a value cannot be one of it.
    """
    values = {name: value.isoformat() if isinstance(value, datetime) else value for name, value in fields.items()}
    try:
        chosen = PredictionSearchRequest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {expectation(first)}") from None
    query = chosen.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    response = yield Request("GET", "/predictions", {name: str(value) for name, value in query.items()})
    return response.read(PredictionList)


def batches(*, limit: int = 50, before: str | None = None) -> Call[BatchList]:
    """Look at the stored batches, the latest first.

    Args:
        limit: at most so many.
        before: `next` of the page before.
    """
    response = yield Request("GET", "/batches", {"limit": str(limit)} | ({} if before is None else {"before": before}))
    return response.read(BatchList)


def batch(batch_id: str) -> Call[BatchDetails]:
    """Look at one stored batch; its rows are found by `search_predictions(batch_id=...)`."""
    response = yield Request("GET", f"/batches/{quote(batch_id, safe='')}")
    return response.read(BatchDetails)


def model_version(model: str, version: int) -> Call[VersionResponse]:
    """Look at everything that is known of one version."""
    response = yield Request("GET", f"/models/{quote(model, safe='')}/versions/{version}")
    return response.read(VersionResponse)


def compare(a: str, b: str) -> Call[ComparisonResponse]:
    """Look at two versions side by side.

    Args:
        a: a version, as xgboost/v2; a model for its champion; or production.
        b: the other.
    """
    response = yield Request("GET", "/models/compare", {"a": a, "b": b})
    return response.read(ComparisonResponse)

"""`/ui/predictions`: predictions are searched; one has its reasons and what it turned out to be, which is entered here."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from fastapi import Response
from pydantic import ValidationError

from sporeprint.errors import RegistryError, StorageError, StorageUnavailableError, expectation
from sporeprint.messages.outcomes import OutcomeRequest
from sporeprint.messages.prediction_search import PredictionList, PredictionSearchRequest
from sporeprint.messages.predictions import StoredPrediction
from sporeprint.model_serving.endpoints import predictions
from sporeprint.model_serving.endpoints.prediction_search import search_predictions
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_valid, of
from sporeprint.model_serving.ui.identify import verdict_card
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect, address
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema
from sporeprint.storage.oltp.api_keys import Role
from sporeprint.web.names import label_of

#: Most characters of who reports an outcome.
MOST_SOURCE = 255
NOT_CHOSEN = not_valid("field 'outcome': choose what it was")
#: Fields of the search that the page has, in the order of the API's.
FILTERS = tuple(name for name in PredictionSearchRequest.model_fields if name not in ("limit", "before"))


async def find(request: PageRequest) -> PageResponse | Redirect:
    """What a search lists; an id leads to its prediction."""
    if prediction_id := request.query.get("id", "").strip():
        try:
            record = await predictions.prediction(prediction_id, request.service)
        except HttpProblemError as error:
            return _search_page(request, problem=error.problem)
        return Redirect(f"predictions/{record.prediction_id}")
    try:
        listing = await search_predictions(_filter(request.query), request.service)
    except (HttpProblemError, StorageError, StorageUnavailableError) as error:
        return _search_page(request, problem=of(error, request.service.root))
    return _search_page(request, listing)


def _filter(query: Mapping[str, str]) -> PredictionSearchRequest:
    """The search that an address describes; days are those of UTC, and the last one belongs to it. Raises: HttpProblemError."""
    fields = {name: value.strip() for name, value in query.items() if name in (*FILTERS, "before") and value.strip()}
    for name, days in (("since", 0), ("until", 1)):
        if name in fields:
            fields[name] = f"{_day(fields[name], name) + timedelta(days=days)}T00:00:00Z"
    try:
        return PredictionSearchRequest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise HttpProblemError(not_valid(f"field {str(first['loc'][0])!r}: {expectation(first)}")) from None


def _day(text: str, name: str) -> date:
    try:
        day = date.fromisoformat(text)
        if day.year in range(1970, 2300):
            return day
    except ValueError:
        pass
    raise HttpProblemError(not_valid(f"field {name!r}: expected a day, as in 2026-01-31; got {text[:40]!r}"))


def _search_page(request: PageRequest, listing: PredictionList | None = None, problem: Problem | None = None) -> PageResponse:
    schema = request.service.loader.current.bundle.schema
    chosen = {name: value for name in FILTERS if (value := request.query.get(name, "").strip())}
    values = {
        "listing": listing,
        "problem": problem,
        "id": request.query.get("id", "").strip(),
        "chosen": chosen,
        "older": None if listing is None or listing.next is None else address("predictions", **chosen, before=listing.next),
        "is_first": "before" not in request.query,
        "pairs": [(word, request.words.of_table(word)) for word in verdict_words(schema)],
        "columns": {name: request.words.of_table(label_of(name)) for name in schema.columns},
        **class_words(schema),
    }
    if problem is None:
        return PageResponse("predictions.html.j2", values)
    return PageResponse("predictions.html.j2", values, problem.status, problem.headers)


def class_words(schema: DatasetSchema) -> dict[str, Any]:
    """The classes as pages name them."""
    target = schema.target
    return {"classes": target.values, "positive": target.values[target.positive], "negative": target.values[target.negative]}


async def show_prediction(request: PageRequest) -> PageResponse:
    """One prediction."""
    return await _page(request)


async def enter_outcome(request: PageRequest) -> PageResponse | Redirect:
    """Keep what a prediction turned out to be; said differently from before, it is a correction."""
    prediction_id, form = request.path["prediction_id"], request.form
    if not (code := form.get("outcome")):
        return await _page(request, NOT_CHOSEN)
    try:
        source = form.get("source", "").strip()[:MOST_SOURCE] or request.caller.name
        report = OutcomeRequest(outcome=code, source=source)
        await predictions.outcome(prediction_id, report, request.service, request.caller, Response())
    except HttpProblemError as error:
        if error.problem.status != 422 or not request.may(Role.READ):
            raise
        return await _page(request, error.problem)
    return Redirect(f"predictions/{prediction_id}#outcome")


async def _page(request: PageRequest, problem: Problem | None = None) -> PageResponse:
    service = request.service
    record: StoredPrediction = await predictions.prediction(request.path["prediction_id"], service, explain=True)
    schema, card = service.loader.current.bundle.schema, None
    try:  # a version may be gone, or know other columns
        served = await service.loader.get(f"{record.model}/v{record.version}")
        schema = served.bundle.schema
        card = await verdict_card(served, served.reader.row(dict(record.features)), record)
    except (RegistryError, HttpProblemError):
        card = None
    values = {
        "record": record,
        "card": card,
        "problem": problem,
        **class_words(schema),
        "group": "group" if schema.groups is None else schema.groups.name,
        "may_label": request.may(Role.LABEL),
        "typed": request.form,
    }
    return PageResponse("prediction.html.j2", values, 200 if problem is None else problem.status)


PREDICTION_PAGES: tuple[Page, ...] = (
    ("ui_predictions", "GET", "/predictions", find),
    ("ui_prediction", "GET", "/predictions/{prediction_id}", show_prediction),
    ("ui_outcome", "POST", "/predictions/{prediction_id}", enter_outcome),
)

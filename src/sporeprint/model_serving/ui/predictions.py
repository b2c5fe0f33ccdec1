"""`/ui/predictions`: one prediction with its reasons and its outcome, and what it turned out to be is entered here."""

from fastapi import Response

from sporeprint.errors import RegistryError
from sporeprint.inference.identification import words_of
from sporeprint.messages.outcomes import OutcomeRequest
from sporeprint.messages.predictions import StoredPrediction
from sporeprint.model_serving.endpoints import predictions
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_valid
from sporeprint.model_serving.ui.identify import verdict_card
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect
from sporeprint.storage.oltp.api_keys import Role
from sporeprint.web.form import label_of

#: Most characters of who reports an outcome.
MOST_SOURCE = 255
NOT_CHOSEN = not_valid("field 'outcome': choose what it was")


async def find(request: PageRequest) -> PageResponse | Redirect:
    """The page that asks for an id, and leads to the prediction."""
    if prediction_id := request.query.get("id", "").strip():
        try:
            record = await predictions.prediction(prediction_id, request.service)
        except HttpProblemError as error:
            return PageResponse(
                "predictions.html.j2", {"problem": error.problem, "id": prediction_id}, error.problem.status, error.problem.headers
            )
        return Redirect(f"predictions/{record.prediction_id}")
    return PageResponse("predictions.html.j2", {"problem": None, "id": ""})


async def show_prediction(request: PageRequest) -> PageResponse:
    """One prediction."""
    return await _page(request, await predictions.prediction(request.path["prediction_id"], request.service))


async def enter_outcome(request: PageRequest) -> PageResponse | Redirect:
    """Keep what a prediction turned out to be; said differently from before, it is a correction."""
    prediction_id, form = request.path["prediction_id"], request.form
    if not (code := form.get("outcome")):
        return await _page(request, await predictions.prediction(prediction_id, request.service), NOT_CHOSEN)
    try:
        source = form.get("source", "").strip()[:MOST_SOURCE] or request.caller.name
        report = OutcomeRequest(outcome=code, source=source)
        await predictions.outcome(prediction_id, report, request.service, request.caller, Response())
    except HttpProblemError as error:
        if error.problem.status != 422 or not request.may(Role.READ):
            raise
        return await _page(request, await predictions.prediction(prediction_id, request.service), error.problem)
    return Redirect(f"predictions/{prediction_id}#outcome")


async def _page(request: PageRequest, record: StoredPrediction, problem: Problem | None = None) -> PageResponse:
    service = request.service
    schema, card = service.loader.current.bundle.schema, None
    try:  # a version may be gone, or know other columns
        served = await service.loader.get(f"{record.model}/v{record.version}")
        schema = served.bundle.schema
        card = await verdict_card(served, served.reader.row(dict(record.features)), record)
    except (RegistryError, HttpProblemError):
        card = None
    target = schema.target
    fields = [
        (label_of(name), words_of(value, name, schema) if name in schema.columns else str(value), name in record.unseen)
        for name, value in record.features.items()
        if not isinstance(value, bool)
    ]
    values = {
        "record": record,
        "card": card,
        "fields": fields,
        "problem": problem,
        "classes": target.values,
        "positive": target.values[target.positive],
        "negative": target.values[target.negative],
        "group": "group" if schema.groups is None else schema.groups.name,
        "label_of": label_of,
        "may_label": request.may(Role.LABEL),
        "typed": request.form,
    }
    return PageResponse("prediction.html.j2", values, 200 if problem is None else problem.status)


PREDICTION_PAGES: tuple[Page, ...] = (
    ("ui_predictions", "GET", "/predictions", find),
    ("ui_prediction", "GET", "/predictions/{prediction_id}", show_prediction),
    ("ui_outcome", "POST", "/predictions/{prediction_id}", enter_outcome),
)

"""`/ui/alerts`: what is on, what happened to it, and that somebody knows."""

from pydantic import ValidationError

from sporeprint.errors import expectation
from sporeprint.messages.alerts import AcknowledgementRequest
from sporeprint.model_serving.endpoints.alerts import acknowledge_alert, list_alerts, show_alert
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_valid
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect
from sporeprint.storage.oltp.api_keys import Role


async def show_alerts(request: PageRequest) -> PageResponse:
    """The alerts that are on, the worst first; or all of them."""
    over = request.query.get("over") == "true"
    return PageResponse("alerts.html.j2", {"alerts": (await list_alerts(request.service, over=over)).alerts, "over": over})


async def show_one(request: PageRequest) -> PageResponse:
    """An alert with its history."""
    return await _page(request)


async def acknowledge(request: PageRequest) -> PageResponse | Redirect:
    """Say that somebody knows. Said twice, it is noted twice and changes nothing."""
    alert_id = request.path["alert_id"]
    try:
        note = AcknowledgementRequest.model_validate({"note": request.form.get("note", "").strip()})
    except ValidationError as error:
        return await _page(request, not_valid(f"field 'note': {expectation(error.errors()[0])}"))
    try:
        await acknowledge_alert(alert_id, request.service, request.caller, note)
    except HttpProblemError as error:
        if error.problem.status != 409:
            raise
        return await _page(request, error.problem)
    return Redirect(f"alerts/{alert_id}")


async def _page(request: PageRequest, problem: Problem | None = None) -> PageResponse:
    result = await show_alert(request.path["alert_id"], request.service)
    values = {"result": result, "problem": problem, "may_operate": request.may(Role.OPERATE), "typed": request.form}
    return PageResponse("alert.html.j2", values, 200 if problem is None else problem.status)


ALERT_PAGES: tuple[Page, ...] = (
    ("ui_alerts", "GET", "/alerts", show_alerts),
    ("ui_alert", "GET", "/alerts/{alert_id}", show_one),
    ("ui_acknowledge", "POST", "/alerts/{alert_id}", acknowledge),
)

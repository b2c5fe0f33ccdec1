"""Forms of `/ui/models`: what the gate would say, promotion and rollback, each with a reason and after the question whether it is meant."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from sporeprint.errors import RefusedError, expectation
from sporeprint.messages.model_versions import CheckRequest
from sporeprint.messages.models import PromotionRequest
from sporeprint.model_serving.endpoints.gate_check import check
from sporeprint.model_serving.endpoints.promotion import promote, rollback
from sporeprint.model_serving.http.problems import HttpProblemError, not_valid, of
from sporeprint.model_serving.ui.models import comparison_page, version_of, version_page
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect

Message = TypeVar("Message", bound=BaseModel)
#: Moves an alias: an endpoint of the API.
Move = Callable[..., Awaitable[Any]]
#: Fields of the forms that the API knows.
FIELDS = ("version", "alias", "reason", "allow_simulated")
NO_REASON = not_valid("field 'reason': say why; it stands in the history")


async def check_version(request: PageRequest) -> PageResponse:
    """What the gate would say to the promotion that the form describes."""
    name, fields = _fields(request)
    sent = _message(CheckRequest, {key: fields[key] for key in ("version", "alias") if key in fields})
    try:
        checked = await check(name, sent, request.service, request.scope["deadline"])
    except HttpProblemError as error:
        return await _page(request, error.problem.status, problem=error.problem)
    return await _page(request, checked=checked)


async def promote_version(request: PageRequest) -> PageResponse | Redirect:
    """Promote the version that the form names, if it passes the gate."""
    return await _move(request, promote, "promote")


async def roll_back_version(request: PageRequest) -> PageResponse | Redirect:
    """Take back the promotion of the version that the form names: sent twice, it goes back once."""
    return await _move(request, rollback, "rollback")


async def _move(request: PageRequest, move: Move, action: str) -> PageResponse | Redirect:
    name, fields = _fields(request)
    if not fields.get("reason"):
        return await _page(request, 422, problem=NO_REASON)
    message = _message(PromotionRequest, fields)
    if request.form.get("confirmed") != "yes":
        return await _page(request, confirm=action)
    try:
        await move(name, message, request.service, request.caller, deadline=request.scope["deadline"])
    except (HttpProblemError, RefusedError) as error:
        problem = of(error, request.service.root)
        if problem.status != 409:  # whatever else it is, there may be no such version
            raise
        return await _page(request, problem.status, problem=problem)
    return Redirect("models")


def _fields(request: PageRequest) -> tuple[str, dict[str, str]]:
    """The model, and the fields that the API is sent."""
    name, _, number = request.form.get("ref", "").partition("/v")
    fields = {**request.form, "version": number, "reason": request.form.get("reason", "").strip()}
    return name, {key: fields[key] for key in FIELDS if key in fields}


def _message(kind: type[Message], fields: dict[str, str]) -> Message:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise HttpProblemError(not_valid(f"field {str(first['loc'][0])!r}: {expectation(first)}")) from None


async def _page(request: PageRequest, status: int = 200, **more: Any) -> PageResponse:
    """The page that the form stands on, with what came of it; the question whether it is meant has a page of its own."""
    name, number = version_of(dict(zip(("name", "version"), request.form.get("ref", "").partition("/v")[::2], strict=True)))
    if "confirm" in more:
        shown = await version_page(request, name, number, status, **more)
        return replace(shown, template="model_confirm.html.j2")
    if back := request.form.get("back"):
        return await comparison_page(request, back, f"{name}/v{number}", status, **more)
    return await version_page(request, name, number, status, **more)


PROMOTION_PAGES: tuple[Page, ...] = (
    ("ui_gate_check", "POST", "/models/check", check_version),
    ("ui_promote", "POST", "/models/promote", promote_version),
    ("ui_rollback", "POST", "/models/rollback", roll_back_version),
)

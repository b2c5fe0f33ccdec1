"""`/ui/models`: the registered versions, what they stand for, and promotion and rollback with a reason."""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import ValidationError

from sporeprint.messages.models import PromotionRequest
from sporeprint.model_serving.endpoints.models import models
from sporeprint.model_serving.endpoints.promotion import promote, rollback
from sporeprint.model_serving.http.problems import HttpProblemError, not_valid
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect
from sporeprint.storage.oltp.api_keys import Role

#: Moves an alias: an endpoint of the API.
Move = Callable[..., Awaitable[Any]]


async def show_models(request: PageRequest) -> PageResponse:
    """All versions."""
    return PageResponse("models.html.j2", {"registered": await models(request.service), "may_operate": request.may(Role.OPERATE)})


async def promote_version(request: PageRequest) -> Redirect:
    """Promote the version that the form names, if it passes the gate."""
    return await _move(request, promote)


async def roll_back_version(request: PageRequest) -> Redirect:
    """Take back the promotion of the version that the form names: said twice, it goes back once."""
    return await _move(request, rollback)


async def _move(request: PageRequest, move: Move) -> Redirect:
    name, _, version = request.form.get("ref", "").partition("/v")
    reason = request.form.get("reason", "").strip()
    if not reason:
        raise HttpProblemError(not_valid("field 'reason': say why; it is kept in the history"))
    try:
        promotion = PromotionRequest.model_validate({"version": version, "alias": request.form.get("alias"), "reason": reason})
    except ValidationError as error:
        first = error.errors()[0]
        raise HttpProblemError(not_valid(f"field {str(first['loc'][0])!r}: {first['msg']}")) from None
    await move(name, promotion, request.service, request.caller, deadline=request.scope["deadline"])
    return Redirect("models")


MODEL_PAGES: tuple[Page, ...] = (
    ("ui_models", "GET", "/models", show_models),
    ("ui_promote", "POST", "/models/promote", promote_version),
    ("ui_rollback", "POST", "/models/rollback", roll_back_version),
)

"""`/ui/settings`, `/ui/keys` and `/ui/audit`: how the server is configured, who may call it, and who changed what."""

import itertools
from typing import Any

from pydantic import ValidationError

from sporeprint.errors import expectation
from sporeprint.messages.keys import ApiKeyRequest
from sporeprint.model_serving.endpoints.administration import list_changes, show_settings
from sporeprint.model_serving.endpoints.keys import create_key, list_keys, revoke_key
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_valid
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect
from sporeprint.storage.oltp.api_keys import Role

#: Changes of a page.
PAGE = 50
#: Filters of the audit trail.
FILTERS = ("subject", "actor", "action", "since")
ROLE_FIELD = "role-"


async def settings_page(request: PageRequest) -> PageResponse:
    """Every setting, by section."""
    every = (await show_settings(request.service)).settings
    sections = [(name, list(each)) for name, each in itertools.groupby(every, key=lambda setting: setting.name.partition(".")[0])]
    changed = sum(each.origin != "default" and each.value != each.default for each in every)
    return PageResponse("settings.html.j2", {"sections": sections, "count": len(every), "changed": changed})


async def keys_page(request: PageRequest) -> PageResponse:
    """The keys, and the form for another one."""
    return await _keys(request)


async def make_key(request: PageRequest) -> PageResponse:
    """Make a key, and show its secret this once: the answer itself, as an address would show it again."""
    days = request.form.get("expires_days", "").strip()
    roles = [name.removeprefix(ROLE_FIELD) for name in request.form if name.startswith(ROLE_FIELD)]
    fields = {"name": request.form.get("name", "").strip(), "roles": roles, **({"expires_days": days} if days else {})}
    try:
        filters = ApiKeyRequest.model_validate(fields)
        made = await create_key(filters, request.service, request.caller)
    except ValidationError as error:
        return await _keys(request, not_valid(_explained(error)))
    except HttpProblemError as error:
        if error.problem.status != 409:
            raise
        return await _keys(request, error.problem)
    return PageResponse("new_key.html.j2", {"made": made}, 201)


async def revoke(request: PageRequest) -> PageResponse | Redirect:
    """Revoke the key that the form names, if its name was typed."""
    name = request.form.get("name", "")
    if request.form.get("typed", "").strip() != name:
        return await _keys(request, not_valid(f"type the key's name, {name[:64]!r}, to revoke it"))
    try:
        await revoke_key(name, request.service, request.caller)
    except HttpProblemError as error:
        if error.problem.status not in (404, 409):
            raise
        return await _keys(request, error.problem)
    return Redirect("keys")


async def audit_page(request: PageRequest) -> PageResponse:
    """Who changed what."""
    filters: dict[str, Any] = {name: request.query.get(name, "").strip() or None for name in FILTERS}
    problem = None
    try:
        result = await list_changes(request.service, **filters, limit=PAGE, before=request.query.get("before"))
    except HttpProblemError as error:
        result, problem = await list_changes(request.service, limit=PAGE), error.problem
    values = {"result": result, "filters": {name: value or "" for name, value in filters.items()}, "problem": problem}
    return PageResponse("audit.html.j2", values, 200 if problem is None else problem.status)


async def _keys(request: PageRequest, problem: Problem | None = None) -> PageResponse:
    values = {
        "keys": (await list_keys(request.service, revoked=True)).keys,
        "problem": problem,
        "typed": request.form,
        "may_make": request.may(Role.ADMIN),
        "roles": [role.value for role in Role],
        "caller": request.caller.name,
    }
    return PageResponse("keys.html.j2", values, 200 if problem is None else problem.status)


def _explained(error: ValidationError) -> str:
    first = error.errors()[0]
    where = str(first["loc"][0]) if first["loc"] else "form"
    return f"field {where!r}: {expectation(first)}"


ADMINISTRATION_PAGES: tuple[Page, ...] = (
    ("ui_settings", "GET", "/settings", settings_page),
    ("ui_keys", "GET", "/keys", keys_page),
    ("ui_make_key", "POST", "/keys", make_key),
    ("ui_revoke_key", "POST", "/keys/revoke", revoke),
    ("ui_audit", "GET", "/audit", audit_page),
)

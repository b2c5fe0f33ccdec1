"""`/ui/tests/{name}/label`: the disagreements of a shadow test, one a screen, labelled by one key each, blind.

What the versions answered is shown after the label. Each item is leased, so that two people never have the same one; several people who use
one key, or none where none is needed, are distinguished by a cookie.
"""

import re
import secrets
from typing import Any

from pydantic import ValidationError

from sporeprint.messages.ab_labels import LabelItem, LabelRequest, LeaseRequest
from sporeprint.model_serving.endpoints.ab_labels import label_item, lease_items
from sporeprint.model_serving.endpoints.ab_tests import find_test, list_tests
from sporeprint.model_serving.http.problems import HttpProblemError, Problem
from sporeprint.model_serving.ui.ab_tests import of_fields, path_of
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect, address, header
from sporeprint.storage.oltp.ab_labels import CANNOT_TELL
from sporeprint.storage.oltp.ab_tests import AbTest

#: Items that a page holds: the next ones are there before they are needed.
AHEAD = 3
#: Most classes that have a key of their own.
MOST_KEYS = 9
LABELLER_COOKIE = "sporeprint-labeller"
DAY_S = 86_400


async def show_queues(request: PageRequest) -> PageResponse:
    """The tests whose disagreements may be labelled."""
    running = (await list_tests(request.service, status="running")).tests
    shadow = [test for test in running if test.mode == "shadow"]
    return PageResponse("ab_queues.html.j2", {"tests": shadow, "path_of": path_of})


async def show_item(request: PageRequest) -> PageResponse:
    """The next item, or one that was labelled before."""
    test = await find_test(request.service, request.path["name"])
    labeller, cookie = _labeller(request)
    first = await _held(request, test, labeller, request.query.get("item"))
    last = await _held(request, test, labeller, request.query.get("last"))
    return await _page(request, test, labeller, first=first, last=last, cookie=cookie)


async def label(request: PageRequest) -> PageResponse | Redirect:
    """Keep a label, and show what the versions had answered."""
    test, form = await find_test(request.service, request.path["name"]), request.form
    labeller, cookie = _labeller(request)
    fields = {name: form.get(name, "").strip() or None for name in ("prediction_id", "outcome", "source", "note")}
    try:
        body = LabelRequest.model_validate({**fields, "labeller": labeller})
        done = await label_item(test.test_id, body, request.service, request.caller)
    except ValidationError as error:
        return await _page(request, test, labeller, problem=of_fields(error), cookie=cookie)
    except HttpProblemError as error:
        return await _page(request, test, labeller, problem=error.problem, cookie=cookie)
    if request.is_fragment:
        last = await _held(request, test, labeller, done.prediction_id)
        return await _page(request, test, labeller, last=last)
    return Redirect(address(f"{path_of(test.name, test.test_id)}/label", last=done.prediction_id, source=fields["source"]), cookie)


async def _held(request: PageRequest, test: AbTest, labeller: str, prediction_id: str | None) -> LabelItem | None:
    """An item that this labeller has or has labelled. Raises: HttpProblemError, if it is none of theirs."""
    if not prediction_id:
        return None
    return (await lease_items(test.test_id, _lease(labeller, prediction_id), request.service, request.caller)).items[0]


def _lease(labeller: str, prediction_id: str | None = None) -> LeaseRequest:
    try:
        return LeaseRequest(count=AHEAD, labeller=labeller, prediction_id=prediction_id)
    except ValidationError as error:
        raise HttpProblemError(of_fields(error)) from None


def _labeller(request: PageRequest) -> tuple[str, tuple[tuple[bytes, bytes], ...]]:
    """Who labels at this browser, and the cookie that says so next time."""
    cookies = header(request.scope, b"cookie").decode("latin-1").split("; ")
    known = next((text for each in cookies for name, _, text in [each.partition("=")] if name == LABELLER_COOKIE), "")
    if re.fullmatch(r"[0-9a-f]{16}", known):
        return known, ()
    fresh = secrets.token_hex(8)
    secure = "; Secure" if request.is_secure else ""
    return fresh, ((b"set-cookie", f"{LABELLER_COOKIE}={fresh}; Path=/; Max-Age={DAY_S}; HttpOnly; SameSite=Lax{secure}".encode()),)


async def _page(
    request: PageRequest,
    test: AbTest,
    labeller: str,
    *,
    first: LabelItem | None = None,
    last: LabelItem | None = None,
    problem: Problem | None = None,
    cookie: tuple[tuple[bytes, bytes], ...] = (),
) -> PageResponse:
    lease = await lease_items(test.test_id, _lease(labeller), request.service, request.caller)
    items = [*([first] if first else []), *(each for each in lease.items if first is None or each.prediction_id != first.prediction_id)]
    target = request.service.loader.current.bundle.schema.target
    words = {**target.values, CANNOT_TELL: request.words("cannot tell")}
    values: dict[str, Any] = {
        "test": test,
        "path": path_of(test.name, test.test_id),
        "state": lease,
        "items": items,
        "last": last,
        "words": words,
        "classes": [(str(place), code, word) for place, (code, word) in enumerate(target.values.items(), 1)][:MOST_KEYS],
        "cannot_tell": CANNOT_TELL,
        "problem": problem,
        "typed": request.form or request.query,
    }
    template = "_ab_label_items.html.j2" if request.is_fragment else "ab_label.html.j2"
    return PageResponse(template, values, 200 if problem is None else problem.status, cookie)


LABEL_PAGES: tuple[Page, ...] = (
    ("ui_labels", "GET", "/labels", show_queues),
    ("ui_label", "GET", "/tests/{name}/label", show_item),
    ("ui_label_item", "POST", "/tests/{name}/label", label),
)

"""`/ui/`: whether everything is fine, and what wants attention."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Response

from sporeprint.errors import StorageError, StorageUnavailableError
from sporeprint.messages.keys import AuditChange
from sporeprint.model_serving.endpoints.ab_tests import list_tests
from sporeprint.model_serving.endpoints.administration import list_changes
from sporeprint.model_serving.endpoints.alerts import list_alerts
from sporeprint.model_serving.endpoints.models import models
from sporeprint.model_serving.endpoints.runs import list_runs
from sporeprint.model_serving.endpoints.status import activity, health
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect, shared
from sporeprint.storage.oltp.api_keys import Role

#: Most running tests, alerts, and things that happened lately, that are named.
MOST_TESTS, MOST_ALERTS, MOST_LATELY = 5, 3, 5
Result = TypeVar("Result")


@dataclass(frozen=True)
class LateEvent:
    """Something that happened lately.

    Attributes:
        at: when, ISO 8601.
        what: a command, or an action of the audit trail.
        about: what it was done to, as people call it.
        who: by whom, or how it went.
        address: what it leads to, below the pages; empty: nothing.
    """

    at: str
    what: str
    about: str
    who: str
    address: str


@dataclass(frozen=True)
class Concern:
    """Something that wants attention: a text of the catalogue with its values."""

    text: str
    values: dict[str, object]


async def go_to_overview(request: PageRequest) -> Redirect:  # noqa: ARG001 -- as every view
    """The address without its last slash."""
    return Redirect("")


@shared
async def show_overview(request: PageRequest) -> PageResponse:
    """What serves, how it is, what runs, what was raised, what happened lately."""
    service = request.service
    state, registered, answered, tests, alerts, lately = await asyncio.gather(
        health(service, Response()),
        models(service),
        activity(service),
        _known(list_tests(service, status="running", limit=MOST_TESTS)),
        _known(list_alerts(service)),
        _lately(request),
    )
    concerns = []
    if state.model.problem:
        concerns.append(Concern("Another version should serve and cannot: {problem}", {"problem": state.model.problem}))
    if state.journal.status != "ok":
        concerns.append(Concern("Predictions cannot be kept: the journal does not take them.", {}))
    if state.database.status != "ok":
        concerns.append(Concern("The database does not answer. Predictions go on and are kept; outcomes and lists wait.", {}))
    if state.journal.refused or state.journal.damaged:
        concerns.append(Concern("{n} records were refused by the database; see the log.", {"n": state.journal.refused}))
    if alerts is not None and (unknown := [each for each in alerts.alerts if each.status == "raised"]):
        one = Concern("One alert is on that nobody has acknowledged.", {})
        concerns.append(one if len(unknown) == 1 else Concern("{n} alerts are on that nobody has acknowledged.", {"n": len(unknown)}))
    values = {
        "state": state,
        "registered": registered,
        "answered": answered,
        "tests": None if tests is None else tests.tests,
        "alerts": None if alerts is None else alerts.alerts,
        "shown_alerts": MOST_ALERTS,
        "lately": lately,
        "concerns": concerns,
        "may_operate": request.may(Role.OPERATE),
    }
    return PageResponse("_overview.html.j2" if request.is_fragment else "overview.html.j2", values)


async def _known(reply: Awaitable[Result]) -> Result | None:
    """What the database says; None: it does not answer."""
    try:
        return await reply
    except (StorageError, StorageUnavailableError):
        return None


async def _lately(request: PageRequest) -> list[LateEvent] | None:
    """The newest runs; and changes, for who may see them. None: the database does not answer."""
    runs = await _known(list_runs(request.service, limit=MOST_LATELY))
    changes: Any = await _known(list_changes(request.service, limit=MOST_LATELY)) if request.may(Role.OPERATE) else ()
    if runs is None or changes is None:
        return None
    events = [LateEvent(each.started, each.command, "", each.status, f"runs/{each.run_id}") for each in runs.runs]
    events += [_late_change(each) for each in (changes.changes if changes else ())]
    return sorted(events, key=lambda each: each.at, reverse=True)[:MOST_LATELY]


def _late_change(change: AuditChange) -> LateEvent:
    """A change, with the page of what was changed."""
    kind, name = change.action.partition(".")[0], str(change.details.get("name", change.subject))
    pages = {"ab_test": f"tests/{change.subject}", "alert": f"alerts/{change.subject}", "key": "keys"}
    return LateEvent(change.at, change.action, "" if kind == "alert" else name, change.actor, pages.get(kind, "audit"))


OVERVIEW_PAGES: tuple[Page, ...] = (
    ("ui_root", "GET", "", go_to_overview),
    ("ui_overview", "GET", "/", show_overview),
)

"""`/ui/`: whether everything is fine, and what wants attention."""

import asyncio
from dataclasses import dataclass

from fastapi import Response

from sporeprint.errors import StorageError, StorageUnavailableError
from sporeprint.messages.ab_tests import AbTestSummary
from sporeprint.model_serving.endpoints.ab_tests import list_tests
from sporeprint.model_serving.endpoints.models import models
from sporeprint.model_serving.endpoints.status import health
from sporeprint.model_serving.ui.page_endpoint import Page, PageRequest, PageResponse, Redirect

#: Most running tests that are named.
MOST_TESTS = 5


@dataclass(frozen=True)
class Concern:
    """Something that wants attention: a text of the catalogue with its values."""

    text: str
    values: dict[str, object]


async def go_to_overview(request: PageRequest) -> Redirect:  # noqa: ARG001 -- as every view
    """The address without its last slash."""
    return Redirect("")


async def show_overview(request: PageRequest) -> PageResponse:
    """What serves, how it is, what runs."""
    service = request.service
    state, registered, tests = await asyncio.gather(health(service, Response()), models(service), _running(request))
    concerns = []
    if state.model.problem:
        concerns.append(Concern("Another version should serve and cannot: {problem}", {"problem": state.model.problem}))
    if state.journal.status != "ok":
        concerns.append(Concern("Predictions cannot be kept: the journal does not take them.", {}))
    if state.database.status != "ok":
        concerns.append(Concern("The database does not answer. Predictions go on and are kept; outcomes and lists wait.", {}))
    if state.journal.refused or state.journal.damaged:
        concerns.append(Concern("{n} records were refused by the database; see the log.", {"n": state.journal.refused}))
    values = {"state": state, "registered": registered, "tests": tests, "concerns": concerns, "versions": _count(registered.models)}
    return PageResponse("overview.html.j2", values)


def _count(every: tuple[object, ...]) -> int:
    return sum(len(getattr(each, "versions", ())) for each in every)


async def _running(request: PageRequest) -> tuple[AbTestSummary, ...] | None:
    """The running tests; None: the database does not say."""
    try:
        return (await list_tests(request.service, status="running", limit=MOST_TESTS)).tests
    except (StorageError, StorageUnavailableError):
        return None


OVERVIEW_PAGES: tuple[Page, ...] = (
    ("ui_root", "GET", "", go_to_overview),
    ("ui_overview", "GET", "/", show_overview),
)

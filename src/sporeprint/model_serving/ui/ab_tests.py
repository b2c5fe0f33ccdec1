"""`/ui/tests`: the A/B tests, one of them as it goes on, its end, and the way back."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from fastapi import Response
from pydantic import ValidationError

from sporeprint.errors import expectation
from sporeprint.messages.ab_tests import AbRollbackRequest, AbTestResponse, ConclusionRequest
from sporeprint.model_serving.endpoints.ab_tests import (
    conclude_test,
    describe_test,
    find_test,
    list_tests,
    report_test,
    roll_back_test,
    show_test,
)
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, bad_parameter, not_valid
from sporeprint.model_serving.ui.page_endpoint import Document, Page, PageRequest, PageResponse, Redirect, address, shared
from sporeprint.pipelines.ab_test_lifecycle import SETTLED
from sporeprint.reports import ab_test_report
from sporeprint.reports.ab_test_charts import charts, threshold_of
from sporeprint.storage.oltp.api_keys import Role
from sporeprint.web.charts.evidence import e_text
from sporeprint.web.charts.interval_bar import interval_bar
from sporeprint.web.words import Words

#: Tests of a page of the list.
AT_ONCE = 50
#: Names that are pages themselves: a test of that name has its id in its address.
TAKEN = ("new",)
#: Names that may stand in a header as they are.
NAME = re.compile(r"[A-Za-z0-9._-]+")
NOTHING_NEW = PageResponse("", status=204)
DAY_US = 86_400 * 1_000_000


@dataclass(frozen=True)
class HealthCheck:
    """Something that has to be right for a test to say anything.

    Attributes:
        state: good, bad, or open: not known yet.
        text: what it is.
    """

    state: Literal["good", "bad", "open"]
    text: str


def path_of(name: str, test_id: str) -> str:
    """Address of a test's page below `/ui/`."""
    return f"tests/{test_id if name in TAKEN else name}"


async def show_tests(request: PageRequest) -> PageResponse:
    """The tests, the latest first, each with what follows so far."""
    status = request.query.get("status") or None
    if status not in (None, "running", "concluded"):
        raise HttpProblemError(bad_parameter(f"parameter 'status': expected running or concluded, got {status[:40]!r}"))
    before = request.query.get("before") or None
    page = await list_tests(request.service, status=status, limit=AT_ONCE, before=before)  # type: ignore[arg-type]  # checked above
    bars = {
        test.test_id: interval_bar(*_interval(test.standing), _range(test, request.words), margin=test.margin)
        for test in page.tests
        if test.standing is not None
    }
    older = None if page.next is None else address("tests", status=status, before=page.next)
    values = {"tests": page.tests, "bars": bars, "older": older, "status": status, "path_of": path_of, "is_first": before is None}
    return PageResponse("ab_tests.html.j2", {**values, "may_operate": request.may(Role.OPERATE)})


def _interval(standing: Any) -> tuple[float | None, float | None, float | None]:
    return standing.gain, standing.low, standing.high


def _range(test: Any, words: Words) -> str:
    numbers = (ab_test_report.number(test.metric, each) for each in _interval(test.standing))
    gain, low, high = numbers
    return words("B is better by {gain}, from {low} to {high}", gain=gain, low=low, high=high)


@shared
async def show_ab_test(request: PageRequest) -> PageResponse:
    """A test as it goes on; for a page that is open already, the part that changes, or that nothing has."""
    service, name = request.service, request.path["name"]
    since = request.query.get("since", "")
    if request.is_fragment and since.isdecimal() and since.isascii():
        answer = await show_test(name, service, request.caller, int(since[:18]))
        if isinstance(answer, Response):
            return NOTHING_NEW
    test = await describe_test(service, await find_test(service, name), request.caller)
    if request.is_fragment and is_settled(test):  # what may be done is another thing now
        return PageResponse("", status=204, headers=((b"hx-refresh", b"true"),))
    return _page(request, test, fragment=request.is_fragment)


def is_settled(test: AbTestResponse) -> bool:
    """Whether nothing more will happen to a test by itself: it has ended, and a winner's promotion is done or refused."""
    return test.status == "concluded" and (test.verdict != "b" or any(event.event in SETTLED for event in test.events))


async def conclude(request: PageRequest) -> PageResponse | Redirect:
    """End a test, by its rule or against it."""
    winner = request.form.get("winner") or None
    fields = {"winner": winner, "reason": request.form.get("reason", "").strip() or None}
    try:
        body = ConclusionRequest.model_validate(fields)
    except ValidationError as error:
        return await _refused(request, of_fields(error), "conclude")
    try:
        test = await conclude_test(
            *(request.path["name"], ConclusionRequest(), request.service, request.caller), request.scope["deadline"], body
        )
    except HttpProblemError as error:
        return await _refused(request, error.problem, "conclude")
    return Redirect(path_of(test.name, test.test_id))


async def roll_back(request: PageRequest) -> PageResponse | Redirect:
    """Take back the promotion of a test's winner."""
    try:
        body = AbRollbackRequest.model_validate({"reason": request.form.get("reason", "").strip()})
    except ValidationError as error:
        return await _refused(request, of_fields(error), "rollback")
    try:
        test = await roll_back_test(request.path["name"], body, request.service, request.caller, request.scope["deadline"])
    except HttpProblemError as error:
        return await _refused(request, error.problem, "rollback")
    return Redirect(path_of(test.name, test.test_id))


async def show_report(request: PageRequest) -> Document:
    """The test as one file that needs nothing else."""
    result = await report_test(request.path["name"], request.service)
    named = f"attachment; filename=ab-test-{request.path['name'][:64]}.html" if NAME.fullmatch(request.path["name"]) else "attachment"
    policy = (b"content-security-policy", result.headers["content-security-policy"].encode())
    return Document(bytes(result.body), "text/html; charset=utf-8", (policy, (b"content-disposition", named.encode())))


def of_fields(error: ValidationError) -> Problem:
    """What is wrong with the first field of a form."""
    first = error.errors()[0]
    name = str(first["loc"][0]) if first["loc"] else "form"
    return not_valid(f"field {name!r}: {'say why; it is kept in the history' if name == 'reason' else expectation(first)}")


async def _refused(request: PageRequest, problem: Problem, at: str) -> PageResponse:
    """The page again, with the reason at the button and all that was typed."""
    test = await describe_test(request.service, await find_test(request.service, request.path["name"]), request.caller)
    return _page(request, test, problem=problem, at=at)


def _page(
    request: PageRequest, test: AbTestResponse, *, fragment: bool = False, problem: Problem | None = None, at: str = ""
) -> PageResponse:
    view: dict[str, Any] = {**vars(test), "manifests": vars(test.manifests), "events": [vars(event) for event in test.events]}
    words, interim, rule = request.words, test.interim_analysis, str(test.design["rule"])
    events = {event.event for event in test.events}
    values: dict[str, Any] = {
        "test": test,
        "interim": interim,
        "path": path_of(test.name, test.test_id),
        "head": ab_test_report.head(view, words),
        "since": max((each["at_us"] for each in (*test.interim_analyses, *view["events"])), default=0),
        "days": _days(test, view["events"]),
        "charts": charts(view, words),
        "sure": None if interim is None else (e_text(interim["running"]["log_e"]), f"{threshold_of(view):,.3g}"),
        "health": [] if interim is None else _health(view, interim, words),
        "arms": ab_test_report.arms(view) if interim else [],
        "comparisons": ab_test_report.comparisons(interim, rule) if interim else [],
        "tested": ab_test_report.e_value_of(rule),
        "unknown": ab_test_report.unknown_counts(view),
        "facts": ab_test_report.facts(view, words),
        "history": ab_test_report.history(view),
        "is_settled": is_settled(test),
        "by_rule": interim["decision"]["verdict"] if interim else "continue",
        "is_promoted": "promoted" in events and "rolled_back" not in events,
        "may_operate": request.may(Role.OPERATE),
        "may_label": request.may(Role.LABEL),
        "problem": problem,
        "at": at,
        "typed": request.form,
    }
    template = "_ab_test_live.html.j2" if fragment else "ab_test.html.j2"
    return PageResponse(template, values, 200 if problem is None else problem.status)


def _days(test: AbTestResponse, events: list[dict[str, Any]]) -> tuple[int, int | None]:
    """Which day of a test it is, from 1, and how many there are at most; of one that has ended, its last."""
    created, now = events[0]["at_us"], max(event["at_us"] for event in events)
    if test.interim_analysis is not None:
        now = max(now, test.interim_analysis["at_us"])
    most = test.design["max_duration_s"]
    return 1 + int((now - created) // DAY_US), None if most is None else max(1, round(most * 1e6 / DAY_US))


def _health(view: Mapping[str, Any], interim: Mapping[str, Any], words: Words) -> list[HealthCheck]:
    """Whether the numbers can be believed, and what the guardrails say."""
    checks = []
    if view["mode"] == "split":
        checks.append(HealthCheck("bad" if interim["srm_alarm"] else "good", words("The arms get their shares")))
    if (bias := interim["label_bias"]) is not None:
        checks.append(HealthCheck("bad" if bias["selective"] else "good", words("Labels do not depend on the answers")))
    low, high = interim["running"]["low"], interim["running"]["high"]
    agree = low is None or high is None or low <= high
    checks.append(HealthCheck("good" if agree else "bad", words("Earlier and later interim analyses agree")))
    texts = {
        "held": words("{metric}: shown to be not worse by more than {margin}"),
        "breached": words("{metric}: worse by more than {margin}; the test ends"),
        "open": words("{metric}: open whether it is worse by more than {margin}"),
    }
    states: dict[str, Literal["good", "bad", "open"]] = {"held": "good", "breached": "bad", "open": "open"}
    for each in interim["guardrails"]:
        metric, margin = each["guardrail"]["metric"], ab_test_report.number(each["guardrail"]["metric"], each["guardrail"]["margin"])
        checks.append(HealthCheck(states[each["status"]], texts[each["status"]].format(metric=metric, margin=margin)))
    return checks


AB_TEST_PAGES: tuple[Page, ...] = (
    ("ui_tests", "GET", "/tests", show_tests),
    ("ui_test", "GET", "/tests/{name}", show_ab_test),
    ("ui_test_report", "GET", "/tests/{name}/report", show_report),
    ("ui_conclude", "POST", "/tests/{name}/conclude", conclude),
    ("ui_ab_rollback", "POST", "/tests/{name}/rollback", roll_back),
)

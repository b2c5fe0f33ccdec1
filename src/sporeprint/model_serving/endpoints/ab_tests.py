"""`/ab-tests`: tests are created, listed, shown, labelled and concluded over HTTP."""

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Path, Query, Request, Response
from fastapi.responses import HTMLResponse

from sporeprint.errors import UsageError
from sporeprint.messages.ab_tests import (
    AbDisagreement,
    AbDisagreementList,
    AbRollbackRequest,
    AbStanding,
    AbTestEvent,
    AbTestFields,
    AbTestList,
    AbTestListItem,
    AbTestRequest,
    AbTestResponse,
    ConclusionRequest,
    Manifests,
)
from sporeprint.model_serving.endpoints.routing import UNREADABLE, CallerDep, DeadlineDep, ServiceDep, merged, problems, router
from sporeprint.model_serving.http.authentication import Caller, actor
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, bad_parameter, not_found
from sporeprint.model_serving.http.requests import CAREFUL
from sporeprint.model_serving.runtime.service import Service
from sporeprint.pipelines import ab_test_views
from sporeprint.pipelines.ab_test_views import iso
from sporeprint.reports import ab_test_report
from sporeprint.safety.verdict import verdict_words
from sporeprint.storage.executor import Patience
from sporeprint.storage.oltp import ab_disagreements, ab_tests
from sporeprint.storage.oltp.ab_tests import AbTest, AbTestConflictError, NoSuchTestError
from sporeprint.storage.oltp.api_keys import Role

Result = TypeVar("Result")
routes = router()

#: What a page of this service may do: show itself.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"

TestId = Annotated[str, Path(description="Id or name of a test.")]
Limit = Annotated[int, Query(description="At most so many.", ge=1, le=ab_tests.MOST)]
Before = Annotated[str | None, Query(description="`next` of the page before.", max_length=200)]
Since = Annotated[int | None, Query(description="Only interim analyses and events after this `at_us`.", ge=0, lt=1 << 63)]
PROBLEMS = problems(*UNREADABLE, 409)


@routes.get("/ab-tests", name="ab_tests", responses=problems(404))
async def list_tests(
    service: ServiceDep,
    status: Annotated[Literal["running", "concluded"] | None, Query(description="Only these.")] = None,
    limit: Limit = 100,
    before: Before = None,
) -> AbTestList:
    """The A/B tests, the latest first."""
    engine = service.experiments.engine

    def read() -> list[dict[str, Any]]:
        return ab_test_views.listed(engine, ab_tests.listed(engine, status=status, limit=limit, before=before))

    tests = await service.database.executor.run(as_problem, read)
    following = tests[-1]["test_id"] if len(tests) == limit else None
    items = (AbTestListItem(**{**test, "standing": test["standing"] and AbStanding(**test["standing"])}) for test in tests)
    return AbTestList(tests=tuple(items), next=following)


@routes.post("/ab-tests", name="ab_create", status_code=201, responses=PROBLEMS)
async def create_test(
    request: Request,
    response: Response,
    in_query: Annotated[AbTestFields, Query()],
    service: ServiceDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    in_body: AbTestRequest | None = None,
) -> AbTestResponse:
    """Compare two versions in live traffic."""
    deadline.lift()  # the gate of a default route takes its time, and the answer says what has become of the test
    # It routes in this process when it is answered, in the others a second or two later.
    fields = merged(in_query, in_body)
    database = service.database.executor
    await database.run(ab_tests.running_ids, database.engine)  # is it there? what follows may take its time
    test = await asyncio.to_thread(as_problem, lambda: service.experiments.create(fields, actor=actor(caller)))
    response.headers["location"] = f"{request.scope.get('root_path', '')}/ab-tests/{test.test_id}"
    with Patience():  # what was waited for before does not count: the test is made
        await service.tests.refresh()
        return await describe_test(service, test, caller)


@routes.get(
    "/ab-tests/{test_id}",
    name="ab_test",
    response_model=AbTestResponse,
    responses={**problems(404), 304: {"description": "Nothing is later than `since`"}},
)
async def show_test(test_id: TestId, service: ServiceDep, caller: CallerDep, since: Since = None) -> AbTestResponse | Response:
    """All that is known of a test."""
    test = await describe_test(service, await find_test(service, test_id), caller, -1 if since is None else since)
    if since is not None and not test.interim_analyses and not test.events:
        return Response(status_code=304)
    return test


@routes.get("/ab-tests/{test_id}/report", name="ab_report", response_class=HTMLResponse, responses=problems(404))
async def report_test(test_id: TestId, service: ServiceDep) -> HTMLResponse:
    """All that is known of a test, as a page."""
    view = await _view(service, await find_test(service, test_id))
    page = await asyncio.to_thread(ab_test_report.page, view, simulated=service.loader.current.simulated)
    return html_response(page, POLICY)


def html_response(page: str, policy: str) -> HTMLResponse:
    """A page, which may do what its policy says."""
    careful = {name.decode(): value.decode() for name, value in CAREFUL}
    return HTMLResponse(page, headers={**careful, "content-security-policy": policy})


@routes.get("/ab-tests/{test_id}/disagreements", name="ab_disagreements", responses=problems(404))
async def list_disagreements(test_id: TestId, service: ServiceDep, limit: Limit = 100, before: Before = None) -> AbDisagreementList:
    """Units for which the versions disagree and whose outcome is wanted, the latest first."""
    if before is not None and not (before.isdecimal() and before.isascii() and len(before) < 19):
        raise HttpProblemError(bad_parameter(f"parameter 'before': expected `next` of the page before, got {before[:40]!r}"))
    test = await find_test(service, test_id)
    number = None if before is None else int(before)
    engine = service.experiments.engine
    pairs, left = await service.database.executor.run(
        lambda: (
            ab_disagreements.disagreements(engine, test, limit=limit, before=number),
            ab_disagreements.awaiting_label(engine, test.test_id),
        )
    )
    words = verdict_words(service.settings.dataset)
    rows = tuple(
        AbDisagreement(
            prediction_id=each.prediction_id,
            unit_id=each.unit_id,
            a=words[each.answer_a],
            b=words[each.answer_b],
            created=None if each.created_us is None else iso(each.created_us),
            features=each.features,
        )
        for each in pairs
    )
    following = str(pairs[-1].number) if len(pairs) == limit else None
    return AbDisagreementList(awaiting_label=left, disagreements=rows, next=following)


@routes.post("/ab-tests/{test_id}/conclude", name="ab_conclude", responses=PROBLEMS)
async def conclude_test(
    test_id: TestId,
    in_query: Annotated[ConclusionRequest, Query()],
    service: ServiceDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    in_body: ConclusionRequest | None = None,
) -> AbTestResponse:
    """End a test: with a winner that is named, or by the test's rule."""
    deadline.lift()
    fields = merged(in_query, in_body)
    test = await find_test(service, test_id)
    end = functools.partial(service.experiments.conclude, test.test_id, winner=fields.get("winner"), reason=fields.get("reason"))
    # A promotion takes as long as its gate; it goes on when the caller no longer waits.
    ended = await asyncio.to_thread(as_problem, lambda: end(actor=actor(caller)))
    with Patience():  # as in a creation
        await service.tests.refresh()
        return await describe_test(service, ended, caller)


@routes.post("/ab-tests/{test_id}/rollback", name="ab_rollback", responses=PROBLEMS)
async def roll_back_test(
    test_id: TestId, in_body: AbRollbackRequest, service: ServiceDep, caller: CallerDep, deadline: DeadlineDep
) -> AbTestResponse:
    """Take back the promotion of a test's winner: what served before serves again."""
    deadline.lift()  # as in a conclusion
    test = await find_test(service, test_id)
    back = functools.partial(service.experiments.rollback, test.test_id, reason=in_body.reason.strip(), actor=actor(caller))
    await asyncio.to_thread(as_problem, back)
    with Patience():
        return await describe_test(service, test, caller)


# --- shared --------------------------------------------------------------------------------------------------------------


async def find_test(service: Service, name: str) -> AbTest:
    """A test by its id or name. Raises: HttpProblemError."""
    return await service.database.executor.run(as_problem, lambda: ab_tests.get(service.experiments.engine, name))


async def _view(service: Service, test: AbTest, since_us: int = -1) -> Mapping[str, Any]:
    return await service.database.executor.run(ab_test_views.describe, service.experiments.engine, test, service.settings, since_us)


async def describe_test(service: Service, test: AbTest, caller: Caller, since_us: int = -1) -> AbTestResponse:
    """All that is known of a test, as far as a caller may know it; of its path and history, what is later than a time."""
    view = dict(await _view(service, test, since_us))
    if Role.OPERATE not in caller.roles:  # who knows the salt can choose an arm
        view["salt"] = None
    view["events"] = tuple(AbTestEvent(**event) for event in view["events"])
    view |= {name: tuple(view[name]) for name in ("answers", "interim_analyses")}
    return AbTestResponse(**{**view, "manifests": Manifests(**view["manifests"])})


def as_problem(work: Callable[[], Result]) -> Result:
    """Do something with a test; what goes wrong becomes a problem document. Raises: HttpProblemError."""
    try:
        return work()
    except NoSuchTestError as error:
        raise HttpProblemError(not_found(str(error))) from None
    except AbTestConflictError as error:
        raise HttpProblemError(Problem(409, "conflict", "Something stands against it", str(error))) from None
    except UsageError as error:
        raise HttpProblemError(bad_parameter(str(error))) from None

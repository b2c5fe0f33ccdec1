"""`/ab-tests`: made, listed, shown, labelled and ended over HTTP."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sporeprint.errors import UsageError
from sporeprint.model_serving.http.authentication import actor
from sporeprint.model_serving.http.problems import Problem, ProblemError, bad_parameter, not_found, not_json
from sporeprint.model_serving.http.requests import Receive, Scope, Send, query, read_body, read_request_head, respond_json, respond_page
from sporeprint.model_serving.runtime.row_parser import parse_json
from sporeprint.model_serving.runtime.service import Service
from sporeprint.pipelines import ab_test_views
from sporeprint.pipelines.ab_test_views import iso
from sporeprint.reports import ab_test_report
from sporeprint.safety.verdict import verdict_words
from sporeprint.storage.oltp import ab_disagreements, ab_tests
from sporeprint.storage.oltp.ab_tests import AbTest, ConflictError, NoSuchTestError

Found = TypeVar("Found")

#: What a page of this service may do: show itself.
POLICY = b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"
NUMBERS = ("traffic_split", "alpha", "margin", "equivalence", "ratio", "min_duration_s", "max_duration_s", "srm_alpha")
WHOLE = ("min_units", "max_units")
SWITCHES = ("auto_conclude", "independent", "default_route")
TEXTS = ("name", "model_a", "model_b", "mode", "unit", "metric", "direction")
#: What a query cannot say.
JSON_ONLY = ("guardrails", "also", "costs")
FIELDS = (*TEXTS, *NUMBERS, *WHOLE, *SWITCHES)
MOST_NAME = 128


async def create(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Make a test: it routes in this process when it is answered, in the others a second or two later."""
    given: dict[str, Any] = {name: _value(name, text) for name, text in query(scope, FIELDS).items()}
    given |= await _body(service, scope, receive, 'expected a JSON object, as in {"name": "first", "model_a": "xgboost/v1", ...}')
    who = actor(scope["caller"])
    database = service.database.executor
    await database.run(ab_tests.running_ids, database.engine)  # is it there? what follows may take its time
    test = await asyncio.to_thread(_said, lambda: service.experiments.create(given, actor=who))
    await service.tests.refresh()
    location = f"/ab-tests/{test.test_id}".encode()
    await respond_json(send, await _described(service, test), 201, ((b"location", location),))
    return 201


async def _body(service: Service, scope: Scope, receive: Receive, expected: str) -> dict[str, Any]:
    """The JSON object that is sent, or nothing."""
    limit = service.limits.max_body_kb << 10
    if any(name == b"content-type" for name, _ in scope["headers"]):
        read_request_head(scope, limit)
    if not (body := await read_body(receive, limit)):
        return {}
    said = parse_json(body)
    if not isinstance(said, dict):
        raise ProblemError(not_json(expected))
    return said


def _value(name: str, text: str) -> Any:
    """A field of a test from a query."""
    try:
        if name in NUMBERS:
            return float(text)
        if name in WHOLE:
            return int(text)
    except ValueError:
        raise ProblemError(bad_parameter(f"parameter {name!r}: expected a number, got {text[:40]!r}")) from None
    if name in SWITCHES:
        if text.lower() not in ("true", "false"):
            raise ProblemError(bad_parameter(f"parameter {name!r}: expected true or false, got {text[:40]!r}"))
        return text.lower() == "true"
    return text


async def listed(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """List the tests, the latest first, page by page."""
    given = query(scope, ("status", "limit", "before"))
    limit = _limit(given, ab_tests.MOST)
    found = await service.database.executor.run(
        _said, lambda: ab_tests.listed(service.experiments.engine, status=given.get("status"), limit=limit, before=given.get("before"))
    )
    following = found[-1].test_id if len(found) == limit else None
    await respond_json(send, {"tests": [ab_test_views.summary(test) for test in found], "next": following})
    return 200


async def show(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Show all that is known of a test."""
    query(scope, ())
    await respond_json(send, await _described(service, await _test(service, scope)))
    return 200


async def report(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """Show the same as a page."""
    query(scope, ())
    view = await _described(service, await _test(service, scope))
    page = await asyncio.to_thread(ab_test_report.page, view, simulated=service.loader.current.simulated)
    await respond_page(send, page, POLICY)
    return 200


async def disagreements(service: Service, scope: Scope, receive: Receive, send: Send) -> int:  # noqa: ARG001 -- every endpoint takes it
    """List what a label is wanted for: the latest first, because it can still be looked at."""
    given = query(scope, ("limit", "before"))
    limit, before = _limit(given, ab_tests.MOST), given.get("before")
    if before is not None and not (before.isdecimal() and len(before) < 19):
        raise ProblemError(bad_parameter(f"parameter 'before': expected the number that 'next' said, got {before[:40]!r}"))
    test = await _test(service, scope)
    number = None if before is None else int(before)
    engine = service.experiments.engine
    found, left = await service.database.executor.run(
        lambda: (
            ab_disagreements.disagreements(engine, test, limit=limit, before=number),
            ab_disagreements.awaiting_label(engine, test.test_id),
        )
    )
    known = verdict_words(service.settings.dataset)
    rows = [
        {
            "prediction_id": each.prediction_id,
            "unit_id": each.unit_id,
            "a": known[each.answer_a],
            "b": known[each.answer_b],
            "created": None if each.created_us is None else iso(each.created_us),
            "features": each.features,
        }
        for each in found
    ]
    following = str(found[-1].number) if len(found) == limit else None
    await respond_json(send, {"awaiting_label": left, "disagreements": rows, "next": following})
    return 200


async def conclude(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """End a test: with a winner that is named, or with what its rule says now."""
    given: dict[str, Any] = dict(query(scope, ("winner",)))
    given |= await _body(service, scope, receive, 'expected a JSON object, as in {"winner": "B"}')
    if unknown := [name for name in given if name != "winner"]:
        raise ProblemError(bad_parameter(f"unknown field {unknown[0][:40]!r}; known: winner"))
    winner = given.get("winner")
    if winner is not None and not isinstance(winner, str):
        raise ProblemError(bad_parameter(f"field 'winner' is {str(winner)[:40]!r}; allowed: A, B"))
    test, who = await _test(service, scope), actor(scope["caller"])
    # A promotion takes as long as its gate; who no longer waits does not end it.
    ended = await asyncio.to_thread(_said, lambda: service.experiments.conclude(test.test_id, winner=winner, actor=who))
    await service.tests.refresh()
    await respond_json(send, await _described(service, ended))
    return 200


# --- what they share -----------------------------------------------------------------------------------------------------


def _limit(given: Mapping[str, str], most: int) -> int:
    text = given.get("limit", "100")
    if not (text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise ProblemError(bad_parameter(f"parameter 'limit': expected 1 to {most}, got {text[:40]!r}"))
    return int(text)


async def _test(service: Service, scope: Scope) -> AbTest:
    name = str(scope["path_params"]["test_id"])
    return await service.database.executor.run(_said, lambda: ab_tests.get(service.experiments.engine, name))


async def _described(service: Service, test: AbTest) -> dict[str, Any]:
    return await service.database.executor.run(ab_test_views.describe, service.experiments.engine, test, service.settings)


def _said(work: Callable[[], Found]) -> Found:
    """Do something, and say what goes wrong with it as this service does."""
    try:
        return work()
    except NoSuchTestError as error:
        raise ProblemError(not_found(str(error))) from None
    except ConflictError as error:
        raise ProblemError(Problem(409, "conflict", "Something stands against it", str(error))) from None
    except UsageError as error:
        raise ProblemError(bad_parameter(str(error))) from None

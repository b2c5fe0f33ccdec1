"""`POST /models/{name}/check`: what the gate would say to a promotion. Nothing moves."""

import asyncio
import functools
import threading
import time
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import Query

from sporeprint.errors import DataError
from sporeprint.messages.model_versions import CheckRequest, CheckResponse, GateCheckResult
from sporeprint.model_serving.endpoints.promotion import PROBLEMS, AliasMove, ModelName, alias_move
from sporeprint.model_serving.endpoints.routing import DeadlineDep, ServiceDep, merged, router
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, overloaded, retry
from sporeprint.model_serving.runtime.promotion_process import PromotionStoppedError, check_in_a_process
from sporeprint.model_serving.runtime.service import Service
from sporeprint.pipelines.promotion import UNASKED, Gate
from sporeprint.registry.aliases import PRODUCTION
from sporeprint.settings import Settings

routes = router()

#: One at a time in each process: every check scores all test rows.
_TURN = threading.Lock()


@routes.post("/models/{name}/check", name="gate_check", responses=PROBLEMS)
async def check(
    name: ModelName,
    in_query: Annotated[CheckRequest, Query()],
    service: ServiceDep,
    deadline: DeadlineDep,
    in_body: CheckRequest | None = None,
) -> CheckResponse:
    """What the gate would say to a promotion; nothing moves."""
    move = alias_move(name, merged(in_query, in_body), "-")
    ref = await asyncio.to_thread(service.loader.registry.resolve, move.ref)
    if not _TURN.acquire(blocking=False):
        raise HttpProblemError(overloaded("another check is under way; try again when it has ended"))
    deadline.lift()  # its process has a limit of its own
    begin = time.monotonic()
    gates = await asyncio.to_thread(_turn, functools.partial(_gates, service.settings, service.root, move))
    checks = (*_checks(gates), *_simulated(service, ref.name, ref.version))
    return CheckResponse(
        ref=ref.ref,
        alias=move.alias,
        replaces=tuple(gates),
        passes=all(each.passes for each in checks if each.name != "simulated"),
        checks=checks,
        seconds=round(time.monotonic() - begin, 3),
    )


def _turn(work: "functools.partial[Mapping[str, Gate]]") -> Mapping[str, Gate]:
    """Do the work, and let the next one begin: in its thread, which ends what it began when nobody waits any more."""
    try:
        return work()
    finally:
        _TURN.release()


def _gates(settings: Settings, root: FilePath, move: AliasMove) -> Mapping[str, Gate]:
    try:
        return check_in_a_process(settings, root, move.ref, production=move.alias == PRODUCTION)
    except PromotionStoppedError as error:
        raise HttpProblemError(retry("not-in-time", "Not answered in time", str(error))) from None
    except DataError as error:  # nothing of the request's: there are no test rows to compare two models on
        raise HttpProblemError(Problem(409, "conflict", "Something stands against it", str(error))) from None


def _checks(gates: Mapping[str, Gate]) -> tuple[GateCheckResult, ...]:
    return tuple(
        GateCheckResult(
            name=each.name,
            against=against,
            passes=each.passed,
            value=each.value,
            limit=each.limit,
            says=each.reason,
        )
        for against, gate in gates.items()
        for each in gate.checks
    )


def _simulated(service: Service, name: str, version: int) -> tuple[GateCheckResult, ...]:
    if not service.summaries.of(name, version).is_simulated:
        return ()
    return (GateCheckResult(name="simulated", against=None, passes=False, value=None, limit=None, says=UNASKED),)

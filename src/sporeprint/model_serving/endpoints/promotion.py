"""`POST /models/{name}/promote` and `/rollback`: another version serves, if it passes the gate; and the one before serves again."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import Path, Query

from sporeprint.common.timestamps import now_us
from sporeprint.errors import DataError, RefusedError, StorageError, StorageUnavailableError
from sporeprint.messages.models import PromotionRequest, PromotionResponse, RollbackResponse
from sporeprint.messages.version_details import Alias
from sporeprint.model_serving.endpoints.routing import UNREADABLE, CallerDep, DeadlineDep, ServiceDep, merged, problems, router
from sporeprint.model_serving.http.authentication import actor
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, bad_parameter, retry
from sporeprint.model_serving.runtime.promotion_process import PromotionStoppedError, promote_in_a_process
from sporeprint.pipelines.results import RegisterResult
from sporeprint.registry.aliases import PRODUCTION
from sporeprint.registry.manifest import VersionRef
from sporeprint.registry.registry import NothingToRollBackError, Registry, is_name
from sporeprint.settings import Settings
from sporeprint.storage.executor import DatabaseExecutor, Patience
from sporeprint.storage.oltp import audit_log
from sporeprint.storage.oltp.audit_log import Change

log = logging.getLogger(__name__)
routes = router()

ModelName = Annotated[str, Path(description="Name of the model.")]
InQuery = Annotated[PromotionRequest, Query()]
PROBLEMS = problems(*UNREADABLE, 409, 501)


@dataclass(frozen=True)
class AliasMove:
    """An alias that is to be moved.

    Attributes:
        ref: the version, as name/v2.
        alias: champion: of its model; production: that, and what is served.
        reason: why, for the history.
        allow_simulated: whether it may be a version of invented rows.
    """

    ref: str
    alias: Alias
    reason: str
    allow_simulated: bool = False


@dataclass(frozen=True)
class MoveTrail:
    """What becomes of a move, in the audit trail.

    Attributes:
        executor: of the database.
        who: moves it.
        move: what is moved.
    """

    executor: DatabaseExecutor
    who: str
    move: AliasMove

    async def begin(self, action: str) -> None:
        """Write down what is to be done: nothing moves of which there would be no trace. Raises: StorageUnavailableError, StorageError."""
        # In a thread of the database's: those of the process are for who does not need it.
        await self.executor.run(audit_log.note, self.executor.engine, self._change(action))

    def end(self, action: str, **more: str) -> None:
        """Write down what was done; that cannot be undone, so a failure stands in the log."""
        try:
            with Patience():
                self.executor.call(audit_log.note, self.executor.engine, self._change(action, **more))
        except (StorageError, StorageUnavailableError) as error:
            log.warning("the audit trail cannot say %s: %s", action, error)

    def _change(self, action: str, **more: str) -> Change:
        return Change(now_us(), self.who, action, self.move.ref, {"alias": self.move.alias, "reason": self.move.reason, **more})


@routes.post("/models/{name}/promote", responses=PROBLEMS)
async def promote(
    name: ModelName,
    in_query: InQuery,
    service: ServiceDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    in_body: PromotionRequest | None = None,
) -> PromotionResponse:
    """Make a version its model's champion, or the one that is served, if it passes the gate."""
    deadline.lift()  # an answer says what has become of it: each part has a limit of its own
    # The gate compares two models on all test rows: in a process of its own.
    move = alias_move(name, merged(in_query, in_body), "promoted over HTTP")
    ref = (await asyncio.to_thread(service.loader.registry.resolve, move.ref)).ref  # says what there is, where this is not
    move = replace(move, ref=ref)
    trail = MoveTrail(service.database.executor, actor(caller), move)
    await trail.begin("model.promoting")
    # In a thread, which ends what it began, also when the caller no longer waits.
    done = await asyncio.to_thread(_promote, service.settings, service.root, move, trail)
    item = done.registrations[0]
    gate = () if item.gate is None else tuple(item.gate.reasons)
    return PromotionResponse(ref=ref, alias=move.alias, production=done.production, gate=gate, reason=move.reason)


@routes.post("/models/{name}/rollback", responses=PROBLEMS)
async def rollback(
    name: ModelName,
    in_query: InQuery,
    service: ServiceDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    in_body: PromotionRequest | None = None,
) -> RollbackResponse:
    """Take back that a version became its model's champion, or the one that is served: the one before it is, again."""
    deadline.lift()  # as in a promotion
    # It has served before: no gate is asked.
    move = alias_move(name, merged(in_query, in_body), "rolled back over HTTP")
    registry = service.loader.registry
    ref = (await asyncio.to_thread(registry.resolve, move.ref)).ref
    move = replace(move, ref=ref)
    trail = MoveTrail(service.database.executor, actor(caller), move)
    await trail.begin("model.rolling_back")
    try:
        version = await asyncio.to_thread(_rollback, registry, move, trail)
    except NothingToRollBackError as error:
        raise HttpProblemError(Problem(409, "conflict", "Something stands against it", str(error))) from None
    served = await asyncio.to_thread(registry.production)
    production = None if served is None else served.ref
    return RollbackResponse(ref=version.ref, alias=move.alias, production=production, before=ref, reason=move.reason)


def alias_move(name: str, fields: Mapping[str, Any], reason: str) -> AliasMove:
    """What is to be moved, from the fields of a request. Raises: HttpProblemError."""
    if not is_name(name):
        raise HttpProblemError(bad_parameter(f"{name[:80]!r} is no name of a model"))
    if (version := fields.get("version")) is None:
        raise HttpProblemError(bad_parameter("field 'version' is missing: expected a number, as in 2 or v2"))
    text = fields.get("reason") or reason
    if not text.isprintable():
        raise HttpProblemError(bad_parameter("field 'reason': expected printable characters"))
    allow_simulated = bool(fields.get("allow_simulated"))
    return AliasMove(f"{name}/v{str(version).removeprefix('v')}", fields.get("alias") or "champion", text, allow_simulated)


def _promote(settings: Settings, root: FilePath, move: AliasMove, trail: MoveTrail) -> RegisterResult:
    try:
        done = promote_in_a_process(
            *(settings, root, move.ref, move.reason, trail.who),
            production=move.alias == PRODUCTION,
            allow_simulated=move.allow_simulated,
        )
    except RefusedError:
        trail.end("model.refused")
        raise
    except PromotionStoppedError as error:
        trail.end("model.stopped")
        raise HttpProblemError(retry("not-in-time", "Not answered in time", str(error))) from None
    except DataError as error:  # nothing of the request's: there are no test rows to hold two models against
        raise HttpProblemError(Problem(409, "conflict", "Something stands against it", str(error))) from None
    trail.end("model.promoted")
    return done


def _rollback(registry: Registry, move: AliasMove, trail: MoveTrail) -> VersionRef:
    alias = PRODUCTION if move.alias == PRODUCTION else move.ref.partition("/")[0]
    version = registry.rollback(
        alias, reason=move.reason, now=datetime.now(UTC), by=trail.who, expected=move.ref, allow_simulated=move.allow_simulated
    )
    trail.end("model.rolled_back", to=version.ref)
    return version

"""`POST /models/{name}/promote` and `/rollback`: another version serves, if it passes the gate; and the one before serves again."""

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sporeprint.errors import RefusedError, StorageError, StorageUnavailableError, nearest
from sporeprint.model_serving.http.authentication import actor
from sporeprint.model_serving.http.problems import Problem, ProblemError, bad_parameter, not_json
from sporeprint.model_serving.http.requests import Receive, Scope, Send, query, read_body, read_request_head, respond_json
from sporeprint.model_serving.runtime.promotion_process import promote_in_a_process
from sporeprint.model_serving.runtime.row_parser import parse_json
from sporeprint.model_serving.runtime.service import Service
from sporeprint.pipelines.results import RegisterResult
from sporeprint.registry.aliases import PRODUCTION
from sporeprint.registry.manifest import VersionRef
from sporeprint.registry.registry import VERSION_NAME, NothingToRollBackError, Registry, is_name
from sporeprint.settings import Settings
from sporeprint.storage.executor import DatabaseExecutor
from sporeprint.storage.oltp import audit_log
from sporeprint.storage.oltp.audit_log import Change

log = logging.getLogger(__name__)

CHAMPION = "champion"
FIELDS = ("version", "alias", "reason")
MOST_REASON = 500


@dataclass(frozen=True)
class AliasMove:
    """What is to be moved where.

    Attributes:
        ref: the version, as name/v2.
        alias: champion: of its model; production: that, and what is served.
        reason: why, for the history.
    """

    ref: str
    alias: str
    reason: str


async def promote(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Move an alias through the registry's gate, in a process of its own: it holds two models against all test rows."""
    move = await _requested_move(service, scope, receive, "promoted over HTTP")
    who = actor(scope["caller"])
    ref = (await asyncio.to_thread(service.loader.registry.resolve, move.ref)).ref  # says what there is, where this is not

    promotion = functools.partial(_move, service.settings, service.root, move, who, service.database.executor, ref)
    # In a thread, which ends what it began, also when the caller no longer waits.
    done = await asyncio.to_thread(promotion)
    item = done.registrations[0]
    reasons = () if item.gate is None else item.gate.reasons
    await respond_json(send, {"ref": ref, "alias": move.alias, "production": done.production, "gate": reasons, "reason": move.reason})
    return 200


async def rollback(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Take back the move by which a version became champion, or what is served. It has served before: no gate is asked."""
    move = await _requested_move(service, scope, receive, "rolled back over HTTP")
    who = actor(scope["caller"])
    registry = service.loader.registry
    ref = (await asyncio.to_thread(registry.resolve, move.ref)).ref
    back = functools.partial(_back, registry, replace(move, ref=ref), who, service.database.executor)
    try:
        found = await asyncio.to_thread(back)
    except NothingToRollBackError as error:
        raise ProblemError(Problem(409, "conflict", "Something stands against it", str(error))) from None
    served = await asyncio.to_thread(registry.production)
    production = None if served is None else served.ref
    await respond_json(send, {"ref": found.ref, "alias": move.alias, "production": production, "before": ref, "reason": move.reason})
    return 200


async def _requested_move(service: Service, scope: Scope, receive: Receive, reason: str) -> AliasMove:
    """What the query, or a JSON body, asks for."""
    given: dict[str, Any] = dict(query(scope, FIELDS))
    limit = service.limits.max_body_kb << 10
    if any(name == b"content-type" for name, _ in scope["headers"]):
        read_request_head(scope, limit)
    if body := await read_body(receive, limit):
        said = parse_json(body)
        if not isinstance(said, dict):
            raise ProblemError(not_json('expected a JSON object, as in {"version": 2, "alias": "production"}'))
        given |= said
    return _alias_move(str(scope["path_params"]["name"]), {"reason": reason, **given})


def _alias_move(name: str, given: dict[str, Any]) -> AliasMove:
    if unknown := [key for key in given if key not in FIELDS]:
        raise ProblemError(
            bad_parameter(f"unknown field {unknown[0][:40]!r}{nearest(unknown[0][:40], FIELDS)}; known: {', '.join(FIELDS)}")
        )
    if not is_name(name):
        raise ProblemError(bad_parameter(f"{name[:80]!r} is no name of a model"))
    version = str(given.get("version", "")).removeprefix("v")
    if not VERSION_NAME.fullmatch(f"v{version}"):
        raise ProblemError(bad_parameter(f"field 'version': expected a number, as in 2 or v2; got {str(given.get('version'))[:40]!r}"))
    alias = given.get("alias", CHAMPION)
    if alias not in (CHAMPION, PRODUCTION):
        raise ProblemError(bad_parameter(f"field 'alias': expected {CHAMPION} or {PRODUCTION}; got {str(alias)[:40]!r}"))
    reason = given["reason"]
    if not isinstance(reason, str) or not 0 < len(reason) <= MOST_REASON or not reason.isprintable():
        raise ProblemError(bad_parameter(f"field 'reason': expected 1 to {MOST_REASON} printable characters"))
    return AliasMove(f"{name}/v{version}", alias, reason)


def _move(settings: Settings, root: Path, move: AliasMove, who: str, executor: DatabaseExecutor, ref: str) -> RegisterResult:
    def note(action: str) -> None:
        executor.call(
            audit_log.note, executor.engine, Change(time.time_ns() // 1000, who, action, ref, {"alias": move.alias, "reason": move.reason})
        )

    note("model.promoting")  # nothing moves of which there would be no trace
    try:
        done = promote_in_a_process(settings, root, move.ref, move.reason, who, production=move.alias == PRODUCTION)
    except RefusedError:
        _note_what_is_done(note, "model.refused")
        raise
    _note_what_is_done(note, "model.promoted")
    return done


def _back(registry: Registry, move: AliasMove, who: str, executor: DatabaseExecutor) -> VersionRef:
    def note(action: str, **more: str) -> None:
        details = {"alias": move.alias, "reason": move.reason, **more}
        executor.call(audit_log.note, executor.engine, Change(time.time_ns() // 1000, who, action, move.ref, details))

    note("model.rolling_back")  # nothing moves of which there would be no trace
    alias = PRODUCTION if move.alias == PRODUCTION else move.ref.partition("/")[0]
    found = registry.rollback(alias, reason=move.reason, now=datetime.now(UTC), by=who, expected=move.ref)
    _note_what_is_done(functools.partial(note, to=found.ref), "model.rolled_back")
    return found


def _note_what_is_done(note: Callable[[str], None], action: str) -> None:
    try:
        note(action)
    except (StorageError, StorageUnavailableError):
        log.exception("the audit trail cannot say %s", action)

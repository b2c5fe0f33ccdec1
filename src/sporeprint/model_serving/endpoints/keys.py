"""`/me` and `/keys`: who calls, and who may."""

from typing import Annotated

from fastapi import Path, Query

from sporeprint.common.timestamps import iso_utc, now_us
from sporeprint.errors import UsageError
from sporeprint.messages.keys import ApiKeyDescription, ApiKeyList, ApiKeyRequest, CallerResponse, NewApiKey, RoleName
from sporeprint.model_serving.endpoints.routing import UNREADABLE, CallerDep, ServiceDep, problems, router
from sporeprint.model_serving.http.authentication import actor
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_found
from sporeprint.storage.engine import AccessDeniedError
from sporeprint.storage.oltp import api_keys
from sporeprint.storage.oltp.api_keys import ApiKey, Role

routes = router()

KeyNamePath = Annotated[str, Path(description="Name of a key.", max_length=64)]


@routes.get("/me")
async def me(service: ServiceDep, caller: CallerDep) -> CallerResponse:
    """Who calls, and what the key may do."""
    key = service.access.key_named(caller.name) if service.access.needs_keys else None
    expires = None if key is None or key.expires_us is None else iso_utc(key.expires_us, "milliseconds")
    return CallerResponse(name=caller.name, roles=role_names(caller.roles), local=not service.access.needs_keys, expires=expires)


@routes.get("/keys", name="keys")
async def list_keys(service: ServiceDep, revoked: Annotated[bool, Query(description="Those that are revoked, too.")] = False) -> ApiKeyList:
    """The API keys, without their secrets."""
    engine = service.database.engine
    keys, uses = await service.database.executor.run(lambda: (api_keys.listed(engine, revoked=revoked), api_keys.last_use(engine)))
    return ApiKeyList(keys=tuple(_described(key, uses.get(key.key_id)) for key in keys))


@routes.post("/keys", name="create_key", status_code=201, responses=problems(*UNREADABLE, 409))
async def create_key(request: ApiKeyRequest, service: ServiceDep, caller: CallerDep) -> NewApiKey:
    """Make an API key. Its secret is shown this once."""
    line = f"sporeprint keys create --name {request.name} {' '.join(f'--role {role}' for role in request.roles)}"

    def write() -> tuple[ApiKey, str]:
        try:
            return api_keys.create(
                service.database.engine,
                request.name,
                api_keys.roles_of(request.roles),
                expires_days=request.expires_days,
                now_us=now_us(),
                actor=actor(caller),
            )
        except UsageError as error:
            raise HttpProblemError(Problem(409, "conflict", "Something stands against it", str(error))) from None
        except AccessDeniedError:
            raise _other_account(line) from None

    key, secret = await service.database.executor.run(write)
    await service.access.refreshed()
    return NewApiKey(key=secret, description=_described(key))


@routes.delete("/keys/{name}", name="revoke_key", responses=problems(404, 409))
async def revoke_key(name: KeyNamePath, service: ServiceDep, caller: CallerDep) -> ApiKeyDescription:
    """Revoke a key: every worker refuses it within two seconds."""

    def write() -> ApiKey:
        there = [key.name for key in api_keys.listed(service.database.engine)]
        if name not in there:
            raise HttpProblemError(not_found(f"there is no key {name[:80]!r}; GET /keys lists them"))
        at_us = now_us()
        try:
            key = api_keys.revoke(service.database.engine, name, now_us=at_us, actor=actor(caller))
        except AccessDeniedError:
            raise _other_account(f"sporeprint keys revoke {name}") from None
        return ApiKey(**{**key.__dict__, "revoked_us": at_us})

    key = await service.database.executor.run(write)
    await service.access.refreshed()
    return _described(key)


def role_names(roles: frozenset[Role]) -> tuple[RoleName, ...]:
    """Roles, in their order."""
    return tuple(role.value for role in Role if role in roles)


def _other_account(line: str) -> HttpProblemError:
    detail = f"the server's account of the database may not change keys; with the account that owns the tables, run: {line}"
    return HttpProblemError(Problem(409, "other-account", "Another account has to do it", detail))


def _described(key: ApiKey, last_used: str | None = None) -> ApiKeyDescription:
    times = {
        name: None if at is None else iso_utc(at, "milliseconds") for name, at in (("expires", key.expires_us), ("revoked", key.revoked_us))
    }
    return ApiKeyDescription(
        name=key.name,
        key_id=key.key_id,
        roles=role_names(key.roles),
        created=iso_utc(key.created_us, "milliseconds"),
        expires=times["expires"],
        revoked=times["revoked"],
        valid=key.is_valid(now_us()),
        last_used=last_used,
    )

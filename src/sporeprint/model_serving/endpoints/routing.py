"""How an endpoint is called: number of requests, origin, key and role, deadline; and errors as problem documents.

A dependency of FastAPI runs after the body was read. Nobody without a key is to have a body read, so all this is done by the route itself,
before FastAPI sees the request; `ServiceDep`, `CallerDep` and `DeadlineDep` give endpoints what it found.
"""

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from sporeprint.errors import RetryableError
from sporeprint.model_serving.http.authentication import REQUIRED_ROLES, Caller
from sporeprint.model_serving.http.deadlines import Deadline
from sporeprint.model_serving.http.entity_tag import tagged
from sporeprint.model_serving.http.origin import FROM_BROWSERS, SAFE_METHODS, check_origin
from sporeprint.model_serving.http.problems import PROBLEM_RESPONSE, HttpProblemError, Problem, not_in_time, of, overloaded, too_slow
from sporeprint.model_serving.http.request_context import GONE, RequestContext
from sporeprint.model_serving.http.requests import (
    IS_INCOMPLETE,
    SECURITY,
    ClientGoneError,
    Receive,
    Scope,
    Send,
    query,
    read_body,
    read_json_body,
    respond_problem,
)
from sporeprint.model_serving.runtime.row_parser import parse_json
from sporeprint.model_serving.runtime.service import Service
from sporeprint.storage.executor import Patience
from sporeprint.storage.oltp.api_keys import Role

log = logging.getLogger(__name__)

#: What an endpoint does that FastAPI does not call: it reads the request and answers it.
Work = Callable[[Service, Scope, Receive, Send], Awaitable[None]]
#: Problems of every endpoint, and of every one that needs a role.
ALWAYS, REFUSED = (400, 503), (401, 403, 429)
#: Problems of every endpoint that reads a JSON body.
UNREADABLE = (404, 408, 413, 415, 422)

#: Of every GET that needs the role read.
HAS_IT: dict[str, Any] = {"description": "Nothing has changed since the `ETag` that `If-None-Match` names"}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Problem documents with these statuses, for the OpenAPI document."""
    return dict.fromkeys(sorted(statuses), PROBLEM_RESPONSE)


class JsonRequest(Request):
    """A request whose JSON body is bounded, and read strictly."""

    async def body(self) -> bytes:
        """The body, unpacked."""
        if not hasattr(self, "_body"):
            limit = self.app.state.service.limits.max_body_kb << 10
            if self.method in SAFE_METHODS:  # nothing is done with it
                self._body = await read_body(self.receive, limit)
            else:
                self._body = await read_json_body(self.scope, self.receive, limit, optional=True)
        return self._body

    async def json(self) -> Any:
        """The body's value."""
        return parse_json(await self.body())


class Endpoint:
    """One endpoint as an ASGI application: its errors are problem documents, and its time and number are bounded."""

    def __init__(self, name: str, work: Work) -> None:
        self.name, self.role, self._work = name, REQUIRED_ROLES[name], work

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        service: Service = scope["app"].state.service
        context: RequestContext = scope["request_context"]
        context.endpoint = self.name
        if service.in_flight >= service.limits.max_in_flight:
            await _refuse(scope, send, overloaded("too many requests are in flight; try again soon"))
            return
        service.in_flight += 1
        try:
            await self._answer(service, scope, receive, send)
        except ClientGoneError:
            context.status = GONE
        finally:
            service.in_flight -= 1

    async def _answer(self, service: Service, scope: Any, receive: Receive, send: Send) -> None:
        context = scope["request_context"]
        try:
            if scope["method"] not in SAFE_METHODS and not FROM_BROWSERS.isdisjoint(context.headers):
                check_origin(scope["headers"], service.limits.cors_origins)
            caller = scope["caller"] = service.access.identify(scope, self.role)
            context.key = None if self.role is None else caller.name  # also of who is turned away
            service.access.authorize(caller, self.role)
            with service.deadlines.within(service.limits.deadline_s) as scope["deadline"], Patience():
                await self._work(service, scope, receive, send)
        except ClientGoneError:
            raise
        except TimeoutError:
            seconds = service.limits.deadline_s
            may_be_done = self.role in (Role.OPERATE, Role.LABEL) and scope["method"] not in SAFE_METHODS
            await _refuse(scope, send, too_slow(seconds) if IS_INCOMPLETE.get() else not_in_time(seconds, may_be_done=may_be_done))
        except Exception as error:
            problem = of(error, service.root)
            # A database that is away is one line where that is found out, not a traceback for each request.
            if problem.status >= 500 and not isinstance(error, HttpProblemError | RetryableError):
                log.exception("%s: answered with %s", self.name, problem.kind)
            await _refuse(scope, send, problem)


async def _refuse(scope: Scope, send: Send, problem: Problem) -> None:
    context: RequestContext = scope["request_context"]
    await respond_problem(send, problem.of_request(context.request_id, context.trace_id), scope)


def answered_by(work: Work) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Have an endpoint answered without FastAPI, which costs a third of a prediction; the function only documents it."""

    def mark(signature: Callable[..., Any]) -> Callable[..., Any]:
        signature.work = work  # type: ignore[attr-defined]
        return signature

    return mark


class ServiceRoute(APIRoute):
    """A route of this service."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        name = options["name"] = options.get("name") or endpoint.__name__
        role = REQUIRED_ROLES[name]
        common = problems(*ALWAYS, *(REFUSED if role else ()))
        # Both ways to send a key; and none, where there are no keys yet.
        ways: list[dict[str, list[str]]] = [{"bearer": []}, {"header": []}, {}] if role else []
        extra: dict[str, Any] = {"security": ways, **({"x-role": role.value} if role else {})}
        options["operation_id"] = name
        options["summary"] = (endpoint.__doc__ or "").strip().rstrip(".")
        known = {304: HAS_IT} if role is Role.READ and "GET" in options.get("methods", ()) else {}
        options["responses"] = {**common, **known, **(options.get("responses") or {})}
        options["openapi_extra"] = {**extra, **(options.get("openapi_extra") or {})}
        super().__init__(path, endpoint, **options)
        self.description = ""  # FastAPI would repeat the summary
        self.parameters = _query_names(self)
        work: Work | None = getattr(endpoint, "work", None)
        self.door = Endpoint(name, work or self._by_fastapi)

    async def handle(self, scope: Any, receive: Receive, send: Send) -> None:
        """Let a request in, and answer it. Every request of this address comes through here, however routers are nested."""
        if self.methods and scope["method"] not in self.methods:
            await super().handle(scope, receive, send)  # FastAPI says which methods there are
        else:
            await self.door(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Read bodies within their limit."""
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await handler(JsonRequest(request.scope, request.receive))

        return handle

    async def _by_fastapi(self, service: Service, scope: Any, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- FastAPI injects it
        query(scope, self.parameters)

        async def secure(message: Any) -> None:
            if message["type"] == "http.response.start" and not any(name == b"cache-control" for name, _ in message["headers"]):
                message["headers"] = [*message["headers"], *SECURITY]
            await send(message)

        # A page that looks again and again has most of what it gets already.
        is_read = self.door.role is Role.READ and scope["method"] in SAFE_METHODS
        await super().handle(scope, receive, tagged(scope["headers"], secure) if is_read else secure)


def _query_names(route: APIRoute) -> tuple[str, ...]:
    """The query parameters that an endpoint knows."""
    names: list[str] = []
    for parameter in route.dependant.query_params:
        model: Any = parameter.field_info.annotation
        is_model = isinstance(model, type) and issubclass(model, BaseModel)
        names += list(model.model_fields) if is_model else [parameter.alias]
    return tuple(names)


def router() -> APIRouter:
    """A router of this service."""
    return APIRouter(route_class=ServiceRoute)


async def _service(request: Request) -> Service:
    return request.app.state.service  # type: ignore[no-any-return]


async def _caller(request: Request) -> Caller:
    return request.scope["caller"]  # type: ignore[no-any-return]


async def _deadline(request: Request) -> Deadline:
    return request.scope["deadline"]  # type: ignore[no-any-return]


ServiceDep = Annotated[Service, Depends(_service)]
CallerDep = Annotated[Caller, Depends(_caller)]
#: The deadline of the request, which may be lifted.
DeadlineDep = Annotated[Deadline, Depends(_deadline)]


def merged(in_query: BaseModel, in_body: BaseModel | None) -> Mapping[str, Any]:
    """The fields that a request gives, in the query or in its body; the body counts more."""
    fields = in_query.model_dump(mode="json", exclude_unset=True)
    return fields if in_body is None else fields | in_body.model_dump(mode="json", exclude_unset=True)

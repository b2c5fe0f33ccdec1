"""The application: routers, errors, and what is opened when it starts."""

import contextlib
import gc
import hashlib
import logging
import os
import platform
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.cors import CORSMiddleware

from sporeprint import __version__
from sporeprint.common import telemetry
from sporeprint.errors import SporeprintError
from sporeprint.model_serving.endpoints import (
    ab_labels,
    ab_plans,
    ab_tests,
    administration,
    alerts,
    batches,
    documentation,
    gate_check,
    identify,
    keys,
    model_versions,
    models,
    monitoring,
    open_inference,
    openapi,
    outcomes,
    predict,
    predict_batch,
    prediction_search,
    predictions,
    promotion,
    runs,
    status,
    table_schema,
)
from sporeprint.model_serving.endpoints.routing import Endpoint
from sporeprint.model_serving.http.connections import IdleConnections, connection_limit
from sporeprint.model_serving.http.problems import MEDIA_TYPE, UNEXPECTED, HttpProblemError, Problem, not_found
from sporeprint.model_serving.http.request_context import RequestContext
from sporeprint.model_serving.http.requests import SECURITY, is_open_inference
from sporeprint.model_serving.http.validation import invalid_request
from sporeprint.model_serving.runtime.service import Service
from sporeprint.model_serving.ui.open_counts import RecentCounts
from sporeprint.model_serving.ui.routes import UI_ROUTES
from sporeprint.model_serving.ui.session import Sessions
from sporeprint.schema import DatasetSchema
from sporeprint.settings import Settings

log = logging.getLogger(__name__)

BUSIEST = "/predict"
INFER = re.compile(r"/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")
#: In the order in which addresses are looked up: /predictions/outcomes is no prediction's id.
ROUTERS = tuple(
    module.routes
    for module in (
        predict,
        predict_batch,
        identify,
        table_schema,
        outcomes,
        prediction_search,
        predictions,
        batches,
        models,
        model_versions,
        gate_check,
        promotion,
        ab_plans,
        ab_labels,
        ab_tests,
        alerts,
        monitoring,
        runs,
        keys,
        administration,
        status,
        documentation,
        open_inference,
    )
)
ROUTES = tuple(route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute))
#: Endpoint -> its address.
PATHS = {route.name: route.path for route in (*ROUTES, *UI_ROUTES)}


def document(schema: DatasetSchema, root_path: str = "") -> dict[str, Any]:
    """The OpenAPI document of a server of this schema. See `openapi.document`."""
    return openapi.document(ROUTES, schema, root_path)


class Application(FastAPI):
    """An application whose predictions are found without looking: the layers before the others take as long as a prediction."""

    #: Endpoints by name; none where other layers have to see every request.
    busiest: Mapping[str, Endpoint] = MappingProxyType({})

    def document(self, schema: DatasetSchema) -> dict[str, Any]:
        """The OpenAPI document for the schema of the model that serves."""
        return document(schema, self.root_path)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, count it and write it down."""
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        context = scope["request_context"] = RequestContext(scope, send)
        try:
            if (endpoint := self._busiest(scope)) is not None:
                scope["app"] = self
                await endpoint(scope, receive, context)
            elif scope["method"] == "HEAD":  # as GET; the server leaves out the body
                await super().__call__({**scope, "method": "GET"}, receive, context)
            else:
                await super().__call__(scope, receive, context)
        finally:
            # They know how to send, and the sender knows the scope: circles that would wait for the garbage collector.
            del scope["request_context"]
            scope.pop("extensions", None)
            self.state.service.finished(context)
            context.end_span(PATHS.get(context.endpoint))

    def _busiest(self, scope: Any) -> Endpoint | None:
        """The endpoint of a prediction; None: the router knows who answers."""
        if not self.busiest or scope["method"] != "POST":
            return None
        if scope["path"] == BUSIEST:
            return self.busiest["predict"]
        if (match := INFER.fullmatch(scope["path"])) is None:
            return None
        scope["path_params"] = {name: value for name, value in match.groupdict().items() if value is not None}
        return self.busiest["oip_version_infer" if match["version"] else "oip_infer"]

    async def _live(self, scope: Any, receive: Any, send: Any) -> None:
        """Start and end. What is known to stand in the way of a start is one sentence in the log, not a traceback."""
        problem: SporeprintError | None = None
        lifespan = self.router.lifespan_context

        @contextlib.asynccontextmanager
        async def noted(app: Any) -> AsyncIterator[Any]:
            nonlocal problem
            try:
                async with lifespan(app) as state:
                    yield state
            except SporeprintError as error:
                problem = error
                raise

        async def say(message: Any) -> None:
            if problem is not None and message["type"] == "lifespan.startup.failed":
                message = {**message, "message": f"error: {problem}"}
            await send(message)

        self.router.lifespan_context = noted
        try:
            await super().__call__(scope, receive, say)
        except SporeprintError:
            log.debug("the server cannot start", exc_info=True)
        finally:
            self.router.lifespan_context = lifespan


def _worker_name() -> str:
    """A name that no other process has, on this machine or on one that sees the same folders: in a container every process is number 1."""
    return f"api-{hashlib.sha256(platform.node().encode()).hexdigest()[:6]}-{os.getpid()}"


def create_app(
    settings: Settings,
    root: Path,
    *,
    model: str = "production",
    worker: str | None = None,
    exposed: bool = False,
    counts: Path | None = None,
) -> FastAPI:
    """The application. Model, journal and database are opened when it starts, and closed when it ends.

    Args:
        settings: limits, and where journal and database are.
        root: the work directory.
        model: what serves: production, a model's name, or one version.
        worker: name of this process, which no other has; one of its own, if left out.
        exposed: whether other machines can reach it: then nobody is let in without an API key.
        counts: folder of the numbers of all workers of the server; None: this one is alone.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        name = worker or _worker_name()
        telemetry.start(name)
        limits = settings.serving
        waiting = IdleConnections(connection_limit(limits.max_connections), limits.receive_s, limits.keep_alive_s)
        async with (
            Service.running(settings, root, model, name, exposed=exposed, paths=PATHS, counts=counts) as service,
            waiting.watched(),
        ):
            app.state.service = service
            if settings.serving.ui:
                app.state.sessions, app.state.counts = Sessions.open(root, os.environ), RecentCounts()
            # What is there now stays: looking through it for garbage would hold up every answer for a tenth of a second.
            gc.freeze()
            yield {"waiting": waiting}
            gc.unfreeze()
        telemetry.stop()

    app = Application(
        title="sporeprint",
        version=__version__,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would lose the scheme and the path of a gateway in front
        openapi_url=None,  # the document depends on the model that serves: endpoints/documentation.py
        exception_handlers={StarletteHTTPException: _http, RequestValidationError: _not_valid, Exception: _unexpected},
    )
    app.root_path = settings.serving.root_path  # the server's own would be put before the paths of requests, too
    for router in ROUTERS:
        app.include_router(router)
    if settings.serving.ui:
        app.router.routes.extend(UI_ROUTES)
    if settings.serving.cors_origins:
        allowed = ["Authorization", "X-API-Key", "Content-Type", "Content-Encoding", "Idempotency-Key", "X-Unit-Id", "X-Request-Id"]
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.serving.cors_origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=allowed,
            expose_headers=["X-Request-Id"],
        )
    else:
        work = {"predict": predict.respond_predict, **dict.fromkeys(("oip_infer", "oip_version_infer"), open_inference.respond_infer)}
        app.busiest = {name: Endpoint(name, respond) for name, respond in work.items()}
    return app


# --- errors --------------------------------------------------------------------------------------------------------------


def _response(request: Request, problem: Problem, headers: Any = None) -> Response:
    context: RequestContext = request.scope["request_context"]
    problem = problem.without(request.app.state.service.root).of_request(context.request_id, context.trace_id)
    own = {name.decode(): value.decode() for name, value in (*SECURITY, *problem.headers)}
    if is_open_inference(request.scope):
        body = problem.to_open_inference()
        return Response(body, problem.status, headers={**own, **(headers or {})}, media_type="application/json")
    return Response(problem.to_bytes(), problem.status, headers={**own, **(headers or {})}, media_type=MEDIA_TYPE.decode())


async def _http(request: Request, error: Exception) -> Response:
    """What an endpoint refuses, or the router finds no endpoint for."""
    if isinstance(error, HttpProblemError):
        return _response(request, error.problem)
    assert isinstance(error, HTTPException | StarletteHTTPException)  # noqa: S101 -- it is registered for this type
    path = request.scope["path"][:100]
    if error.status_code == 404:
        return _response(request, not_found(f"nothing is at {path!r}; GET /docs lists what there is"))
    allowed = _allowed(request)
    detail = f"{request.method[:20]} is not answered at {path!r}; send one of {allowed}"
    return _response(request, Problem(error.status_code, "not-allowed", str(error.detail), detail), {"Allow": allowed})


def _allowed(request: Request) -> str:
    """The methods of an address that does not take the one that was sent. The router knows those of one endpoint alone."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    every = (*ROUTES, *UI_ROUTES)
    address = next(route.path for route in every if route.path_regex.match(path))  # the first that fits is the one that answers
    methods = {method for route in every if route.path == address for method in route.methods or ()}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def _not_valid(request: Request, error: Exception) -> Response:
    """What FastAPI does not understand of a request."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 -- it is registered for this type
    route: Any = request.scope.get("route")
    body = getattr(route, "body_field", None)
    model: Any = None if body is None else body.field_info.annotation
    return _response(request, invalid_request(error.errors(), _fields(model)))


def _fields(model: Any) -> tuple[str, ...]:
    """The fields of a body, which may be optional."""
    for each in (model, *getattr(model, "__args__", ())):
        if fields := getattr(each, "model_fields", None):
            return tuple(fields)
    return ()


async def _unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001 -- the handler's signature
    return _response(request, UNEXPECTED)

"""The application: which address is answered by what."""

import contextlib
import gc
import hashlib
import os
import platform
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sporeprint import __version__
from sporeprint.model_serving.endpoints import ab_tests
from sporeprint.model_serving.endpoints import status as looking
from sporeprint.model_serving.endpoints.outcomes import outcomes
from sporeprint.model_serving.endpoints.predict import predict
from sporeprint.model_serving.endpoints.predict_batch import predict_batch
from sporeprint.model_serving.endpoints.promotion import promote, rollback
from sporeprint.model_serving.http.connections import IdleConnections, connection_limit
from sporeprint.model_serving.http.problems import MEDIA_TYPE, UNEXPECTED, Problem, not_found
from sporeprint.model_serving.http.request_context import RequestContext
from sporeprint.model_serving.http.requests import SECURITY
from sporeprint.model_serving.runtime.service import Endpoint, Service, Work
from sporeprint.settings import Settings

BUSIEST = "/predict"
#: Address, method, name, what answers. The busiest first: they are looked through in order.
ENDPOINTS: tuple[tuple[str, str, str, Work], ...] = (
    (BUSIEST, "POST", "predict", predict),
    ("/predict/batch", "POST", "predict_batch", predict_batch),
    ("/predictions/outcomes", "POST", "outcomes", outcomes),
    ("/predictions/{prediction_id}", "GET", "prediction", looking.prediction),
    ("/predictions/{prediction_id}/outcome", "POST", "outcome", looking.outcome),
    ("/models", "GET", "models", looking.models),
    ("/models/{name}/promote", "POST", "promote", promote),
    ("/models/{name}/rollback", "POST", "rollback", rollback),
    ("/ab-tests", "GET", "ab_tests", ab_tests.listed),
    ("/ab-tests", "POST", "ab_create", ab_tests.create),
    ("/ab-tests/{test_id}", "GET", "ab_test", ab_tests.show),
    ("/ab-tests/{test_id}/disagreements", "GET", "ab_disagreements", ab_tests.disagreements),
    ("/ab-tests/{test_id}/report", "GET", "ab_report", ab_tests.report),
    ("/ab-tests/{test_id}/conclude", "POST", "ab_conclude", ab_tests.conclude),
    ("/metrics", "GET", "metrics", looking.show_metrics),
    ("/health", "GET", "health", looking.health),
    ("/health/live", "GET", "live", looking.live),
    ("/health/ready", "GET", "ready", looking.ready),
    ("/openapi.json", "GET", "openapi", looking.document),
    ("/docs", "GET", "docs", looking.docs),
    ("/", "GET", "index", looking.index),
)
#: Endpoint -> its address.
PATHS = {name: path for path, _, name, _ in ENDPOINTS}


class Application(FastAPI):
    """An application with one endpoint that is found without looking: the layers before the others take as long as an answer."""

    busiest: Endpoint | None = None
    finished: Callable[[RequestContext], None]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request, count it and write it down."""
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        exchange = scope["exchange"] = RequestContext(scope, send)
        try:
            if self.busiest is not None and scope["path"] == BUSIEST and scope["method"] == "POST":
                await self.busiest(scope, receive, exchange.send)
            else:
                await super().__call__(scope, receive, exchange.send)
        finally:
            # It knows how to send, and the sender knows the scope: a circle that would wait for the garbage collector.
            del scope["exchange"]
            self.finished(exchange)


def _name() -> str:
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
    running: list[Service] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        waiting = IdleConnections(connection_limit(settings.serving.max_connections), settings.serving.receive_s)
        async with (
            Service.running(settings, root, model, worker or _name(), exposed=exposed, paths=PATHS, counts=counts) as service,
            waiting.watched(),
        ):
            running.append(service)
            # What is there now stays: looking through it for garbage would hold up every answer for a tenth of a second.
            gc.freeze()
            yield {"waiting": waiting}
            gc.unfreeze()
            running.clear()

    def service() -> Service:
        return running[0]

    routes: list[BaseRoute] = [Route(path, Endpoint(name, work, service), methods=[method]) for path, method, name, work in ENDPOINTS]
    app = Application(
        title="sporeprint",
        version=__version__,
        routes=routes,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would lose the scheme and the path of a gateway in front
        openapi_url=None,  # and with it the pages that a browser would fetch from elsewhere
        exception_handlers={HTTPException: _http, Exception: _unexpected},
    )
    app.finished = lambda exchange: service().finished(exchange)
    if settings.serving.cors_origins:
        allowed = ["Authorization", "X-API-Key", "Content-Type", "Idempotency-Key", "X-Unit-Id", "X-Request-Id"]
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.serving.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=allowed,
            expose_headers=["X-Request-Id"],
        )
    else:
        app.busiest = Endpoint("predict", predict, service)
    return app


def _response(request: Request, problem: Problem, headers: Any = None) -> Response:
    problem = problem.of_request(request.scope["exchange"].request_id)
    safe = {name.decode(): value.decode() for name, value in SECURITY}
    return Response(problem.to_bytes(), problem.status, headers={**safe, **(headers or {})}, media_type=MEDIA_TYPE.decode())


async def _http(request: Request, error: Exception) -> Response:
    """What the router finds no endpoint for."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- it is registered for this type
    if error.status_code == 404:
        return _response(request, not_found(f"nothing is at {request.url.path[:100]!r}; GET /docs lists what there is"))
    said = f"{request.method[:20]} is not answered at {request.url.path[:100]!r}"
    return _response(request, Problem(error.status_code, "not-allowed", str(error.detail), said), {"Allow": _allowed(request)})


def _allowed(request: Request) -> str:
    """The methods of an address that does not take the one that was sent. The router knows those of one endpoint alone."""
    address = PATHS[request.scope["endpoint"].name]
    methods = {method for path, method, _, _ in ENDPOINTS if path == address}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))


async def _unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001 -- the handler's signature
    return _response(request, UNEXPECTED)

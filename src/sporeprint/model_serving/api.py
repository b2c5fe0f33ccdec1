"""The application: which address is answered by what."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sporeprint import __version__
from sporeprint.model_serving import looking, openapi
from sporeprint.model_serving.connections import Waiting, places
from sporeprint.model_serving.predicting import predict, predict_batch
from sporeprint.model_serving.problems import MEDIA_TYPE, UNEXPECTED, Problem, not_found
from sporeprint.model_serving.service import Endpoint, Service, Work
from sporeprint.settings import Settings

BUSIEST = "/predict"
#: Address, method, name in the metrics, what answers. The busiest first: they are looked through in order.
ENDPOINTS: tuple[tuple[str, str, str, Work], ...] = (
    (BUSIEST, "POST", "predict", predict),
    ("/predict/batch", "POST", "predict_batch", predict_batch),
    ("/predictions/{prediction_id}", "GET", "prediction", looking.prediction),
    ("/predictions/{prediction_id}/outcome", "POST", "outcome", looking.outcome),
    ("/models", "GET", "models", looking.models),
    ("/health", "GET", "health", looking.health),
    ("/health/live", "GET", "live", looking.live),
    ("/health/ready", "GET", "ready", looking.ready),
    ("/metrics", "GET", "metrics", looking.show_metrics),
    ("/", "GET", "index", looking.index),
)


class Application(FastAPI):
    """An application with one endpoint that is found without looking: the layers before the others take as long as an answer."""

    busiest: Endpoint | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if self.busiest is not None and scope["type"] == "http" and scope["path"] == BUSIEST and scope["method"] == "POST":
            await self.busiest(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings, root: Path, *, model: str = "production", worker: str | None = None) -> FastAPI:
    """The application. Model, journal and database are opened when it starts, and closed when it ends.

    Args:
        settings: limits, and where journal and database are.
        root: the work directory.
        model: what serves: production, a model's name, or one version.
        worker: name of this process, which no other has; one of its own, if left out.
    """
    running: list[Service] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        waiting = Waiting(places(settings.serving.max_connections), settings.serving.receive_s)
        async with Service.running(settings, root, model, worker or f"api-{os.getpid()}") as service, waiting.watched():
            running.append(service)
            yield {"waiting": waiting}
            running.clear()

    def service() -> Service:
        return running[0]

    routes: list[BaseRoute] = [Route(path, Endpoint(name, work, service), methods=[method]) for path, method, name, work in ENDPOINTS]
    app = Application(
        title="sporeprint",
        version=__version__,
        routes=routes,
        lifespan=lifespan,
        redoc_url=None,
        exception_handlers={HTTPException: _http, Exception: _unexpected},
    )
    app.busiest = Endpoint("predict", predict, service)
    # Made when it is asked for: the contract is that of the model that serves then.
    app.openapi = lambda: openapi.document(service().loader.current.bundle.schema)  # type: ignore[method-assign]
    return app


def _response(problem: Problem, headers: Any = None) -> Response:
    return Response(problem.to_bytes(), problem.status, headers=headers, media_type=MEDIA_TYPE.decode())


async def _http(request: Request, error: Exception) -> Response:
    """What the router finds no endpoint for."""
    assert isinstance(error, HTTPException)  # noqa: S101 -- it is registered for this type
    if error.status_code == 404:
        return _response(not_found(f"nothing is at {request.url.path[:100]!r}; GET /docs lists what there is"))
    said = f"{request.method[:20]} is not answered at {request.url.path[:100]!r}"
    return _response(Problem(error.status_code, "not-allowed", str(error.detail), said), error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001 -- the handler's signature
    return _response(UNEXPECTED)

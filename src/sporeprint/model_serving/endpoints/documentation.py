"""`/openapi.json` and `/docs`: the API for programs and for people."""

import asyncio
import functools
import gzip
import importlib.util
from pathlib import Path as FilePath
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.responses import HTMLResponse

from sporeprint.model_serving.endpoints.ab_tests import html_response
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router
from sporeprint.web.assets import assets

routes = router()

#: Files of Swagger UI, as the package fastapi-offline brings them along, and ours over them: the page needs nothing from elsewhere.
Asset = Literal["swagger-ui-bundle.js", "swagger-ui.css", "favicon.png", "docs.css", "docs.js"]
#: Addresses below the page's own, so that they are right below any path of a gateway.
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API · sporeprint</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/docs.css">
<script defer src="docs/swagger-ui-bundle.js"></script>
<script defer src="docs/docs.js"></script>
</head>
<body><main id="swagger-ui"></main></body>
</html>
"""
#: Swagger UI puts styles into elements, and pictures into styles.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
DAY_S = 86_400
MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "png": "image/png"}


@routes.get("/openapi.json", name="openapi")
async def openapi(request: Request, service: ServiceDep) -> dict[str, Any]:
    """This document."""
    # Made for each request: the columns are those of the model that serves now.
    document: dict[str, Any] = request.app.document(service.loader.current.bundle.schema)
    return document


@routes.get("/docs", response_class=HTMLResponse)
async def docs() -> HTMLResponse:
    """The same for people."""
    return html_response(PAGE, POLICY)


@routes.get("/docs/{asset}", name="docs_asset", response_class=Response, include_in_schema=False, responses=problems(404))
async def docs_asset(asset: Asset, request: Request) -> Response:
    """A file of the page."""
    headers = {"cache-control": f"public, max-age={DAY_S}", "vary": "Accept-Encoding", "x-content-type-options": "nosniff"}
    media_type = MEDIA_TYPES[asset.rpartition(".")[2]]
    body = await asyncio.to_thread(_body, asset)
    if not asset.endswith(".png") and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["content-encoding"] = await asyncio.to_thread(_packed, asset), "gzip"
    return Response(body, media_type=media_type, headers=headers)


@functools.cache
def _packed(asset: Asset) -> bytes:
    return gzip.compress(_body(asset), 9, mtime=0)


@functools.cache
def _body(asset: Asset) -> bytes:
    if asset in assets():
        return assets()[asset].body
    spec = importlib.util.find_spec("fastapi_offline")
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 -- the extra `serve` has it
    return (FilePath(spec.origin).parent / "static" / asset).read_bytes()

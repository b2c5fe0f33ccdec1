"""`/openapi.json` and `/docs`: the API for programs and for people."""

import asyncio
import base64
import functools
import gzip
import hashlib
import importlib.util
import re
from pathlib import Path as FilePath
from typing import Any, Literal

from fastapi import Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse

from sporeprint.model_serving.endpoints.ab_tests import html_response
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router

routes = router()

#: Files of Swagger UI, as the package fastapi-offline brings them along: the page needs nothing from elsewhere.
Asset = Literal["swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"]
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
    # Addresses below the page's own, so that they are right below any path of a gateway.
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="sporeprint",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon.png",
        swagger_ui_parameters={"displayRequestDuration": True, "tryItOutEnabled": True},
    ).body
    text = bytes(page).decode().replace("<html>", '<html lang="en">')
    text = re.sub(r'(<div id="swagger-ui">\s*</div>)', r"<main>\1</main>", text)
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL))
    return html_response(
        text,
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    )


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@routes.get("/docs/{asset}", name="docs_asset", response_class=FileResponse, include_in_schema=False, responses=problems(404))
async def docs_asset(asset: Asset, request: Request) -> Response:
    """A file of the page."""
    headers = {"cache-control": f"public, max-age={DAY_S}", "vary": "Accept-Encoding", "x-content-type-options": "nosniff"}
    media_type = MEDIA_TYPES[asset.rpartition(".")[2]]
    if asset.endswith(".png") or "gzip" not in request.headers.get("accept-encoding", ""):
        return FileResponse(_assets() / asset, media_type=media_type, headers=headers)
    body = await asyncio.to_thread(_packed, asset)
    return Response(body, media_type=media_type, headers={**headers, "content-encoding": "gzip"})


@functools.cache
def _packed(asset: Asset) -> bytes:
    return gzip.compress((_assets() / asset).read_bytes(), 9, mtime=0)


def _assets() -> FilePath:
    spec = importlib.util.find_spec("fastapi_offline")
    assert spec is not None and spec.origin is not None  # noqa: S101, PT018 -- the extra `serve` has it
    return FilePath(spec.origin).parent / "static"

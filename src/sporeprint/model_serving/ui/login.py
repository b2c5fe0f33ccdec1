"""Log-in with an API key, log-out, language, and the files that pages link."""

from typing import Any

from sporeprint.model_serving.http.authentication import REQUIRED_ROLES
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_found
from sporeprint.model_serving.http.requests import Receive, Send
from sporeprint.model_serving.ui.page_endpoint import LANGUAGE_COOKIE, NAVIGATION, Page, PageRequest, PageResponse, Redirect, header
from sporeprint.web.assets import Asset, assets
from sporeprint.web.words import LANGUAGES

YEAR_S = 365 * 86_400
TOO_MANY = Problem(429, "rate-limited", "Too many failed log-ins", "too many log-ins failed; try again in a minute")


async def show_login(request: PageRequest) -> PageResponse | Redirect:
    """The page that asks for a key."""
    if not request.service.access.needs_keys:
        return Redirect("")
    return PageResponse("login.html.j2", {"to": request.query.get("to", ""), "problem": None})


async def log_in(request: PageRequest) -> PageResponse | Redirect:
    """Begin a session."""
    to = request.form.get("to", "")
    if not request.sessions.may_try(request.address):
        return PageResponse("login.html.j2", {"to": to, "problem": TOO_MANY}, TOO_MANY.status)
    try:
        key, caller = request.service.access.key_of(request.form.get("key", "").strip())
    except HttpProblemError as error:
        return PageResponse("login.html.j2", {"to": to, "problem": error.problem}, error.problem.status)
    request.sessions.succeeded(request.address)
    cookie = request.sessions.cookie(key, is_secure=request.is_secure)
    first = next((path for name, (path, _) in NAVIGATION.items() if REQUIRED_ROLES[name] in caller.roles), "")
    return Redirect(to or first, ((b"set-cookie", cookie.encode()),))


async def log_out(request: PageRequest) -> Redirect:
    """End the session."""
    return Redirect("login", ((b"set-cookie", request.sessions.end(is_secure=request.is_secure).encode()),))


async def choose_language(request: PageRequest) -> Redirect:
    """Remember the reader's language."""
    language = request.form.get("language", "")
    if language not in LANGUAGES:
        raise HttpProblemError(
            Problem(422, "not-valid", "A field cannot be understood", f"language: expected one of {', '.join(LANGUAGES)}")
        )
    cookie = f"{LANGUAGE_COOKIE}={language}; Path=/; Max-Age={YEAR_S}; HttpOnly; SameSite=Lax"
    return Redirect(request.form.get("to", ""), ((b"set-cookie", cookie.encode()),))


async def missing(request: PageRequest) -> PageResponse:
    """There is no such page."""
    raise HttpProblemError(not_found(f"there is no page {request.path['path'][:100]!r}"))


class AssetEndpoint:
    """A file of the pages, for ever the same at its address."""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- as ASGI has it
        """Send the file, or say that there is none."""
        scope["request_context"].endpoint = "ui_asset"
        asset: Asset | None = assets().get(scope["path_params"]["name"])
        if asset is None or asset.digest != scope["path_params"]["digest"]:
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        is_packed = b"gzip" in header(scope, b"accept-encoding")
        body = asset.packed if is_packed else asset.body
        headers = [
            (b"content-type", asset.media_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"public, max-age=31536000, immutable"),
            (b"vary", b"Accept-Encoding"),
            (b"x-content-type-options", b"nosniff"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),
        ]
        if is_packed:
            headers.append((b"content-encoding", b"gzip"))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


LOGIN_PAGES: tuple[Page, ...] = (
    ("ui_login", "GET", "/login", show_login),
    ("ui_log_in", "POST", "/login", log_in),
    ("ui_log_out", "POST", "/logout", log_out),
    ("ui_language", "POST", "/language", choose_language),
)

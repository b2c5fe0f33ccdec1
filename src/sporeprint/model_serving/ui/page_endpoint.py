"""How a page is asked for and answered: session or key, role, origin, form, language; errors are pages, too."""

import asyncio
import gzip
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from starlette.responses import Response
from starlette.routing import Route

from sporeprint.errors import RetryableError
from sporeprint.model_serving.http.authentication import REQUIRED_ROLES, Caller, TokenBucket
from sporeprint.model_serving.http.entity_tag import has, tag_of
from sporeprint.model_serving.http.origin import SAFE_METHODS, check_origin
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, bad_parameter, not_in_time, of, overloaded
from sporeprint.model_serving.http.request_context import GONE
from sporeprint.model_serving.http.requests import CAREFUL, ClientGoneError, Headers, Receive, Scope, Send, read_body
from sporeprint.model_serving.runtime.service import Service
from sporeprint.model_serving.ui.open_counts import OpenCounts
from sporeprint.model_serving.ui.session import Sessions
from sporeprint.storage.executor import Patience
from sporeprint.storage.oltp.api_keys import Role
from sporeprint.web.names import label_of, plural
from sporeprint.web.pages import render
from sporeprint.web.words import Words, language_of

log = logging.getLogger(__name__)

POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    b"frame-ancestors 'none'; base-uri 'none'"
)
ISOLATED: Headers = ((b"cross-origin-opener-policy", b"same-origin"), (b"cross-origin-resource-policy", b"same-origin"))
HTML = b"text/html; charset=utf-8"
FORM = b"application/x-www-form-urlencoded"
NO_FORM = Problem(415, "unsupported", "The body is of a kind that is not read here", "expected the fields of a form")
LANGUAGE_COOKIE = "sporeprint-language"
#: Pages worked on at a time: they never take the room that predictions need.
MOST_IN_FLIGHT = 32
MOST_FIELDS = 20_000
#: Seconds for which a part of a page is shared.
SHARED_S = 1.0
#: Who asks where nobody is asked who it is.
NOBODY = Caller("", frozenset(), TokenBucket(0.0, 1, 1.0, 0.0))
#: The pages in the navigation: endpoint -> label.
NAVIGATION: Mapping[str, tuple[str, str]] = {
    "ui_overview": ("", "Overview"),
    "ui_identify": ("identify", "Identify"),
    "ui_predictions": ("predictions", "Predictions"),
    "ui_models": ("models", "Models"),
    "ui_tests": ("tests", "A/B tests"),
    "ui_labels": ("labels", "Labels"),
    "ui_monitoring": ("monitoring", "Monitoring"),
    "ui_alerts": ("alerts", "Alerts"),
    "ui_runs": ("runs", "Runs"),
    "ui_settings": ("settings", "Settings"),
}


@dataclass(frozen=True)
class PageRequest:
    """A request for a page.

    Attributes:
        service: what every endpoint has to do with.
        scope: of the request.
        caller: who asks; nobody, with no roles, on pages that ask nobody.
        words: of the caller's language.
        query: parameters of the address, the last one of a name.
        form: fields of the form that is sent.
        path: what varies in the path.
        sessions: of the server.
        counts: what goes on, for who may see it; None: not known.
    """

    service: Service
    scope: Scope
    caller: Caller
    words: Words
    query: Mapping[str, str]
    form: Mapping[str, str]
    path: Mapping[str, str]
    sessions: Sessions
    counts: OpenCounts | None = None

    @property
    def base(self) -> str:
        """Where the pages begin, as `/ui/`."""
        return f"{self.scope.get('root_path', '')}/ui/"

    @property
    def origin(self) -> str:
        """Where the API begins, as the request named it: for people, in lines to copy."""
        host = header(self.scope, b"host").decode("latin-1")
        return f"{self.scope.get('scheme', 'http')}://{host}{self.scope.get('root_path', '')}"

    @property
    def address_and_query(self) -> tuple[str, bytes]:
        """Which page it is for, with all that its address says."""
        return str(self.scope["path"]), self.scope["query_string"]

    @property
    def is_fragment(self) -> bool:
        """Whether a script asks for a part of the page."""
        return header(self.scope, b"hx-request") == b"true"

    @property
    def is_secure(self) -> bool:
        """Whether it came by TLS."""
        return bool(self.scope.get("scheme") == "https")

    @property
    def address(self) -> str:
        """Who sent it, as far as the connection says."""
        return str((self.scope.get("client") or ("unknown",))[0])

    def may(self, role: Role) -> bool:
        """Whether the caller has a role."""
        return role in self.caller.roles


@dataclass(frozen=True)
class PageResponse:
    """A page, as template and values; with the status 204, nothing that the reader does not have.

    Attributes:
        template: its name.
        values: what it names.
        status: of HTTP.
        headers: further ones.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Headers = ()


@dataclass(frozen=True)
class RenderedPage:
    """A page as it is sent.

    Attributes:
        body: its bytes.
        status: of HTTP.
        headers: further ones.
    """

    body: bytes
    status: int
    headers: Headers


@dataclass(frozen=True)
class Redirect:
    """Another page, below `/ui/`."""

    to: str
    headers: Headers = ()


@dataclass(frozen=True)
class Document:
    """What is no page of this user interface: a report, a file.

    Attributes:
        body: its bytes.
        media_type: of HTTP.
        headers: further ones.
    """

    body: bytes
    media_type: str
    headers: Headers = ()


#: A response of its own is what is sent part by part, such as a batch.
Answer = PageResponse | RenderedPage | Redirect | Document | Response
View = Callable[[PageRequest], Awaitable[Answer]]


def shared(view: View) -> View:
    """Have the part of a page that is looked up again and again made once a second for all who may see the same."""
    view.is_shared = True  # type: ignore[attr-defined]
    return view


#: Name, method, path below `/ui`, view.
Page = tuple[str, str, str, View]


def header(scope: Scope, name: bytes) -> bytes:
    """A header of a request; empty where it has none."""
    return next((value for key, value in scope["headers"] if key == name), b"")


class PageEndpoint:
    """One page as an ASGI application."""

    in_flight = 0

    def __init__(self, name: str, view: View) -> None:
        self.name, self.role, self._view = name, REQUIRED_ROLES[name], view
        self._is_shared = getattr(view, "is_shared", False)
        self._recent: dict[object, tuple[float, asyncio.Future[Answer]]] = {}

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request."""
        service: Service = scope["app"].state.service
        context = scope["request_context"]
        context.endpoint = self.name
        PageEndpoint.in_flight += 1
        service.in_flight += 1
        try:
            await self._answer(service, scope, receive, send)
        except ClientGoneError:
            context.status = GONE
        finally:
            PageEndpoint.in_flight -= 1
            service.in_flight -= 1

    async def _answer(self, service: Service, scope: Any, receive: Receive, send: Send) -> None:
        sessions: Sessions = scope["app"].state.sessions
        request = PageRequest(service, scope, NOBODY, _words(scope), {}, {}, scope["path_params"], sessions)
        try:
            _check(scope)
            if self.role is not None:
                caller = session_caller(service, scope, sessions) or service.access.identify(scope, self.role)
                request = replace(request, caller=caller)
                service.access.authorize(caller, self.role)
                scope["request_context"].key = caller.name
            with service.deadlines.within(service.limits.deadline_s) as scope["deadline"]:
                request = await _with_fields(request, receive)
                if not request.is_fragment and request.may(Role.READ):
                    request = replace(request, counts=await scope["app"].state.counts.counts(service.database.executor))
                with Patience():
                    response: Answer = await (self._recent_answer if self._is_shared and request.is_fragment else self._view)(request)
        except ClientGoneError:
            raise
        except TimeoutError:
            response = refusal(request, not_in_time(service.limits.deadline_s))
        except Exception as error:
            problem = of(error, service.root)
            if problem.status >= 500 and not isinstance(error, HttpProblemError | RetryableError):
                log.exception("%s: answered with %s", self.name, problem.kind)
            if problem.status == 401 and scope["method"] == "POST" and header(scope, b"cookie"):  # a session that is over
                request = await _with_fields(request, receive)
            response = refusal(request, problem)
        if isinstance(response, Response):
            if scope["method"] in SAFE_METHODS:  # of a form it was read
                await read_body(receive, service.limits.max_body_kb << 10)
            named = {name for name, _ in response.raw_headers}
            response.raw_headers += [(name, value) for name, value in (*CAREFUL, *ISOLATED) if name not in named]
            await response(scope, receive, send)
        else:
            await _send(request, response, send)

    async def _recent_answer(self, request: PageRequest) -> Answer:
        """What somebody with the same rights was answered within the last second."""
        key, now = (request.address_and_query, request.caller.roles, request.words.language), time.monotonic()
        self._recent = {each: known for each, known in self._recent.items() if known[0] > now and not _went_wrong(known[1])}
        if key not in self._recent:
            self._recent[key] = (now + SHARED_S, asyncio.ensure_future(self._rendered_view(request)))
        return await asyncio.shield(self._recent[key][1])

    async def _rendered_view(self, request: PageRequest) -> Answer:
        response = await self._view(request)
        return rendered(request, response) if isinstance(response, PageResponse) and response.status != 204 else response


def _went_wrong(answer: asyncio.Future[Answer]) -> bool:
    return answer.done() and (answer.cancelled() or answer.exception() is not None)


def _check(scope: Scope) -> None:
    """Refuse what is too much, or comes from another site's page."""
    if PageEndpoint.in_flight > MOST_IN_FLIGHT:
        raise HttpProblemError(overloaded("too many pages are asked for at once; try again soon"))
    if scope["method"] not in SAFE_METHODS:
        check_origin(scope["headers"], ())


def session_caller(service: Service, scope: Scope, sessions: Sessions) -> Caller | None:
    """Who has the session of a request; a key in its headers counts more."""
    if header(scope, b"authorization") or header(scope, b"x-api-key"):
        return None
    return sessions.caller({b"cookie": b"; ".join(value for key, value in scope["headers"] if key == b"cookie")}, service.access)


def refusal(request: PageRequest, problem: Problem) -> PageResponse | Redirect:
    """The page that says why a request was not answered; whoever has to log in first is sent there.

    A page that asked for a part of itself stays as it is, with all that was typed, and says it at its head.
    """
    if request.is_fragment:
        headers = (*problem.headers, (b"hx-retarget", b"#problem"), (b"hx-reswap", b"innerHTML"))
        return PageResponse("_problem.html.j2", {"problem": problem}, problem.status, headers)
    if problem.status == 401 and request.scope["method"] in SAFE_METHODS:
        below = request.scope["path"].removeprefix(request.scope.get("root_path", "")).removeprefix("/ui/")
        query = request.scope["query_string"].decode("latin-1")
        return Redirect(f"login?to={quote(f'{below}?{query}' if query else below)}")
    problem = problem.of_request(request.scope["request_context"].request_id)
    # What was typed is not lost: the page offers the same form once more.
    values = {"problem": problem, "typed": request.form, "again": request.scope["path"]}
    return PageResponse("problem.html.j2", values, problem.status, problem.headers)


async def _with_fields(request: PageRequest, receive: Receive) -> PageRequest:
    """The request with the fields of its address and form."""
    scope = request.scope
    query = _fields(scope["query_string"], "the query")
    form: Mapping[str, str] = {}
    if scope["method"] == "POST":
        if not header(scope, b"content-type").lower().startswith(FORM):
            raise HttpProblemError(
                Problem(415, "unsupported", "The body is of a kind that is not read here", "expected the fields of a form")
            )
        form = _fields(await read_body(receive, request.service.limits.max_body_kb << 10), "the form")
    return replace(request, query=query, form=form)


def _fields(text: bytes, what: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(text.decode("ascii"), errors="strict", max_num_fields=MOST_FIELDS))
    except ValueError:
        raise HttpProblemError(bad_parameter(f"{what} cannot be read")) from None


def _words(scope: Scope) -> Words:
    cookies = header(scope, b"cookie").decode("latin-1").split("; ")
    chosen = next((each.partition("=")[2] for each in cookies if each.startswith(f"{LANGUAGE_COOKIE}=")), "")
    return Words(language_of(chosen, header(scope, b"accept-language").decode("latin-1")))


def rendered(request: PageRequest, response: PageResponse) -> RenderedPage:
    """A page from its template."""
    try:
        page = render(response.template, request.words, {**frame(request), **response.values}).encode()
        return RenderedPage(page, response.status, response.headers)
    except Exception:  # whatever is wrong with a template, the visitor gets an answer and the log gets the reason
        log.exception("%s cannot be made", response.template)
        page = b"<!doctype html><title>500</title><p>Something went wrong here; the server's log says more.</p>"
        return RenderedPage(page, 500, response.headers)


async def _send(request: PageRequest, response: PageResponse | RenderedPage | Redirect | Document, send: Send) -> None:
    if isinstance(response, Document):
        await _bytes(send, 200, response.body, response.headers, response.media_type.encode())
        return
    if isinstance(response, Redirect):
        location = quote(f"{request.base}{response.to}", safe="/?&=%:@!$'()*+,;~#").encode()
        await _bytes(send, 303, b"", (*response.headers, (b"location", location)))
        return
    if response.status == 204:
        await _bytes(send, 204, b"", response.headers)
        return
    response = response if isinstance(response, RenderedPage) else rendered(request, response)
    page, status = response.body, response.status
    headers = [*response.headers, (b"content-security-policy", POLICY), (b"vary", b"HX-Request, Cookie, Accept-Encoding, Accept-Language")]
    if status == 200 and request.is_fragment and request.scope["method"] in SAFE_METHODS:
        tag = tag_of(page)
        headers.append((b"etag", tag))
        if has(request.scope["headers"], tag):  # a page that looks again and again has it already
            await _bytes(send, 304, b"", headers)
            return
    if b"gzip" in header(request.scope, b"accept-encoding"):
        page = gzip.compress(page, 5, mtime=0)
        headers.append((b"content-encoding", b"gzip"))
    await _bytes(send, status, page, headers)


async def _bytes(send: Send, status: int, body: bytes, headers: Headers, media_type: bytes = HTML) -> None:
    own = [(b"content-type", media_type), (b"content-length", str(len(body)).encode()), *CAREFUL, *ISOLATED, *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})


def frame(request: PageRequest) -> dict[str, Any]:
    """What every page has around its own."""
    current = request.service.loader.current
    return {
        "label_of": lambda name: request.words.of_table(label_of(name)),
        "plural": plural,
        "base": request.base,
        "origin": request.origin,
        "request": request,
        "navigation": [(path, label) for name, (path, label) in NAVIGATION.items() if REQUIRED_ROLES[name] in request.caller.roles],
        "open_counts": {"tests": request.counts.tests, "alerts": request.counts.alerts} if request.counts else {},
        "here": request.scope["path"].removeprefix(request.base),
        "serving": current.ref.ref if request.caller.roles else None,
        "simulated": current.simulated,
        "needs_keys": request.service.access.needs_keys,
    }


def address(path: str, **parameters: str | int | None) -> str:
    """A page's address below `/ui/`, without what is empty."""
    query = {name: value for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(query)}" if query else path


def pages(routes: Sequence[Page]) -> tuple[Route, ...]:
    """Routes of pages."""
    made = []
    for name, method, path, view in routes:
        endpoint: Any = PageEndpoint(name, view)
        made.append(Route(f"/ui{path}", endpoint, methods=[method], name=name, include_in_schema=False))
    return tuple(made)

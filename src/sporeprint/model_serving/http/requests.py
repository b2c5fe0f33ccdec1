"""Bodies, headers and answers as ASGI gives and takes them, with limits."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import orjson

from sporeprint.errors import nearest
from sporeprint.model_serving.http.encodings import ENCODINGS, unpack
from sporeprint.model_serving.http.problems import MEDIA_TYPE, HttpProblemError, Problem, bad_parameter, too_large, too_slow

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON, IDENTITY = b"application/json", b"identity"
#: Sent with everything: nothing here is to be guessed at, framed, run or kept by somebody on the way.
CAREFUL: Headers = ((b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))
NOTHING = b"default-src 'none'; frame-ancestors 'none'"
SECURITY: Headers = (*CAREFUL, (b"content-security-policy", NOTHING))
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_BOOLS = {"true": True, "1": True, "false": False, "0": False, "": True}


class RequestHead(NamedTuple):
    """What the headers of a request with a body say.

    Attributes:
        key: of an idempotent request; None where none was given.
        encoding: how the body is compressed; None: it is not.
    """

    key: str | None
    encoding: str | None = None


#: Whether the deadline of the request that this context works on found its body incomplete.
IS_INCOMPLETE: ContextVar[bool] = ContextVar("IS_INCOMPLETE", default=False)


class ClientGoneError(Exception):
    """The client hung up before it had sent everything; nobody is there to be answered."""


def read_request_head(headers: Mapping[bytes, bytes], limit: int) -> RequestHead:
    """Look at the headers.

    Args:
        headers: of the request, name -> value.
        limit: most bytes of its body.

    Raises:
        HttpProblemError: if the body is too large or of another type, or the key is none.
    """
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or int(length[:18]) > limit:
        raise HttpProblemError(too_large(limit))
    encoding = content_encoding(headers)
    # A page of another origin may send a body without a type, but not this type, without asking first.
    media_type = headers.get(b"content-type", b"")
    if not media_type.lower().startswith(JSON):
        raise HttpProblemError(_unsupported(f"content type {_shown(media_type)}; send Content-Type: application/json"))
    return RequestHead(idempotency_key(headers), encoding)


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """The key of an idempotent request.

    Raises:
        HttpProblemError: if it is none.
    """
    value = headers.get(b"idempotency-key")
    if value is None:
        return None
    key = value.decode("latin-1")
    if not _KEY.fullmatch(key):
        raise HttpProblemError(bad_parameter(f"Idempotency-Key: expected 1 to 255 visible ASCII characters; got {len(key)}, {key[:20]!r}"))
    return key


async def read_json_body(scope: Scope, receive: Receive, limit: int, *, optional: bool = False) -> bytes:
    """Read the body of a request that sends JSON, and unpack it.

    Args:
        scope: of the request.
        receive: the same.
        limit: most bytes of the body, as it is sent and unpacked.
        optional: whether there may be none, and then no content type.

    Raises:
        HttpProblemError: if it is too large or of another type.
        ClientGoneError: if the client hung up.
    """
    if optional and not any(name == b"content-type" for name, _ in scope["headers"]):
        if await read_body(receive, limit):
            raise HttpProblemError(_unsupported("a body without a content type; send Content-Type: application/json"))
        return b""
    head = read_request_head(dict(scope["headers"]), limit)
    return unpack(head.encoding, await read_body(receive, limit), limit)


def content_encoding(headers: Mapping[bytes, bytes]) -> str | None:
    """How a body is compressed; None: it is not.

    Raises:
        HttpProblemError: if in a way that is not known.
    """
    encoding = headers.get(b"content-encoding", IDENTITY).strip().lower()
    if encoding == IDENTITY:
        return None
    if (name := encoding.decode("latin-1")) not in ENCODINGS:
        known = ", ".join(ENCODINGS)
        raise HttpProblemError(_unsupported(f"content encoding {_shown(encoding)}; known: {known}"))
    return name


def _shown(value: bytes) -> str:
    return repr(value[:60].decode("latin-1"))


def _unsupported(detail: str) -> Problem:
    return Problem(415, "unsupported", "The body is of a kind that is not read here", f"not read here: {detail}")


@dataclass(frozen=True)
class Pace:
    """How slowly a body may arrive.

    Attributes:
        idle_s: longest that the client may send nothing, seconds; the rate counts after as long.
        bytes_per_s: slowest on average; 0: any speed.
    """

    idle_s: float
    bytes_per_s: float

    async def next(self, receive: Receive) -> Any:
        """The next message of a body.

        Raises:
            HttpProblemError: nothing came for too long.
        """
        try:
            async with asyncio.timeout(self.idle_s):
                return await receive()
        except TimeoutError:
            raise HttpProblemError(too_slow(self.idle_s)) from None

    def check(self, size: int, seconds: float) -> None:
        """Raises: HttpProblemError, if so many bytes are too few after so many seconds."""
        if size < (seconds - self.idle_s) * self.bytes_per_s:
            raise HttpProblemError(too_slow(seconds))


async def read_body(receive: Receive, limit: int, pace: Pace | None = None) -> bytes:
    """Read a body to its end.

    Args:
        receive: of the request.
        limit: most bytes.
        pace: how slowly it may arrive, where the deadline of the request is a long one.

    Raises:
        HttpProblemError: if it is larger than `limit` bytes, or too slow.
        ClientGoneError: if the client hung up.
    """
    try:
        return await _body(receive, limit, pace)
    except asyncio.CancelledError:
        IS_INCOMPLETE.set(True)
        raise


async def _body(receive: Receive, limit: int, pace: Pace | None) -> bytes:
    clock = asyncio.get_running_loop().time
    begin = clock()
    message = await (receive() if pace is None else pace.next(receive))
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise HttpProblemError(too_large(limit))
        if not message.get("more_body", False):
            return b"".join([*parts, part]) if parts else part
        parts.append(part)
        if pace is not None:
            pace.check(size, clock() - begin)
        message = await (receive() if pace is None else pace.next(receive))


def query(scope: Scope, known: Sequence[str]) -> dict[str, str]:
    """The query parameters.

    Raises:
        HttpProblemError: if one is unknown or given twice.
    """
    if not (text := scope["query_string"]):
        return {}
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise HttpProblemError(bad_parameter("the query cannot be read")) from None
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise HttpProblemError(bad_parameter(f"unknown parameter {name[:40]!r}{nearest(name[:40], known)}; known: {', '.join(known)}"))
        if name in options:
            raise HttpProblemError(bad_parameter(f"parameter {name!r} is given twice"))
        options[name] = value
    return options


def parse_bool(name: str, text: str | None) -> bool:
    """A parameter that is on or off.

    Raises:
        HttpProblemError: if it is neither.
    """
    if text is None:
        return False
    if text.lower() not in _BOOLS:
        raise HttpProblemError(bad_parameter(f"parameter {name!r}: expected true or false, got {text[:40]!r}"))
    return _BOOLS[text.lower()]


async def respond(send: Send, status: int, body: bytes, headers: Headers = (), media_type: bytes = JSON) -> None:
    """Send an answer: in one step, where the sender can do that."""
    if (send_whole := getattr(send, "send_whole", None)) is not None and send_whole(status, _head(len(body), headers, media_type), body):
        return
    own = [(b"content-type", media_type), (b"content-length", str(len(body)).encode()), *SECURITY, *headers]
    await send({"type": "http.response.start", "status": status, "headers": own})
    await send({"type": "http.response.body", "body": body})


def _head(length: int, headers: Headers, media_type: bytes) -> bytes:
    """The lines of an answer's headers."""
    lines = [_LINES.get(media_type) or _lines(((b"content-type", media_type), *SECURITY)), b"content-length: %d\r\n" % length]
    return b"".join([*lines, _lines(headers)])


def _lines(headers: Headers) -> bytes:
    # A line end inside a value would begin another header; the server refuses the other control characters in messages, too.
    if _CONTROL.search(b"".join([value for _, value in headers])):
        raise ValueError("a header holds a line end or another control character")
    return b"".join([b"%b: %b\r\n" % header for header in headers])


#: The lines that hardly an answer lacks.
_LINES = {media_type: _lines(((b"content-type", media_type), *SECURITY)) for media_type in (JSON, MEDIA_TYPE)}


async def respond_json(send: Send, value: Any, headers: Headers = ()) -> None:
    """Send a message, or JSON values."""
    await respond(send, 200, orjson.dumps(value), headers)


def is_open_inference(scope: Scope) -> bool:
    """Whether an address belongs to the Open Inference Protocol, whose errors have another shape."""
    path: str = scope["path"].removeprefix(scope.get("root_path", ""))
    return path == "/v2" or path.startswith("/v2/")


async def respond_problem(send: Send, problem: Problem, scope: Scope) -> None:
    """Send a problem document, or what the protocol of the address has in its place."""
    if is_open_inference(scope):
        await respond(send, problem.status, problem.to_open_inference(), problem.headers)
        return
    await respond(send, problem.status, problem.to_bytes(), problem.headers, MEDIA_TYPE)

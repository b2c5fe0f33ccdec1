"""Entity tags (RFC 9110, section 8.8.3): what a client has already is not sent again."""

import hashlib
from typing import Any

from sporeprint.model_serving.http.requests import Headers, Send


def tag_of(body: bytes) -> bytes:
    """The weak tag of a body: two bodies with the same tag say the same."""
    return b'W/"%s"' % hashlib.sha256(body).hexdigest()[:20].encode()


def has(headers: Headers, tag: bytes) -> bool:
    """Whether a request says that its sender has the body of a tag."""
    tags = [each.strip().removeprefix(b"W/") for name, value in headers if name == b"if-none-match" for each in value.split(b",")]
    return tag.removeprefix(b"W/") in tags or b"*" in tags


def tagged(headers: Headers, send: Send) -> Send:
    """A `send` that gives a whole JSON body its tag, and says no more than that where the client has it.

    Args:
        headers: of the request.
        send: of the application server.
    """
    start: dict[str, Any] | None = None

    async def send_tagged(message: dict[str, Any]) -> None:
        nonlocal start
        if message["type"] == "http.response.start" and message["status"] == 200 and _is_json(message["headers"]):
            start = message
            return
        if start is not None:
            first, start = start, None
            if not message.get("more_body"):
                tag = tag_of(message.get("body", b""))
                first["headers"] = [*first["headers"], (b"etag", tag)]
                if has(headers, tag):
                    without_body = [(name, value) for name, value in first["headers"] if not name.startswith(b"content-")]
                    first, message = {**first, "status": 304, "headers": without_body}, {**message, "body": b""}
            await send(first)
        await send(message)

    return send_tagged


def _is_json(headers: Headers) -> bool:
    return any(name == b"content-type" and value.startswith(b"application/json") for name, value in headers)

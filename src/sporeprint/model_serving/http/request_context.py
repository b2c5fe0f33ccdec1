"""One request and its answer, from the outside: by which id they are known, and what is written down of them."""

import itertools
import os
import re
import time
from collections.abc import Iterable
from contextvars import ContextVar
from time import perf_counter_ns
from typing import Any

from sporeprint.common import telemetry
from sporeprint.model_serving.http.requests import Scope, Send

HEADER = b"x-request-id"
#: The extension of ASGI by which the server gives a whole request, and takes a whole answer. See `connections.WholeExchange`.
WHOLE = "sporeprint.whole"
#: The status written down where nobody was there to take an answer. Nobody sees it.
GONE = 499
#: Of the request that this context works on, for the log of the server.
REQUEST: ContextVar[str] = ContextVar("REQUEST", default="")
#: What an id of the client's may be: nothing that a log, a header or a page could misunderstand.
_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")
#: Chance once for each process, then numbers: chance for each request would cost a call of the system.
_PROCESS = os.urandom(8).hex()
_NUMBERS = itertools.count(1)


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that a client gave its request; one of our own where it gave none, or none that is sane."""
    for name, value in headers:
        if name == HEADER:
            return value.decode("ascii") if _SANE.fullmatch(value) else new_request_id()
    return new_request_id()


def new_request_id() -> str:
    """An id that no other request has."""
    return f"{_PROCESS}-{next(_NUMBERS):x}"


class RequestContext:
    """A request and its answer. Made for every request: there is nothing here that takes time.

    Attributes:
        headers: of the request, name -> value; where there are several of one name, the last.
        request_id: by which they are known.
        method: of HTTP.
        began_ns: when, nanoseconds since 1970.
        begin: the same, by a clock that only goes forward.
        endpoint: name of what answered; other: there is no such address, or it does not take the method.
        status: of the answer; 499 where nobody was there to take it.
        size: bytes of the answer's body that were sent.
        model: name and version that answered.
        prediction_id: of the answer, or of the batch.
        key: name of the caller's key.
        span: of OpenTelemetry; None where it is off.
    """

    __slots__ = (
        "_send",
        "_whole",
        "began_ns",
        "begin",
        "endpoint",
        "headers",
        "key",
        "method",
        "model",
        "prediction_id",
        "request_id",
        "size",
        "span",
        "status",
    )

    def __init__(self, scope: Scope, send: Send) -> None:
        self._send, self._whole = send, scope["extensions"].get(WHOLE) if "extensions" in scope else None
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id = request_id_of(scope["headers"]) if HEADER in self.headers else new_request_id()
        self.method: str = scope["method"]
        self.began_ns, self.begin = time.time_ns(), perf_counter_ns()
        self.endpoint, self.status, self.size = "other", GONE, 0
        self.model: tuple[str, int] | None = None
        self.prediction_id: str | None = None
        self.key: str | None = None
        REQUEST.set(self.request_id)
        self.span = telemetry.start_request(scope["headers"], self.method, self.began_ns) if telemetry.is_tracing() else None

    @property
    def trace_id(self) -> str | None:
        """The trace it belongs to; None where OpenTelemetry is off."""
        return None if self.span is None else telemetry.trace_id(self.span)

    def end_span(self, path: str | None) -> None:
        """End its span, if it has one; `path` is the address of its endpoint, with the names of what varies in it."""
        if self.span is None or isinstance(self.span, telemetry.DroppedRequest):
            return

        def attributes() -> dict[str, Any]:
            model = None if self.model is None else f"{self.model[0]}/v{self.model[1]}"
            every = {
                "http.route": path,
                "sporeprint.request_id": self.request_id,
                "sporeprint.endpoint": self.endpoint,
                "sporeprint.model": model,
                "sporeprint.prediction_id": self.prediction_id,
            }
            return {name: value for name, value in every.items() if value is not None}

        telemetry.end_request(self.span, f"{self.method} {path or self.endpoint}", self.status, attributes)

    def take_body(self) -> bytes | None:
        """The body, where it is there in one piece. None: it has to be waited for, by messages."""
        return None if self._whole is None else self._whole.take_body()

    def send_whole(self, status: int, head: bytes, body: bytes) -> bool:
        """Send an answer in one step, and say whether that could be done; see `connections.WholeExchange`."""
        if self._whole is None or not self._whole.respond(status, b"%b%b: %b\r\n" % (head, HEADER, self.request_id.encode()), body):
            return False
        self.status, self.size = status, len(body)
        return True

    async def __call__(self, message: Any) -> None:
        """Pass on what is sent: the id goes into every answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (HEADER, self.request_id.encode())]
        else:
            self.size += len(message.get("body", b""))
        await self._send(message)

    def answered(self, model: str, version: int, prediction_id: str) -> None:
        """Note who answered, and under which id the answer is kept."""
        self.model, self.prediction_id = (model, version), prediction_id

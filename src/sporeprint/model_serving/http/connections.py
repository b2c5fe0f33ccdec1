"""Connections of one worker: a request begins to be worked on when it is whole, so that whoever sends slowly holds nobody up.

A connection without a request at work costs memory and a place, and nothing else. It keeps them for a time that is bounded, and where
places are short the one that has waited longest makes room.

By hand, on top of uvicorn's protocol, because uvicorn bounds neither the time of a request's head nor the connections that wait.
"""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from sporeprint.model_serving.http.background_task import background_task
from sporeprint.model_serving.http.problems import MEDIA_TYPE, Problem, overloaded
from sporeprint.model_serving.http.request_context import HEADER, WHOLE, new_request_id, request_id_of

if TYPE_CHECKING:
    from uvicorn._types import ASGI3Application

#: Most bytes of a request line with its headers, and most headers.
HEAD_BYTES, HEADERS = 32 << 10, 100
#: Bodies up to so many bytes are waited for before the work begins; larger ones are read by the work itself, part by part.
WHOLE_BYTES = 64 << 10
#: Seconds for which a server that ends still answers on connections that were in use.
DRAIN_S = 0.5
CLOSE = (b"connection", b"close")
#: Open files that are kept free for everything else: databases, journals, models, uploads.
OTHER_FILES = 200
#: Seconds between two looks for connections that have waited too long.
REFRESH_S = 1.0

LARGE_HEAD = Problem(431, "head-too-large", "The headers are too large", f"at most {HEADERS} headers in {HEAD_BYTES:,} bytes are read here")
NO_HTTP = Problem(400, "no-http", "This is no HTTP request", "the request is not valid HTTP/1.1")
SLOW = Problem(408, "too-slow", "The request took too long", "the request did not arrive in time")
FULL = overloaded("there are too many connections; try again soon")


def connection_limit(limit: int) -> int:
    """How many connections this process can have: what is wanted, as far as the system lets it open so many files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit if files == resource.RLIM_INFINITY else max(1, min(limit, files - OTHER_FILES))


@dataclass
class IdleConnections:
    """The connections that have no request at work, the longest-waiting first.

    Attributes:
        places: most connections of this worker.
        seconds: longest that a request may take to arrive.
        idle_s: longest that a connection may be idle between requests.
        since: connection -> when it began to wait, by the loop's clock.
        closed: connections that were closed for waiting too long, or to make room.
        refused: connections that found no place.
    """

    places: int
    seconds: float
    idle_s: float
    since: dict["Connection", float] = field(default_factory=dict)
    closed: int = 0
    refused: int = 0

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator["IdleConnections"]:
        """Close those that wait too long, as long as the context lasts."""
        async with background_task(self._watch(), "connections"):
            yield self

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            self.close_late(asyncio.get_running_loop().time())

    def close_late(self, now: float) -> None:
        """Close what has waited too long at a time."""
        late = [each for each, since in self.since.items() if now - since >= (self.idle_s if each.is_idle else self.seconds)]
        for connection in late:
            self.close(connection)

    def make_room(self, connections: int) -> bool:
        """Find a place for one more connection, and say whether there is one."""
        if connections <= self.places:
            return True
        oldest = next(iter(self.since), None)
        if oldest is None:
            self.refused += 1
            return False
        self.close(oldest)
        return True

    def close(self, connection: "Connection") -> None:
        """Close one."""
        self.since.pop(connection, None)
        self.closed += 1
        connection.give_up()


class ResponseWriter:
    """The transport of one answer: its head is sent with the first part of its body, as one packet and one call of the system."""

    __slots__ = ("_head", "_loop", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._head: bytes | None = b""  # None: it is sent
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Send data. The head, which comes first, waits for what is sent in the same turn of the loop."""
        if self._head is None:
            self._transport.write(data)
        elif self._head:
            head, self._head = self._head, None
            self._transport.write(head + data)
        else:
            self._head = data
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send a head that waits."""
        if self._head:
            head, self._head = self._head, None
            self._transport.write(head)

    def close(self) -> None:
        """Send what waits, then close."""
        self.flush()
        self._transport.close()


class WholeExchange:
    """A request that is there in one piece, and its answer: one step for what takes ASGI a message of the body and two of the answer.

    It is an extension of ASGI in the scope (`WHOLE`). Where it cannot be used, messages say the same.
    """

    __slots__ = ("_connection", "_cycle")

    def __init__(self, connection: "Connection", cycle: RequestResponseCycle) -> None:
        self._connection, self._cycle = connection, cycle

    def take_body(self) -> bytes | None:
        """The body; None where it is not there yet, or nobody waits for an answer any more."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()  # what comes next is that the client is gone
        return body

    def respond(self, status: int, head: bytes, body: bytes) -> bool:
        """Send an answer, and say whether it was sent: not where something is to be waited for, or has to be said that `head` lacks.

        Args:
            status: of HTTP.
            head: lines of headers, the length of the body among them, each with its end.
            body: of the answer.
        """
        cycle, connection = self._cycle, self._connection
        defaults = connection.server_state.default_headers
        # With other headers than the server's own, or without keep-alive, the connection is to be closed, and the answer says so.
        if cycle.default_headers is not defaults or not cycle.keep_alive or cycle.access_log or cycle.scope["method"] == "HEAD":
            return False
        if cycle.response_started or cycle.disconnected or connection.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        connection.transport.write(b"".join((STATUS_LINE[status], _lines_of(defaults), head, b"\r\n", body)))
        cycle.message_event.set()
        cycle.on_response()
        return True


class _RenderedHeaders:
    """Lines of the headers that the server sends with everything: they change once a second, and are made as often."""

    def __init__(self) -> None:
        self._of: list[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def __call__(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._of:
            self._of, self._lines = headers, b"".join([b"%b: %b\r\n" % header for header in headers])
        return self._lines


_lines_of = _RenderedHeaders()


class Connection(HttpToolsProtocol):
    """One connection. The application's lifespan state has the `IdleConnections` of all of them under `waiting`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: IdleConnections = self.app_state["waiting"]
        self._held: tuple[RequestResponseCycle, ASGI3Application] | None = None
        self._head: int | None = None  # bytes of a head that is not complete, but for the read in which it began
        self._read = self._first_read = 0  # bytes of the last read, and of that read
        self._refusal = NO_HTTP
        self._ended = False
        self._is_last = False  # the server ends: the next answer is the last one here
        #: Whether it waits for a further request, of which nothing has arrived yet.
        self.is_idle = False

    # --- of the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, if there is one."""
        super().connection_made(transport)
        if self._waiting.make_room(len(self.connections)):
            self._waiting.since[self] = self.loop.time()
        else:
            self._refuse(FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._waiting.since.pop(self, None)
        self._held = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; what is no HTTP, or has too large a head, ends the connection."""
        if self._ended or self.transport.is_closing():
            return
        if self.is_idle:
            self.is_idle = False
            if self._waiting.since.pop(self, None) is not None:
                self._waiting.since[self] = self.loop.time()
        self._read = len(data)
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > HEAD_BYTES:
            self._refuse(LARGE_HEAD)

    def shutdown(self) -> None:
        """End after the request at work, which says so; one that is not whole is not waited for.

        Who has used this connection may send a further request at this moment: for a short time it is answered, and told to close.
        """
        if self._held is not None:
            self.give_up()
        elif self.is_idle:
            self._is_last = True
            self.loop.call_later(DRAIN_S, self._close_if_idle)
        elif self.cycle is None or self.cycle.response_complete:
            super().shutdown()
        else:
            self._tell_to_close()

    def _close_if_idle(self) -> None:
        if self.is_idle:
            self.transport.close()

    def _tell_to_close(self) -> None:
        self.cycle.default_headers = [*self.cycle.default_headers, CLOSE]

    # --- of the parser

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head, self._first_read = 0, self._read
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is complete."""
        # Most heads need no counting: they are smaller than all that was read.
        may_be_large, self._head = self._first_read + (self._head or 0) > HEAD_BYTES, None
        if len(self.headers) > HEADERS or (may_be_large and self._head_size() > HEAD_BYTES):
            self._refusal = LARGE_HEAD
            raise ValueError(LARGE_HEAD.detail)  # the parser ends with it
        super().on_headers_complete()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def on_body(self, body: bytes) -> None:
        """A part of a body is there."""
        super().on_body(body)
        if self._held is not None and len(self.cycle.body) > WHOLE_BYTES:
            self._begin()

    def on_message_complete(self) -> None:
        """A request is whole."""
        super().on_message_complete()
        if self._held is not None:
            self._begin()

    def on_response_complete(self) -> None:
        """A request was answered: the connection waits for the next one.

        As uvicorn's own, but for the timer that it sets and takes back at every request: `IdleConnections` looks at them all.
        """
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        if self._held is None and (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self._waiting.since[self] = self.loop.time()
            self.is_idle = self._head is None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: "ASGI3Application") -> None:
        if not cycle.waiting_for_100_continue:
            cycle.transport = ResponseWriter(cycle.transport, self.loop)  # type: ignore[assignment]  # it is all that an answer needs
            cycle.scope["extensions"] = {WHOLE: WholeExchange(self, cycle)}  # type: ignore[dict-item]  # an extension of our own
        if self._is_last:
            self._tell_to_close()
        if cycle.more_body and not cycle.waiting_for_100_continue and _length(cycle) <= WHOLE_BYTES:
            self._held = cycle, app
            # What is behind another request on this connection begins to wait now.
            self._waiting.since.setdefault(self, self.loop.time())
        else:
            self._waiting.since.pop(self, None)
            super()._start_asgi_task(cycle, app)

    def _begin(self) -> None:
        if self._held is not None:
            (cycle, app), self._held = self._held, None
            self._waiting.since.pop(self, None)
            super()._start_asgi_task(cycle, app)

    # --- its end

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 -- uvicorn's words
        """Say what is wrong with what the parser refused."""
        self._refuse(self._refusal)

    def give_up(self) -> None:
        """Close it for having waited too long: with an answer, if a request has begun to arrive."""
        if self.transport.is_closing():
            return
        if self._held is not None or self._head is not None:
            self._refuse(SLOW)
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        if self._ended:
            return
        self._ended = True
        self._waiting.since.pop(self, None)
        if self._held is None and self.cycle is not None and not self.cycle.response_complete:
            # An earlier request is at work: its answer is the last one here.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        # Of a head that could not be read, no id is believed.
        request_id = new_request_id() if self._held is None else request_id_of(self._held[0].scope["headers"])
        self._held = None
        body = problem.of_request(request_id).to_bytes()
        headers = [
            (b"content-type", MEDIA_TYPE),
            (b"content-length", str(len(body)).encode()),
            CLOSE,
            (HEADER, request_id.encode()),
            *problem.headers,
        ]
        self.transport.write(b"".join([STATUS_LINE[problem.status], *(b"%b: %b\r\n" % header for header in headers), b"\r\n", body]))
        self.transport.close()


def _length(cycle: RequestResponseCycle) -> int:
    """Bytes that a body is said to have; 0 where that is not said, as bodies without a length are counted as they come."""
    for name, value in cycle.scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0

"""Channels for alerts on the loopback interface: an HTTP server that takes, refuses or hangs, and a mail server."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope, Session

from free_ports import free_port
from sporeprint.settings import ChannelSettings


@dataclass
class Hook:
    """A web hook.

    Attributes:
        port: where it listens.
        status: what it answers.
        got: what was sent to it.
    """

    port: int
    status: int = 200
    got: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address, as Apprise has it."""
        return f"json://ada:secret-word@127.0.0.1:{self.port}/hook"

    @property
    def channel(self) -> ChannelSettings:
        """It, as the configuration has it."""
        return ChannelSettings(url=self.url)


@contextlib.contextmanager
def hooked() -> Iterator[Hook]:
    """A web hook that runs as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if hook.status == 200:
                hook.got.append(json.loads(body))
            self.send_response(hook.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Hook(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def hanging() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield int(sock.getsockname()[1])


@dataclass
class Mail:
    """A mail server: where it listens, and what it took."""

    port: int
    got: list[str]


@contextlib.contextmanager
def mailing() -> Iterator[Mail]:
    """A mail server that runs as long as the context lasts."""
    got: list[str] = []

    class Handler:
        async def handle_DATA(self, _server: object, _session: Session, envelope: Envelope) -> str:
            assert isinstance(envelope.content, bytes)
            got.append(envelope.content.decode())
            return "250 OK"

    port = free_port()
    controller = Controller(Handler(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield Mail(port, got)
    finally:
        controller.stop()

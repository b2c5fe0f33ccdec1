"""A TCP proxy that breaks connections, as networks do: after the server has answered, or before anything reaches it."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self


class FlakyProxy:
    """Passes on what it is given to a port of this machine, but for the connections that it breaks.

    Attributes:
        drop: connections that are still to be broken when the server's answer has come; the client gets none of it.
        cut: connections that are still to be broken in the middle of the answer: bytes that are passed on of each.
        refuse: connections that are still to be broken at once.
        connections: all that there were.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.drop, self.refuse, self.connections = 0, 0, 0
        self.cut: list[int] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for sock in self._open:
            self._close(sock)
        for thread in self._threads:
            thread.join(5)

    def _start(self, work: object, *given: object) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            if self.refuse:
                self.refuse -= 1
                self._close(client)
                continue
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open += [client, server]
            self._start(self._pass, client, server)
            self._start(self._answer, server, client)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65_536):
                if self.drop:
                    self.drop -= 1
                    self._close(client)
                    self._close(server)
                    return
                if self.cut:
                    client.sendall(data[: self.cut.pop()])
                    self._close(client)
                    self._close(server)
                    return
                client.sendall(data)
        self._close(client)

    @staticmethod
    def _close(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)  # also for a thread that waits for it: closing alone would not end that
        sock.close()

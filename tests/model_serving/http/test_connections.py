"""Connections that are slow, too many, too large or no HTTP: they are let go, and the others do not notice."""

import asyncio
import json
import resource
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from serving_support import Server, start_server, write_config
from sporeprint.model_serving.http.connections import HEAD_BYTES, HEADERS, OTHER_FILES, WHOLE_BYTES, ResponseWriter, connection_limit
from sporeprint.registry.registry import Registry

Serve = Callable[..., Any]
Connect = Callable[[], socket.socket]
HEAD = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
def row(shared_root: Path) -> dict[str, Any]:
    return dict(Registry(shared_root / "models/registry").load("production").golden.rows[0])


@pytest.fixture(scope="module")
def server(shared_root: Path, _small: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits for a request for a second."""
    config = write_config(_small, tmp_path_factory.mktemp("config") / "config.yaml")
    server = start_server(shared_root, config, "--set", "serving.receive_s=1", "--set", "serving.keep_alive_s=2")
    yield server
    server.end()


@pytest.fixture
def connect(server: Any) -> Iterator[Connect]:
    """A function that makes a connection to it."""
    address = (server.client.base_url.host, server.client.base_url.port)
    with ExitStack() as stack:
        yield lambda: stack.enter_context(socket.create_connection(address, timeout=10))


def request(row: dict[str, Any]) -> bytes:
    body = json.dumps(row).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def end_of(sock: socket.socket) -> bytes:
    """Everything that is said until the connection ends."""
    found = b""
    while True:
        try:
            part = sock.recv(65536)
        except ConnectionResetError:
            return found
        if not part:
            return found
        found += part


def statuses(said: bytes) -> list[int]:
    return [int(part[:3]) for part in said.split(b"HTTP/1.1 ")[1:]]


def answer(sock: socket.socket) -> bytes:
    """One answer of a connection that stays open."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += sock.recv(65536)
    head, _, body = said.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    while len(body) < length:
        body += sock.recv(65536)
    return head + b"\r\n\r\n" + body


def test_an_answer_leaves_as_one_packet(connect: Connect, row: dict[str, Any]) -> None:
    sock = connect()
    sock.sendall(request(row))
    head, _, body = sock.recv(65536).partition(b"\r\n\r\n")  # one read: nothing else is waited for
    assert statuses(head) == [200]
    assert json.loads(body)["prediction_id"]


class Sent:
    """What a writer passes on, in order."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.parts.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.mark.parametrize("end", ["body", "nothing", "close"])
def test_a_head_waits_no_longer_than_its_turn_of_the_loop(end: str) -> None:
    async def send() -> tuple[list[bytes], list[bytes]]:
        sent: Any = Sent()
        writer = ResponseWriter(sent, asyncio.get_running_loop())
        writer.write(b"head")
        if end == "body":
            writer.write(b"body")
            writer.write(b"more")
        elif end == "close":
            writer.close()
        at_once = list(sent.parts)
        await asyncio.sleep(0)
        return at_once, sent.parts

    at_once, later = asyncio.run(send())
    assert at_once == {"body": [b"headbody", b"more"], "nothing": [], "close": [b"head"]}[end]
    assert b"".join(later) == (b"headbodymore" if end == "body" else b"head")


@pytest.mark.parametrize(
    "begin",
    [b"", b"POST /pre", HEAD, HEAD + b"Content-Length: 500\r\n\r\n{", HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"],
    ids=["nothing", "part of a line", "part of a head", "part of a body", "part of chunks"],
)
def test_what_does_not_arrive_in_time_is_let_go(connect: Connect, begin: bytes) -> None:
    sock = connect()
    sock.sendall(begin)
    started = time.monotonic()
    said = end_of(sock)
    assert 0.5 < time.monotonic() - started < 8
    if begin:
        assert statuses(said) == [408]
        assert b"urn:sporeprint:problem:too-slow" in said
    else:
        assert said == b""


def send_until_closed(sock: socket.socket, parts: Iterable[bytes], pause_s: float) -> bool:
    """Send part after part, and say whether the connection was closed before the last one."""
    for part in parts:
        try:
            sock.sendall(part)
        except (ConnectionResetError, BrokenPipeError):
            return True
        time.sleep(pause_s)
    return False


def test_who_sends_a_byte_a_time_is_let_go_too(connect: Connect) -> None:
    head = HEAD + b"X-Long: " + b"a" * 1000
    begin = time.monotonic()
    assert send_until_closed(connect(), (bytes([byte]) for byte in head), 0.05)
    assert time.monotonic() - begin < 8


def test_slow_requests_do_not_use_up_what_may_be_worked_on(served: Serve, row: dict[str, Any]) -> None:
    server = served("--set", "serving.max_in_flight=2", "--set", "serving.receive_s=60")
    address = (server.client.base_url.host, server.client.base_url.port)
    with ExitStack() as stack:
        for _ in range(20):
            slow = stack.enter_context(socket.create_connection(address))
            slow.sendall(HEAD + b"Content-Length: 500\r\n\r\n{")
        assert server.client.post("/predict", json=row).status_code == 200
        assert server.client.get("/health").json()["in_flight"] == 1
        begin = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begin < 10  # nobody waits for what was never asked


def test_ten_thousand_slow_connections_make_room_for_one_that_is_not(served: Serve, row: dict[str, Any]) -> None:
    # The tests' own ends are open files too.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 10_000 if hard == resource.RLIM_INFINITY else min(10_000, hard - 500)
    server = served("--set", "serving.receive_s=60", "--set", "serving.max_connections=2000")
    address = (server.client.base_url.host, server.client.base_url.port)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            slow = []
            for number in range(count):
                slow.append(stack.enter_context(socket.create_connection(address, timeout=30)))
                slow[-1].sendall(HEAD)
                if number % 1000 == 0:
                    assert server.client.post("/predict", json=row).status_code == 200
            assert server.client.post("/predict", json=row).status_code == 200
            assert statuses(end_of(slow[0])) in ([408], [])  # a reset may take the answer with it
            memory = Path(f"/proc/{server.process.pid}/status").read_text()
            assert int(memory.split("VmRSS:")[1].split()[0]) < 400 << 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_where_all_are_at_work_a_further_one_is_told_to_come_again(served: Serve) -> None:
    server = served("--set", "serving.max_connections=1", "--set", "serving.deadline_s=30")
    server.client.close()
    address = (server.client.base_url.host, server.client.base_url.port)

    def began() -> socket.socket:
        sock = socket.create_connection(address, timeout=10)
        # Too large to be waited for before the work begins: it is at work.
        sock.sendall(
            b"POST /predict/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n["
        )
        return sock

    with began():
        time.sleep(0.5)
        with socket.create_connection(address, timeout=10) as second:
            said = end_of(second)
            assert statuses(said) in ([503], [])
            if said:
                assert b"retry-after: 1" in said


def test_a_head_without_an_end(connect: Connect) -> None:
    sock = connect()
    sock.sendall(b"GET / HTTP/1.1\r\nX-A: ")
    assert send_until_closed(sock, [b"a" * 100_000] * 200, 0.002)


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(HEADERS)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: " + b"a" * HEAD_BYTES + b"\r\n\r\n",
        b"GET /" + b"a" * HEAD_BYTES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
    ids=["many headers", "a large one", "a long address"],
)
def test_too_large_a_head_is_refused(connect: Connect, head: bytes) -> None:
    sock = connect()
    sock.sendall(head)
    said = end_of(sock)
    assert statuses(said) == [431]
    assert b"urn:sporeprint:problem:head-too-large" in said


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["tls", "no request", "no version", "negative length", "two lengths", "length and chunks", "no chunk"],
)
def test_what_is_no_http_is_refused(connect: Connect, garbage: bytes) -> None:
    sock = connect()
    sock.sendall(garbage)
    said = end_of(sock)
    assert statuses(said) == [400]
    assert b"urn:sporeprint:problem:no-http" in said


def test_many_requests_on_one_connection_in_whatever_pieces(connect: Connect, row: dict[str, Any]) -> None:
    sock = connect()
    one = request(row)
    for size in (len(one), 1_000, 100):
        for begin in range(0, len(one), size):
            sock.sendall(one[begin : begin + size])
        assert statuses(answer(sock)) == [200]
    # Without waiting for the answers: they come in the order of the requests.
    sock.sendall(one * 3 + b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    said = end_of(sock)
    assert statuses(said) == [200] * 4
    assert said.endswith(b'{"status":"live","reason":null}')


def test_an_answer_at_work_is_given_though_garbage_follows(connect: Connect, row: dict[str, Any]) -> None:
    sock = connect()
    sock.sendall(request(row) + b"garbage\r\n\r\n")
    assert statuses(end_of(sock)) == [200]


def test_a_body_without_an_end(connect: Connect) -> None:
    sock = connect()
    sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    size = 2 * WHOLE_BYTES
    sock.sendall(b"%x\r\n%b\r\n" % (size, b"a" * size))
    assert statuses(answer(sock)) == [413]
    # What is still on its way is read for a while, so that the answer is not lost; then the connection ends.
    assert send_until_closed(sock, [b"1\r\na\r\n"] * 400, 0.02)


def test_a_gigabyte_is_refused_by_its_length(connect: Connect) -> None:
    sock = connect()
    sock.sendall(HEAD + b"Content-Length: 1000000000\r\n\r\n" + b"a" * 1000)
    assert statuses(answer(sock)) == [413]


def test_who_asks_before_sending_is_told_to_go_on(connect: Connect, row: dict[str, Any]) -> None:
    sock = connect()
    body = json.dumps(row).encode()
    sock.sendall(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body))
    assert sock.recv(100).startswith(b"HTTP/1.1 100")
    sock.sendall(body)
    assert statuses(answer(sock)) == [200]


def test_places_are_those_that_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1000, hard))
    try:
        assert connection_limit(5000) == 1000 - OTHER_FILES
        assert connection_limit(10) == 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_connections_are_closed_without_a_word(connect: Connect, row: dict[str, Any]) -> None:
    sock = connect()
    sock.sendall(request(row))
    assert statuses(answer(sock)) == [200]
    begin = time.monotonic()
    assert end_of(sock) == b""
    assert 0.5 < time.monotonic() - begin < 8


def test_an_answer_that_ends_the_connection_says_the_same(connect: Connect, row: dict[str, Any]) -> None:
    """What keeps the connection is sent in one step, what ends it in messages."""
    said = []
    for head in (b"", b"Connection: close\r\n"):
        sock = connect()
        body = json.dumps(row).encode()
        sock.sendall(HEAD + head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        lines, _, answered = answer(sock).partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in lines.split(b"\r\n")[1:])
        assert int(fields.pop(b"content-length")) == len(answered)
        said.append(
            (lines.split(b"\r\n")[0], set(fields), {name: value for name, value in json.loads(answered).items() if name != "prediction_id"})
        )
    kept, ended = said
    assert ended == (kept[0], kept[1] | {b"connection"}, kept[2])


def test_two_requests_in_one_piece_are_answered_in_their_order(connect: Connect, row: dict[str, Any]) -> None:
    sock = connect()
    sock.sendall(request(row) + request({"cap-diameter": "broad"}) + request(row))
    said = b""
    while len(statuses(said)) < 3:
        said += sock.recv(65536)
    assert statuses(said) == [200, 422, 200]

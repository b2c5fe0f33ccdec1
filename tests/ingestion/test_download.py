"""Downloads, against a real server on this machine that answers as it is told."""

import gzip
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pytest

from sporeprint.common.files import atomic_path
from sporeprint.errors import DataError, SourceUnavailableError, StorageError
from sporeprint.ingestion.download import fetch
from sporeprint.settings import DownloadSettings

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    """What the server says to one request."""

    body: bytes = b"class;width\ne;1\n"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    length: int | None = -1


class QuietServer(ThreadingHTTPServer):
    """Clients that hang up are part of the test, and no news."""

    def handle_error(self, request: object, client_address: object) -> None:
        pass


class Server:
    """Answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque([Answer()])
        self.requests: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append((self.path, dict(self.headers)))
                answer = server.answers.popleft() if len(server.answers) > 1 else server.answers[0]
                time.sleep(answer.delay)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.length is not None:
                    self.send_header("Content-Length", str(len(answer.body) if answer.length < 0 else answer.length))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._http = QuietServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/t.csv"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def will_say(self, *answers: Answer) -> None:
        self.answers = deque(answers)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


class Diary:
    """Progress and pauses, written down."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.texts: list[str] = []
        self.done = 0
        self.of: int | None = None

    def total(self, amount: int | None) -> None:
        self.of = amount

    def advance(self, amount: int) -> None:
        self.done += amount

    def text(self, text: str) -> None:
        self.texts.append(text)


def get(url: str, target: Path, *, retries: int = 2, timeout_s: float = 5.0, max_mb: float = 1.0) -> Diary:
    diary = Diary()
    limits = DownloadSettings(url=url, timeout_s=timeout_s, retries=retries, max_mb=max_mb)
    fetch(url, target, limits, progress=diary, now=lambda: NOW, sleep=diary.pauses.append)
    return diary


def test_what_is_there_is_fetched(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(b"x" * 300_000))
    diary = get(server.url + "?v=1", tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == b"x" * 300_000
    assert (diary.of, diary.done, diary.pauses) == (300_000, 300_000, [])
    (path, headers) = server.requests[0]
    assert path == "/t.csv?v=1"
    assert headers["User-Agent"].startswith("sporeprint/")


def test_without_a_length_the_body_ends_with_the_connection(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(length=None))
    assert get(server.url, tmp_path / "t").of is None
    assert (tmp_path / "t").read_bytes() == Answer().body


def test_a_packed_answer_is_unpacked(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(gzip.compress(b"a;b\n"), headers={"Content-Encoding": "gzip"}))
    get(server.url, tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == b"a;b\n"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_failures_are_tried_again_with_growing_pauses(status: int, server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(status=status), Answer(status=status), Answer(b"a;b\n"))
    diary = get(server.url, tmp_path / "t")
    assert diary.pauses == [1.0, 2.0]
    assert diary.texts[0].startswith(f"the server answers {status} ")
    assert diary.texts[0].endswith("; trying again in 1 s")
    assert (tmp_path / "t").read_bytes() == b"a;b\n"


def test_after_the_last_try_the_source_is_unavailable(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(status=500))
    message = rf"{server.url} cannot be reached, after 3 tries: the server answers 500 Internal Server Error$"
    with pytest.raises(SourceUnavailableError, match=message) as caught:
        get(server.url, tmp_path / "t")
    assert caught.value.exit_code == 75
    assert len(server.requests) == 3


@pytest.mark.parametrize(("asked", "pause"), [("7", 7.0), ("Thu, 01 Jan 2026 12:00:20 GMT", 20.0), ("soon", 1.0), ("0", 1.0)])
def test_retry_after_is_honoured(asked: str, pause: float, server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(status=503, headers={"Retry-After": asked}), Answer())
    assert get(server.url, tmp_path / "t").pauses == [pause]


def test_a_server_that_asks_to_wait_for_hours_is_unavailable(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(status=429, headers={"Retry-After": "7200"}))
    with pytest.raises(SourceUnavailableError, match="after 1 try: the server answers 429 Too Many Requests; it asks to wait 7200 s"):
        get(server.url, tmp_path / "t")


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final(status: int, server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(status=status))
    with pytest.raises(DataError, match=rf"the server answers {status} .*; check the address, or download the table by hand"):
        get(server.url, tmp_path / "t")
    assert len(server.requests) == 1


def test_a_server_that_does_not_answer_in_time(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(delay=1.0))
    with pytest.raises(SourceUnavailableError, match=r"after 2 tries: no answer within 0\.2 s"):
        get(server.url, tmp_path / "t", timeout_s=0.2, retries=1)


def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match=r"http://127\.0\.0\.1:1/t\.csv cannot be reached, after 1 try: .*refused"):
        get("http://127.0.0.1:1/t.csv", tmp_path / "t", retries=0)


def test_a_body_shorter_than_its_length_is_tried_again(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(b"cut", length=1000), Answer(b"whole"))
    diary = get(server.url, tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == b"whole"
    assert (diary.pauses, diary.done) == ([1.0], 5)
    server.will_say(Answer(b"cut", length=1000))
    with pytest.raises(SourceUnavailableError, match="after 3 tries: peer closed connection without sending complete message body"):
        get(server.url, tmp_path / "t")


@pytest.mark.parametrize("length", [-1, None])
def test_more_than_allowed_is_refused(length: int | None, server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(b"x" * 2_000_000, length=length))
    with pytest.raises(DataError, match=r"holds more than 1 MB; if that is right, raise source\.download\.max_mb"):
        get(server.url, tmp_path / "t")
    assert (tmp_path / "t").stat().st_size <= 1_000_000


def test_nothing_is_refused(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(b""))
    with pytest.raises(DataError, match=r"t\.csv is empty"):
        get(server.url, tmp_path / "t")


def test_redirects_are_followed_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.will_say(Answer(status=302, headers={"Location": "/there"}), Answer())
    get(server.url, tmp_path / "t")
    assert [path for path, _ in server.requests] == ["/t.csv", "/there"]
    server.will_say(Answer(status=302, headers={"Location": "/there"}))
    with pytest.raises(DataError, match="Exceeded maximum allowed redirects"):
        get(server.url, tmp_path / "t")


def test_a_password_goes_to_the_server_and_nowhere_else(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = server.url.replace("://", "://me:se%2Fcret@")
    with caplog.at_level("INFO"):
        get(url, tmp_path / "t")
    assert "HTTP Request: GET" in caplog.text
    assert "cret" not in caplog.text
    assert server.requests[0][1]["Authorization"] == "Basic bWU6c2UvY3JldA=="
    server.will_say(Answer(status=404))
    with pytest.raises(DataError, match=r"http://me:\*\*\*@127") as caught:
        get(url, tmp_path / "t")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://", "http://host:port/t.csv", "http:///t.csv"])
def test_what_is_no_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected https://host/path"):
        get(url, tmp_path / "t")


def test_a_file_that_cannot_be_written_is_no_reason_to_try_again(server: Server, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write .*t\.csv: Is a directory; nothing was replaced"), atomic_path(tmp_path / "t.csv"):
        get(server.url, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1

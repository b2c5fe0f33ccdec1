"""An answer in one step, and the same answer in messages."""

import asyncio
from typing import Any

import pytest

from sporeprint.model_serving.http.requests import JSON, SECURITY, respond


class Messages:
    """Takes what ASGI says."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.sent.append(message)


class Whole(Messages):
    """Takes an answer in one step, unless it says that it does not."""

    def __init__(self, *, takes: bool) -> None:
        super().__init__()
        self.takes, self.answers = takes, list[tuple[int, bytes, bytes]]()

    def send_whole(self, status: int, head: bytes, body: bytes) -> bool:
        if self.takes:
            self.answers.append((status, head, body))
        return self.takes


EXTRA = ((b"server-timing", b"parse;dur=1"),)


def test_a_whole_answer_has_the_headers_of_its_messages() -> None:
    whole, messages = Whole(takes=True), Messages()
    for send in (whole, messages):
        asyncio.run(respond(send, 201, b"{}", EXTRA))
    ((status, head, body),) = whole.answers
    start, end = messages.sent
    assert (status, body) == (start["status"], end["body"]) == (201, b"{}")
    lines = head.removesuffix(b"\r\n").split(b"\r\n")
    assert sorted(lines) == sorted(b"%b: %b" % header for header in start["headers"])
    assert {name for name, _ in SECURITY} < {name for name, _ in start["headers"]}
    assert not whole.sent


def test_who_does_not_take_it_whole_gets_messages() -> None:
    whole = Whole(takes=False)
    asyncio.run(respond(whole, 200, b"{}"))
    assert [message["type"] for message in whole.sent] == ["http.response.start", "http.response.body"]


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b", b"a\x7f"])
def test_a_value_cannot_begin_another_header(value: bytes) -> None:
    with pytest.raises(ValueError, match="line end"):
        asyncio.run(respond(Whole(takes=True), 200, b"", [(b"location", value)], JSON))

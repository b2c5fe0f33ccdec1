"""Which names of a request are this machine's own."""

import pytest

from sporeprint.model_serving.http.host import is_loopback


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:8000", b"127.0.0.1:80", b"[::1]", b"[::1]:8000"])
def test_this_machine(host: bytes) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", [b"", b"example.org", b"localhost.example.org", b"localhost:80:80", b"localhost@example.org", b"[::1", b"::1:80:x", b"\xff"]
)
def test_others(host: bytes) -> None:
    assert not is_loopback(host)

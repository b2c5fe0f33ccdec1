"""Ids of requests: those of clients where they are sane, else our own."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.model_serving.http.request_context import new_request_id, request_id_of


@pytest.mark.parametrize("given_id", [b"a", b"0123-abc", b"A.b_c:d/e+f=g@h", b"x" * 128])
def test_a_sane_id_is_kept(given_id: bytes) -> None:
    assert request_id_of([(b"host", b"x"), (b"x-request-id", given_id)]) == given_id.decode()


@pytest.mark.parametrize("given_id", [b"", b"x" * 129, b"a b", b"a\nb", b'a"b', b"a<b", b"\xff", b"a\x00", b"a\n"])
def test_any_other_is_replaced(given_id: bytes) -> None:
    found = request_id_of([(b"x-request-id", given_id)])
    assert re.fullmatch("[0-9a-f]{16}-[0-9a-f]+", found)


def test_none_is_like_another() -> None:
    assert len({new_request_id() for _ in range(1000)} | {request_id_of([]) for _ in range(1000)}) == 2000


@given(st.binary(max_size=200))
def test_nothing_gets_through_that_a_log_could_misunderstand(given_id: bytes) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._:/+=@-]{1,128}", request_id_of([(b"x-request-id", given_id)]))

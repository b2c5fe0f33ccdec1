"""Tests of sporeprint.common.timestamps."""

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sporeprint.common.timestamps import DAY_US, HOUR_US, iso_utc, now_us


@given(st.integers(0, 253_402_300_799))
def test_text_of_a_time_reads_back_as_the_same_time(seconds: int) -> None:
    text = iso_utc(seconds * 1_000_000)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text).timestamp() == seconds


@pytest.mark.parametrize(("timespec", "text"), [("seconds", "1970-01-02T01:00:00Z"), ("milliseconds", "1970-01-02T01:00:00.000Z")])
def test_precision_is_as_asked(timespec: str, text: str) -> None:
    assert iso_utc(DAY_US + HOUR_US, timespec) == text


def test_now_is_the_systems_time() -> None:
    assert abs(now_us() / 1e6 - datetime.now(UTC).timestamp()) < 60
    assert now_us() <= time.time_ns() // 1000

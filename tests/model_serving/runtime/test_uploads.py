"""Tests of sporeprint.model_serving.runtime.uploads: what the headers say, and bodies on their way to the disk."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest

from sporeprint.errors import JournalError
from sporeprint.model_serving.http.problems import HttpProblemError
from sporeprint.model_serving.http.requests import ClientGoneError, Pace
from sporeprint.model_serving.runtime.uploads import RowFormat, read_upload_head, spool

LIMITS = {RowFormat.JSON: 10, RowFormat.CSV: 100, RowFormat.PARQUET: 100}


def scope(**headers: str) -> dict[str, Any]:
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}


@pytest.mark.parametrize(
    ("content_type", "hint", "given"),
    [
        ("application/json; charset=utf-8", None, RowFormat.JSON),
        ("TEXT/CSV", None, RowFormat.CSV),
        ("application/x-parquet", None, RowFormat.PARQUET),
        ("application/octet-stream", RowFormat.CSV, RowFormat.CSV),
    ],
)
def test_what_is_given(content_type: str, hint: RowFormat | None, given: RowFormat) -> None:
    assert read_upload_head(scope(content_type=content_type), LIMITS, hint).form == given


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", RowFormat.CSV),
        ("*/*", RowFormat.CSV),
        ("text/*", RowFormat.CSV),
        ("image/png, application/json", RowFormat.JSON),
        ("application/json;q=0.5, application/vnd.apache.parquet;q=0.9", RowFormat.PARQUET),
        ("application/json;q=0, */*;q=0.1", RowFormat.CSV),
        ("application/json;q=x, text/csv", RowFormat.CSV),
    ],
)
def test_what_is_wanted(accept: str, wanted: RowFormat) -> None:
    assert read_upload_head(scope(content_type="text/csv", accept=accept), LIMITS).response_form == wanted


@pytest.mark.parametrize(
    ("headers", "hint", "status"),
    [
        ({}, None, 415),
        ({"content_type": "application/octet-stream"}, None, 415),
        ({"content_type": "text/csv", "content_encoding": "br"}, None, 415),
        ({"content_type": "text/csv", "content_length": "101"}, None, 413),
        ({"content_type": "application/json", "content_length": "11"}, None, 413),
        ({"content_type": "text/csv", "content_length": "-1"}, None, 413),
        ({"content_type": "text/csv", "accept": "image/png"}, None, 406),
        ({"content_type": "text/csv", "idempotency_key": "a b"}, None, 400),
    ],
)
def test_what_is_refused(headers: dict[str, str], hint: RowFormat | None, status: int) -> None:
    with pytest.raises(HttpProblemError) as error:
        read_upload_head(scope(**headers), LIMITS, hint)
    assert error.value.problem.status == status


def spooled(path: Path, messages: list[dict[str, Any]], *, limit: int = 10_000_000, idle_s: float = 5) -> str:
    async def receive() -> Any:
        if not messages:
            await asyncio.sleep(60)
        return messages.pop(0)

    return asyncio.run(spool(receive, path, limit, Pace(idle_s, 0)))


def body(data: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": data, "more_body": more}


def test_a_body_in_parts_is_written_whole(tmp_path: Path) -> None:
    parts = [bytes([number]) * 300_000 for number in range(10)]
    messages = [*(body(part, more=True) for part in parts), body(b"end", more=False)]
    digest = spooled(tmp_path / "x", messages)
    assert (tmp_path / "x").read_bytes() == b"".join(parts) + b"end"
    assert digest == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()


def test_a_body_that_is_too_large_ends_early(tmp_path: Path) -> None:
    messages = [body(b"x" * 60, more=True) for _ in range(50)]
    with pytest.raises(HttpProblemError, match="100 bytes"):
        spooled(tmp_path / "x", messages, limit=100)
    assert len(messages) == 48


def test_who_goes_and_who_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClientGoneError):
        spooled(tmp_path / "x", [body(b"x", more=True), {"type": "http.disconnect"}])
    with pytest.raises(HttpProblemError) as error:
        spooled(tmp_path / "x", [body(b"x", more=True)], idle_s=0.05)
    assert error.value.problem.status == 408


def test_a_full_disk_is_said() -> None:
    with pytest.raises(JournalError, match="No space left"):
        spooled(Path("/dev/full"), [body(b"x", more=False)])

"""A batch as it is sent: from the disk, part by part, in the form of the request."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from fastapi import Response

from sporeprint.messages.predictions import BatchHead, RowPrediction
from sporeprint.messages.problem import RowProblem
from sporeprint.model_serving.http.requests import ClientGoneError, Headers, Receive, Send
from sporeprint.model_serving.runtime.service import Service
from sporeprint.model_serving.runtime.uploads import RowFormat
from sporeprint.schema import ANSWERS, ID, PROBLEM
from sporeprint.storage.oltp.batch_file import BatchInfo, frames
from sporeprint.storage.oltp.batch_index import names

#: Rows that are written at a time, and bytes of a file.
GIVEN_ROWS, PIECE = 4_096, 1 << 20
#: Answers that are lists of columns, and texts where they are columns of a file.
_NAMES = ("unseen", "outside", "look_at")


class StoredBatchResponse(Response):
    """A batch, sent from the disk part by part: the next one is made when the client has taken the last."""

    def __init__(self, service: Service, about: BatchInfo, form: RowFormat, headers: Headers) -> None:
        super().__init__()
        self._path = service.database.store.path(about.batch_id)
        self._about, self._wanted, self._deadline_s = about, form, service.limits.deadline_s
        self.raw_headers = [
            (b"content-type", form.media_type),
            (b"x-batch-id", about.batch_id.encode()),
            (b"x-model", f"{about.model}/v{about.version}".encode()),
            *headers,
        ]

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- of ASGI
        """Send it."""
        if self._wanted is RowFormat.PARQUET:
            self.raw_headers.append((b"content-length", str(self._path.stat().st_size).encode()))
        parts = await asyncio.to_thread(_opened, self._path, self._about, self._wanted)
        first = await asyncio.to_thread(next, parts, b"")
        gone = asyncio.ensure_future(receive())  # the body was read: what comes now is that the client hangs up
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            part: bytes | None = first
            while part is not None:
                if gone.done():
                    raise ClientGoneError
                try:
                    async with asyncio.timeout(self._deadline_s):
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                except TimeoutError:  # it has begun: all that can be said is nothing
                    raise ClientGoneError from None
                part = await asyncio.to_thread(next, parts, None)
            await send({"type": "http.response.body", "body": b""})
        finally:
            gone.cancel()


def _opened(path: Path, about: BatchInfo, form: RowFormat) -> Iterator[bytes]:
    match form:
        case RowFormat.PARQUET:
            return _as_file(path)
        case RowFormat.CSV:
            return _as_csv(path)
        case _:
            return _as_json(path, about)


def _as_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while part := file.read(PIECE):
            yield part


def _as_csv(path: Path) -> Iterator[bytes]:
    header = True
    for frame in frames(path):
        for part in frame.drop(PROBLEM, strict=False).iter_slices(GIVEN_ROWS):
            yield part.write_csv(include_header=header).encode()
            header = False


def _as_json(path: Path, about: BatchInfo) -> Iterator[bytes]:
    head = BatchHead(
        batch_id=about.batch_id,
        model=about.model,
        version=about.version,
        threshold=about.threshold,
        rows=about.rows,
        problems=about.problems,
        simulated=about.simulated,
    )
    yield orjson.dumps(head)[:-1] + b',"predictions":['
    row = 0
    for frame in frames(path, None if about.given == RowFormat.JSON else [ID, *ANSWERS]):
        for part in frame.select(ID, *ANSWERS, *(name for name in (PROBLEM,) if name in frame.columns)).iter_slices(GIVEN_ROWS):
            rows = orjson.dumps([_row(row + number, values) for number, values in enumerate(part.iter_rows(named=True))])
            yield (b"," if row and len(rows) > 2 else b"") + rows[1:-1]
            row += part.height
    yield b"]}"


def _row(row: int, values: dict[str, Any]) -> RowPrediction:
    if (problem := values.pop(PROBLEM, None)) is not None:
        return RowPrediction(row=row, problem=RowProblem(**orjson.loads(problem)))
    return RowPrediction(row=row, **{**values, **{name: tuple(names(values[name])) for name in _NAMES}})

"""The service from Python: `Client` waits for its answers, `AsyncClient` awaits them.

    from sporeprint.client import Client

    with Client("http://localhost:8000") as client:
        answer = client.predict({"cap-shape": "convex"})
        print(answer.verdict, answer.prediction_id)

Whatever is sent may be sent again: every write has a key by which the service knows it, so that trying again after a broken connection
gives the answer that was lost, and makes no second one.
"""

import asyncio
import contextlib
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypedDict, TypeVar, Unpack, overload

import httpx

from sporeprint import __version__
from sporeprint.client import protocol
from sporeprint.client.errors import (
    AnswerError,
    AuthenticationError,
    ClientError,
    ConflictError,
    InvalidError,
    NotAllowedError,
    NotFoundError,
    ProblemError,
    UnavailableError,
    UnreachableError,
)
from sporeprint.client.protocol import Backoff, Call, ConnectionLost, Request, Response, Retries
from sporeprint.client.results import BatchFile, BatchResult, OutcomesResult, PredictResult
from sporeprint.errors import StorageError, UsageError
from sporeprint.messages.identification import IdentifyResponse
from sporeprint.messages.models import ModelList, ModelVersions, PromotionResponse, RollbackResponse
from sporeprint.messages.outcomes import OutcomeResponse, OutcomeRevision, RowOutcome
from sporeprint.messages.predictions import FeatureEffect, PredictionExplanation, RowPrediction, StoredPrediction
from sporeprint.messages.problem import RowProblem
from sporeprint.messages.service import HealthResponse

__all__ = [
    "AnswerError",
    "AsyncClient",
    "AuthenticationError",
    "BatchFile",
    "BatchResult",
    "Client",
    "ClientError",
    "ConflictError",
    "FeatureEffect",
    "HealthResponse",
    "IdentifyResponse",
    "InvalidError",
    "ModelList",
    "ModelVersions",
    "NotAllowedError",
    "NotFoundError",
    "OutcomeResponse",
    "OutcomeRevision",
    "OutcomesResult",
    "PredictResult",
    "PredictionExplanation",
    "ProblemError",
    "PromotionResponse",
    "Retries",
    "RollbackResponse",
    "RowOutcome",
    "RowPrediction",
    "RowProblem",
    "StoredPrediction",
    "UnavailableError",
    "UnreachableError",
]

ADDRESS = "http://localhost:8000"
KEY_VARIABLE = "SPOREPRINT_API_KEY"
#: Bytes of a file that are sent at a time.
PIECE = 1 << 18


class Options(TypedDict, total=False):
    """What both clients are made with, beside the address.

    Attributes:
        api_key: left out: what the environment has as SPOREPRINT_API_KEY; the service may need none.
        timeout_s: longest without a byte of an answer; more than the service's own deadline, so that it can say what is wrong.
        batch_timeout_s: the same for batches, whose answer begins when the last row is scored.
        retries: when to try again.
    """

    api_key: str | None
    timeout_s: float
    batch_timeout_s: float
    retries: Retries


Result = TypeVar("Result")
Rows = Iterable[Mapping[str, Any]]
File = str | Path


class _Shared:
    """What both clients are made of."""

    def __init__(
        self,
        address: str = ADDRESS,
        *,
        api_key: str | None = None,
        timeout_s: float = 35.0,
        batch_timeout_s: float = 660.0,
        retries: Retries | None = None,
    ) -> None:
        """Know where the service is; nothing is sent yet. See `Options`.

        Raises:
            UsageError: if address or key cannot be one.
        """
        self._retries = retries or Retries()
        key = api_key if api_key is not None else os.environ.get(KEY_VARIABLE)
        if key is not None and not re.fullmatch(r"[\x21-\x7e]+", key):
            raise UsageError(f"the API key (api_key, or {KEY_VARIABLE}): expected visible ASCII characters, without spaces or line ends")
        if not re.match("https?://", address):
            raise UsageError(f"address {address!r}: expected one that begins with http:// or https://, as in {ADDRESS}")
        self._timeout, self._batch_timeout = httpx.Timeout(timeout_s), httpx.Timeout(timeout_s, read=batch_timeout_s)
        headers = {"User-Agent": f"sporeprint-client/{__version__}", "Accept-Encoding": "identity"}
        self._given: dict[str, Any] = {
            "base_url": address.rstrip("/"),
            "headers": headers | ({"Authorization": f"Bearer {key}"} if key else {}),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._given['base_url']!r})"

    def _request(self, request: Request, content: Any) -> dict[str, Any]:
        """What httpx is given."""
        return {
            "method": request.method,
            "url": request.path,
            "params": dict(request.params),
            "headers": dict(request.headers),
            "content": content,
            "timeout": self._batch_timeout if request.slow else self._timeout,
        }


class Client(_Shared):
    """The service, for programs that wait. Threads may share one.

    >>> from sporeprint import Client
    >>> with Client("http://localhost:8000") as client:
    ...     predict = client.predict  # predict({"cap-shape": "convex"}) asks the server
    """

    def __init__(self, address: str = ADDRESS, **options: Unpack[Options]) -> None:
        super().__init__(address, **options)
        self._http = httpx.Client(**self._given)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(
        self,
        row: Mapping[str, Any],
        *,
        explain: bool = False,
        model: str | None = None,
        ab_test: str | None = None,
        unit: str | None = None,
        idempotency_key: str | None = None,
    ) -> PredictResult:
        """Request for one answer.

        Args:
            row: features by name, as code or word: a mapping or a pandas Series. What is left out was not observed; None, NaN or NA is
                an empty cell.
            explain: whether reasons are wanted.
            model: which one answers: production, a model's name, or one version as name/v2. Left out: the one that serves.
            ab_test: name of the A/B test it takes part in.
            unit: what keeps its arm there.
            idempotency_key: the same key gives the same answer. Left out: a new one, for the tries of this call alone.

        Raises:
            ProblemError: if the service says that it does not do it; one type for each kind of reason.
            UnreachableError: if it does not answer.
        """
        given = {"explain": explain, "model": model, "ab_test": ab_test, "unit": unit, "key": idempotency_key}
        return self._do(protocol.predict(self._retries, row, **given))  # type: ignore[arg-type]

    def identify(self, row: Mapping[str, Any], *, model: str | None = None) -> IdentifyResponse:
        """Ask where the identification of one thing stands: the verdict, the known groups that fit, what to look at next.

        Nothing is stored. To go on, add what was observed to the row, and ask again until `is_final`.

        Args:
            row: what was observed, by name, as code or word; None, NaN or NA is an empty cell, "not observed" cannot be told.
            model: as for `predict`.

        Raises:
            ProblemError: if the service says that it does not do it.
            UnreachableError: if it does not answer.
        """
        return self._do(protocol.identify(self._retries, row, model=model))

    @overload
    def predict_batch(self, rows: Rows, *, model: str | None = None, idempotency_key: str | None = None) -> BatchResult: ...
    @overload
    def predict_batch(self, rows: File, *, to: File, model: str | None = None, idempotency_key: str | None = None) -> BatchFile: ...
    def predict_batch(
        self, rows: Rows | File, *, to: File | None = None, model: str | None = None, idempotency_key: str | None = None
    ) -> BatchResult | BatchFile:
        """Request for many answers: to rows, or to a CSV or Parquet file, whatever its size.

        Args:
            rows: rows, a data frame of pandas or Polars, an Arrow table, or the path of a file.
            to: of a file: where the answers go, as CSV or Parquet by its name; it is there as a whole or not at all.
            model: as for `predict`.
            idempotency_key: as for `predict`.

        Raises:
            ProblemError: if the service says that it does not do it. A row that is not understood is no error: see its `problem`.
            UnreachableError: if it does not answer.
            UsageError: if a file cannot be read, or is of another kind.
        """
        if isinstance(rows, str | Path):
            return self._do(protocol.predict_file(self._retries, Path(rows), _target(to), model=model, key=idempotency_key))
        return self._do(protocol.predict_rows(self._retries, rows, model=model, key=idempotency_key))

    def outcome(
        self,
        prediction_id: str,
        outcome: str,
        *,
        source: str | None = None,
        observed: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> OutcomeResponse:
        """Say what turned out to be true. Said again it changes nothing; said differently it is a correction.

        Args:
            prediction_id: of which answer.
            outcome: the class, by code or word.
            source: who says so.
            observed: when it was seen, with its zone; left out: now.
            idempotency_key: as for `predict`.
        """
        given = {"source": source, "observed": observed, "key": idempotency_key}
        return self._do(protocol.outcome(self._retries, prediction_id, outcome, **given))  # type: ignore[arg-type]

    def outcomes(self, outcomes: Rows | File) -> OutcomesResult:
        """Say what turned out to be true of many.

        Args:
            outcomes: objects with prediction_id, outcome and, if known, source and observed; or the path of a CSV or Parquet file with
                these columns.
        """
        if isinstance(outcomes, str | Path):
            return self._do(protocol.outcomes_file(self._retries, Path(outcomes)))
        return self._do(protocol.outcomes(self._retries, outcomes))

    def prediction(self, prediction_id: str) -> StoredPrediction:
        """Look at an answer that was given, and its outcome where one is known."""
        return self._do(protocol.prediction(self._retries, prediction_id))

    def models(self) -> ModelList:
        """Look at the registered models."""
        return self._do(protocol.models(self._retries))

    def promote(self, model: str, version: int, *, production: bool = False, reason: str | None = None) -> PromotionResponse:
        """Make a version its model's champion, if it passes the gate.

        Args:
            model: its name.
            version: its number.
            production: whether it is served, too.
            reason: why, for the history.

        Raises:
            ConflictError: if the gate refuses it.
        """
        return self._do(protocol.promote(self._retries, model, version, production=production, reason=reason))

    def rollback(self, model: str, version: int, *, production: bool = False, reason: str | None = None) -> RollbackResponse:
        """Take back that a version became its model's champion: the one before it is, again.

        Args:
            model: its name.
            version: the number of the version that is taken back; said again it changes nothing.
            production: whether what is served goes back, and not the champion.
            reason: why, for the history.

        Raises:
            ConflictError: if it is not that version's turn any more, or there was none before.
        """
        return self._do(protocol.rollback(self._retries, model, version, production=production, reason=reason))

    def health(self) -> HealthResponse:
        """Look at how the service is: also one that fails says so, which is no error."""
        return self._do(protocol.health(self._retries))

    def _do(self, call: Call[Result]) -> Result:
        given: Response | ConnectionLost | None = None
        request_id = secrets.token_hex(8)
        while True:
            try:
                step = call.send(given)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Backoff):
                time.sleep(step.seconds)
                given = None
            else:
                given = self._send(step, request_id)

    def _send(self, request: Request, request_id: str) -> Response | ConnectionLost:
        content = request.content if request.upload is None else _pieces(request.upload)
        arguments = self._request(request, content)
        arguments["headers"]["X-Request-Id"] = request_id
        try:
            with self._http.stream(**arguments) as response:
                if request.save is None or not response.is_success:
                    return _response(response, response.read())
                with _saving(request.save) as file:
                    for piece in response.iter_bytes():
                        file.write(piece)
                return _response(response, b"")
        except httpx.TransportError as error:
            return _connection_lost(error)


class AsyncClient(_Shared):
    """The service, for programs with an event loop. See `Client` for what its methods take and raise.

    >>> from sporeprint import AsyncClient
    >>> client = AsyncClient("http://localhost:8000")  # then: await client.predict({"cap-shape": "convex"})
    """

    def __init__(self, address: str = ADDRESS, **options: Unpack[Options]) -> None:
        super().__init__(address, **options)
        self._http = httpx.AsyncClient(**self._given)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def predict(
        self,
        row: Mapping[str, Any],
        *,
        explain: bool = False,
        model: str | None = None,
        ab_test: str | None = None,
        unit: str | None = None,
        idempotency_key: str | None = None,
    ) -> PredictResult:
        """Request for one answer."""
        given = {"explain": explain, "model": model, "ab_test": ab_test, "unit": unit, "key": idempotency_key}
        return await self._do(protocol.predict(self._retries, row, **given))  # type: ignore[arg-type]

    async def identify(self, row: Mapping[str, Any], *, model: str | None = None) -> IdentifyResponse:
        """Ask where the identification of one thing stands: the verdict, the known groups that fit, what to look at next."""
        return await self._do(protocol.identify(self._retries, row, model=model))

    @overload
    async def predict_batch(self, rows: Rows, *, model: str | None = None, idempotency_key: str | None = None) -> BatchResult: ...
    @overload
    async def predict_batch(self, rows: File, *, to: File, model: str | None = None, idempotency_key: str | None = None) -> BatchFile: ...
    async def predict_batch(
        self, rows: Rows | File, *, to: File | None = None, model: str | None = None, idempotency_key: str | None = None
    ) -> BatchResult | BatchFile:
        """Request for many answers: to rows, or to a CSV or Parquet file, whatever its size."""
        if isinstance(rows, str | Path):
            return await self._do(protocol.predict_file(self._retries, Path(rows), _target(to), model=model, key=idempotency_key))
        return await self._do(protocol.predict_rows(self._retries, rows, model=model, key=idempotency_key))

    async def outcome(
        self,
        prediction_id: str,
        outcome: str,
        *,
        source: str | None = None,
        observed: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> OutcomeResponse:
        """Say what turned out to be true. Said again it changes nothing; said differently it is a correction."""
        given = {"source": source, "observed": observed, "key": idempotency_key}
        return await self._do(protocol.outcome(self._retries, prediction_id, outcome, **given))  # type: ignore[arg-type]

    async def outcomes(self, outcomes: Rows | File) -> OutcomesResult:
        """Say what turned out to be true of many."""
        if isinstance(outcomes, str | Path):
            return await self._do(protocol.outcomes_file(self._retries, Path(outcomes)))
        return await self._do(protocol.outcomes(self._retries, outcomes))

    async def prediction(self, prediction_id: str) -> StoredPrediction:
        """Look at an answer that was given, and its outcome where one is known."""
        return await self._do(protocol.prediction(self._retries, prediction_id))

    async def models(self) -> ModelList:
        """Look at the registered models."""
        return await self._do(protocol.models(self._retries))

    async def promote(self, model: str, version: int, *, production: bool = False, reason: str | None = None) -> PromotionResponse:
        """Make a version its model's champion, if it passes the gate."""
        return await self._do(protocol.promote(self._retries, model, version, production=production, reason=reason))

    async def rollback(self, model: str, version: int, *, production: bool = False, reason: str | None = None) -> RollbackResponse:
        """Take back that a version became its model's champion: the one before it is, again."""
        return await self._do(protocol.rollback(self._retries, model, version, production=production, reason=reason))

    async def health(self) -> HealthResponse:
        """Look at how the service is: also one that fails says so, which is no error."""
        return await self._do(protocol.health(self._retries))

    async def _do(self, call: Call[Result]) -> Result:
        given: Response | ConnectionLost | None = None
        request_id = secrets.token_hex(8)
        while True:
            try:
                step = call.send(given)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Backoff):
                await asyncio.sleep(step.seconds)
                given = None
            else:
                given = await self._send(step, request_id)

    async def _send(self, request: Request, request_id: str) -> Response | ConnectionLost:
        content = request.content if request.upload is None else _read_aside(request.upload)
        arguments = self._request(request, content)
        arguments["headers"]["X-Request-Id"] = request_id
        try:
            async with self._http.stream(**arguments) as response:
                if request.save is None or not response.is_success:
                    return _response(response, await response.aread())
                with _saving(request.save) as file:
                    async for piece in response.aiter_bytes():
                        await asyncio.to_thread(file.write, piece)
                return _response(response, b"")
        except httpx.TransportError as error:
            return _connection_lost(error)


def _target(to: File | None) -> Path:
    if to is None:
        raise UsageError("predict_batch of a file: say where the answers go, as in to='answers.parquet'")
    return Path(to)


def _response(response: httpx.Response, body: bytes) -> Response:
    return Response(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def _connection_lost(error: httpx.TransportError) -> ConnectionLost:
    return ConnectionLost(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


async def _read_aside(path: Path) -> AsyncIterator[bytes]:
    """The same, read in threads: a disk that is slow must not hold up the event loop."""
    pieces = _pieces(path)
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece


@contextlib.contextmanager
def _saving(path: Path) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is complete."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)

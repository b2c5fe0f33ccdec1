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
import functools
import inspect
import os
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ParamSpec, Protocol, Self, TypedDict, TypeVar, Unpack, cast, get_args, overload

import httpx

from sporeprint import __version__
from sporeprint.client import ab_tests, administration, protocol, stored
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
from sporeprint.client.protocol import Backoff, Call, ConnectionLost, Exchange, Request, Response, Retries, exchange
from sporeprint.client.results import BatchFile, BatchResult, OutcomesResult, PredictResult
from sporeprint.errors import StorageError, UsageError
from sporeprint.messages.ab_labels import LabelResponse, LeaseResponse
from sporeprint.messages.ab_plans import AbPlanResponse
from sporeprint.messages.ab_tests import AbTestResponse
from sporeprint.messages.identification import IdentifyResponse
from sporeprint.messages.model_versions import ComparisonResponse, VersionResponse
from sporeprint.messages.models import ModelList, ModelVersions, PromotionResponse, RollbackResponse
from sporeprint.messages.outcomes import OutcomeResponse, OutcomeRevision, RowOutcome
from sporeprint.messages.prediction_search import BatchDetails, BatchList, PredictionList
from sporeprint.messages.predictions import FeatureEffect, PredictionExplanation, RowPrediction, StoredPrediction
from sporeprint.messages.problem import RowProblem
from sporeprint.messages.service import HealthResponse

__all__ = [
    "AbPlanResponse",
    "AbTestResponse",
    "AnswerError",
    "AsyncClient",
    "AuthenticationError",
    "BatchDetails",
    "BatchFile",
    "BatchList",
    "BatchResult",
    "Client",
    "ClientError",
    "ComparisonResponse",
    "ConflictError",
    "FeatureEffect",
    "HealthResponse",
    "IdentifyResponse",
    "InvalidError",
    "LabelResponse",
    "LeaseResponse",
    "ModelList",
    "ModelVersions",
    "NotAllowedError",
    "NotFoundError",
    "OutcomeResponse",
    "OutcomeRevision",
    "OutcomesResult",
    "PredictResult",
    "PredictionExplanation",
    "PredictionList",
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
    "VersionResponse",
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
Result_co = TypeVar("Result_co", covariant=True)
Arguments = ParamSpec("Arguments")


class _Method(Protocol[Arguments, Result_co]):
    """A call as a method, as type checkers see it: with one client it returns its result, with the other it is awaited."""

    @overload
    def __get__(self, client: None, kind: type) -> Self: ...
    @overload
    def __get__(self, client: "Client", kind: type) -> Callable[Arguments, Result_co]: ...
    @overload
    def __get__(self, client: "AsyncClient", kind: type) -> Callable[Arguments, Coroutine[Any, Any, Result_co]]: ...


def _method(call: Callable[Arguments, Call[Result]]) -> _Method[Arguments, Result]:
    """The method of both clients that makes a call, with its docstring and its arguments."""

    @functools.wraps(call)
    def method(self: Any, *values: Arguments.args, **options: Arguments.kwargs) -> Any:
        return self._do(exchange(call(*values, **options), self._retries))

    signature = inspect.signature(call)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    result = get_args(signature.return_annotation)[-1]
    method.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()], return_annotation=result)  # type: ignore[attr-defined]
    return cast("_Method[Arguments, Result]", method)


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
        self._options: dict[str, Any] = {
            "base_url": address.rstrip("/"),
            "headers": headers | ({"Authorization": f"Bearer {key}"} if key else {}),
        }

    predict = _method(protocol.predict)
    identify = _method(protocol.identify)
    predict_batch = _method(protocol.predict_batch)
    predict_file = _method(protocol.predict_file)
    outcome = _method(protocol.outcome)
    outcomes = _method(protocol.outcomes)
    prediction = _method(protocol.prediction)
    search_predictions = _method(stored.search_predictions)
    batches = _method(stored.batches)
    batch = _method(stored.batch)
    models = _method(protocol.models)
    model_version = _method(stored.model_version)
    compare = _method(stored.compare)
    promote = _method(protocol.promote)
    rollback = _method(protocol.rollback)
    health = _method(protocol.health)
    me = _method(administration.me)
    alerts = _method(administration.alerts)
    alert = _method(administration.alert)
    acknowledge = _method(administration.acknowledge)
    streams = _method(administration.streams)
    evaluations = _method(administration.evaluations)
    evaluation = _method(administration.evaluation)
    runs = _method(administration.runs)
    run = _method(administration.run)
    rejected = _method(administration.rejected)
    settings = _method(administration.settings)
    audit = _method(administration.audit)
    keys = _method(administration.keys)
    create_key = _method(administration.create_key)
    revoke_key = _method(administration.revoke_key)
    ab_test = _method(ab_tests.ab_test)
    plan_ab_test = _method(ab_tests.plan_ab_test)
    conclude_ab_test = _method(ab_tests.conclude_ab_test)
    rollback_ab_test = _method(ab_tests.rollback_ab_test)
    lease_labels = _method(ab_tests.lease_labels)
    label = _method(ab_tests.label)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._options['base_url']!r})"

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
        self._http = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _do(self, steps: Exchange[Result]) -> Result:
        reply: Response | ConnectionLost | None = None
        request_id = secrets.token_hex(8)
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Backoff):
                time.sleep(step.seconds)
                reply = None
            else:
                reply = self._send(step, request_id)

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
        self._http = httpx.AsyncClient(**self._options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _do(self, steps: Exchange[Result]) -> Result:
        reply: Response | ConnectionLost | None = None
        request_id = secrets.token_hex(8)
        while True:
            try:
                step = steps.send(reply)
            except StopIteration as done:
                return done.value  # type: ignore[no-any-return]
            if isinstance(step, Backoff):
                await asyncio.sleep(step.seconds)
                reply = None
            else:
                reply = await self._send(step, request_id)

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

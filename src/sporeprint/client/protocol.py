"""The client without its transport: what is sent, what an answer means, and when to try again.

A call is a generator that asks for requests and returns its result, and a method of both clients; `exchange` adds tries and pauses.
"""

import functools
import json
import secrets
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from sporeprint.client.errors import AnswerError, UnreachableError, error_type
from sporeprint.client.results import BatchFile, BatchResult, OutcomesResult, PredictResult
from sporeprint.errors import UsageError, expectation
from sporeprint.messages.identification import IdentifyResponse
from sporeprint.messages.models import ModelList, PromotionRequest, PromotionResponse, RollbackResponse
from sporeprint.messages.outcomes import OutcomeRequest, OutcomeResponse, OutcomesResponse, RowOutcome
from sporeprint.messages.predictions import BatchResponse, RowPrediction, StoredPrediction
from sporeprint.messages.problem import TYPE_PREFIX
from sporeprint.messages.service import HealthResponse

JSON = "application/json"
#: Files that rows and their answers can be.
FILES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet"}
#: Rows, and outcomes, that are sent at a time: fewer than the service takes by default.
ROWS = 10_000
#: Answers after which the same request may have another one.
AGAIN = frozenset({429, 502, 503, 504})

Result = TypeVar("Result")
Message = TypeVar("Message")


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: of HTTP.
        path: below the service's address.
        params: query parameters.
        headers: further ones.
        content: the body; None: none.
        upload: the body as a file.
        save: where the body of a good answer goes; None: into memory.
        slow: whether the answer may take as long as a batch does.
        accepted: statuses that are answers, beside the good ones.
    """

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    upload: Path | None = None
    save: Path | None = None
    slow: bool = False
    accepted: tuple[int, ...] = ()


@dataclass(frozen=True)
class Response:
    """What came.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
        body: empty where it went into a file.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read(self, message: type[Message]) -> Message:
        """The body as a message; members that this version does not know are left out. Raises: AnswerError."""
        try:
            value: Message = _reader(cast("Hashable", message)).validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"])) or repr(self.body[:80])
            raise AnswerError(
                f"the answer ({self.status}) is no {message.__name__} ({where}: {expectation(first)}); is this the address of the service?"
            ) from None
        return value


@functools.cache
def _reader(message: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("type", message))


@dataclass(frozen=True)
class ConnectionLost:
    """No answer came, or not all of it.

    Attributes:
        says: why.
    """

    says: str


@dataclass(frozen=True)
class Backoff:
    """Wait before the next request.

    Attributes:
        seconds: how long.
    """

    seconds: float


#: What a call sends, what it is answered, and what it returns.
Call = Generator[Request, Response, Result]
#: The same with its tries and pauses, as the transport sees it.
Exchange = Generator[Request | Backoff, Response | ConnectionLost | None, Result]


@dataclass(frozen=True)
class Retries:
    """When to try again.

    Attributes:
        more: tries after the first.
        first_s: longest pause before the second try; it doubles from try to try.
        longest_s: longest pause, and the longest that the service may request for: it is not waited for longer.
    """

    more: int = 4
    first_s: float = 0.2
    longest_s: float = 20.0

    def pause(self, tried: int, retry_after_s: float) -> Backoff:
        """The pause after so many tries, any length up to its longest by chance: who was turned away together comes back one by one.

        Args:
            tried: tries so far, from 1.
            retry_after_s: what the service asks for, which comes on top.
        """
        share = secrets.randbelow(1_000_001) / 1_000_000
        return Backoff(retry_after_s + share * min(self.longest_s, self.first_s * 2 ** (tried - 1)))


# --- one request ---------------------------------------------------------------------------------------------------------


def exchange(call: Call[Result], retries: Retries) -> Exchange[Result]:
    """A call whose requests are tried again. Raises: see `send`."""
    response: Any = None
    while True:
        try:
            request = call.send(response)
        except StopIteration as end:
            return cast("Result", end.value)
        response = yield from send(request, retries)


def send(request: Request, retries: Retries) -> Exchange[Response]:
    """Send a request until there is an answer.

    Args:
        request: the request; sent twice it must do no more than sent once.
        retries: how often.

    Raises:
        ProblemError: if the service says that it does not do it.
        UnreachableError: if it does not answer.
    """
    tried = 0
    while True:
        response = yield request
        tried += 1
        assert response is not None  # noqa: S101 -- it is the answer to a request, not to a pause
        if isinstance(response, ConnectionLost):
            if tried > retries.more:
                raise UnreachableError(f"{request.method} {request.path}: {response.says}; tried {tried} times")
            yield retries.pause(tried, 0.0)
            continue
        if response.status < 300 or response.status in request.accepted:
            return response
        after = _retry_after(response.headers.get("retry-after"))
        if response.status not in AGAIN or tried > retries.more or _stays(response) or (after or 0.0) > retries.longest_s:
            raise _problem(response, after)
        yield retries.pause(tried, after or 0.0)


def _stays(response: Response) -> bool:
    """Whether the service itself says that it cannot, and names no time after which it could."""
    return "retry-after" not in response.headers and response.headers.get("content-type", "").startswith("application/problem+json")


def _retry_after(text: str | None) -> float | None:
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _problem(response: Response, after: float | None) -> Exception:
    try:
        document = json.loads(response.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"title": "no answer of this service", "detail": response.body[:200].decode("utf-8", "replace")}
    kind = str(document.get("type", "")).removeprefix(TYPE_PREFIX)
    words = (str(document.get("title", "")), str(document.get("detail", "")))
    return error_type(response.status)(response.status, kind, *words, response.headers.get("x-request-id"), after)


def _key(key: str | None) -> dict[str, str]:
    """The header by which a request that is sent again is known to be the same."""
    return {"Idempotency-Key": key or secrets.token_hex(16)}


def _json(value: Any) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode()
    except ValueError:
        raise UsageError("a number is infinite, which JSON does not know; leave the field out, or give None") from None
    except TypeError as error:
        raise UsageError(f"a row cannot be sent as JSON: {error}; expected texts, numbers, true, false and None") from None


def _plain(value: Any) -> Any:
    """What other libraries' numbers and times are in JSON."""
    if isinstance(value, datetime):
        return _time(value)
    if hasattr(value, "item"):  # numpy's
        return value.item()
    raise TypeError(f"{type(value).__name__} {str(value)[:40]!r}")


def _time(value: datetime) -> str:
    if value.tzinfo is None:
        raise UsageError(f"observed: expected a time with its zone, as in datetime.now(UTC); got {value.isoformat()}")
    return value.isoformat()


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Some rows at a time; those of any iterable, which need not all be in memory."""
    left = iter(_records(rows))
    while part := [_row(row) for row in islice(left, ROWS)]:
        yield part


def _records(rows: Any) -> Iterable[Any]:
    """The rows of a data frame of pandas or Polars, or of an Arrow table; other rows as they are."""
    for method, arguments in (("to_dicts", ()), ("to_pylist", ()), ("to_dict", ("records",))):
        if hasattr(rows, method) and (hasattr(rows, "columns") or hasattr(rows, "column_names")):
            records: Iterable[Any] = getattr(rows, method)(*arguments)
            return records
    return rows  # type: ignore[no-any-return]


def _row(row: Any) -> dict[str, Any]:
    """A row with None where a value is missing."""
    try:
        fields = dict(row)
    except (TypeError, ValueError):
        raise UsageError(
            f"expected rows with features by name (dicts, or a data frame), got {type(row).__name__} {str(row)[:40]!r}"
        ) from None
    return {str(name): None if _is_missing(value) else value for name, value in fields.items()}


def _is_missing(value: Any) -> bool:
    """Whether a value is what libraries have for missing ones: None, NaN, NaT, and NA, which is not even unlike itself."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"


# --- calls: the methods of both clients ----------------------------------------------------------------------------------


def predict(
    row: Mapping[str, Any],
    *,
    explain: bool = False,
    model: str | None = None,
    ab_test: str | None = None,
    unit: str | None = None,
    idempotency_key: str | None = None,
) -> Call[PredictResult]:
    """Request for one answer.

    Args:
        row: features by name, as code or word: a mapping or a pandas Series; what is left out was not observed.
        explain: whether reasons are wanted.
        model: which one answers: production, a model's name, or one version as name/v2. Left out: the one that serves.
        ab_test: name of the A/B test it takes part in.
        unit: what keeps its arm there.
        idempotency_key: the same key gives the same answer. Left out: a new one, for the tries of this call alone.

    Raises:
        ProblemError: if the service says that it does not do it; one type for each kind of reason.
        UnreachableError: if it does not answer.
    """
    values = (("model", model), ("ab_test", ab_test), ("explain", "true" if explain else None))
    headers = {"Content-Type": JSON, **_key(idempotency_key), **({"X-Unit-Id": unit} if unit is not None else {})}
    response = yield Request("POST", "/predict", {name: value for name, value in values if value is not None}, headers, _json(_row(row)))
    return replace(response.read(PredictResult), replayed=_replayed(response))


def identify(row: Mapping[str, Any], *, model: str | None = None) -> Call[IdentifyResponse]:
    """Ask where the identification of a row stands; nothing is stored. Takes and raises as `predict`; "not observed" cannot be told."""
    reply = yield Request("POST", "/identify", {"model": model} if model else {}, {"Content-Type": JSON}, _json(_row(row)))
    return reply.read(IdentifyResponse)


def _replayed(response: Response) -> bool:
    return response.headers.get("idempotency-replayed") == "true"


def predict_batch(rows: Iterable[Mapping[str, Any]], *, model: str | None = None, idempotency_key: str | None = None) -> Call[BatchResult]:
    """Request for the answers to rows, some at a time.

    Args:
        rows: rows, a data frame of pandas or Polars, or an Arrow table.
        model: as for `predict`.
        idempotency_key: as for `predict`.

    Raises:
        ProblemError: if the service says that it does not do it. A row that is not understood is no error: see its `problem`.
        UnreachableError: if it does not answer.
    """
    params = {"model": model} if model is not None else {}
    predictions: list[RowPrediction] = []
    batches: list[BatchResponse] = []
    for number, part in enumerate(_parts(rows)):
        headers = {"Content-Type": JSON, "Accept": JSON, **_key(None if idempotency_key is None else f"{idempotency_key}.{number}")}
        response = yield Request("POST", "/predict/batch", params, headers, _json(part), slow=True)
        batch = response.read(BatchResponse)
        if len(batch.predictions) != len(part):
            raise AnswerError(f"{len(part)} rows were sent, {len(batch.predictions)} predictions came")
        first = len(predictions)
        predictions += [replace(each, row=first + each.row) for each in batch.predictions]
        batches.append(batch)
    models = dict.fromkeys(f"{each.model}/v{each.version}" for each in batches)
    simulated = any(each.simulated for each in batches)
    return BatchResult(tuple(predictions), tuple(each.batch_id for each in batches), tuple(models), simulated)


def predict_file(path: str | Path, to: str | Path, *, model: str | None = None, idempotency_key: str | None = None) -> Call[BatchFile]:
    """Request for the answers to a CSV or Parquet file of rows, whatever its size.

    Args:
        path: of the file.
        to: where the answers go, as CSV or Parquet by its name; it is there as a whole or not at all.
        model: as for `predict`.
        idempotency_key: as for `predict`.

    Raises:
        ProblemError: if the service says that it does not do it. A row that is not understood is no error: see the file.
        UnreachableError: if it does not answer.
        UsageError: if a file cannot be read, or is of another kind.
    """
    path, to = Path(path), Path(to)
    params = {"model": model} if model is not None else {}
    headers = {"Content-Type": _media_type(path), "Accept": _media_type(to), **_key(idempotency_key)}
    with_size = {**headers, "Content-Length": str(_size(path))}
    response = yield Request("POST", "/predict/batch", params, with_size, upload=path, save=to, slow=True)
    return BatchFile(
        to, response.headers.get("x-batch-id", ""), response.headers.get("x-model", ""), to.stat().st_size, _replayed(response)
    )


def _media_type(path: Path) -> str:
    if (media_type := FILES.get(path.suffix.lower())) is None:
        raise UsageError(f"{path}: expected a file that ends in {' or '.join(FILES)}")
    return media_type


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None


def outcome(
    prediction_id: str,
    outcome: str,
    *,
    source: str | None = None,
    observed: datetime | None = None,
    idempotency_key: str | None = None,
) -> Call[OutcomeResponse]:
    """Report the ground truth. Reported again it changes nothing; reported differently it is a correction.

    Args:
        prediction_id: of which answer.
        outcome: the class, by code or word.
        source: who says so.
        observed: when it was seen, with its zone; left out: now.
        idempotency_key: as for `predict`.
    """
    at = None if observed is None else _time(observed)
    body = OutcomeRequest.model_construct(outcome=outcome, source=source, observed=at)  # the service says what is wrong with it
    content = body.model_dump_json(exclude_none=True).encode()
    headers = {"Content-Type": JSON, **_key(idempotency_key)}
    response = yield Request("POST", f"/predictions/{quote(prediction_id, safe='')}/outcome", {}, headers, content)
    return response.read(OutcomeResponse)


def outcomes(outcomes: Iterable[Mapping[str, Any]] | str | Path) -> Call[OutcomesResult]:
    """Report the ground truth of many. Reported again it changes nothing, so that it needs no key.

    Args:
        outcomes: objects with prediction_id, outcome and, if known, source and observed; or the path of a CSV or Parquet file with
            these columns.
    """
    if isinstance(outcomes, str | Path):
        path = Path(outcomes)
        headers = {"Content-Type": _media_type(path), "Content-Length": str(_size(path))}
        response = yield Request("POST", "/predictions/outcomes", {}, headers, upload=path, slow=True)
        return OutcomesResult(response.read(OutcomesResponse).results)
    results: list[RowOutcome] = []
    for part in _parts(outcomes):
        content = _json(part)
        response = yield Request("POST", "/predictions/outcomes", {}, {"Content-Type": JSON}, content, slow=True)
        first = len(results)
        results += [replace(each, row=first + each.row) for each in response.read(OutcomesResponse).results]
    return OutcomesResult(tuple(results))


def prediction(prediction_id: str, *, explain: bool = False) -> Call[StoredPrediction]:
    """Look at a stored prediction and its outcome; with `explain` in words, too, with its reasons and every revision of the outcome."""
    response = yield Request("GET", f"/predictions/{quote(prediction_id, safe='')}", {"explain": "true"} if explain else {})
    return response.read(StoredPrediction)


def models() -> Call[ModelList]:
    """Look at the registered models."""
    response = yield Request("GET", "/models")
    return response.read(ModelList)


def promote(model: str, version: int, *, production: bool = False, reason: str | None = None) -> Call[PromotionResponse]:
    """Make a version its model's champion, if it passes the gate. Repeated it changes nothing, so that it needs no key.

    Args:
        model: its name.
        version: its number.
        production: whether it is served, too.
        reason: why, for the history.

    Raises:
        ConflictError: if the gate refuses it.
    """
    response = yield _move("promote", model, version, production, reason)
    return response.read(PromotionResponse)


def rollback(model: str, version: int, *, production: bool = False, reason: str | None = None) -> Call[RollbackResponse]:
    """Take back that a version became its model's champion: the one before it is, again.

    Args:
        model: its name.
        version: the number of the version that is taken back; repeated it changes nothing.
        production: whether what is served goes back, and not the champion.
        reason: why, for the history.

    Raises:
        ConflictError: if it is not that version's turn any more, or there was none before.
    """
    response = yield _move("rollback", model, version, production, reason)
    return response.read(RollbackResponse)


def _move(what: str, model: str, version: int, production: bool, reason: str | None) -> Request:
    body = PromotionRequest(version=version, alias="production" if production else "champion", reason=reason)
    content = body.model_dump_json(exclude_none=True).encode()
    # The gate holds two models against all test rows, which takes as long as a batch.
    return Request("POST", f"/models/{quote(model, safe='')}/{what}", {}, {"Content-Type": JSON}, content, slow=True)


def health() -> Call[HealthResponse]:
    """Look at how the service is: also one that fails says so, which is no error."""
    response = yield Request("GET", "/health", accepted=(503,))
    if response.status == 503 and not response.headers.get("content-type", "").startswith(JSON):
        raise _problem(response, _retry_after(response.headers.get("retry-after")))
    return response.read(HealthResponse)

"""Errors as RFC 9457 problem documents: the one place where an error gets a status code."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import orjson
from fastapi import HTTPException

from sporeprint.common.optional_dependencies import missing
from sporeprint.errors import (
    DataError,
    JournalError,
    JournalFullError,
    MissingExtraError,
    RefusedError,
    RegistryError,
    RetryableError,
    SporeprintError,
    StorageUnavailableError,
    UsageError,
)
from sporeprint.messages.problem import TYPE_PREFIX, ProblemDocument, RowProblem, TracedProblemDocument
from sporeprint.registry.manifest import DamagedError
from sporeprint.storage.executor import SilentDatabaseError

MEDIA_TYPE = b"application/problem+json"
#: In the OpenAPI document.
PROBLEM_RESPONSE: dict[str, Any] = {
    "description": "A problem document (RFC 9457)",
    "content": {MEDIA_TYPE.decode(): {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
}
#: Most characters of what was given that an answer repeats.
MOST_DETAIL = 1_000
#: Seconds after which to try again.
RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Problem:
    """What went wrong with a request.

    Attributes:
        status: of HTTP.
        kind: a short name for programs, which does not change.
        title: the same for people, without anything of this one request.
        detail: what, which value, what is allowed.
        headers: further ones.
        request_id: the request's; None in a problem of one row of many.
        trace_id: its trace's, where OpenTelemetry is on.
    """

    status: int
    kind: str
    title: str
    detail: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    request_id: str | None = None
    trace_id: str | None = None

    def document(self) -> RowProblem:
        """The problem as it is sent."""
        detail = self.detail if len(self.detail) <= MOST_DETAIL else f"{self.detail[:MOST_DETAIL]} ..."
        kind = f"{TYPE_PREFIX}{self.kind}"
        if self.request_id is None:
            return RowProblem(type=kind, title=self.title, status=self.status, detail=detail)
        if self.trace_id is not None:
            return TracedProblemDocument(
                type=kind, title=self.title, status=self.status, detail=detail, request_id=self.request_id, trace_id=self.trace_id
            )
        return ProblemDocument(type=kind, title=self.title, status=self.status, detail=detail, request_id=self.request_id)

    def to_bytes(self) -> bytes:
        """The document as JSON."""
        return orjson.dumps(self.document())

    def to_open_inference(self) -> bytes:
        """The problem as the Open Inference Protocol has it, whose clients read nothing else."""
        detail = self.detail if len(self.detail) <= MOST_DETAIL else f"{self.detail[:MOST_DETAIL]} ..."
        return orjson.dumps({"error": detail})

    def without(self, root: Path) -> Self:
        """The same without the names of the server's folders."""
        detail = self.detail.replace(f"{root.absolute()}/", "").replace(str(root.absolute()), ".")
        return self if detail == self.detail else replace(self, detail=detail)

    def of_request(self, request_id: str, trace_id: str | None = None) -> Self:
        """The same with the ids by which logs and traces know the request."""
        return replace(self, request_id=request_id, trace_id=trace_id)


class HttpProblemError(HTTPException):
    """A request that cannot be answered, known for what it is where it was found."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.status, problem.detail)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem.detail


def retry(kind: str, title: str, detail: str) -> Problem:
    """Not possible now, and worth another try."""
    return Problem(503, kind, title, detail, ((b"retry-after", str(RETRY_AFTER_S).encode()),))


def overloaded(detail: str) -> Problem:
    """More is asked for than can be answered in time."""
    return retry("overloaded", "Too much is asked for at once", detail)


def not_json(detail: str) -> Problem:
    """The body cannot be read."""
    return Problem(400, "not-json", "The body is not the JSON that was expected", detail)


def not_valid(detail: str) -> Problem:
    """A field cannot be understood."""
    return Problem(422, "not-valid", "A field cannot be understood", detail)


def not_found(detail: str) -> Problem:
    """There is nothing of that name."""
    return Problem(404, "not-found", "There is no such thing", detail)


def bad_parameter(detail: str) -> Problem:
    """A query parameter or header cannot be understood."""
    return Problem(400, "bad-parameter", "A parameter cannot be understood", detail)


def too_large(limit: int) -> Problem:
    """The body is larger than allowed."""
    return Problem(413, "too-large", "The body is too large", f"the body has more than the {limit:,} bytes that are allowed here")


def too_much(detail: str) -> Problem:
    """There are more rows, columns or bytes than are read."""
    return Problem(413, "too-much", "There is more than is read here", detail)


def too_slow(seconds: float) -> Problem:
    """The request did not come in time."""
    return Problem(408, "too-slow", "The request took too long", f"the request was not complete within {seconds:g} s")


#: Of what was given up while it was under way.
MAY_BE_DONE = "what was asked for may still be done: look before you ask again"


def not_in_time(seconds: float, *, may_be_done: bool = False) -> Problem:
    """The request came in time, and its answer did not."""
    advice = MAY_BE_DONE if may_be_done else "try again soon"
    return retry("not-in-time", "Not answered in time", f"this service did not answer within {seconds:g} s; {advice}")


UNEXPECTED = Problem(500, "unexpected", "Something went wrong here", "this is a fault of the server; its log says more")


def of(error: Exception, root: Path) -> Problem:
    """The problem that an error is. What the server's own files are called stays in the log.

    Args:
        error: what was raised.
        root: the work directory.
    """
    return _of(error).without(root)


def _of(error: Exception) -> Problem:
    if isinstance(error, ModuleNotFoundError):
        error = missing(error) or error
    match error:
        case HttpProblemError():
            return error.problem
        case MissingExtraError():
            return Problem(501, "not-installed", "This server lacks a library", str(error))
        case DataError():
            return not_valid(str(error))
        case UsageError():
            return bad_parameter(str(error))
        case DamagedError():
            return Problem(503, "model-damaged", "The model is not as it was registered", "this version is damaged; name another one")
        case RefusedError():
            return Problem(409, "refused", "The gate refuses it", str(error))
        case RegistryError():
            return Problem(404, "no-such-model", "There is no such model", str(error))
        case _:
            return _of_storage(error)


def _of_storage(error: Exception) -> Problem:
    match error:
        case JournalFullError():
            return overloaded("too many answers wait for the disk or the database; try again soon")
        case JournalError():
            return retry("not-kept", "The answer could not be kept", "an answer is given only when it is kept, which failed; try again")
        case SilentDatabaseError() if error.has_begun:
            return retry("database-away", "The database does not answer", f"the database did not answer in time; {MAY_BE_DONE}")
        case StorageUnavailableError():
            return retry("database-away", "The database does not answer", "the database does not answer now; try again soon")
        case RetryableError():
            return retry("not-now", "Not possible now", "this is not possible now; try again soon")
        case SporeprintError():
            return UNEXPECTED
        case _:
            return UNEXPECTED

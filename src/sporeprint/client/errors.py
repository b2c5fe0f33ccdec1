"""What the client raises: errors with the fields of the problem document."""

from collections.abc import Mapping

from sporeprint.errors import SporeprintError


class ClientError(SporeprintError):
    """Base of everything the client raises."""


class UnreachableError(ClientError):
    """The service did not answer, or its answer broke off, at every try."""

    exit_code = 75
    retryable = True


class AnswerError(ClientError):
    """What came is no answer of this service: is the address right?"""


class ProblemError(ClientError):
    """The service says why it does not do it.

    Attributes:
        status: of HTTP.
        kind: a short name for programs, as in not-valid; empty where something else than the service answered.
        title: the same for people, without anything of this one request.
        detail: what, which value, what is allowed.
        request_id: under which the service's logs know the request; None where it named none.
        retry_after_s: seconds after which to try again; None where it is not said.
    """

    def __init__(self, status: int, kind: str, title: str, detail: str, request_id: str | None, retry_after_s: float | None) -> None:
        super().__init__(f"{status} {title}: {detail}" if detail else f"{status} {title}")
        self.status, self.kind, self.title, self.detail = status, kind, title, detail
        self.request_id, self.retry_after_s = request_id, retry_after_s


class InvalidError(ProblemError):
    """The request cannot be understood or is too large (400, 406, 413, 415, 422): sent again it would be refused again."""


class AuthenticationError(ProblemError):
    """A key is needed, or the one sent is not taken (401)."""


class NotAllowedError(ProblemError):
    """The key may not do this (403)."""


class NotFoundError(ProblemError):
    """There is no such prediction, model or A/B test (404)."""


class ConflictError(ProblemError):
    """What is there does not allow it: a gate refuses, or something has ended (409)."""


class UnavailableError(ProblemError):
    """Not possible now, at every try (408, 429, 5xx)."""

    exit_code = 75
    retryable = True


_KINDS: Mapping[int, type[ProblemError]] = {
    **dict.fromkeys((400, 406, 413, 415, 422), InvalidError),
    401: AuthenticationError,
    403: NotAllowedError,
    404: NotFoundError,
    409: ConflictError,
    **dict.fromkeys((408, 429), UnavailableError),
}


def error_type(status: int) -> type[ProblemError]:
    """What an answer with this status is raised as."""
    return _KINDS.get(status, UnavailableError if status >= 500 else ProblemError)

"""What went wrong with a request, or with one row of many (RFC 9457)."""

from sporeprint.messages.base import response

#: What the type of a problem begins with; its kind follows.
TYPE_PREFIX = "urn:sporeprint:problem:"


@response
class RowProblem:
    """Why one row of many was not understood.

    Attributes:
        type: urn:sporeprint:problem: with a short name for programs, as in not-valid.
        title: the same for people, without anything of this one request.
        status: of HTTP, had the row come alone.
        detail: what, which value, what is allowed.
    """

    type: str
    title: str
    status: int
    detail: str

    @property
    def kind(self) -> str:
        """The short name."""
        return self.type.removeprefix(TYPE_PREFIX)


@response
class ProblemDocument(RowProblem):
    """Why a request failed.

    Attributes:
        request_id: as in the header X-Request-Id: under it the logs know the request.
    """

    request_id: str


@response
class TracedProblemDocument(ProblemDocument):
    """Why a request failed, where OpenTelemetry is on.

    Attributes:
        trace_id: the trace the request belongs to, 32 hexadecimal digits.
    """

    trace_id: str

"""What the client gives: frozen values, and errors with the fields of the problem document."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from sporeprint.errors import SporeprintError

Value = TypeVar("Value")


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


def read(kind: type[Value], found: Any, /, **own: Any) -> Value:
    """A value from a JSON object. What it has beyond the fields is passed over: a newer service may say more.

    Args:
        kind: a dataclass.
        found: the object.
        own: fields that are not in it as they are.

    Raises:
        AnswerError: if it is none, or a field is missing.
    """
    if not isinstance(found, Mapping):
        raise AnswerError(f"expected a JSON object, got {type(found).__name__}; is this the address of the service?")
    values = {each.name: _frozen(found[each.name]) for each in fields(kind) if each.name in found}  # type: ignore[arg-type]
    try:
        return kind(**{**values, **own})
    except TypeError as error:
        raise AnswerError(f"the answer cannot be read: {error}; is this the address of the service?") from None


def _frozen(value: Any) -> Any:
    return tuple(_frozen(each) for each in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Problem:
    """Why one row of many was not understood.

    Attributes:
        kind: a short name for programs, as in not-valid.
        title: the same for people.
        status: of HTTP, had the row come alone.
        detail: what, which value, what is allowed.
    """

    kind: str
    title: str
    status: int
    detail: str


@dataclass(frozen=True)
class Reason:
    """What one column did.

    Attributes:
        column: its name.
        effect: by how much it moved the score towards the positive class, in the explanation's unit.
        says: column and value in words.
    """

    column: str
    effect: float
    says: str


@dataclass(frozen=True)
class Explanation:
    """Why an answer is as it is.

    Attributes:
        reasons: the columns that moved the score most, the strongest first.
        unit: of their effects; None where the model cannot be explained.
        base: the score before any column was looked at, in the same unit.
        contradictions: what the row says against itself.
        most_like: the group of training rows that it is most like.
        nearest: the training row nearest to it, as the service says it.
    """

    reasons: tuple[Reason, ...]
    unit: str | None
    base: float | None
    contradictions: tuple[str, ...]
    most_like: str
    nearest: Mapping[str, Any] | None


@dataclass(frozen=True)
class Answer:
    """What is said of one row. Act on `verdict`, never on `prediction` alone: the verdict is unknown where there is no ground for one.

    Attributes:
        prediction_id: under which it is kept; the outcome is told by it.
        prediction: code of the likelier class.
        probability: of the positive class, calibrated, 0 to 1.
        verdict: a class in words, or unknown.
        novelty_p: 0 to 1; near 0 for rows unlike any training row.
        threshold: largest probability that is answered with the negative class; None: none is.
        model: name of the model that answered.
        version: its version.
        unseen: columns whose value the model has never seen.
        outside: columns whose number lies outside the training rows'.
        reason: why the verdict is unknown; None where it is not.
        simulated: whether the model was trained on invented rows.
        replayed: whether it was given before, to the same idempotency key.
        ab_test: its part in an A/B test; None where it has none.
        explanation: where it was asked for.
    """

    prediction_id: str
    prediction: str
    probability: float
    verdict: str
    novelty_p: float
    threshold: float | None
    model: str
    version: int
    unseen: tuple[str, ...]
    outside: tuple[str, ...]
    reason: str | None
    simulated: bool = False
    replayed: bool = False
    ab_test: Mapping[str, Any] | None = None
    explanation: Explanation | None = None


@dataclass(frozen=True)
class RowAnswer:
    """What is said of one row of a batch: an answer, as in `Answer`, or a problem.

    Attributes:
        row: its number among those given, from 0.
        prediction_id: under which it is kept; None where there is a problem, as all that follows.
        prediction: code of the likelier class.
        probability: of the positive class.
        verdict: a class in words, or unknown. A row with a problem is unknown.
        novelty_p: near 0 for rows unlike any training row.
        unseen: columns whose value the model has never seen.
        outside: columns whose number lies outside the training rows'.
        reason: why the verdict is unknown.
        problem: why the row was not understood; None where it was.
    """

    row: int
    prediction_id: str | None = None
    prediction: str | None = None
    probability: float | None = None
    verdict: str = "unknown"
    novelty_p: float | None = None
    unseen: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    reason: str | None = None
    problem: Problem | None = None


@dataclass(frozen=True)
class Batch:
    """What is said of many rows, in their order.

    Attributes:
        answers: one for each row.
        batch_ids: under which they are kept; many rows are sent as several batches.
        models: the versions that answered, as name/v2.
        simulated: whether one of them was trained on invented rows.
    """

    answers: tuple[RowAnswer, ...]
    batch_ids: tuple[str, ...]
    models: tuple[str, ...]
    simulated: bool = False

    def __len__(self) -> int:
        return len(self.answers)

    def __iter__(self) -> Iterator[RowAnswer]:
        return iter(self.answers)

    @property
    def problems(self) -> tuple[RowAnswer, ...]:
        """The rows that were not understood."""
        return tuple(each for each in self.answers if each.problem is not None)


@dataclass(frozen=True)
class BatchFile:
    """A file of answers: the columns given, prediction_id and the answer's.

    Attributes:
        path: where it is.
        batch_id: under which it is kept.
        model: the version that answered, as name/v2.
        size: bytes.
        replayed: whether it was given before, to the same idempotency key.
    """

    path: Path
    batch_id: str
    model: str
    size: int
    replayed: bool = False

    def frame(self) -> Any:
        """The same as a polars frame. Needs polars, which nothing else of the client does."""
        import polars as pl

        return pl.read_csv(self.path) if self.path.suffix == ".csv" else pl.read_parquet(self.path)


@dataclass(frozen=True)
class Outcome:
    """What turned out to be true of a prediction.

    Attributes:
        prediction_id: of which.
        outcome: code of the class.
        revision: 1 for the first; further ones are corrections.
        source: who says so.
        observed: when it was seen, ISO 8601.
        recorded: when it was told, ISO 8601.
        created: whether this call made the revision; None where that was not asked.
    """

    prediction_id: str
    outcome: str
    revision: int
    source: str
    observed: str
    recorded: str
    created: bool | None = None


@dataclass(frozen=True)
class OutcomeResult:
    """What became of one outcome of many.

    Attributes:
        row: its number among those given, from 0.
        prediction_id: of which; None where that was not understood.
        revision: 1 for the first; None where there is a problem.
        created: whether this call made the revision.
        problem: why it was not taken; None where it was.
    """

    row: int
    prediction_id: str | None = None
    revision: int | None = None
    created: bool = False
    problem: Problem | None = None


@dataclass(frozen=True)
class Outcomes:
    """What became of many outcomes, in their order.

    Attributes:
        results: one for each.
    """

    results: tuple[OutcomeResult, ...]

    @property
    def created(self) -> int:
        """How many made a revision."""
        return sum(each.created for each in self.results)

    @property
    def problems(self) -> tuple[OutcomeResult, ...]:
        """Those that were not taken."""
        return tuple(each for each in self.results if each.problem is not None)


@dataclass(frozen=True)
class StoredPrediction:
    """An answer that was given, as it is kept. See `Answer` for the fields they share.

    Attributes:
        created: when, ISO 8601.
        features: the row, in the names and codes of the model's contract.
        batch_id: of which batch; None: it was asked alone.
        test_id: of which A/B test; None: of none.
        arm: a or b.
        unit_id: what keeps its arm.
        outcome: what turned out to be true, the latest revision; None where nobody has said.
        outcome_unknown: why the outcome cannot be known now; None where it can.
    """

    prediction_id: str
    created: str
    prediction: str
    probability: float | None
    verdict: str
    novelty_p: float | None
    threshold: float | None
    model: str
    version: int
    unseen: tuple[str, ...]
    features: Mapping[str, Any]
    batch_id: str | None = None
    test_id: str | None = None
    arm: str | None = None
    unit_id: str | None = None
    outcome: Outcome | None = None
    outcome_unknown: str | None = None


@dataclass(frozen=True)
class Model:
    """A registered model.

    Attributes:
        name: its name.
        champion: its best version, as name/v2.
        versions: all of them, the oldest first.
    """

    name: str
    champion: str
    versions: tuple[str, ...]


@dataclass(frozen=True)
class Models:
    """The registered models.

    Attributes:
        production: the version that is to serve, as name/v2; None: none is.
        serving: the version that serves in the worker that answered.
        models: all of them, by name.
    """

    production: str | None
    serving: str
    models: tuple[Model, ...]


@dataclass(frozen=True)
class Promotion:
    """A version that was made its model's champion, or what is served.

    Attributes:
        ref: the version, as name/v2.
        alias: champion, or production: what is served, too.
        production: the version that is to serve, as name/v2; every worker has it within two seconds.
        reason: why, as the history has it.
        gate: what the gate said.
    """

    ref: str
    alias: str
    production: str | None
    reason: str
    gate: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rollback:
    """A move that was taken back.

    Attributes:
        ref: the version that is champion, or served, again.
        before: the one that was.
        alias: champion or production.
        production: the version that is to serve, as name/v2.
        reason: why, as the history has it.
    """

    ref: str
    before: str
    alias: str
    production: str | None
    reason: str


@dataclass(frozen=True)
class Health:
    """How the worker that answered is.

    Attributes:
        status: ok; degraded: it answers and something is wrong; failing: it does not answer.
        worker: its name.
        in_flight: requests that are worked on.
        model: what serves.
        journal: how much waits to be shipped.
        database: whether it answers.
    """

    status: str
    worker: str
    in_flight: int
    model: Mapping[str, Any] = field(default_factory=dict)
    journal: Mapping[str, Any] = field(default_factory=dict)
    database: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answers(self) -> bool:
        """Whether it gives answers."""
        return self.status != "failing"

"""The service itself: what it is and how it is."""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from sporeprint.messages.base import response


@response
class ServiceIndex:
    """What this is.

    Attributes:
        service: sporeprint.
        release: its version.
        serving: the model version that serves.
        documentation: path of the documentation.
        openapi: path of the OpenAPI document.
        links: name -> path.
    """

    service: str
    release: str
    serving: str
    documentation: str
    openapi: str
    links: Mapping[str, str]


@response
class StatusResponse:
    """Whether the process lives, or can serve.

    Attributes:
        status: live; ready; or not ready.
        reason: why it is not ready; null if it is.
    """

    status: Literal["live", "ready", "not ready"]
    reason: str | None = None


@response
class ModelHealth:
    """The model of a worker.

    Attributes:
        status: degraded if another version should serve and cannot be loaded.
        model: name of the model that serves.
        version: its version.
        ref: both, as name/v2.
        manifest: digest of its manifest.
        engine: what scores one row.
        simulated: whether it was trained on invented rows.
        notes: what is to be known about the model's promises.
        problem: why another version cannot be loaded; null if that is not so.
        since: since when, ISO 8601.
    """

    status: Literal["ok", "degraded"]
    model: str
    version: int
    ref: str
    manifest: str
    engine: str
    simulated: bool
    notes: tuple[str, ...] = ()
    problem: str | None = None
    since: str | None = None


@response
class JournalHealth:
    """The write-ahead journal of a worker.

    Attributes:
        status: failing if predictions cannot be kept.
        depth: predictions that the database does not have yet.
        age_s: age of the oldest of them, seconds.
        waiting: predictions that are not on the disk yet.
        failures: writes that failed.
        refused: records that the database does not take.
        orphans: journals of ended workers that hold records -> how many; null: it cannot be read.
        damaged: damaged journals that are kept.
    """

    status: Literal["ok", "failing"]
    depth: int
    age_s: float
    waiting: int
    failures: int
    refused: int
    orphans: Mapping[str, int | None] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()


@response
class DatabaseHealth:
    """The database, as a worker sees it.

    Attributes:
        status: away if it does not answer.
        shipped: predictions that it has confirmed.
        failures: shipments that failed and are tried again.
    """

    status: Literal["ok", "away"]
    shipped: int
    failures: int


@response
class ActivityHour:
    """The answers of an hour.

    Attributes:
        begin: its begin, ISO 8601.
        answers: how many there were.
        unknown: how many of them were unknown.
    """

    begin: str
    answers: int
    unknown: int


@response
class ActivityResponse:
    """How much the service answered, by the counters of its workers.

    Attributes:
        since: since when the worker that answered this counts, ISO 8601; null: not yet.
        answers: in the last 24 hours, or since then.
        unknown: how many of them were unknown.
        hours: the last 24 hours, the oldest first.
    """

    since: str | None
    answers: int
    unknown: int
    hours: tuple[ActivityHour, ...]


@response
class HealthResponse:
    """How the worker that answered is.

    Attributes:
        status: ok; degraded: it predicts and something is wrong; failing: it does not predict.
        worker: its name.
        in_flight: requests in flight.
        model: what serves.
        journal: how much waits to be shipped.
        database: whether it answers.
    """

    status: Literal["ok", "degraded", "failing"]
    worker: str
    in_flight: int
    model: ModelHealth
    journal: JournalHealth
    database: DatabaseHealth

    @property
    def is_serving(self) -> bool:
        """Whether it predicts."""
        return self.status != "failing"

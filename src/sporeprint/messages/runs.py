"""Runs of the pipeline, their steps and figures, and the rows they rejected."""

from collections.abc import Mapping
from typing import Any, Literal

from sporeprint.messages.base import response

RunStatus = Literal["running", "done", "failed"]


@response
class RunSummary:
    """A run.

    Attributes:
        run_id: its id, which begins with the time.
        command: what was run: etl, train, monitor, ...
        started: when, ISO 8601.
        finished: when it ended; null: it has not.
        seconds: that it took; null: it has not ended.
        status: running, done or failed.
        exit_code: what the command ended with; null: it has not.
        rows: rows of the table; null: it read none.
        rejected: rows that broke a rule; null: not checked.
        data_sha256: of the table's source; null: it read none.
        error: why it stopped; null: it did not.
    """

    run_id: str
    command: str
    started: str
    finished: str | None
    seconds: float | None
    status: RunStatus
    exit_code: int | None
    rows: int | None
    rejected: int | None
    data_sha256: str | None
    error: str | None


@response
class RunList:
    """Runs.

    Attributes:
        runs: the latest first.
        next: for `before`, to get older ones; null: there are none.
    """

    runs: tuple[RunSummary, ...]
    next: str | None = None


@response
class RunStep:
    """What a step took.

    Attributes:
        step: its name.
        wall_s: seconds that passed.
        cpu_s: processor seconds of all threads.
        peak_mib: largest memory of the process so far, MiB.
    """

    step: str
    wall_s: float
    cpu_s: float
    peak_mib: float


@response
class RunFigure:
    """What a run measured.

    Attributes:
        model: of which model.
        part: on what: seen, unseen, ...
        metric: its name.
        value: the number; null: it is undefined.
        low: lower end of its interval; null: it has none.
        high: upper end.
        rows: that it was measured on; null: not known.
    """

    model: str
    part: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    rows: int | None


@response
class RunResponse:
    """A run in full.

    Attributes:
        run: the run.
        steps: what each step took.
        by_rule: rule -> rows that broke it.
        max_rejected_share: larger shares of rejected rows stop a run; null: nothing was checked.
        details: further values: source, missing values by column, parts, classes, notes, what was registered.
        metrics: what was measured.
    """

    run: RunSummary
    steps: tuple[RunStep, ...]
    by_rule: Mapping[str, int]
    max_rejected_share: float | None
    details: Mapping[str, Any]
    metrics: tuple[RunFigure, ...]


@response
class RejectedRow:
    """A row that broke a rule.

    Attributes:
        row: its number in the source.
        rules: that it broke, as kind:column.
        reason: in words.
        values: column -> what stood there; null: nothing.
        text: the line, where it could not be split into fields; null otherwise.
    """

    row: int
    rules: tuple[str, ...]
    reason: str | None
    values: Mapping[str, str | None]
    text: str | None


@response
class RejectedRowList:
    """Rows that a run rejected.

    Attributes:
        rows: in the order of the source.
        count: how many there are, of this rule and column.
        next: for `after`, to get further ones; null: there are none.
    """

    rows: tuple[RejectedRow, ...]
    count: int
    next: int | None = None

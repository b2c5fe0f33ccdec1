"""`/ui/runs`: runs of the pipeline, what each did, and the rows that it rejected."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from sporeprint.inference.identification import words_of
from sporeprint.messages.runs import RejectedRow, RunResponse, RunStatus
from sporeprint.model_serving.endpoints.runs import list_rejected, list_runs, rejected_file, show_run
from sporeprint.model_serving.http.problems import HttpProblemError, bad_parameter
from sporeprint.model_serving.ui.page_endpoint import Answer, Page, PageRequest, PageResponse
from sporeprint.schema import DatasetSchema
from sporeprint.web.names import label_of

#: Rows of a page of rejected rows, and runs of a list.
PAGE = 50


@dataclass(frozen=True)
class RuleCount:
    """A rule that rows broke.

    Attributes:
        rule: as kind:column.
        column: what people call the column; empty where it is of none.
        kind: number, range, allowed, required or malformed.
        count: rows that broke it.
    """

    rule: str
    column: str
    kind: str
    count: int


@dataclass(frozen=True)
class RejectedCell:
    """A cell of a rejected row.

    Attributes:
        label: what people call its column.
        value: what stood there, in words where it is a known code; empty: nothing.
        is_broken: whether it breaks a rule.
    """

    label: str
    value: str
    is_broken: bool


@dataclass(frozen=True)
class MissingShare:
    """How many values of a column are missing.

    Attributes:
        label: what people call the column.
        share: of the rows of this run.
        before: of those of the run before; None: it did not have the column.
    """

    label: str
    share: float
    before: float | None


async def show_runs(request: PageRequest) -> PageResponse:
    """The runs, the latest first."""
    command, status = request.query.get("command") or None, request.query.get("status") or None
    if status not in (None, *get_args(RunStatus)):
        raise HttpProblemError(
            bad_parameter(f"parameter 'status': expected one of {', '.join(get_args(RunStatus))}, got {str(status)[:40]!r}")
        )
    result = await list_runs(request.service, command=command, status=status, limit=PAGE, before=request.query.get("before"))  # type: ignore[arg-type]
    last = result.runs[0] if result.runs else None
    return PageResponse("runs.html.j2", {"result": result, "last": last, "command": command or "", "status": status or ""})


async def show_one(request: PageRequest) -> PageResponse:
    """A run: steps, checks, figures."""
    result = await show_run(request.path["run_id"], request.service)
    previous = await list_runs(request.service, command=result.run.command, limit=1, before=result.run.run_id)
    before = await show_run(previous.runs[0].run_id, request.service) if previous.runs else None
    values = {
        "result": result,
        "rules": [_rule(rule, count) for rule, count in result.by_rule.items()],
        "missing": missing_shares(result, before),
        "before": before and before.run,
    }
    return PageResponse("run.html.j2", values)


async def show_rejected(request: PageRequest) -> PageResponse:
    """Rejected rows, the broken cells marked."""
    run_id, rule, after = request.path["run_id"], request.query.get("rule") or None, request.query.get("after", "")
    if after and not (after.isdecimal() and after.isascii() and len(after) < 16):
        raise HttpProblemError(bad_parameter(f"parameter 'after': expected `next` of the page before, got {after[:40]!r}"))
    result = await list_rejected(run_id, request.service, rule=rule, limit=PAGE, after=int(after) if after else None)
    run = await show_run(run_id, request.service)
    schema = request.service.settings.dataset
    values = {
        "result": result,
        "run": run.run,
        "rules": [_rule(each, count) for each, count in run.by_rule.items()],
        "rule": rule or "",
        "rows": [(row, _cells(row, schema)) for row in result.rows],
    }
    return PageResponse("rejected.html.j2", values)


async def download_rejected(request: PageRequest) -> Answer:
    """The rejected rows as a file."""
    return await rejected_file(request.path["run_id"], request.service, request.query.get("rule") or None)


def _rule(rule: str, count: int) -> RuleCount:
    kind, _, column = rule.partition(":")
    return RuleCount(rule, label_of(column) if column else "", kind, count)


def missing_shares(run: RunResponse, before: RunResponse | None) -> list[MissingShare]:
    """Columns with missing values, now or in the run before, the largest share first."""
    now, then = _missing(run), {} if before is None else _missing(before)
    shares = [MissingShare(label_of(name), share, then.get(name)) for name, share in now.items() if share or then.get(name)]
    return sorted(shares, key=lambda each: -each.share)


def _missing(run: RunResponse) -> dict[str, float]:
    """Share of missing values by column, of the rows that were taken."""
    missing: Any = run.details.get("missing")
    good = (run.run.rows or 0) - (run.run.rejected or 0)
    return {name: count / good for name, count in missing.items()} if isinstance(missing, Mapping) and good > 0 else {}


def _cells(row: RejectedRow, schema: DatasetSchema) -> list[RejectedCell]:
    """The broken cells first, then the others that hold something."""
    broken = {rule.partition(":")[2] for rule in row.rules}
    cells = [
        RejectedCell(label_of(name), _words(value, name, schema), name in broken)
        for name, value in row.values.items()
        if value is not None or name in broken
    ]
    return sorted(cells, key=lambda cell: not cell.is_broken)


def _words(value: str | None, name: str, schema: DatasetSchema) -> str:
    if value is None:
        return ""
    column = schema.columns.get(name)
    return words_of(value, name, schema) if column is not None and column.values and value in column.values else value


RUN_PAGES: tuple[Page, ...] = (
    ("ui_runs", "GET", "/runs", show_runs),
    ("ui_run", "GET", "/runs/{run_id}", show_one),
    ("ui_rejected", "GET", "/runs/{run_id}/rejected", show_rejected),
    ("ui_rejected_file", "GET", "/runs/{run_id}/rejected/file", download_rejected),
)

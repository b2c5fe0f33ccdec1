"""`/runs`: runs of the pipeline, and the rows that they rejected."""

import asyncio
import itertools
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Response
from fastapi.responses import StreamingResponse

from sporeprint.common.timestamps import iso_utc
from sporeprint.common.workdir import Workdir
from sporeprint.messages.runs import RejectedRow, RejectedRowList, RunFigure, RunList, RunResponse, RunStep, RunSummary
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router
from sporeprint.model_serving.http.problems import HttpProblemError, not_found
from sporeprint.model_serving.runtime.service import Service
from sporeprint.storage import rejected_rows
from sporeprint.storage.oltp import pipeline_runs
from sporeprint.storage.oltp.pipeline_runs import PipelineRun

routes = router()

RunId = Annotated[str, Path(description="Id of a run.", max_length=64)]
Rule = Annotated[str | None, Query(description="Only rows that broke this rule, as in range:stem-width.", max_length=300)]
OfColumn = Annotated[str | None, Query(description="Only rows that broke a rule of this column.", max_length=300)]
#: What of a run's details has a place of its own.
NAMED = ("steps", "by_rule", "max_rejected_share", "error", "place", "rejected", "rejected_of")
#: Rejected rows in one answer.
MOST_ROWS = 200


@routes.get("/runs", name="runs")
async def list_runs(
    service: ServiceDep,
    command: Annotated[str | None, Query(description="Only of this command: etl, train, monitor, ...", max_length=64)] = None,
    status: Annotated[Literal["running", "done", "failed"] | None, Query(description="Only these.")] = None,
    limit: Annotated[int, Query(description="At most so many.", ge=1, le=pipeline_runs.MOST)] = 50,
    before: Annotated[str | None, Query(description="`next` of the page before.", max_length=64)] = None,
) -> RunList:
    """Runs of the pipeline, the latest first."""
    result = await service.database.executor.run(
        lambda: pipeline_runs.listed(service.database.engine, command=command, status=status, limit=limit, before=before)
    )
    return RunList(runs=tuple(map(_summary, result)), next=result[-1].run_id if len(result) == limit else None)


@routes.get("/runs/{run_id}", name="run", responses=problems(404))
async def show_run(run_id: RunId, service: ServiceDep) -> RunResponse:
    """All that is known of a run."""
    run, metrics = await service.database.executor.run(
        lambda: (_found(service, run_id), pipeline_runs.metrics(service.database.engine, run_id))
    )
    details = dict(run.details)
    return RunResponse(
        run=_summary(run),
        steps=tuple(RunStep(**each) for each in details.get("steps", ())),
        by_rule=details.get("by_rule", {}),
        max_rejected_share=details.get("max_rejected_share"),
        details={name: value for name, value in details.items() if name not in NAMED},
        metrics=tuple(RunFigure(**each.__dict__) for each in metrics),
    )


@routes.get("/runs/{run_id}/rejected", name="rejected", responses=problems(404))
async def list_rejected(
    run_id: RunId,
    service: ServiceDep,
    rule: Rule = None,
    column: OfColumn = None,
    limit: Annotated[int, Query(description="At most so many.", ge=1, le=MOST_ROWS)] = 50,
    after: Annotated[int | None, Query(description="`next` of the page before.", ge=0, le=2**53)] = None,
) -> RejectedRowList:
    """Rows that a run rejected, with the rules that they broke."""
    path = await _rejected_path(service, run_id)
    if path is None:
        return RejectedRowList(rows=(), count=0)
    rows, count = await asyncio.to_thread(rejected_rows.read, path, rule=rule, column=column, limit=limit, after=after)
    following = rows[-1]["row"] if len(rows) == limit else None
    return RejectedRowList(rows=tuple(RejectedRow(**each) for each in rows), count=count, next=following)


@routes.get(
    "/runs/{run_id}/rejected/file",
    name="rejected_file",
    response_class=Response,
    responses={**problems(404), 200: {"description": "Every row", "content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def rejected_file(run_id: RunId, service: ServiceDep, rule: Rule = None, column: OfColumn = None) -> Response:
    """The rejected rows of a run as a CSV file, with the rules that they broke."""
    path = await _rejected_path(service, run_id)
    if path is None:
        raise HttpProblemError(not_found(f"the run {run_id} rejected no row"))
    parts = rejected_rows.csv_parts(path, rule=rule, column=column)
    first = await asyncio.to_thread(next, parts)  # a file that cannot be read is said before anything is sent
    named = {"content-disposition": f"attachment; filename=rejected-{run_id}.csv"}
    return StreamingResponse(itertools.chain([first], parts), media_type="text/csv; charset=utf-8", headers=named)


async def _rejected_path(service: Service, run_id: str) -> FilePath | None:
    """The file of the rows that a run rejected; None: it rejected none. Raises: HttpProblemError."""
    run = await service.database.executor.run(_found, service, run_id)
    if not run.details.get("rejected"):
        return None
    path = Workdir(service.root).rejected(str(run.details.get("rejected_of", run_id)))
    if not path.is_file():
        where = "they are not on this machine: the run was made elsewhere, has not been loaded, or its files were removed"
        raise HttpProblemError(not_found(f"the run {run_id} rejected rows, and {where}"))
    return path


def _found(service: Service, run_id: str) -> PipelineRun:
    run = pipeline_runs.get(service.database.engine, run_id)
    if run is None:
        raise HttpProblemError(not_found(f"there is no run {run_id[:80]!r}; GET /runs lists them"))
    return run


def _summary(run: PipelineRun) -> RunSummary:
    details: Any = run.details
    return RunSummary(
        run_id=run.run_id,
        command=run.command,
        started=iso_utc(run.started_us, "milliseconds"),
        finished=None if run.finished_us is None else iso_utc(run.finished_us, "milliseconds"),
        seconds=None if run.finished_us is None else round((run.finished_us - run.started_us) / 1e6, 3),
        status=run.status,  # type: ignore[arg-type]  # one of the three
        exit_code=run.exit_code,
        rows=run.rows,
        rejected=details.get("rejected"),
        data_sha256=run.data_sha256,
        error=details.get("error"),
    )

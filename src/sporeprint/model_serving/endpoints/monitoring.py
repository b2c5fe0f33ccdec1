"""`/monitoring`: what the monitor evaluated, as it wrote it to the database."""

from typing import Annotated, Any

from fastapi import Path, Query
from fastapi.responses import HTMLResponse

from sporeprint.common.timestamps import iso_utc
from sporeprint.messages.monitoring import (
    ColumnChange,
    EvaluationList,
    EvaluationResponse,
    EvaluationSummary,
    MetricRange,
    MonitoringStream,
    MonitoringStreamList,
)
from sporeprint.model_serving.endpoints.ab_tests import POLICY, html_response
from sporeprint.model_serving.endpoints.predictions import observed_at
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router
from sporeprint.model_serving.http.problems import HttpProblemError, bad_parameter, not_found
from sporeprint.storage.oltp import evaluations
from sporeprint.storage.oltp.evaluations import StoredEvaluation

routes = router()

EvaluationId = Annotated[str, Path(description="Id of an evaluation.", max_length=64)]
#: Fields of a summary that are numbers with an interval.
RANGES = ("accuracy", "expected", "false_negatives")


@routes.get("/monitoring/streams", name="streams")
async def list_streams(service: ServiceDep) -> MonitoringStreamList:
    """What is evaluated, the newest first."""
    streams = await service.database.executor.run(evaluations.streams, service.database.engine)
    return MonitoringStreamList(
        streams=tuple(
            MonitoringStream(
                stream_id=each.stream_id, stream=each.stream, evaluations=each.evaluations, last=iso_utc(each.last_us, "milliseconds")
            )
            for each in streams
        )
    )


@routes.get("/monitoring/evaluations", name="evaluations")
async def list_evaluations(
    service: ServiceDep,
    stream: Annotated[str | None, Query(description="Only of this stream, by its id.", max_length=64)] = None,
    since: Annotated[str | None, Query(description="Only from this time on, ISO 8601 with its zone.", max_length=40)] = None,
    limit: Annotated[int, Query(description="At most so many.", ge=1, le=evaluations.MOST)] = evaluations.MOST,
) -> EvaluationList:
    """Evaluations, the newest first."""
    since_us = instant(since, "since")
    result = await service.database.executor.run(
        lambda: evaluations.listed(service.database.engine, stream_id=stream, since_us=since_us, limit=limit)
    )
    return EvaluationList(evaluations=tuple(map(_summary, result)))


@routes.get("/monitoring/evaluations/{evaluation_id}", name="evaluation", responses=problems(404))
async def show_evaluation(evaluation_id: EvaluationId, service: ServiceDep) -> EvaluationResponse:
    """All that the database has of an evaluation."""
    result = await service.database.executor.run(evaluations.get, service.database.engine, evaluation_id)
    if result is None:
        raise _missing(evaluation_id)
    item, details = result
    return EvaluationResponse(stream=item.stream, summary=_summary(item), details=details, has_report=details is not None)


@routes.get(
    "/monitoring/evaluations/{evaluation_id}/report", name="evaluation_report", response_class=HTMLResponse, responses=problems(404)
)
async def report_evaluation(evaluation_id: EvaluationId, service: ServiceDep) -> HTMLResponse:
    """The report of an evaluation, as a page."""
    page = await service.database.executor.run(evaluations.report, service.database.engine, evaluation_id)
    if page is None:
        raise _missing(evaluation_id)
    return html_response(page.decode(), POLICY)


def instant(text: str | None, name: str) -> int | None:
    """A time of the query, microseconds since 1970 UTC. Raises: HttpProblemError."""
    try:
        return observed_at(text)
    except HttpProblemError as error:
        detail = error.problem.detail.replace("field 'observed'", f"parameter {name!r}")
        raise HttpProblemError(bad_parameter(detail)) from None


def _missing(evaluation_id: str) -> HttpProblemError:
    return HttpProblemError(
        not_found(f"there is no evaluation {evaluation_id[:80]!r}, or only its summary; see GET /monitoring/evaluations")
    )


def _summary(item: StoredEvaluation) -> EvaluationSummary:
    known: dict[str, Any] = {name: value for name, value in item.summary.items() if name in EvaluationSummary.__annotations__}
    known |= {name: None if known[name] is None else MetricRange(**known[name]) for name in RANGES}
    known |= {name: tuple(known[name]) for name in ("alarms", "not_computed")}
    known["columns"] = tuple(ColumnChange(**each) for each in known["columns"])
    at = iso_utc(item.at_us, "milliseconds")
    return EvaluationSummary(**known, evaluation_id=item.evaluation_id, stream_id=item.stream_id, at=at, status=item.status)  # type: ignore[arg-type]

"""`POST /predictions/outcomes`: the ground truth of many predictions, as JSON, CSV or Parquet."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl
from fastapi import Request
from pydantic import ValidationError

from sporeprint.errors import DataError
from sporeprint.messages.models import fields
from sporeprint.messages.outcomes import OutcomesResponse, RowOutcome, RowOutcomeRequest
from sporeprint.model_serving.endpoints.predict_batch import RECEIVED, FormatQuery, rows_body
from sporeprint.model_serving.endpoints.predictions import code_of, observed_at, source_of
from sporeprint.model_serving.endpoints.routing import UNREADABLE, DeadlineDep, ServiceDep, problems, router
from sporeprint.model_serving.http.encodings import unpack
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_found, not_valid, overloaded, too_much
from sporeprint.model_serving.http.requests import read_body
from sporeprint.model_serving.http.validation import invalid_fields
from sporeprint.model_serving.runtime.row_parser import check_values, rows_of
from sporeprint.model_serving.runtime.service import Service
from sporeprint.model_serving.runtime.upload_process import UPLOAD, TooLargeError
from sporeprint.model_serving.runtime.uploads import RowFormat, UploadHead, read_upload_head
from sporeprint.schema import DatasetSchema
from sporeprint.storage.oltp.outcomes import OutcomeStatement

routes = router()

ID = "prediction_id"
KNOWN = (ID, *(name for name in fields(RowOutcomeRequest) if name != ID))
#: Most outcomes in a request.
MOST = 1_000_000


@routes.post(
    "/predictions/outcomes",
    responses=problems(*UNREADABLE, 406),
    openapi_extra=rows_body("RowOutcomeRequest", "Columns: prediction_id, outcome and, if known, source and observed."),
)
async def outcomes(request: Request, service: ServiceDep, deadline: DeadlineDep, format: FormatQuery = None) -> OutcomesResponse:  # noqa: A002 -- the parameter's name
    """Report the ground truth of many predictions; an outcome that is not understood has a problem in its place."""
    limit = service.limits.max_batch_mb << 20
    upload = read_upload_head(request.scope, dict.fromkeys(RowFormat, limit), format)
    deadline.put_off(service.limits.batch_deadline_s)
    if service.outcome_uploads >= RECEIVED * service.limits.max_batches:
        raise HttpProblemError(overloaded("too many uploads of outcomes are in flight; try again soon"))
    service.outcome_uploads += 1
    try:
        packed = await read_body(request.receive, limit, service.pace)
        async with service.recording:
            return await asyncio.to_thread(_record, service, upload, packed, limit)
    finally:
        service.outcome_uploads -= 1


def _record(service: Service, upload: UploadHead, packed: bytes, limit: int) -> OutcomesResponse:
    schema, body = service.loader.current.bundle.schema, unpack(upload.encoding, packed, limit)
    read = [_read(row, schema) for row in _rows(service, body, upload.form)]
    done = iter(service.database.record_outcomes([each for each in read if isinstance(each, OutcomeStatement)]))
    results: list[RowOutcome] = []
    for number, each in enumerate(read):
        if isinstance(each, Problem):
            results.append(RowOutcome(row=number, problem=each.document()))
        elif (recorded := next(done)) is None:
            missing = not_found(f"there is no prediction {each.prediction_id!r}; GET /predictions lists them")
            results.append(RowOutcome(row=number, prediction_id=each.prediction_id, problem=missing.document()))
        else:
            revision, created = recorded.outcome.revision, recorded.created
            results.append(RowOutcome(row=number, prediction_id=each.prediction_id, revision=revision, created=created))
    refused = sum(each.problem is not None for each in results)
    created_rows = sum(each.created for each in results)
    return OutcomesResponse(
        rows=len(results),
        created=created_rows,
        unchanged=len(results) - created_rows - refused,
        problems=refused,
        results=tuple(results),
    )


def _rows(service: Service, body: bytes, form: RowFormat) -> Sequence[Any]:
    if form.is_json:
        check_values(body, service.limits.upload_memory_mb << 20)
        rows: Sequence[Any] = rows_of(body, form)
    else:
        frame = _table(service, body, form)
        if frame.height <= MOST:
            rows = frame.to_dicts()
        else:
            raise HttpProblemError(_too_many(frame.height))
    if len(rows) > MOST:
        raise HttpProblemError(_too_many(len(rows)))
    return rows


def _too_many(rows: int) -> Problem:
    return too_much(f"{rows:,} outcomes are given, at most {MOST:,} may be")


def _table(service: Service, body: bytes, form: RowFormat) -> pl.DataFrame:
    try:
        frame = _decoded(service, body)
    except TooLargeError as error:
        raise HttpProblemError(too_much(f"{UPLOAD} is too large: {error}")) from None
    except DataError as error:
        raise HttpProblemError(not_valid(f"{error}; this was read as {form.value}")) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise HttpProblemError(not_valid(f"the upload is no table that can be read as {form.value}")) from error
    frame = frame.rename({name: known for name in frame.columns if (known := name.replace("-", "_")) in KNOWN})
    frame = frame.select(name for name in frame.columns if name)  # a column without a name, as pandas writes its index, says nothing
    if missing := [name for name in (ID, "outcome") if name not in frame.columns]:
        raise HttpProblemError(not_valid(f"the upload has no column {missing[0]!r}; known: {', '.join(KNOWN)}"))
    try:
        return frame.with_columns(pl.col(name).cast(pl.String) for name in KNOWN if name in frame.columns and name != "observed")
    except pl.exceptions.PolarsError:
        raise HttpProblemError(not_valid("prediction_id, outcome and source are texts")) from None


def _decoded(service: Service, body: bytes) -> pl.DataFrame:
    with service.database.store.part("upload") as path:
        path.write_bytes(body)
        return service.decoder.decode_table(path)


def _read(row: Any, schema: DatasetSchema) -> OutcomeStatement | Problem:
    if not isinstance(row, Mapping):
        return not_valid('expected a JSON object, as in {"prediction_id": ..., "outcome": ...}')
    observed = row.get("observed")
    if isinstance(observed, datetime):  # of Parquet
        row = {**row, "observed": observed.isoformat()}
    try:
        statement = RowOutcomeRequest.model_validate(row)
    except ValidationError as error:
        return invalid_fields(error.errors(), KNOWN)
    try:
        return OutcomeStatement(
            statement.prediction_id, code_of(statement.outcome, schema), source_of(statement.source), observed_at(statement.observed)
        )
    except HttpProblemError as error:
        return error.problem

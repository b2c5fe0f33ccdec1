"""`POST /predictions/outcomes`: what turned out to be true of many predictions, as JSON, CSV or Parquet."""

import asyncio
import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from sporeprint.errors import nearest
from sporeprint.model_serving.endpoints.status import FIELDS, code_of, observed_at, source_of
from sporeprint.model_serving.http.problems import Problem, ProblemError, not_found, not_json, not_valid
from sporeprint.model_serving.http.requests import Receive, Scope, Send, query, read_body, respond_json
from sporeprint.model_serving.runtime.row_parser import parse_json
from sporeprint.model_serving.runtime.service import Service
from sporeprint.model_serving.runtime.uploads import RowFormat, read_upload_head
from sporeprint.schema import DatasetSchema
from sporeprint.storage.oltp.outcomes import OutcomeStatement
from sporeprint.storage.prediction_record import MAX_ID

ID = "prediction_id"
KNOWN = (ID, *FIELDS)
#: Most outcomes in a request.
MOST = 1_000_000


async def outcomes(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Take many outcomes; one that cannot be understood has a problem in its place and does not harm the others."""
    hint = query(scope, ("format",)).get("format")
    limit = service.limits.max_batch_mb << 20
    upload = read_upload_head(scope, dict.fromkeys(RowFormat, limit), hint)
    scope["deadline"].reschedule(asyncio.get_running_loop().time() + service.limits.batch_deadline_s)
    body = await read_body(receive, limit)
    found = await asyncio.to_thread(_work, service, body, upload.given)
    await respond_json(send, found)
    return 200


def _work(service: Service, body: bytes, form: RowFormat) -> dict[str, Any]:
    schema = service.loader.current.bundle.schema
    read = [_read(row, schema) for row in _rows(body, form)]
    done = iter(service.database.record_outcomes([each for each in read if isinstance(each, OutcomeStatement)]))
    results: list[dict[str, Any]] = []
    for number, each in enumerate(read):
        if isinstance(each, Problem):
            results.append({"row": number, "problem": each.to_dict()})
        elif (recorded := next(done)) is None:
            missing = not_found(f"there is no prediction {each.prediction_id!r}")
            results.append({"row": number, ID: each.prediction_id, "problem": missing.to_dict()})
        else:
            said = {"revision": recorded.outcome.revision, "created": recorded.created}
            results.append({"row": number, ID: each.prediction_id, **said})
    problems = sum("problem" in each for each in results)
    created = sum(each.get("created", False) for each in results)
    unchanged = len(results) - created - problems
    return {"rows": len(results), "created": created, "unchanged": unchanged, "problems": problems, "results": results}


def _rows(body: bytes, form: RowFormat) -> Sequence[Any]:
    if form is RowFormat.JSON:
        given = parse_json(body)
        if isinstance(given, dict) and set(given) == {"rows"}:
            given = given["rows"]
        if not isinstance(given, list):
            raise ProblemError(not_json('expected a JSON list of outcomes, as in [{"prediction_id": ..., "outcome": ...}]'))
        rows: Sequence[Any] = given
    else:
        frame = _table(body, form)
        if frame.height <= MOST:
            rows = frame.to_dicts()
        else:
            raise ProblemError(_too_many(frame.height))
    if len(rows) > MOST:
        raise ProblemError(_too_many(len(rows)))
    return rows


def _too_many(rows: int) -> Problem:
    return Problem(413, "too-many-rows", "There are too many outcomes", f"{rows:,} outcomes are given, at most {MOST:,} may be")


def _table(body: bytes, form: RowFormat) -> pl.DataFrame:
    try:
        if form is RowFormat.CSV:
            frame = pl.read_csv(io.BytesIO(body), infer_schema=False)
        else:
            rows = pl.scan_parquet(io.BytesIO(body)).select(pl.len()).collect().item()
            if rows > MOST:
                raise ProblemError(_too_many(rows))
            frame = pl.read_parquet(io.BytesIO(body))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ProblemError(not_valid(f"the upload is no table that can be read as {form.value}")) from error
    if missing := [name for name in (ID, "outcome") if name not in frame.columns]:
        raise ProblemError(not_valid(f"the upload has no column {missing[0]!r}; known: {', '.join(KNOWN)}"))
    try:
        return frame.with_columns(pl.col(name).cast(pl.String) for name in KNOWN if name in frame.columns and name != "observed")
    except pl.exceptions.PolarsError:
        raise ProblemError(not_valid("prediction_id, outcome and source are texts")) from None


def _read(row: Any, schema: DatasetSchema) -> OutcomeStatement | Problem:
    if not isinstance(row, Mapping):
        return not_valid('expected a JSON object, as in {"prediction_id": ..., "outcome": ...}')
    if unknown := [name for name in row if name not in KNOWN]:
        near = nearest(unknown[0][:40], KNOWN)
        return not_valid(f"unknown field {unknown[0][:40]!r}{near}; known: {', '.join(KNOWN)}")
    prediction_id = row.get(ID)
    if not isinstance(prediction_id, str) or not 0 < len(prediction_id) <= MAX_ID or not prediction_id.isascii():
        return not_valid(f"field 'prediction_id': expected a text of 1 to {MAX_ID} characters, as it was answered")
    observed = row.get("observed")
    try:
        observed_us = observed_at(observed.isoformat() if isinstance(observed, datetime) else observed)
        return OutcomeStatement(prediction_id, code_of(row.get("outcome"), schema), source_of(row.get("source")), observed_us)
    except ProblemError as error:
        return error.problem

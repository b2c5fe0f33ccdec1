"""`POST /predict/batch`: a file of rows, answered as `sporeprint predict` answers it, kept as one artefact, then given from there."""

import asyncio
import contextlib
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import polars as pl
from fastapi import Query, Request, Response

from sporeprint.common.parallel import ahead
from sporeprint.errors import DataError
from sporeprint.ingestion.file_formats import kind_of
from sporeprint.ingestion.raw_batch import Batch, malformed_rows
from sporeprint.model_serving.endpoints.predict import REPLAYED, AbTestQuery, ModelQuery, id_of_key, new_id
from sporeprint.model_serving.endpoints.predictions import IdempotencyKey
from sporeprint.model_serving.endpoints.routing import UNREADABLE, CallerDep, DeadlineDep, ServiceDep, problems, router
from sporeprint.model_serving.endpoints.stored_batch import StoredBatchResponse
from sporeprint.model_serving.http.problems import HttpProblemError, Problem, not_found, not_valid, overloaded, too_large, too_much
from sporeprint.model_serving.http.requests import Receive
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.model_serving.runtime.metrics import EMPTY, NOT_OBSERVED
from sporeprint.model_serving.runtime.row_parser import Row, check_values, rows_of
from sporeprint.model_serving.runtime.service import Service
from sporeprint.model_serving.runtime.upload_process import UPLOAD, TooLargeError
from sporeprint.model_serving.runtime.uploads import RowFormat, UploadHead, file_of_form, read_upload_head, spool
from sporeprint.pipelines.batch_prediction import beside, score_frame
from sporeprint.schema import ANSWERS, ID, PROBLEM, DatasetSchema
from sporeprint.storage.oltp.batch_file import BatchDraft, BatchInfo, frames

routes = router()

#: Kinds of files that rows can come and go in.
FILES = ("text/csv", "application/vnd.apache.parquet")
#: Further kinds that rows can come in.
MORE = ("application/x-ndjson", "multipart/form-data")
FormatQuery = Annotated[RowFormat | None, Query(description="Of a body whose content type is application/octet-stream.")]
#: Batches that are received at a time, for each that is scored.
RECEIVED = 4
#: Rows that are scored at a time, rows of JSON.
ROWS, SCORED_ROWS = 65_536, 16_384


class StoppedError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class Job:
    """One batch to be scored.

    Attributes:
        served: who answers.
        batch_id: its id.
        form: format of the body.
        upload: the body.
        sha256: of the body.
        created_us: when it was asked for.
        begin: the same, by a clock that only goes forward, nanoseconds.
        stop: set when nobody waits any more.
        frame: the rows, where they are in memory; then there is no upload.
    """

    served: LoadedModel
    batch_id: str
    form: RowFormat
    upload: Path
    sha256: str
    created_us: int
    begin: int
    stop: threading.Event
    frame: pl.DataFrame | None = None


def rows_body(row: str, columns: str) -> dict[str, Any]:
    """A body that is a list of rows in JSON, or a file, for the OpenAPI document."""
    rows = {"type": "array", "items": {"$ref": f"#/components/schemas/{row}"}}
    wrapped = {"type": "object", "properties": {"rows": rows}, "required": ["rows"], "additionalProperties": False}
    files = {media: {"schema": {"type": "string", "format": "binary", "description": columns}} for media in FILES}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": {"oneOf": [rows, wrapped]}}, **files}}}


@routes.post(
    "/predict/batch",
    response_class=Response,
    responses={
        **problems(*UNREADABLE, 406, 501),
        200: {
            "description": "The predictions, in the order of the rows",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/BatchResponse"}},
                **{media: {"schema": {"type": "string", "format": "binary"}} for media in FILES},
            },
        },
    },
    openapi_extra=rows_body("RowRequest", "The columns are named as the features; others are kept."),
)
async def predict_batch(
    request: Request,
    service: ServiceDep,
    caller: CallerDep,
    deadline: DeadlineDep,
    model: ModelQuery = None,
    ab_test: AbTestQuery = None,
    explain: Annotated[bool, Query(description="A batch is not explained.")] = False,
    format: FormatQuery = None,  # noqa: A002 -- the parameter's name
    key: IdempotencyKey = None,  # noqa: ARG001 -- the headers of an upload are read together
) -> Response:
    """Predict many rows; a row that is not understood has a problem in its place."""
    begin, created_us = perf_counter_ns(), time.time_ns() // 1000
    limits = service.limits
    json_bytes, file_bytes = limits.max_batch_mb << 20, limits.max_upload_mb << 20
    sizes = {form: json_bytes if form.is_json else file_bytes for form in RowFormat}
    upload = read_upload_head(request.scope, sizes, format, forms=True)
    if ab_test is not None:
        raise HttpProblemError(not_found("a batch takes no part in an A/B test; ask row by row at POST /predict?ab_test=NAME"))
    if explain:
        raise HttpProblemError(not_found("a batch is not explained; ask for the rows that matter at POST /predict?explain=true"))
    if service.batches >= RECEIVED * limits.max_batches:
        raise HttpProblemError(overloaded("too many batches are in flight; try again soon"))
    service.batches += 1
    try:
        deadline.put_off(limits.batch_deadline_s)
        served = await _served(service, model)
        about, replayed = await _answered(service, served, upload, caller.name, request.receive, (begin, created_us))
        deadline.lift()  # from here on each part has its own
    finally:
        service.batches -= 1
    request.scope["request_context"].answered(about.model, about.version, about.batch_id)
    return StoredBatchResponse(service, about, upload.response_form, REPLAYED if replayed else ())


async def _served(service: Service, name: str | None) -> LoadedModel:
    return service.loader.current if name is None else await service.loader.get(name)


async def _answered(
    service: Service, served: LoadedModel, upload: UploadHead, caller: str, receive: Receive, since: tuple[int, int]
) -> tuple[BatchInfo, bool]:
    """The batch on the disk, and whether it had been there before."""
    store = service.database.store
    batch_id = new_batch_id() if upload.key is None else id_of_key(caller, upload.key)
    with store.part("upload") as path:
        request_hash = await spool(receive, path, upload.limit, service.pace, upload.encoding)
        if upload.boundary is not None:
            with store.part("upload") as body:
                path.replace(body)
                form = await asyncio.to_thread(file_of_form, body, upload.boundary, path)
            upload = replace(upload, form=form)
            if form.is_json and path.stat().st_size > service.limits.max_batch_mb << 20:
                raise HttpProblemError(too_large(service.limits.max_batch_mb << 20))
        async with service.lock(batch_id):
            if upload.key is not None and (earlier := await asyncio.to_thread(store.about, batch_id)) is not None:
                _check_request(earlier, request_hash)
                return earlier, True
            async with service.scoring:
                job = Job(served, batch_id, upload.form, path, request_hash, since[1], since[0], threading.Event())
                about, counts = await _scored(service, job)
            existing = await asyncio.to_thread(store.about, batch_id)
    if existing is None:  # it was written a moment ago
        raise HttpProblemError(overloaded("the batch was removed while it was answered; send it again"))
    _check_request(existing, request_hash)  # another worker may have been first
    service.database.registrar.wake()
    service.metrics.count_batch(about.model, about.version, about.verdicts, counts.unseen, counts.cells)
    return existing, existing != about


def _check_request(batch: BatchInfo, request_hash: str) -> None:
    if batch.asked != request_hash:
        detail = "this Idempotency-Key was used for another batch; use a new key for a new one"
        raise HttpProblemError(Problem(422, "key-used", "The key was used for another request", detail))


async def predict_frame(service: Service, served: LoadedModel, frame: pl.DataFrame) -> tuple[BatchInfo, pl.DataFrame]:
    """Predict rows that are in memory, and keep them as a batch.

    Args:
        service: the service.
        served: the version that predicts.
        frame: the columns of its schema, nominal ones as text.

    Returns:
        The batch, and its ids and predictions, in the order of the rows. A row that breaks a rule has a reason and no prediction.
    """
    if service.batches >= RECEIVED * service.limits.max_batches:
        raise HttpProblemError(overloaded("too many batches are in flight; try again soon"))
    service.batches += 1
    try:
        async with service.scoring:
            since = time.time_ns() // 1000, perf_counter_ns()
            job = Job(served, new_batch_id(), RowFormat.JSON, Path(), "", *since, threading.Event(), frame)
            about, counts = await _scored(service, job)
        path = service.database.store.path(about.batch_id)
        answers = await asyncio.to_thread(lambda: pl.concat(frames(path, [ID, *ANSWERS])))
    finally:
        service.batches -= 1
    service.database.registrar.wake()
    service.metrics.count_batch(about.model, about.version, about.verdicts, counts.unseen, counts.cells)
    return about, answers


def new_batch_id() -> str:
    """An id that no other has, and that sorts by time."""
    return new_id()[:32]


# --- scoring -------------------------------------------------------------------------------------------------------------


async def _scored(service: Service, job: Job) -> tuple[BatchInfo, "BatchCounts"]:
    """Score in a thread; who is cancelled waits until the thread has seen it, as it works on files that go then."""
    task = asyncio.ensure_future(asyncio.to_thread(_score, service, job))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        job.stop.set()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


@dataclass(frozen=True)
class BatchCounts:
    """What is counted of a batch beside its verdicts.

    Attributes:
        unseen: column -> values that were new.
        cells: kind and column -> cells without a value.
    """

    unseen: Counter[str]
    cells: Counter[tuple[str, str]]


def _cells(part: "Part", schema: DatasetSchema) -> dict[tuple[str, str], int]:
    """The cells without a value, by kind and column."""
    frame, absent, counts = part.batch.frame, part.absent, {}
    for name in schema.columns:
        missing = frame.height if name not in frame.columns else int(absent[name].sum()) if name in absent else 0
        counts[NOT_OBSERVED, name] = missing
        counts[EMPTY, name] = frame[name].null_count() - missing if name in frame.columns else 0
    return counts


def _score(service: Service, job: Job) -> tuple[BatchInfo, BatchCounts]:
    store, bundle = service.database.store, job.served.bundle
    verdicts: Counter[str] = Counter()
    counts = BatchCounts(Counter(), Counter())
    rows = problems = 0
    columns: tuple[str, ...] = ()

    def work(part: Part) -> tuple[pl.DataFrame, tuple[str, ...], dict[tuple[str, str], int]]:
        return _result(part, job), tuple(name for name in part.batch.frame.columns if name != "_row"), _cells(part, bundle.schema)

    with store.part("artefact") as path, contextlib.ExitStack() as stack:
        draft = BatchDraft(path)
        stack.callback(draft.close, None)
        try:
            for frame, named, cells in ahead(work, _parts(service, job), workers=len(os.sched_getaffinity(0))):
                draft.write(frame)
                columns = named
                verdicts.update(_counts(frame["verdict"]))
                counts.cells.update(cells)
                counts.unseen.update(_counts(frame["unseen"].drop_nulls().str.split(",").explode()))
                rows, problems = rows + frame.height, problems + frame["prediction"].null_count()
        except DataError as error:
            raise HttpProblemError(not_valid(str(error).replace(str(job.upload), UPLOAD))) from None
        except TooLargeError as error:
            raise HttpProblemError(too_much(f"{UPLOAD} is too large: {error}")) from None
        except pl.exceptions.PanicException as error:
            raise HttpProblemError(not_valid(f"{UPLOAD} cannot be read; is it damaged?")) from error
        about = BatchInfo(
            batch_id=job.batch_id,
            created_us=job.created_us,
            model=job.served.ref.name,
            version=job.served.ref.version,
            threshold=bundle.safety.threshold.value,
            simulated=job.served.simulated,
            rows=rows,
            problems=problems,
            verdicts=dict(verdicts),
            latency_us=(perf_counter_ns() - job.begin) // 1000,
            worker=service.worker,
            given="json" if job.form.is_json else job.form.value,
            columns=columns,
            asked=job.sha256,
        )
        draft.close(about)
        store.publish(path, job.batch_id)
    return about, counts


def _counts(values: pl.Series) -> dict[str, int]:
    return dict(values.value_counts().iter_rows())


@dataclass(frozen=True)
class Part:
    """Rows that are scored at a time.

    Attributes:
        batch: the rows.
        refused: of rows of JSON the problem of each; None for others.
        absent: column -> bool [n], the rows of JSON that have no such member.
    """

    batch: Batch
    refused: Sequence[Problem | None] | None = None
    absent: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)


def _parts(service: Service, job: Job) -> Iterator[Part]:
    """The rows, some at a time."""
    for part in _sources(service, job):
        if job.stop.is_set():
            raise StoppedError
        yield part


def _sources(service: Service, job: Job) -> Iterator[Part]:
    if job.frame is not None:
        return _of_frame(job.frame)
    return _of_json(service, job) if job.form.is_json else _of_file(service, job)


def _of_frame(frame: pl.DataFrame) -> Iterator[Part]:
    numbered = frame.insert_column(0, pl.Series("_row", range(frame.height), dtype=pl.Int64))
    for part in numbered.iter_slices(SCORED_ROWS):
        yield Part(Batch(part, malformed_rows(), 0))


def _of_file(service: Service, job: Job) -> Iterator[Part]:
    schema = job.served.bundle.schema
    if (kind := kind_of(job.upload, UPLOAD)) != job.form:
        raise DataError(f"{UPLOAD} is {kind}, and Content-Type says {job.form.value}; send the type of the file")
    for batch in service.decoder.decode(job.upload, schema, job.served.bundle.csv):
        if batch.malformed.height or not batch.frame.height:
            yield Part(batch)
        else:
            for frame in batch.frame.iter_slices(ROWS):
                yield Part(Batch(frame, malformed_rows(), 0))


def _of_json(service: Service, job: Job) -> Iterator[Part]:
    body = job.upload.read_bytes()
    check_values(body, service.limits.upload_memory_mb << 20)
    rows_in, most = rows_of(body, job.form), service.limits.max_batch_rows
    if len(rows_in) > most:
        raise HttpProblemError(_too_many(len(rows_in), most))
    schema, read = job.served.bundle.schema, job.served.reader.row
    for begin in range(0, max(1, len(rows_in)), SCORED_ROWS):
        rows: list[Row] = []
        problems: list[Problem | None] = []
        for row in rows_in[begin : begin + SCORED_ROWS]:
            parsed, problem = _read(row, read)
            rows.append(parsed)
            problems.append(problem)
        absent = {name: np.array([name not in row for row in rows]) for name in schema.columns}
        absent = {name: flags for name, flags in absent.items() if flags.any()}
        yield Part(Batch(_frame(rows, schema, begin), malformed_rows(), 0), problems, absent)


def _read(row: Any, read: Callable[[dict[str, Any]], Row]) -> tuple[Row, Problem | None]:
    if not isinstance(row, dict):
        return {}, not_valid("expected a JSON object of features")
    try:
        return read(row), None
    except HttpProblemError as error:
        return {}, error.problem


def _frame(rows: Sequence[Row], schema: DatasetSchema, first: int) -> pl.DataFrame:
    columns = {name: [row.get(name) for row in rows] for name in schema.columns}
    frame = pl.DataFrame(columns, schema={name: pl.Float64 if name in schema.numeric else pl.String for name in columns})
    return frame.insert_column(0, pl.Series("_row", range(first, first + len(rows)), dtype=pl.Int64))


def _too_many(rows: int, most: int) -> Problem:
    return too_much(f"{rows:,} rows are given, at most {most:,} may be")


def _result(part: Part, job: Job) -> pl.DataFrame:
    """Ids, the columns given and the answers; what could not be read stands at its place, with the reason."""
    batch, bundle = part.batch, job.served.bundle
    # Elsewhere an empty cell is no observation either.
    telling = frozenset() if bundle.safety.partial is None else bundle.safety.partial.layout.informative
    absent = {name: flags for name, flags in part.absent.items() if name in telling}
    scored = score_frame(batch.frame, bundle, absent=absent) if batch.frame.height else _NOTHING
    if part.refused is not None:
        scored = _with_problems(scored, part.refused)
    result = beside(batch.frame, scored, bundle.schema, further=(ID, PROBLEM))
    if batch.malformed.height:
        reason = pl.format("{}: {}", pl.col("reason"), pl.col("text")).alias("reason")
        unread = batch.malformed.select("_row", pl.lit("unknown").alias("verdict"), reason)
        result = pl.concat([result, unread], how="diagonal").sort("_row")
    return result.select(pl.format(f"{job.batch_id}:{{}}", "_row").alias(ID), pl.exclude("_row"))


_NOTHING = pl.DataFrame(schema={name: pl.Float64 if name in ("probability", "novelty_p") else pl.String for name in ANSWERS})


def _with_problems(scored: pl.DataFrame, refused: Sequence[Problem | None]) -> pl.DataFrame:
    documents = [None if problem is None else problem.to_bytes().decode() for problem in refused]
    scored = scored.with_columns(pl.Series(PROBLEM, documents, dtype=pl.String))
    if not any(refused):
        return scored
    details = pl.Series("detail", [None if problem is None else problem.detail for problem in refused], dtype=pl.String)
    fine = pl.col(PROBLEM).is_null()
    scores = [pl.when(fine).then(pl.col(name)).alias(name) for name in ANSWERS if name not in ("verdict", "reason")]
    verdict = pl.when(fine).then(pl.col("verdict")).otherwise(pl.lit("unknown")).alias("verdict")
    return scored.with_columns(*scores, verdict, pl.when(fine).then(pl.col("reason")).otherwise(details).alias("reason"))

"""`/batches`: what was predicted as a file, how it turned out in numbers, and the file itself."""

import asyncio
from dataclasses import fields
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response

from sporeprint.common.timestamps import iso_utc
from sporeprint.messages.prediction_search import BatchDetails, BatchList, BatchSummary
from sporeprint.model_serving.endpoints.predict_batch import FILES
from sporeprint.model_serving.endpoints.prediction_search import batch_info, cursor, position
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router
from sporeprint.model_serving.endpoints.stored_batch import StoredBatchResponse
from sporeprint.model_serving.runtime.service import Service
from sporeprint.model_serving.runtime.uploads import RowFormat
from sporeprint.storage.oltp.batch_search import BatchEntry, listed

routes = router()

BatchId = Annotated[str, Path(description="As it was answered.", max_length=200)]
Limit = Annotated[int, Query(description="At most so many.", ge=1, le=200)]
Before = Annotated[str | None, Query(description="`next` of the page before.", max_length=40)]
#: Forms in which a batch can be had.
Form = Annotated[RowFormat, Query(alias="format", description="In which form.")]


@routes.get("/batches")
async def batches(service: ServiceDep, limit: Limit = 50, before: Before = None) -> BatchList:
    """The stored batches, the latest first. One that the database does not have yet is listed seconds later."""
    entries = await service.database.executor.run(listed, service.database.engine, limit=limit, before=position(before))
    following = cursor(entries[-1].position) if len(entries) == limit else None
    return BatchList(batches=tuple(_summary(entry) for entry in entries), next=following)


def _summary(entry: BatchEntry) -> BatchSummary:
    same: dict[str, Any] = {item.name: getattr(entry, item.name) for item in fields(entry) if item.name != "position"}
    return BatchSummary(created=iso_utc(entry.position.created_us, "milliseconds"), **same)


@routes.get("/batches/{batch_id}", responses=problems(404))
async def batch(batch_id: BatchId, service: ServiceDep) -> BatchDetails:
    """What a stored batch is, as its file says it."""
    about = await batch_info(service, batch_id)
    path = service.database.store.path(batch_id)
    size = await asyncio.to_thread(lambda: path.stat().st_size)
    return BatchDetails(
        batch_id=batch_id,
        created=iso_utc(about.created_us, "milliseconds"),
        model=about.model,
        version=about.version,
        rows=about.rows,
        verdicts=about.verdicts,
        bytes=size,
        sha256=None,
        problems=about.problems,
        threshold=about.threshold,
        simulated=about.simulated,
        form=about.given,
        columns=about.columns,
        seconds=about.latency_us / 1e6,
    )


@routes.get(
    "/batches/{batch_id}/file",
    response_class=Response,
    responses={
        **problems(404),
        200: {
            "description": "Every row with its prediction",
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/BatchResponse"}},
                **{media: {"schema": {"type": "string", "format": "binary"}} for media in FILES},
            },
        },
    },
)
async def batch_file(batch_id: BatchId, request: Request, service: ServiceDep, form: Form = RowFormat.PARQUET) -> Response:
    """The rows of a stored batch with their predictions, as a file."""
    await request.body()  # what comes after it is that the client hangs up
    return await stored_batch(batch_id, service, form)


async def stored_batch(batch_id: str, service: Service, form: RowFormat) -> Response:
    """A stored batch as a file. Raises: HttpProblemError."""
    about = await batch_info(service, batch_id)
    form = RowFormat.JSON if form.is_json else form
    name = f"attachment; filename={batch_id}.{form}"
    return StoredBatchResponse(service, about, form, ((b"content-disposition", name.encode()),))

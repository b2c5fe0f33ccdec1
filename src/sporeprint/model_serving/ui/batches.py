"""`/ui/batches`: what was predicted as a file, how it turned out in numbers, and the file itself."""

from sporeprint.model_serving.endpoints.batches import batch, batches, stored_batch
from sporeprint.model_serving.http.problems import HttpProblemError, not_valid
from sporeprint.model_serving.runtime.uploads import RowFormat
from sporeprint.model_serving.ui.page_endpoint import Answer, Page, PageRequest, PageResponse
from sporeprint.model_serving.ui.predictions import class_words

#: Forms in which a batch can be had.
FORMS = (RowFormat.CSV, RowFormat.PARQUET, RowFormat.JSON)


async def show_batches(request: PageRequest) -> PageResponse:
    """The stored batches, the latest first."""
    listing = await batches(request.service, limit=50, before=request.query.get("before") or None)
    return PageResponse("batches.html.j2", {"listing": listing, **class_words(request.service.loader.current.bundle.schema)})


async def show_batch(request: PageRequest) -> PageResponse:
    """One batch."""
    known = await batch(request.path["batch_id"], request.service)
    words = class_words(request.service.loader.current.bundle.schema)
    return PageResponse("batch.html.j2", {"batch": known, "forms": [each.value for each in FORMS], **words})


async def download_batch(request: PageRequest) -> Answer:
    """A batch as a file."""
    form = request.query.get("format", RowFormat.CSV.value)
    if form not in FORMS:
        raise HttpProblemError(not_valid(f"field 'format': expected one of {', '.join(FORMS)}; got {form[:40]!r}"))
    return await stored_batch(request.path["batch_id"], request.service, RowFormat(form))


BATCH_PAGES: tuple[Page, ...] = (
    ("ui_batches", "GET", "/batches", show_batches),
    ("ui_batch", "GET", "/batches/{batch_id}", show_batch),
    ("ui_batch_file", "GET", "/batches/{batch_id}/file", download_batch),
)

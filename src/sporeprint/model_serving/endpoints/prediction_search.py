"""`GET /predictions`: predictions that pass a filter, the latest first, in bounded time."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Query

from sporeprint.common.timestamps import iso_utc
from sporeprint.errors import nearest
from sporeprint.messages.prediction_search import PredictionEntry, PredictionList, PredictionSearchRequest
from sporeprint.model_serving.endpoints.predictions import in_words, time_us
from sporeprint.model_serving.endpoints.routing import ServiceDep, problems, router
from sporeprint.model_serving.http.problems import HttpProblemError, bad_parameter, not_found
from sporeprint.model_serving.runtime.loaded_model import LoadedModel
from sporeprint.model_serving.runtime.service import Service
from sporeprint.safety.verdict import verdict_words
from sporeprint.schema import DatasetSchema
from sporeprint.storage.oltp.batch_file import BATCH_ID, BatchInfo, input_columns
from sporeprint.storage.oltp.batch_index import names
from sporeprint.storage.oltp.batch_search import BatchRows, batch_rows
from sporeprint.storage.oltp.prediction_search import ANY, Position, PredictionRow, SearchFilter, search
from sporeprint.web.names import label_of

routes = router()

#: Columns of a row that a line of the list names.
TELLING = 3
#: Filters that go with a batch.
OF_A_BATCH = {"batch_id", "verdict", "unseen", "limit", "before"}


@routes.get("/predictions", name="prediction_search", responses=problems(404, 422))
async def search_predictions(chosen: Annotated[PredictionSearchRequest, Query()], service: ServiceDep) -> PredictionList:
    """Predictions that pass a filter, the latest first. Those that the database does not have yet are listed seconds later."""
    known = verdict_words(service.loader.current.bundle.schema)
    if chosen.verdict is not None and chosen.verdict not in known:
        near = nearest(chosen.verdict, known)
        raise HttpProblemError(bad_parameter(f"parameter 'verdict': expected one of {', '.join(known)}{near}; got {chosen.verdict[:40]!r}"))
    if chosen.batch_id is not None:
        return await _search_batch(service, chosen, chosen.batch_id)
    fields = chosen.model_dump(exclude={"since", "until", "batch_id", "limit", "before"})
    since_us, until_us = time_us(chosen.since, "since"), time_us(chosen.until, "until")
    page = await service.database.executor.run(
        search,
        service.database.engine,
        SearchFilter(since_us=since_us, until_us=until_us, **fields),
        _codes(service.loader.current.bundle.schema),
        limit=chosen.limit,
        before=position(chosen.before),
    )
    served = service.loader.current
    telling = await asyncio.to_thread(lambda: served.telling_columns)
    place = page.scanned_to
    return PredictionList(
        predictions=tuple(_entry(row, served, telling) for row in page.rows),
        scanned_to=None if place is None else iso_utc(place.created_us, "milliseconds"),
        next=None if place is None else cursor(place),
    )


def _codes(schema: DatasetSchema) -> Mapping[str, str]:
    """Verdict -> code of the class that it names."""
    return {word: code for code, word in schema.target.values.items()}


def position(text: str | None) -> Position | None:
    """A place in a list, as `cursor` writes it. Raises: HttpProblemError."""
    if text is None:
        return None
    created, dash, seq = text.partition("-")
    if not (dash and created.isdecimal() and seq.isdecimal() and text.isascii() and len(text) < 40):
        raise HttpProblemError(bad_parameter(f"parameter 'before': expected `next` of the page before, got {text[:40]!r}"))
    return Position(int(created), int(seq))


def cursor(place: Position) -> str:
    """A place in a list, as the next call names it."""
    return f"{place.created_us}-{place.seq}"


def _entry(row: PredictionRow, served: LoadedModel, telling: Sequence[str]) -> PredictionEntry:
    schema = served.bundle.schema
    code = _codes(schema).get(row.verdict)
    arm: Any = row.arm
    return PredictionEntry(
        prediction_id=row.prediction_id,
        created=iso_utc(row.position.created_us, "milliseconds"),
        verdict=row.verdict,
        model=row.model,
        version=row.version,
        novelty_p=row.novelty_p,
        unseen=row.unseen,
        outcome=row.outcome,
        right=None if code is None or row.outcome is None else code == row.outcome,
        revision=row.revision,
        test_id=row.test_id,
        arm=arm,
        unit_id=row.unit_id,
        batch_id=None,
        says=_says(row.features, schema, telling),
    )


def _says(features: Mapping[str, Any], schema: DatasetSchema, telling: Sequence[str]) -> tuple[str, ...]:
    """The columns that say most, of those that the row has, in words; of another table's row its first ones."""
    present = [name for name in telling if features.get(name) is not None] or [
        name for name, value in features.items() if value is not None
    ]
    return tuple(f"{label_of(name)}: {in_words(features[name], name, schema)}" for name in present[:TELLING])


async def _search_batch(service: Service, chosen: PredictionSearchRequest, batch_id: str) -> PredictionList:
    if others := sorted(chosen.model_fields_set - OF_A_BATCH):
        raise HttpProblemError(bad_parameter(f"parameter {others[0]!r}: rows of a batch are searched by verdict and unseen alone"))
    if chosen.before is not None and not chosen.before.isdecimal():
        raise HttpProblemError(bad_parameter(f"parameter 'before': expected `next` of the page before, got {chosen.before[:40]!r}"))
    about = await batch_info(service, batch_id)

    def passes(row: Mapping[str, Any]) -> bool:
        if row["prediction"] is None or (chosen.verdict is not None and row["verdict"] != chosen.verdict):
            return False
        unseen = names(row["unseen"])
        return chosen.unseen is None or (bool(unseen) if chosen.unseen == ANY else chosen.unseen in unseen)

    store, first = service.database.store, int(chosen.before or 0)
    rows: BatchRows = await asyncio.to_thread(batch_rows, store, batch_id, passes, first=first, limit=chosen.limit)
    served = service.loader.current
    telling = await asyncio.to_thread(lambda: served.telling_columns)
    created = iso_utc(about.created_us, "milliseconds")
    kind: Literal["a", "b"] | None = None
    return PredictionList(
        predictions=tuple(
            PredictionEntry(
                prediction_id=f"{batch_id}:{number}",
                created=created,
                verdict=row["verdict"],
                model=about.model,
                version=about.version,
                novelty_p=row["novelty_p"],
                unseen=names(row["unseen"]),
                outcome=None,
                right=None,
                revision=0,
                test_id=None,
                arm=kind,
                unit_id=None,
                batch_id=batch_id,
                says=_says({name: row[held] for name, held in input_columns(list(row), about).items()}, served.bundle.schema, telling),
            )
            for number, row in rows.rows
        ),
        scanned_to=None if rows.scanned_to is None else created,
        next=None if rows.scanned_to is None else str(rows.scanned_to),
    )


async def batch_info(service: Service, batch_id: str) -> BatchInfo:
    """What a batch is. Raises: HttpProblemError."""
    about = await asyncio.to_thread(service.database.store.about, batch_id) if BATCH_ID.fullmatch(batch_id) else None
    if about is None:
        raise HttpProblemError(not_found(f"there is no batch {batch_id[:64]!r}"))
    return about

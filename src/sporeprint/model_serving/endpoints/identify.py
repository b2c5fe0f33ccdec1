"""`POST /identify`: where the identification of one thing stands. Nothing is stored: a question is no prediction."""

import asyncio
from dataclasses import fields

from sporeprint.errors import DataError
from sporeprint.inference.identification import identify_row
from sporeprint.inference.predictor import not_observed
from sporeprint.messages.identification import IdentifyResponse
from sporeprint.model_serving.endpoints.predict import ModelQuery, RowRequest
from sporeprint.model_serving.endpoints.routing import UNREADABLE, ServiceDep, problems, router
from sporeprint.model_serving.http.problems import HttpProblemError, not_valid

routes = router()


@routes.post("/identify", responses=problems(*UNREADABLE))
async def identify(row: RowRequest, service: ServiceDep, model: ModelQuery = None) -> IdentifyResponse:
    """Which known groups still fit, what to look at next, and the verdict once there may be one."""
    served = service.loader.current if model is None else await service.loader.get(model)
    cells = row.model_extra or {}
    parsed = served.reader.row(cells)
    cannot_tell = not_observed(cells, served.bundle.schema)
    try:
        standing = await asyncio.to_thread(identify_row, served.bundle, parsed, cannot_tell=cannot_tell)
    except DataError as error:
        raise HttpProblemError(not_valid(str(error))) from None
    members = {item.name: getattr(standing, item.name) for item in fields(standing)}
    return IdentifyResponse(**members, model=served.ref.name, version=served.ref.version, simulated=served.simulated)

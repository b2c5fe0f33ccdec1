"""`POST /identify`: where the identification of one thing stands. Nothing is stored: a question is no prediction."""

import asyncio

from sporeprint.errors import DataError
from sporeprint.inference.identification import identify_row
from sporeprint.inference.predictor import not_observed
from sporeprint.model_serving.http.problems import ProblemError, not_valid
from sporeprint.model_serving.http.requests import Receive, Scope, Send, query, read_body, read_request_head, respond_json
from sporeprint.model_serving.runtime.row_parser import parse_json
from sporeprint.model_serving.runtime.service import Service

PARAMETERS = ("model",)


async def identify(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Say which known groups still fit, what to look at next, and the verdict once there may be one."""
    limit = service.limits.max_body_kb << 10
    read_request_head(scope, limit)
    name = query(scope, PARAMETERS).get("model")
    served = service.loader.current if name is None else await service.loader.get(name)
    body = await read_body(receive, limit)
    row = served.reader.read(body)
    cannot_tell = not_observed(parse_json(body), served.bundle.schema)
    try:
        standing = await asyncio.to_thread(identify_row, served.bundle, row, cannot_tell=cannot_tell)
    except DataError as error:
        raise ProblemError(not_valid(str(error))) from None
    answer = {"model": served.ref.name, "version": served.ref.version, **standing.to_dict()}
    if served.simulated:
        answer["simulated"] = True
    await respond_json(send, answer)
    return 200

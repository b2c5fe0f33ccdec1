"""Registered models, promotion and rollback."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from sporeprint.messages.base import RequestMessage, response
from sporeprint.messages.version_details import Alias, VersionDetails


class PromotionRequest(RequestMessage):
    """What is to be promoted, or rolled back. In the query, or as JSON.

    Attributes:
        version: the version, as 2 or v2.
        alias: champion: of its model; production: that, and the version that serves.
        reason: why, for the history.
        allow_simulated: whether it may be a version that was trained on invented rows.
    """

    model_config = ConfigDict(json_schema_extra={"example": {"version": 2, "alias": "production"}})

    version: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^v?[1-9][0-9]{0,8}$")] | None = None
    alias: Alias | None = None
    reason: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    allow_simulated: bool | None = None


@response
class ModelVersions:
    """A registered model.

    Attributes:
        name: its name.
        champion: its best version, as name/v2.
        versions: all of them, the oldest first.
        details: of the newest ones, with details=true, the latest first; null otherwise.
        next: for `before`, where older ones have details, too; null otherwise.
    """

    name: str
    champion: str
    versions: tuple[str, ...]
    details: tuple[VersionDetails, ...] | None = None
    next: int | None = None


@response
class ModelList:
    """The registered models.

    Attributes:
        production: the version that is to serve, as name/v2; null: none is.
        serving: the version that serves in the worker that answered.
        models: all of them, by name.
    """

    production: str | None
    serving: str
    models: tuple[ModelVersions, ...]


@response
class PromotionResponse:
    """A version that was promoted.

    Attributes:
        ref: the version, as name/v2.
        alias: champion or production.
        production: the version that is to serve, as name/v2; every worker serves it within two seconds.
        reason: why, as the history has it.
        gate: the gate's findings.
    """

    ref: str
    alias: Alias
    production: str | None
    reason: str
    gate: tuple[str, ...] = ()


@response
class RollbackResponse:
    """A promotion that was rolled back.

    Attributes:
        ref: the version that is champion, or serves, again.
        before: the version that was.
        alias: champion or production.
        production: the version that is to serve, as name/v2.
        reason: why, as the history has it.
    """

    ref: str
    before: str
    alias: Alias
    production: str | None
    reason: str


def fields(model: type[RequestMessage]) -> tuple[str, ...]:
    """The names of a request's fields."""
    fields_by_name: dict[str, Any] = model.model_fields
    return tuple(fields_by_name)

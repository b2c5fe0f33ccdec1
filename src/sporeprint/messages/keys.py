"""Who calls, API keys, settings, and who changed what."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from sporeprint.messages.base import RequestMessage, response

RoleName = Literal["predict", "label", "read", "operate", "admin"]
KeyName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


@response
class CallerResponse:
    """Who calls.

    Attributes:
        name: of the key; local, where there are no keys.
        roles: what it may do.
        local: whether nobody needs a key, as only this machine may call.
        expires: when the key is no longer taken, ISO 8601; null: never.
    """

    name: str
    roles: tuple[RoleName, ...]
    local: bool
    expires: str | None = None


@response
class ApiKeyDescription:
    """An API key, without its secret.

    Attributes:
        name: who has it; one key at a time has a name.
        key_id: the part of it that is no secret.
        roles: what it may do.
        created: when it was made, ISO 8601.
        expires: from when on it is no longer taken; null: never.
        revoked: since when it is no longer taken; null: it is taken.
        valid: whether it is taken now.
        last_used: the day on which it was last used, in UTC; null: never yet.
    """

    name: str
    key_id: str
    roles: tuple[RoleName, ...]
    created: str
    expires: str | None
    revoked: str | None
    valid: bool
    last_used: str | None = None


@response
class ApiKeyList:
    """The API keys.

    Attributes:
        keys: all of them, the oldest first.
    """

    keys: tuple[ApiKeyDescription, ...]


class ApiKeyRequest(RequestMessage):
    """The key that is to be made.

    Attributes:
        name: who gets it: letters, digits, '.', '_' and '-'.
        roles: what it may do.
        expires_days: days until it is no longer taken; left out: never.
    """

    name: KeyName
    roles: Annotated[tuple[RoleName, ...], Field(min_length=1, max_length=5)]
    expires_days: Annotated[int, Field(ge=1, le=3650)] | None = None


@response
class NewApiKey:
    """A key that was made. Its secret is shown this once.

    Attributes:
        key: the secret: what requests bring.
        description: the key.
    """

    key: str
    description: ApiKeyDescription


@response
class SettingValue:
    """A setting.

    Attributes:
        name: with dots, as in serving.ui.
        value: its value; ••• where it is a secret.
        default: what it is if nobody says otherwise; null where there is no such value.
        origin: who says so: default, file, environment or --set.
    """

    name: str
    value: Any
    default: Any
    origin: Literal["default", "file", "environment", "--set"]


@response
class SettingList:
    """The configuration of the server.

    Attributes:
        settings: every setting, in the order of the file.
    """

    settings: tuple[SettingValue, ...]


@response
class AuditChange:
    """A change that somebody made.

    Attributes:
        at: when, ISO 8601.
        actor: who, as in key:ci or cli:ada.
        action: what was done, as in key.created.
        subject: to what.
        details: further values.
    """

    at: str
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]


@response
class AuditList:
    """Who changed what.

    Attributes:
        changes: the latest first.
        next: for `before`, to get older ones; null: there are none.
    """

    changes: tuple[AuditChange, ...]
    next: str | None = None

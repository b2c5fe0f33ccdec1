"""API keys: who may call the service. A key's secret is shown once; what is kept is its hash.

A key reads `spk_<id>_<secret>`. The id finds the row, the hash of the whole is compared. A secret has 256 bits from the system's
source of chance: nobody finds it by trying, so a fast hash is right (OWASP's slow ones are for what people make up).
"""

import hashlib
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Engine, insert, select, update

from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import UsageError, nearest
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp import audit_log, checkpoints
from sporeprint.storage.oltp.audit_log import Change
from sporeprint.storage.oltp.tables import api_key

PREFIX = "spk"
#: Name of the note on when keys were last used.
LAST_USE = "api-keys-last-use"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Role(StrEnum):
    """What a key is for."""

    PREDICT = "predict"
    LABEL = "label"
    OPERATE = "operate"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True)
class ApiKey:
    """A key, without its secret.

    Attributes:
        key_id: the part of it that is no secret.
        digest: sha256 of the whole key, in hex.
        name: who has it; one key at a time has a name.
        roles: what it may do.
        created_us: microseconds since 1970 UTC.
        expires_us: from when on it is no longer taken; None: never.
        revoked_us: since when it is no longer taken; None: it is.
    """

    key_id: str
    digest: str
    name: str
    roles: frozenset[Role]
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None

    def is_valid(self, now_us: int) -> bool:
        """Whether it is taken."""
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)


def digest_of(secret: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def id_of(secret: str) -> str | None:
    """The id within a key; None where it is none of ours."""
    parts = secret.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == PREFIX else None


def roles_of(names: Collection[str]) -> frozenset[Role]:
    """Roles by their names.

    Raises:
        UsageError: if there is none, or one is unknown.
    """
    known = [role.value for role in Role]
    if not names:
        raise UsageError(f"a key needs a role; choose from {', '.join(known)}")
    for name in names:
        if name not in known:
            raise UsageError(f"there is no role {name!r}{nearest(name, known)}; choose from {', '.join(known)}")
    return frozenset(Role(name) for name in names)


def create(
    engine: Engine, name: str, roles: frozenset[Role], *, expires_days: int | None = None, now_us: int, actor: str
) -> tuple[ApiKey, str]:
    """Make a key.

    Returns:
        What is kept, and the key itself, which nobody can find out again.

    Raises:
        UsageError: if another key that is not revoked has the name, or it is none.
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"{name[:80]!r} is no name of a key: expected 1 to 64 letters, digits, '.', '_' or '-', a letter or digit first")
    key_id = secrets.token_hex(6)
    secret = f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"
    key = ApiKey(key_id, digest_of(secret), name, roles, now_us, None if expires_days is None else now_us + expires_days * DAY_US)
    with writing(engine) as connection:
        there = connection.execute(select(api_key.c.key_id).where(api_key.c.label == name, api_key.c.revoked_us.is_(None))).first()
        if there is not None:
            raise UsageError(f"there is a key {name!r}; choose another name, or revoke it first: sporeprint keys revoke {name}")
        connection.execute(
            insert(api_key).values(
                key_id=key.key_id, hash=key.digest, role=_text(roles), label=name, created_us=now_us, expires_us=key.expires_us
            )
        )
        audit_log.add(connection, Change(now_us, actor, "key.created", name, {"key_id": key_id, "roles": sorted(roles)}))
    return key, secret


def revoke(engine: Engine, name: str, *, now_us: int, actor: str) -> ApiKey:
    """Have a key no longer taken.

    Raises:
        UsageError: if no key that is not revoked has the name.
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    with writing(engine) as connection:
        row = connection.execute(select(*_COLUMNS).where(api_key.c.label == name, api_key.c.revoked_us.is_(None))).first()
        if row is None:
            known = connection.execute(select(api_key.c.label).where(api_key.c.revoked_us.is_(None))).scalars().all()
            listed = ", ".join(sorted(known)) or "none"
            raise UsageError(f"there is no key {name[:80]!r}{nearest(name[:80], list(known))}; there are: {listed}")
        connection.execute(update(api_key).where(api_key.c.key_id == row.key_id).values(revoked_us=now_us))
        audit_log.add(connection, Change(now_us, actor, "key.revoked", name, {"key_id": row.key_id}))
    return _key(row)


def listed(engine: Engine, *, revoked: bool = False) -> tuple[ApiKey, ...]:
    """All keys, oldest first; those that are revoked only on request.

    Raises:
        StorageUnavailableError: if the database does not answer now.
        StorageError: if it cannot.
    """
    query = select(*_COLUMNS).order_by(api_key.c.created_us, api_key.c.key_id)
    with reading(engine) as connection:
        rows = connection.execute(query if revoked else query.where(api_key.c.revoked_us.is_(None))).all()
    return tuple(_key(row) for row in rows)


def note_use(engine: Engine, key_ids: Collection[str], day: str) -> None:
    """Note on which day keys were last used.

    Raises:
        LostError: another process did so at the same time.
        StorageUnavailableError, StorageError: the database cannot.
    """
    with writing(engine) as connection:
        number, known = checkpoints.read(connection, LAST_USE)
        checkpoints.write(connection, LAST_USE, number, {**(known or {}), **dict.fromkeys(key_ids, day)})


def last_use(engine: Engine) -> Mapping[str, str]:
    """Id of a key -> the day on which it was last used, in UTC. Raises: as `listed`."""
    with reading(engine) as connection:
        return checkpoints.read(connection, LAST_USE)[1] or {}


_COLUMNS = (
    *(api_key.c.key_id, api_key.c.hash, api_key.c.label, api_key.c.role),
    *(api_key.c.created_us, api_key.c.expires_us, api_key.c.revoked_us),
)


def _text(roles: frozenset[Role]) -> str:
    return ",".join(sorted(roles))


def _key(row: Any) -> ApiKey:
    # A role of a newer version gives no right here.
    known = {role.value for role in Role}
    roles = frozenset(Role(name) for name in row.role.split(",") if name in known)
    return ApiKey(row.key_id, row.hash, row.label, roles, row.created_us, row.expires_us, row.revoked_us)

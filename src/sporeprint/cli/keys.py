"""`sporeprint keys`: API keys of the server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sporeprint.cli.command import ALL, Facts, Session, command, group, user
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table

if TYPE_CHECKING:  # slow to import, and `--help` does not need it
    from sqlalchemy import Engine

    from sporeprint.storage.oltp.api_keys import ApiKey

keys = group(
    help="Create, list and revoke the API keys of sporeprint serve.\n\n"
    "With at least one key, every request needs one. With none, the server accepts requests from this machine only. On a MariaDB "
    "server this needs the account that owns the tables.",
    epilog="sporeprint keys create --name shop --role predict\nsporeprint keys list\nsporeprint keys revoke shop",
)

_WHO = "Keys"
ROLES = "predict: request predictions; label: report outcomes; operate: promote models; read: read everything; admin: make keys"


@contextmanager
def _engine(session: Session) -> "Iterator[Engine]":
    from sporeprint.storage import urls
    from sporeprint.storage.engine import connect
    from sporeprint.storage.oltp import migrate

    engine = connect(urls.oltp(session.settings.storage, session.workdir))
    try:
        migrate.prepare(engine)
        yield engine
    finally:
        engine.dispose()


def _now_us() -> int:
    return time.time_ns() // 1000


def _actor() -> str:
    return f"cli:{user()}"


def _time(microseconds: int | None) -> str:
    return "" if microseconds is None else datetime.fromtimestamp(microseconds / 1e6, UTC).strftime("%Y-%m-%d %H:%M")


def _values(key: "ApiKey") -> dict[str, object]:
    return {
        "name": key.name,
        "key_id": key.key_id,
        "roles": sorted(key.roles),
        "created_us": key.created_us,
        "expires_us": key.expires_us,
        "revoked_us": key.revoked_us,
    }


@command(
    keys,
    ALL,
    panel=_WHO,
    examples="sporeprint keys create --name shop --role predict\nsporeprint keys create --name ops --role operate --expires 90",
)
def create(
    session: Session,
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the key's owner.", show_default=False)],
    role: Annotated[list[str], typer.Option("--role", metavar="ROLE", help=f"{ROLES}. Can be given several times.", show_default=False)],
    expires: Annotated[
        int | None, typer.Option("--expires", min=1, max=3650, metavar="DAYS", help="Days until it expires. Default: never.")
    ] = None,
) -> Result:
    """Create a key. It is shown once and cannot be recovered."""
    from sporeprint.storage.oltp import api_keys

    with _engine(session) as engine:
        key, secret = api_keys.create(engine, name, api_keys.roles_of(role), expires_days=expires, now_us=_now_us(), actor=_actor())
    rows = (
        ("key", secret),
        ("name", key.name),
        ("may", ", ".join(sorted(key.roles))),
        ("ends", _time(key.expires_us) or "never"),
        ("use it as", "curl -H 'Authorization: Bearer KEY' ..."),
    )
    return Facts({**_values(key), "key": secret}, (Table("A new key, shown this once", ("", ""), rows),))


@command(keys, ALL, name="list", panel=_WHO, examples="sporeprint keys list\nsporeprint keys list --revoked --json")
def list_keys(session: Session, revoked: Annotated[bool, typer.Option("--revoked", help="Include revoked keys.")] = False) -> Result:
    """List the keys, without their secrets."""
    from sporeprint.storage.oltp import api_keys

    with _engine(session) as engine:
        stored_keys = api_keys.listed(engine, revoked=revoked)
    values = {"keys": [_values(key) for key in stored_keys]}
    if not stored_keys:
        return Facts(values, (Table("", ("",), (("there are no keys: only this machine may call the server",),)),))
    now_us = _now_us()
    rows = tuple(
        (key.name, ", ".join(sorted(key.roles)), _time(key.created_us), _time(key.expires_us), _state(key, now_us)) for key in stored_keys
    )
    return Facts(values, (Table("API keys", ("name", "may", "made", "ends", ""), rows),))


def _state(key: "ApiKey", now_us: int) -> str:
    if key.revoked_us is not None:
        return f"revoked {_time(key.revoked_us)}"
    return "" if key.is_valid(now_us) else "expired"


@command(keys, ALL, panel=_WHO, examples="sporeprint keys revoke shop")
def revoke(session: Session, name: Annotated[str, typer.Argument(metavar="NAME", help="The key's name.", show_default=False)]) -> Result:
    """Revoke a key. Running servers refuse it within two seconds."""
    from sporeprint.storage.oltp import api_keys

    with _engine(session) as engine:
        key = api_keys.revoke(engine, name, now_us=_now_us(), actor=_actor())
    return Facts({**_values(key), "revoked": True}, (Table("", ("",), ((f"the key {key.name!r} is no longer taken",),)),))

"""Notes that several processes keep together: each change names the number it found, so that of two at once one is refused."""

import json
from typing import Any

from sqlalchemy import Connection, Engine, exc, insert, select, update

from sporeprint.storage.engine import writing
from sporeprint.storage.oltp.tables import checkpoint


class LostError(Exception):
    """Another process changed the note meanwhile. What was begun in the transaction must not stay."""


def read(connection: Connection, name: str) -> tuple[int, Any]:
    """The number of a note, and what it says; 0 and None where there is none."""
    row = connection.execute(select(checkpoint.c.number, checkpoint.c.value).where(checkpoint.c.name == name)).first()
    return (0, None) if row is None else (row.number, json.loads(row.value))


def write(connection: Connection, name: str, number: int, value: Any) -> int:
    """Replace what was found, and give the new number.

    Args:
        connection: in a transaction, which then is the only one that goes on.
        name: of the note.
        number: that was found.
        value: JSON values.

    Raises:
        LostError: if it is not there any more.
    """
    text = json.dumps(value)
    if number == 0:
        try:
            with connection.begin_nested():
                connection.execute(insert(checkpoint).values(name=name, number=1, value=text))
        except exc.IntegrityError:
            raise LostError from None
        return 1
    statement = update(checkpoint).where(checkpoint.c.name == name, checkpoint.c.number == number)
    if connection.execute(statement.values(number=number + 1, value=text)).rowcount != 1:
        raise LostError
    return number + 1


def alone(connection: Connection, name: str) -> None:
    """Wait until no other transaction is here, and be the only one until this one ends."""
    try:
        with connection.begin_nested():
            connection.execute(insert(checkpoint).values(name=name, number=1, value="null"))
    except exc.IntegrityError:
        connection.execute(update(checkpoint).where(checkpoint.c.name == name).values(number=checkpoint.c.number + 1))


def lease(engine: Engine, name: str, holder: str, *, now_us: int, until_us: int) -> bool:
    """Take a lease, or keep it: whether it is the holder's until then.

    Raises:
        StorageUnavailableError, StorageError: see `engine.errors`.
    """
    try:
        with writing(engine) as connection:
            number, has = read(connection, name)
            if has is not None and has["holder"] != holder and has["until_us"] > now_us:
                return False
            write(connection, name, number, {"holder": holder, "until_us": until_us})
    except LostError:
        return False
    return True


def release(engine: Engine, name: str, holder: str) -> None:
    """Give a lease back, if it is the holder's. Raises: as `lease`."""
    try:
        with writing(engine) as connection:
            number, has = read(connection, name)
            if has is not None and has["holder"] == holder:
                write(connection, name, number, {**has, "until_us": 0})
    except LostError:
        return

"""On which day keys were last used: once a day and key in the database."""

import time

import pytest
from sqlalchemy import Engine, event

from sporeprint.common.timestamps import DAY_US
from sporeprint.model_serving.http.key_uses import KeyUses
from sporeprint.storage.oltp.api_keys import last_use, note_use

#: 1 November 2026.
NOW_US = 1_793_491_200_000_000


def test_a_key_is_noted_once_a_day(oltp: Engine) -> None:
    writes = []
    event.listen(oltp, "begin", lambda _: writes.append(time.monotonic()))
    uses = KeyUses(oltp)
    uses.note(NOW_US)
    assert writes == []  # nobody was there
    for _ in range(3):
        uses.add("a")
        uses.note(NOW_US)
    assert len(writes) == 1
    assert last_use(oltp) == {"a": "2026-11-01"}
    uses.add("a")
    uses.add("b")
    uses.note(NOW_US + DAY_US)
    assert last_use(oltp) == {"a": "2026-11-02", "b": "2026-11-02"}


def test_two_processes_lose_nothing(oltp: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    uses = KeyUses(oltp)
    uses.add("a")
    from sporeprint.storage.oltp import checkpoints

    read = checkpoints.read

    def overtaken(connection: object, name: str) -> object:
        found = read(connection, name)  # type: ignore[arg-type]
        monkeypatch.undo()
        return (found[0] + 7, found[1])  # as if somebody had written meanwhile

    note_use(oltp, {"b"}, "2026-10-31")
    monkeypatch.setattr(checkpoints, "read", overtaken)
    uses.note(NOW_US)
    assert last_use(oltp) == {"b": "2026-10-31"}
    uses.note(NOW_US)
    assert last_use(oltp) == {"a": "2026-11-01", "b": "2026-10-31"}

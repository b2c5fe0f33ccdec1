"""On which day each API key was last used: noted in memory with every request, and in the database once a day."""

from sqlalchemy import Engine

from sporeprint.common.timestamps import iso_utc
from sporeprint.storage.oltp import api_keys
from sporeprint.storage.oltp.checkpoints import LostError


class KeyUses:
    """The keys that were used since they were last noted.

    Args:
        engine: of the OLTP database.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._used: set[str] = set()
        self._noted: set[tuple[str, str]] = set()

    def add(self, key_id: str) -> None:
        """A key was taken."""
        self._used.add(key_id)

    def note(self, now_us: int) -> None:
        """Write down the keys that were not yet used today. Of two processes at once, one writes the next time.

        Raises:
            StorageUnavailableError, StorageError: the database cannot.
        """
        day = iso_utc(now_us)[:10]
        fresh = {key_id for key_id in tuple(self._used) if (key_id, day) not in self._noted}
        if not fresh:
            return
        try:
            api_keys.note_use(self._engine, fresh, day)
        except LostError:
            return
        self._used -= fresh
        self._noted = {each for each in self._noted if each[1] == day} | {(key_id, day) for key_id in fresh}

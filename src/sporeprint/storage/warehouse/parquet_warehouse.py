"""The embedded warehouse: Parquet files, a manifest that names them, and DuckDB in memory over what it names.

No file is ever changed. A load writes new ones, and then a manifest that names them instead of those they replace: a reader has the one
manifest or the other. Nobody is locked out, whoever reads.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sporeprint.common.locks import locked
from sporeprint.errors import StorageError
from sporeprint.storage.warehouse.manifest import WarehouseManifest, read
from sporeprint.storage.warehouse.protocol import ANSWER_S, LOCK_WAIT_S, Load, Reader

#: A replaced file stays so long, seconds: longer than any question may take.
GRACE_S = 3600.0


class ParquetWarehouse:
    """A warehouse below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def shown(self) -> str:
        """Where it is."""
        return str(self.folder)

    def get_note(self, name: str) -> Any:
        """What was last kept under a name, or None."""
        return read(self.folder).notes.get(name)

    @contextlib.contextmanager
    def loading(self) -> Iterator[Load]:
        """Write new files, and publish them at the end."""
        from sporeprint.storage.warehouse.parquet_loader import ParquetLoad

        with locked(self.folder / ".lock", busy=lambda _: self._busy(), failure=f"cannot write to {self.folder}", wait_s=LOCK_WAIT_S):
            before = read(self.folder)
            _sweep(self.folder, before)
            load = ParquetLoad(self.folder, before)
            try:
                yield load
                load.publish(GRACE_S)
            except OSError as error:
                raise StorageError(f"cannot write to {self.folder}: {error.strerror or error}; nothing was changed") from None

    @contextlib.contextmanager
    def reading(self, *, seconds: float = ANSWER_S) -> Iterator[Reader]:
        """DuckDB over the files of the manifest that is there now."""
        from sporeprint.storage.warehouse.duckdb_reader import DuckDBReader

        reader = DuckDBReader(self.folder, read(self.folder), seconds)
        try:
            yield reader
        finally:
            reader.close()

    def close(self) -> None:
        """Nothing is held."""

    def _busy(self) -> str:
        return f"another process has been loading into {self.folder} for {LOCK_WAIT_S:g} s; try again later"


def _sweep(folder: Path, manifest: WarehouseManifest) -> None:
    """Remove what killed loads left, and what was replaced long ago. Only a holder of the lock may."""
    if not folder.exists():
        return
    files, now = manifest.every(), time.time()
    for path in folder.glob("*/**/*.parquet"):
        file = path.relative_to(folder).as_posix()
        retired = manifest.retired.get(file)
        if file not in files and (retired is None or now - retired > GRACE_S):
            path.unlink(missing_ok=True)

"""Which files an embedded warehouse consists of: one small file, replaced atomically, that names all others."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from sporeprint.common.files import atomic_write
from sporeprint.errors import StorageError
from sporeprint.storage.warehouse.star_schema import EXTENDABLE, STAR

NAME = "manifest.json"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class WarehouseFile:
    """One Parquet file.

    Attributes:
        file: path below the warehouse.
        rows: how many.
        bytes: its size.
        first_id: the lowest prediction id in it; '' where it has none.
        last_id: the highest.
        first_us: the lowest time it is kept by.
        last_us: the highest.
    """

    file: str
    rows: int
    bytes: int
    first_id: str = ""
    last_id: str = ""
    first_us: int = 0
    last_us: int = 0


#: Table -> day (or '' for tables without days) -> files.
Files = Mapping[str, Mapping[str, tuple[WarehouseFile, ...]]]


@dataclass(frozen=True)
class WarehouseManifest:
    """What a reader sees.

    Attributes:
        generation: how many were published before it.
        files: the files of each table.
        notes: what was kept with them: how far the sync has come, and the like.
        retired: file -> when it was replaced, seconds since 1970 UTC; readers of an earlier manifest may still have it open.
    """

    generation: int = 0
    files: Files = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    retired: Mapping[str, float] = field(default_factory=dict)

    def parts(self, table: str) -> list[WarehouseFile]:
        """The files of a table."""
        return [part for parts in self.files.get(table, {}).values() for part in parts]

    def every(self) -> set[str]:
        """Paths of all live files."""
        return {part.file for table in self.files for part in self.parts(table)}

    def with_files(self, table: str, day: str, parts: tuple[WarehouseFile, ...]) -> Self:
        """With these files for a table's day; with none, without the day."""
        days = {**self.files.get(table, {}), day: parts}
        if not parts:
            del days[day]
        return replace(self, files={**self.files, table: days})


def read(folder: Path) -> WarehouseManifest:
    """The manifest of a warehouse; an empty one where there is no warehouse yet.

    Raises:
        StorageError: it cannot be read, is damaged, or of another version.
    """
    path = folder / NAME
    try:
        raw = json.loads(path.read_bytes())
        if raw["format"] != FORMAT or raw["star"] not in {STAR, *EXTENDABLE}:
            raise StorageError(
                f"{folder} is of another version ({raw['format']}.{raw['star']}, this one works with {FORMAT}.{STAR}); "
                "move it away and run: sporeprint warehouse sync"
            )
        files = {
            table: {day: tuple(WarehouseFile(*part) for part in parts) for day, parts in days.items()}
            for table, days in raw["files"].items()
        }
        return WarehouseManifest(raw["generation"], files, raw["notes"], raw["retired"])
    except FileNotFoundError:
        return WarehouseManifest()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StorageError(f"{path} is damaged; move {folder} away and run: sporeprint warehouse sync") from None


def publish(folder: Path, manifest: WarehouseManifest) -> None:
    """Make a manifest the one that readers see. Raises: StorageError, see `atomic_write`."""
    files = {
        table: {day: [list(asdict(part).values()) for part in parts] for day, parts in days.items()}
        for table, days in manifest.files.items()
    }
    raw = {"format": FORMAT, "star": STAR, **{name: getattr(manifest, name) for name in ("generation", "notes", "retired")}, "files": files}
    atomic_write(folder / NAME, json.dumps(raw, separators=(",", ":"), ensure_ascii=False))

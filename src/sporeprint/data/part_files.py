"""A written table of many rows: a folder of part files with a manifest, under the name that a table of one file has.

A part is written once, under its final name; the manifest, written last, says which files are the table.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from sporeprint.common.files import atomic_write, sha256_file
from sporeprint.errors import DataError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class PartFile:
    """A file of a table: its name in the folder, its rows, its size in bytes, and the sha256 of these in hex."""

    name: str
    rows: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, rows: int) -> Self:
        """A finished file."""
        return cls(path.name, rows, path.stat().st_size, sha256_file(path))


def part_path(table: Path, number: int, parts: int) -> Path:
    """Where a part of a table is written: in its folder; the only one, in its place."""
    return table if parts == 1 else table / f"part-{number:05}.parquet"


def write_manifest(table: Path, parts: Sequence[PartFile]) -> None:
    """Make a folder of part files a table; nothing where it is a file. Raises: StorageError: it cannot be written."""
    if table.is_dir():
        atomic_write(table / MANIFEST, json.dumps({"parts": [asdict(part) for part in parts]}, indent=1) + "\n")


def part_files(table: Path, *, whole: bool = False) -> tuple[Path, ...]:
    """The files of a table, in the order of their rows; of a table of one file, that file, whether it is there or not.

    Args:
        table: a file, or a folder with a manifest.
        whole: whether the bytes of every part are held against the manifest, and not only their number.

    Raises:
        DataError: there is no manifest, it is damaged, or a part is missing, there twice, or another one; named.
    """
    if not table.is_dir():
        return (table,)
    place = table / MANIFEST
    try:
        parts = [PartFile(**part) for part in json.loads(place.read_text(encoding="utf-8"))["parts"]]
    except FileNotFoundError:
        raise DataError(
            f"{table} was not written by sporeprint, or not to its end: it has no {MANIFEST}; write it anew with sporeprint transform"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place} is damaged ({error}); write the table anew with sporeprint transform") from error
    if len({part.name for part in parts}) < len(parts):
        raise DataError(f"{place} names a part twice; write the table anew with sporeprint transform")
    for part in parts:
        _refuse_other(table / part.name, part, whole=whole)
    return tuple(table / part.name for part in parts)


def _refuse_other(path: Path, part: PartFile, *, whole: bool) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing: the manifest beside it names it; write the table anew with sporeprint transform")
    if (size := path.stat().st_size) != part.bytes or (whole and sha256_file(path) != part.sha256):
        raise DataError(
            f"{path} is not the part that was written: it has {size:,} bytes, the manifest says {part.bytes:,}; "
            "write the table anew with sporeprint transform"
        )

"""Tables out of zip archives, never more bytes of them than allowed."""

import zipfile
import zlib
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from sporeprint.errors import DataError

#: What a table's file name ends in.
TABLES = (".csv", ".tsv", ".data", ".parquet", ".pq")
#: What the standard library raises of a damaged zip, or (NotImplementedError) of a compression it does not know.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class _Member:
    """A file in an archive, or in an archive in it."""

    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    @property
    def name(self) -> str:
        """Its name without folders."""
        return PurePosixPath(self.info.filename.replace("\\", "/")).name


class _Budget:
    """How many bytes may still come out of an archive: what it says of itself is not believed."""

    def __init__(self, max_mb: float, where: str) -> None:
        self._left = max_mb * 1e6
        self._message = f"{where} expands to more than {max_mb:g} MB; if that is right, raise source.download.max_mb"

    def copy(self, source: IO[bytes], target: Path) -> None:
        with target.open("wb") as file:
            while block := source.read(1 << 20):
                self._left -= len(block)
                if self._left < 0:
                    raise DataError(self._message)
                file.write(block)


def unpack(archive: Path, folder: Path, table_names: Collection[str], *, max_mb: float, where: str) -> dict[str, Path]:
    """Take files out of a zip, also out of zips inside it.

    Args:
        archive: the zip.
        folder: where the files go; made if it is not there.
        table_names: names of the files, without folders; empty: the only table there is.
        max_mb: how much may come out, in all.
        where: what the archive is, for messages.

    Returns:
        name -> unpacked file.

    Raises:
        DataError: no such file, several of that name, no table or several, damaged, encrypted, or too large.
        OSError: if a file cannot be written.
    """
    budget = _Budget(max_mb, where)
    try:
        with ExitStack() as stack:
            members = _members(archive, folder, budget, stack)
            chosen = [_named(name, members, where) for name in sorted(table_names)] if table_names else [_only_table(members, where)]
            return {member.name: _take(member, folder / member.name, budget, where) for member in chosen}
    except _ZIP_ERRORS as error:
        raise DataError(f"{where} is a damaged or unusual zip: {error}") from error


def names_in(archive: Path, folder: Path, *, max_mb: float, where: str) -> set[str]:
    """The names of the files in a zip, without folders. Raises: see `unpack`."""
    try:
        with ExitStack() as stack:
            return {member.name for member in _members(archive, folder, _Budget(max_mb, where), stack)}
    except _ZIP_ERRORS as error:
        raise DataError(f"{where} is a damaged or unusual zip: {error}") from error


def _members(archive: Path, folder: Path, budget: _Budget, stack: ExitStack) -> list[_Member]:
    """The files of an archive and of the archives in it (not deeper)."""
    folder.mkdir(exist_ok=True)
    outer = stack.enter_context(zipfile.ZipFile(archive))
    members = _files(outer)
    for number, member in enumerate([member for member in members if member.name.lower().endswith(".zip")]):
        inner = _take(member, folder / f"inner-{number}.zip", budget, archive.name)
        members += _files(stack.enter_context(zipfile.ZipFile(inner)))
    return members


def _files(archive: zipfile.ZipFile) -> list[_Member]:
    members = [_Member(archive, info) for info in archive.infolist() if not info.is_dir()]
    return [member for member in members if not member.name.startswith(".") and not member.info.filename.startswith("__MACOSX/")]


def _named(name: str, members: list[_Member], where: str) -> _Member:
    matches = [member for member in members if member.name == name]
    if len(matches) != 1:
        problem = f"holds {len(matches)} files named {name!r}" if matches else f"holds no {name!r}"
        raise DataError(f"{where} {problem}; it holds {_listed(members)}; change source.download.members")
    return matches[0]


def _only_table(members: list[_Member], where: str) -> _Member:
    tables = [member for member in members if member.name.lower().endswith(TABLES)]
    if len(tables) == 1:
        return tables[0]
    if tables:
        raise DataError(f"{where} holds {len(tables)} tables: {_listed(tables)}; say which under source.download.members")
    raise DataError(f"{where} holds no table ({', '.join(TABLES)}); it holds {_listed(members)}")


def _listed(members: list[_Member], most: int = 10) -> str:
    names = sorted(member.info.filename for member in members)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") if names else "nothing"


def _take(member: _Member, target: Path, budget: _Budget, where: str) -> Path:
    if member.info.flag_bits & 0x1:
        raise DataError(f"{member.info.filename} in {where} is encrypted; unpack it by hand and name the table with --source FILE")
    with member.archive.open(member.info) as source:
        budget.copy(source, target)
    return target

"""What arrives from outside: kept apart until it is complete, looked at, and only then put where readers see it."""

import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from sporeprint.common.files import atomic_path, sha256_file
from sporeprint.errors import DataError, StorageError

#: How files begin that hold no table.
OTHER_KINDS = {
    b"\x1f\x8b": "a gzip file; unpack it first",
    b"%PDF": "a PDF document",
    b"SQLite format 3\0": "an SQLite database; name it as sqlite:///PATH and set source.query",
    b"<": "an HTML or XML page",
    b"{": "JSON",
    b"version https://git-lfs": "a Git LFS pointer: the file itself was not fetched (git lfs pull)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as CSV",
}


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """An empty folder for what is under way. What a killed run left there goes first.

    Raises:
        StorageError: if something there cannot be written: permission, full disk.
    """
    place = folder / ".download"
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        yield place
    except OSError as error:
        raise StorageError(f"cannot write to {folder}: {error.strerror or error}; nothing was replaced") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


def publish(path: Path, target: Path) -> Path:
    """Move a finished file to where readers see it."""
    with atomic_path(target) as temporary:
        path.replace(temporary)
    return target


def unlike_headers(where: str, header: bytes, first_where: str, first: bytes) -> DataError:
    """What is wrong with files of one table whose first lines differ: the first name that does."""
    lines = [line.decode(errors="replace") for line in (header, first)]
    names = zip_longest(*(re.split(r"[;,|\t]", line) for line in lines), fillvalue="")
    here, there = next((pair for pair in names if pair[0] != pair[1]), lines)
    has, had = (repr(name[:200]) if name else "nothing" for name in (here, there))
    return DataError(
        f"the first line of {where} is not that of {first_where}: it has {has} where the other has {had}; "
        "expected files with the same header"
    )


def kind_of(path: Path, where: str) -> str:
    """zip, parquet or csv, by how a file begins.

    Raises:
        DataError: if it is empty, or known to be something else.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise DataError(f"{where} is empty, without even a header; remove it, or write it again")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        if (document := _office_document(path)) is not None:
            raise DataError(f"{where} is {document}, no table; save its sheet as CSV")
        return "zip"
    if head.startswith(b"PAR1"):
        return "parquet"
    for start, kind in OTHER_KINDS.items():
        if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(start):
            raise DataError(f"{where} is {kind}, no table; expected CSV, Parquet, or a zip that holds one")
    return "csv"


def _office_document(path: Path) -> str | None:
    """What a zip is that holds an office document; None for any other."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # whoever unpacks it says what is wrong
        return None
    if "[Content_Types].xml" in names:
        return "an Excel workbook (.xlsx)" if any(name.startswith("xl/") for name in names) else "an Office document"
    return "an OpenDocument file (.ods)" if {"mimetype", "content.xml"} <= names else None


def check_sha256(path: Path, name: str, expected: Mapping[str, str]) -> None:
    """Hold a file against the sha256 that the settings give for its name, if they do.

    Raises:
        DataError: if it is another one.
    """
    if name in expected and (digest := sha256_file(path)) != expected[name]:
        raise DataError(
            f"{name} has the sha256 {digest}, source.download.sha256 expects {expected[name]}; it is not the file that was meant"
        )

"""Files behind addresses that Arrow reads: object stores (S3, Google Cloud Storage, Azure), HDFS, and files of this machine.

Who may read comes from the environment, as each store's own tools have it (AWS_ACCESS_KEY_ID or a role, GOOGLE_APPLICATION_CREDENTIALS,
AZURE_STORAGE_..., a Kerberos ticket): an address with a password in it would end in records and logs.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sporeprint.common.optional_dependencies import Lazy
from sporeprint.common.progress import Progress
from sporeprint.common.redaction import redacted
from sporeprint.errors import DataError, SourceUnavailableError

if TYPE_CHECKING:
    from pyarrow import fs
else:
    fs = Lazy("pyarrow.fs")

#: Schemes of addresses that are read.
SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs")
#: Bytes copied at a time.
BLOCK = 4 << 20
#: Words by which stores refuse: trying again does not help.
REFUSALS = ("ACCESS_DENIED", "HTTP status 403", "PERMISSION_DENIED", "Forbidden", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH")


def is_store(named: str) -> bool:
    """Whether a source is an address of an object store or of HDFS."""
    return named.partition("://")[0].lower() in SCHEMES and "://" in named


def local_path(named: str) -> str:
    """A `file://` address as a path; anything else as it is.

    Raises:
        DataError: the address names another machine.
    """
    if not named.lower().startswith("file://"):
        return named
    parts = urlsplit(named.replace("?", "%3F").replace("#", "%23"))
    if parts.netloc not in {"", "localhost"}:
        raise DataError(f"{named} names the machine {parts.netloc!r}; a file of this machine is file:///PATH")
    return unquote(parts.path)


@dataclass(frozen=True)
class StoredFile:
    """A file in a store: its name there, its address for people, and its size in bytes."""

    key: str
    address: str
    size: int

    @property
    def name(self) -> str:
        """The last part of its name."""
        return self.key.rpartition("/")[2]


class Store:
    """The files that an address names: one, those of a folder, or those of a pattern, in the order of their names.

    Args:
        address: `s3://bucket/key`, `s3://bucket/folder/`, `gs://bucket/part-*.csv`; options of the store follow a `?`.

    Raises:
        DataError: the address is wrong, holds a password, or may not be read.
        SourceUnavailableError: the store does not answer.
    """

    def __init__(self, address: str) -> None:
        self.shown = redacted(address)
        scheme, _, rest = address.partition("://")
        place, sign, options = rest.partition("?") if re.search(r"\?\w+=", rest) else (rest, "", "")
        root, _, self._key = place.partition("/")
        if "@" in root and not scheme.startswith("abfs"):
            raise DataError(f"{self.shown}: a key is no part of the address; set it in the environment, as the store's own tools have it")
        self._base = f"{scheme}://{root}"
        with _errors(self.shown):
            self._files, base = fs.FileSystem.from_uri(f"{self._base}/{sign}{options}")
        self._root = str(base).rstrip("/")

    def files(self) -> tuple[StoredFile, ...]:
        """The files, at least one.

        Raises:
            DataError, SourceUnavailableError: see above; there is no such file.
        """
        folder, _, pattern = self._key.rpartition("/")
        with _errors(self.shown):
            if any(sign in pattern for sign in "*?["):
                return self._within(folder, pattern)
            info = self._files.get_file_info(self._at(self._key.rstrip("/")))
            if info.type == fs.FileType.Directory:
                return self._within(self._key.rstrip("/"), "*")
            if info.type != fs.FileType.File:
                raise DataError(f"no such file: {self.shown}")
            return (self._stored(info),)

    def _within(self, folder: str, pattern: str) -> tuple[StoredFile, ...]:
        infos = self._files.get_file_info(fs.FileSelector(self._at(folder), allow_not_found=True))
        hidden = (".", "_")  # markers of writers
        names = [info for info in infos if info.type == fs.FileType.File and not info.base_name.startswith(hidden)]
        chosen = sorted((info for info in names if fnmatch.fnmatchcase(info.base_name, pattern)), key=lambda info: str(info.base_name))
        if not chosen:
            raise DataError(f"no file is called {self.shown}; name a table")
        return tuple(map(self._stored, chosen))

    def _at(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/") or "/"

    def _stored(self, info: Any) -> StoredFile:
        key = str(info.path).removeprefix(f"{self._root}/")
        return StoredFile(key, f"{self._base}/{key}", int(info.size))

    def copy(self, file: StoredFile, target: Path, progress: Progress) -> None:
        """Copy a file to this machine.

        Raises:
            DataError, SourceUnavailableError: it cannot be read, or has changed meanwhile.
            OSError: the target cannot be written.
        """
        size = 0
        with target.open("wb") as sink:
            for block in self._blocks(file):
                sink.write(block)
                size += len(block)
                progress.advance(len(block))
        if size != file.size:
            raise SourceUnavailableError(f"{file.address} had {file.size:,} bytes and gave {size:,}; try again when nothing writes to it")

    def _blocks(self, file: StoredFile) -> Iterator[bytes]:
        with _errors(file.address), self._files.open_input_stream(self._at(file.key)) as source:
            while block := source.read(BLOCK):
                yield block


def fetch_all(address: str, folder: Path, progress: Progress) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Copy the files that an address names into a folder: their paths, and their addresses.

    Raises:
        DataError, SourceUnavailableError, OSError: see `Store`.
    """
    store = Store(address)
    files = store.files()
    progress.total(sum(file.size for file in files))
    paths = []
    for file in files:
        progress.text(f"reading {file.address}")
        paths.append(folder / file.name)
        store.copy(file, paths[-1], progress)
    return tuple(paths), tuple(file.address for file in files)


@contextmanager
def _errors(where: str) -> Iterator[None]:
    """What a store refuses is the caller's to mend; any other failure may pass."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{where} is not there: {_reason(error)}") from error
    except ValueError as error:  # Arrow's word for an address that it cannot parse
        raise DataError(f"{where}: {_reason(error)}") from error
    except OSError as error:
        if any(word in str(error) for word in REFUSALS):
            raise DataError(
                f"{where} may not be read with the rights of this environment: {_reason(error)}; grant them to its key or role"
            ) from error
        raise SourceUnavailableError(f"{where} cannot be read now: {_reason(error)}; run it again later") from error


def _reason(error: Exception) -> str:
    return redacted(str(error).partition("\n")[0])

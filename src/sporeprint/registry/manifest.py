"""One registered version on disk: a folder that appears as a whole, never changes, and is held against its manifest.

What the hashes are good for: a file that was damaged, edited, exchanged or half copied is refused and named. They do not
protect against somebody who may write here and computes all of them anew; for that, take away the permission to write.
"""

import errno
import hashlib
import itertools
import json
import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from sporeprint.common.files import sync_path
from sporeprint.errors import RegistryError, StorageError, nearest

MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"

#: Beginning of the names of folders that are still being written.
UNFINISHED = ".unfinished-"


class DamagedError(RegistryError):
    """A version is not as it was registered."""


@dataclass(frozen=True)
class FileRecord:
    """What a file must be: its digest, and its size in bytes."""

    sha256: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Of a file with these bytes."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))


@dataclass(frozen=True)
class Manifest:
    """What a version consists of and where it comes from.

    Attributes:
        name: the model.
        version: N of v<N>.
        identity: see `Bundle.identity`.
        scorer: kind of the scorer.
        serving: names of the scorer's files.
        parts: names of further files that serve.
        files: every file of the version but the manifest.
        schema_sha256: fingerprint of the contract.
        info: see `Bundle.info`.
    """

    name: str
    version: int
    identity: str
    scorer: str
    serving: tuple[str, ...]
    parts: tuple[str, ...]
    files: Mapping[str, FileRecord]
    schema_sha256: str
    info: Mapping[str, Any]

    def to_json(self) -> str:
        """JSON for people and machines."""
        return json.dumps({"format": 1, **asdict(self)}, ensure_ascii=False, allow_nan=False, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError: if the text is no manifest of a known format.
        """
        raw = json.loads(text)
        if not isinstance(raw, dict) or raw.pop("format", None) != 1:
            raise ValueError("not a manifest of format 1")
        try:
            files = {name: FileRecord(**record) for name, record in raw.pop("files").items()}
            return cls(files=files, serving=tuple(raw.pop("serving")), parts=tuple(raw.pop("parts")), **raw)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a manifest of format 1: {error}") from error


@dataclass(frozen=True)
class VersionRef:
    """One registered version.

    Attributes:
        name: the model.
        version: N of v<N>.
        path: its folder.
        manifest: sha256 of its manifest, which pins every byte of it.
    """

    name: str
    version: int
    path: Path
    manifest: str

    @property
    def ref(self) -> str:
        """The version as it is named everywhere: xgboost/v2."""
        return f"{self.name}/v{self.version}"


def read_file(path: Path) -> bytes:
    """A regular file's bytes; a link is not followed.

    Raises:
        RegistryError: if there is no such regular file.
        StorageError: if it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise DamagedError(f"{path.name} is missing in {path.parent}") from error
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise DamagedError(f"{path.name} in {path.parent} is no regular file") from error
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise DamagedError(f"{path.name} in {path.parent} is no regular file")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read()
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    finally:
        os.close(handle)


def read_manifest(version: VersionRef) -> Manifest:
    """Read a version's manifest, held against its digest and its folder.

    Raises:
        RegistryError: if they do not fit.
    """
    data = read_file(version.path / MANIFEST)
    actual, expected = hashlib.sha256(data).hexdigest(), read_file(version.path / DIGEST).decode(errors="replace").partition(" ")[0]
    if actual != expected:
        raise DamagedError(f"{version.ref}: {MANIFEST} was altered: its sha256 is {actual}, {DIGEST} says {expected}")
    if actual != version.manifest:
        raise DamagedError(f"{version.ref}: {MANIFEST} was exchanged while it was read; try again, and see who writes to {version.path}")
    try:
        manifest = Manifest.from_json(data)
    except ValueError as error:
        raise DamagedError(f"{version.ref}: {MANIFEST} cannot be read by this release: {error}") from error
    if (manifest.name, manifest.version) != (version.name, version.version):
        raise DamagedError(
            f"{version.ref}: {MANIFEST} is that of {manifest.name}/v{manifest.version}; a version cannot be copied or renamed"
        )
    return manifest


def read_checked(version: VersionRef, file: str, manifest: Manifest) -> bytes:
    """A version's file, whose bytes are those that were registered.

    Raises:
        RegistryError: if they are not, or there is no such file, naming it.
    """
    record = manifest.files.get(file)
    if record is None:
        raise RegistryError(f"{version.ref} has no file {file!r}{nearest(file, manifest.files)}; it has: {', '.join(manifest.files)}")
    data = read_file(version.path / file)
    if (actual := FileRecord.of(data)) != record:
        raise DamagedError(f"{version.ref}: {file} was altered: {difference(actual, record)}")
    return data


def difference(actual: FileRecord, expected: FileRecord) -> str:
    """What is wrong with a file, for people."""
    return f"it has sha256 {actual.sha256} ({actual.size} bytes), registered is {expected.sha256} ({expected.size} bytes)"


def unexpected_files(version: VersionRef, manifest: Manifest) -> list[str]:
    """Files that are missing, or were never registered."""
    known = {MANIFEST, DIGEST, *manifest.files}
    there = _listing(version.path)
    missing = [f"{name} is missing" for name in sorted(known - there)]
    return missing + [f"{name} was never registered" for name in sorted(there - known)]


def altered_files(version: VersionRef, manifest: Manifest) -> list[str]:
    """Files that are there, and are not what was registered."""
    problems = []
    for name in sorted(set(manifest.files) & _listing(version.path)):
        try:
            read_checked(version, name, manifest)
        except (DamagedError, StorageError) as error:
            problems.append(str(error).removeprefix(f"{version.ref}: "))
    return problems


def _listing(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def store(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> int:
    """Write a version beside the others, and give it its name when it is complete.

    Args:
        folder: the model's folder.
        manifest: with the number to begin with; a number that is taken is passed over.
        files: every file but the manifest.

    Returns:
        The number it got.

    Raises:
        StorageError: if it cannot be written.
    """
    unfinished = folder / f"{UNFINISHED}{os.getpid()}"
    try:
        unfinished.mkdir(parents=True)
        for name, data in files.items():
            _write(unfinished / name, data)
        for number in itertools.count(manifest.version):
            text = replace(manifest, version=number).to_json().encode()
            _write(unfinished / MANIFEST, text)
            _write(unfinished / DIGEST, f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode())
            sync_path(unfinished)
            if _take(unfinished, folder / f"v{number}"):
                break
        sync_path(folder)
        sync_path(folder.parent)
    except OSError as error:
        raise StorageError(f"cannot write to the registry {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return number


def _take(unfinished: Path, final: Path) -> bool:
    """Rename to a number that is free. The lock sees to that; where a file system has none, the rename still does."""
    try:
        unfinished.rename(final)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def _write(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())

"""Versions of models below one folder, the aliases that stand for them, and every way to name one. Never unpickles.

    registry/<name>/v<N>/manifest.json      every file with its sha256 and size, the identity, where the version comes from
                         manifest.sha256    digest of the manifest, as `sha256sum --check` reads it
                         encoder.json ...   what serves, and what describes it
    registry/aliases.json                   production and champions, with every change and a digest
    <name>.joblib                           the champion's estimator, for notebooks

An alias keeps the digest of its version's manifest, so that the version cannot be exchanged as a whole unnoticed.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sporeprint.common.files import atomic_write
from sporeprint.common.locks import locked
from sporeprint.errors import RefusedError, RegistryError, StorageError, nearest
from sporeprint.inference.model_bundle import Bundle
from sporeprint.registry.aliases import PRODUCTION, AliasChange, Aliases, Pin
from sporeprint.registry.manifest import (
    DIGEST,
    MANIFEST,
    UNFINISHED,
    DamagedError,
    FileRecord,
    VersionRef,
    altered_files,
    difference,
    read_checked,
    read_file,
    read_manifest,
    store,
    unexpected_files,
)
from sporeprint.registry.version_files import describe, read_bundle

ALIASES = "aliases.json"

#: Seconds to wait for another process that writes to the registry.
LOCK_SECONDS = 60.0

#: Most characters of a model's name, as the tables of predictions have them.
LONGEST_NAME = 64
VERSION_NAME = re.compile(r"v([1-9][0-9]{0,17})")


class NothingToRollBackError(RegistryError):
    """A rollback is not possible: the alias never stood for another version, or stands for another one than was expected."""


@dataclass(frozen=True)
class RegistrationResult:
    """What became of a bundle.

    Attributes:
        ref: the version that holds it, as in xgboost/v2.
        created: whether it is new; False if an earlier version is identical.
    """

    ref: str
    created: bool


class Registry:
    """The versions below one folder. Readers need no lock; writers take turns.

    >>> from sporeprint import Registry
    >>> Registry(WORKDIR / "models/registry").champion("xgboost").ref
    'xgboost/v1'
    """

    def __init__(self, root: Path) -> None:
        """Name the folder; nothing is read or made yet.

        Args:
            root: <workdir>/models/registry. The champions' joblib files stand in its parent.
        """
        self.root = root.absolute()
        self.models = self.root.parent

    # --- reading -------------------------------------------------------------------------------------------------------

    def names(self) -> tuple[str, ...]:
        """Models with at least one version, sorted."""
        return tuple(sorted(name for name in _folders(self.root) if self.versions(name)))

    def versions(self, name: str) -> tuple[int, ...]:
        """Numbers of a model's versions, in the order of the numbers; empty for an unknown name."""
        folder = self.root / name
        if not is_name(name) or folder.is_symlink():
            return ()
        matches = (VERSION_NAME.fullmatch(entry) for entry in _folders(folder))
        return tuple(sorted(int(match[1]) for match in matches if match))

    def aliases(self) -> Aliases:
        """All aliases with their history.

        Raises:
            RegistryError: if their file is damaged.
        """
        path = self.root / ALIASES
        try:
            return Aliases.from_json(path.read_bytes())
        except FileNotFoundError:
            return Aliases()
        except ValueError as error:
            raise RegistryError(f"{path} is damaged: {error}; restore it, or remove it and promote again") from error
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror}") from error

    def history(self, alias: str) -> tuple[AliasChange, ...]:
        """Every change of `production`, or of a model's champion, oldest first."""
        return tuple(change for change in self.aliases().history if change.alias == alias)

    def champion(self, name: str) -> VersionRef:
        """The champion of a model: the version it was set to, or else its first.

        Raises:
            RegistryError: if there is no such model, or the champion is damaged.
        """
        pin = self.aliases().pins.get(name)
        if pin is not None and name != PRODUCTION:
            return self._pinned(name, pin)
        versions = self.versions(name)
        if not versions:
            raise RegistryError(self._unknown(name))
        return self._version(name, versions[0])

    def production(self) -> VersionRef | None:
        """The version that is served; None while none was chosen.

        Raises:
            RegistryError: if it is damaged.
        """
        pin = self.aliases().pins.get(PRODUCTION)
        return None if pin is None else self._pinned(PRODUCTION, pin)

    def resolve(self, ref: str | Path) -> VersionRef:
        """Find the version that a name, a ref or a path means. Files are hashed at most, never loaded.

        Args:
            ref: `production`, `xgboost` (its champion), `xgboost/v2`, or a path to a registered version's folder or one of
                its files, or to a champion's joblib; relative to the work directory or absolute.

        Raises:
            RegistryError: with the reason, and the names that exist.
        """
        text = os.fspath(ref)
        name, slash, version = text.partition("/")
        if text == PRODUCTION:
            version_ref = self.production()
            if version_ref is None:
                raise RegistryError(f"no version is in production yet; choose one of: {self._listed()}")
            return version_ref
        if isinstance(ref, str) and text and not slash and "." not in text:
            return self.champion(text)
        if isinstance(ref, str) and is_name(name) and "/" not in version:
            if self.versions(name) and "." not in version:
                return self._numbered(name, version)
            if VERSION_NAME.fullmatch(version):
                raise RegistryError(self._unknown(name))
        return self._by_path(text)

    def show(self, ref: str | Path) -> dict[str, Any]:
        """Everything that is known of a version, as JSON values.

        Raises:
            RegistryError: as `resolve`, and if manifest or metrics are damaged.
        """
        version_ref = self.resolve(ref)
        manifest = read_manifest(version_ref)
        standing = [alias for alias, pin in self.aliases().pins.items() if pin.ref == version_ref.ref]
        metrics = json.loads(read_checked(version_ref, "metrics.json", manifest))
        return {"ref": version_ref.ref, "aliases": standing, "manifest": version_ref.manifest, **asdict(manifest), "metrics": metrics}

    def read(self, ref: str | Path, file: str) -> bytes:
        """One file of a version, held against the manifest.

        Raises:
            RegistryError: if the version has no such file, or it was altered.
        """
        version_ref = self.resolve(ref)
        return read_checked(version_ref, file, read_manifest(version_ref))

    def load(self, ref: str | Path, *, threads: int = 1) -> Bundle:
        """Load what serves. Every byte that is parsed was first held against the manifest; nothing is unpickled.

        Args:
            ref: see `resolve`.
            threads: threads that one call of the scorer may use.

        Returns:
            The bundle, without its extras; `read` gets these one by one.

        Raises:
            RegistryError: naming the file that is missing, too many, altered or not readable by this release.
        """
        version_ref = self.resolve(ref)
        manifest = read_manifest(version_ref)
        if problems := unexpected_files(version_ref, manifest):
            raise RegistryError(f"{version_ref.ref} is not as it was registered: {'; '.join(problems)}; register the model again")
        return read_bundle(version_ref, threads=threads)

    def verify(self, ref: str | Path) -> tuple[str, ...]:
        """Every problem of a version: one sentence for each file that is missing, too many or altered. Empty: none.

        Raises:
            RegistryError: if there is no such version.
        """
        try:
            version_ref = self.resolve(ref)
            manifest = read_manifest(version_ref)
        except DamagedError as error:
            return (str(error),)
        return (*unexpected_files(version_ref, manifest), *altered_files(version_ref, manifest))

    def verify_all(self) -> tuple[str, ...]:
        """Every problem of every version and alias, each beginning with the ref or file. Empty: none.

        Raises:
            RegistryError: if the file with the aliases is damaged.
        """
        refs = [f"{name}/v{version}" for name in self.names() for version in self.versions(name)]
        problems = [f"{ref}: {problem}" for ref in refs for problem in self.verify(ref)]
        for alias, pin in self.aliases().pins.items():
            try:
                self._pinned(alias, pin)
            except RegistryError as error:
                problems.append(f"{alias}: {error}")
        for name in self.names():
            with contextlib.suppress(DamagedError):  # said above
                if not self._is_published(name):
                    problems.append(f"{name}.joblib: is not the champion's; promote the champion again to write it anew")
        return tuple(problems)

    # --- changing ------------------------------------------------------------------------------------------------------

    def register(self, bundle: Bundle, *, now: datetime | None = None, by: str = "register") -> RegistrationResult:
        """Store a bundle as a new version, or find the version that is identical to it.

        A model's first version becomes its champion. The version appears as a whole or not at all, whatever happens to
        the process.

        Args:
            bundle: what to store.
            now: the time for the champion's history; the clock's, if left out.
            by: who or what registers, for the same.

        Raises:
            ValueError: if the bundle's name, an extra's name, or a value that JSON cannot hold, cannot be stored.
            StorageError: if the folder cannot be written.
            BusyError: if another process kept writing for a minute.
        """
        if not is_name(bundle.name):
            raise ValueError(f"model name {bundle.name!r}: expected lower-case letters, digits and '_', and not {PRODUCTION!r}")
        manifest, files = describe(bundle)
        with self._locked():
            existing = self._identical(bundle.name, manifest.identity)
            folder = self.root / bundle.name
            if existing is None:
                # Nobody else writes while the lock is held: what a process left unfinished belongs to one that is gone.
                for stale in folder.glob(f"{UNFINISHED}*"):
                    shutil.rmtree(stale, ignore_errors=True)
                number = store(folder, replace(manifest, version=self._next(bundle.name)), files)
            else:
                number = existing
            self._ensure_champion(bundle.name, now or datetime.now(UTC), by)
        return RegistrationResult(f"{bundle.name}/v{number}", created=existing is None)

    def promote(
        self, name: str, version: int, *, reason: str, now: datetime, by: str = "unknown", allow_simulated: bool = False
    ) -> VersionRef:
        """Make a version its model's champion, and write its joblib beside the registry.

        Raises:
            RegistryError: if there is no such version, or it is damaged.
            RefusedError: if it was trained on simulated data, and that is not allowed.
        """
        with self._locked():
            version_ref = self._numbered(name, f"v{version}")
            self._check_simulated(version_ref, allow_simulated)
            self._set_alias(name, version_ref, reason=reason, now=now, by=by)
            self._publish_joblib(version_ref)
        return version_ref

    def set_production(
        self, ref: str | Path, *, reason: str, now: datetime, by: str = "unknown", allow_simulated: bool = False
    ) -> VersionRef:
        """Make a version the one that is served.

        Raises:
            RegistryError: if there is no such version, or it is damaged.
            RefusedError: if it was trained on simulated data, and that is not allowed.
        """
        with self._locked():
            version_ref = self.resolve(ref)
            self._check_simulated(version_ref, allow_simulated)
            self._set_alias(PRODUCTION, version_ref, reason=reason, now=now, by=by)
        return version_ref

    def rollback(
        self,
        alias: str,
        *,
        reason: str,
        now: datetime,
        by: str = "unknown",
        expected: str | None = None,
        allow_simulated: bool = False,
    ) -> VersionRef:
        """Roll an alias back to the version before; called again, to the one before that.

        Args:
            alias: `production`, or a model's name for its champion.
            reason: why.
            now: when.
            by: who.
            expected: the version to roll back from; None: any. The same call again changes nothing (idempotent).
            allow_simulated: whether the version before may be one that was trained on simulated data.

        Raises:
            RefusedError: if it was, and that is not allowed.
            NothingToRollBackError: if there is nothing to go back to, or the alias does not stand for the version that is expected.
            RegistryError: if the version before is damaged.
        """
        with self._locked():
            if expected is not None and (pin := self.aliases().pins.get(alias)) is not None and pin.ref != expected:
                last = self.history(alias)[-1]
                if last.undo and last.origin == expected:
                    return self.resolve(pin.ref)
                raise NothingToRollBackError(f"{alias} stands for {pin.ref}, not for {expected}: there is nothing to roll back")
            before = self.aliases().previous(alias)
            if before is None:
                raise NothingToRollBackError(f"{alias!r} has no earlier version to go back to; see: sporeprint models history")
            version_ref = self.resolve(before)
            self._check_simulated(version_ref, allow_simulated)
            self._set_alias(alias, version_ref, reason=reason, now=now, by=by, undo=True)
            if alias != PRODUCTION:
                self._publish_joblib(version_ref)
        return version_ref

    # --- within --------------------------------------------------------------------------------------------------------

    def is_simulated(self, ref: str | Path) -> bool:
        """Whether a version was trained on simulated data."""
        return bool(self.show(ref)["info"].get("simulated"))

    def _check_simulated(self, version_ref: VersionRef, allowed: bool) -> None:
        if not allowed and self.is_simulated(version_ref.ref):
            raise RefusedError(
                f"{version_ref.ref} was trained on SIMULATED data, and no alias moves to such a version unasked; "
                "to move it all the same: --allow-simulated"
            )

    def _locked(self) -> AbstractContextManager[None]:
        """Be the only process that writes."""
        failure = f"cannot write to the registry {self.root}"
        message = f"another process has been writing to the registry {self.root} for {LOCK_SECONDS:.0f} s; try again later"
        return locked(self.root / ".lock", busy=lambda _: message, failure=failure, wait_s=LOCK_SECONDS)

    def _next(self, name: str) -> int:
        """The number after every one that was ever seen: a removed version's number does not come back."""
        refs = [change.to for change in self.aliases().history]
        remembered = [int(ref.rpartition("/v")[2]) for ref in refs if ref.rpartition("/v")[0] == name]
        return max([0, *self.versions(name), *remembered]) + 1

    def _identical(self, name: str, identity: str) -> int | None:
        """The latest sound version with this identity."""
        for version in reversed(self.versions(name)):
            # A damaged one is no reason not to register the same again.
            with contextlib.suppress(DamagedError):
                version_ref = self._version(name, version)
                manifest = read_manifest(version_ref)
                if manifest.identity == identity and not self.verify(version_ref.ref):
                    return version
        return None

    def _ensure_champion(self, name: str, now: datetime, by: str) -> None:
        """Make the first version the champion where there is none, and finish what a killed process may have left."""
        if name not in self.aliases().pins:
            first = self._version(name, self.versions(name)[0])
            self._set_alias(name, first, reason="first version", now=now, by=by)
        # A champion that is damaged is for whoever looks at it; registering another version must still be possible.
        with contextlib.suppress(DamagedError):
            self._publish_joblib(self.champion(name))

    def _set_alias(self, alias: str, to: VersionRef, *, reason: str, now: datetime, by: str, undo: bool = False) -> None:
        if problems := self.verify(to.ref):
            raise RegistryError(f"{alias!r} cannot be set to {to.ref}: {'; '.join(problems)}")
        aliases = self.aliases()
        changed = aliases.promoted(alias, Pin(to.ref, to.manifest), reason=reason, by=by, now=now, undo=undo)
        if changed != aliases:
            atomic_write(self.root / ALIASES, changed.to_json())

    def _publish_joblib(self, champion: VersionRef) -> None:
        if not self._is_published(champion.name):
            file = f"{champion.name}.joblib"
            atomic_write(self.models / file, read_checked(champion, file, read_manifest(champion)))

    def _is_published(self, name: str) -> bool:
        champion = self.champion(name)
        file = f"{name}.joblib"
        try:
            return FileRecord.of(read_file(self.models / file)) == read_manifest(champion).files.get(file)
        except RegistryError:
            return False

    def _version(self, name: str, version: int) -> VersionRef:
        folder = self.root / name / f"v{version}"
        return VersionRef(name, version, folder, hashlib.sha256(read_file(folder / MANIFEST)).hexdigest())

    def _numbered(self, name: str, version: str) -> VersionRef:
        match = VERSION_NAME.fullmatch(version)
        known = self.versions(name)
        if not known:
            raise RegistryError(self._unknown(name))
        if match is None or int(match[1]) not in known:
            listed = ", ".join(f"v{number}" for number in known)
            raise RegistryError(f"model {name!r} has no version {version!r}; it has: {listed}")
        return self._version(name, int(match[1]))

    def _pinned(self, alias: str, pin: Pin) -> VersionRef:
        """The version an alias stands for, as it was when it was chosen."""
        name, _, version = pin.ref.partition("/")
        version_ref = self._numbered(name, version)
        if version_ref.manifest != pin.manifest:
            raise DamagedError(
                f"{pin.ref} is not the version that {alias!r} was set to: "
                f"its manifest has sha256 {version_ref.manifest}, then it had {pin.manifest}"
            )
        return version_ref

    def _unknown(self, name: str) -> str:
        return f"no model {name!r} is registered{nearest(name, self.names())}; there are: {self._listed()}"

    def _listed(self) -> str:
        return ", ".join((PRODUCTION, *self.names())) if self.names() else "none yet, run sporeprint etl"

    def _by_path(self, text: str) -> VersionRef:
        parts = self._inside(text)
        if len(parts) == 1 and parts[0].endswith(".joblib") and self.versions(parts[0].removesuffix(".joblib")):
            version_ref = self.champion(parts[0].removesuffix(".joblib"))
            self._check_file(text, self.models / parts[0], version_ref, parts[0])
            return version_ref
        match = VERSION_NAME.fullmatch(parts[2]) if len(parts) in (3, 4) and parts[0] == self.root.name else None
        if match is None or int(match[1]) not in self.versions(parts[1]):
            raise RegistryError(f"{text!r} is no registered version; {self._hint()}")
        version_ref = self._version(parts[1], int(match[1]))
        if len(parts) == 4:
            self._check_file(text, version_ref.path / parts[3], version_ref, parts[3])
        return version_ref

    def _check_file(self, text: str, path: Path, version_ref: VersionRef, file: str) -> None:
        """Hold a file that a path names against the manifest."""
        record = read_manifest(version_ref).files.get(file)
        if record is None and file not in (MANIFEST, DIGEST):
            raise RegistryError(f"{text!r} is not registered: {version_ref.ref} has no such file; {self._hint()}")
        if record is not None and (now := FileRecord.of(read_file(path))) != record:
            raise RegistryError(f"{text!r} is not the file that was registered as {version_ref.ref}: {difference(now, record)}")

    def _inside(self, text: str) -> tuple[str, ...]:
        """The parts of a path below the models' folder.

        Raises:
            RegistryError: if it leads elsewhere, by its text or by a symbolic link.
        """
        path = Path(text)
        if not text or "\0" in text:
            raise RegistryError(f"{text!r} names no model; {self._hint()}")
        if ".." in path.parts:
            raise RegistryError(f"{text!r} is no registered version: a path is given without '..'; {self._hint()}")
        path = self.models.parent / path
        bases = [base for base in (self.models, self.models.resolve()) if path.is_relative_to(base)]
        if not bases:
            raise RegistryError(f"{text!r} is outside the registry {self.models}; {self._hint()}")
        parts = path.relative_to(bases[0]).parts
        # The registry's own folder may be a link, that is for whoever set it up; below it nothing may lead away.
        for count in range(1, len(parts) + 1):
            at = bases[0].joinpath(*parts[:count])
            if at.is_symlink() and parts[:count] != (self.root.name,):
                raise RegistryError(f"{text!r} leads through a symbolic link, {at.name!r}; name the version itself: {self._hint()}")
        return parts

    def _hint(self) -> str:
        return f"a model is named as one of {self._listed()}, as <name>/v<N>, or by the path of a registered file"


def is_name(text: str) -> bool:
    """Whether a text can name a model: up to 64 letters, digits and underscores, none of them a capital."""
    return len(text) <= LONGEST_NAME and text.replace("_", "").isalnum() and text.islower() and text != PRODUCTION


def _folders(path: Path) -> list[str]:
    """Names of real folders: one that is a link is not part of the registry."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error

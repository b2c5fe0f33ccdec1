import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from sporeprint.errors import RegistryError, StorageError
from sporeprint.registry.manifest import (
    DIGEST,
    MANIFEST,
    FileRecord,
    Manifest,
    VersionRef,
    altered_files,
    read_checked,
    read_file,
    read_manifest,
    store,
    unexpected_files,
)

FILES = {"model.bin": b"the model", "card.md": b"# a card", "m.joblib": b"\x80"}


def manifest(version: int = 1) -> Manifest:
    records = {name: FileRecord.of(data) for name, data in FILES.items()}
    return Manifest("m", version, "id", "linear", ("model.bin",), (), records, "schema", {"seed": 1, "über": [1, None, 0.5]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registry" / "m"


def ref(folder: Path, version: int = 1) -> VersionRef:
    path = folder / f"v{version}"
    return VersionRef("m", version, path, hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest())


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_stored_version_holds_every_file_read_only(folder: Path) -> None:
    assert store(folder, manifest(), FILES) == 1
    assert {path.name: path.read_bytes() for path in (folder / "v1").iterdir() if path.name in FILES} == FILES
    assert {path.name for path in (folder / "v1").iterdir()} == {*FILES, MANIFEST, DIGEST}
    assert {path.stat().st_mode & 0o777 for path in (folder / "v1").iterdir()} == {0o444}
    assert [path.name for path in folder.iterdir()] == ["v1"]


def test_the_manifest_reads_back(folder: Path) -> None:
    store(folder, manifest(), FILES)
    assert read_manifest(ref(folder)) == manifest()
    assert (folder / "v1" / DIGEST).read_text() == f"{ref(folder).manifest}  {MANIFEST}\n"


def test_a_number_that_is_taken_is_passed_over(folder: Path) -> None:
    assert [store(folder, manifest(), FILES) for _ in range(3)] == [1, 2, 3]
    (folder / "v4").touch()
    assert store(folder, manifest(2), FILES) == 5
    assert [read_manifest(ref(folder, number)).version for number in (1, 2, 3, 5)] == [1, 2, 3, 5]


def test_what_fails_leaves_nothing(folder: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot write to the registry .*/m: No such file or directory"):
        store(folder, manifest(), {**FILES, "no/such/folder": b""})
    assert list(folder.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_a_storage_error(folder: Path) -> None:
    folder.parent.mkdir()
    folder.touch()
    with pytest.raises(StorageError, match="cannot write to the registry"):
        store(folder, manifest(), FILES)


def test_a_sound_version_has_no_problems(folder: Path) -> None:
    store(folder, manifest(), FILES)
    assert unexpected_files(ref(folder), manifest()) == []
    assert altered_files(ref(folder), manifest()) == []
    assert read_checked(ref(folder), "model.bin", manifest()) == b"the model"


def test_an_altered_file_is_named_with_both_digests(folder: Path) -> None:
    store(folder, manifest(), FILES)
    overwrite(folder / "v1" / "model.bin", b"the mode1")
    then, now = (hashlib.sha256(data).hexdigest() for data in (b"the model", b"the mode1"))
    says = f"model.bin was altered: it has sha256 {now} (9 bytes), registered is {then} (9 bytes)"
    assert altered_files(ref(folder), manifest()) == [says]
    with pytest.raises(RegistryError) as caught:
        read_checked(ref(folder), "model.bin", manifest())
    assert str(caught.value) == f"m/v1: {says}"


def test_missing_files_and_strangers_are_named(folder: Path) -> None:
    store(folder, manifest(), FILES)
    (folder / "v1" / "card.md").unlink()
    (folder / "v1" / "virus.exe").touch()
    assert unexpected_files(ref(folder), manifest()) == ["card.md is missing", "virus.exe was never registered"]
    with pytest.raises(RegistryError, match=r"card\.md is missing in .*v1"):
        read_checked(ref(folder), "card.md", manifest())


def test_a_file_that_is_not_in_the_manifest_is_not_read(folder: Path) -> None:
    store(folder, manifest(), FILES)
    with pytest.raises(RegistryError, match=r"m/v1 has no file 'card\.txt' \(did you mean 'card\.md'\?\); it has: model\.bin, card\.md"):
        read_checked(ref(folder), "card.txt", manifest())


def test_a_link_or_folder_in_the_place_of_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    store(folder, manifest(), FILES)
    (tmp_path / "same").write_bytes(b"the model")
    target = folder / "v1" / "model.bin"
    target.unlink()
    target.symlink_to(tmp_path / "same")
    with pytest.raises(RegistryError, match=r"model\.bin in .* is no regular file"):
        read_file(target)
    target.unlink()
    target.mkdir()
    with pytest.raises(RegistryError, match=r"model\.bin in .* is no regular file"):
        read_file(target)
    target.rmdir()
    os.mkfifo(target)  # reading one would wait for ever
    with pytest.raises(RegistryError, match=r"model\.bin in .* is no regular file"):
        read_file(target)


def test_an_altered_manifest_is_refused(folder: Path) -> None:
    store(folder, manifest(), FILES)
    path = folder / "v1" / MANIFEST
    overwrite(path, path.read_bytes().replace(b'"seed": 1', b'"seed": 2'))
    with pytest.raises(RegistryError, match=rf"m/v1: {MANIFEST} was altered: its sha256 is [0-9a-f]{{64}}, {DIGEST} says [0-9a-f]{{64}}"):
        read_manifest(ref(folder))


def test_a_manifest_that_changes_between_two_looks_is_refused(folder: Path) -> None:
    store(folder, manifest(), FILES)
    with pytest.raises(RegistryError, match="was exchanged while it was read"):
        read_manifest(replace(ref(folder), manifest="0" * 64))


def test_a_copied_version_is_refused(folder: Path) -> None:
    store(folder, manifest(), FILES)
    (folder / "v1").rename(folder / "v7")
    with pytest.raises(RegistryError, match=rf"m/v7: {MANIFEST} is that of m/v1; a version cannot be copied or renamed"):
        read_manifest(ref(folder, 7))


@pytest.mark.parametrize(
    "text", ["[]", "{}", "nothing", '{"format": 2}', '{"format": 1, "files": []}', '{"format": 1, "files": {"a": {}}}']
)
def test_a_manifest_of_another_kind_is_refused(folder: Path, text: str) -> None:
    store(folder, manifest(), FILES)
    overwrite(folder / "v1" / MANIFEST, text.encode())
    overwrite(folder / "v1" / DIGEST, hashlib.sha256(text.encode()).hexdigest().encode())
    with pytest.raises(RegistryError, match=rf"m/v1: {MANIFEST} cannot be read by this release"):
        read_manifest(ref(folder))


def test_the_manifest_is_json_with_sizes_and_digests() -> None:
    raw = json.loads(manifest().to_json())
    assert raw["files"]["model.bin"] == {"sha256": hashlib.sha256(b"the model").hexdigest(), "size": 9}
    assert Manifest.from_json(manifest().to_json()) == manifest()

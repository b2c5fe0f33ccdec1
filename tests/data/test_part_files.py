"""A table of part files: which they are, and that they are those that were written."""

import json
from pathlib import Path
from typing import Any

import pytest

from sporeprint.data.part_files import MANIFEST, PartFile, part_files, part_path, write_manifest
from sporeprint.errors import DataError


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of three parts, which are not in the order of their names."""
    table = tmp_path / "train.parquet"
    table.mkdir()
    paths = [part_path(table, number, 3) for number in (1, 0, 2)]
    for path in paths:
        path.write_bytes(path.name.encode())
    write_manifest(table, [PartFile.of(path, 7) for path in paths])
    return table


def changed(table: Path, change: Any) -> None:
    manifest = json.loads((table / MANIFEST).read_text())
    change(manifest["parts"])
    (table / MANIFEST).write_text(json.dumps(manifest))


def test_the_manifest_says_which_files_are_the_table(table: Path) -> None:
    (table / "part-00007.parquet").write_bytes(b"of a run before")
    assert [path.name for path in part_files(table, whole=True)] == ["part-00001.parquet", "part-00000.parquet", "part-00002.parquet"]


def test_a_table_of_one_part_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    assert part_path(path, 0, 1) == path
    assert part_files(path) == (path,)
    write_manifest(path, [])
    assert not path.exists()


def test_a_part_that_is_missing_changed_or_twice_there_is_named(table: Path) -> None:
    part = table / "part-00000.parquet"
    part.write_bytes(b"other bytes, longer")
    with pytest.raises(DataError, match=rf"^{part} is not the part that was written: it has 19 bytes, the manifest says 18"):
        part_files(table)
    part.write_bytes(b"part-00000.parqueT")
    assert len(part_files(table)) == 3
    with pytest.raises(DataError, match=rf"^{part} is not the part that was written"):
        part_files(table, whole=True)
    part.unlink()
    with pytest.raises(DataError, match=rf"^{part} is missing: the manifest beside it names it"):
        part_files(table)
    changed(table, lambda parts: parts.append(parts[0]))
    with pytest.raises(DataError, match=r"manifest\.json names a part twice"):
        part_files(table)


def test_a_folder_without_a_whole_manifest_is_no_table(table: Path) -> None:
    (table / MANIFEST).write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        part_files(table)
    (table / MANIFEST).unlink()
    with pytest.raises(DataError, match=rf"^{table} was not written by sporeprint, or not to its end: it has no manifest"):
        part_files(table)

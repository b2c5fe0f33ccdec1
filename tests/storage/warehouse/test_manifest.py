"""Tests of sporeprint.storage.warehouse.manifest: what a reader sees of an embedded warehouse."""

from pathlib import Path

import pytest

from sporeprint.errors import StorageError
from sporeprint.storage.warehouse.manifest import NAME, WarehouseFile, WarehouseManifest, publish, read

PART = WarehouseFile("hour_latency/2026-01-30/1.parquet", 3, 400, "a", "b", 1, 2)


def test_written_and_read(tmp_path: Path) -> None:
    made = WarehouseManifest(4, {"hour_latency": {"2026-01-30": (PART,)}}, {"prediction": {"high": 3}}, {"old.parquet": 1.5})
    publish(tmp_path, made)
    assert read(tmp_path) == made
    assert made.every() == {PART.file}


def test_a_day_without_files_is_left_out() -> None:
    made = WarehouseManifest().with_files("a", "day", (PART,)).with_files("a", "day", ())
    assert made.files == {"a": {}}


def test_no_folder_is_an_empty_warehouse(tmp_path: Path) -> None:
    assert read(tmp_path / "nowhere") == WarehouseManifest()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "star": 1, "files": 3, "generation": 1, "notes": {}, "retired": {}}'])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(StorageError, match=r"manifest.json is damaged; move .* away and run: sporeprint warehouse sync"):
        read(tmp_path)
